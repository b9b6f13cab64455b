"""A seller played by the demo: sends a photo, answers the bot's questions by tapping its buttons, waits for the video.

It sees only what a person sees in the chat of the simulated Telegram, so whatever it gets went the whole way.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

PATIENCE_SECONDS = 30.0
"""How long a seller waits for the bot's next word before giving up."""

Message = dict[str, Any]  # Any: the simulator's JSON


class SellerGaveUp(Exception):
    """The bot did not answer as a shop should; the message quotes its last words."""


@dataclass(frozen=True)
class Delivered:
    """The seller has the video."""

    file_url: str
    caption: str


@dataclass(frozen=True)
class Disappointed:
    """The shop ended the conversation without a video and said why."""

    words: str


Ending = Delivered | Disappointed


class Seller:
    """One person in one chat."""

    def __init__(self, client: httpx2.AsyncClient, telegram: str, person_id: int) -> None:
        self._client = client
        self._telegram = telegram
        self.person_id = person_id
        self._here = f"{telegram}/sim/people/{person_id}"
        self._version = 0
        self._answered = 0
        self._messages: list[Message] = []

    @classmethod
    async def arrive(cls, client: httpx2.AsyncClient, telegram: str, *, name: str, language: str) -> "Seller":
        """A new person opens Telegram."""
        response = await client.post(
            f"{telegram}/sim/people", json={"id": _new_id(), "first_name": name, "language_code": language}
        )
        response.raise_for_status()
        return cls(client, telegram, int(response.json()["id"]))

    async def order(
        self, photo: Path, *, as_file: bool, template: int, description: str, on_status: Callable[[str], None]
    ) -> Ending:
        """Order one video and wait for it. `template` is the number of the button, from 0.

        `as_file` sends the photo's very bytes; otherwise the app makes it smaller first, as apps do.
        """
        await self._post("start", {})
        await self._tap(await self._next_with_buttons(), 0)
        await self._next()

        await self._send_photo(photo, "document" if as_file else "photo")
        choice = await self._next()
        if not choice["buttons"]:
            return Disappointed(words(choice))
        await self._tap(choice, template)
        await self._next()
        await self._post("text", {"text": description})
        await self._tap(await self._next_with_buttons(), 0)
        await self._tap(await self._next_with_buttons(), 0)
        card = await self._next_with_buttons()
        await self._tap(card, 0)
        return await self._watch(card["message_id"], on_status)

    async def _send_photo(self, photo: Path, kind: str) -> None:
        content = await asyncio.to_thread(photo.read_bytes)
        response = await self._client.post(f"{self._here}/{kind}", files={"file": (photo.name, content)})
        if not response.is_success:
            raise SellerGaveUp(f"the photo could not be sent: {response.text}")

    async def _watch(self, card_id: int, on_status: Callable[[str], None]) -> Ending:
        """Follow the status card until the video, or the reason for none, is there."""
        shown = ""
        while True:
            for message in self._messages:
                if message["message_id"] == card_id and words(message) != shown:
                    shown = words(message)
                    on_status(shown)
            answers = [one for one in self._messages if one["from_bot"] and one["message_id"] > card_id]
            for message in answers:
                if message["media"] is None:
                    return Disappointed(words(message))
                return Delivered(self._address(message["media"]["url"]), words(message))
            await self._look(wait_seconds=20.0)

    async def _next_with_buttons(self) -> Message:
        message = await self._next()
        if not message["buttons"]:
            raise SellerGaveUp(f"the bot offers nothing to tap: {words(message)!r}")
        return message

    async def _next(self) -> Message:
        """The bot's next message after what the seller did last."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            for message in self._messages:
                if message["from_bot"] and message["message_id"] > self._answered:
                    self._answered = message["message_id"]
                    return message
            if asyncio.get_running_loop().time() > deadline:
                raise SellerGaveUp(f"the bot has not answered; its last words: {self._last_words()!r}")
            await self._look(wait_seconds=5.0)

    async def _tap(self, message: Message, number: int) -> None:
        buttons = [button for row in message["buttons"] for button in row]
        await self._post("tap", {"message_id": message["message_id"], "button": buttons[number]["callback_data"]})

    async def _post(self, what: str, body: dict[str, Any]) -> None:  # Any: JSON
        response = await self._client.post(f"{self._here}/{what}", json=body)
        response.raise_for_status()

    async def _look(self, *, wait_seconds: float) -> None:
        """The chat as it is now, as soon as it has changed."""
        response = await self._client.get(
            f"{self._here}/chat",
            params={"since": self._version, "wait": wait_seconds},
            timeout=wait_seconds + 30.0,
        )
        response.raise_for_status()
        chat = response.json()
        self._version = chat["version"]
        self._messages = [message for message in chat["messages"] if not message["deleted"]]

    def _last_words(self) -> str:
        return next((words(message) for message in reversed(self._messages) if message["from_bot"]), "")

    def _address(self, url: str) -> str:
        """A file's address: the simulator names it from its own root."""
        return str(httpx2.URL(self._telegram).join(url))


def words(message: Message) -> str:
    """What the message says, under a picture or by itself."""
    return str(message["text"] or message["caption"] or "")


def _new_id() -> int:
    """Somebody the shop has never met, although its database may remember earlier demos."""
    return 1_000_000_000 + secrets.randbelow(9_000_000_000)

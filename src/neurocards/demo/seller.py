"""A seller played by the demo: sends a photo, answers the bot's questions by tapping its buttons, waits for the video.

It sees only what a person sees in the chat of the simulated Telegram, so whatever it gets went the whole way. It knows
buttons by what they do, not by their words or places, and messages by whether they say something new: new or edited.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import httpx2

PATIENCE_SECONDS = 30.0
"""How long a seller waits for the bot's next word before giving up."""

FULL, EMPTY = "▰", "▱"
"""What the bar on a status card is made of."""

Message = dict[str, Any]  # Any: the simulator's JSON
Found = TypeVar("Found")


class Does(StrEnum):
    """What a button of the conversation does, as its data says."""

    AGREE = "a"
    TEMPLATE = "t"
    SKIP_WISHES = "s"
    COUNT = "n"
    CONFIRM = "y"


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
        self._messages: list[Message] = []
        self._read: dict[int, str] = {}

    @classmethod
    async def arrive(cls, client: httpx2.AsyncClient, telegram: str, *, name: str, language: str) -> "Seller":
        """A new person opens Telegram."""
        response = await client.post(
            f"{telegram}/sim/people", json={"id": _new_id(), "first_name": name, "language_code": language}
        )
        response.raise_for_status()
        return cls(client, telegram, int(response.json()["id"]))

    async def greet(self) -> None:
        """Press Start, and wait for the bot's first words."""
        await self._post("start", {})
        await self._answer()

    async def order(
        self, photo: Path, *, as_file: bool, template: str, description: str, on_status: Callable[[str], None]
    ) -> Ending:
        """Order one video and wait for it, after a greeting.

        `as_file` sends the photo's very bytes; otherwise the app makes it smaller first, as apps do.
        """
        await self._tap(Does.AGREE)
        await self._answer()

        await self._send_photo(photo, "document" if as_file else "photo")
        choice = await self._answer()
        if _button(choice, Does.TEMPLATE, template) is None:
            return Disappointed(words(choice))
        await self._tap(Does.TEMPLATE, template)
        await self._answer()
        await self._post("text", {"text": description})
        await self._tap(Does.SKIP_WISHES)
        await self._tap(Does.COUNT, "1")
        card_id = await self._tap(Does.CONFIRM)
        return await self._watch(card_id, on_status)

    async def _send_photo(self, photo: Path, kind: str) -> None:
        self._take_in()
        content = await asyncio.to_thread(photo.read_bytes)
        response = await self._client.post(f"{self._here}/{kind}", files={"file": (photo.name, content)})
        if not response.is_success:
            raise SellerGaveUp(f"the photo could not be sent: {response.text}")

    async def _watch(self, card_id: int, on_status: Callable[[str], None]) -> Ending:
        """Follow the status card until the video, or the reason for none, is there."""
        shown = ""
        while True:
            news = [message for message in self._messages if message["from_bot"] and message["message_id"] >= card_id]
            for message in news:
                if _has_bar(message) and words(message) != shown:
                    shown = words(message)
                    on_status(shown)
            for message in news:
                if message["message_id"] == card_id or _has_bar(message):
                    continue
                if message["media"] is not None and message["media"]["kind"] == "video":
                    return Delivered(self._address(message["media"]["url"]), words(message))
                return Disappointed(words(message))
            await self._look(wait_seconds=20.0)

    async def _tap(self, does: Does, value: str = "") -> int:
        """Tap the newest button that does this, as soon as there is one; returns its message."""

        def find() -> tuple[int, str] | None:
            for message in reversed(self._messages):
                if message["from_bot"] and (data := _button(message, does, value)) is not None:
                    return message["message_id"], data
            return None

        message_id, data = await self._until(find)
        await self._post("tap", {"message_id": message_id, "button": data})
        return message_id

    async def _answer(self) -> Message:
        """The bot's first words that the seller had not read when doing something last."""

        def find() -> Message | None:
            for message in self._messages:
                if message["from_bot"] and self._read.get(message["message_id"]) != words(message):
                    return message
            return None

        return await self._until(find)

    async def _until(self, find: Callable[[], Found | None]) -> Found:
        """Look at the chat until what is looked for is there."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while (found := find()) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise SellerGaveUp(f"the bot has not answered; its last words: {self._last_words()!r}")
            await self._look(wait_seconds=5.0)
        return found

    async def _post(self, what: str, body: dict[str, Any]) -> None:  # Any: JSON
        self._take_in()
        response = await self._client.post(f"{self._here}/{what}", json=body)
        response.raise_for_status()

    def _take_in(self) -> None:
        """Whatever the chat says now is read: only what comes later can be an answer to what is done next."""
        self._read = {message["message_id"]: words(message) for message in self._messages}

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


def _has_bar(message: Message) -> bool:
    return FULL in words(message) or EMPTY in words(message)


def _button(message: Message, does: Does, value: str) -> str | None:
    """The data of the message's button that does this, with this value if there is one: `t:does:order:value`."""
    for row in message["buttons"]:
        for button in row:
            data = str(button["callback_data"] or "")
            match data.split(":"):
                case ["t", verb, *_, last] if verb == does and value in ("", last):
                    return data
    return None


def _new_id() -> int:
    """Somebody the shop has never met, although its database may remember earlier demos."""
    return 1_000_000_000 + secrets.randbelow(9_000_000_000)

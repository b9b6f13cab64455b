"""A person's phone over HTTP: everything somebody can do to the bot, and the chat as they see it.

What the app itself refuses (a blocked bot, an empty text, a message that is gone) is no error: it did not happen.
"""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx2

Json = dict[str, Any]  # Any: the simulator's JSON
File = tuple[str, bytes]
"""A name and the content."""
OddMessage = Literal["sticker", "voice", "location", "forward"]

ANSWER_SECONDS = 30.0
"""How much longer than it is asked to wait the simulator may take to answer."""

_REFUSED_BY_THE_APP = frozenset({404, 409, 422})


@dataclass(frozen=True)
class Button:
    """An inline button, and the message it is on."""

    message_id: int
    label: str
    data: str


def open_client() -> httpx2.AsyncClient:
    """A client for many phones. It hangs up long before the simulators do, or both would now and then do so at once."""
    limits = httpx2.Limits(max_connections=500, keepalive_expiry=1.0)
    return httpx2.AsyncClient(timeout=60.0, limits=limits)


class Phone:
    """One person in the chat with one bot. What is sent returns the message, or None when the app refused it."""

    def __init__(self, client: httpx2.AsyncClient, telegram: str, person_id: int, bot_id: str) -> None:
        self._client = client
        self._sim = f"{telegram}/sim"
        self._bot = {"bot": bot_id}
        self.person_id = person_id
        self.version = 0
        self.messages: list[Json] = []

    @classmethod
    async def buy(
        cls, client: httpx2.AsyncClient, telegram: str, bot_id: str, *, name: str, language: str | None
    ) -> "Phone":
        """Somebody the shop has never met opens Telegram."""
        person = {"id": 1_000_000_000 + secrets.randbelow(9_000_000_000), "first_name": name, "language_code": language}
        response = await client.post(f"{telegram}/sim/people", json=person)
        response.raise_for_status()
        return cls(client, telegram, int(response.json()["id"]), bot_id)

    async def start(self, payload: str | None = None) -> Json | None:
        return await self._send("start", json={"payload": payload})

    async def write(self, text: str) -> Json | None:
        return await self._send("text", json={"text": text})

    async def send_photo(self, photo: File, caption: str = "") -> Json | None:
        return await self._send("photo", files=[("file", photo)], data={"caption": caption})

    async def send_document(self, document: File, caption: str = "") -> Json | None:
        return await self._send("document", files=[("file", document)], data={"caption": caption})

    async def send_album(self, photos: Sequence[File], caption: str = "") -> Json | None:
        """Returns the album's last message."""
        sent = await self._post("album", files=[("file", photo) for photo in photos], data={"caption": caption})
        return sent[-1] if sent else None

    async def send_odd(self, what: OddMessage) -> Json | None:
        return await self._send(what, data={"text": "A post of somebody else"} if what == "forward" else None)

    async def edit(self, message_id: int, text: str) -> Json | None:
        return await self._send("edit", json={"message_id": message_id, "text": text})

    async def delete(self, message_id: int) -> None:
        await self._post("delete", json={"message_id": message_id})

    async def block(self) -> None:
        await self._post("block")

    async def unblock(self) -> None:
        await self._post("unblock")

    async def speak(self, language: str | None) -> None:
        """Change the language of the app."""
        await self._post("language", json={"language_code": language})

    async def tap(self, button: Button) -> str | None:
        """Tap a button that is there; returns the id under which its answer is found."""
        return await self._tap({"message_id": button.message_id, "button": button.data})

    async def forge(self, message_id: int, data: str) -> str | None:
        """Tap as a screen of yesterday, or a doctored app, can: with any data."""
        return await self._tap({"message_id": message_id, "forged_data": data})

    async def tap_answer(self, callback_id: str, *, wait_seconds: float) -> Json:
        """How the bot answered the tap; `answered` is False when it has not in time."""
        answer = await self._get(f"callbacks/{callback_id}", wait_seconds=wait_seconds)
        return dict(answer)

    async def look(self, *, wait_seconds: float = 0.0) -> None:
        """Bring `messages` up to date; with a wait as soon as the chat differs from what was seen last."""
        chat = await self._get(f"people/{self.person_id}/chat", since=self.version, wait_seconds=wait_seconds)
        self.version = chat["version"]
        self.messages = chat["messages"]

    async def hear(self, after_version: int, *, seconds: float) -> bool:
        """Wait until the bot has said or changed something after this version of the chat; False when it has not."""
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + seconds
        while not self.heard(after_version):
            left = gives_up_at - loop.time()
            if left <= 0:
                return False
            await self.look(wait_seconds=left)
        return True

    def heard(self, after_version: int) -> bool:
        """Whether the bot had said or changed something after this version of the chat, when it was last looked at."""
        return any(one["from_bot"] and one["version"] > after_version for one in self.messages)

    async def offered(self, verb: str, value: str = "", *, seconds: float) -> Button:
        """The newest button of the conversation that does this, as soon as there is one; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                for button in reversed(self.buttons()):
                    prefix, does, *_, carried = button.data.split(":")
                    if (prefix, does) == ("t", verb) and value in ("", carried):
                        return button
                await self.look(wait_seconds=seconds)

    def present(self) -> list[Json]:
        """The messages that have not been deleted."""
        return [message for message in self.messages if not message["deleted"]]

    def buttons(self) -> list[Button]:
        """Every button that can be tapped, the newest message's last."""
        return [
            Button(message["message_id"], label, data)
            for message in self.present()
            for label, data in _labelled(message["buttons"])
        ]

    def past_buttons(self) -> list[Button]:
        """The buttons that were there and have been taken away."""
        return [
            Button(message["message_id"], label, data)
            for message in self.messages
            for past in message["edits"]
            for label, data in _labelled(past["buttons"])
        ]

    def last_id(self, *, from_bot: bool) -> int:
        """The id of the newest message of one side; 0 when there is none."""
        return max((one["message_id"] for one in self.messages if one["from_bot"] is from_bot), default=0)

    async def _send(self, what: str, **request: Any) -> Json | None:  # Any: what httpx2 takes
        message = await self._post(what, **request)
        return dict(message) if message else None

    async def _tap(self, body: Json) -> str | None:
        tapped = await self._post("tap", json=body)
        return str(tapped["callback_query_id"]) if tapped else None

    async def _post(self, what: str, **request: Any) -> Any:  # what httpx2 takes; JSON, or None when the app refuses
        response = await self._client.post(f"{self._sim}/people/{self.person_id}/{what}", params=self._bot, **request)
        if response.status_code in _REFUSED_BY_THE_APP:
            return None
        response.raise_for_status()
        return response.json()

    async def _get(self, path: str, *, wait_seconds: float, **params: float) -> Any:  # JSON
        response = await self._client.get(
            f"{self._sim}/{path}",
            params={**self._bot, **params, "wait": wait_seconds},
            timeout=wait_seconds + ANSWER_SECONDS,
        )
        response.raise_for_status()
        return response.json()


def _labelled(rows: list[list[Json]]) -> Iterator[tuple[str, str]]:
    """Label and data of each button that calls the bot."""
    for row in rows:
        for button in row:
            if button["callback_data"]:
                yield button["text"], button["callback_data"]

"""The bot as it runs and people who talk to it: what they do goes in by HTTP, turns are taken by hand."""

import io
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

import httpx2
from aiogram import Bot, Dispatcher
from PIL import Image

from neurocards.bot import Handling, Intake, TelegramMessenger, build_dispatcher, make_bot
from neurocards.catalogue import load_catalogue
from neurocards.db import customers
from neurocards.db.connection import Database
from neurocards.db.customers import Balance, Customer
from neurocards.domain.catalogue import Catalogue
from neurocards.notices import Outbox
from neurocards.settings import Settings
from neurocards.storage import Store

Json = dict[str, Any]  # the simulator's answers, asserted field by field

_causes = count(1)


@dataclass
class Person:
    """Somebody in a private chat with the shop's bot."""

    shop: "Shop"
    id: int
    heard: int = 0

    async def start(self) -> list[Json]:
        return await self.do("start", {})

    async def write(self, text: str) -> list[Json]:
        return await self.do("text", {"text": text})

    async def send(
        self, content: bytes, name: str = "photo.jpg", *, kind: str = "photo", caption: str = ""
    ) -> list[Json]:
        await self.shop.post(f"people/{self.id}/{kind}", files={"file": (name, content)}, data={"caption": caption})
        return await self.answers()

    async def said(self) -> int:
        """The id of the person's own last message."""
        return max(int(one["message_id"]) for one in await self.messages() if not one["from_bot"])

    async def tap(self, label: str) -> Json:
        """Tap the newest button with this label; returns how Telegram was told to answer."""
        callback_id = await self.begin_tap(label)
        await self.shop.settle()
        answer: Json = await self.shop.get(f"callbacks/{callback_id}")
        return answer

    async def begin_tap(self, label: str, *, message: Json | None = None) -> str:
        if message is None:
            message = next(one for one in reversed(await self.messages()) if label in labels(one))
        done = await self.shop.post(f"people/{self.id}/tap", {"message_id": message["message_id"], "button": label})
        return str(done["callback_query_id"])

    async def forge(self, data: str) -> Json:
        """Tap with data that no button has, on the newest message of the bot."""
        message = next(one for one in reversed(await self.messages()) if one["from_bot"])
        done = await self.shop.post(f"people/{self.id}/tap", {"message_id": message["message_id"], "forged_data": data})
        await self.shop.settle()
        answer: Json = await self.shop.get(f"callbacks/{done['callback_query_id']}")
        return answer

    async def do(self, what: str, body: Json) -> list[Json]:
        await self.shop.post(f"people/{self.id}/{what}", body)
        return await self.answers()

    async def answers(self) -> list[Json]:
        """What the bot has said since we looked last."""
        await self.shop.settle()
        messages = await self.messages()
        new = [one for one in messages if one["message_id"] > self.heard and one["from_bot"]]
        self.heard = max((one["message_id"] for one in messages), default=0)
        return new

    async def messages(self) -> list[Json]:
        chat = await self.shop.get(f"people/{self.id}/chat")
        return [one for one in chat["messages"] if not one["deleted"]]

    async def customer(self) -> Customer:
        customer = await self.shop.database.run(lambda tx: customers.find(tx, self.id))
        assert customer is not None
        return customer

    async def balance(self) -> Balance:
        customer = await self.customer()
        return await self.shop.database.run(lambda tx: customers.balance(tx, customer.id))

    async def give(self, credits: int) -> None:
        customer = await self.customer()
        cause = f"test:{next(_causes)}"
        await self.shop.database.run(
            lambda tx: customers.top_up(tx, customer.id, amount=credits, funding="paid", cause=cause, reason="test")
        )


@dataclass
class Shop:
    """The bot's side: one process that lives until it is replaced."""

    telegram: str
    database: Database
    store: Store
    token: str
    client: httpx2.AsyncClient
    catalogue: Catalogue = field(default_factory=load_catalogue)
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None))

    def __post_init__(self) -> None:
        self.bot: Bot = make_bot(self.token, self.telegram)
        self.restart()

    def restart(self) -> None:
        """A new process: nothing that the old one knew is left."""
        self.dispatcher: Dispatcher = build_dispatcher(
            database=self.database, store=self.store, catalogue=self.catalogue, settings=self.settings
        )
        self.intake = Intake(self.bot, self.database, poll_seconds=0)
        self.handling = Handling(self.bot, self.dispatcher, self.database)
        self.outbox = Outbox(
            self.database,
            TelegramMessenger(self.bot, self.database, self.store, self.catalogue.models),
            chat_pause_seconds=0,
            card_pause_seconds=0,
        )

    async def settle(self) -> None:
        """Take in and handle all there is."""
        while await self.intake.turn():
            pass
        while await self.handling.turn():
            await self.handling.idle()

    async def tell(self) -> None:
        """Send every notice that may be sent."""
        while await self.outbox.turn():
            await self.outbox.idle()

    async def arrive(self, language: str = "en", name: str = "Ann") -> Person:
        created = await self.post("people", {"first_name": name, "language_code": language})
        return Person(self, int(created["id"]))

    async def regular(self, language: str = "en") -> Person:
        """Somebody who has agreed and has the welcome credit."""
        person = await self.arrive(language)
        await person.start()
        await person.tap({"en": "I agree, let's start", "ru": "Согласен, начнём"}[language])
        await person.answers()
        return person

    async def shopper(self, *, videos: str = "1 video · 1 credit") -> Person:
        """Somebody who looks at a card."""
        person = await self.regular()
        await person.send(photo())
        await person.tap("Hero shot")
        await person.write("A blue mug")
        await person.tap("Skip")
        await person.tap(videos)
        await person.answers()
        return person

    async def post(self, path: str, body: Json | None = None, **more: Any) -> Any:  # JSON
        response = await self.client.post(
            f"{self.telegram}/sim/{path}", json=body, params={"bot": self.token.split(":")[0]}, **more
        )
        assert response.is_success, response.text
        return response.json()

    async def get(self, path: str, **params: Any) -> Any:  # JSON
        response = await self.client.get(
            f"{self.telegram}/sim/{path}", params={"bot": self.token.split(":")[0], **params}
        )
        assert response.is_success, response.text
        return response.json()

    async def fault(self, kind: str, method: str, **more: Any) -> None:
        await self.post("faults", {"kind": kind, "method": method, **more})

    async def states(self) -> list[str]:
        async with self.database.transaction() as tx:
            cursor = await tx.execute("select state from updates order by id")
            return [state for (state,) in await cursor.fetchall()]


def labels(message: Json) -> list[str]:
    """The buttons below a message."""
    return [button["text"] for row in message["buttons"] for button in row]


def words(messages: list[Json]) -> str:
    """What the bot said, together."""
    return "\n".join(str(one["text"] or one["caption"]) for one in messages)


@cache
def photo(width: int = 600, height: int = 800, format: str = "JPEG", **how: Any) -> bytes:
    """A picture that is no one colour."""
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    out = io.BytesIO()
    picture.save(out, format, **how)
    return out.getvalue()

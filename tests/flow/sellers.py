"""A seller who does anything at any time: the next act is drawn from a seed, what it is done to from the chat.

The same seed draws the same acts; how they fall together with other sellers and with the shop's answers differs.
"""

import asyncio
import io
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from random import Random

from PIL import Image, ImageDraw

from flow.phones import Button, File, Json, OddMessage, Phone

REMEMBERED_ACTS = 30
WAITING_SHARE = 0.3
"""How often sellers who do something odd wait for an answer."""
PATIENCE_SECONDS = 5.0
GLANCE_SECONDS = 0.3

PURPOSE_SHARE = 0.9
"""How often sellers who go on do what they were asked for."""
LEADING_OUT = ("t:b:", "t:x:", "t:w:")
"""How the data of Back and both Cancels begin: sellers who did not know would hardly ever get to an order's end."""

FORGED_MESSAGES = 5
"""A forged tap names one of the newest messages, or one just beyond them."""

TEXTS = (
    "Кружка синяя, 300 мл",
    "a blue mug, hand-made; " * 30,
    "слово " * 680,  # as long as the app allows
    "x" * 1001,
    ".",
    "\u200b",
    " \u00a0\n ",
    "\u0000 and \u001b[31m",
    "🧴✨👩‍👩‍👧‍👦🏳️‍🌈",
    "كوب أزرق \u202e يدوي الصنع",
    "<b>bold</b> <img src=x onerror=alert(1)> & <script>",
    "{description} %s $1 {{ }} \\n '; drop table orders; --",
    "@shop http://example.com/?q=1&r=<2> #tag",
    "- 0 -1 1e309 null None",
)
COMMANDS = (
    "/start",
    "/cancel",
    "/balance",
    "/cabinet",
    "/language",
    "/help",
    "/nothing_like_it",
    "/",
    "/start@another_bot",
    "/cancel now, please",
    "/START",
    "/старт",
)
ODD_MESSAGES: tuple[OddMessage, ...] = ("sticker", "voice", "location", "forward")
LANGUAGES = ("ru", "en", "de", "pt-br", None)
PAYLOADS = (None, "from-instagram", "a" * 64, "_")
FORGED_DATA = (
    "t",
    "t:",
    "t:::",
    "t:y::",
    "t:y:00000000-0000-0000-0000-000000000000:",
    "t:t:not-a-uuid:hero_broll",
    "t:n:00000000-0000-0000-0000-000000000000:999999999999999999999",
    "t:l::xx",
    "c:statement:-1",
    "c:video:0",
    "noop",
    "\u0000",
    "💥" * 16,
    "a" * 64,
)


@dataclass(frozen=True)
class Words:
    """A seller who has sent something, which became this version of the chat, waits for a later one."""

    version: int


@dataclass(frozen=True)
class TapAnswer:
    """A seller who has tapped waits until the button is still again; then perhaps a message comes."""

    callback_id: str


@dataclass
class Seller:
    """One seller and what they remember: their last acts, for whoever has to find out what went wrong."""

    phone: Phone
    draw: Random
    give_credits: Callable[[int, int], Awaitable[None]]
    """Takes a Telegram id and an amount."""
    acts: Counter[str] = field(default_factory=Counter)
    trail: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_ACTS))
    awaited: Words | TapAnswer | None = None
    """What the last act waited for; then the chat has just been looked at."""

    async def act(self) -> None:
        """Do one random thing; now and then wait for an answer to it."""
        name = self.draw.choices(list(ACTS), [weight for weight, _ in ACTS.values()])[0]
        # Drawn whether or not they are needed, so that the next act is the same one in every run of a seed.
        waits, seed = name == "go on" or self.draw.random() < WAITING_SHARE, self.draw.getrandbits(64)
        if not await self._unblocked(name):
            return
        _, act = ACTS[name]
        self.acts[name] += 1
        if self.awaited is None:
            await self.phone.look()
        self.awaited = None
        self.trail.append(f"{name}: {await act(self, Random(seed))}")
        if not waits:
            self.awaited = None
        await self._wait(going_on=name == "go on")

    async def _wait(self, *, going_on: bool) -> None:
        """Wait until the bot has answered what was just done, if that is something it answers."""
        match self.awaited:
            case Words(version):
                self.phone.version = version
                await self.phone.hear(version, seconds=PATIENCE_SECONDS)
            case TapAnswer(callback_id):
                version, newest = self.phone.version, self.phone.last_id(from_bot=True)
                await self.phone.tap_answer(callback_id, wait_seconds=PATIENCE_SECONDS)
                if going_on:
                    await self._see_what_comes(version, newest)
                else:
                    await self.phone.hear(version, seconds=GLANCE_SECONDS)

    async def _see_what_comes(self, version: int, newest: int) -> None:
        """Wait until the tapped message has changed, and then for a way on or a message newer than the newest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (
                    self.phone.heard(version) and (self.phone.last_id(from_bot=True) > newest or self.ways_on())
                ):
                    await self.phone.look(wait_seconds=PATIENCE_SECONDS)

    def ways_on(self) -> list[Button]:
        """The buttons of the bot's newest message that do not lead out."""
        return [button for button in self.newest_buttons() if not button.data.startswith(LEADING_OUT)]

    def newest_buttons(self) -> list[Button]:
        """The buttons of the bot's newest message."""
        newest = self.phone.last_id(from_bot=True)
        return [button for button in self.phone.buttons() if button.message_id == newest]

    async def _unblocked(self, name: str) -> bool:
        """Whether the act can be done: somebody who has blocked the bot first comes back, sooner or later."""
        if not self.trail or not self.trail[-1].startswith("block"):
            return True
        if name in ("start", "block"):
            return True
        if self.draw.random() < 0.5:
            await self.phone.unblock()
            self.trail.append("unblock")
        return False


# What a seller can do: each act returns what it did, for the trail ----------------------------------------------------


async def _write(seller: Seller, draw: Random) -> str:
    return _sent(seller, await seller.phone.write(draw.choice(TEXTS)))


async def _describe(seller: Seller, draw: Random) -> str:
    return _sent(seller, await seller.phone.write(f"Product number {draw.randrange(1000)}"))


async def _command(seller: Seller, draw: Random) -> str:
    return _sent(seller, await seller.phone.write(draw.choice(COMMANDS)))


async def _start(seller: Seller, draw: Random) -> str:
    return _sent(seller, await seller.phone.start(draw.choice(PAYLOADS)))


async def _photo(seller: Seller, draw: Random) -> str:
    return _sent(seller, await seller.phone.send_photo(draw.choice(photos())))


async def _photo_with_caption(seller: Seller, draw: Random) -> str:
    return _sent(seller, await seller.phone.send_photo(draw.choice(photos()), draw.choice(TEXTS)[:1024]))


async def _photo_and_text(seller: Seller, draw: Random) -> str:
    sent = await seller.phone.send_photo(draw.choice(photos()))
    return f"{_sent(seller, sent)}, {_sent(seller, await seller.phone.write(draw.choice(TEXTS)))}"


async def _odd_photo(seller: Seller, draw: Random) -> str:
    return _sent(seller, await seller.phone.send_photo(draw.choice(odd_pictures())))


async def _document(seller: Seller, draw: Random) -> str:
    document = draw.choice([*photos(), *odd_pictures()])
    return _sent(seller, await seller.phone.send_document(document, draw.choice(("", *TEXTS))[:1024]))


async def _album(seller: Seller, draw: Random) -> str:
    pictures = draw.choices([*photos(), *odd_pictures()], k=draw.randint(2, 4))
    return _sent(seller, await seller.phone.send_album(pictures, draw.choice(("", *TEXTS))[:1024]))


async def _odd_message(seller: Seller, draw: Random) -> str:
    """What no shop asks for: a sticker, a voice message, a place, somebody else's post."""
    return _sent(seller, await seller.phone.send_odd(draw.choice(ODD_MESSAGES)))


async def _edit(seller: Seller, draw: Random) -> str:
    own = [one for one in seller.phone.present() if not one["from_bot"]]
    if not own:
        return "nothing"
    return _named(await seller.phone.edit(draw.choice(own)["message_id"], draw.choice(TEXTS)[:1024]))


async def _delete(seller: Seller, draw: Random) -> str:
    if not seller.phone.present():
        return "nothing"
    message = draw.choice(seller.phone.present())
    await seller.phone.delete(message["message_id"])
    return _named(message)


async def _go_on(seller: Seller, draw: Random) -> str:
    """What the bot's newest message asks for, more or less: how orders come about."""
    ahead = seller.ways_on()
    if ahead and draw.random() < PURPOSE_SHARE:
        return await _tap(seller, draw, ahead)
    # Only ways out: a question wants words, or an order is being made. No buttons at all: nothing has begun yet.
    wants_words = bool(seller.newest_buttons()) and not ahead
    return await (_describe if (draw.random() < PURPOSE_SHARE) is wants_words else _photo)(seller, draw)


async def _tap_any(seller: Seller, draw: Random) -> str:
    return await _tap(seller, draw, seller.phone.buttons())


async def _tap_twice(seller: Seller, draw: Random) -> str:
    buttons = seller.phone.buttons()[-5:]
    if not buttons:
        return "nothing"
    button = draw.choice(buttons)
    await asyncio.gather(seller.phone.tap(button), seller.phone.tap(button))
    return f"{button.label!r} on message {button.message_id}"


async def _tap_past(seller: Seller, draw: Random) -> str:
    """A button that is gone from its message, as a phone that has not heard of it yet still shows it."""
    buttons = seller.phone.past_buttons()
    if not buttons:
        return "nothing"
    button = draw.choice(buttons)
    await seller.phone.forge(button.message_id, button.data)
    return f"{button.label!r} on message {button.message_id}"


async def _forge(seller: Seller, draw: Random) -> str:
    last = max(1, len(seller.phone.messages))
    message_id = draw.randint(max(1, last - FORGED_MESSAGES), last + 1)
    # Half of the forgeries are real data with an end of its own.
    real = [button.data for button in seller.phone.buttons()]
    data = draw.choice(FORGED_DATA) if not real or draw.random() < 0.5 else draw.choice(real)[:-1] + draw.choice("x1:")
    await seller.phone.forge(message_id, data)
    return f"{data!r} on message {message_id}"


async def _block(seller: Seller, _draw: Random) -> str:
    await seller.phone.block()
    return "the bot"


async def _speak(seller: Seller, draw: Random) -> str:
    language = draw.choice(LANGUAGES)
    await seller.phone.speak(language)
    return str(language)


async def _get_credits(seller: Seller, draw: Random) -> str:
    amount = draw.randint(1, 2)
    await seller.give_credits(seller.phone.person_id, amount)
    return str(amount)


async def _tap(seller: Seller, draw: Random, buttons: list[Button]) -> str:
    if not buttons:
        return "nothing"
    button = draw.choice(buttons)
    tapped = await seller.phone.tap(button)
    seller.awaited = TapAnswer(tapped) if tapped else None
    return f"{button.label!r} on message {button.message_id}"


ACTS: dict[str, tuple[int, Callable[[Seller, Random], Awaitable[str]]]] = {
    "go on": (160, _go_on),
    "write": (5, _write),
    "command": (4, _command),
    "start": (2, _start),
    "photo": (2, _photo),
    "photo with caption": (1, _photo_with_caption),
    "photo and text": (1, _photo_and_text),
    "odd photo": (1, _odd_photo),
    "document": (2, _document),
    "album": (1, _album),
    "odd message": (1, _odd_message),
    "edit": (4, _edit),
    "delete": (2, _delete),
    "tap any": (7, _tap_any),
    "tap twice": (5, _tap_twice),
    "tap past": (4, _tap_past),
    "forge": (3, _forge),
    "block": (1, _block),
    "speak": (1, _speak),
    "get credits": (1, _get_credits),
}
"""How often each is done, in relation to the others."""


@cache
def photos() -> tuple[File, ...]:
    """Photos that a video can be made of."""
    return (
        ("front.jpg", _picture(600, 800, "JPEG")),
        ("wide.jpg", _picture(800, 500, "JPEG")),
        ("drawing.png", _picture(400, 700, "PNG")),
    )


@cache
def odd_pictures() -> tuple[File, ...]:
    """What cannot be used: some of it the app refuses to send as a photo, the rest the shop has to."""
    good = photos()[0][1]
    return (
        ("tiny.jpg", _picture(120, 90, "JPEG")),
        ("strip.png", _picture(1500, 320, "PNG")),
        ("animation.gif", _picture(400, 400, "GIF")),
        ("cut.jpg", good[: len(good) // 2]),
        ("notes.pdf", b"%PDF-1.7\nno picture"),
        ("empty.jpg", b""),
        ("..\u202egpj.exe", b"MZ" + bytes(2000)),
    )


def _picture(width: int, height: int, form: str) -> bytes:
    picture = Image.radial_gradient("L").resize((width, height)).convert("RGB")
    ImageDraw.Draw(picture).rectangle((width // 3, height // 4, width // 2, height // 2), fill=(180, 40, 60))
    out = io.BytesIO()
    picture.save(out, form)
    return out.getvalue()


def _sent(seller: Seller, message: Json | None) -> str:
    """A message that the bot should answer."""
    if message is not None:
        seller.awaited = Words(message["version"])
    return _named(message)


def _named(message: Json | None) -> str:
    """Which message it is, and how it begins."""
    if message is None:
        return "refused by the app"
    words = str(message["text"] or message["caption"] or "")
    media = f" {message['media']['kind']}" if message["media"] else ""
    return f"message {message['message_id']}{media} {words[:30]!r}"

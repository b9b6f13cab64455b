"""Sellers who order by the chat, as fast as the shop answers, and remember what they were told.

They see only what a person sees in the app, act on the newest button that leads on, now and then tap it twice, and say
/start when nothing comes for too long.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random

import httpx2

from neurocards.storm.plan import Json

AGREE, TEMPLATE, SKIP_WISHES, COUNT, CONFIRM, REPEAT, TAKE_BACK = "a", "t", "s", "n", "y", "r", "w"
"""What the buttons of a draft do, as their data says: `t:does:order:value`."""

CHOICES = {TEMPLATE: ("hero_broll", "ugc_blogger"), COUNT: (*["1"] * 19, "3")}

DOUBLE_TAP_SHARE = 0.25
REPEAT_SHARE = 0.85
"""How often sellers who have a video or a refusal order from it, without sending a photo."""

PUT_OFF_SECONDS = 2.0
"""After how long somebody who was told no taps Confirm again."""

TAKE_BACK_SHARE = 0.4
"""How often sellers think better of it, as soon as the card offers that: some are too late."""

GLANCE_SECONDS = 0.15
TAKE_BACK_LOOKS = 5
LOOK_SECONDS = 2.0
ANSWER_SECONDS = 15.0
GIVE_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Offer:
    """A button that leads on."""

    message_id: int
    data: str

    @property
    def does(self) -> str:
        return self.data.split(":")[1]

    @property
    def order_id(self) -> str:
        return self.data.split(":")[2]


@dataclass
class Confirmed:
    """A card that was confirmed: every tap on it, and whether the bot said that the order is placed."""

    person_id: int
    order_id: str
    taps: list[str] = field(default_factory=list)
    acknowledged: bool = False


@dataclass
class Memory:
    """What all sellers did and were told. `confirmed` is by order."""

    people: list[int] = field(default_factory=list)
    confirmed: dict[str, Confirmed] = field(default_factory=dict)
    double_taps: int = 0
    nudges: int = 0
    taken_back: int = 0

    @property
    def acknowledged(self) -> int:
        return sum(one.acknowledged for one in self.confirmed.values())


class Phone:
    """One person in the chat with the only bot there is."""

    def __init__(self, client: httpx2.AsyncClient, telegram: str, person_id: int) -> None:
        self._client = client
        self._sim = f"{telegram}/sim"
        self.person_id = person_id
        self.version = 0
        self._seen: dict[int, Json] = {}

    @classmethod
    async def buy(cls, client: httpx2.AsyncClient, telegram: str, name: str) -> "Phone":
        """Somebody the shop has never met opens Telegram."""
        person_id = 1_000_000_000 + secrets.randbelow(9_000_000_000)
        person = {"id": person_id, "first_name": name, "language_code": "ru"}
        (await client.post(f"{telegram}/sim/people", json=person)).raise_for_status()
        return cls(client, telegram, person_id)

    async def start(self) -> None:
        await self._post("start", json={})

    async def send_photo(self, photo: bytes, caption: str) -> int:
        """Returns the message's id."""
        sent = await self._post("photo", files={"file": ("product.jpg", photo)}, data={"caption": caption})
        return int(sent["message_id"])

    async def tap(self, offer: Offer) -> str | None:
        """Returns the id under which the answer is found; None when the button is gone by now."""
        response = await self._client.post(
            f"{self._sim}/people/{self.person_id}/tap", json={"message_id": offer.message_id, "button": offer.data}
        )
        if response.status_code == httpx2.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        return str(response.json()["callback_query_id"])

    async def tap_answer(self, tap: str, *, wait_seconds: float = 0.0) -> Json:
        """How the bot answered a tap; `answered` is False when it has not in time."""
        response = await self._client.get(
            f"{self._sim}/callbacks/{tap}", params={"wait": wait_seconds}, timeout=wait_seconds + 60.0
        )
        response.raise_for_status()
        answer: Json = response.json()
        return answer

    async def look(self, wait_seconds: float = 0.0) -> None:
        """Bring `messages` up to date, as soon as the chat differs from what was seen last."""
        response = await self._client.get(
            f"{self._sim}/people/{self.person_id}/news",
            params={"since": self.version, "wait": wait_seconds},
            timeout=wait_seconds + 60.0,
        )
        response.raise_for_status()
        news = response.json()
        self.version = news["version"]
        for message in news["messages"]:
            self._seen[message["message_id"]] = message

    @property
    def messages(self) -> list[Json]:
        """What is in the chat, in its order."""
        return [self._seen[message_id] for message_id in sorted(self._seen)]

    def offers(self) -> list[Offer]:
        """Every button about a draft or an order that is there, the newest message's last."""
        return [
            Offer(message["message_id"], button["callback_data"])
            for message in self.messages
            if not message["deleted"]
            for row in message["buttons"]
            for button in row
            if (button["callback_data"] or "").startswith("t:")
        ]

    async def _post(self, what: str, **request: object) -> Json:
        response = await self._client.post(f"{self._sim}/people/{self.person_id}/{what}", **request)  # type: ignore[arg-type]
        response.raise_for_status()
        answer: Json = response.json()
        return answer


def is_acknowledgement(answer: Json) -> bool:
    """Whether an answer to a tap on Confirm says that the order is placed; whatever else it says is an alert."""
    return bool(answer["answered"] and answer["text"] and not answer["show_alert"])


class Seller:
    """One person who orders again and again."""

    def __init__(self, phone: Phone, draw: Random, memory: Memory, photo: bytes) -> None:
        self._phone = phone
        self._draw = draw
        self._memory = memory
        self._photo = photo
        self._tapped: set[Offer] = set()
        self._asked_after = 0

    async def trade(self, orders: int, is_over: Callable[[], bool]) -> None:
        """Agree to the terms and order so many times, or until it is over."""
        await self._phone.start()
        async for offer in self._offers(is_over):
            await self._tap(offer)
            if offer.does == AGREE:
                break
        for _ in range(orders):
            if is_over():
                return
            await self._order(is_over)

    async def _order(self, is_over: Callable[[], bool]) -> None:
        """Get one card and confirm it."""
        await self._begin()
        async for offer in self._offers(is_over):
            if offer.does == CONFIRM:
                if await self._is_put_off(offer):
                    await asyncio.sleep(PUT_OFF_SECONDS)
                    continue
                if self._draw.random() < TAKE_BACK_SHARE:
                    await self._take_back(offer)
                return
            await self._tap(offer)

    async def _begin(self) -> None:
        """By a photo, or from something ordered before."""
        again = [offer for offer in self._phone.offers() if offer.does == REPEAT and offer.data.endswith(":all")]
        if again and self._draw.random() < REPEAT_SHARE:
            offer = self._draw.choice(again)
            self._asked_after = max(message["message_id"] for message in self._phone.messages)
            if await self._phone.tap(offer) is not None:
                return
        caption = f"Товар номер {self._draw.randrange(10_000)}"
        self._asked_after = await self._phone.send_photo(self._photo, caption)

    async def _offers(self, is_over: Callable[[], bool]) -> AsyncIterator[Offer]:
        """The next button that leads on, each once, as it comes; ends when nothing comes for too long."""
        loop = asyncio.get_running_loop()
        heard_at = nudged_at = loop.time()
        while not is_over():
            offer = self._next_offer()
            now = loop.time()
            if offer is not None:
                heard_at = nudged_at = now
                yield offer
            elif now - heard_at > GIVE_UP_SECONDS:
                return
            elif now - nudged_at > ANSWER_SECONDS:
                nudged_at = now
                self._memory.nudges += 1
                await self._phone.start()
            else:
                # One look for all that an answer changes in the chat, instead of one for each change.
                await asyncio.sleep(GLANCE_SECONDS)
                await self._phone.look(wait_seconds=LOOK_SECONDS)

    def _next_offer(self) -> Offer | None:
        """One that was not tapped yet, of the newest message that asks for something since the last order began."""
        for offer in reversed(self._phone.offers()):
            if offer.message_id <= self._asked_after or offer in self._tapped:
                continue
            if offer.does in (AGREE, SKIP_WISHES, CONFIRM):
                return offer
            if offer.does in CHOICES:
                value = self._draw.choice(CHOICES[offer.does])
                return Offer(offer.message_id, f"{offer.data.rpartition(':')[0]}:{value}")
        return None

    async def _tap(self, offer: Offer) -> None:
        # Every button of the question is done with, whichever of them was tapped.
        self._tapped |= {one for one in self._phone.offers() if one.message_id == offer.message_id}
        await self._phone.tap(offer)

    async def _take_back(self, confirmed: Offer) -> None:
        """Wait until the card offers it, and tap; whatever comes of it, the books will say."""
        for _ in range(TAKE_BACK_LOOKS):
            for offer in self._phone.offers():
                if offer.does == TAKE_BACK and offer.order_id == confirmed.order_id:
                    self._memory.taken_back += 1
                    await self._phone.tap(offer)
                    return
            await self._phone.look(wait_seconds=GLANCE_SECONDS * 4)

    async def _is_put_off(self, offer: Offer) -> bool:
        """Tap Confirm, perhaps twice, and remember what the bot says; returns whether it says no.

        So it does while sales are closed, because nobody can be asked for a video: the card can be tapped again.
        """
        twice = self._draw.random() < DOUBLE_TAP_SHARE
        self._memory.double_taps += twice
        self._tapped |= {one for one in self._phone.offers() if one.message_id == offer.message_id}
        confirmed = self._memory.confirmed.setdefault(offer.order_id, Confirmed(self._phone.person_id, offer.order_id))
        taps = await asyncio.gather(*(self._phone.tap(offer) for _ in range(1 + twice)))
        confirmed.taps += [tap for tap in taps if tap is not None]
        answers = [await self._phone.tap_answer(tap, wait_seconds=ANSWER_SECONDS) for tap in confirmed.taps]
        confirmed.acknowledged = any(map(is_acknowledgement, answers))
        put_off = not confirmed.acknowledged and any(answer["answered"] and answer["show_alert"] for answer in answers)
        if put_off:
            self._tapped.discard(offer)
        return put_off

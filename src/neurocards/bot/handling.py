"""Handles stored updates: one at a time per person, many people at once, none lost, none in anybody's way for ever."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import structlog
from aiogram import Bot, Dispatcher
from aiogram.exceptions import AiogramError
from aiogram.types import Update as TelegramUpdate
from aiogram.types.update import UpdateTypeLookupError
from structlog.contextvars import bound_contextvars

from neurocards.bot.trouble import meaning
from neurocards.db import customers, updates
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.updates import Update
from neurocards.domain.failures import Failure, FailureKind, backoff_seconds
from neurocards.loops import Loop, Slots
from neurocards.notices import Unreachable
from neurocards.texts import guess_language, translate

SLOTS = 400
"""Most of what is handled at once waits: for Telegram, or for its turn to download a photo."""

BATCH = 100
WORTHWHILE = 25
"""Claiming looks at everything that waits: in a burst it is not asked again for every slot that falls free."""

POLL_SECONDS = 0.5
"""How often the inbox is asked without a hint: pauses end silently, notifications can be lost."""

LEASE_SECONDS = 60.0
HANDLING_SECONDS = 50.0
"""Ends before the lease does, so that no update is handled twice at the same time."""

DRAIN_SECONDS = 25.0
MAX_ATTEMPTS = 3
MAX_DEATHS = 6
"""A process that dies takes along what it was handling, and most of that is innocent."""

PATIENCE_SECONDS = 900.0
"""For so long trouble on the way to Telegram costs no attempt; one call that never works must not block a chat."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Handled:
    """Done, or nothing to do."""


@dataclass(frozen=True)
class PutBack:
    """To be tried again."""

    seconds: float
    failure: str | None
    spends_attempt: bool


@dataclass(frozen=True)
class Dead:
    """Failed again and again; the person was told."""

    failure: str


Ending = Handled | PutBack | Dead


class Handling:
    """Feeds updates to the dispatcher. Any number of processes may run one."""

    def __init__(self, bot: Bot, dispatcher: Dispatcher, database: Database) -> None:
        self._bot = bot
        self._dispatcher = dispatcher
        self._database = database
        self._ended: list[tuple[Update, Ending]] = []
        self._loop = Loop("handling", self.turn, pause_seconds=POLL_SECONDS)
        self._slots = Slots(SLOTS, when_free=self._loop.wake)

    def wake(self) -> None:
        """Look now: updates came in."""
        self._loop.wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Handle until `stop` is set, then finish what is being handled."""
        await self._loop.run(stop)
        await self._slots.drain(seconds=DRAIN_SECONDS)
        try:
            await self._database.run(lambda tx: _record(tx, self._ended), patience_seconds=2.0)
        except Away:
            # Their leases run out, and they are handled again by somebody else.
            log.warning("endings_not_recorded", updates=len(self._ended))

    async def turn(self) -> int:
        """Record what has ended and start on the next updates, in one transaction; returns how many were started."""
        free = self._slots.free
        if free < WORTHWHILE:
            return 0
        ended = self._ended.copy()

        async def exchange(tx: Transaction) -> list[Update]:
            await _record(tx, ended)
            return await updates.claim(tx, limit=min(free, BATCH), lease_seconds=LEASE_SECONDS)

        claimed = await self._database.run(exchange)
        del self._ended[: len(ended)]
        for update in claimed:
            self._slots.start(update.id, self._handle(update))
        return len(claimed)

    async def idle(self) -> None:
        """Wait until nothing is being handled here; for turns taken by hand."""
        await self._slots.idle()

    async def _handle(self, update: Update) -> None:
        with bound_contextvars(
            update_id=update.id, person=update.person, attempt=update.attempt, lease_number=update.lease_number
        ):
            # If we are cancelled while we drain, whoever is next begins it anew.
            ending: Ending = PutBack(0.0, None, spends_attempt=False)
            try:
                ending = await self._feed_calmly(update)
            finally:
                self._ended.append((update, ending))

    async def _feed_calmly(self, update: Update) -> Ending:
        """Feed the update; whatever goes wrong becomes an ending."""
        if update.deaths >= MAX_DEATHS:
            return await self._give_up(update, "whoever handled it died, again and again")
        try:
            async with asyncio.timeout(HANDLING_SECONDS):
                await self._feed(update)
        except Away as error:
            return PutBack(1.0, f"database: {error}".strip(), spends_attempt=False)
        except (AiogramError, Failure, Unreachable) as error:
            return await self._judge(update, meaning(error) if isinstance(error, AiogramError) else error)
        except Exception as error:
            log.exception("update_crashed")
            return await self._spend(update, repr(error))
        return Handled()

    async def _feed(self, update: Update) -> None:
        parsed = TelegramUpdate.model_validate(update.body, context={"bot": self._bot})
        try:
            _ = parsed.event_type
        except UpdateTypeLookupError:
            log.info("update_unknown", keys=sorted(update.body))
            return
        await self._dispatcher.feed_update(self._bot, parsed, repeated=update.repeated)

    async def _judge(self, update: Update, trouble: Failure | Unreachable) -> Ending:
        """What trouble with Telegram means for the update."""
        if isinstance(trouble, Unreachable):
            # They have gone while we were answering. What was done stays done.
            await self._database.run(lambda tx: self._mark_unreachable(tx, update.person))
            return Handled()
        log.warning("reply_failed", failure=str(trouble))
        match trouble.kind:
            case FailureKind.RATE_LIMITED:
                return PutBack(trouble.retry_after_seconds or 5.0, str(trouble), spends_attempt=False)
            case FailureKind.TEMPORARY | FailureKind.OUTAGE if update.waited_seconds < PATIENCE_SECONDS:
                pause = min(30.0, max(1.0, update.waited_seconds))
                return PutBack(pause, str(trouble), spends_attempt=False)
            case FailureKind.TEMPORARY | FailureKind.OUTAGE | FailureKind.PERMANENT | FailureKind.UNSUITED:
                return await self._spend(update, str(trouble))
            case _:
                assert_never(trouble.kind)

    async def _mark_unreachable(self, tx: Transaction, person: int) -> None:
        customer = await customers.find(tx, person)
        if customer is not None:
            await customers.set_reachable(tx, customer.id, reachable=False)

    async def _spend(self, update: Update, failure: str) -> Ending:
        if update.attempt >= MAX_ATTEMPTS:
            return await self._give_up(update, failure)
        return PutBack(backoff_seconds(update.attempt), failure, spends_attempt=True)

    async def _give_up(self, update: Update, failure: str) -> Ending:
        """Apologise as well as we can; the person's next update is handled as if nothing had been."""
        log.error("update_dead", failure=failure)
        try:
            await self._apologise(update)
        except Exception:
            log.exception("apology_failed")
        return Dead(failure)

    async def _apologise(self, update: Update) -> None:
        customer = await self._database.run(lambda tx: customers.find(tx, update.person))
        language = customer.language if customer else guess_language(None)
        tap = update.body.get("callback_query")
        if tap:
            await self._bot.answer_callback_query(tap["id"])
        await self._bot.send_message(update.person, translate(language, "apology"))


async def _record(tx: Transaction, ended: Sequence[tuple[Update, Ending]]) -> None:
    handled = []
    for update, ending in ended:
        match ending:
            case Handled():
                handled.append(update)
            case PutBack(seconds, failure, spends_attempt):
                await updates.put_back(tx, update, seconds=seconds, failure=failure, spends_attempt=spends_attempt)
            case Dead(failure):
                await updates.bury(tx, update, failure=failure)
            case _:
                assert_never(ending)
    if handled:
        await updates.finish(tx, handled)

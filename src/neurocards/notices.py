"""What customers are told: written in the commit it tells of, sent in order per customer, paced, retried.

A status card says what is, not what was: it is edited seldom, only when it changes, and catches up by itself.

Sending can be repeated only after an answer was lost; nothing is ever dropped because of passing trouble. A customer
who blocked the bot gets everything when they are back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, assert_never
from uuid import UUID

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars

from neurocards import meters, traces
from neurocards.db import customers, generations, notices, orders, outlook
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.customers import Customer
from neurocards.db.notices import Notice, NoticeKind
from neurocards.domain.failures import MAX_ATTEMPTS, Failure, FailureKind, Reason, backoff_seconds
from neurocards.domain.generations import Attempt, Generation, GenerationState
from neurocards.domain.orders import Order
from neurocards.domain.outlook import Outlook
from neurocards.loops import Holding

CHAT_PAUSE_SECONDS = 1.0
"""Telegram takes about one message a second in one chat."""

MESSAGES_PER_SECOND = 30.0
"""What Telegram takes from one bot in all chats together."""

CARD_PAUSE_SECONDS = 3.0
"""Edits count like messages: a card that changes faster than people read would only eat up the chat's pace."""

LEASE_SECONDS = 45.0
"""How long a sender may be silent before others send what it held; a heartbeat extends it during long uploads."""

SENDING_SECONDS = 600.0
"""Longer than any upload that still goes on."""

SLOTS = 30
POLL_SECONDS = 0.25
DRAIN_SECONDS = 25.0
LONGEST_PAUSE_SECONDS = 60.0
RECORD_PATIENCE_SECONDS = 120.0

log = structlog.get_logger()


class Unreachable(Exception):
    """The customer blocked the bot or is gone: no retry helps until they come back."""


@dataclass(frozen=True)
class Story:
    """An order as it is told to its customer at one moment of the shared clock.

    `generation` is the one the notice is about, if it is about one. `attempts` has, by generation, the try at the
    provider that counts.
    """

    customer: Customer
    order: Order
    generations: Sequence[Generation]
    generation: Generation | None
    stage: str | None
    attempts: Mapping[UUID, Attempt]
    outlook: Outlook
    now: datetime
    repeated: bool = False
    """Whether they may have got this before: then it says so."""


@dataclass(frozen=True)
class Sent:
    """What the customer got: the message, Telegram's own id of the video in it, what the card says now."""

    message_id: int
    file_id: str | None = None
    card_text: str | None = None
    changed: bool = True
    """Whether Telegram was asked at all: the card may have said this already."""


class Messenger(Protocol):
    """Whoever can write to customers. Raises Failure, or Unreachable."""

    async def show_status(self, story: Story) -> Sent:
        """Bring the order's status card up to date: edit it, or send a new one where it is gone."""
        ...

    async def deliver(self, story: Story) -> Sent:
        """Hand over the finished video of `story.generation`."""
        ...

    async def deliver_file(self, story: Story) -> Sent:
        """Hand over the same video as a file: its bytes as they are."""
        ...

    async def tell_failure(self, story: Story) -> Sent:
        """Say why there is no video and that the credits are back."""
        ...

    async def tell_gone(self, story: Story) -> None:
        """Say that a past video cannot be sent any more."""
        ...


class Outbox:
    """Sends what is waiting. Any number of processes may run one."""

    def __init__(
        self,
        database: Database,
        messenger: Messenger,
        *,
        chat_pause_seconds: float = CHAT_PAUSE_SECONDS,
        card_pause_seconds: float = CARD_PAUSE_SECONDS,
        messages_per_second: float = MESSAGES_PER_SECOND,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._messenger = messenger
        self._chat_pause_seconds = chat_pause_seconds
        self._card_pause_seconds = card_pause_seconds
        self._messages_per_second = messages_per_second
        self._lease_seconds = lease_seconds
        self._holding = Holding(
            "outbox",
            slots=SLOTS,
            poll_seconds=POLL_SECONDS,
            lease_seconds=lease_seconds,
            drain_seconds=DRAIN_SECONDS,
            claim=self._claim,
            extend=self._extend,
            work=self._send,
        )
        self.wake = self._holding.wake
        self.turn = self._holding.turn
        self.idle = self._holding.idle

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, then finish what is being sent."""
        await self._holding.run(stop)

    async def _claim(self, limit: int, held: Collection[int]) -> Sequence[Notice]:
        async def claim(tx: Transaction) -> list[Notice]:
            return await notices.claim(
                tx, limit=limit, lease_seconds=self._lease_seconds, per_second=self._messages_per_second, held=held
            )

        return await self._database.run(claim)

    async def _extend(self, held: Sequence[Notice]) -> Collection[int]:
        return await self._database.run(lambda tx: notices.extend(tx, held, lease_seconds=self._lease_seconds))

    async def _send(self, notice: Notice) -> None:
        video = {} if notice.generation_id is None else {"generation_id": str(notice.generation_id)}
        with bound_contextvars(
            notice_id=notice.id,
            kind=notice.kind.value,
            order_id=str(notice.order_id),
            lease_number=notice.lease_number,
            attempt=notice.attempt,
            **video,
        ):
            await self._send_calmly(notice)

    async def _send_calmly(self, notice: Notice) -> None:
        story: Story | None = None
        try:
            story = await self._database.run(
                lambda tx: self._read(tx, notice), patience_seconds=RECORD_PATIENCE_SECONDS
            )
            if story is None:
                return
            bind_contextvars(**story.order.names)
            with traces.span(f"send {notice.kind.value}", story.order):
                async with asyncio.timeout(SENDING_SECONDS):
                    sent = await self._say(notice.kind, story)
        except Unreachable:
            log.info("customer_unreachable")
            meters.message(notice.kind.value, "unreachable")
            await self._record(lambda tx: self._set_aside(tx, notice))
        except Failure as raised:
            failure = raised
            log.warning("notice_failed", failure=str(failure))
            meters.message(notice.kind.value, "undeliverable" if _is_final(failure) else "put_off")
            await self._record(lambda tx: self._put_off(tx, notice, failure))
            await self._regret(notice, failure, story)
        except Away:
            # The lease runs out and the notice is taken up again.
            log.warning("notice_interrupted")
        except Exception as error:
            # A fault of ours must not end the process, nor hold up the customer's other notices for ever: after as
            # many tries as anything else gets, it makes way for the next one.
            log.exception("notice_crashed")
            meters.message(notice.kind.value, "crashed")
            kind = FailureKind.TEMPORARY if notice.attempt < MAX_ATTEMPTS else FailureKind.PERMANENT
            cut_off = isinstance(error, TimeoutError)
            crash = Failure(kind, Reason.INTERNAL, repr(error), may_have_happened=cut_off)
            await self._record(lambda tx: self._put_off(tx, notice, crash))
            await self._regret(notice, crash, story)
        else:
            await self._record(lambda tx: self._finish(tx, notice, sent))
            meters.message(notice.kind.value, "sent")
            if notice.kind is NoticeKind.VIDEO and story.generation is not None and story.generation.finished_at:
                meters.stage_took("delivery", (story.now - story.generation.finished_at).total_seconds())
            log.debug("notice_sent", stage=notice.stage)

    async def _read(self, tx: Transaction, notice: Notice) -> Story | None:
        """What to say; None when a newer status says it all, or the card has to rest first."""
        if notice.kind is NoticeKind.STATUS:
            if await notices.overtaken(tx, notice):
                await notices.finish(tx, notice, state="superseded")
                return None
            if await notices.card_rests(tx, notice, seconds=self._card_pause_seconds):
                return None
        order = await orders.find(tx, notice.order_id)
        if order is None:
            raise LookupError(f"notice {notice.id} is about no order")
        of_order = await generations.of_order(tx, order.id)
        about = next((one for one in of_order if one.id == notice.generation_id), None)
        if notice.kind is NoticeKind.FAILURE and about is not None and _told_with_another(about, of_order):
            await notices.finish(tx, notice, state="superseded")
            return None
        return Story(
            customer=await customers.get(tx, notice.customer_id),
            order=order,
            generations=of_order,
            generation=about,
            stage=notice.stage,
            attempts={one.generation_id: one for one in await generations.latest_attempts(tx, order.id)},
            outlook=Outlook() if all(one.state.ended for one in of_order) else await outlook.read(tx, order),
            now=await generations.clock(tx),
            repeated=notice.repeats > 0,
        )

    async def _say(self, kind: NoticeKind, story: Story) -> Sent:
        match kind:
            case NoticeKind.STATUS:
                return await self._messenger.show_status(story)
            case NoticeKind.VIDEO | NoticeKind.AGAIN:
                return await self._messenger.deliver(story)
            case NoticeKind.FILE:
                return await self._messenger.deliver_file(story)
            case NoticeKind.FAILURE:
                return await self._messenger.tell_failure(story)
            case _:
                assert_never(kind)

    async def _finish(self, tx: Transaction, notice: Notice, sent: Sent) -> None:
        pause_seconds = self._chat_pause_seconds if sent.changed else 0.0
        ours = await notices.finish(tx, notice, state="sent", message_id=sent.message_id, pause_seconds=pause_seconds)
        if not ours and notice.kind is NoticeKind.STATUS:
            await notices.tell_again(tx, notice)
        if sent.card_text is not None and sent.changed:
            await orders.set_card(tx, notice.order_id, sent.message_id, sent.card_text)
        if notice.generation_id is not None and sent.file_id is not None:
            await notices.keep_file_id(tx, notice.generation_id, sent.file_id)

    async def _set_aside(self, tx: Transaction, notice: Notice) -> None:
        await customers.set_reachable(tx, notice.customer_id, reachable=False)
        await notices.put_back(tx, notice, seconds=0, failure="unreachable", spends_attempt=False)

    async def _put_off(self, tx: Transaction, notice: Notice, failure: Failure) -> None:
        match failure.kind:
            case FailureKind.PERMANENT | FailureKind.UNSUITED:
                await self._bury(tx, notice, failure)
            case FailureKind.RATE_LIMITED | FailureKind.OUTAGE:
                pause = failure.retry_after_seconds or LONGEST_PAUSE_SECONDS
                # The whole chat rests: another notice would only meet the same answer.
                await notices.rest(tx, notice.customer_id, seconds=pause)
                await notices.put_back(tx, notice, seconds=pause, failure=str(failure), spends_attempt=False)
            case FailureKind.TEMPORARY:
                # No limit: a finished video is owed, however long Telegram is away.
                pause = min(LONGEST_PAUSE_SECONDS, backoff_seconds(min(notice.attempt, 4)))
                if notice.kind is NoticeKind.STATUS:
                    # The edit may have worked: what the card says now is not known.
                    await orders.forget_card_text(tx, notice.order_id)
                await notices.put_back(
                    tx,
                    notice,
                    seconds=pause,
                    failure=str(failure),
                    spends_attempt=notice.attempt < 1000,
                    # An edit is no second message.
                    in_doubt=failure.may_have_happened and notice.kind is not NoticeKind.STATUS,
                )
            case _:
                assert_never(failure.kind)

    async def _bury(self, tx: Transaction, notice: Notice, failure: Failure) -> None:
        """It will never arrive. A video that was paid for and never came is paid back."""
        log.error("notice_undeliverable", failure=str(failure))
        await notices.finish(tx, notice, state="undeliverable")
        if notice.kind is NoticeKind.VIDEO and notice.generation_id is not None:
            await generations.reverse(tx, notice.generation_id, reason=Reason.DELIVERY)

    async def _regret(self, notice: Notice, failure: Failure, story: Story | None) -> None:
        """Somebody waits for a past video that will never come; nothing depends on this word, so it is tried once."""
        requested = notice.kind in (NoticeKind.AGAIN, NoticeKind.FILE)
        if requested and failure.kind is FailureKind.PERMANENT and story is not None:
            with suppress(Failure, Unreachable):
                await self._messenger.tell_gone(story)

    async def _record(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        try:
            await self._database.run(work, patience_seconds=RECORD_PATIENCE_SECONDS)
        except Away:
            # The lease runs out; what was sent may be sent once more.
            log.exception("notice_not_recorded")


def _is_final(failure: Failure) -> bool:
    return failure.kind in (FailureKind.PERMANENT, FailureKind.UNSUITED)


def _told_with_another(generation: Generation, of_order: Sequence[Generation]) -> bool:
    """Whether it was cancelled together with an earlier one of the order: one message says it of all."""
    return generation.state is GenerationState.CANCELLED and any(
        other.state is GenerationState.CANCELLED and other.ordinal < generation.ordinal for other in of_order
    )

"""What operators do by hand: on record in the transaction that does it, and done once, however often it is asked for.

Above a limit for a day no operator acts alone: whoever asked confirms first, then another one does.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from neurocards import payments
from neurocards.db import customers, generations, jobs, notices, operators, orders, requests
from neurocards.db.connection import Transaction
from neurocards.db.customers import Customer
from neurocards.db.requests import Act, Request, State
from neurocards.domain.failures import Reason
from neurocards.domain.generations import Generation, GenerationState
from neurocards.domain.orders import Order

CONFIRM_SECONDS = 600.0
"""For so long a request can be confirmed by who made it: then its figures are old."""

SECOND_SECONDS = 86_400.0
"""For so long it can be confirmed by another operator."""


@dataclass(frozen=True)
class Refunded:
    """What a refund of an order did: `videos` paid back now, of `credits` in all.

    `before` had been paid back already, `on_their_way` are finished and not handed over yet: they stay paid for.
    """

    videos: int
    credits: int
    before: int
    on_their_way: int


class Refusal(StrEnum):
    """Why a request is not done."""

    UNKNOWN = "unknown"
    """There is none, or it was dropped."""
    OLD = "old"
    FOREIGN = "foreign"
    """Another operator asked for it, and has not confirmed it."""
    SAME = "same"
    """It needs another operator than the one who asked."""
    NO_CUSTOMER = "no-customer"
    NO_ORDER = "no-order"


@dataclass(frozen=True)
class Done:
    """It is done now. `changed` is False when all was as wanted before; `refunded` tells of a refund."""

    request: Request
    changed: bool
    refunded: Refunded | None = None


@dataclass(frozen=True)
class Already:
    """It was done before, by this request: nothing is done twice."""

    request: Request


@dataclass(frozen=True)
class NeedsSecond:
    """Its operator has confirmed; now another one has to."""

    request: Request


@dataclass(frozen=True)
class Refused:
    """Nothing was done."""

    why: Refusal


Ending = Done | Already | NeedsSecond | Refused


def named(*telegram_ids: int) -> str:
    """How operators who act in the chat are on record."""
    return ", ".join(f"telegram {one}" for one in telegram_ids)


async def confirm(tx: Transaction, request_id: UUID, *, operator: int) -> Ending:
    """An operator says yes to a request. Whether they are one the caller has made sure of."""
    request = await requests.find(tx, request_id, lock=True)
    if request is None:
        return Refused(Refusal.UNKNOWN)
    match request.state:
        case State.DONE:
            return Already(request)
        case State.DROPPED:
            return Refused(Refusal.UNKNOWN)
        case State.ASKED:
            if operator != request.operator:
                return Refused(Refusal.FOREIGN)
            if request.age_seconds > CONFIRM_SECONDS:
                return Refused(Refusal.OLD)
            if not request.needs_second:
                return await _do(tx, request, by=operator)
            await requests.decide(tx, request.id, State.SECONDING, by=operator)
            await operators.record(
                tx,
                operator=named(operator),
                action=f"ask for a second operator to {request.act}",
                subject=_subject(request),
                reason=request.reason,
            )
            return NeedsSecond(request)
        case State.SECONDING:
            if operator == request.operator:
                return Refused(Refusal.SAME)
            if request.age_seconds > SECOND_SECONDS:
                return Refused(Refusal.OLD)
            return await _do(tx, request, by=operator)


async def drop(tx: Transaction, request_id: UUID, *, operator: int) -> bool:
    """An operator says no: it can never be done any more. False when it was done or dropped before."""
    request = await requests.find(tx, request_id, lock=True)
    if request is None or request.state in (State.DONE, State.DROPPED):
        return False
    if request.state is State.ASKED and request.operator != operator:
        return False
    await requests.decide(tx, request.id, State.DROPPED, by=operator)
    if request.state is State.SECONDING:
        await operators.record(
            tx, operator=named(operator), action=f"refuse to {request.act}", subject=_subject(request)
        )
    return True


async def grant(tx: Transaction, customer: Customer, *, amount: int, cause: str, operator: str, reason: str) -> bool:
    """Give free credits; the same cause again gives nothing more, and then nothing is recorded either."""
    moved = await payments.grant(tx, customer.id, amount=amount, cause=cause, reason=reason)
    if moved:
        await operators.record(
            tx,
            operator=operator,
            action="grant",
            subject=f"customer {customer.telegram_id}, credits {amount}",
            reason=reason,
        )
    return moved


async def refund(tx: Transaction, order: Order, *, operator: str, reason: str) -> Refunded:
    """Pay back what of an order can be: videos in work are ended, videos that were handed over are reversed.

    The customer is told that it was paid back; the reason is for the record.
    """
    await jobs.lock_order(tx, order.id)
    videos = paid = before = on_their_way = 0
    for video in await generations.of_order(tx, order.id):
        if video.state in (GenerationState.FAILED, GenerationState.CANCELLED):
            before += 1
        elif video.state is GenerationState.COMPLETED and not await notices.was_handed_over(tx, video.id):
            on_their_way += 1
        elif await _pay_back(tx, video):
            videos, paid = videos + 1, paid + video.price_credits
        else:
            before += 1
    if videos:
        await operators.record(
            tx, operator=operator, action="refund", subject=f"order {order.number}, credits {paid}", reason=reason
        )
    return Refunded(videos, paid, before, on_their_way)


async def refundable_credits(tx: Transaction, order: Order) -> int:
    """What a refund of the order would pay back at most."""
    found = await generations.of_order(tx, order.id)
    ended = (GenerationState.FAILED, GenerationState.CANCELLED)
    return sum(video.price_credits for video in found if video.state not in ended)


async def _pay_back(tx: Transaction, video: Generation) -> bool:
    if video.state is GenerationState.COMPLETED:
        return await generations.reverse(tx, video.id, reason=Reason.OPERATOR)
    return await generations.refund(tx, video.id, lease_number=None, reason=Reason.OPERATOR)


async def _do(tx: Transaction, request: Request, *, by: int) -> Ending:
    """Do what was asked for and end the request, together."""
    who = named(request.operator) if by == request.operator else named(request.operator, by)
    refunded = None
    match request.act:
        case Act.GRANT:
            customer = await customers.find(tx, int(request.subject))
            if customer is None:
                return Refused(Refusal.NO_CUSTOMER)
            changed = await grant(
                tx,
                customer,
                amount=request.credits,
                cause=f"request:{request.id}",
                operator=who,
                reason=request.reason,
            )
        case Act.REFUND:
            order = await orders.find_number(tx, int(request.subject))
            if order is None:
                return Refused(Refusal.NO_ORDER)
            refunded = await refund(tx, order, operator=who, reason=request.reason)
            changed = refunded.videos > 0
        case Act.PAUSE:
            changed = await operators.pause_sales(tx, operator=who, reason=request.reason)
        case Act.RESUME:
            changed = await operators.resume_sales(tx, operator=who, reason=request.reason)
    await requests.decide(tx, request.id, State.DONE, by=by)
    return Done(request, changed, refunded)


def _subject(request: Request) -> str:
    match request.act:
        case Act.GRANT:
            return f"customer {request.subject}, credits {request.credits}"
        case Act.REFUND:
            return f"order {request.subject}, credits {request.credits}"
        case Act.PAUSE | Act.RESUME:
            return "sales"

"""Orders: placed by one PostgreSQL function, read by everybody."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from psycopg.rows import class_row

from neurocards.db.connection import Transaction
from neurocards.domain.orders import Order


class Outcome(StrEnum):
    """What became of a confirmation."""

    PLACED = "placed"
    ALREADY_PLACED = "already_placed"
    OUTDATED = "outdated"
    PRICE_CHANGED = "price_changed"
    NOT_ENOUGH_CREDITS = "not_enough_credits"
    TOO_MANY_OPEN = "too_many_open"
    CLOSED = "closed"
    """Nobody can make a video at the moment, so nothing is sold."""
    PAUSED = "paused"
    """An operator has paused sales."""


@dataclass(frozen=True)
class Placement:
    """The answer of `place_order`: figures are there when the outcome is about them."""

    outcome: Outcome
    order_number: int | None
    total_credits: int | None
    available_credits: int | None
    closed_seconds: float | None = None
    """For how long nothing is sold, as far as that is known."""


_COLUMNS = (
    "id, number, coalesce(trace_id, id) as trace_id, customer_id, photo_key, second_photo_key, template,"
    " template_version, description, wishes, count, price_credits, model, seconds, card_message_id, card_text,"
    " placed_at, forgotten_at"
)


async def place(
    tx: Transaction,
    order_id: UUID,
    *,
    template_version: int,
    model: str,
    seconds: int,
    price_credits: int,
    deadline_seconds: int,
    open_limit: int | None = None,
) -> Placement:
    """Turn the draft with this id into an order, once; see `place_order` in the migrations.

    `open_limit` is how many videos of one customer may be in work at once.
    """
    cursor = await tx.execute(
        "select outcome, order_number, total_credits, available_credits"
        "  from place_order(%s, %s, %s, %s, %s, make_interval(secs => %s), %s)",
        [order_id, template_version, model, seconds, price_credits, deadline_seconds, open_limit],
    )
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("place_order gave no answer")
    outcome, *figures = row
    return Placement(Outcome(outcome), *figures)


class CancelOutcome(StrEnum):
    """What became of taking an order back."""

    CANCELLED = "cancelled"
    TOO_LATE = "too_late"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cancellation:
    """How many videos of the order are cancelled by it, and how many go on because their making has begun."""

    outcome: CancelOutcome
    cancelled: int
    kept: int


async def cancel(tx: Transaction, order_id: UUID, customer_id: int) -> Cancellation:
    """Take back what of a customer's order has cost nothing yet; see `cancel_order` in the migrations."""
    cursor = await tx.execute("select outcome, cancelled, kept from cancel_order(%s, %s)", [order_id, customer_id])
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("cancel_order gave no answer")
    outcome, cancelled, kept = row
    return Cancellation(CancelOutcome(outcome), cancelled, kept)


async def find(tx: Transaction, order_id: UUID) -> Order | None:
    """The order with this id, if there is one."""
    cursor = tx.cursor(row_factory=class_row(Order))
    await cursor.execute(f"select {_COLUMNS} from orders where id = %s".encode(), [order_id])
    return await cursor.fetchone()


async def of_generation(tx: Transaction, generation_id: UUID) -> Order | None:
    """The order that a generation belongs to."""
    cursor = tx.cursor(row_factory=class_row(Order))
    await cursor.execute(
        f"select {_COLUMNS} from orders where id = (select order_id from generations where id = %s)".encode(),
        [generation_id],
    )
    return await cursor.fetchone()


async def of_attempt(tx: Transaction, attempt_id: UUID) -> Order | None:
    """The order for which a provider was tried; None when there is no such attempt."""
    cursor = tx.cursor(row_factory=class_row(Order))
    await cursor.execute(
        f"""
        select {_COLUMNS} from orders
         where id = (select g.order_id from attempts a join generations g on g.id = a.generation_id where a.id = %s)
        """.encode(),
        [attempt_id],
    )
    return await cursor.fetchone()


async def find_number(tx: Transaction, number: int) -> Order | None:
    """The order with this short number, if there is one."""
    cursor = tx.cursor(row_factory=class_row(Order))
    await cursor.execute(f"select {_COLUMNS} from orders where number = %s".encode(), [number])
    return await cursor.fetchone()


async def latest(tx: Transaction, customer_id: int) -> Order | None:
    """The customer's newest order, if there is one."""
    cursor = tx.cursor(row_factory=class_row(Order))
    await cursor.execute(
        f"select {_COLUMNS} from orders where customer_id = %s order by number desc limit 1".encode(), [customer_id]
    )
    return await cursor.fetchone()


async def open_number(tx: Transaction, customer_id: int) -> int | None:
    """The number of the customer's newest order that has a video in work; None without one."""
    cursor = await tx.execute(
        """
        select max(o.number) from (select * from orders where customer_id = %s order by number desc limit 20) o
         where exists (select from generations g where g.order_id = o.id and g.state in ('queued', 'processing'))
        """,
        [customer_id],
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def has_photo(tx: Transaction, photo_key: str) -> bool:
    """Whether an order was placed with this photo."""
    cursor = await tx.execute(
        "select exists (select from orders where photo_key = %(key)s or second_photo_key = %(key)s)", {"key": photo_key}
    )
    return await cursor.fetchone() == (True,)


async def forget_card_text(tx: Transaction, order_id: UUID) -> None:
    """Record that nobody knows what the status card says."""
    await tx.execute("update orders set card_text = null where id = %s", [order_id])


async def set_card(tx: Transaction, order_id: UUID, message_id: int, text: str) -> None:
    """Record which message is the order's status card from now on, and what it says."""
    await tx.execute(
        "update orders set card_message_id = %s, card_text = %s, card_shown_at = clock_now() where id = %s",
        [message_id, text, order_id],
    )

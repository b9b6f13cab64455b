"""What the books say after a storm, read in one look; the rest of the package knows no SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from neurocards.bot import handling
from neurocards.db.connection import Transaction


@dataclass(frozen=True)
class OrderRecord:
    """One order."""

    id: str
    person_id: int
    count: int


@dataclass(frozen=True)
class VideoRecord:
    """One video that was ordered and how it ended."""

    generation_id: str
    order_id: str
    ordinal: int
    state: str
    failure: str | None


@dataclass(frozen=True)
class TellingRecord:
    """A message about an end, as the outbox has it. `doubts` is how often it may have been sent once more."""

    order_id: str
    ordinal: int
    person_id: int
    kind: str
    state: str
    message_id: int | None
    doubts: int


@dataclass(frozen=True)
class AttemptRecord:
    """A try at a provider. `created` is Unix time in seconds."""

    id: str
    generation_id: str
    number: int
    provider: str
    state: str
    task_id: str | None
    created: float


@dataclass(frozen=True)
class CreditsRecord:
    """A customer's credits."""

    person_id: int
    granted: int
    settled: int
    available: int


@dataclass(frozen=True)
class Records:
    """The books after a storm."""

    orders: Sequence[OrderRecord]
    videos: Sequence[VideoRecord]
    tellings: Sequence[TellingRecord]
    attempts: Sequence[AttemptRecord]
    credits: Sequence[CreditsRecord]


async def read(tx: Transaction) -> Records:
    """Everything that can be compared with what others saw."""
    return Records(
        orders=[OrderRecord(*row) for row in await _rows(tx, _ORDERS)],
        videos=[VideoRecord(*row) for row in await _rows(tx, _VIDEOS)],
        tellings=[TellingRecord(*row) for row in await _rows(tx, _TELLINGS)],
        attempts=[AttemptRecord(*row) for row in await _rows(tx, _ATTEMPTS)],
        credits=[CreditsRecord(*row) for row in await _rows(tx, _CREDITS)],
    )


async def unfinished(tx: Transaction) -> dict[str, int]:
    """How much of what still waits; empty when all is done."""
    return {what: number for what, number in await _rows(tx, _UNFINISHED) if number}


async def unfinished_in_detail(tx: Transaction) -> list[str]:
    """What still waits, one line each."""
    return [what for (what,) in await _rows(tx, _UNFINISHED_IN_DETAIL)]


async def any_task(tx: Transaction) -> tuple[str, str] | None:
    """The provider and the id of a task of ours, by chance."""
    rows = await _rows(tx, _ANY_TASK)
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


@dataclass(frozen=True)
class Spared:
    """Who holds work that has outlived two of its holders: the bot, and workers by process id."""

    bot: bool
    workers: frozenset[int]


async def spared(tx: Transaction) -> Spared:
    """Whom another blow would turn innocent work into poison for: it is given up when its third holder dies."""
    ((bot, workers),) = await _rows(tx, _SPARED)
    return Spared(bot, frozenset(workers))


async def free_updates(tx: Transaction, *, before: float) -> None:
    """Let the leases of updates that were claimed before a moment (Unix time) run out, as a minute's wait would."""
    await tx.execute(_FREE_UPDATES.encode(), {"before": before, "lease_seconds": handling.LEASE_SECONDS})


async def next_event_seconds(tx: Transaction, since: float) -> float | None:
    """How long after a moment (Unix time) the shop first placed or ended an order, in seconds; None if it never did."""
    cursor = await tx.execute(_NEXT_EVENT.encode(), {"since": since})
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else float(row[0])


async def _rows(tx: Transaction, query: str) -> Sequence[tuple]:  # type: ignore[type-arg]  # columns are named above
    cursor = await tx.execute(query.encode())
    return await cursor.fetchall()


_ORDERS = """
    select o.id::text, c.telegram_id, o.count from orders o join customers c on c.id = o.customer_id
"""

_VIDEOS = """
    select id::text, order_id::text, ordinal, state, failure from generations
"""

_TELLINGS = """
    select g.order_id::text, g.ordinal, c.telegram_id, n.kind, n.state, n.message_id, n.repeats
      from notices n
      join generations g on g.id = n.generation_id
      join customers c on c.id = n.customer_id
     where n.kind in ('video', 'failure')
"""

_ATTEMPTS = """
    select id::text, generation_id::text, number, provider, state, task_id,
           extract(epoch from created_at)::double precision
      from attempts
"""

_ANY_TASK = """
    select provider, task_id from attempts where task_id is not null order by random() limit 1
"""

_CREDITS = """
    select c.telegram_id,
           coalesce((select sum(amount_credits) from transfers where customer_id = c.id and kind = 'top_up'), 0)::int,
           coalesce((select sum(price_credits) from generations
                      where customer_id = c.id and state = 'completed'), 0)::int,
           coalesce((select sum(balance) from accounts where customer_id = c.id and kind = 'available'), 0)::int
      from customers c
"""

_UNFINISHED = """
    select 'updates', count(*) from updates where state in ('pending', 'handling')
    union all
    select 'videos', count(*) from generations where state in ('queued', 'processing')
    union all
    select 'messages', count(*) from notices where state in ('pending', 'sending')
"""

_UNFINISHED_IN_DETAIL = """
    select format('update %s: %s, attempt %s, %s', id, state, attempt, failure)
      from updates where state in ('pending', 'handling')
    union all
    select format('video %s: %s, job %s, attempt %s, due in %s, %s',
                  g.id, g.state, j.state, j.attempt, j.run_at - clock_now(), j.failure)
      from generations g join jobs j on j.subject_id = g.id where g.state in ('queued', 'processing')
    union all
    select format('message %s, %s: %s, attempt %s, due in %s, %s',
                  id, kind, state, attempt, send_at - clock_now(), failure)
      from notices where state in ('pending', 'sending')
"""

_SPARED = """
    select exists (select from updates where state in ('pending', 'handling') and deaths >= 3),
           array(select distinct substring(lease_owner from '[0-9]+$')::int
                   from jobs where state = 'running' and rescues >= 2)
"""

_FREE_UPDATES = """
    update updates set lease_expires_at = clock_now() - interval '1 second'
     where state = 'handling'
       and lease_expires_at < to_timestamp(%(before)s) + make_interval(secs => %(lease_seconds)s)
"""

_NEXT_EVENT = """
    select extract(epoch from min(at)) - %(since)s
      from (select min(placed_at) as at from orders where placed_at > to_timestamp(%(since)s)
            union all
            select min(finished_at) from generations where finished_at > to_timestamp(%(since)s)) events
"""

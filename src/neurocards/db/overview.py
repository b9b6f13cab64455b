"""What an operator looks at: the day in numbers, the queue, and whom somebody means by a name or a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from neurocards.db.connection import Transaction
from neurocards.domain.bills import cost_usd, is_paid
from neurocards.domain.generations import AttemptState


@dataclass(frozen=True)
class Day:
    """Since midnight UTC, except for what waits now.

    `spent_credits` were paid for videos that day, less what was reversed, of which `gift_credits` had been given for
    nothing. `cost_usd` is what attempts that ended that day cost at the providers, as far as it is known.
    """

    since: datetime
    customers: int
    orders: int
    videos: int
    delivered: int
    refunded: int
    spent_credits: int
    gift_credits: int
    cost_usd: float
    videos_waiting: int
    held_credits: int

    @property
    def paid_credits(self) -> int:
        return self.spent_credits - self.gift_credits


@dataclass(frozen=True)
class Queue:
    """What waits now. `oldest_seconds` is how long the longest due job has waited; `workers` hold jobs now.

    `worker_seen_seconds` is how long ago a worker last said what keys it has; None when none ever did. The messages
    are those that can be sent: not to people who blocked the bot.
    """

    waiting: int
    oldest_seconds: float
    running: int
    workers: int
    worker_seen_seconds: float | None
    messages: int
    messages_oldest_seconds: float


@dataclass(frozen=True)
class Bought:
    """An order in short: how many of its videos are in work, finished, and without a video in the end."""

    number: int
    placed_at: datetime
    template: str
    count: int
    price_credits: int
    in_work: int
    completed: int
    failed: int


async def day(tx: Transaction) -> Day:
    """The day so far."""
    cursor = await tx.execute(
        """
        with today as (select date_trunc('day', clock_now()) as since)
        select since,
               (select count(*) from customers where created_at >= since),
               o.orders, o.videos,
               (select count(*) from notices where kind = 'video' and state = 'sent' and sent_at >= since),
               t.refunded, t.spent, t.gifts,
               (select count(*) from generations where state in ('queued', 'processing')),
               (select coalesce(sum(balance), 0)::bigint from accounts where kind = 'held')
          from today,
               lateral (select count(*) as orders, coalesce(sum(count), 0)::bigint as videos
                          from orders where placed_at >= since) o,
               lateral (select count(distinct generation_id) filter (where kind in ('refund', 'reversal')) as refunded,
                               coalesce(sum(moved), 0)::bigint as spent,
                               coalesce(sum(moved) filter (where funding = 'free'), 0)::bigint as gifts
                          from (select kind, funding, generation_id,
                                       case kind when 'settle' then amount_credits
                                                 when 'reversal' then -amount_credits else 0 end as moved
                                  from transfers
                                 where created_at >= since and kind in ('settle', 'refund', 'reversal')) moves) t
        """
    )
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("the day could not be counted")
    since, people, orders, videos, delivered, refunded, spent, gifts, waiting, held = row
    cost = await _cost_usd(tx, since)
    return Day(since, people, orders, videos, delivered, refunded, spent, gifts, cost, waiting, held)


async def _cost_usd(tx: Transaction, since: datetime) -> float:
    cursor = await tx.execute(
        "select provider, state, cost_usd::double precision, cost_units::double precision"
        "  from attempts where ended_at >= %s",
        [since],
    )
    cost = 0.0
    for provider, name, list_usd, units in await cursor.fetchall():
        if is_paid(AttemptState(name), units=units):
            cost += cost_usd(provider, units=units, list_usd=list_usd) or 0.0
    return cost


async def queue(tx: Transaction) -> Queue:
    """What waits now, and who works."""
    cursor = tx.cursor(row_factory=class_row(Queue))
    await cursor.execute(
        """
        select j.*, m.*,
               extract(epoch from clock_now() - (select max(seen_at) from provider_keys))::double precision
                   as worker_seen_seconds
          from (select count(*) filter (where state = 'available') as waiting,
                       count(*) filter (where state = 'running') as running,
                       count(distinct lease_owner) filter (
                           where state = 'running' and lease_expires_at > clock_now()) as workers,
                       coalesce(extract(epoch from clock_now() - min(run_at) filter (
                           where state = 'available' and run_at <= clock_now())), 0)::double precision as oldest_seconds
                  from jobs where state in ('available', 'running')) j,
               (select count(*) as messages,
                       coalesce(extract(epoch from clock_now() - min(n.created_at)), 0)::double precision
                           as messages_oldest_seconds
                  from notices n join chats c using (customer_id)
                 where n.state in ('pending', 'sending') and c.unreachable_since is null) m
        """
    )
    found = await cursor.fetchone()
    if found is None:
        raise LookupError("the queue could not be counted")
    return found


async def bought(tx: Transaction, customer_id: int, *, limit: int = 5) -> Sequence[Bought]:
    """The customer's last orders, newest first."""
    return await _bought(tx, "o.customer_id = %s", customer_id, limit)


async def bought_as(tx: Transaction, number: int) -> Bought | None:
    """The order with this number."""
    return next(iter(await _bought(tx, "o.number = %s", number, 1)), None)


async def _bought(tx: Transaction, condition: str, value: int, limit: int) -> Sequence[Bought]:
    cursor = tx.cursor(row_factory=class_row(Bought))
    await cursor.execute(
        f"""
        select o.number, o.placed_at, o.template, o.count, o.price_credits,
               count(*) filter (where g.state in ('queued', 'processing')) as in_work,
               count(*) filter (where g.state = 'completed') as completed,
               count(*) filter (where g.state in ('failed', 'cancelled')) as failed
          from orders o join generations g on g.order_id = o.id
         where {condition}
         group by o.id order by o.number desc limit %s
        """.encode(),
        [value, limit],
    )
    return await cursor.fetchall()


async def person_called(tx: Transaction, username: str) -> int | None:
    """The Telegram id of who wrote last under this @name; None when nobody did as far back as the inbox goes.

    Names can be changed and taken by somebody else, so none is kept.
    """
    cursor = await tx.execute(
        """
        select person from updates
         where lower(coalesce(body->'message'->'from'->>'username', body->'callback_query'->'from'->>'username')) = %s
         order by id desc limit 1
        """,
        [username.lower()],
    )
    row = await cursor.fetchone()
    return row[0] if row else None

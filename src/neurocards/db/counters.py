"""What goes on right now, in a few numbers and the latest event: for somebody who watches, not for the flow."""

from dataclasses import dataclass

from psycopg.rows import class_row

from neurocards.db.books import Event
from neurocards.db.connection import Transaction


@dataclass(frozen=True)
class Counters:
    """Every order is in work, delivered (at least one video was handed over) or refunded (none was)."""

    customers: int
    orders_placed: int
    orders_in_work: int
    orders_delivered: int
    orders_refunded: int
    credits_available: int
    credits_held: int
    credits_spent: int
    jobs_waiting: int
    jobs_running: int
    notices_waiting: int
    updates_handled: int
    updates_waiting: int


async def count(tx: Transaction) -> Counters:
    """Count everything in one statement, so that the numbers belong together."""
    cursor = tx.cursor(row_factory=class_row(Counters))
    await cursor.execute(
        """
        select (select count(*) from customers) as customers, o.*, a.*, j.*,
               (select count(*) from notices where state in ('pending', 'sending')) as notices_waiting,
               u.*
          from (select count(*) as orders_placed,
                       count(*) filter (where in_work) as orders_in_work,
                       count(*) filter (where not in_work and fruitful) as orders_delivered,
                       count(*) filter (where not in_work and not fruitful) as orders_refunded
                  -- A finished video is in work until Telegram has taken it: the file id is what proves that.
                  from (select bool_or(state in ('queued', 'processing')
                                       or state = 'completed' and file_id is null) as in_work,
                               bool_or(state = 'completed') as fruitful
                          from generations group by order_id) ordered) o,
               (select coalesce(sum(balance) filter (where kind = 'available'), 0)::bigint as credits_available,
                       coalesce(sum(balance) filter (where kind = 'held'), 0)::bigint as credits_held,
                       coalesce(sum(balance) filter (where kind = 'spent'), 0)::bigint as credits_spent
                  from accounts) a,
               (select count(*) filter (where state = 'available') as jobs_waiting,
                       count(*) filter (where state = 'running') as jobs_running
                  from jobs) j,
               (select count(*) filter (where state in ('handled', 'dead')) as updates_handled,
                       count(*) filter (where state in ('pending', 'handling')) as updates_waiting
                  from updates) u
        """
    )
    counted = await cursor.fetchone()
    if counted is None:
        raise LookupError("counting gave no answer")
    return counted


async def latest(tx: Transaction) -> Event | None:
    """What was written down last about anybody's order; None before the first one."""
    cursor = tx.cursor(row_factory=class_row(Event))
    await cursor.execute(
        """
        select at, what, detail from (
            (select placed_at as at, 0 as rank, format('order %s placed', number) as what,
                    format('%s × %s', count, template) as detail
               from orders order by number desc limit 1)
            union all
            (select t.created_at, 1, 'credits ' || t.kind, format('order %s, video %s', o.number, g.ordinal)
               from transfers t join generations g on g.id = t.generation_id join orders o on o.id = g.order_id
              order by t.id desc limit 1)
            union all
            (select coalesce(a.ended_at, a.accepted_at, a.created_at), 2, 'attempt ' || a.state,
                    format('order %s, video %s, attempt %s', o.number, g.ordinal, a.number)
               from attempts a join generations g on g.id = a.generation_id join orders o on o.id = g.order_id
              order by 1 desc limit 1)
            union all
            (select n.sent_at, 3, 'notice sent', concat_ws(' ', 'order', o.number || ',', n.kind, n.stage)
               from notices n join orders o on o.id = n.order_id
              where n.state = 'sent' order by n.sent_at desc limit 1)
        ) events
        order by at desc, rank desc limit 1
        """
    )
    return await cursor.fetchone()

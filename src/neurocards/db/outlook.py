"""The queue and the history as a waiting customer is told of them."""

from uuid import UUID

from neurocards.db.connection import Transaction
from neurocards.domain.orders import Order
from neurocards.domain.outlook import MEASURED_ENOUGH, Outlook, Usual

COUNTED = 100
"""Nobody cares whether two hundred or three hundred are before them, and counting costs."""

TOLD = 20
"""How near the front of the queue a step forward is told."""

# Jobs that wait for their first worker, in the order in which they will be claimed.
_WAITING = """
    select j.id, g.order_id, g.customer_id, row_number() over (order by j.priority desc, j.turn, j.id) - 1 as ahead
      from jobs j join generations g on j.kind = 'generation' and g.id = j.subject_id
     where j.state = 'available' and j.lease_number = 0
     order by j.priority desc, j.turn, j.id
"""


async def read(tx: Transaction, order: Order) -> Outlook:
    """What an order has before it."""
    return Outlook(
        ahead=await _ahead(tx, order.id),
        usual=await _usual(tx, order.model),
        rendering_seconds=await rendering_seconds(tx, order.model),
    )


async def rendering_seconds(tx: Transaction, model: str) -> float | None:
    """The median time the provider took for the last videos of a model; None without a history."""
    cursor = await tx.execute(
        """
        select count(*), percentile_cont(0.5) within group (order by seconds)
          from (select extract(epoch from ended_at - accepted_at) as seconds
                  from attempts
                 where state = 'succeeded' and model = %s and accepted_at is not null
                   and ended_at > clock_now() - interval '7 days'
                 order by ended_at desc limit 50) last
        """,
        [model],
    )
    row = await cursor.fetchone()
    return float(row[1]) if row and row[0] >= MEASURED_ENOUGH else None


async def tell_places(tx: Transaction) -> int:
    """Write a status notice for each order near the front of the queue that has moved; returns how many."""
    cursor = await tx.execute(
        f"""
        insert into notices (customer_id, order_id, kind, cause, stage)
        select customer_id, order_id, 'status', format('status:%%s:place:%%s', order_id, min(ahead)), 'accepted'
          from ({_WAITING} limit %(told)s) waiting
         group by order_id, customer_id
        on conflict (cause) do nothing
        """.encode(),
        {"told": TOLD},
    )
    return cursor.rowcount


async def _ahead(tx: Transaction, order_id: UUID) -> int | None:
    cursor = await tx.execute(
        f"""
        select case when exists (select from jobs j join generations g on j.kind = 'generation' and g.id = j.subject_id
                                  where g.order_id = %(id)s and j.state = 'available' and j.lease_number = 0)
                    then coalesce((select min(ahead) from ({_WAITING} limit %(counted)s) waiting
                                    where order_id = %(id)s), %(counted)s) end
        """.encode(),
        {"id": order_id, "counted": COUNTED},
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def _usual(tx: Transaction, model: str) -> Usual | None:
    cursor = await tx.execute(
        """
        select count(*), percentile_cont(array[0.25, 0.9]) within group (order by seconds)
          from (select extract(epoch from g.finished_at - g.created_at) as seconds
                  -- Of a model that is hardly used only what lies near: nobody waits for a scan of a whole week.
                  from (select * from generations
                         where state = 'completed' and finished_at > clock_now() - interval '7 days'
                         order by finished_at desc limit 1000) g
                  join orders o on o.id = g.order_id
                 where o.model = %s
                 order by g.finished_at desc limit 50) last
        """,
        [model],
    )
    row = await cursor.fetchone()
    if row is None or row[0] < MEASURED_ENOUGH:
        return None
    low, high = row[1]
    return Usual(low_seconds=float(low), high_seconds=float(high), measured=row[0])

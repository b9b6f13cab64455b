"""What has ended so that a person should look at it: nothing here is lost, and nothing here mends itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from neurocards.db.connection import Transaction


@dataclass(frozen=True)
class Matter:
    """One thing to look at: what it is, which one, when it ended, what is known of it."""

    what: str
    subject: str
    at: datetime
    detail: str


async def matters(tx: Transaction, *, within: timedelta, limit: int = 200) -> Sequence[Matter]:
    """Updates that nobody could handle, however old; and what ended badly within the given time, newest first.

    Undeliverable messages, videos that were given up because their worker died again and again, and what may have been
    or was paid to a provider in vain.
    """
    cursor = tx.cursor(row_factory=class_row(Matter))
    await cursor.execute(
        """
        (select 'update' as what, id::text as subject, handled_at as at,
                format('of %%s, %%s: %%s', person,
                       (select string_agg(key, ' ') from jsonb_object_keys(body) key where key <> 'update_id'),
                       failure) as detail
           from updates where state = 'dead')
        union all
        (select 'message', n.id::text, n.created_at, format('order %%s, %%s: %%s', o.number, n.kind, n.failure)
           from notices n join orders o on o.id = n.order_id
          where n.state = 'undeliverable' and n.created_at > clock_now() - %(within)s)
        union all
        (select 'poison', o.number::text, j.finished_at,
                format('video %%s silenced %%s workers in a row: %%s', g.ordinal, j.rescues, coalesce(j.failure, ''))
           from jobs j
           join generations g on j.kind = 'generation' and g.id = j.subject_id
           join orders o on o.id = g.order_id
          where j.state = 'discarded' and j.rescues >= 3 and j.finished_at > clock_now() - %(within)s)
        union all
        (select case a.state when 'orphaned' then 'orphan' else 'doubt' end, o.number::text,
                coalesce(a.ended_at, a.created_at),
                format('video %%s, attempt %%s at %%s, %%s: %%s', g.ordinal, a.number, a.provider,
                       coalesce('task ' || a.task_id, 'no task known'), coalesce(a.failure, 'accepted too late'))
           from attempts a
           join generations g on g.id = a.generation_id
           join orders o on o.id = g.order_id
          where a.state in ('orphaned', 'abandoned') and a.created_at > clock_now() - %(within)s)
        order by at desc limit %(limit)s
        """,
        {"within": within, "limit": limit},
    )
    return await cursor.fetchall()

"""What a person should look at: what has ended badly, and what of providers and money does not mend itself.

Nothing here is lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from psycopg.rows import class_row

from neurocards.db import bills, generations
from neurocards.db.connection import Transaction
from neurocards.db.models import checks
from neurocards.db.provider_keys import SEEN_MINUTES
from neurocards.domain.bills import usd
from neurocards.domain.catalogue import Catalogue, Model

RETIREMENT_NOTICE = timedelta(days=30)
"""So long before its day a model's retirement is told."""

BILL_DAYS = 2
"""Yesterday and today: a whole day, however early it is."""


@dataclass(frozen=True)
class Matter:
    """One thing to look at: what it is, which one, when it ended or began, what is known of it."""

    what: str
    subject: str
    at: datetime
    detail: str


async def matters(tx: Transaction, catalogue: Catalogue, *, within: timedelta, limit: int = 200) -> Sequence[Matter]:
    """Everything to look at, newest first.

    Updates that nobody could handle, however old. Of what ended within the given time: undeliverable messages, videos
    that were given up because their worker died again and again, and what may have been or was paid to a provider in
    vain. As things stand now: accounts, providers and models that are left alone, models that are not offered any more
    or soon will not be, and what nobody can explain of the bills of yesterday and today.
    """
    models = list(catalogue.models.values())
    found = [
        *await _ended_badly(tx, within, limit),
        *await _left_alone(tx),
        *await _going(tx, models),
        *await _unexplained(tx),
    ]
    return sorted(found, key=lambda matter: matter.at, reverse=True)[:limit]


async def _ended_badly(tx: Transaction, within: timedelta, limit: int) -> Sequence[Matter]:
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


async def _left_alone(tx: Transaction) -> Sequence[Matter]:
    """Accounts, providers and models that failed and have not succeeded since."""
    cursor = tx.cursor(row_factory=class_row(Matter))
    await cursor.execute(
        """
        select case split_part(subject, ' ', 1) when 'key' then 'account' else split_part(subject, ' ', 1) end as what,
               substr(subject, strpos(subject, ' ') + 1) as subject,
               changed_at as at,
               format('%%s since the last success, left alone until %%s UTC: %%s',
                      case failures when 1 then 'one failure' else failures || ' failures' end,
                      to_char(open_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), why) as detail
          from circuits
         where open_until is not null and (subject not like 'key %%' or substr(subject, 5) = any(%(labels)s))
        """,
        {"labels": [label for label, _ in await _keys(tx)]},
    )
    return await cursor.fetchall()


async def _keys(tx: Transaction) -> Sequence[tuple[str, str]]:
    """Label and provider of the keys there are. One that is not named while others are was taken out."""
    cursor = await tx.execute(
        "select label, provider from provider_keys"
        " where seen_at > (select max(seen_at) from provider_keys) - make_interval(mins => %s)",
        [SEEN_MINUTES],
    )
    return await cursor.fetchall()


async def _going(tx: Transaction, models: Iterable[Model]) -> list[Matter]:
    """Models that their provider does not offer any more, or that retire soon."""
    now = await generations.clock(tx)
    served = {provider for _, provider in await _keys(tx)}
    told = await checks(tx)
    found = []
    for model in models:
        if model.is_retired(now.date()):
            continue
        check = told.get(model.id)
        if check is not None and check.listed is False:
            words = f"{model.title}: {model.provider} does not list it any more"
            found.append(Matter("unlisted", model.id, check.checked_at or now, words))
        retires = datetime.combine(model.retires, time(), UTC) if model.retires else None
        if retires is not None and retires - now <= RETIREMENT_NOTICE and (not served or model.provider in served):
            found.append(Matter("retiring", model.id, retires, f"{model.title} is not asked any more from that day on"))
    return found


async def _unexplained(tx: Transaction) -> list[Matter]:
    """Bills of yesterday and today that our attempts do not explain."""
    return [
        Matter("bill", bill.label, bill.until, _told(bill))
        for bill in await bills.read(tx, days=BILL_DAYS)
        if bill.is_alarming and bill.until is not None
    ]


def _told(bill: bills.Bill) -> str:
    unexplained_usd = usd(bill.provider, bill.unexplained) or 0.0
    direction = "more" if unexplained_usd > 0 else "less"
    return f"{bill.day}: ${abs(unexplained_usd):.2f} {direction} was taken than our attempts explain"

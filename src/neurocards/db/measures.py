"""How the shop is doing in figures: for metrics, alerts, the operators' menu and the doctor. Knows no ids.

Counted from indexes, so that it can be asked every few seconds of a shop with many orders. All ages are on the clock
that everything shares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row, kwargs_row

from neurocards.db.books import CHECKS
from neurocards.db.connection import Transaction
from neurocards.db.provider_keys import SEEN_MINUTES
from neurocards.domain.bills import USD_PER_UNIT

LATELY = timedelta(minutes=15)
"""How far back submits are looked at for lost answers."""

SUBMIT_LIMIT = timedelta(minutes=2)
"""Longer than any submit takes: an intent that is older has lost its answer, or its worker."""

COST_WINDOW = timedelta(days=1)
"""How far back the cost of orphans and dead updates are told."""


@dataclass(frozen=True)
class ProviderMeasures:
    """One provider: `submits` of the last 15 minutes and how many of them are `ambiguous`, that is without an answer
    so far or for good; tasks that were paid for in vain (`orphans`), and what those of the last day cost; what it
    says it has charged in all, in its own units.
    """

    provider: str
    submits: int
    ambiguous: int
    orphans: int
    orphans_usd: float
    cost_units: float


@dataclass(frozen=True)
class OpenCircuit:
    """A key, model or provider that is left alone, or was and has not succeeded since. A key: its account is empty or
    locked, or it was revoked (401, 402, 403).
    """

    scope: str
    subject: str
    since: datetime
    until: datetime
    why: str


@dataclass(frozen=True)
class Measures:
    """All of it, as of one moment. What waits for nothing has waited for 0 seconds.

    `orders` by result: open, completed, partial, failed, cancelled; completed they stay when a video is paid back.
    `jobs` by state: due, scheduled (available later), running, completed, discarded. `credits` by kind of transfer.
    The outbox are videos, failures and past videos that can be sent: not to those who blocked the bot. Undeliverable
    are all notices that never arrived, `dead_updates` all that nobody could handle. `violations` by check are what the
    last audit of the books has found, which ended at `audited_at`.
    """

    at: datetime
    orders: Mapping[str, int]
    jobs: Mapping[str, int]
    oldest_due_seconds: float
    outbox: int
    outbox_oldest_seconds: float
    undeliverable: int
    updates: int
    updates_oldest_seconds: float
    dead_updates: int
    dead_updates_of_day: int
    credits: Mapping[str, int]
    providers: Sequence[ProviderMeasures]
    circuits: Sequence[OpenCircuit]
    backup_verified_at: datetime | None
    sales_paused_at: datetime | None
    audited_at: datetime | None
    violations: Mapping[str, int]

    @property
    def ambiguous_share(self) -> float:
        """The share of the last quarter of an hour's submits whose answer is not known; 0 without submits."""
        submits = sum(provider.submits for provider in self.providers)
        return sum(provider.ambiguous for provider in self.providers) / submits if submits else 0.0


RESULTS = ("open", "completed", "partial", "failed", "cancelled")
JOB_STATES = ("due", "scheduled", "running", "completed", "discarded")
TRANSFERS = ("top_up", "withdrawal", "hold", "settle", "refund", "reversal")


async def read(tx: Transaction) -> Measures:
    """Measure the shop; locks nothing."""
    cursor = tx.cursor(row_factory=kwargs_row(_counted))
    await cursor.execute(_COUNTS)
    counted = await cursor.fetchone()
    if counted is None:
        raise LookupError("measuring gave no answer")
    return Measures(**counted, providers=await _providers(tx), circuits=await _circuits(tx))


def _counted(
    *,
    orders: Mapping[str, int],
    jobs: Mapping[str, int],
    credits: Mapping[str, int],
    violations: Mapping[str, int],
    **columns: Any,
) -> dict[str, Any]:  # Any: a row, typed by the columns selected below
    """What no row is counted for is there as 0, so that a metric does not begin with its first fault."""
    return {
        "orders": {result: orders.get(result, 0) for result in RESULTS},
        "jobs": {state: jobs.get(state, 0) for state in JOB_STATES},
        "credits": {kind: credits.get(kind, 0) for kind in TRANSFERS},
        "violations": {check: violations.get(check, 0) for check in CHECKS},
        **columns,
    }


_COUNTS = b"""
with reversed as (
    select generation_id as id from transfers where kind = 'reversal'
), results as (
    -- Most videos are completed: only orders with another one are looked at, all others are counted.
    select case when not ended then 'open'
                when videos < count then 'partial'
                when taken_back then 'cancelled'
                else 'failed' end as result
      from (select order_id, count(*) as videos, bool_and(state in ('failed', 'cancelled')) as ended,
                   bool_and(state = 'cancelled') as taken_back
              from generations
             where state <> 'completed' and id not in (select id from reversed)
             group by order_id) unfulfilled
      join orders on orders.id = order_id
), placed as (
    select count(*) - (select count(*) from results) as completed from orders
), queue as (
    select count(*) filter (where state = 'available' and run_at <= clock_now()) as due,
           count(*) filter (where state = 'available' and run_at > clock_now()) as scheduled,
           count(*) filter (where state = 'running') as running,
           min(run_at) filter (where state = 'available' and run_at <= clock_now()) as due_since,
           -- A job whose worker fell silent waits too, until somebody rescues it.
           min(lease_expires_at) filter (where lease_expires_at < clock_now()) as silent_since
      from jobs where state in ('available', 'running')
), done as (
    select count(*) filter (where state = 'completed') as completed,
           count(*) filter (where state = 'discarded') as discarded
      from jobs
), moved as (
    select kind, sum(amount_credits)::bigint as credits from transfers group by kind
), outbox as (
    select count(*) as notices, min(n.created_at) as since
      from notices n join chats c on c.customer_id = n.customer_id
     where n.state in ('pending', 'sending') and (n.kind = 'status') = false and c.unreachable_since is null
), inbox as (
    select count(*) as updates, min(received_at) as since from updates where state in ('pending', 'handling')
), dead as (
    select count(*) as updates, count(*) filter (where handled_at > clock_now() - interval '1 day') as of_day
      from updates where state = 'dead'
)
select clock_now() as at,
       (select coalesce(jsonb_object_agg(result, orders), '{}')
               || jsonb_build_object('completed', (select completed from placed))
          from (select result, count(*) as orders from results group by result) counted) as orders,
       jsonb_build_object('due', due, 'scheduled', scheduled, 'running', running,
                          'completed', done.completed, 'discarded', done.discarded) as jobs,
       coalesce(extract(epoch from clock_now() - least(due_since, silent_since)), 0)::double precision
           as oldest_due_seconds,
       outbox.notices as outbox,
       coalesce(extract(epoch from clock_now() - outbox.since), 0)::double precision as outbox_oldest_seconds,
       (select count(*) from notices where state = 'undeliverable') as undeliverable,
       inbox.updates,
       coalesce(extract(epoch from clock_now() - inbox.since), 0)::double precision as updates_oldest_seconds,
       dead.updates as dead_updates, dead.of_day as dead_updates_of_day,
       (select coalesce(jsonb_object_agg(kind, credits), '{}') from moved) as credits,
       (select max(checked_at) from backups where failure is null) as backup_verified_at,
       (select paused_at from sales_pause) as sales_paused_at, watch.audited_at, watch.violations
  from queue, done, outbox, inbox, dead, watch
"""


async def _providers(tx: Transaction) -> Sequence[ProviderMeasures]:
    """Those that there is a key for, or that were asked ever."""
    cursor = tx.cursor(row_factory=class_row(ProviderMeasures))
    await cursor.execute(
        """
        with lately as (
            select provider, count(*) as submits,
                   count(*) filter (
                       where state in ('unknown', 'abandoned', 'orphaned')
                          or state = 'intent' and created_at < clock_now() - %(limit)s) as ambiguous
              from attempts
             -- What was refused cost nothing and is no doubt: it may be many, while a provider is away.
             where created_at > clock_now() - %(lately)s and state <> 'refused'
             group by provider
        ), ever as (
            select attempts.provider, count(*) filter (where state = 'orphaned') as orphans,
                   sum(coalesce(cost_units * rates.usd, cost_usd)) filter (
                       where state = 'orphaned'
                         and greatest(accepted_at, ended_at) > clock_now() - %(window)s) as orphans_usd,
                   sum(cost_units) as cost_units
              from attempts
              left join unnest(%(priced)s::text[], %(usd)s::numeric[]) rates (provider, usd) using (provider)
             group by attempts.provider
        )
        select provider, coalesce(submits, 0) as submits, coalesce(ambiguous, 0) as ambiguous,
               coalesce(orphans, 0) as orphans, coalesce(orphans_usd, 0)::double precision as orphans_usd,
               coalesce(cost_units, 0)::double precision as cost_units
          from (select distinct provider from provider_keys) known
          full join ever using (provider)
          left join lately using (provider)
         order by provider
        """,
        {
            "lately": LATELY,
            "limit": SUBMIT_LIMIT,
            "window": COST_WINDOW,
            "priced": list(USD_PER_UNIT),
            "usd": list(USD_PER_UNIT.values()),
        },
    )
    return await cursor.fetchall()


async def _circuits(tx: Transaction) -> Sequence[OpenCircuit]:
    """Of keys only those that some worker named lately: one that was taken out cannot be mended."""
    cursor = tx.cursor(row_factory=class_row(OpenCircuit))
    await cursor.execute(
        """
        select split_part(subject, ' ', 1) as scope, substr(subject, strpos(subject, ' ') + 1) as subject,
               changed_at as since, open_until as until, why
          from circuits
         where open_until is not null
           and (subject not like 'key %%' or substr(subject, 5) in (
                   select label from provider_keys
                    where seen_at > (select max(seen_at) from provider_keys) - make_interval(mins => %s)))
         order by scope, subject
        """,
        [SEEN_MINUTES],
    )
    return await cursor.fetchall()

"""The queue: what kind of work, for what, not before when. It knows nothing about videos.

A claim gives a lease with a number. Every later write of the worker proves that number, so a worker that was paused,
cut off or declared dead changes nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from neurocards.db import leases
from neurocards.db.connection import Transaction
from neurocards.domain.decisions import SUSPECT_RESCUES

FRONT_JOBS = 500
"""How many due jobs of each kind, begun and not begun, are weighed against each other."""

RETRY_JITTER = 0.2
"""Jobs that failed together do not come back together: each waits up to this share longer."""


@dataclass(frozen=True)
class Job:
    """A claimed job. `attempt` is numbered from 1; `lease_number` is this claim's."""

    id: int
    kind: str
    subject_id: UUID
    attempt: int
    lease_number: int


@dataclass(frozen=True)
class Rescued:
    """A job whose worker fell silent; `rescues` counts how often that happened since its last progress."""

    kind: str
    subject_id: UUID
    rescues: int


class LostLease(Exception):
    """Somebody else holds the job, or it has ended: whatever we decided no longer counts."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.id} is no longer ours under lease {job.lease_number}")
        self.job = job


async def claim(
    tx: Transaction,
    *,
    worker: str,
    kinds: Collection[str],
    limit: int,
    lease_seconds: float,
    held: Collection[int],
    begin_limit: int | None = None,
) -> list[Job]:
    """Take up to `limit` due jobs of these kinds for one worker, fairly between customers; never one that it holds.

    Whoever has least in work is next, with what was begun before what was not. Of a long queue only the front is
    looked at: what was begun stands there by its time, what was not by its turn, in which customers alternate. A job
    that its last workers fell silent with is a suspect: a worker takes one of them at a time, so that what kills
    workers is not tried together with what was only near. No more than `begin_limit` are taken of those that nobody
    has begun: what would only wait elsewhere waits in the queue, where it keeps its fair turn.
    """
    cursor = tx.cursor(row_factory=class_row(Job))
    await cursor.execute(
        """
        with front as (
            (select id, customer_id, priority, 0 as unbegun, run_at, turn from jobs
              where state = 'available' and lease_number > 0 and run_at <= clock_now()
                and id <> all(%(held)s) and kind = any(%(kinds)s)
              order by run_at, id limit %(front)s)
            union
            (select id, customer_id, priority, 0, run_at, turn from jobs
              where state = 'available' and lease_number > 0 and priority > 0 and run_at <= clock_now()
                and id <> all(%(held)s) and kind = any(%(kinds)s)
              order by run_at, id limit %(front)s)
            union all
            (select id, customer_id, priority, 1, run_at, turn from jobs
              where state = 'available' and lease_number = 0 and run_at <= clock_now()
                and id <> all(%(held)s) and kind = any(%(kinds)s)
              order by priority desc, turn, id limit %(begin)s)
        ), shared as (
            select front.*,
                   coalesce(busy.jobs, 0) + row_number() over (
                       partition by front.customer_id
                       order by priority desc, unbegun, turn * unbegun, run_at, id) as share
              from front
              left join (select customer_id, count(*) as jobs from jobs where state = 'running' group by customer_id)
                   busy on busy.customer_id = front.customer_id
        ),
        -- Materialized: the rows are locked once and the update touches only those.
        due as materialized (
            select jobs.id
              from shared join jobs on jobs.id = shared.id
             where jobs.state = 'available' and (jobs.rescues < %(suspect)s or shared.id = (
                   select min(suspect.id) from shared join jobs suspect on suspect.id = shared.id
                    where suspect.state = 'available' and suspect.rescues >= %(suspect)s
                      and not exists (select from jobs held
                                       where held.state = 'running' and held.lease_owner = %(worker)s
                                         and held.rescues >= %(suspect)s)))
             order by shared.priority desc, share, unbegun, shared.turn * unbegun, shared.run_at, jobs.id
             limit %(limit)s
               for update of jobs skip locked
        )
        update jobs
           set state = 'running', lease_owner = %(worker)s, lease_number = lease_number + 1,
               lease_expires_at = clock_now() + make_interval(secs => %(lease_seconds)s)
          from due
         where jobs.id = due.id
        returning jobs.id, kind, subject_id, attempt, lease_number
        """,
        {
            "held": list(held),
            "kinds": list(kinds),
            "limit": limit,
            "front": limit + FRONT_JOBS,
            "begin": limit + FRONT_JOBS if begin_limit is None else begin_limit,
            "suspect": SUSPECT_RESCUES,
            "worker": worker,
            "lease_seconds": lease_seconds,
        },
    )
    return await cursor.fetchall()


async def running(tx: Transaction) -> int:
    """How many jobs are being worked on, in all processes together."""
    row = await (await tx.execute("select count(*) from jobs where state = 'running'")).fetchone()
    return int(row[0]) if row else 0


async def prove(tx: Transaction, job: Job) -> None:
    """Make sure that the lease is still ours, and keep it so until the transaction ends; raises LostLease."""
    cursor = await tx.execute(
        "select 1 from jobs where id = %s and lease_number = %s and state = 'running' for no key update",
        [job.id, job.lease_number],
    )
    if await cursor.fetchone() is None:
        raise LostLease(job)


async def extend(tx: Transaction, held: Collection[Job], *, lease_seconds: float) -> set[int]:
    """The heartbeat: extend the leases of running jobs; returns the ids of those that were still ours."""
    return await leases.extend(tx, "jobs", held, state="running", lease_seconds=lease_seconds)


async def snooze(tx: Transaction, job: Job, *, seconds: float) -> None:
    """Put the job back for later because nothing is wrong; raises LostLease."""
    await _put_back(tx, job, seconds=seconds, jitter=0.0, spends_attempt=False, failure=None)


async def retry(tx: Transaction, job: Job, *, seconds: float, spends_attempt: bool, failure: str) -> None:
    """Put the job back for later because something failed and may pass; raises LostLease."""
    await _put_back(tx, job, seconds=seconds, jitter=RETRY_JITTER, spends_attempt=spends_attempt, failure=failure)


async def rescue(tx: Transaction, *, limit: int = 500) -> list[Rescued]:
    """Return jobs whose lease expired to the queue. The late owner's lease proves nothing from here on."""
    cursor = tx.cursor(row_factory=class_row(Rescued))
    await cursor.execute(
        """
        with silent as materialized (
            select id from jobs
             where state = 'running' and lease_expires_at < clock_now()
             order by lease_expires_at
             limit %(limit)s
               for update skip locked
        )
        update jobs
           set state = 'available', run_at = clock_now(), rescues = rescues + 1,
               lease_owner = null, lease_expires_at = null
          from silent
         where jobs.id = silent.id
        returning kind, subject_id, rescues
        """,
        {"limit": limit},
    )
    return await cursor.fetchall()


async def _put_back(
    tx: Transaction, job: Job, *, seconds: float, jitter: float, spends_attempt: bool, failure: str | None
) -> None:
    cursor = await tx.execute(
        """
        update jobs
           set state = 'available',
               run_at = clock_now() + make_interval(secs => %(seconds)s * (1 + random() * %(jitter)s)),
               attempt = attempt + %(spent)s, rescues = 0, failure = coalesce(%(failure)s, failure),
               lease_owner = null, lease_expires_at = null
         where id = %(id)s and lease_number = %(number)s and state = 'running'
        """,
        {
            "id": job.id,
            "number": job.lease_number,
            "seconds": seconds,
            "jitter": jitter,
            "spent": int(spends_attempt),
            "failure": failure,
        },
    )
    if cursor.rowcount == 0:
        raise LostLease(job)


async def lock_order(tx: Transaction, order_id: UUID) -> None:
    """Nobody else ends an open job of this order until the transaction does: all are locked first, in one order."""
    await tx.execute(
        "select from jobs where kind = 'generation' and state in ('available', 'running')"
        " and subject_id in (select id from generations where order_id = %s) order by id for update",
        [order_id],
    )


async def hurry(tx: Transaction, order_id: UUID, *, priority: int) -> int:
    """Let the open jobs of an order go before all of lower priority; returns how many there were."""
    cursor = await tx.execute(
        "update jobs set priority = %s where kind = 'generation' and state in ('available', 'running')"
        " and subject_id in (select id from generations where order_id = %s)",
        [priority, order_id],
    )
    return cursor.rowcount

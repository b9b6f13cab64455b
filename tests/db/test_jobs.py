"""P3: a job is worked on by one worker, and a worker that lost its lease changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from neurocards.db import generations, jobs
from neurocards.db.connection import Database, Transaction
from neurocards.db.jobs import Job, LostLease
from shop import advance, claim, counts, make_video, new_order, violations

LEASE_SECONDS = 30.0


async def rescue(database: Database) -> list[jobs.Rescued]:
    return await database.run(jobs.rescue)


async def test_p3_many_claimers_never_take_the_same_job(database: Database) -> None:
    for _ in range(20):
        await new_order(database, videos=5)
    claims = await asyncio.gather(*(claim(database, limit=9, worker=f"w{n}") for n in range(30)))
    taken = [job.id for batch in claims for job in batch]
    assert len(taken) == len(set(taken)) == 100


async def test_p3_a_job_that_is_not_due_stays(database: Database) -> None:
    await new_order(database)
    (job,) = await claim(database)
    await database.run(lambda tx: jobs.snooze(tx, job, seconds=60))
    assert await claim(database) == []
    await advance(database, 61)
    (again,) = await claim(database)
    assert (again.id, again.attempt, again.lease_number) == (job.id, 1, 2)


async def test_p5_a_retry_spends_an_attempt_and_a_snooze_does_not(database: Database) -> None:
    await new_order(database)
    for spends, expected in ((False, 1), (True, 2), (False, 2), (True, 3)):
        (job,) = await claim(database)
        await database.run(
            lambda tx, job=job, spends=spends: jobs.retry(  # type: ignore[misc]  # bound early
                tx, job, seconds=0, spends_attempt=spends, failure="it said no"
            )
        )
        (job,) = await claim(database)
        assert job.attempt == expected
        await database.run(lambda tx, job=job: jobs.snooze(tx, job, seconds=0))  # type: ignore[misc]  # bound early


async def test_p3_a_worker_never_claims_what_it_holds(database: Database) -> None:
    await new_order(database)
    (job,) = await claim(database)
    await advance(database, LEASE_SECONDS + 1)
    assert [rescued.subject_id for rescued in await rescue(database)] == [job.subject_id]

    async def claim_holding(held: list[int]) -> list[Job]:
        return await database.run(
            lambda tx: jobs.claim(
                tx, worker="same", kinds=["generation"], limit=5, lease_seconds=LEASE_SECONDS, held=held
            )
        )

    assert await claim_holding([job.id]) == []
    assert [again.id for again in await claim_holding([])] == [job.id]


async def test_p4_a_silent_worker_is_replaced_after_its_lease(database: Database) -> None:
    await new_order(database)
    (job,) = await claim(database)
    await advance(database, LEASE_SECONDS - 1)
    assert await rescue(database) == []
    assert await database.run(lambda tx: jobs.extend(tx, [job], lease_seconds=LEASE_SECONDS)) == {job.id}
    await advance(database, LEASE_SECONDS - 1)
    assert await rescue(database) == [], "the heartbeat extended the lease"
    await advance(database, 2)
    assert [rescued.rescues for rescued in await rescue(database)] == [1]
    (again,) = await claim(database)
    assert (again.attempt, again.lease_number) == (1, 2), "a dead worker costs no attempt"


async def stale_settle(tx: Transaction, job: Job) -> None:
    if not await generations.settle(tx, job.subject_id, job.lease_number):
        raise LostLease(job)


async def stale_refund(tx: Transaction, job: Job) -> None:
    if not await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="provider"):
        raise LostLease(job)


async def stale_retry(tx: Transaction, job: Job) -> None:
    await jobs.retry(tx, job, seconds=0, spends_attempt=True, failure="x")


async def stale_snooze(tx: Transaction, job: Job) -> None:
    await jobs.snooze(tx, job, seconds=0)


@pytest.mark.parametrize("decision", [jobs.prove, stale_snooze, stale_retry, stale_settle, stale_refund])
@pytest.mark.parametrize("claimed_again", [False, True])
async def test_p3_a_lost_lease_decides_nothing(
    database: Database, decision: Callable[[Transaction, Job], Awaitable[None]], claimed_again: bool
) -> None:
    await new_order(database)
    (job,) = await claim(database)
    await make_video(database, job)
    await advance(database, LEASE_SECONDS + 1)
    await rescue(database)
    if claimed_again:
        await claim(database, worker="other")
    before = await counts(database)
    with pytest.raises(LostLease):
        async with database.transaction() as tx:
            await decision(tx, job)
    assert await counts(database) == before
    assert await database.run(lambda tx: jobs.extend(tx, [job], lease_seconds=LEASE_SECONDS)) == set()
    assert await violations(database) == []


async def test_p3_the_new_owner_is_not_disturbed_by_the_old_one(database: Database) -> None:
    await new_order(database)
    (old,) = await claim(database)
    await make_video(database, old)
    await advance(database, LEASE_SECONDS + 1)
    await rescue(database)
    (new,) = await claim(database, worker="other")
    with pytest.raises(LostLease):
        await database.run(lambda tx: stale_refund(tx, old))
    async with database.transaction() as tx:
        assert await generations.settle(tx, new.subject_id, new.lease_number)
    assert await violations(database) == []


async def test_f29_what_kills_workers_is_not_tried_together_with_what_was_only_near(database: Database) -> None:
    await new_order(database, videos=6)
    for _ in range(2):
        assert len(await claim(database, worker="doomed")) == 6
        await advance(database, LEASE_SECONDS + 1)
        await rescue(database)
    [suspect] = await claim(database, worker="one")
    assert await claim(database, worker="one") == [], "one at a time"
    [other] = await claim(database, worker="another")
    assert other.id != suspect.id
    await database.run(lambda tx: jobs.snooze(tx, other, seconds=0))
    assert {job.id for job in await claim(database, worker="another")} > {other.id}, "it was innocent"

    await advance(database, LEASE_SECONDS + 1)
    guilty = {rescued.subject_id for rescued in await rescue(database) if rescued.rescues >= 3}
    assert suspect.subject_id in guilty
    assert len(guilty) == 2, "the suspect, and the one that another worker tried beside it"


async def test_f31_what_was_begun_meanwhile_is_not_given_up(database: Database) -> None:
    """Maintenance has listed an overdue video; before it comes to it, a worker takes the video up."""
    await new_order(database)
    await advance(database, 3601)
    async with database.transaction() as tx:
        [overdue] = await generations.overdue(tx)
    (job,) = await claim(database)
    async with database.transaction() as tx:
        await generations.begin(tx, job.subject_id, deadline_seconds=3600)
    assert not await database.run(lambda tx: generations.give_up_overdue(tx, overdue))
    assert not await database.run(lambda tx: generations.give_up_poison(tx, overdue))
    await advance(database, 3601)
    assert await database.run(lambda tx: generations.give_up_overdue(tx, overdue))
    assert await violations(database) == []

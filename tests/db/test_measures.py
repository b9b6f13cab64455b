"""What the shop measures of itself: each figure moves with what it is about, and with nothing else."""

from datetime import timedelta

import pytest

from neurocards.db import backups, circuits, customers, generations, jobs, measures, notices, operators, updates
from neurocards.db.connection import Database
from neurocards.db.measures import Measures
from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.domain.generations import AttemptState
from shop import advance, claim, intents, make_video, new_customer, new_draft, new_order, place


async def measured(database: Database) -> Measures:
    return await database.run(measures.read)


async def test_a_new_shop_measures_nothing(database: Database) -> None:
    found = await measured(database)
    assert set(found.orders.values()) == set(found.jobs.values()) == set(found.credits.values()) == {0}
    assert (found.oldest_due_seconds, found.outbox_oldest_seconds, found.updates_oldest_seconds) == (0, 0, 0)
    assert (found.providers, found.circuits, found.ambiguous_share) == ([], [], 0)
    assert (found.backup_verified_at, found.sales_paused_at) == (None, None)


async def test_orders_are_counted_by_result_and_a_reversal_takes_none_back(database: Database) -> None:
    """What was completed stays so: a counter that fell would be read as one that began anew."""
    for end in ("settle", "refund", "both", "reverse", "leave"):
        await new_order(database, videos=2)
        first, second = await claim(database)
        if end == "leave":
            continue
        for job in (first, second):
            if end == "refund" or (end == "both" and job is second):
                async with database.transaction() as tx:
                    await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="provider")
            else:
                await make_video(database, job)
                async with database.transaction() as tx:
                    await generations.settle(tx, job.subject_id, job.lease_number)
                    if end == "reverse":
                        await generations.reverse(tx, job.subject_id, reason="delivery")
    order_id = await new_order(database)
    async with database.transaction() as tx:
        order = await (await tx.execute("select customer_id from orders where id = %s", [order_id])).fetchone()
        assert order is not None
        await tx.execute("select cancel_order(%s, %s)", [order_id, order[0]])
    found = await measured(database)
    assert found.orders == {"open": 1, "completed": 2, "partial": 1, "failed": 1, "cancelled": 1}
    assert found.jobs == {"due": 0, "scheduled": 0, "running": 2, "completed": 5, "discarded": 4}
    assert found.credits == {"top_up": 60, "withdrawal": 0, "hold": 11, "settle": 5, "refund": 4, "reversal": 2}


async def test_a_job_waits_while_it_is_due_and_when_its_worker_fell_silent(database: Database) -> None:
    await new_order(database)
    await advance(database, 100)
    assert (await measured(database)).oldest_due_seconds == pytest.approx(100, abs=5)
    (job,) = await claim(database, lease_seconds=30)
    assert (await measured(database)).oldest_due_seconds == 0
    await advance(database, 100)
    assert (await measured(database)).oldest_due_seconds == pytest.approx(70, abs=5)
    async with database.transaction() as tx:
        await jobs.snooze(tx, job, seconds=60)
    found = await measured(database)
    assert (found.oldest_due_seconds, found.jobs["scheduled"]) == (0, 1)


async def test_the_outbox_is_what_people_wait_for_and_can_get(database: Database) -> None:
    customer = await new_customer(database, free=1)
    await place(database, await new_draft(database, customer))
    (job,) = await claim(database)
    await advance(database, 50)
    assert (await measured(database)).outbox == 0  # a card is edited when there is time
    async with database.transaction() as tx:
        await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="provider")
    await advance(database, 50)
    found = await measured(database)
    assert found.outbox == 1
    assert found.outbox_oldest_seconds == pytest.approx(50, abs=5)
    async with database.transaction() as tx:
        await customers.set_reachable(tx, customer.id, reachable=False)
    assert (await measured(database)).outbox == 0
    async with database.transaction() as tx:
        await customers.set_reachable(tx, customer.id, reachable=True)
        (notice,) = await notices.claim(tx, limit=1, lease_seconds=30, per_second=30)
        await notices.finish(tx, notice, state="undeliverable")
    found = await measured(database)
    assert (found.outbox, found.undeliverable) == (0, 1)


async def test_updates_wait_and_die(database: Database) -> None:
    async with database.transaction() as tx:
        await updates.store(tx, [updates.Incoming(number, number, False, {}) for number in (1, 2)])
        first, _ = await updates.claim(tx, limit=2, lease_seconds=30)
        await updates.bury(tx, first, failure="x")
    await advance(database, 40)
    found = await measured(database)
    assert found.updates == 1
    assert found.updates_oldest_seconds == pytest.approx(40, abs=5)
    assert (found.dead_updates, found.dead_updates_of_day) == (1, 1)
    await advance(database, timedelta(days=1).total_seconds())
    found = await measured(database)
    assert (found.dead_updates, found.dead_updates_of_day) == (1, 0)


async def test_lost_answers_and_orphans_are_measured_by_provider(database: Database) -> None:
    await new_order(database, videos=5)
    taken = await claim(database)
    async with database.transaction() as tx:
        ids = await intents(tx, taken, cost_usd=0.5)
        await generations.end_attempt(tx, ids[0], AttemptState.UNKNOWN, "no answer")
        await generations.end_attempt(tx, ids[1], AttemptState.REFUSED, "busy")
        await generations.record_task(tx, ids[2], "task")
        await generations.end_attempt(tx, ids[3], AttemptState.ABANDONED, "no answer")
        await generations.refund(tx, taken[3].subject_id, lease_number=taken[3].lease_number, reason="provider")
        await generations.record_task(tx, ids[3], "late")
    (kie,) = (found := await measured(database)).providers
    assert (kie.provider, kie.submits, kie.ambiguous, kie.orphans, kie.orphans_usd) == ("kie", 4, 2, 1, 0.5)
    assert found.ambiguous_share == 0.5
    await advance(database, 300)  # the intent that nobody has answered is a doubt by now
    assert (await measured(database)).providers[0].ambiguous == 3
    await advance(database, 86_400)
    (kie,) = (await measured(database)).providers
    assert (kie.submits, kie.ambiguous, kie.orphans, kie.orphans_usd) == (0, 0, 1, 0)


async def test_what_is_left_alone_is_measured_until_it_works_again(database: Database) -> None:
    shut = Failure(FailureKind.OUTAGE, Reason.PROVIDER, "402 no credits", scope=Scope.KEY)
    async with database.transaction() as tx:
        await tx.execute("insert into provider_keys (label, provider) values ('kie-1', 'kie')")
        await circuits.failed(tx, "key kie-1", shut)
        await circuits.failed(tx, "key of-old", shut)
        await circuits.failed(tx, "provider fal", Failure(FailureKind.TEMPORARY, Reason.PROVIDER, "x"))
    (key,) = (await measured(database)).circuits
    assert (key.scope, key.subject, key.why) == ("key", "kie-1", "402 no credits")
    await advance(database, 3600)
    assert len((await measured(database)).circuits) == 1
    async with database.transaction() as tx:
        await circuits.succeeded(tx, ["key kie-1"])
    assert (await measured(database)).circuits == []


async def test_a_backup_counts_when_it_was_restored_and_a_pause_while_it_lasts(database: Database) -> None:
    async with database.transaction() as tx:
        await backups.record(tx, location="here", size_bytes=1, sha256="")
        await operators.pause_sales(tx, operator="me", reason="x")
    found = await measured(database)
    assert found.backup_verified_at is None
    assert found.sales_paused_at is not None
    async with database.transaction() as tx:
        await backups.checked(tx, "here", failure=None)
        await operators.resume_sales(tx, operator="me")
    found = await measured(database)
    assert found.backup_verified_at is not None
    assert found.sales_paused_at is None

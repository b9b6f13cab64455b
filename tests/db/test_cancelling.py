"""F10: an order is taken back whole and free, or it is in work: never both, whoever comes first."""

import asyncio
from uuid import UUID, uuid4

import pytest

from neurocards.db import customers, generations, jobs, orders
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Balance
from neurocards.db.jobs import Job, LostLease
from neurocards.db.orders import Cancellation, CancelOutcome
from neurocards.domain.generations import AttemptState
from shop import claim, make_video, new_customer, new_order, violations


async def cancel(database: Database, order_id: UUID, customer_id: int | None = None) -> Cancellation:
    async def take_back(tx: Transaction) -> Cancellation:
        order = await orders.find(tx, order_id)
        assert order is not None
        return await orders.cancel(tx, order_id, customer_id or order.customer_id)

    return await database.run(take_back)


async def submit(database: Database, job: Job) -> bool:
    """Write the intent, as a worker does before the request leaves; False when it may not leave."""

    async def intend(tx: Transaction) -> None:
        await jobs.prove(tx, job)
        await generations.intend(
            tx, job.subject_id, attempt_id=uuid4(), provider="kie", model="m", lease_number=job.lease_number
        )

    try:
        await database.run(intend)
    except LostLease:
        return False
    return True


async def balance(database: Database, order_id: UUID) -> Balance:
    async with database.transaction() as tx:
        order = await orders.find(tx, order_id)
        assert order is not None
        return await customers.balance(tx, order.customer_id)


async def states(database: Database, order_id: UUID) -> list[str]:
    async with database.transaction() as tx:
        return [one.state.value for one in await generations.of_order(tx, order_id)]


async def test_f10_an_order_that_nobody_began_is_taken_back_whole(database: Database) -> None:
    order_id = await new_order(database, videos=3, free=5)
    assert await cancel(database, order_id) == Cancellation(CancelOutcome.CANCELLED, 3, 0)
    assert await balance(database, order_id) == Balance(available_free=5, available_paid=0, held=0, spent=0)
    assert await states(database, order_id) == ["cancelled"] * 3
    assert await claim(database) == []
    again = Cancellation(CancelOutcome.CANCELLED, 0, 0)
    assert await cancel(database, order_id) == again, "the answer may have been lost"
    assert await violations(database) == []


async def test_f10_a_worker_that_was_about_to_submit_finds_its_lease_gone(database: Database) -> None:
    order_id = await new_order(database)
    [job] = await claim(database)
    assert (await cancel(database, order_id)).outcome is CancelOutcome.CANCELLED
    assert not await submit(database, job)
    assert await violations(database) == []


async def test_f10_what_was_submitted_goes_on(database: Database) -> None:
    order_id = await new_order(database, videos=2)
    first, _ = await claim(database)
    assert await submit(database, first)
    assert await cancel(database, order_id) == Cancellation(CancelOutcome.TOO_LATE, 1, 1)
    assert sorted(await states(database, order_id)) == ["cancelled", "queued"]
    assert (await balance(database, order_id)).held == 1
    assert await violations(database) == []


async def test_f10_a_submit_that_was_refused_has_cost_nothing(database: Database) -> None:
    order_id = await new_order(database)
    [job] = await claim(database)
    assert await submit(database, job)
    async with database.transaction() as tx:
        [attempt] = await generations.attempts(tx, job.subject_id)
        assert await generations.end_attempt(tx, attempt.id, AttemptState.REFUSED, "busy")
    assert (await cancel(database, order_id)).outcome is CancelOutcome.CANCELLED


async def test_f10_a_finished_order_is_not_taken_back(database: Database) -> None:
    order_id = await new_order(database)
    [job] = await claim(database)
    await make_video(database, job)
    async with database.transaction() as tx:
        assert await generations.settle(tx, job.subject_id, job.lease_number)
    assert (await cancel(database, order_id)).outcome is CancelOutcome.ENDED
    assert await states(database, order_id) == ["completed"]


async def test_f10_what_was_delivered_is_not_called_cancelled(database: Database) -> None:
    order_id = await new_order(database, videos=2)
    [job, *_] = await claim(database, limit=1)
    await make_video(database, job)
    assert await cancel(database, order_id) == Cancellation(CancelOutcome.TOO_LATE, 1, 1)
    async with database.transaction() as tx:
        assert await generations.settle(tx, job.subject_id, job.lease_number)
    assert await cancel(database, order_id) == Cancellation(CancelOutcome.ENDED, 0, 0)


async def test_t15_nobody_takes_back_what_is_not_theirs(database: Database) -> None:
    order_id = await new_order(database)
    stranger = await new_customer(database)
    assert (await cancel(database, order_id, stranger.id)).outcome is CancelOutcome.UNKNOWN
    assert await states(database, order_id) == ["queued"]


@pytest.mark.parametrize("round_number", range(3))
async def test_f10_cancelling_and_submitting_at_once_end_in_one_of_the_two(
    database: Database, round_number: int
) -> None:
    order_ids = [await new_order(database, videos=3) for _ in range(10)]
    claimed = await claim(database)
    results = await asyncio.gather(
        *(submit(database, job) for job in claimed), *(cancel(database, order_id) for order_id in order_ids * 2)
    )
    submitted = {job.subject_id for job, done in zip(claimed, results[: len(claimed)], strict=True) if done}
    async with database.transaction() as tx:
        for order_id in order_ids:
            for generation in await generations.of_order(tx, order_id):
                tried = await generations.attempts(tx, generation.id)
                assert (generation.id in submitted) == bool(tried) == (generation.state.value != "cancelled")
    assert await violations(database) == []

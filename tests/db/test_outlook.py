"""P8: what waiting customers are told of the queue and of the time it takes is counted and measured, never guessed."""

from uuid import UUID

from neurocards.db import generations, jobs, orders, outlook
from neurocards.db.connection import Database
from neurocards.domain.outlook import MEASURED_ENOUGH, Outlook
from shop import advance, claim, make_video, new_order

MODEL = "kling/v3-turbo-image-to-video"


async def read(database: Database, order_id: UUID) -> Outlook:
    async with database.transaction() as tx:
        order = await orders.find(tx, order_id)
        assert order is not None
        return await outlook.read(tx, order)


async def made(database: Database, *, seconds: float) -> None:
    """One more video, that long after its order."""
    await new_order(database)
    await advance(database, seconds)
    for job in await claim(database):
        await make_video(database, job)
        assert await database.run(lambda tx, job=job: generations.settle(tx, job.subject_id, job.lease_number))  # type: ignore[misc]


async def test_p8_the_place_is_counted_from_the_front_of_the_queue(database: Database) -> None:
    first, second, third = [await new_order(database, videos=count) for count in (1, 3, 1)]
    assert [(await read(database, one)).ahead for one in (first, second, third)] == [0, 1, 2], "customers alternate"
    await claim(database, limit=2)
    assert [(await read(database, one)).ahead for one in (first, second, third)] == [None, 1, 0]


async def test_p8_a_job_that_waits_for_the_provider_is_not_in_front_of_anybody(database: Database) -> None:
    await new_order(database)
    second = await new_order(database)
    [job] = await claim(database, limit=1)
    async with database.transaction() as tx:
        await generations.begin(tx, job.subject_id, deadline_seconds=3600)
        await jobs.snooze(tx, job, seconds=0)
    assert (await read(database, second)).ahead == 0


async def test_p8_each_step_forward_is_told_once(database: Database) -> None:
    order_ids = [await new_order(database) for _ in range(3)]
    assert await database.run(outlook.tell_places) == 3
    assert await database.run(outlook.tell_places) == 0
    await claim(database, limit=1)
    assert await database.run(outlook.tell_places) == 2
    async with database.transaction() as tx:
        cursor = await tx.execute(
            "select order_id, count(*) from notices where cause like '%:place:%' group by order_id"
        )
        told: dict[UUID, int] = dict(await cursor.fetchall())
    assert [told[one] for one in order_ids] == [1, 2, 2]


async def test_p8_nothing_is_promised_without_a_history(database: Database) -> None:
    for _ in range(MEASURED_ENOUGH - 1):
        await made(database, seconds=60)
    waiting = await new_order(database)
    found = await read(database, waiting)
    assert (found.usual, found.rendering_seconds) == (None, None)


async def test_p8_the_estimate_is_what_the_last_videos_took(database: Database) -> None:
    for seconds in (60, 60, 120, 120, 180):
        await made(database, seconds=seconds)
    waiting = await new_order(database)
    usual = (await read(database, waiting)).usual
    assert usual is not None
    assert usual.measured == MEASURED_ENOUGH
    assert 55 <= usual.low_seconds <= 65
    assert 150 <= usual.high_seconds <= 185
    await advance(database, 8 * 24 * 3600)
    assert (await read(database, waiting)).usual is None, "last week's speed says nothing of today's"

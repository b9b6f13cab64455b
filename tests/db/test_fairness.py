"""P9: the queue is shared. Who orders a hundred videos delays who orders one by one slot's time at most."""

from uuid import UUID

from neurocards.db import jobs, orders
from neurocards.db.connection import Database
from neurocards.db.customers import Customer
from neurocards.db.jobs import Job
from shop import DEADLINE_SECONDS, PRICE, SECONDS, advance, claim, counts, new_customer, new_draft, place


async def order(database: Database, customer: Customer, *, videos: int) -> UUID:
    draft_id = await new_draft(database, customer, videos=videos)
    assert (await place(database, draft_id)).outcome is orders.Outcome.PLACED
    return draft_id


async def begin(database: Database, job: Job) -> None:
    """A worker did something for it and put it back, due again at once."""
    await database.run(lambda tx: jobs.snooze(tx, job, seconds=0))


async def owners(database: Database, claimed: list[Job]) -> list[int]:
    async with database.transaction() as tx:
        cursor = await tx.execute(
            "select customer_id from unnest(%s::bigint[]) with ordinality picked (id, place) join jobs using (id)"
            " order by place",
            [[job.id for job in claimed]],
        )
        return [customer_id for (customer_id,) in await cursor.fetchall()]


async def next_owner(database: Database) -> int:
    """Whose job one free slot gets; it stays in work."""
    [owner] = await owners(database, await claim(database, limit=1))
    return owner


async def test_p9_one_video_waits_for_one_slot_behind_a_hundred(database: Database) -> None:
    many = await new_customer(database, free=100)
    for _ in range(10):
        await order(database, many, videos=10)
    for _ in range(3):
        assert await next_owner(database) == many.id
    one = await new_customer(database, free=1)
    await order(database, one, videos=1)
    assert one.id in [await next_owner(database) for _ in range(2)]


async def test_p9_whoever_has_less_in_work_is_next(database: Database) -> None:
    many, few = await new_customer(database, free=20), await new_customer(database, free=3)
    await order(database, many, videos=10)
    await claim(database, limit=5)
    await order(database, few, videos=3)
    assert sorted(await owners(database, await claim(database, limit=3))) == [few.id] * 3


async def test_p9_videos_that_were_begun_hold_nobody_up_for_longer_either(database: Database) -> None:
    many, one = await new_customer(database, free=50), await new_customer(database, free=1)
    for _ in range(5):
        await order(database, many, videos=10)
    for job in await claim(database):
        await begin(database, job)
    await advance(database, 1)
    await order(database, one, videos=1)
    assert one.id in [await next_owner(database) for _ in range(2)]


async def test_p9_with_equal_shares_what_was_begun_goes_on_first(database: Database) -> None:
    first, second = await new_customer(database, free=2), await new_customer(database, free=2)
    await order(database, first, videos=2)
    [job] = await claim(database, limit=1)
    await begin(database, job)
    await order(database, second, videos=2)
    [again] = await claim(database, limit=1)
    assert again.id == job.id


async def test_p9_a_queue_longer_than_its_front_is_shared_as_well(database: Database) -> None:
    many, one = await new_customer(database, free=60), await new_customer(database, free=1)
    for _ in range(6):
        await order(database, many, videos=10)
    await order(database, one, videos=1)
    front, jobs.FRONT_JOBS = jobs.FRONT_JOBS, 3
    try:
        assert one.id in [await next_owner(database) for _ in range(2)]
    finally:
        jobs.FRONT_JOBS = front


async def test_p9_an_operator_can_let_an_order_go_first(database: Database) -> None:
    first, last = await new_customer(database, free=5), await new_customer(database, free=1)
    await order(database, first, videos=5)
    urgent = await order(database, last, videos=1)
    assert await database.run(lambda tx: jobs.hurry(tx, urgent, priority=1)) == 1
    assert await next_owner(database) == last.id


async def test_p9_nobody_has_more_in_work_than_their_share_of_the_shop(database: Database) -> None:
    customer = await new_customer(database, free=20)
    await order(database, customer, videos=3)
    draft_id = await new_draft(database, customer, videos=3)
    before = await counts(database)

    async def place_within(limit: int) -> orders.Placement:
        return await database.run(
            lambda tx: orders.place(
                tx,
                draft_id,
                template_version=1,
                model="kling/v3-turbo-image-to-video",
                seconds=SECONDS,
                price_credits=PRICE,
                deadline_seconds=DEADLINE_SECONDS,
                open_limit=limit,
            )
        )

    assert (await place_within(5)).outcome is orders.Outcome.TOO_MANY_OPEN
    assert await counts(database) == before
    assert (await place_within(6)).outcome is orders.Outcome.PLACED


async def test_f32_ten_thousand_jobs_that_failed_together_do_not_come_back_together(database: Database) -> None:
    customer = await new_customer(database, free=50)
    for _ in range(5):
        await order(database, customer, videos=10)
    for job in await claim(database):
        await database.run(
            lambda tx, job=job: jobs.retry(tx, job, seconds=100, spends_attempt=False, failure="away")  # type: ignore[misc]  # bound early
        )
    async with database.transaction() as tx:
        cursor = await tx.execute(
            "select min(extract(epoch from run_at - clock_now())), max(extract(epoch from run_at - clock_now())),"
            " count(distinct date_trunc('second', run_at)) from jobs"
        )
        row = await cursor.fetchone()
    assert row is not None
    soonest, latest, moments = row
    assert 99 <= soonest <= latest <= 121, "never earlier than asked for, never much later"
    assert moments >= 8

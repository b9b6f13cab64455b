"""P1, P2, P6, P10: credits move atomically and once, whoever asks at the same time. What is refused: test_refusals."""

import asyncio
from uuid import UUID

import psycopg
import pytest

from neurocards.db import customers, generations
from neurocards.db.connection import Database
from neurocards.db.customers import Balance
from neurocards.db.orders import Outcome
from shop import (
    advance,
    claim,
    counts,
    make_video,
    new_customer,
    new_draft,
    new_order,
    place,
    violations,
)


async def balance(database: Database, customer_id: int) -> Balance:
    async with database.transaction() as tx:
        return await customers.balance(tx, customer_id)


async def test_p1_an_order_is_its_hold_its_videos_its_jobs_and_its_first_notice(database: Database) -> None:
    customer = await new_customer(database, free=5)
    before = await counts(database)
    placement = await place(database, await new_draft(database, customer, videos=3))
    after = await counts(database)

    assert placement.outcome is Outcome.PLACED
    assert {table: after[table] - before[table] for table in after} == {
        "orders": 1,
        "generations": 3,
        "jobs": 3,
        "transfers": 3,
        "entries": 6,
        "notices": 1,
        "drafts": 0,
    }
    assert await balance(database, customer.id) == Balance(available_free=2, available_paid=0, held=3, spent=0)
    assert await violations(database) == []


async def test_p1_an_order_that_fails_half_way_leaves_nothing(database: Database) -> None:
    customer = await new_customer(database, free=5)
    draft_id = await new_draft(database, customer, videos=3)
    async with database.transaction() as tx:
        await tx.execute("alter table notices add constraint broken check (kind <> 'status')")
    before = await counts(database)
    with pytest.raises(psycopg.errors.CheckViolation):
        await place(database, draft_id)
    assert await counts(database) == before
    assert (await balance(database, customer.id)).available_free == 5


async def test_p2_fifty_taps_at_once_are_one_order(database: Database) -> None:
    customer = await new_customer(database, free=50)
    draft_id = await new_draft(database, customer)
    placements = await asyncio.gather(*(place(database, draft_id) for _ in range(50)))

    assert sorted(placement.outcome for placement in placements) == ["already_placed"] * 49 + ["placed"]
    assert len({placement.order_number for placement in placements}) == 1
    assert (await counts(database))["orders"] == 1
    assert (await balance(database, customer.id)).held == 1


async def test_f05_one_credit_short_writes_nothing_and_names_the_figures(database: Database) -> None:
    customer = await new_customer(database, free=1, paid=1)
    draft_id = await new_draft(database, customer, videos=3)
    before = await counts(database)
    placement = await place(database, draft_id)
    assert placement.outcome is Outcome.NOT_ENOUGH_CREDITS
    assert (placement.total_credits, placement.available_credits) == (3, 2)
    assert await counts(database) == before


async def test_f08_a_card_with_another_price_orders_nothing(database: Database) -> None:
    customer = await new_customer(database, free=5)
    draft_id = await new_draft(database, customer, price=1)
    before = await counts(database)
    assert (await place(database, draft_id, price=2)).outcome is Outcome.PRICE_CHANGED
    assert await counts(database) == before


async def test_f08_a_draft_without_a_card_cannot_be_ordered(database: Database) -> None:
    customer = await new_customer(database, free=5)
    draft_id = await new_draft(database, customer)
    async with database.transaction() as tx:
        await tx.execute("update drafts set quoted_price_credits = null")
    assert (await place(database, draft_id)).outcome is Outcome.OUTDATED
    assert (await place(database, UUID(int=0))).outcome is Outcome.OUTDATED


async def test_p10_free_credits_go_first_and_come_back_to_where_they_were(database: Database) -> None:
    customer = await new_customer(database, free=3, paid=5)
    await place(database, await new_draft(database, customer, videos=3, price=2), price=2)
    assert await balance(database, customer.id) == Balance(available_free=0, available_paid=2, held=6, spent=0)

    first, second, third = await claim(database)
    await make_video(database, second)
    async with database.transaction() as tx:
        assert await generations.refund(tx, first.subject_id, lease_number=first.lease_number, reason="provider")
        assert await generations.settle(tx, second.subject_id, second.lease_number)
        assert await generations.refund(tx, third.subject_id, lease_number=None, reason="deadline")
    # Which of the three was paid by which credits depends on the order of the claim; their sum does not.
    after = await balance(database, customer.id)
    assert (after.held, after.spent) == (0, 2)
    assert after.available_free + after.available_paid == 6
    assert after.available_free <= 3
    assert after.available_paid <= 5
    assert await violations(database) == []


async def test_p6_a_video_ends_in_exactly_one_of_settle_and_refund(database: Database) -> None:
    await new_order(database)
    (job,) = await claim(database)
    await make_video(database, job)

    async def settle() -> bool:
        return await database.run(lambda tx: generations.settle(tx, job.subject_id, job.lease_number))

    async def refund(lease_number: int | None) -> bool:
        return await database.run(
            lambda tx: generations.refund(tx, job.subject_id, lease_number=lease_number, reason="provider")
        )

    outcomes = await asyncio.gather(
        *(settle() for _ in range(5)), *(refund(job.lease_number) for _ in range(5)), *(refund(None) for _ in range(5))
    )
    assert sum(outcomes) == 1
    assert await violations(database) == []


async def test_p10_a_cause_tops_up_once_and_never_with_other_figures(database: Database) -> None:
    customer = await new_customer(database)

    async def top_up(amount: int) -> bool:
        return await database.run(
            lambda tx: customers.top_up(
                tx, customer.id, amount=amount, funding="paid", cause="payment:1", reason="payment"
            )
        )

    assert sum(await asyncio.gather(*(top_up(7) for _ in range(20)))) == 1
    with pytest.raises(psycopg.DatabaseError) as refused:
        await top_up(8)
    assert refused.value.sqlstate == "NC409"
    assert (await balance(database, customer.id)).available_paid == 7


async def test_p10_ordering_and_withdrawing_at_once_never_overdraws(database: Database) -> None:
    """Ten customers with one credit each: an order and a withdrawal race for it."""

    async def withdraw(customer_id: int) -> bool:
        try:
            await database.run(
                lambda tx: tx.execute(
                    "select withdraw(%s, 1, 'free', %s, 'test')", [customer_id, f"withdraw:{customer_id}"]
                )
            )
        except psycopg.errors.CheckViolation:
            return False
        return True

    people = [await new_customer(database, free=1) for _ in range(10)]
    drafts = [await new_draft(database, person) for person in people]
    results = await asyncio.gather(
        *(place(database, draft) for draft in drafts), *(withdraw(person.id) for person in people)
    )
    placed = [getattr(result, "outcome", None) is Outcome.PLACED for result in results[:10]]
    assert [a != b for a, b in zip(placed, results[10:], strict=True)] == [True] * 10
    assert await violations(database) == []


async def test_p6_the_clock_is_one_for_all(database: Database) -> None:
    await new_order(database)
    async with database.transaction() as tx:
        assert await generations.overdue(tx) == []
    await advance(database, 3601)
    async with database.transaction() as tx:
        assert len(await generations.overdue(tx)) == 1

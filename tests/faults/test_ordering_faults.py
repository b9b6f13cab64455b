"""F01-F14: whatever happens while somebody orders, there is one order or none, and nothing is paid that was not."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest

from bot.chat import Shop
from bot.test_conversation import orders_of
from faults.line import Line, once_each
from faults.places import opened_shop
from faults.traps import CUT_OFF, Point, sprung, trap
from neurocards import ordering
from neurocards.catalogue import load_catalogue
from neurocards.db import customers, orders
from neurocards.db.connection import Away, Database
from neurocards.db.customers import Balance, Customer
from neurocards.db.orders import Outcome, Placement
from services import Simulators
from shop import DEADLINE_SECONDS, PRICE, counts, new_customer, new_draft, place, violations

TEMPLATE = "hero_broll"


async def balance(database: Database, customer: Customer) -> Balance:
    return await database.run(lambda tx: customers.balance(tx, customer.id))


async def order(database: Database, draft_id: UUID) -> Placement:
    return await ordering.place_order(
        database, load_catalogue(), draft_id, TEMPLATE, deadline_seconds=DEADLINE_SECONDS, open_limit=100
    )


@pytest.mark.parametrize(
    ("call", "customer", "amount", "funding"),
    [("top_up", 0, 8, "paid"), ("top_up", 0, 7, "free"), ("top_up", 1, 7, "paid"), ("withdraw", 0, 7, "paid")],
    ids=["amount", "funding", "customer", "kind"],
)
async def test_f03_a_cause_used_again_with_other_figures_is_refused_and_writes_nothing(
    database: Database, call: str, customer: int, amount: int, funding: str
) -> None:
    people = [await new_customer(database, paid=20), await new_customer(database, paid=20)]
    cause = f"payment:{uuid4()}"

    async def move(call: str, customer_id: int, amount: int, funding: str) -> bool:
        async with database.transaction() as tx:
            cursor = await tx.execute(
                f"select {call}(%s, %s, %s, %s, 'test')".encode(), [customer_id, amount, funding, cause]
            )
            return await cursor.fetchone() == (True,)

    assert await move("top_up", people[0].id, 7, "paid")
    before = await counts(database), [await balance(database, person) for person in people]
    with pytest.raises(psycopg.DatabaseError) as refused:
        await move(call, people[customer].id, amount, funding)
    assert refused.value.sqlstate == "NC409"
    assert (await counts(database), [await balance(database, person) for person in people]) == before
    assert not await move("top_up", people[0].id, 7, "paid"), "the same again is the same"


async def test_f03_an_order_asked_for_again_with_other_figures_stays_as_it_was(database: Database) -> None:
    customer = await new_customer(database, free=9)
    draft_id = await new_draft(database, customer)
    first = await place(database, draft_id)
    before = await counts(database), await balance(database, customer)
    again = await place(database, draft_id, price=5)
    assert (again.outcome, again.order_number) == (Outcome.ALREADY_PLACED, first.order_number)
    assert again.total_credits == PRICE, "what it cost, not what it would cost now"
    assert (await counts(database), await balance(database, customer)) == before


async def test_f04_fifty_cards_confirmed_at_once_are_as_many_orders_as_can_be_paid(database: Database) -> None:
    """Nothing but the credits may stand in the way: the rule of one draft per customer is taken away first."""
    customer = await new_customer(database, free=55, paid=45)
    async with database.transaction() as tx:
        await tx.execute("alter table drafts drop constraint drafts_one_per_customer")
        await tx.execute(
            "insert into drafts (customer_id, photo_key, template, description, wishes, count, quoted_price_credits)"
            " select %s, 'photos/1', 'hero_broll', 'A mug', '', 1, 10 from generate_series(1, 50)",
            [customer.id],
        )
        drafts = [id for (id,) in await (await tx.execute("select order_id from drafts")).fetchall()]
    placements = await asyncio.gather(*(place(database, draft_id, price=10) for draft_id in drafts))

    refused = [one for one in placements if one.outcome is Outcome.NOT_ENOUGH_CREDITS]
    assert [one.outcome for one in placements].count(Outcome.PLACED) == 10
    assert [(one.total_credits, one.available_credits) for one in refused] == [(10, 0)] * 40
    after = await balance(database, customer)
    assert (after.available_free, after.available_paid, after.held) == (0, 0, 100)
    found = await counts(database)
    assert (found["orders"], found["jobs"], found["notices"], found["drafts"]) == (10, 10, 10, 40)
    async with database.transaction() as tx:
        # The entries are every instant that there ever was.
        lowest = await tx.execute(
            "select min(balance_after) from entries join accounts on accounts.id = account_id where kind <> 'issued'"
        )
        assert await lowest.fetchone() == (0,)
    assert await violations(database) == []


async def test_f06_a_confirmation_whose_commit_was_never_answered_is_the_order_it_made(
    line: Line, simulators: Simulators
) -> None:
    done: list[str] = []
    once = once_each("after", done)
    line.decide = lambda words: once(words) if "place_order(" in words and not done else None
    async with Database(line.dsn) as database, opened_shop(database, simulators) as shop:
        person = await shop.shopper()
        answer = await person.tap("Confirm")
        assert len(done) == 1, "the line was cut after the commit"
        [placed] = await orders_of(shop)
        assert f"No. {placed.number}" in answer["text"]
        found = await counts(database)
        assert (found["orders"], found["jobs"], found["notices"]) == (1, 1, 1)
        assert (await person.balance()).held == 1
        assert await violations(database) == []


@pytest.mark.parametrize(
    ("table", "point"),
    [
        ("orders", "insert"),
        ("transfers", "insert"),
        ("accounts", "update"),
        ("jobs", "insert"),
        ("notices", "insert"),
        ("drafts", "delete"),
        ("orders", "commit"),
    ],
)
async def test_f07_a_server_that_dies_inside_the_order_leaves_all_or_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, table: str, point: Point
) -> None:
    customer = await new_customer(database, free=3)
    draft_id = await new_draft(database, customer, videos=2)
    before = await counts(database)
    with monkeypatch.context() as hasty:
        hasty.setattr(ordering, "PATIENCE_SECONDS", 0.0)
        async with trap(database, table, point, CUT_OFF):
            with pytest.raises(Away):
                await order(database, draft_id)
            assert await sprung(database) == 1
    assert await counts(database) == before
    assert (await balance(database, customer)).held == 0
    async with trap(database, table, point, CUT_OFF, times=1):
        assert (await order(database, draft_id)).outcome is Outcome.PLACED, "a short absence is waited for"
    assert (await order(database, draft_id)).outcome is Outcome.ALREADY_PLACED
    assert (await balance(database, customer)).held == 2
    assert await violations(database) == []


async def test_f07_who_ordered_meanwhile_is_asked_to_try_again_and_can(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "PATIENCE_SECONDS", 0.1)
    person = await shop.shopper()
    before = await counts(shop.database)
    async with trap(shop.database, "jobs", "insert", CUT_OFF):
        answer = await person.tap("Confirm")
    assert answer["show_alert"]
    assert "nothing will be charged twice" in answer["text"]
    assert await counts(shop.database) == before
    assert "accepted" in (await person.tap("Confirm"))["text"]
    assert (await person.balance()).held == 1


async def test_f10_a_cancel_whose_answer_was_lost_is_done_once(line: Line) -> None:
    done: list[str] = []
    once = once_each("after", done)
    line.decide = lambda words: once(words) if "cancel_order(" in words else None
    async with Database(line.dsn) as database:
        customer = await new_customer(database, free=3)
        draft_id = await new_draft(database, customer, videos=3)
        await place(database, draft_id)
        cancelled = await ordering.cancel_order(database, draft_id, customer.id)
        assert len(done) == 1
        assert cancelled.outcome is orders.CancelOutcome.CANCELLED, "the repeat says what was done"
        after = await balance(database, customer)
        assert (after.available_free, after.held) == (3, 0)
        assert await violations(database) == []

"""A pause of sales against people who confirm at the same moment: each orders or is refused, never half."""

import asyncio
from uuid import UUID

from neurocards import ordering
from neurocards.catalogue import load_catalogue
from neurocards.db import operators
from neurocards.db.connection import Database
from neurocards.db.orders import Outcome, Placement
from shop import claim, counts, new_customer, new_draft, new_order, violations

CATALOGUE = load_catalogue()
PEOPLE = 50


async def confirm(database: Database, draft_id: UUID) -> Placement:
    return await ordering.place_order(
        database, CATALOGUE, draft_id, "hero_broll", deadline_seconds=3600, open_limit=200
    )


async def pause(database: Database) -> int:
    """Pause sales; returns how many orders there were in the moment of the pause."""
    async with database.transaction() as tx:
        assert await operators.pause_sales(tx, operator="telegram 1", reason="a fire")
        cursor = await tx.execute("select count(*) from orders")
        ((orders,),) = await cursor.fetchall()
    return int(orders)


async def resume(database: Database) -> None:
    async with database.transaction() as tx:
        assert await operators.resume_sales(tx, operator="telegram 1")


async def test_fifty_who_confirm_against_a_pause_order_before_it_or_are_refused(database: Database) -> None:
    drafts = [await new_draft(database, await new_customer(database, free=1)) for _ in range(PEOPLE)]

    before, after = drafts[: PEOPLE // 2], drafts[PEOPLE // 2 :]
    # Connections are handed out in this order, twelve at once: the pause comes into the midst of them.
    async with asyncio.TaskGroup() as group:
        confirming = [group.create_task(confirm(database, one)) for one in before]
        pausing = group.create_task(pause(database))
        confirming += [group.create_task(confirm(database, one)) for one in after]
    paused = pausing.result()
    outcomes = [one.result().outcome for one in confirming]
    assert set(outcomes) == {Outcome.PLACED, Outcome.PAUSED}
    # Nobody's order came after the pause that did not see it.
    assert outcomes.count(Outcome.PLACED) == paused
    found = await counts(database)
    assert (found["orders"], found["drafts"]) == (paused, PEOPLE - paused)
    assert await violations(database) == []

    await resume(database)
    later = await asyncio.gather(*(confirm(database, one) for one in drafts))
    assert sorted(placement.outcome for placement in later) == sorted(
        [Outcome.ALREADY_PLACED] * paused + [Outcome.PLACED] * (PEOPLE - paused)
    )
    assert await violations(database) == []


async def test_a_pause_waits_for_an_order_that_was_let_in(database: Database) -> None:
    async with database.transaction() as tx:
        assert await operators.selling(tx)
        pausing = asyncio.create_task(pause(database))
        while not await waits_for_a_lock(database):
            assert not pausing.done()
    await pausing
    async with database.transaction() as tx:
        assert not await operators.selling(tx)


async def test_what_was_ordered_goes_on_in_a_pause_and_a_second_tap_finds_it(database: Database) -> None:
    order_id = await new_order(database)
    await pause(database)
    assert (await confirm(database, order_id)).outcome is Outcome.ALREADY_PLACED
    assert len(await claim(database)) == 1


async def test_a_pause_is_one_act_on_record_and_so_is_its_end(database: Database) -> None:
    await pause(database)
    async with database.transaction() as tx:
        assert not await operators.pause_sales(tx, operator="command line", reason="another")
        pause_now = await operators.sales_pause(tx)
        assert pause_now is not None
        assert (pause_now.reason, pause_now.paused_by) == ("a fire", "telegram 1")
    await resume(database)
    async with database.transaction() as tx:
        assert not await operators.resume_sales(tx, operator="command line")
        acts = [(one.operator, one.action, one.reason) for one in await operators.latest(tx, limit=9)]
    assert acts == [("telegram 1", "resume sales", ""), ("telegram 1", "pause sales", "a fire")]


async def waits_for_a_lock(database: Database) -> bool:
    async with database.transaction() as tx:
        cursor = await tx.execute(
            "select exists (select from pg_locks where not granted and locktype = 'advisory'"
            " and database = (select oid from pg_database where datname = current_database()))"
        )
        return await cursor.fetchone() == (True,)

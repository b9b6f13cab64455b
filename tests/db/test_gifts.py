"""T13: a gift is given once, however many ask for it at the same moment."""

import asyncio

from neurocards import operating, payments
from neurocards.db import operators
from neurocards.db.connection import Database
from shop import new_customer, violations

ASKING = 100


async def test_t13_a_hundred_who_agree_at_once_get_one_welcome_gift(database: Database) -> None:
    customer = await new_customer(database)
    given = await asyncio.gather(
        *(database.run(lambda tx: payments.welcome(tx, customer.id, amount=3)) for _ in range(ASKING))
    )
    assert sorted(given) == [False] * (ASKING - 1) + [True]
    assert await violations(database) == []


async def test_t13_a_hundred_grants_for_one_cause_give_once_and_are_one_act(database: Database) -> None:
    customer = await new_customer(database)

    async def grant() -> bool:
        return await database.run(
            lambda tx: operating.grant(
                tx, customer, amount=5, cause="ticket 7", operator="telegram 1", reason="late video"
            )
        )

    assert sum(await asyncio.gather(*(grant() for _ in range(ASKING)))) == 1
    async with database.transaction() as tx:
        assert len(await operators.latest(tx, limit=ASKING)) == 1
        cursor = await tx.execute("select sum(balance) from accounts where kind = 'available'")
        assert await cursor.fetchone() == (5,)
    assert await violations(database) == []

"""Whole orders of sellers who command the prompt writer, which obeys: what was ordered is made and paid as ever."""

import pytest

from flow.rig import Rig
from injections import INJECTIONS, Injection
from neurocards.catalogue import load_catalogue
from neurocards.db import books, orders
from neurocards.domain.generations import GenerationState
from providers.prompts import commission, why_not_sent
from shop import SECONDS, new_customer, new_draft, place

SAMPLE = INJECTIONS[:: len(INJECTIONS) // 12]


@pytest.mark.parametrize("injection", SAMPLE, ids=lambda injection: injection.name)
async def test_t09_an_injection_changes_nothing_about_the_order(rig: Rig, photo: bytes, injection: Injection) -> None:
    await rig.writer_fault(kind="obey", times=5)
    await rig.store.put("photos/1", photo)
    customer = await new_customer(rig.database, free=10)
    other = await new_customer(rig.database, free=10)
    order_id = await new_draft(rig.database, customer, description=injection.description, wishes=injection.wishes)
    assert (await place(rig.database, order_id)).outcome is orders.Outcome.PLACED
    async with rig.database.transaction() as tx:
        before = await orders.find(tx, order_id)

    (generation,) = await rig.finish(order_id)

    assert generation.state is GenerationState.COMPLETED
    async with rig.database.transaction() as tx:
        after = await orders.find(tx, order_id)
        figures = await books.figures(tx)
        cursor = await tx.execute("select distinct customer_id from notices")
        told = [row[0] for row in await cursor.fetchall()]
    assert before is not None
    assert after is not None
    for kept in ("customer_id", "template", "template_version", "count", "price_credits", "model", "seconds"):
        assert getattr(after, kept) == getattr(before, kept), kept
    assert (figures.spent_credits, figures.available_credits) == (1, 19)
    assert (await customer_credits(rig, customer.id), await customer_credits(rig, other.id)) == (9, 10)
    assert told == [customer.id]
    (task,) = await rig.tasks()
    assert (task["model"], task["input"]["duration"]) == ("kling/v3-turbo-image-to-video", str(SECONDS))

    template = load_catalogue().templates["hero_broll"]
    own = template.prompt(description=injection.description, wishes=injection.wishes)
    if generation.prompt_source == "template":
        assert generation.prompt == own
    else:
        assert why_not_sent(generation.prompt or "", commission(seconds=SECONDS)) is None
    assert await rig.violations() == []


async def customer_credits(rig: Rig, customer_id: int) -> int:
    async with rig.database.transaction() as tx:
        cursor = await tx.execute(
            "select sum(balance) from accounts where customer_id = %s and kind = 'available'", [customer_id]
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])

"""T14, T15: who floods the bot holds up nobody else, and no button reaches what is somebody else's."""

from itertools import product
from uuid import uuid4

import pytest

from bot.chat import Shop
from bot.test_cabinet import order, settle
from bot.test_inbox import body, put
from neurocards.bot.keyboards import data
from neurocards.bot.screens import Action, CabinetAction, CabinetVerb, Repeat, Verb
from neurocards.db import generations, orders
from shop import counts, violations

FLOOD = 1000


async def test_t14_of_a_thousand_messages_one_is_handled_before_everybody_elses_turn(shop: Shop) -> None:
    flooder, other = await shop.regular(), await shop.regular()
    await put(shop.database, *(body(10_000_000 + n, flooder.id, text="hello") for n in range(FLOOD)))
    await put(shop.database, body(20_000_000, other.id, text="/help"))
    assert await shop.handling.turn() == 2, "one of each person, whoever came first"
    await shop.handling.idle()
    assert "How it works" in str((await other.messages())[-1]["text"])


@pytest.mark.parametrize("verb", [Verb.CONFIRM, Verb.CANCEL, Verb.CANCEL_ORDER, Verb.ORIGINAL, Verb.REPEAT])
async def test_t15_a_button_about_another_customers_order_answers_as_if_there_were_none(shop: Shop, verb: Verb) -> None:
    victim, thief = await shop.regular(), await shop.regular()
    await victim.give(5)
    [job] = await order(shop, victim)
    await settle(shop.database, job)
    await order(shop, victim)
    async with shop.database.transaction() as tx:
        placed = [await orders.find_number(tx, number) for number in (1, 2)]
    before = await counts(shop.database)
    for one, value in product(placed, ("", "1", *Repeat)):
        assert one is not None
        theirs = await thief.forge(data(Action(verb, one.id, value)))
        nobodys = await thief.forge(data(Action(verb, uuid4(), value)))
        assert (theirs["text"], theirs["show_alert"]) == (nobodys["text"], nobodys["show_alert"])
    assert await counts(shop.database) == before
    assert await violations(shop.database) == []


async def test_t15_the_cabinet_shows_and_sends_nothing_of_anybody_else(shop: Shop) -> None:
    victim, thief = await shop.regular(), await shop.regular()
    [job] = await order(shop, victim)
    await settle(shop.database, job)
    async with shop.database.transaction() as tx:
        assert (await generations.attempts(tx, job.subject_id)) != []
    before = await counts(shop.database)
    for generation_id in (job.subject_id, uuid4()):
        answer = await thief.forge(data(CabinetAction(CabinetVerb.SEND_VIDEO, generation_id=generation_id)))
        assert "no longer works" in answer["text"]
    for verb, beside in product((CabinetVerb.STATEMENT, CabinetVerb.VIDEOS), (0, 1, 2, 10**9)):
        for action in (CabinetAction(verb, older_than=beside), CabinetAction(verb, newer_than=beside)):
            await thief.forge(data(action))
            page = str((await thief.messages())[-1]["text"])
            assert "order No. 1" not in page
            assert "No. 1 ·" not in page
    assert await counts(shop.database) == before

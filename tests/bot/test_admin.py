"""The operators' menu: T16 who may come in; T15, T34 what others' taps do; each act once, confirmed and on record."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bot.chat import Json, Person, Shop, labels, photo, words
from bot.test_cabinet import order, settle
from bot.test_forgiving import confirm_of
from bot.test_inbox import body, put
from bot.test_messenger import Waiting, waiting
from neurocards.bot import admin_screens
from neurocards.bot.keyboards import data
from neurocards.bot.screens import AdminAction, AdminVerb
from neurocards.db import generations, operators, provider_keys, requests
from neurocards.db.operators import Action
from neurocards.db.requests import Act
from neurocards.domain.failures import Reason
from neurocards.settings import Settings
from neurocards.texts import LANGUAGES
from shop import advance, claim, counts, violations

__all__ = ["waiting"]

GROUP = {"id": -100_500, "type": "supergroup", "title": "Sellers"}
CHANNEL = {"id": -100_600, "type": "channel", "title": "News"}


async def staff(shop: Shop, *people: Person, limit: int = 100) -> None:
    """These people are operators from now on."""
    listed = ",".join(str(one.id) for one in people)
    shop.settings = Settings(_env_file=None, operators=listed, operator_limit_credits=limit)
    shop.restart()


async def operator_of(shop: Shop, language: str = "en", *, limit: int = 100) -> Person:
    """An operator who is alone, and no customer yet."""
    person = await shop.arrive(language, name="Olga")
    await staff(shop, person, limit=limit)
    return person


async def acts(shop: Shop) -> list[Action]:
    """What is on record, oldest first."""
    async with shop.database.transaction() as tx:
        return [*reversed(await operators.latest(tx, limit=100))]


async def done(shop: Shop) -> list[tuple[str, str, str]]:
    """The same without what was only looked at: who, what, on what."""
    return [(one.operator, one.action, one.subject) for one in await acts(shop) if one.action != "look up"]


async def menu(person: Person) -> Json:
    """The message that the menu is in: the newest one of the bot."""
    return next(one for one in reversed(await person.messages()) if one["from_bot"])


async def turn(person: Person, label: str) -> str:
    """Tap a button; returns what its message says then."""
    await person.tap(label)
    return str((await menu(person))["text"])


async def prepare_grant(operator: Person, customer: Person, said: str = "5 late video") -> Json:
    """Up to the second tap; returns the message that asks for it."""
    await operator.write(f"/admin {customer.id}")
    await operator.tap("Grant credits")
    await operator.write(said)
    return await menu(operator)


# T16: who comes in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("meeting", ["new", "regular", "with a draft"])
async def test_t16_to_everybody_else_admin_is_an_unknown_command_and_the_attempt_is_on_record(
    shop: Shop, meeting: str
) -> None:
    await operator_of(shop)
    person = await shop.arrive() if meeting == "new" else await shop.regular()
    if meeting == "with a draft":
        await person.send(photo())
        await person.answers()
    unknown = await person.write("/nonsense")
    told = await person.write("/admin")
    assert [(one["text"], labels(one)) for one in told] == [(one["text"], labels(one)) for one in unknown]
    assert "shop" not in words(told)
    [act] = await acts(shop)
    assert (act.operator, act.action, act.subject) == (f"telegram {person.id}", "refused", "/admin")
    assert act.reason.startswith("no operator; update ")


async def test_t16_who_asks_again_and_again_is_on_record_once_an_hour(shop: Shop) -> None:
    await operator_of(shop)
    person, other = await shop.regular(), await shop.regular()
    for who in (person, person, other, person):
        await who.write("/admin")
    assert [act.operator for act in await acts(shop)] == [f"telegram {person.id}", f"telegram {other.id}"]
    await advance(shop.database, 3601)
    await person.write("/admin")
    assert len(await acts(shop)) == 3


def user(id: int, **more: Any) -> Json:  # Any: JSON
    return {"id": id, "is_bot": False, "first_name": "Ann", "language_code": "en", **more}


def knocks(operator: int, stranger: int) -> dict[str, tuple[Json, str]]:
    """Updates that try to be an operator's, and what of each the record says."""
    number = iter(range(1, 100))

    def message(kind: str = "message", **more: Any) -> Json:  # Any: JSON
        return body(next(number), operator, text="/admin", kind=kind, **more)

    tap = body(next(number), operator, kind="callback_query")
    tap["callback_query"]["data"] = data(AdminAction(AdminVerb.DAY))
    foreign_tap = {**tap, "update_id": 71, "callback_query": {**tap["callback_query"], "id": "71"}}
    foreign_tap["callback_query"]["message"] = {**tap["callback_query"]["message"], "chat": GROUP}
    inline_tap = {**tap, "update_id": 72, "callback_query": {**tap["callback_query"], "id": "72"}}
    del inline_tap["callback_query"]["message"]
    inline_tap["callback_query"]["inline_message_id"] = "x"
    stranger_tap = {**tap, "update_id": 73, "callback_query": {**tap["callback_query"], "id": "73"}}
    stranger_tap["callback_query"]["from"] = user(stranger)
    stranger_tap["callback_query"]["message"] = {
        **tap["callback_query"]["message"],
        "chat": {"id": stranger, "type": "private"},
    }
    post = body(74, operator, text="/admin", kind="channel_post", chat=CHANNEL, sender_chat=CHANNEL)
    del post["channel_post"]["from"]
    origin = {"type": "user", "date": 1_700_000_000, "sender_user": user(operator)}
    hidden = {"type": "hidden_user", "date": 1_700_000_000, "sender_user_name": "Olga"}
    query = {"id": "1", "from": user(operator), "query": "/admin", "offset": ""}
    return {
        "a stranger": (body(75, stranger, text="/admin"), "no operator"),
        "a stranger with words": (body(76, stranger, text="/admin@thebot 4711"), "no operator"),
        "a stranger's tap": (stranger_tap, "no operator"),
        "an operator's from in another's chat": (
            message(chat={"id": stranger, "type": "private"}),
            f"in the chat of {stranger}",
        ),
        "an operator's words, forwarded": (message(forward_origin=origin), "forwarded"),
        "hidden words, forwarded": (message(forward_origin=hidden), "forwarded"),
        "forwarded by a stranger": (body(77, stranger, text="/admin", forward_origin=origin), "forwarded"),
        "written by an inline bot": (
            message(via_bot={"id": 5, "is_bot": True, "first_name": "B"}),
            "written by another bot",
        ),
        "an inline query": ({"update_id": 78, "inline_query": query}, "an inline query"),
        "in a group": (message(chat=GROUP), "in a supergroup -100500"),
        "in a group in the name of a chat": (
            message(chat=GROUP, sender_chat=GROUP),
            "written in the name of a chat",
        ),
        "in a channel": (post, "a channel_post"),
        "an edited message": (message(kind="edited_message", edit_date=1_700_000_001), "a edited_message"),
        "a tap in a group": (foreign_tap, "in a supergroup -100500"),
        "a tap on an inline message": (inline_tap, "a button of an inline message"),
    }


@pytest.mark.parametrize("how", sorted(knocks(1, 2)))
async def test_t16_whoever_is_not_an_operator_in_the_own_chat_is_refused_and_on_record(shop: Shop, how: str) -> None:
    operator = await operator_of(shop)
    stranger = await shop.regular()
    knock, fault = knocks(operator.id, stranger.id)[how]
    await put(shop.database, knock)
    await shop.settle()
    assert set(await shop.states()) == {"handled"}
    for person in (operator, stranger):
        assert "The shop" not in words(await person.messages())
        assert "Today" not in words(await person.messages())
    [act] = await acts(shop)
    assert (act.action, act.reason.split("; ")[0]) == ("refused", fault)


async def test_t16_a_forwarded_message_is_no_reason(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    await operator.write(f"/admin {customer.id}")
    await operator.tap("Grant credits")
    await shop.client.post(
        f"{shop.telegram}/sim/people/{operator.id}/forward",
        params={"bot": shop.token.split(":")[0]},
        data={"channel": "News", "text": "500 give me this"},
    )
    await shop.settle()
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select count(*) from operator_requests")
        assert await cursor.fetchone() == (0,)


async def test_t16_an_operator_who_is_taken_off_the_list_is_out_at_once(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    asked = await prepare_grant(operator, customer)
    await staff(shop)
    await operator.begin_tap("Yes, do it", message=asked)
    await shop.settle()
    assert (await customer.balance()).available_free == 1
    assert [what for _, what, _ in await done(shop)] == ["refused"]


async def test_t16_a_bot_without_operators_has_no_menu(shop: Shop) -> None:
    person = await shop.regular()
    assert "no such command" in words(await person.write("/admin"))


# T15, T34: taps that nobody was offered ------------------------------------------------------------------------------


async def test_t15_no_button_of_the_menu_does_anything_for_a_customer(shop: Shop) -> None:
    operator, victim = await operator_of(shop), await shop.regular()
    await order(shop, victim)
    asked = await prepare_grant(operator, victim)
    request_id = requests_in(asked)[0]
    customer = await shop.regular()
    unknown = await customer.forge("zz:nothing")
    before = await counts(shop.database)
    for verb in AdminVerb:
        for action in (
            AdminAction(verb),
            AdminAction(verb, subject=victim.id),
            AdminAction(verb, subject=1),
            AdminAction(verb, request_id=request_id),
        ):
            answer = await customer.forge(data(action))
            assert (answer["text"], answer["show_alert"]) == (unknown["text"], unknown["show_alert"])
    assert await counts(shop.database) == before
    assert str(victim.id) not in words(await customer.messages())
    assert (await victim.balance()).available_free == 0
    refused = [one.operator for one in await acts(shop) if one.action == "refused"]
    assert refused == [f"telegram {customer.id}"]
    # The operator's own tap still does it: nobody has used it up.
    assert "✓ Grant 5 credits" in await turn(operator, "Yes, do it")


def requests_in(message: Json) -> list[Any]:  # Any: UUID
    from neurocards.bot.keyboards import AdminTap  # noqa: PLC0415

    taps = [AdminTap.unpack(one["callback_data"]) for row in message["buttons"] for one in row]
    return [tap.request_id for tap in taps if tap.request_id is not None]


async def test_t34_what_a_tap_says_of_an_act_is_its_name_alone(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    asked = await prepare_grant(operator, customer)
    [request_id, _] = requests_in(asked)
    honest = data(AdminAction(AdminVerb.CONFIRM, request_id=request_id))
    for mutated in (
        f"{honest}:500",
        f"{honest[:-1]}{'0' if honest[-1] != '0' else '1'}",
        data(AdminAction(AdminVerb.CONFIRM, request_id=uuid4())),
        data(AdminAction(AdminVerb.CONFIRM)),
        "op:y:500:",
        "op:y",
        "op:Y::",
        f"op:yy::{request_id}",
    ):
        await operator.forge(mutated)
        assert (await customer.balance()).available_free == 1
    # Whatever else is written into it, what was asked for is done and nothing more.
    await operator.forge(data(AdminAction(AdminVerb.CONFIRM, subject=500, request_id=request_id)))
    assert (await customer.balance()).available_free == 6


async def test_t34_a_price_in_the_data_of_a_confirm_button_changes_nothing(shop: Shop) -> None:
    person = await shop.shopper()
    card = next(one for one in reversed(await person.messages()) if "Confirm" in labels(one))
    honest = confirm_of(card)
    before = await counts(shop.database)
    for mutated in (f"{honest}0", f"{honest}:0", honest.replace("t:y", "t:Y"), f"t:y:{uuid4()}:", "t:y::", "t:y"):
        if mutated != f"{honest}0":
            await person.forge(mutated)
            assert await counts(shop.database) == before
    # A value behind the draft's token is read by nobody: the price is the catalogue's.
    await person.forge(f"{honest}0")
    assert (await person.balance()).held == 1
    assert await violations(shop.database) == []


# Looking -------------------------------------------------------------------------------------------------------------


async def test_the_menu_is_one_message_that_is_turned_in_place(shop: Shop) -> None:
    operator = await operator_of(shop)
    [opened] = await operator.write("/admin")
    assert opened["text"] == "The shop\n\nSales are on."
    assert labels(opened) == ["Today", "Queue", "Providers", "Find a customer", "Pause sales"]
    for label, title in (("Today", "Today"), ("Queue", "Queue"), ("Providers", "Providers")):
        await operator.tap(label)
        page = await menu(operator)
        assert page["message_id"] == opened["message_id"]
        assert page["text"].startswith(title)
        assert labels(page) == ["↻ Refresh", "‹ Menu"]
        await operator.tap("↻ Refresh")
        await operator.tap("‹ Menu")
    assert (await menu(operator))["message_id"] == opened["message_id"]


async def test_the_day_and_the_queue_in_numbers(shop: Shop) -> None:
    operator = await operator_of(shop)
    person = await shop.regular()
    await person.give(5)
    await settle(shop.database, *await order(shop, person, price=3))
    await order(shop, person)
    async with shop.database.transaction() as tx:
        await tx.execute("update attempts set cost_usd = 0.4 where state = 'succeeded'")
        await tx.execute(
            "update notices set state = 'sent', message_id = 1, sent_at = clock_now() where kind = 'video'"
        )
        await provider_keys.register(tx, "kie", ["kie-<1>"])
        await provider_keys.record_balance(tx, "kie-<1>", 2000.0)
    await operator.write("/admin")
    told = await turn(operator, "Today")
    for line in (
        "Orders: 2, videos in them: 2",
        "Delivered: 1",
        "Refunded: 0",
        "Revenue: 2 credits = $3.00",
        "Gifts used: 1 credit",
        "Providers' cost: $0.40",
        "Waiting now: 1, 1 credit on hold",
    ):
        assert line in told, told
    await operator.tap("‹ Menu")
    told = await turn(operator, "Queue")
    assert "In work: 1" in told
    assert "Workers at it: 1" in told
    assert "Last word from a worker: 0:0" in told
    await operator.tap("‹ Menu")
    assert "kie-<1>: $10.00, in flight 0, works" in await turn(operator, "Providers")
    # A day later nothing of it is of today.
    await advance(shop.database, 86_400)
    await operator.tap("‹ Menu")
    assert "Orders: 0, videos in them: 0" in await turn(operator, "Today")


async def test_what_is_left_alone_is_told_with_its_reason(shop: Shop) -> None:
    operator = await operator_of(shop)
    async with shop.database.transaction() as tx:
        await provider_keys.register(tx, "kie", ["kie-1"])
        await tx.execute(
            "insert into circuits (subject, failures, open_until, why) values"
            " ('key kie-1', 2, clock_now() + interval '1 hour', 'code 402: <empty>'),"
            " ('provider fal', 3, clock_now() + interval '1 hour', 'HTTP 503'),"
            " ('model kling-3.0/video', 2, clock_now() + interval '1 hour', 'switched off')"
        )
    await operator.write("/admin")
    told = await turn(operator, "Providers")
    assert "code 402: <empty>" in told
    assert "fal: 3 failures in a row" in told
    assert "switched off" in told


async def test_a_customer_is_found_by_id_order_and_name(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    await order(shop, customer)
    for asked in (str(customer.id), "#1", "№ 1", "1"):
        await operator.write("/admin")
        await operator.tap("Find a customer")
        [found] = await operator.write(asked)
        if asked == str(customer.id):
            assert f"Ann · {customer.id}" in found["text"]
            assert "Available: 0 credits" in found["text"]
            assert "In work: 1 credit" in found["text"]
            assert labels(found) == ["No. 1", "Grant credits", "‹ Menu"]
        else:
            assert found["text"].startswith("Order No. 1")
            assert labels(found) == ["Refund", "‹ Customer", "‹ Menu"]
    written = body(9_000_000_001, customer.id, text="hi")
    written["message"]["from"] = user(customer.id, username="Ann_7")
    await put(shop.database, written)
    await shop.settle()
    assert f"Ann · {customer.id}" in words(await operator.write("/admin @ann_7"))
    looked = [one for one in await acts(shop) if one.action == "look up"]
    assert {(one.operator, one.subject) for one in looked} == {
        (f"telegram {operator.id}", f"customer {customer.id}"),
        (f"telegram {operator.id}", "order 1"),
    }


@pytest.mark.parametrize("asked", ["#7", "@nobody", "0", "<b>", "9" * 30, "٤٧"])
async def test_who_is_not_there_is_said_and_asked_for_again(shop: Shop, asked: str) -> None:
    operator = await operator_of(shop)
    await operator.write("/admin")
    await operator.tap("Find a customer")
    [told] = await operator.write(asked)
    assert told["text"].startswith(f"Nobody is found by “{asked}”.")
    assert f"{operator.id}" in words(await operator.write(str(operator.id)))
    # What is not asked for any more is what anybody may say.
    assert "admin" not in words(await operator.write("hello"))


# Acting --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
async def test_t16_a_grant_takes_a_second_tap_and_is_given_once(shop: Shop, language: str) -> None:
    operator, customer = await operator_of(shop, language), await shop.regular()
    grant, yes = {"en": ("Grant credits", "Yes, do it"), "ru": ("Начислить кредиты", "Да, сделать")}[language]
    await operator.write(f"/admin {customer.id}")
    await operator.tap(grant)
    await operator.write("5 <late> video")
    asked = await menu(operator)
    assert "<late> video" in asked["text"]
    assert (await customer.balance()).available_free == 1
    taps = [await operator.begin_tap(yes, message=asked) for _ in range(3)]
    await shop.settle()
    await shop.post("redeliver", {})
    await shop.settle()
    assert len(taps) == 3
    assert (await customer.balance()).available_free == 6
    assert await done(shop) == [(f"telegram {operator.id}", "grant", f"customer {customer.id}, credits 5")]
    # A forged tap with the same token, long after.
    await operator.forge(data(AdminAction(AdminVerb.CONFIRM, request_id=requests_in(asked)[0])))
    assert (await customer.balance()).available_free == 6
    assert "<late> video" in words(await customer.write("/cabinet")) or await violations(shop.database) == []


async def test_t16_a_tap_handled_halfway_when_the_process_died_does_it_once(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    await prepare_grant(operator, customer)
    await shop.fault("5xx", "editMessageText")
    await operator.tap("Yes, do it")
    assert (await customer.balance()).available_free == 6
    await advance(shop.database, 60)
    shop.restart()
    await shop.settle()
    told = (await menu(operator))["text"]
    assert told.startswith("✓ Grant 5 credits")
    assert (await customer.balance()).available_free == 6
    assert len(await done(shop)) == 1


async def test_a_stale_confirmation_does_nothing(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    await prepare_grant(operator, customer)
    await advance(shop.database, 601)
    assert "asked too long ago" in await turn(operator, "Yes, do it")
    assert (await customer.balance()).available_free == 1
    assert await done(shop) == []


async def test_what_was_dropped_cannot_be_done_any_more(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    asked = await prepare_grant(operator, customer)
    assert "Nothing was done" in await turn(operator, "No")
    await operator.forge(data(AdminAction(AdminVerb.CONFIRM, request_id=requests_in(asked)[0])))
    assert (await customer.balance()).available_free == 1
    assert await done(shop) == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("5", "The reason is missing"),
        ("five because", "a whole number of credits"),
        ("0 nothing", "a whole number of credits"),
        ("-5 take", "a whole number of credits"),
        ("1000001 much", "a whole number of credits"),
        ("٥ arabic", "a whole number of credits"),
        ("1e3 float", "a whole number of credits"),
        (f"5 {'x' * 301}", "has 301 characters"),
    ],
)
async def test_t22_a_bad_amount_is_told_and_asked_for_again(shop: Shop, said: str, told: str) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    assert told in (await prepare_grant(operator, customer, said))["text"]
    await operator.write("5 late video")
    await operator.tap("Yes, do it")
    assert (await customer.balance()).available_free == 6


async def test_t16_above_the_limit_a_second_operator_has_to_confirm(shop: Shop) -> None:
    first, other, customer = await shop.arrive(), await shop.arrive("ru"), await shop.regular()
    await other.start()
    await staff(shop, first, other, limit=100)
    asked = await prepare_grant(first, customer, "101 a big apology")
    assert "another operator has to confirm" in await turn(first, "Yes, do it")
    await first.forge(data(AdminAction(AdminVerb.CONFIRM, request_id=requests_in(asked)[0])))
    await shop.settle()
    assert "Another operator than you" in (await menu(first))["text"]
    assert (await customer.balance()).available_free == 1

    call = await menu(other)
    assert "Начислить 101 кредит" in call["text"]
    assert f"telegram {first.id}" in call["text"]
    taps = [await other.begin_tap("Да, сделать", message=call) for _ in range(2)]
    await shop.settle()
    assert len(taps) == 2
    assert (await customer.balance()).available_free == 102
    assert await done(shop) == [
        (f"telegram {first.id}", "ask for a second operator to grant", f"customer {customer.id}, credits 101"),
        (f"telegram {first.id}, telegram {other.id}", "grant", f"customer {customer.id}, credits 101"),
    ]
    assert await violations(shop.database) == []


async def test_t16_a_second_operator_who_cannot_be_written_to_finds_it_in_the_menu_and_may_refuse(shop: Shop) -> None:
    first, other, customer = await shop.arrive(), await shop.arrive(), await shop.regular()
    await other.start()
    await other.do("block", {})
    await staff(shop, first, other, limit=3)
    await prepare_grant(first, customer)
    await first.tap("Yes, do it")
    await other.do("unblock", {})
    await other.write("/admin")
    await other.tap("Second word: Grant 5 credits to " + str(customer.id))
    assert "Nothing was done" in await turn(other, "No")
    assert (await customer.balance()).available_free == 1
    assert [what for _, what, _ in await done(shop)] == ["ask for a second operator to grant", "refuse to grant"]


async def test_t16_who_is_alone_is_told_that_a_second_is_needed(shop: Shop) -> None:
    operator, customer = await operator_of(shop, limit=4), await shop.regular()
    assert "only one is listed in OPERATORS" in (await prepare_grant(operator, customer))["text"]
    assert (await prepare_grant(operator, customer, "4 late"))["text"].startswith("Sure?")


async def test_many_small_acts_of_a_day_need_a_second_operator_as_a_large_one_does(shop: Shop) -> None:
    operator, customer = await operator_of(shop, limit=10), await shop.regular()
    await prepare_grant(operator, customer, "6 late")
    await operator.tap("Yes, do it")
    unconfirmed = await prepare_grant(operator, customer, "4 late again")
    assert "only one is listed in OPERATORS" in (await prepare_grant(operator, customer, "1 more"))["text"]
    await advance(shop.database, 601)
    assert "Sure?" in (await prepare_grant(operator, customer, "4 what was not confirmed counts no more"))["text"]
    await operator.tap("Yes, do it")
    await operator.begin_tap("Yes, do it", message=unconfirmed)
    await shop.settle()
    assert (await customer.balance()).available_free == 11
    assert "only one is listed" in (await prepare_grant(operator, customer, "1 more"))["text"]
    await advance(shop.database, 86_400)
    assert "Sure?" in (await prepare_grant(operator, customer, "10 a new day"))["text"]


async def prepare_refund(operator: Person, number: int = 1) -> None:
    await operator.write(f"/admin #{number}")
    await operator.tap("Refund")
    await operator.write("the product is wrong")


async def test_a_refund_pays_back_what_is_in_work_once_and_tells_the_customer(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.regular()
    await customer.give(3)
    await order(shop, customer, videos=3)
    await prepare_refund(operator)
    asked = await menu(operator)
    assert "Refund order No. 1 (3 credits)" in asked["text"]
    for _ in range(2):
        await operator.begin_tap("Yes, do it", message=asked)
    await shop.settle()
    after = await customer.balance()
    assert (after.available_free + after.available_paid, after.held, after.spent) == (4, 0, 0)
    assert await done(shop) == [(f"telegram {operator.id}", "refund", "order 1, credits 3")]
    assert (await acts(shop))[-1].reason == "the product is wrong"
    await shop.tell()
    assert "We have paid this video back to you" in words(await customer.answers())
    assert await violations(shop.database) == []
    # There is nothing left, and that is said instead of done.
    await operator.write("/admin #1")
    assert labels(await menu(operator)) == ["‹ Customer", "‹ Menu"]
    await operator.forge(data(AdminAction(AdminVerb.REFUND, subject=1)))
    await operator.write("again")
    assert "Nothing is left to refund" in (await menu(operator))["text"]


async def test_a_refund_reverses_what_was_handed_over_and_says_what_is_on_its_way(
    waiting: Waiting, tmp_path: Path
) -> None:
    shop = waiting.shop
    operator = await shop.arrive()
    await waiting.finish(tmp_path)
    await staff(shop, operator)
    await prepare_refund(operator)
    told = await turn(operator, "Yes, do it")
    assert "Paid back now: 0 videos" in told
    assert "Finished and not handed over yet: 1" in told
    assert await done(shop) == []
    await shop.tell()
    assert (await waiting.person.balance()).spent == 1
    await prepare_refund(operator)
    assert "Paid back now: one video, 1 credit" in await turn(operator, "Yes, do it")
    after = await waiting.person.balance()
    assert (after.available_free, after.held, after.spent) == (1, 0, 0)
    async with shop.database.transaction() as tx:
        [video] = await generations.of_order(tx, waiting.order_id)
        assert video.failure == Reason.OPERATOR
    await shop.tell()
    assert await violations(shop.database) == []


async def test_sales_are_paused_and_resumed_from_the_menu(shop: Shop) -> None:
    operator, customer = await operator_of(shop), await shop.shopper()
    await operator.write("/admin")
    await operator.tap("Pause sales")
    await operator.write("a fire")
    asked = await menu(operator)
    for _ in range(2):
        await operator.begin_tap("Yes, do it", message=asked)
    await shop.settle()
    answer = await customer.tap("Confirm")
    assert (answer["show_alert"], answer["text"].startswith("We are taking no new orders")) == (True, True)
    assert (await customer.balance()).held == 0
    [card] = await customer.start()
    assert "We are taking no new orders" in card["caption"]

    await operator.tap("‹ Menu")
    home = await menu(operator)
    assert f"by telegram {operator.id}: a fire" in home["text"]
    await operator.tap("Resume sales")
    await operator.write("it is out")
    await operator.tap("Yes, do it")
    assert "is accepted" in (await customer.tap("Confirm"))["text"]
    assert [what for _, what, _ in await done(shop)] == ["pause sales", "resume sales"]


async def test_an_operator_who_sells_too_is_asked_for_nothing_after_ten_minutes(shop: Shop) -> None:
    operator = await shop.regular()
    await staff(shop, operator)
    await operator.send(photo())
    await operator.tap("Hero shot")
    await operator.write("/admin")
    await operator.tap("Pause sales")
    await advance(shop.database, 601)
    await operator.write("A blue mug")
    await operator.tap("Skip")
    assert await done(shop) == []


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_page_fits_into_a_message_and_every_button_into_64_bytes(shop: Shop, language: str) -> None:
    long = "&<" * 150
    request_id = uuid4()
    async with shop.database.transaction() as tx:
        await requests.ask(
            tx, request_id, operator=2**52, act=Act.GRANT, subject=str(2**52), credits=10**6, reason=long
        )
        await operators.pause_sales(tx, operator=f"telegram {2**52}, telegram {2**52}", reason=long)
        request = await requests.find(tx, request_id)
        pause = await operators.sales_pause(tx)
    assert request is not None
    screens: Sequence[Any] = [
        admin_screens.home(language, pause, [request] * 5),
        admin_screens.confirmation(language, request),
        admin_screens.second(language, request),
        admin_screens.done(language, request, "x" * 300),
    ]
    for screen in screens:
        assert len(screen.text) <= 4096
        assert "<&" not in screen.text
        for row in screen.buttons:
            for button in row:
                assert len(data(button.action).encode()) <= 64
    assert await claim(shop.database) == []

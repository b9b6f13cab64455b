"""The conversation as people have it: every step, every button twice, every wrong turn."""

import asyncio
import io
import re
from dataclasses import replace

import pytest
from aiogram.types import Update
from PIL import Image

from bot.chat import Json, Person, Shop, labels, photo, words
from neurocards import ordering
from neurocards.bot.keyboards import data
from neurocards.bot.screens import Action, Verb
from neurocards.db import drafts, orders
from neurocards.domain.orders import Draft, Order
from shop import counts, violations


async def draft_of(person: Person) -> Draft | None:
    customer = await person.customer()
    return await person.shop.database.run(lambda tx: drafts.find(tx, customer.id))


async def orders_of(shop: Shop) -> list[Order]:
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select number from orders order by number")
        found = [await orders.find_number(tx, number) for (number,) in await cursor.fetchall()]
        return [order for order in found if order]


@pytest.mark.parametrize(
    ("language", "agree", "template", "skip", "count", "confirm", "gift", "accepted"),
    [
        (
            "ru",
            "Согласен, начнём",
            "Главный герой",
            "Пропустить",
            "1 видео · 1 кредит",
            "Подтвердить",
            "У вас 1 кредит в подарок",
            "принят",
        ),
        (
            "en",
            "I agree, let's start",
            "Hero shot",
            "Skip",
            "1 video · 1 credit",
            "Confirm",
            "You have 1 credit as a gift",
            "is accepted",
        ),
    ],
)
async def test_a_photo_becomes_an_order(
    shop: Shop,
    language: str,
    agree: str,
    template: str,
    skip: str,
    count: str,
    confirm: str,
    gift: str,
    accepted: str,
) -> None:
    person = await shop.arrive(language)
    assert labels((await person.start())[0]) == [agree]
    await person.tap(agree)
    assert gift in words(await person.answers())
    [choice] = await person.send(photo())
    assert template in labels(choice)
    await person.tap(template)
    [ask] = await person.answers()
    assert re.search(r"1.000", ask["text"])
    [wishes] = await person.write("Синяя кружка <b>&")
    assert skip in labels(wishes)
    await person.tap(skip)
    [amount] = await person.answers()
    assert len(labels(amount)) == 5
    await person.tap(count)
    [card] = await person.answers()
    assert "Синяя кружка <b>&" in card["caption"]
    assert card["media"]["kind"] == "photo"
    assert labels(card)[0] == confirm
    answer = await person.tap(confirm)
    [order] = await orders_of(shop)
    assert answer["answered"]
    assert accepted in answer["text"]
    assert str(order.number) in answer["text"]
    assert (order.template, order.description, order.wishes, order.count) == (
        "hero_broll",
        "Синяя кружка <b>&",
        "",
        1,
    )
    assert order.card_message_id == card["message_id"]
    assert await shop.store.size(order.photo_key)
    assert (await person.balance()).held == 1

    await shop.tell()
    shown = next(one for one in await person.messages() if one["message_id"] == card["message_id"])
    assert str(order.number) in shown["caption"]
    assert labels(shown) in (["Cancel the order"], ["Отменить заказ"])
    assert await person.answers() == []
    assert await violations(shop.database) == []


async def test_p2_a_double_tap_on_confirm_is_one_order(shop: Shop) -> None:
    person = await shop.shopper()
    first, second = await person.begin_tap("Confirm"), await person.begin_tap("Confirm")
    await shop.settle()
    answers = [await shop.get(f"callbacks/{one}") for one in (first, second)]
    [order] = await orders_of(shop)
    assert all(one["answered"] and str(order.number) in one["text"] for one in answers)
    assert (await counts(shop.database))["notices"] == 1


async def test_f01_taps_handled_at_the_same_moment_are_one_order(shop: Shop) -> None:
    person = await shop.shopper()
    callback_ids = [await person.begin_tap("Confirm") for _ in range(3)]
    await shop.intake.turn()
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select body from updates where body ? 'callback_query' and state = 'pending'")
        bodies = [body for (body,) in await cursor.fetchall()]
    assert len(bodies) == 3
    await asyncio.gather(
        *(
            shop.dispatcher.feed_update(shop.bot, Update.model_validate(body, context={"bot": shop.bot}))
            for body in bodies
        )
    )
    [order] = await orders_of(shop)
    for callback_id in callback_ids:
        assert f"No. {order.number}" in (await shop.get(f"callbacks/{callback_id}"))["text"]
    found = await counts(shop.database)
    assert (found["generations"], found["jobs"], found["notices"]) == (1, 1, 1)
    assert (await person.balance()).held == 1


async def test_p2_a_double_tap_on_any_button_asks_the_next_question_once(shop: Shop) -> None:
    person = await shop.arrive()
    await person.start()
    for label in ("I agree, let's start", "Blogger", "Skip", "3 videos · 3 credits"):
        if label == "Blogger":
            await person.send(photo())
        if label == "Skip":
            await person.write("A mug")
        newest = next(one for one in reversed(await person.messages()) if label in labels(one))
        await person.begin_tap(label, message=newest)
        await person.begin_tap(label, message=newest)
        assert len(await person.answers()) == 1, label
    assert (await person.balance()).available_free == 1


async def test_f05_one_credit_short_changes_nothing_and_names_what_is_missing(shop: Shop) -> None:
    person = await shop.shopper(videos="3 videos · 3 credits")
    await person.give(1)
    before = await counts(shop.database)
    answer = await person.tap("Confirm")
    assert answer["show_alert"]
    assert "Missing: 1 credit." in answer["text"]
    assert await counts(shop.database) == before
    await person.give(1)
    assert "accepted" in (await person.tap("Confirm"))["text"]


async def test_f08_a_card_with_an_old_price_orders_nothing(shop: Shop) -> None:
    person = await shop.shopper()
    await person.give(5)
    [old_card] = [one for one in await person.messages() if "Confirm" in labels(one)]
    before = await counts(shop.database)
    template = replace(shop.catalogue.templates["hero_broll"], price_credits=2)
    shop.catalogue = replace(shop.catalogue, templates={**shop.catalogue.templates, "hero_broll": template})
    shop.restart()
    taps = [await person.begin_tap("Confirm", message=old_card) for _ in range(2)]
    [new_card] = await person.answers()
    assert await counts(shop.database) == before
    first, second = [await shop.get(f"callbacks/{one}") for one in taps]
    assert "price has changed" in first["text"]
    assert "no longer works" in second["text"]
    assert "2 credits" in new_card["caption"]
    assert "accepted" in (await person.tap("Confirm"))["text"]
    assert (await person.balance()).held == 2


async def test_f08_a_template_that_went_is_asked_for_again(shop: Shop) -> None:
    person = await shop.shopper()
    left = {id: one for id, one in shop.catalogue.templates.items() if id != "hero_broll"}
    shop.catalogue = replace(shop.catalogue, templates=left)
    shop.restart()
    await person.tap("Confirm")
    [choice] = await person.answers()
    assert "Blogger" in labels(choice)
    await person.tap("Blogger")
    [card] = await person.answers()
    assert "Blogger" in card["caption"]
    assert "A blue mug" in card["caption"]
    assert "accepted" in (await person.tap("Confirm"))["text"]


def _heic() -> bytes:
    return b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(4000)


def _animated() -> bytes:
    frames = [Image.effect_noise((400, 400), 50 + number) for number in range(3)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


BAD_PICTURES = [
    ("empty.jpg", b"", "The file is empty"),
    ("text.jpg", b"hello, I am a photo " * 50, "does not look like a picture"),
    ("half.jpg", photo()[:3000], "did not arrive whole"),
    ("cat.gif", _animated(), "one still picture"),
    ("phone.heic", _heic(), "Most Compatible"),
    ("big.png", bytes(20 * 1024 * 1024 + 1), "larger than 20 MB"),
    ("huge.png", photo(10_000, 5_001, "PNG", compress_level=1), "too many pixels"),
    ("small.jpg", photo(299, 400), "too small"),
    ("long.jpg", photo(400, 1300), "too long and narrow"),
]


@pytest.mark.parametrize(("name", "content", "told"), BAD_PICTURES, ids=[name for name, _, _ in BAD_PICTURES])
async def test_p11_a_bad_photo_gets_one_sentence_and_costs_nothing(
    shop: Shop, name: str, content: bytes, told: str
) -> None:
    person = await shop.regular()
    before = await counts(shop.database)
    [answer] = await person.send(content, name, kind="document")
    assert told in answer["text"]
    assert answer["text"].count(".") == 1
    assert await counts(shop.database) == before


async def test_p11_a_file_too_large_is_not_even_asked_for(shop: Shop) -> None:
    person = await shop.regular()
    before = (await shop.get("calls", method="getFile"))["last_id"]
    await person.send(bytes(20 * 1024 * 1024 + 1), "big.png", kind="document")
    assert (await shop.get("calls", method="getFile", since=before))["calls"] == []


async def test_p11_a_bad_photo_leaves_the_open_draft_where_it_stands(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("Blogger")
    draft = await draft_of(person)
    await person.answers()
    [answer] = await person.send(b"no picture at all", "x.jpg", kind="document")
    assert "does not look like a picture" in answer["text"]
    assert "The earlier photo stays." in answer["text"]
    assert "Describe the product" in answer["text"]
    after = await draft_of(person)
    assert draft is not None
    assert after == replace(draft, question_message_id=answer["message_id"])
    [wishes] = await person.write("A mug")
    assert "Skip" in labels(wishes)


async def test_p11_a_picture_sent_as_a_file_is_taken(shop: Shop) -> None:
    person = await shop.regular()
    [choice] = await person.send(photo(format="PNG"), "mug.png", kind="document")
    assert "Blogger" in labels(choice)


async def test_p11_text_instead_of_a_photo(shop: Shop) -> None:
    person = await shop.regular()
    [answer] = await person.write("make me a video")
    assert "Please send a photo" in answer["text"]
    assert (await counts(shop.database))["drafts"] == 0


async def test_p11_an_album_gives_its_first_photo_and_one_notice(shop: Shop) -> None:
    person = await shop.regular()
    await shop.post(
        f"people/{person.id}/album",
        files=[("file", (f"{number}.jpg", photo(600 + number, 800))) for number in range(4)],
    )
    [choice] = await person.answers()
    assert "Blogger" in labels(choice)
    assert "first good photo" in choice["text"]
    assert (await counts(shop.database))["drafts"] == 1


async def test_p11_too_long_a_text_is_refused_with_its_length(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("Blogger")
    await person.answers()
    [answer] = await person.write("x" * 1001)
    assert "1,001 of 1,000" in answer["text"]
    assert "Describe" in answer["text"]
    await person.write("x" * 1000)
    [answer] = await person.write("y" * 501)
    assert "501 of 500" in answer["text"]
    draft = await draft_of(person)
    assert draft is not None
    assert (len(draft.description or ""), draft.wishes) == (1000, None)


async def test_words_where_a_button_is_awaited_show_the_question_again(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("Blogger")
    await person.answers()
    await person.write("A mug")
    await person.tap("Skip")
    [amount] = [one for one in await person.answers() if "1 video · 1 credit" in labels(one)]
    [again] = await person.write("two?")
    assert labels(again) == labels(amount)
    await person.tap("1 video · 1 credit")
    [card] = await person.answers()
    [again] = await person.write("how much?")
    assert labels(again) == labels(card)
    draft = await draft_of(person)
    assert draft is not None
    assert draft.card_message_id == again["message_id"]


async def test_the_template_with_own_words_asks_for_a_script(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("My own script")
    [ask] = await person.answers()
    assert "what should happen" in ask["text"]


async def test_wishes_are_kept(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("Blogger")
    await person.write("A mug")
    await person.write("On a <wooden> table & nothing else")
    await person.tap("1 video · 1 credit")
    card = (await person.answers())[-1]
    assert "On a <wooden> table & nothing else" in card["caption"]


async def test_nothing_happens_before_consent(shop: Shop) -> None:
    person = await shop.arrive()
    for answer in (
        await person.send(photo()),
        await person.write("hello"),
        await person.write("/balance"),
        await person.start(),
    ):
        assert [labels(one) for one in answer] == [["I agree, let's start"]]
    assert (await counts(shop.database))["drafts"] == 0


async def test_start_shows_the_open_question_again(shop: Shop) -> None:
    person = await shop.regular()
    assert "Send a photo" in words(await person.start())
    await person.send(photo())
    [choice] = await person.start()
    assert "Blogger" in labels(choice)


async def test_a_draft_survives_a_new_process(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("Blogger")
    await person.answers()
    shop.restart()
    [wishes] = await person.write("A mug")
    assert "Skip" in labels(wishes)
    shop.restart()
    await person.tap("Skip")
    shop.restart()
    await person.tap("1 video · 1 credit")
    shop.restart()
    assert "accepted" in (await person.tap("Confirm"))["text"]


async def test_a_new_photo_outdates_the_buttons_of_the_old_draft(shop: Shop) -> None:
    person = await shop.shopper()
    old = await draft_of(person)
    assert old is not None
    [choice] = await person.send(photo(700, 700))
    assert "we begin a new one" in choice["text"]
    draft = await draft_of(person)
    assert "no longer works" in (await person.forge(data(Action(Verb.CONFIRM, old.order_id))))["text"]
    assert await draft_of(person) == draft
    assert (await counts(shop.database))["orders"] == 0
    assert await shop.store.size(old.photo_key or "") is None


async def test_a_button_of_an_ordered_draft_names_the_order(shop: Shop) -> None:
    person = await shop.shopper()
    [card] = [one for one in await person.messages() if "Confirm" in labels(one)]
    await person.tap("Confirm")
    [order] = await orders_of(shop)
    before = await counts(shop.database)
    for label in ("Confirm", "Cancel"):
        callback_id = await person.begin_tap(label, message=card)
        await shop.settle()
        assert f"This is order No. {order.number}:" in (await shop.get(f"callbacks/{callback_id}"))["text"]
    assert await counts(shop.database) == before
    assert await shop.store.size(order.photo_key)


async def test_p12_nobody_can_confirm_or_cancel_the_draft_of_another(shop: Shop) -> None:
    victim, thief = await shop.shopper(), await shop.regular()
    draft = await draft_of(victim)
    assert draft is not None
    before = await counts(shop.database)
    for verb in (Verb.CONFIRM, Verb.CANCEL, Verb.SKIP_WISHES):
        answer = await thief.forge(data(Action(verb, draft.order_id)))
        assert "no longer works" in answer["text"]
    for forged in (
        "t:n:nonsense:9",
        "t:y::",
        "t:x::",
        "t:t::own_prompt",
        "t:l::xx",
        "other",
        f"t:n:{draft.order_id.hex}:2",
    ):
        assert (await thief.forge(forged))["answered"]
    assert await counts(shop.database) == before
    await victim.tap("Confirm")
    [order] = await orders_of(shop)
    assert "no longer works" in (await thief.forge(data(Action(Verb.CONFIRM, order.id))))["text"]


@pytest.mark.parametrize("how", ["/cancel", "button"])
async def test_cancel_forgets_the_draft_and_its_photo(shop: Shop, how: str) -> None:
    person = await shop.shopper()
    draft = await draft_of(person)
    assert draft is not None
    if how == "button":
        await person.tap("Cancel")
        told = words(await person.answers())
    else:
        told = words(await person.write("/cancel"))
    assert "is forgotten" in told
    assert await draft_of(person) is None
    assert await shop.store.size(draft.photo_key or "") is None
    assert "nothing to cancel" in words(await person.write("/cancel"))


async def test_the_language_can_be_changed_in_the_middle(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    [offer] = await person.write("/language")
    assert labels(offer) == ["Русский", "English"]
    assert "по-русски" in (await person.tap("Русский"))["text"]
    [choice] = await person.answers()
    assert "Блогер" in labels(choice)
    assert (await person.customer()).language == "ru"


@pytest.mark.parametrize(("code", "language"), [("uk", "ru"), ("ru", "ru"), ("pt-br", "en"), (None, "en")])
async def test_the_first_language_is_guessed(shop: Shop, code: str | None, language: str) -> None:
    created: Json = await shop.post("people", {"first_name": "Ann", "language_code": code})
    person = Person(shop, int(created["id"]))
    await person.start()
    assert (await person.customer()).language == language


async def test_f71_blocked_and_back_again(shop: Shop) -> None:
    person = await shop.regular()

    async def unreachable() -> bool:
        async with shop.database.transaction() as tx:
            cursor = await tx.execute("select unreachable_since is not null from chats")
            return await cursor.fetchone() == (True,)

    await person.do("block", {})
    assert await unreachable()
    await person.do("unblock", {})
    assert not await unreachable()
    async with shop.database.transaction() as tx:
        await tx.execute("update chats set unreachable_since = now()")
    await person.write("I am here")
    assert not await unreachable()


async def test_an_outage_while_confirming_is_told_and_charges_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "PATIENCE_SECONDS", 0.1)
    person = await shop.shopper()
    async with shop.database.transaction() as tx:
        await tx.execute("alter function place_order rename to place_order_later")
        await tx.execute("""
            create function place_order(uuid, integer, text, integer, integer, interval, integer)
            returns table (outcome text, order_number bigint, total_credits bigint, available_credits bigint)
            language plpgsql as $$ begin
                raise exception 'terminating connection' using errcode = '57P01';
            end $$
        """)
    before = await counts(shop.database)
    answer = await person.tap("Confirm")
    assert answer["show_alert"]
    assert "nothing will be charged twice" in answer["text"]
    assert await counts(shop.database) == before
    async with shop.database.transaction() as tx:
        await tx.execute("drop function place_order")
        await tx.execute("alter function place_order_later rename to place_order")
    assert "accepted" in (await person.tap("Confirm"))["text"]


async def test_an_old_tap_is_answered_in_vain_and_goes_on(shop: Shop) -> None:
    person = await shop.shopper()
    callback_id = await person.begin_tap("Confirm")
    await shop.bot.answer_callback_query(callback_id)
    await shop.settle()
    assert len(await orders_of(shop)) == 1
    assert set(await shop.states()) == {"handled"}

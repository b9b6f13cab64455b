"""Templates that end at a second photo: it is asked for where it is needed, taken once, and goes with the order."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from bot.chat import Json, Person, Shop, labels, photo, words
from bot.test_conversation import draft_of, orders_of
from bot.test_forgiving import album, repeat, the_draft
from neurocards.bot.keyboards import data
from neurocards.bot.screens import Action, Verb
from neurocards.db import drafts, photos
from neurocards.domain.orders import Question, next_question
from shop import counts, violations

TWO = {"turntable_arc": "Turn", "before_after": "Before / after"}
"""The templates that take two photos, by the names that an English seller reads."""

FRONT, BACK, OTHER = photo(600, 800), photo(610, 800), photo(620, 800)


async def turning(shop: Shop, *, caption: str = "", credits: int = 10) -> Person:
    """Somebody who has chosen the turn and is asked for the second photo."""
    person = await shop.regular()
    await person.give(credits)
    await person.send(FRONT, caption=caption)
    await person.tap("Turn")
    await person.answers()
    return person


async def looking_at_card(shop: Shop) -> Person:
    """Somebody who has sent both photos and looks at the card."""
    person = await turning(shop, caption="A leather backpack")
    await person.send(BACK)
    await person.tap("Skip")
    await person.tap("1 video · 2 credits")
    await person.answers()
    return person


async def handled_again(shop: Shop, kind: str) -> None:
    """The newest update with this in its message comes to a process once more, as after a death before its end."""
    async with shop.database.transaction() as tx:
        await tx.execute(
            "update updates set state = 'pending', handled_at = null, lease_number = lease_number + 1"
            " where id = (select max(id) from updates where body->'message' ? %s)",
            [kind],
        )


async def stored(shop: Shop, *keys: str | None) -> list[bool]:
    """Which of these photos are in the store."""
    return [key is not None and await shop.store.size(key) is not None for key in keys]


def asks_for_second(message: Json) -> bool:
    return "Send the second photo" in str(message["text"])


# Asked for --------------------------------------------------------------------------------------------------------


async def test_only_a_template_that_takes_two_photos_asks_for_the_second(shop: Shop) -> None:
    assert {id for id, one in shop.catalogue.templates.items() if one.photos > 1} == set(TWO)
    person = await shop.regular()
    for template in shop.catalogue.templates.values():
        await person.send(FRONT)
        draft = await the_draft(person)
        await person.forge(data(Action(Verb.CHOOSE_TEMPLATE, draft.order_id, template.id)))
        question = (await person.answers())[-1]
        assert asks_for_second(question) == (template.id in TWO), template.id
        draft = await the_draft(person)
        asked = next_question(draft, template)
        assert asked is (Question.SECOND_PHOTO if template.id in TWO else Question.DESCRIPTION)
        await person.tap("Cancel")


@pytest.mark.parametrize(
    ("template", "told"), [("Turn", "from another side"), ("Before / after", "how it looks afterwards")]
)
async def test_each_template_says_which_second_photo_it_wants(shop: Shop, template: str, told: str) -> None:
    person = await shop.regular()
    [choice] = await person.send(FRONT)
    assert f"{template} · 2 credits" in choice["text"]
    await person.tap(template)
    [question] = await person.answers()
    assert question["text"].startswith(f"{template}. Send the second photo")
    assert told in question["text"]
    assert labels(question) == ["‹ Back", "Cancel"]


async def test_an_order_carries_both_photos_and_its_card_shows_the_first(shop: Shop) -> None:
    person = await turning(shop)
    [ask] = await person.send(BACK)
    assert ask["text"].startswith("The second photo is fine!")
    assert "Describe the product" in ask["text"]
    await person.write("A leather backpack")
    await person.tap("Skip")
    [amount] = [one for one in await person.answers() if "3 videos · 6 credits" in labels(one)]
    assert labels(amount)[:3] == ["1 video · 2 credits", "3 videos · 6 credits", "5 videos · 10 credits"]
    await person.tap("1 video · 2 credits")
    [card] = await person.answers()
    draft = await the_draft(person)
    async with shop.database.transaction() as tx:
        first = await photos.file_id(tx, draft.photo_key or "")
        second = await photos.file_id(tx, draft.second_photo_key or "")
    assert card["media"]["file_id"] == first != second
    assert "Photos: two" in card["caption"]
    assert "Price: 2 credits" in card["caption"]
    assert "accepted" in (await person.tap("Confirm"))["text"]

    [order] = await orders_of(shop)
    assert (order.photo_key, order.second_photo_key) == (draft.photo_key, draft.second_photo_key)
    assert await shop.store.get(order.photo_key) != await shop.store.get(order.second_photo_key or "")
    assert await draft_of(person) is None
    assert (await person.balance()).held == 2
    assert await violations(shop.database) == []


async def test_a_card_of_one_photo_says_nothing_of_two(shop: Shop) -> None:
    person = await shop.shopper()
    card = next(one for one in reversed(await person.messages()) if "Confirm" in labels(one))
    assert "Photos" not in card["caption"]


# Taken once -------------------------------------------------------------------------------------------------------


async def test_f02_a_second_photo_delivered_twice_is_taken_once(shop: Shop) -> None:
    person = await turning(shop)
    await shop.fault("deliver_twice", "message")
    [ask] = await person.send(BACK)
    assert "Describe the product" in ask["text"]
    draft = await the_draft(person)
    await shop.post("redeliver", {})
    assert await person.answers() == []
    assert await the_draft(person) == draft


async def test_f20_a_second_photo_handled_again_is_taken_once(shop: Shop) -> None:
    person = await turning(shop, caption="A backpack")
    await person.send(BACK, caption="with two pockets")
    draft = await the_draft(person)
    assert draft.description == "A backpack\nwith two pockets"
    await handled_again(shop, "photo")
    [again] = await person.answers()
    assert again["text"].startswith("The second photo is fine!")
    assert "Skip" in labels(again)
    after = await the_draft(person)
    assert replace(after, question_message_id=None) == replace(draft, question_message_id=None)
    assert await stored(shop, *draft.photo_keys) == [True, True]


async def test_f20_a_first_photo_handled_again_does_not_become_the_second(shop: Shop) -> None:
    person = await turning(shop)
    await handled_again(shop, "photo")
    [again] = await person.answers()
    assert asks_for_second(again)
    draft = await the_draft(person)
    assert (bool(draft.photo_key), draft.second_photo_key) == (True, None)


async def test_f20_the_second_photo_of_an_order_handled_again_begins_nothing(shop: Shop) -> None:
    person = await looking_at_card(shop)
    await person.tap("Confirm")
    await person.answers()
    await handled_again(shop, "photo")
    assert await person.answers() == []
    assert await draft_of(person) is None
    # Nor is it the second photo of what was begun meanwhile.
    await person.send(OTHER)
    await person.tap("Turn")
    await person.answers()
    async with shop.database.transaction() as tx:
        await tx.execute(
            "update updates set state = 'pending', handled_at = null, lease_number = lease_number + 1"
            " where id = (select id from updates where body->'message' ? 'photo' order by id desc offset 1 limit 1)"
        )
    assert await person.answers() == []
    assert (await the_draft(person)).second_photo_key is None


# As people send it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["photo", "document"])
async def test_p11_a_caption_below_the_second_photo_is_the_description(shop: Shop, kind: str) -> None:
    person = await turning(shop)
    [wishes] = await person.send(BACK, kind=kind, caption=" A leather backpack ")
    assert wishes["text"].startswith("The second photo is fine! I have noted the description.")
    assert "Skip" in labels(wishes)
    assert (await the_draft(person)).description == "A leather backpack"
    [wishes] = await person.do("edit", {"message_id": await person.said(), "text": "A canvas backpack"})
    assert (await the_draft(person)).description == "A canvas backpack"


async def test_p11_a_caption_is_added_to_what_was_said_before(shop: Shop) -> None:
    person = await turning(shop, caption="A leather backpack")
    [wishes] = await person.send(BACK, caption="with two pockets")
    assert "I have added that to the description." in wishes["text"]
    assert (await the_draft(person)).description == "A leather backpack\nwith two pockets"


async def test_p11_a_caption_that_is_too_long_is_said_so_and_the_second_photo_is_kept(shop: Shop) -> None:
    person = await turning(shop)
    [ask] = await person.send(BACK, caption="x" * 1001)
    assert "1,001 of 1,000" in ask["text"]
    draft = await the_draft(person)
    assert (draft.description, bool(draft.second_photo_key)) == (None, True)


async def test_p11_a_caption_that_is_added_later_is_the_description(shop: Shop) -> None:
    person = await turning(shop)
    await person.send(BACK)
    await person.do("edit", {"message_id": await person.said(), "text": "A leather backpack"})
    assert (await the_draft(person)).description == "A leather backpack"


def animation() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (400, 400), (40 * number, 90, 140)) for number in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("small.jpg", photo(200, 200), "too small"),
        ("long.jpg", photo(2000, 300), "too long and narrow"),
        ("mug.txt", b"a mug", "does not look like a picture"),
        ("half.jpg", photo(900, 1200)[:-2000], "did not arrive whole"),
        ("moving.gif", animation(), "animation"),
    ],
)
async def test_p11_a_second_photo_that_is_refused_leaves_the_first(
    shop: Shop, name: str, content: bytes, told: str
) -> None:
    person = await turning(shop)
    before = await the_draft(person)
    [refusal] = await person.send(content, name, kind="document")
    assert told in refusal["text"]
    assert asks_for_second(refusal)
    after = await the_draft(person)
    assert (after.order_id, after.photo_key, after.second_photo_key) == (before.order_id, before.photo_key, None)
    assert await stored(shop, after.photo_key) == [True]
    [ask] = await person.send(photo(format="PNG"), "mug.png", kind="document")
    assert "Describe the product" in ask["text"]


async def test_p11_a_bad_photo_after_both_leaves_both(shop: Shop) -> None:
    person = await looking_at_card(shop)
    before = await the_draft(person)
    [card] = await person.send(photo(200, 200))
    assert "too small" in card["caption"]
    assert "The earlier photos stay." in card["caption"]
    assert (await the_draft(person)).photo_keys == before.photo_keys


async def test_p11_words_instead_of_the_second_photo_are_the_description(shop: Shop) -> None:
    person = await turning(shop)
    [ask] = await person.write("A leather backpack")
    assert "noted the description" in ask["text"]
    assert asks_for_second(ask)
    [ask] = await person.write("with two pockets")
    assert "added that" in ask["text"]
    [wishes] = await person.send(BACK)
    assert "Skip" in labels(wishes)
    assert (await the_draft(person)).description == "A leather backpack\nwith two pockets"


@pytest.mark.parametrize(("what", "told"), [("sticker", "A nice sticker"), ("voice", "do not listen to voice")])
async def test_p11_whatever_else_comes_is_named_and_the_second_photo_asked_for(
    shop: Shop, what: str, told: str
) -> None:
    person = await turning(shop)
    [ask] = await person.do(what, {})
    assert told in ask["text"]
    assert "waiting for the second photo" in ask["text"]
    assert asks_for_second(ask)


async def test_p11_of_an_album_sent_as_the_second_photo_the_first_good_one_is_taken(shop: Shop) -> None:
    person = await turning(shop)
    before = await the_draft(person)
    refusal, ask = await album(person, photo(200, 200), BACK, OTHER, caption="Too small to see")
    assert "too small" in refusal["text"]
    assert "The second photo is fine! Of the album I took the first good one." in ask["text"]
    draft = await the_draft(person)
    assert draft.photo_key == before.photo_key
    assert draft.description is None
    assert draft.second_photo_key is not None
    await handled_again(shop, "photo")
    assert await person.answers() == []
    assert (await the_draft(person)).photo_keys == draft.photo_keys


async def test_p11_an_album_gives_both_photos_where_the_template_is_known(shop: Shop) -> None:
    person = await looking_at_card(shop)
    await person.tap("Confirm")
    await person.answers()
    [order] = await orders_of(shop)
    await repeat(person, "photo")
    first, second = await album(person, FRONT, photo(200, 200))
    assert "The photo is fine!" in first["text"]
    assert asks_for_second(first)
    assert "too small" in second["text"]
    *_, card = await album(person, BACK, OTHER)
    assert "Confirm" in labels(card)

    await repeat(person, "photo")
    first, card = await album(person, FRONT, BACK, OTHER)
    assert asks_for_second(first)
    assert "album" not in first["text"]
    assert "Of the album I took the first two good ones." in card["caption"]
    draft = await the_draft(person)
    assert None not in (draft.photo_key, draft.second_photo_key)
    assert set(draft.photo_keys).isdisjoint({order.photo_key, order.second_photo_key})
    assert draft.description == "A leather backpack"


async def test_f20_the_second_picture_of_an_album_handled_again_is_answered(shop: Shop) -> None:
    person = await looking_at_card(shop)
    await person.tap("Confirm")
    await person.answers()
    await repeat(person, "photo")
    await album(person, FRONT, BACK)
    before = await the_draft(person)
    await handled_again(shop, "photo")
    [card] = await person.answers()
    assert "The second photo is fine!" in card["caption"]
    assert (await the_draft(person)).photo_keys == before.photo_keys


async def test_p11_an_album_at_the_beginning_says_that_a_second_photo_may_be_asked_for(shop: Shop) -> None:
    person = await shop.regular()
    [choice] = await album(person, FRONT, BACK)
    assert "first good photo of the album; should a second one be needed, I will ask" in choice["text"]
    await person.tap("Turn")
    assert asks_for_second((await person.answers())[0])


# Back, and another template ---------------------------------------------------------------------------------------


async def test_back_leads_over_the_second_photo_to_the_first(shop: Shop) -> None:
    person = await looking_at_card(shop)
    before = await the_draft(person)
    asked = []
    for _ in range(6):
        await person.tap("‹ Back")
        asked.append(words(await person.answers()).splitlines()[0])
    assert [one[:21] for one in asked] == [
        "How many videos shall",
        "Any wishes for the vi",
        "Turn. Describe the pr",
        "Turn. Send the second",
        "What kind of video sh",
        "Send a photo of your ",
    ]
    draft = await the_draft(person)
    assert draft.photo_keys == ()
    assert await stored(shop, *before.photo_keys) == [False, False]


async def test_back_from_the_description_forgets_the_second_photo_alone(shop: Shop) -> None:
    person = await turning(shop)
    await person.send(BACK)
    before = await the_draft(person)
    await person.tap("‹ Back")
    assert asks_for_second((await person.answers())[0])
    draft = await the_draft(person)
    assert (draft.photo_key, draft.second_photo_key) == (before.photo_key, None)
    assert await stored(shop, before.photo_key, before.second_photo_key) == [True, False]
    [ask] = await person.send(OTHER)
    assert "Describe the product" in ask["text"]


async def test_f01_back_from_the_second_photo_tapped_twice_goes_one_step(shop: Shop) -> None:
    person = await turning(shop)
    await person.send(BACK)
    newest = next(one for one in reversed(await person.messages()) if "‹ Back" in labels(one))
    for _ in range(2):
        await person.begin_tap("‹ Back", message=newest)
    [ask] = await person.answers()
    assert asks_for_second(ask)
    assert (await the_draft(person)).template == "turntable_arc"


async def test_another_template_after_the_second_photo(shop: Shop) -> None:
    person = await turning(shop)
    await person.send(BACK)
    for _ in range(2):
        await person.tap("‹ Back")
    await person.tap("Before / after")
    assert asks_for_second((await person.answers())[-1])
    await person.tap("‹ Back")
    await person.tap("Hero shot")
    await person.answers()
    await person.write("A leather backpack")
    await person.tap("Skip")
    await person.tap("1 video · 1 credit")
    assert "accepted" in (await person.tap("Confirm"))["text"]
    [order] = await orders_of(shop)
    assert (order.template, order.second_photo_key) == ("hero_broll", None)


async def test_a_template_of_one_photo_lets_go_of_a_second_that_nobody_needs(shop: Shop) -> None:
    person = await turning(shop)
    await person.send(BACK)
    before = await the_draft(person)
    async with shop.database.transaction() as tx:
        # As a draft stands that begins from an order.
        await drafts.take_back(tx, before.order_id, "template")
    await person.start()
    await person.tap("Hero shot")
    await person.answers()
    assert (await the_draft(person)).photo_keys == (before.photo_key,)
    assert await stored(shop, before.photo_key, before.second_photo_key) == [True, False]


async def test_f08_a_template_that_came_to_take_two_photos_is_not_ordered_with_one(shop: Shop) -> None:
    now = shop.catalogue
    before = replace(now.templates["turntable_arc"], photos=1)
    shop.catalogue = replace(now, templates={**now.templates, "turntable_arc": before})
    shop.restart()
    person = await turning(shop)
    await person.write("A leather backpack")
    await person.tap("Skip")
    await person.tap("1 video · 2 credits")
    shop.catalogue = now
    shop.restart()
    await person.answers()
    assert "no longer works" in (await person.tap("Confirm"))["text"]
    assert asks_for_second((await person.answers())[-1])
    assert (await counts(shop.database))["orders"] == 0


# After an order ---------------------------------------------------------------------------------------------------


async def ordered_turn(shop: Shop) -> Person:
    """Somebody whose order of two photos was accepted."""
    person = await looking_at_card(shop)
    await person.tap("Confirm")
    await person.answers()
    return person


async def test_the_same_again_has_both_photos(shop: Shop) -> None:
    person = await ordered_turn(shop)
    [card] = await repeat(person, "all")
    assert "Turn" in card["caption"]
    assert "accepted" in (await person.tap("Confirm"))["text"]
    first, second = await orders_of(shop)
    assert (first.photo_key, first.second_photo_key) == (second.photo_key, second.second_photo_key)


async def test_once_more_with_this_product_has_both_photos_where_both_are_needed(shop: Shop) -> None:
    person = await ordered_turn(shop)
    [order] = await orders_of(shop)
    await repeat(person, "product")
    await person.tap("Before / after")
    assert "Any wishes" in words(await person.answers())
    assert (await the_draft(person)).second_photo_key == order.second_photo_key

    await repeat(person, "product")
    await person.tap("Hero shot")
    assert "Any wishes" in words(await person.answers())
    assert (await the_draft(person)).second_photo_key is None
    await person.tap("Skip")
    await person.tap("1 video · 1 credit")
    await person.tap("Confirm")
    assert (await orders_of(shop))[-1].second_photo_key is None
    assert await stored(shop, order.photo_key, order.second_photo_key) == [True, True]


async def test_another_photo_asks_for_both(shop: Shop) -> None:
    person = await ordered_turn(shop)
    [order] = await orders_of(shop)
    [ask] = await repeat(person, "photo")
    assert "Send a photo" in ask["text"]
    [ask] = await person.send(photo(640, 640))
    assert asks_for_second(ask)
    [card] = await person.send(photo(650, 650))
    assert "A leather backpack" in card["caption"]
    await person.tap("Confirm")
    first, second = await orders_of(shop)
    assert len({first.photo_key, first.second_photo_key, second.photo_key, second.second_photo_key}) == 4
    assert first == order


async def test_other_words_keep_both_photos(shop: Shop) -> None:
    person = await ordered_turn(shop)
    [ask] = await repeat(person, "words")
    assert "Describe the product" in ask["text"]
    [order] = await orders_of(shop)
    assert (await the_draft(person)).photo_keys == (order.photo_key, order.second_photo_key)


async def test_another_first_photo_after_a_repeat_wants_another_second_one(shop: Shop) -> None:
    person = await ordered_turn(shop)
    [order] = await orders_of(shop)
    await repeat(person, "product")
    await person.tap("‹ Back")
    assert "Send a photo" in words(await person.answers())
    assert (await the_draft(person)).photo_keys == ()
    await person.send(OTHER)
    await person.tap("Turn")
    assert asks_for_second((await person.answers())[-1])
    assert await stored(shop, order.photo_key, order.second_photo_key) == [True, True]


# Forgotten --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["Cancel", "/cancel", "another photo"])
async def test_what_is_forgotten_leaves_no_photo_behind(shop: Shop, how: str) -> None:
    person = await looking_at_card(shop)
    draft = await the_draft(person)
    if how == "Cancel":
        await person.tap("Cancel")
    elif how == "/cancel":
        await person.write("/cancel")
    else:
        await person.send(OTHER)
    assert await stored(shop, *draft.photo_keys) == [False, False]
    async with shop.database.transaction() as tx:
        assert [await photos.file_id(tx, key) for key in draft.photo_keys] == [None, None]


async def test_a_repeat_that_replaces_a_draft_removes_its_photos(shop: Shop) -> None:
    person = await ordered_turn(shop)
    await person.send(OTHER, caption="Another backpack")
    await person.tap("Turn")
    await person.send(photo(630, 800))
    draft = await the_draft(person)
    assert len(draft.photo_keys) == 2
    await repeat(person, "all")
    assert await stored(shop, *draft.photo_keys) == [False, False]


@pytest.mark.parametrize("what", ["all", "product", "words"])
async def test_the_photos_of_an_order_outlive_a_draft_that_shares_them(shop: Shop, what: str) -> None:
    person = await ordered_turn(shop)
    [order] = await orders_of(shop)
    await repeat(person, what)
    await person.tap("Cancel")
    assert await stored(shop, order.photo_key, order.second_photo_key) == [True, True]
    assert (await counts(shop.database))["drafts"] == 0

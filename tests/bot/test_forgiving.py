"""People send things as they like: together, in the wrong order, as a file, with second thoughts. Nothing is lost."""

import asyncio

import pytest

from bot.chat import Json, Person, Shop, labels, photo, words
from bot.test_conversation import draft_of, orders_of
from neurocards.db import drafts
from neurocards.domain.orders import Draft
from shop import counts


async def the_draft(person: Person) -> Draft:
    draft = await draft_of(person)
    assert draft is not None
    return draft


@pytest.mark.parametrize("kind", ["photo", "document"])
async def test_p11_a_caption_is_the_description(shop: Shop, kind: str) -> None:
    person = await shop.regular()
    [choice] = await person.send(photo(), kind=kind, caption="  A blue mug\nwith a handle ")
    assert "noted the description" in choice["text"]
    assert (await the_draft(person)).description == "A blue mug\nwith a handle"
    await person.tap("Blogger")
    [wishes] = await person.answers()
    assert "Skip" in labels(wishes)


async def test_p11_a_caption_that_is_too_long_is_said_so_and_the_photo_is_kept(shop: Shop) -> None:
    person = await shop.regular()
    [choice] = await person.send(photo(), caption="x" * 1001)
    assert "longer than 1,000" in choice["text"]
    draft = await the_draft(person)
    assert (draft.description, bool(draft.photo_key)) == (None, True)


async def test_p11_photo_and_text_sent_together(shop: Shop) -> None:
    person = await shop.regular()
    await shop.post(f"people/{person.id}/photo", files={"file": ("mug.jpg", photo())})
    await shop.post(f"people/{person.id}/text", {"text": "A blue mug"})
    first, second = await person.answers()
    assert "The photo is fine!" in first["text"]
    assert "noted the description" in second["text"]
    assert "Blogger" in labels(second)
    assert (await the_draft(person)).description == "A blue mug"


async def test_p11_what_is_said_in_two_messages_belongs_together(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.write("A blue mug")
    [choice] = await person.write("with a handle")
    assert "added that" in choice["text"]
    assert (await the_draft(person)).description == "A blue mug\nwith a handle"


async def test_p11_a_forwarded_post_with_its_comment(shop: Shop) -> None:
    person = await shop.regular()
    await shop.post(f"people/{person.id}/text", {"text": "My mug"})
    await shop.post(f"people/{person.id}/forward", files={"file": ("mug.jpg", photo())})
    choice = (await person.answers())[-1]
    assert "Blogger" in labels(choice)
    assert (await the_draft(person)).description == "My mug"


async def test_p11_words_before_a_photo_of_ones_own_are_small_talk(shop: Shop) -> None:
    person = await shop.regular()
    await shop.post(f"people/{person.id}/text", {"text": "hello there"})
    await shop.post(f"people/{person.id}/photo", files={"file": ("mug.jpg", photo())})
    await person.answers()
    assert (await the_draft(person)).description is None


async def album(person: Person, *pictures: bytes, caption: str = "") -> list[Json]:
    await person.shop.post(
        f"people/{person.id}/album",
        files=[("file", (f"{number}.jpg", one)) for number, one in enumerate(pictures)],
        data={"caption": caption},
    )
    return await person.answers()


async def test_p11_an_album_whose_first_picture_is_bad_gives_its_second(shop: Shop) -> None:
    person = await shop.regular()
    refusal, choice = await album(person, photo(200, 200), photo(601, 800), photo(602, 800), photo(603, 800))
    assert "too small" in refusal["text"]
    assert "Blogger" in labels(choice)
    assert "first good photo" in choice["text"]


async def test_p11_the_words_of_an_album_are_its_description(shop: Shop) -> None:
    person = await shop.regular()
    [choice] = await album(person, photo(601, 800), photo(602, 800), caption="A blue mug")
    assert "first good photo" in choice["text"]
    assert (await the_draft(person)).description == "A blue mug"


async def test_p11_the_words_below_a_picture_that_is_refused_are_not_its_neighbours(shop: Shop) -> None:
    person = await shop.regular()
    await album(person, photo(200, 200), photo(602, 800), caption="Too small to see")
    assert (await the_draft(person)).description is None


async def test_p11_an_edited_description_replaces_it(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("Blogger")
    await person.write("A blew mug")
    message_id = await person.said()
    [wishes] = await person.do("edit", {"message_id": message_id, "text": "A blue mug"})
    assert "replaced the description" in wishes["text"]
    assert "Skip" in labels(wishes)
    assert (await the_draft(person)).description == "A blue mug"


async def test_p2_an_edited_description_outdates_the_card_that_shows_the_old_one(shop: Shop) -> None:
    person = await shop.shopper()
    [old_card] = [one for one in await person.messages() if "Confirm" in labels(one)]
    message_id = await person.said()
    [card] = await person.do("edit", {"message_id": message_id, "text": "A red mug"})
    assert "A red mug" in card["caption"]
    assert "no longer works" in (await person.forge(confirm_of(old_card)))["text"]
    assert (await counts(shop.database))["orders"] == 0
    await person.tap("Confirm")
    [order] = await orders_of(shop)
    assert order.description == "A red mug"


def confirm_of(card: Json) -> str:
    return next(str(one["callback_data"]) for row in card["buttons"] for one in row if one["text"] == "Confirm")


async def test_an_edit_of_anything_else_changes_nothing(shop: Shop) -> None:
    person = await shop.regular()
    await person.write("hello")
    chatter = await person.said()
    await person.send(photo())
    await person.tap("Blogger")
    await person.write("A mug")
    await person.answers()
    before = await the_draft(person)
    assert await person.do("edit", {"message_id": chatter, "text": "something else"}) == []
    assert await the_draft(person) == before


async def test_p11_an_edit_after_the_order_changes_nothing(shop: Shop) -> None:
    person = await shop.shopper()
    message_id = await person.said()
    await person.tap("Confirm")
    await person.answers()
    assert await person.do("edit", {"message_id": message_id, "text": "A red mug"}) == []
    [order] = await orders_of(shop)
    assert order.description == "A blue mug"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("sticker", "A nice sticker"),
        ("voice", "do not listen to voice"),
        ("location", "No address needed"),
        ("/whatever", "no such command"),
    ],
)
async def test_p11_a_wrong_kind_of_message_gets_its_own_answer(shop: Shop, what: str, told: str) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("Blogger")
    await person.answers()
    [answer] = await (person.write(what) if what.startswith("/") else person.do(what, {}))
    assert told in answer["text"]
    assert "waiting for the description" in answer["text"]
    assert "Describe the product" in answer["text"]


async def test_an_own_script_is_approved_extended_and_replaced(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("My own script")
    await person.answers()
    [script] = await person.write("The mug <b>falls</b>")
    assert "The mug <b>falls</b>" in script["text"]
    assert labels(script) == ["Approve", "Extend", "Replace", "‹ Back", "Cancel"]

    await person.tap("Extend")
    assert "What shall I add?" in words(await person.answers())
    [longer] = await person.write("and bounces")
    assert "The mug <b>falls</b>\nand bounces" in longer["text"]

    [refused] = await person.write("x" * 1000)
    assert "1,033 of 1,000" in refused["text"]
    assert "and bounces" in refused["text"]

    await person.tap("‹ Back")
    [choice] = await person.answers()
    assert "Blogger" in labels(choice)
    await person.tap("My own script")
    [script] = await person.answers()
    assert "and bounces" in script["text"]
    await person.tap("Replace")
    [ask] = await person.answers()
    assert "what should happen" in ask["text"]
    await person.write("The mug flies")
    await person.tap("Approve")
    await person.answers()
    await person.tap("1 video · 1 credit")
    [card] = await person.answers()
    assert "Script: The mug flies" in card["caption"]
    assert "Wishes" not in card["caption"]


async def test_an_edited_script_wants_to_be_approved_again(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.tap("My own script")
    await person.write("The mug falls")
    message_id = await person.said()
    await person.tap("Approve")
    await person.tap("1 video · 1 credit")
    await person.answers()
    [script] = await person.do("edit", {"message_id": message_id, "text": "The mug flies"})
    assert "Approve" in labels(script)
    assert "The mug flies" in script["text"]


async def test_back_leads_from_the_card_to_the_photo_and_every_answer_is_asked_again(shop: Shop) -> None:
    person = await shop.shopper()
    draft = await the_draft(person)
    asked = []
    for _ in range(5):
        await person.tap("‹ Back")
        [question] = await person.answers()
        asked.append(labels(question)[0] if question["buttons"] else "")
    assert asked == ["1 video · 1 credit", "Skip", "‹ Back", "Blogger", "Cancel"]
    assert await shop.store.size(draft.photo_key or "") is None
    assert (await the_draft(person)).order_id != draft.order_id
    await person.send(photo())
    await person.tap("My own script")
    await person.write("It falls")
    await person.tap("Approve")
    await person.tap("1 video · 1 credit")
    assert "accepted" in (await person.tap("Confirm"))["text"]


async def test_p2_a_card_that_was_left_by_back_orders_nothing(shop: Shop) -> None:
    person = await shop.shopper()
    [card] = [one for one in await person.messages() if "Confirm" in labels(one)]
    confirm = confirm_of(card)
    await person.tap("‹ Back")
    await person.tap("5 videos · 5 credits")
    await person.give(10)
    assert "no longer works" in (await person.forge(confirm))["text"]
    assert (await counts(shop.database))["orders"] == 0


async def test_f01_back_tapped_twice_goes_one_step(shop: Shop) -> None:
    person = await shop.shopper()
    [card] = [one for one in await person.messages() if "Confirm" in labels(one)]
    taps = [await person.begin_tap("‹ Back", message=card) for _ in range(2)]
    [amount] = await person.answers()
    assert "1 video · 1 credit" in labels(amount)
    assert [bool((await shop.get(f"callbacks/{one}"))["answered"]) for one in taps] == [True, True]
    assert (await the_draft(person)).wishes == ""


async def test_another_photo_after_back_keeps_the_words(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo(), caption="A blue mug")
    before = await the_draft(person)
    await person.tap("‹ Back")
    await person.send(photo(700, 700))
    draft = await the_draft(person)
    assert draft.description == "A blue mug"
    assert draft.photo_key != before.photo_key
    assert draft.order_id == before.order_id


async def test_p11_a_number_of_videos_may_be_typed(shop: Shop) -> None:
    person = await shop.shopper()
    await person.tap("‹ Back")
    await person.answers()
    [card] = await person.write("3")
    assert "Confirm" in labels(card)
    assert (await the_draft(person)).count == 3


async def test_p8_the_card_says_what_is_missing_and_keeps_the_draft(shop: Shop) -> None:
    shop.settings = shop.settings.model_copy(update={"support": "@help <now>"})
    shop.restart()
    person = await shop.shopper(videos="5 videos · 5 credits")
    card = next(one for one in reversed(await person.messages()) if one["caption"])
    assert "Missing: 4 credits." in card["caption"]
    assert "Top up: @help <now>" in card["caption"]
    assert labels(card)[:2] == ["Choose fewer videos", "Confirm"]
    shop.restart()
    await person.give(4)
    assert "accepted" in (await person.tap("Confirm"))["text"]


async def test_a_draft_survives_days(shop: Shop) -> None:
    person = await shop.shopper()
    async with shop.database.transaction() as tx:
        await tx.execute("insert into clock (shift) values ('9 days')")
    shop.restart()
    [card] = await person.start()
    assert "A blue mug" in card["caption"]
    assert "accepted" in (await person.tap("Confirm"))["text"]


async def test_a_photo_that_left_the_store_is_no_end(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo(format="PNG"), "mug.png", kind="document", caption="A mug")
    await shop.store.delete((await the_draft(person)).photo_key or "")
    await person.tap("Hero shot")
    await person.tap("Skip")
    await person.tap("1 video · 1 credit")
    [card] = [one for one in await person.answers() if "Confirm" in labels(one)]
    assert card["media"] is None
    assert "A mug" in card["text"]


async def test_a_photo_sent_as_a_file_is_shown_on_the_card_and_uploaded_once(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo(2000, 2600, format="PNG"), "mug.png", kind="document", caption="A mug")
    await person.tap("Hero shot")
    await person.tap("Skip")
    await person.tap("1 video · 1 credit")
    [card] = [one for one in await person.answers() if "Confirm" in labels(one)]
    assert card["media"]["kind"] == "photo"
    assert card["media"]["height"] <= 1280
    [again] = await person.start()
    assert again["media"]["file_id"] == card["media"]["file_id"]
    shown = {one["message_id"]: labels(one) for one in await person.messages()}
    assert shown[card["message_id"]] == []
    assert "Confirm" in shown[again["message_id"]]


async def ordered(shop: Shop) -> tuple[Person, Json]:
    """Somebody whose order was accepted, and their card."""
    person = await shop.shopper()
    card = next(one for one in reversed(await person.messages()) if "Confirm" in labels(one))
    await person.tap("Confirm")
    await person.answers()
    return person, card


async def repeat(person: Person, what: str) -> list[Json]:
    [order] = await orders_of(person.shop)
    await person.forge(f"t:r:{order.id.hex}:{what}")
    return await person.answers()


async def test_once_more_with_this_product_goes_straight_to_the_template(shop: Shop) -> None:
    person, _ = await ordered(shop)
    [choice] = await repeat(person, "product")
    assert "Blogger" in labels(choice)
    await person.tap("Blogger")
    [wishes] = await person.answers()
    assert "Skip" in labels(wishes)
    assert (await the_draft(person)).description == "A blue mug"


async def test_the_same_again_takes_one_more_tap(shop: Shop) -> None:
    person, _ = await ordered(shop)
    await person.give(1)
    [card] = await repeat(person, "all")
    assert "A blue mug" in card["caption"]
    assert "accepted" in (await person.tap("Confirm"))["text"]
    first, second = await orders_of(shop)
    assert (first.description, first.template, first.photo_key) == (
        second.description,
        second.template,
        second.photo_key,
    )


async def test_after_a_failure_another_photo_or_other_words_are_enough(shop: Shop) -> None:
    person, _ = await ordered(shop)
    [ask] = await repeat(person, "photo")
    assert "Send a photo" in ask["text"]
    [card] = await person.send(photo(640, 640))
    assert "A blue mug" in card["caption"]
    [ask] = await repeat(person, "words")
    assert "Describe the product" in ask["text"]
    await person.write("A green mug")
    await person.tap("Skip")
    [card] = [one for one in await person.answers() if "Confirm" in labels(one)]
    assert "A green mug" in card["caption"]


async def test_p2_once_more_tapped_twice_is_one_draft(shop: Shop) -> None:
    person, _ = await ordered(shop)
    await repeat(person, "all")
    draft = await the_draft(person)
    await repeat(person, "all")
    assert (await the_draft(person)).order_id == draft.order_id


async def test_the_photo_of_an_order_outlives_a_draft_that_shares_it(shop: Shop) -> None:
    person, _ = await ordered(shop)
    [order] = await orders_of(shop)
    await repeat(person, "product")
    await person.tap("Cancel")
    assert await shop.store.size(order.photo_key)
    await repeat(person, "product")
    await person.tap("‹ Back")
    assert await shop.store.size(order.photo_key)
    await repeat(person, "all")
    await person.send(photo(700, 700))
    assert await shop.store.size(order.photo_key)


async def test_p12_nobody_repeats_the_order_of_another(shop: Shop) -> None:
    person, _ = await ordered(shop)
    [order] = await orders_of(shop)
    thief = await shop.regular()
    for forged in (f"t:r:{order.id.hex}:all", f"t:f:{order.id.hex}:1", f"t:r:{order.id.hex}:nonsense", "t:r::all"):
        assert "no longer works" in (await thief.forge(forged))["text"]
    assert "no longer works" in (await person.forge(f"t:r:{order.id.hex}:nonsense"))["text"]
    assert await draft_of(thief) is None
    assert (await counts(shop.database))["notices"] == 1


async def test_f20_a_step_back_that_died_before_its_answer_is_answered(shop: Shop) -> None:
    person = await shop.shopper()
    callback_id = await person.begin_tap("‹ Back")
    await shop.intake.turn()
    draft = await the_draft(person)
    async with shop.database.transaction() as tx:
        # What the process had done when it died.
        renewed = await drafts.renew(tx, draft.order_id)
        assert renewed is not None
        await drafts.take_back(tx, renewed.order_id, "count")
        await tx.execute("update updates set lease_number = 1 where state = 'pending'")
    [amount] = await person.answers()
    assert "1 video · 1 credit" in labels(amount)
    assert (await shop.get(f"callbacks/{callback_id}"))["answered"]
    assert (await the_draft(person)).wishes == ""


async def test_f01_everything_at_once_is_one_order(shop: Shop) -> None:
    person = await shop.shopper()
    await person.give(10)
    card = next(one for one in reversed(await person.messages()) if "Confirm" in labels(one))
    at_once = ("Confirm", "‹ Back", "Cancel", "Confirm")
    await asyncio.gather(*(person.begin_tap(label, message=card) for label in at_once))
    await person.answers()
    found = await counts(shop.database)
    assert found["orders"] + found["drafts"] <= 1


async def test_p11_a_new_photo_with_words_replaces_the_words_and_says_so(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo(), caption="A blue mug")
    await person.tap("‹ Back")
    await person.answers()
    [choice] = await person.send(photo(700, 700), caption="A red cup")
    assert "replaced the description" in choice["text"]
    assert (await the_draft(person)).description == "A red cup"


async def test_p11_words_added_to_a_photo_later_are_its_description(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    [choice] = await person.do("edit", {"message_id": await person.said(), "text": "A blue mug"})
    assert "noted the description" in choice["text"]
    assert (await the_draft(person)).description == "A blue mug"


async def test_p11_an_edit_that_cannot_be_taken_is_said_so(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.write("A blue mug")
    await person.write("with a handle")
    [choice] = await person.do("edit", {"message_id": await person.said(), "text": "with two handles"})
    assert "stays as it was" in choice["text"]
    assert (await the_draft(person)).description == "A blue mug\nwith a handle"


@pytest.mark.parametrize("caption", ["/start", "/cancel", "/language", "/help"])
async def test_p11_a_photo_with_a_command_below_it_is_a_photo(shop: Shop, caption: str) -> None:
    person = await shop.regular()
    [choice] = await person.send(photo(), caption=caption)
    assert "Blogger" in labels(choice)


async def again(person: Person) -> list[Json]:
    """What is said when the last update is handled once more, because whoever handled it died before it said so."""
    async with person.shop.database.transaction() as tx:
        await tx.execute(
            "update updates set state = 'pending', handled_at = null where id = (select max(id) from updates)"
        )
    return await person.answers()


async def test_f20_a_cancel_that_died_before_its_answer_is_answered(shop: Shop) -> None:
    person = await shop.shopper()
    draft = await the_draft(person)
    await person.tap("Cancel")
    assert "is forgotten" in words(await person.answers())
    assert "is forgotten" in words(await again(person))
    assert await shop.store.size(draft.photo_key or "") is None


async def test_f20_a_cancel_that_lost_to_the_order_says_so_however_often(shop: Shop) -> None:
    person = await shop.shopper()
    card = next(one for one in reversed(await person.messages()) if "Confirm" in labels(one))
    await person.tap("Confirm")
    callback_id = await person.begin_tap("Cancel", message=card)
    await person.answers()
    assert await again(person) == []
    assert "This is order No." in (await shop.get(f"callbacks/{callback_id}"))["text"]


async def test_f20_a_typed_count_is_recorded_once(shop: Shop) -> None:
    person = await shop.shopper()
    await person.tap("‹ Back")
    await person.write("3")
    [card] = await again(person)
    assert card["caption"].startswith("Please check your order")


async def test_f20_a_photo_that_was_ordered_meanwhile_begins_nothing(shop: Shop) -> None:
    person = await shop.shopper()
    await person.tap("Confirm")
    await person.answers()
    async with shop.database.transaction() as tx:
        await tx.execute("update updates set state = 'pending', handled_at = null where body->'message' ? 'photo'")
    assert await person.answers() == []
    assert await draft_of(person) is None


async def test_p12_consent_is_to_the_words_that_were_shown(shop: Shop) -> None:
    person = await shop.arrive()
    await person.start()
    await person.forge("t:a::0")
    [consent] = await person.answers()
    assert labels(consent) == ["I agree, let's start"]
    assert (await person.customer()).consent_version is None


async def test_consent_is_asked_once_for_an_album(shop: Shop) -> None:
    person = await shop.arrive()
    assert len(await album(person, photo(601, 800), photo(602, 800), photo(603, 800))) == 1


async def test_only_the_open_question_has_buttons(shop: Shop) -> None:
    person = await shop.regular()
    await person.send(photo())
    await person.write("A mug")
    await person.do("sticker", {})
    await person.tap("Blogger")
    await person.start()
    await person.write("On a table")
    await person.tap("1 video · 1 credit")
    await person.send(photo(700, 700))
    armed = [labels(one) for one in await person.messages() if one["buttons"]]
    assert len(armed) == 1
    assert "Blogger" in armed[0]
    await person.write("/cancel")
    assert [one for one in await person.messages() if one["buttons"]] == []


async def test_p8_whoever_writes_while_an_order_is_in_work_hears_of_it(shop: Shop) -> None:
    person, _ = await ordered(shop)
    [order] = await orders_of(shop)
    line = f"Order No. {order.number} is in work"
    [answer] = await person.write("when will it be ready?")
    assert line in answer["text"]
    [answer] = await person.start()
    assert line in answer["text"]
    assert "Send a photo" in answer["text"]


async def test_a_photo_before_consent_is_said_to_be_sent_again(shop: Shop) -> None:
    person = await shop.arrive()
    [answer] = await person.send(photo())
    assert "after you have agreed" in answer["text"]


async def test_p2_agreeing_twice_is_said_so(shop: Shop) -> None:
    person = await shop.arrive()
    first, second = (await person.start())[0], (await person.write("hello"))[0]
    for message, told in ((first, ""), (second, "agreed already")):
        callback_id = await person.begin_tap("I agree, let's start", message=message)
        await shop.settle()
        assert told in ((await shop.get(f"callbacks/{callback_id}"))["text"] or "")
    assert [one for one in await person.messages() if one["buttons"]] == []
    assert (await person.balance()).available_free == 1

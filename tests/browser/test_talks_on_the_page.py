"""P11: whatever a person does on the chat page gets a clear answer in their language, and costs and loses nothing."""

import io

import pytest
from PIL import Image
from playwright.async_api import expect

from browser.orders import (
    DESCRIPTION,
    OWN_WORDS,
    TEMPLATE,
    bring_photo,
    choose_count,
    choose_template,
    describe,
    meet,
    skip_wishes,
    to_card,
)
from browser.phone import NewPhone, Phone, picked
from neurocards.domain.orders import MAX_WISHES_CHARACTERS


def drawn(width: int, height: int, kind: str = "JPEG", *, frames: int = 1) -> bytes:
    """A picture, or an animation."""
    out = io.BytesIO()
    pictures = [Image.new("RGB", (width, height), (40 * number, 90, 140)) for number in range(frames)]
    pictures[0].save(out, kind, **({"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}))
    return out.getvalue()


BAD_PHOTOS = {
    "too-small": picked(drawn(100, 100), "small.jpg"),
    "too-long": picked(drawn(2000, 300), "long.jpg"),
    "not-an-image": picked("Кружка".encode(), "mug.txt", "text/plain"),
    "truncated": picked(drawn(900, 1200)[:-2000], "half.jpg"),
    "empty": picked(b"", "empty.jpg"),
    "animated": picked(drawn(400, 400, "GIF", frames=3), "moving.gif", "image/gif"),
}


@pytest.mark.parametrize("fault", BAD_PHOTOS)
async def test_p11_a_bad_photo_gets_its_sentence_and_a_good_one_goes_on(phone: Phone, photo: bytes, fault: str) -> None:
    await phone.send_file(BAD_PHOTOS[fault])
    await phone.hears(f"photo-fault-{fault}")
    await bring_photo(phone, photo)


@pytest.mark.parametrize("what", ["sticker", "voice", "location"])
async def test_p11_what_is_no_photo_is_named_and_the_photo_asked_for(phone: Phone, what: str) -> None:
    await phone.choose(what)
    await phone.hears(f"kind-{what}")
    await expect(phone.of_bot.last).to_contain_text(phone.words("awaiting-photo"))


async def test_p11_words_instead_of_a_photo_and_unknown_commands(phone: Phone) -> None:
    await phone.write("Синяя кружка")
    await phone.hears("kind-text")
    await phone.write("/nonsense")
    await phone.hears("kind-command")


async def test_p11_what_the_open_question_does_not_ask_for_is_answered_with_the_question(
    phone: Phone, photo: bytes
) -> None:
    await bring_photo(phone, photo)
    await choose_template(phone)
    await phone.choose("sticker")
    await phone.hears("awaiting-description")
    await describe(phone)
    await phone.choose("voice")
    await phone.hears("awaiting-wishes")
    await skip_wishes(phone)
    await phone.write("много")
    await phone.hears("awaiting-count")
    card = await choose_count(phone)
    await phone.write("да")
    await phone.hears("awaiting-confirmation")
    await phone.offers("confirm")
    await expect(card.locator("button.inline")).to_have_count(0)


async def test_p11_a_forgotten_order_has_no_buttons(phone: Phone, photo: bytes) -> None:
    await bring_photo(phone, photo)
    await bring_photo(phone, photo)
    await phone.hears("earlier-forgotten")
    templates = phone.here.locator("button.inline", has_text=phone.words(f"template-{TEMPLATE}-name"))
    await expect(templates).to_have_count(1)
    await choose_template(phone)


async def test_back_leads_from_every_question_to_the_one_before(phone: Phone, photo: bytes) -> None:
    await to_card(phone, photo)
    await phone.tap("back")
    await phone.hears("ask-count")
    await phone.tap("back")
    await phone.hears("ask-wishes", limit=MAX_WISHES_CHARACTERS)
    await phone.tap("back")
    await phone.reads(phone.words(f"template-{TEMPLATE}-name"))
    await phone.tap("back")
    await phone.hears("choose-template", templates="")
    await phone.tap("back")
    await phone.hears("ask-photo")
    await to_card(phone, photo)


async def test_cancel_forgets_the_order_at_every_question(phone: Phone, photo: bytes) -> None:
    steps = (choose_template, describe, skip_wishes, choose_count)
    for count in range(len(steps) + 1):
        await bring_photo(phone, photo)
        for step in steps[:count]:
            await step(phone)
        question = await phone.pinned(phone.of_bot.last)
        await phone.tap("cancel")
        await phone.hears("cancelled")
        await expect(question.locator("button.inline")).to_have_count(0)
    await phone.write("/cancel")
    await phone.hears("nothing-to-cancel")


async def test_start_asks_the_open_question_again(phone: Phone, photo: bytes) -> None:
    await phone.write("/start")
    await phone.hears("ask-photo")
    await bring_photo(phone, photo)
    await choose_template(phone)
    await phone.write("/start")
    await describe(phone)
    await phone.write("/start")
    await skip_wishes(phone)
    await choose_count(phone)
    await phone.write("/start")
    await phone.offers("confirm")


async def test_an_own_script_is_approved_extended_and_replaced(phone: Phone, photo: bytes) -> None:
    await bring_photo(phone, photo)
    await choose_template(phone, OWN_WORDS)
    await phone.write("Кружка вращается.")
    await phone.hears("ask-script", script="Кружка вращается.")

    await phone.tap("script-extend")
    await phone.hears("ask-extension")
    await phone.write("Потом идёт снег.")
    await phone.reads("Потом идёт снег.")

    await phone.tap("script-replace")
    await phone.write("Кот толкает кружку лапой.")
    await phone.hears("ask-script", script="Кот толкает кружку лапой.")
    await phone.tap("script-approve")
    card = await choose_count(phone)
    await expect(card).to_contain_text("Кот толкает кружку лапой.")
    await expect(card).not_to_contain_text("снег")


async def test_a_caption_is_the_description(phone: Phone, photo: bytes) -> None:
    await bring_photo(phone, photo, caption=DESCRIPTION)
    await phone.hears("words-noted")
    await phone.tap(f"template-{TEMPLATE}-name")
    await skip_wishes(phone)
    card = await choose_count(phone)
    await expect(card).to_contain_text(DESCRIPTION)


async def test_words_that_follow_the_photo_at_once_are_the_description(phone: Phone, photo: bytes) -> None:
    await phone.send_photo(picked(photo))
    await phone.write(DESCRIPTION)
    await phone.hears("words-noted")
    await phone.tap(f"template-{TEMPLATE}-name")
    await skip_wishes(phone)
    card = await choose_count(phone)
    await expect(card).to_contain_text(DESCRIPTION)


async def test_p11_of_an_album_the_first_photo_is_taken_and_said_once(phone: Phone, photo: bytes) -> None:
    await phone.send_photo(*(picked(photo, f"{number}.jpg") for number in range(3)))
    await phone.hears("album-first-only")
    await phone.write("/start")
    said = phone.of_bot.filter(has_text=phone.words("album-first-only"))
    about = phone.words(f"template-{TEMPLATE}-about")
    await expect(phone.of_bot.filter(has_text=about)).to_have_count(2)
    await expect(said).to_have_count(1)
    await phone.tap(f"template-{TEMPLATE}-name")
    await describe(phone)


async def test_an_edited_description_replaces_it(phone: Phone, photo: bytes) -> None:
    await to_card(phone, photo)
    mine = await phone.pinned(phone.own.filter(has_text=DESCRIPTION))
    await mine.hover()
    await mine.locator(".edit").click()
    await expect(phone.composer).to_have_value(DESCRIPTION)
    await phone.write("Красная кружка")
    card = await phone.hears("description-replaced")
    await expect(card).to_contain_text("Красная кружка")
    await expect(card).not_to_contain_text(DESCRIPTION)
    await phone.offers("confirm")


@pytest.mark.parametrize(("app_language", "language"), [("ru", "ru"), ("en", "en"), ("de", "en")])
async def test_the_bot_speaks_the_language_of_the_app(new_phone: NewPhone, app_language: str, language: str) -> None:
    phone = await new_phone(language, app_language)
    await expect(phone.here).to_contain_text(phone.words("bot-description").splitlines()[0])
    await meet(phone)


async def test_the_language_can_be_changed_in_the_middle_of_an_order(phone: Phone, photo: bytes) -> None:
    await bring_photo(phone, photo)
    await phone.write("/language")
    await phone.offers("language-en")
    await phone.tap("language-en")
    phone.language = "en"
    await phone.hears("choose-template", templates="")
    await choose_template(phone)
    await describe(phone)

"""P1, P2, P6, P8: orders made by hand on the chat page, with real bot and worker processes, up to the played video."""

import json
import re

import pytest
from playwright.async_api import expect

from browser.orders import (
    OF_TWO_PHOTOS,
    TEMPLATE,
    VIDEO_MS,
    any_number,
    bring_photo,
    bring_second_photo,
    choose_count,
    choose_of_two_photos,
    choose_template,
    describe,
    meet,
    played,
    skip_wishes,
    to_card,
    video_in,
    watch_words,
    words_seen,
)
from browser.phone import NewPhone, Phone, page_address, picked
from browser.stage import Stage
from neurocards.catalogue import load_catalogue
from neurocards.db import customers
from neurocards.db.connection import Transaction
from neurocards.db.customers import Balance
from neurocards.demo.samples import draw_product

STAGES = ("accepted", "prompt", "generating", "checking", "sending", "finished")


async def test_p8_a_first_order_takes_seven_acts_shows_its_stages_and_ends_in_a_video_that_plays(
    new_phone: NewPhone, photo: bytes, stage: Stage
) -> None:
    phone = await new_phone()
    await meet(phone)
    card = await to_card(phone, photo)
    await expect(card.locator("img.photo")).to_be_visible()
    await stage.kie("POST", "settings", {"task_seconds": 4})
    await watch_words(card)
    await phone.tap("confirm")
    await expect(phone.toast).to_have_text(any_number(phone, "placed"))
    assert phone.acts <= 7

    message = await video_in(phone)
    film = await played(message.locator("video.video"))
    assert (film["videoWidth"], film["videoHeight"]) == (720, 1280)
    assert 9.5 < film["duration"] < 10.5

    await expect(card).to_contain_text(phone.words("status-summary", delivered=1, total=1))
    _quote, *statuses = await words_seen(phone)
    lines = [next(line for line in words.splitlines() if "▰" in line) for words in statuses]
    told = [stage for line in lines for stage in STAGES if line.endswith(phone.words(f"stage-{stage}"))]
    assert len(told) == len(lines), "each line says one stage"
    assert told == sorted(told, key=STAGES.index)
    assert {"generating", "finished"} <= set(told)
    bars = [line.count("▰") for line in lines]
    assert bars == sorted(bars)
    assert bars[-1] == 10


async def test_p8_after_a_video_come_its_file_another_video_of_the_product_and_the_same_again(
    phone: Phone, photo: bytes, stage: Stage
) -> None:
    await stage.grant(phone.person_id, 1)
    await to_card(phone, photo)
    await phone.tap("confirm")
    await video_in(phone)

    await phone.tap("original")
    link = phone.of_bot.filter(has_not=phone.page.locator("video")).locator("a.download")
    await expect(link).to_be_visible(timeout=VIDEO_MS)
    async with phone.page.expect_download() as download:
        await link.click()
    assert (await (await download.value).path()).read_bytes()[4:8] == b"ftyp"

    await phone.tap("repeat-product")
    await phone.hears("choose-template", templates="")
    await phone.tap("template-ugc_blogger-name")
    await skip_wishes(phone)
    card = await choose_count(phone)
    await expect(card).to_contain_text(phone.words("template-ugc_blogger-name"))
    await expect(card.locator("img.photo")).to_be_visible()

    phone.acts = 0
    await phone.tap("repeat-all")
    card = await phone.offers("confirm")
    await expect(card).to_contain_text(phone.words(f"template-{TEMPLATE}-name"))
    await phone.tap("confirm")
    assert phone.acts == 2
    await video_in(phone, number=2)
    assert await balance_of(phone, stage) == (0, 0, 2)


async def test_p8_an_order_with_two_photos_ends_in_its_video_and_can_be_had_again(
    phone: Phone, photo: bytes, stage: Stage
) -> None:
    await stage.grant(phone.person_id, 3)
    await bring_photo(phone, photo)
    await choose_of_two_photos(phone)
    await phone.send_file(picked(b"", "empty.jpg"))
    await phone.hears("photo-fault-empty")
    await phone.reads(phone.words(f"template-{OF_TWO_PHOTOS}-second-photo"))
    await bring_second_photo(phone, draw_product(1))
    await describe(phone)
    await skip_wishes(phone)
    card = await choose_count(phone, price_credits=2)
    await expect(card.locator("img.photo")).to_be_visible()
    await expect(card).to_contain_text(phone.words("card-two-photos"))
    await expect(card).to_contain_text(phone.words("credits", credits=2))
    await phone.tap("confirm")

    message = await video_in(phone)
    film = await played(message.locator("video.video"))
    assert film["videoHeight"] / film["videoWidth"] == pytest.approx(16 / 9, rel=0.01)
    await expect(card).to_contain_text(phone.words("status-charged", credits=phone.words("credits", credits=2)))
    task = (await stage.kie("GET", "tasks"))[-1]
    model = load_catalogue().models[task["model"]]
    assert model.title in await card.inner_text()
    frames = {
        (await stage.client.get(url)).content for url in re.findall(r"http[^\"]+\.jpg", json.dumps(task["input"]))
    }
    assert len(frames) == 2

    await phone.tap("repeat-all")
    card = await phone.offers("confirm")
    await expect(card).to_contain_text(phone.words("card-two-photos"))
    await phone.tap("confirm")
    await video_in(phone, number=2)
    assert await balance_of(phone, stage) == (0, 0, 4)


async def test_p6_of_three_videos_the_one_that_fails_is_paid_back(phone: Phone, photo: bytes, stage: Stage) -> None:
    await stage.grant(phone.person_id, 2)
    card = await to_card(phone, photo, count=3)
    await stage.kie("POST", "faults", {"kind": "code", "code": 400, "msg": "content policy", "route": "createTask"})
    await phone.tap("confirm")
    await expect(card).to_contain_text(phone.words("status-summary", delivered=2, total=3), timeout=VIDEO_MS)
    await video_in(phone, number=2)
    text = await card.locator(".text").inner_text()
    assert len(re.findall(r"^[123]\. ", text, re.MULTILINE)) == 3
    assert text.count("✕") == 1
    assert phone.words("status-charged", credits=phone.words("credits", credits=2)) in text
    assert phone.words("status-refunded", credits=phone.words("credits", credits=1)) in text
    assert await balance_of(phone, stage) == (1, 0, 2)


async def test_p1_what_is_missing_is_named_and_the_same_card_works_after_a_grant(
    phone: Phone, photo: bytes, stage: Stage
) -> None:
    card = await to_card(phone, photo, count=3)
    missing = phone.words("credits", credits=2)
    await expect(card).to_contain_text(missing)
    await phone.tap("confirm")
    assert missing in await phone.dismiss_alert()
    assert await balance_of(phone, stage) == (1, 0, 0)
    await stage.grant(phone.person_id, 2)
    await phone.press(card.locator("button.inline", has_text=phone.words("confirm")))
    await expect(phone.toast).to_have_text(any_number(phone, "placed"))


async def test_p2_two_quick_taps_on_confirm_are_one_order(phone: Phone, photo: bytes, stage: Stage) -> None:
    await stage.grant(phone.person_id, 5)
    await to_card(phone, photo)
    await phone.button(phone.words("confirm")).dblclick()
    await video_in(phone)
    available, _held, _spent = await balance_of(phone, stage)
    assert available == 5


async def test_p8_a_page_that_is_reloaded_goes_on_where_it_was(phone: Phone, photo: bytes) -> None:
    await bring_photo(phone, photo)
    before = await phone.messages.count()
    await phone.page.reload()
    await expect(phone.messages).to_have_count(before)
    await choose_template(phone)
    await phone.write("Кружка")
    await skip_wishes(phone)
    await choose_count(phone)
    await phone.tap("confirm")
    await phone.page.reload()
    message = await video_in(phone)
    assert (await played(message.locator("video.video")))["videoWidth"] == 720


async def test_p9_two_sellers_side_by_side_each_get_their_video(
    new_phone: NewPhone, photo: bytes, stage: Stage
) -> None:
    left = await new_phone()
    right_id = await stage.arrive("Seller", "en")
    await left.page.goto(page_address(stage.addresses.telegram, left.person_id, right_id))
    right = Phone(left.page, right_id, "en")
    for phone in (left, right):
        await meet(phone)
        await to_card(phone, photo)
    await left.tap("confirm")
    await right.tap("confirm")
    for phone in (left, right):
        message = await video_in(phone)
        await expect(message).to_contain_text(phone.words(f"template-{TEMPLATE}-name"))
        assert (await played(message.locator("video.video")))["currentTime"] > 0


async def balance_of(phone: Phone, stage: Stage) -> tuple[int, int, int]:
    """Available, held and spent."""

    async def read(tx: Transaction) -> Balance:
        customer = await customers.find(tx, phone.person_id)
        assert customer is not None
        return await customers.balance(tx, customer.id)

    found = await stage.database.run(read)
    return found.available_free + found.available_paid, found.held, found.spent

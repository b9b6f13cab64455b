"""The cabinet as people use it: what they have, every credit in words, their videos again, and help."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from bot.chat import Json, Person, Shop, labels, photo
from bot.test_messenger import clip
from neurocards.bot import cabinet_screens
from neurocards.bot.keyboards import data
from neurocards.bot.screens import CabinetAction, CabinetVerb, Screen
from neurocards.catalogue import load_catalogue
from neurocards.db import customers, generations, statements
from neurocards.db.connection import Database
from neurocards.db.customers import Balance
from neurocards.db.jobs import Job
from neurocards.db.statements import LINES_PER_PAGE, VIDEOS_PER_PAGE, Line, LineKind, Page, Video, VideoNumber
from neurocards.domain.failures import Reason
from neurocards.settings import Settings
from neurocards.texts import LANGUAGES
from shop import VIDEO, advance, claim, counts, make_video, new_customer, new_draft, place, violations

DAY_SECONDS = 86_400
TODAY = date(2026, 11, 23)
BALANCE = Balance(1_000_000, 0, 1_000_000, 1_000_000)
AMOUNT = re.compile(r"(?:([+−])(\d[\d,\xa0\u202f]*)|✓) · ")


async def order(shop: Shop, person: Person, *, videos: int = 1, price: int = 1) -> list[Job]:
    """An order of this person, whose videos somebody has begun to make."""
    return await order_of(shop.database, (await person.customer()).id, videos=videos, price=price)


async def order_of(database: Database, customer_id: int, *, videos: int = 1, price: int = 1) -> list[Job]:
    customer = await database.run(lambda tx: customers.get(tx, customer_id))
    placement = await place(database, await new_draft(database, customer, videos=videos, price=price), price=price)
    assert placement.order_number is not None
    claimed = await claim(database)
    assert len(claimed) == videos
    found = {job.subject_id: job for job in claimed}
    async with database.transaction() as tx:
        cursor = await tx.execute("select id from generations where id = any(%s) order by ordinal", [list(found)])
        return [found[id] for (id,) in await cursor.fetchall()]


async def settle(database: Database, job: Job) -> None:
    await make_video(database, job)
    assert await database.run(lambda tx: generations.settle(tx, job.subject_id, job.lease_number))


async def refund(database: Database, job: Job, *, reason: str) -> None:
    assert await database.run(
        lambda tx: generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason=reason)
    )


async def reverse(database: Database, job: Job) -> None:
    await settle(database, job)
    assert await database.run(lambda tx: generations.reverse(tx, job.subject_id, reason=Reason.DELIVERY))


async def grant(database: Database, customer_id: int, *, amount: int, funding: str = "free", reason: str = "") -> None:
    assert await database.run(
        lambda tx: customers.top_up(
            tx, customer_id, amount=amount, funding=funding, cause=f"grant:{uuid4()}", reason=reason
        )
    )


async def withdraw(database: Database, customer_id: int, *, amount: int, funding: str, reason: str = "") -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "select withdraw(%s, %s, %s, %s, %s)", [customer_id, amount, funding, f"withdraw:{uuid4()}", reason]
        )


async def number_of(database: Database, job: Job) -> int:
    async with database.transaction() as tx:
        cursor = await tx.execute(
            "select number from orders where id = (select order_id from generations where id = %s)", [job.subject_id]
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def shown(person: Person, message_id: int) -> Json:
    """The message as it is now."""
    return next(one for one in await person.messages() if one["message_id"] == message_id)


def told(page: Json) -> list[str]:
    """The lines of a statement's page, each with its amount."""
    return [line for line in page["text"].splitlines() if AMOUNT.match(line)]


def change(line: str) -> int:
    """The signed amount that a line begins with."""
    found = AMOUNT.match(line)
    assert found is not None
    amount = int(re.sub(r"\D", "", found[2] or "0"))
    return -amount if found[1] == "−" else amount


async def answers_given(shop: Shop) -> list[str]:
    """The taps that were answered, as often as they were."""
    found = await shop.get("calls", method="answerCallbackQuery")
    return [call["parameters"]["callback_query_id"] for call in found["calls"]]


async def again(shop: Shop) -> None:
    """The process died after handling the last tap and before recording that: somebody handles it once more."""
    async with shop.database.transaction() as tx:
        await tx.execute(
            "update updates set state = 'pending', handled_at = null"
            " where id = (select max(id) from updates where body ? 'callback_query')"
        )
    await shop.settle()
    assert set(await shop.states()) == {"handled"}


@pytest.mark.parametrize(
    ("language", "text", "buttons"),
    [
        (
            "ru",
            "Ваш кабинет\n\nДоступно: 2 кредита\nВ работе: 1 кредит\nПотрачено: 5 кредитов\nСделано: 1 видео",
            ["Новое видео", "Мои видео", "Выписка", "Язык"],
        ),
        (
            "en",
            "Your cabinet\n\nAvailable: 2 credits\nIn work: 1 credit\nSpent: 5 credits\nMade: 1 video",
            ["New video", "My videos", "Statement", "Language"],
        ),
    ],
    ids=LANGUAGES,
)
async def test_the_cabinet_says_what_is_there_held_and_spent(
    shop: Shop, language: str, text: str, buttons: list[str]
) -> None:
    person = await shop.regular(language)
    await person.give(7)
    await settle(shop.database, *await order(shop, person, price=5))
    await order(shop, person)
    for command in ("/cabinet", "/balance"):
        [cabinet] = await person.write(command)
        assert cabinet["text"] == text
        assert labels(cabinet) == buttons


async def test_every_credit_is_told_in_words(shop: Shop) -> None:
    person = await shop.regular()
    customer = await person.customer()
    await grant(shop.database, customer.id, amount=2, reason="a <b>late</b> video & sorry")
    await grant(shop.database, customer.id, amount=1234, funding="paid")
    first, second, third = await order(shop, person, videos=3)
    await settle(shop.database, first)
    await refund(shop.database, second, reason=Reason.CONTENT)
    await reverse(shop.database, third)
    await withdraw(shop.database, customer.id, amount=10, funding="paid", reason="money back")
    number = await number_of(shop.database, first)

    [cabinet] = await person.write("/cabinet")
    await person.tap("Statement")
    newest = await shown(person, cabinet["message_id"])
    await person.tap("Older ›")
    oldest = await shown(person, cabinet["message_id"])
    assert newest["text"].startswith("Statement\nAvailable now: 1,226 credits\n\n")
    assert newest["text"].endswith("Page 1 of 2")
    assert told(newest) == [
        "−10 · taken off your balance: money back",
        f"+1 · payment returned for order No. {number}, video 3 of 3: the video could not be handed over",
        f"✓ · paid for order No. {number}, video 3 of 3: 1 credit of what was set aside",
        f"+1 · came back for order No. {number}, video 2 of 3: the service refused it by its rules",
        f"✓ · paid for order No. {number}, video 1 of 3: 1 credit of what was set aside",
        f"−1 · set aside for order No. {number}, video 3 of 3",
        f"−1 · set aside for order No. {number}, video 2 of 3",
        f"−1 · set aside for order No. {number}, video 1 of 3",
    ]
    assert told(oldest) == ["+1,234 · top-up", "+2 · gift: a <b>late</b> video & sorry", "+1 · welcome gift"]
    assert sum(change(line) for page in (newest, oldest) for line in told(page)) == 1226
    assert await violations(shop.database) == []


async def test_the_statement_in_russian(shop: Shop) -> None:
    person = await shop.regular("ru")
    await person.give(2)
    await refund(shop.database, *await order(shop, person), reason="an operator's own words")
    [job] = await order(shop, person, price=2)
    await settle(shop.database, job)
    [cabinet] = await person.write("/cabinet")
    await person.tap("Выписка")
    statement = await shown(person, cabinet["message_id"])
    number = await number_of(shop.database, job)
    assert told(statement) == [
        f"✓ · оплачен заказ № {number}: 2 кредита из отложенного",
        f"−2 · отложено на заказ № {number}",
        f"+1 · вернулось за заказ № {number - 1}: наша ошибка",
        f"−1 · отложено на заказ № {number - 1}",
        "+2 · пополнение: test",
        "+1 · подарок за знакомство",
    ]
    assert labels(statement) == ["‹ В кабинет"]
    assert "Страница" not in statement["text"]


async def test_free_and_paid_parts_are_one_line(database: Database) -> None:
    customer = await new_customer(database, free=2, paid=5)
    await settle(database, *await order_of(database, customer.id, price=3))
    await refund(database, *await order_of(database, customer.id, price=4), reason=Reason.PROVIDER)
    page = await lines(database, customer.id)
    assert [(line.kind, line.available_change, line.amount_credits) for line in page.items] == [
        (LineKind.REFUND, 4, 4),
        (LineKind.HOLD, -4, 4),
        (LineKind.SETTLE, 0, 3),
        (LineKind.HOLD, -3, 3),
        (LineKind.TOP_UP, 5, 5),
        (LineKind.GIFT, 2, 2),
    ]


async def live(database: Database, customer_id: int, dice: random.Random, *, moves: int) -> None:
    """What can happen to somebody's credits, in any order."""
    open_jobs: list[Job] = []
    for _ in range(moves):
        balance = await database.run(lambda tx: customers.balance(tx, customer_id))
        available = balance.available_free + balance.available_paid
        match dice.randrange(4):
            case 0:
                await grant(database, customer_id, amount=dice.randint(1, 9), funding=dice.choice(["free", "paid"]))
            case 1 if balance.available_paid:
                amount = dice.randint(1, balance.available_paid)
                await withdraw(database, customer_id, amount=amount, funding="paid")
            case 1 | 2 | 3 if available:
                videos = dice.randint(1, min(3, available))
                open_jobs += await order_of(
                    database, customer_id, videos=videos, price=dice.randint(1, available // videos)
                )
            case _ if open_jobs:
                job = open_jobs.pop(dice.randrange(len(open_jobs)))
                match dice.randrange(3):
                    case 0:
                        await settle(database, job)
                    case 1:
                        await refund(database, job, reason=dice.choice(list(Reason)))
                    case _:
                        await reverse(database, job)


async def lines(
    database: Database, customer_id: int, *, older_than: int | None = None, newer_than: int | None = None
) -> Page[Line]:
    return await database.run(
        lambda tx: statements.lines(tx, customer_id, older_than=older_than, newer_than=newer_than)
    )


async def every_line(database: Database, customer_id: int) -> list[Line]:
    """The whole statement, page by page towards the oldest line."""
    page = await lines(database, customer_id)
    found = list(page.items)
    while page.older:
        page = await lines(database, customer_id, older_than=found[-1].id)
        found += page.items
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_the_lines_sum_up_to_what_is_available(database: Database, seed: int) -> None:
    dice = random.Random(seed)
    customer = await new_customer(database, free=3, paid=3)
    neighbour = await new_customer(database, free=20)
    await live(database, neighbour.id, random.Random(seed + 100), moves=3)
    await live(database, customer.id, dice, moves=40)

    found = await every_line(database, customer.id)
    balance = await database.run(lambda tx: customers.balance(tx, customer.id))
    assert sum(line.available_change for line in found) == balance.available_free + balance.available_paid
    held = {LineKind.HOLD: 1, LineKind.SETTLE: -1, LineKind.REFUND: -1}
    assert sum(held.get(line.kind, 0) * line.amount_credits for line in found) == balance.held
    assert [line.id for line in found] == sorted({line.id for line in found}, reverse=True)
    async with database.transaction() as tx:
        cursor = await tx.execute(
            "select count(distinct (kind, coalesce(generation_id::text, id::text)))"
            "  from transfers where customer_id = %s",
            [customer.id],
        )
        assert await cursor.fetchone() == (len(found),)


@pytest.mark.parametrize("seed", range(3))
async def test_going_older_skips_and_repeats_nothing_whatever_comes_in_between(database: Database, seed: int) -> None:
    dice = random.Random(seed)
    customer = await new_customer(database, free=9)
    await live(database, customer.id, dice, moves=50)
    before = [line.id for line in await every_line(database, customer.id)]
    assert len(before) > 2 * LINES_PER_PAGE

    page = await lines(database, customer.id)
    seen = [line.id for line in page.items]
    while page.older:
        for _ in range(dice.randint(0, 10)):
            await grant(database, customer.id, amount=1)
        previous, page = page, await lines(database, customer.id, older_than=seen[-1])
        seen += [line.id for line in page.items]
        assert previous.number < page.number <= page.pages
    assert seen == before
    assert page.number == page.pages

    while page.newer:
        first = page.items[0].id
        previous, page = page, await lines(database, customer.id, newer_than=first)
        assert len(page.items) == LINES_PER_PAGE
        assert page.number < previous.number
        assert page.items[-1].id > first or page.number == 1
    assert page.number == 1


async def test_the_statement_is_turned_in_one_message(shop: Shop) -> None:
    person = await shop.regular()
    customer = await person.customer()
    for amount in range(2, 21):
        await grant(shop.database, customer.id, amount=amount)
    [cabinet] = await person.write("/cabinet")
    pages = []
    for label in ("Statement", "Older ›", "Older ›", "‹ Newer", "‹ Newer", "‹ Back to cabinet"):
        assert (await person.tap(label))["answered"]
        pages.append(await shown(person, cabinet["message_id"]))
    assert [labels(page) for page in pages] == [
        ["Older ›", "‹ Back to cabinet"],
        ["‹ Newer", "Older ›", "‹ Back to cabinet"],
        ["‹ Newer", "‹ Back to cabinet"],
        ["‹ Newer", "Older ›", "‹ Back to cabinet"],
        ["Older ›", "‹ Back to cabinet"],
        labels(cabinet),
    ]
    assert [[change(line) for line in told(page)] for page in pages] == [
        [20, 19, 18, 17, 16, 15, 14, 13],
        [12, 11, 10, 9, 8, 7, 6, 5],
        [4, 3, 2, 1],
        [12, 11, 10, 9, 8, 7, 6, 5],
        [20, 19, 18, 17, 16, 15, 14, 13],
        [],
    ]
    assert [page["text"].splitlines()[-1] for page in pages[:3]] == ["Page 1 of 3", "Page 2 of 3", "Page 3 of 3"]
    assert pages[-1]["text"] == cabinet["text"]
    assert await person.answers() == []


async def test_an_empty_statement_and_no_videos(shop: Shop) -> None:
    shop.settings = Settings(_env_file=None, welcome_credits=0)
    shop.restart()
    person = await shop.regular()
    [cabinet] = await person.write("/cabinet")
    for label, told_there in (("Statement", "Nothing has happened yet."), ("My videos", "no finished videos yet")):
        await person.tap(label)
        page = await shown(person, cabinet["message_id"])
        assert told_there in page["text"]
        assert labels(page) == ["‹ Back to cabinet"]
        await person.tap("‹ Back to cabinet")


async def test_days_are_headings_and_another_year_is_named(shop: Shop) -> None:
    person = await shop.regular()
    await advance(shop.database, 400 * DAY_SECONDS)
    await person.give(1)
    await person.give(2)
    await person.write("/cabinet")
    await person.tap("Statement")
    [page] = [one for one in await person.messages() if one["text"].startswith("Statement")]
    async with shop.database.transaction() as tx:
        today = (await generations.clock(tx)).date()
        cursor = await tx.execute("select min((created_at at time zone 'UTC')::date) from transfers")
        first = await cursor.fetchone()
    assert first is not None
    headings = [f"{today.day} {today:%B}", f"{first[0].day} {first[0]:%B %Y}"]
    assert page["text"].splitlines()[3:] == [
        headings[0],
        "+2 · top-up: test",
        "+1 · top-up: test",
        "",
        headings[1],
        "+1 · welcome gift",
    ]


@pytest.mark.parametrize(
    ("language", "day", "text"),
    [
        ("ru", date(2026, 1, 1), "1 января"),
        ("ru", date(2026, 5, 9), "9 мая"),
        ("ru", date(2025, 12, 31), "31 декабря 2025"),
        ("en", date(2026, 8, 23), "23 August"),
        ("en", date(2024, 2, 29), "29 February 2024"),
    ],
)
def test_dates_are_told_as_people_do(language: str, day: date, text: str) -> None:
    video = Video(1, uuid4(), VideoNumber(12, 1, 1), "ugc_blogger", day, 10.04)
    screen = cabinet_screens.videos(language, Page([video], 0, 0, VIDEOS_PER_PAGE), TODAY)
    assert f" · {text} · 10 " in screen.text


async def finished(shop: Shop, person: Person, *, videos: int) -> list[Job]:
    """An order of this person whose videos are all there."""
    jobs = await order(shop, person, videos=videos)
    for job in jobs:
        await settle(shop.database, job)
    return jobs


async def test_videos_are_listed_newest_first(shop: Shop) -> None:
    person, stranger = await shop.regular(), await shop.regular()
    await person.give(20)
    jobs = [*await finished(shop, person, videos=3), *await finished(shop, person, videos=1)]
    await finished(shop, stranger, videos=1)
    jobs += await finished(shop, person, videos=3)
    lost, failed, _open = await order(shop, person, videos=3)
    await reverse(shop.database, lost)
    await refund(shop.database, failed, reason=Reason.RESULT)
    numbers = [await number_of(shop.database, job) for job in (jobs[0], jobs[3], jobs[4])]

    [cabinet] = await person.write("/cabinet")
    assert "Made: 7 videos" in cabinet["text"]
    await person.tap("My videos")
    newest = await shown(person, cabinet["message_id"])
    await person.tap("Older ›")
    oldest = await shown(person, cabinet["message_id"])
    names = [
        *(f"No. {numbers[2]}, video {ordinal} of 3" for ordinal in (3, 2, 1)),
        f"No. {numbers[1]}",
        *(f"No. {numbers[0]}, video {ordinal} of 3" for ordinal in (3, 2, 1)),
    ]
    async with shop.database.transaction() as tx:
        today = (await generations.clock(tx)).date()
    lines = [line for page in (newest, oldest) for line in page["text"].splitlines() if line.startswith("No. ")]
    assert lines == [f"{name} · Hero shot · {today.day} {today:%B} · 10 s" for name in names]
    assert labels(newest) == [*(f"▶ {name}" for name in names[:5]), "Older ›", "‹ Back to cabinet"]
    assert labels(oldest) == [*(f"▶ {name}" for name in names[5:]), "‹ Newer", "‹ Back to cabinet"]
    assert newest["text"].endswith("Page 1 of 2")
    assert oldest["text"].endswith("Page 2 of 2")


async def wanted(shop: Shop) -> list[UUID]:
    """The videos that were asked for again, in order."""
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select generation_id from notices where kind = 'again' order by id")
        return [id for (id,) in await cursor.fetchall()]


async def test_a_video_is_sent_again(shop: Shop, tmp_path: Path) -> None:
    person = await shop.regular()
    [job] = await order(shop, person)
    await shop.store.put(VIDEO.video_key, clip(tmp_path / "clip.mp4"))
    await shop.store.put(VIDEO.cover_key, photo(720, 1280))
    await shop.store.put(VIDEO.thumbnail_key, photo(180, 320))
    await settle(shop.database, job)
    await shop.tell()
    await person.answers()
    await person.write("/cabinet")
    await person.tap("My videos")
    answer = await person.tap(f"▶ No. {await number_of(shop.database, job)}")
    assert (answer["text"], answer["show_alert"]) == ("Sending…", False)
    await again(shop)
    assert await wanted(shop) == [job.subject_id]
    await shop.tell()
    [video] = [one for one in await person.answers() if one["media"]]
    assert video["media"]["kind"] == "video"
    assert f"No. {await number_of(shop.database, job)}" in video["caption"]
    assert await violations(shop.database) == []


async def test_p12_nobody_gets_the_video_of_another(shop: Shop) -> None:
    owner, thief = await shop.regular(), await shop.regular()
    [job] = await finished(shop, owner, videos=1)
    await thief.write("/cabinet")
    before = await counts(shop.database)
    for generation_id in (job.subject_id, uuid4(), None):
        answer = await thief.forge(data(CabinetAction(CabinetVerb.SEND_VIDEO, generation_id=generation_id)))
        assert "no longer works" in answer["text"]
    assert await counts(shop.database) == before


async def test_a_video_that_was_paid_back_is_not_sent_again(shop: Shop) -> None:
    person = await shop.regular()
    [job] = await finished(shop, person, videos=1)
    await person.write("/cabinet")
    await person.tap("My videos")
    assert await shop.database.run(lambda tx: generations.reverse(tx, job.subject_id, reason=Reason.DELIVERY))
    assert "no longer works" in (await person.tap(f"▶ No. {await number_of(shop.database, job)}"))["text"]
    assert await wanted(shop) == []


async def test_a_template_that_is_sold_no_more_hides_no_video(shop: Shop) -> None:
    person = await shop.regular()
    await finished(shop, person, videos=1)
    [cabinet] = await person.write("/cabinet")
    for template in ("gone_long_ago", "<b>", "x" * 300, "", "../../etc"):
        async with shop.database.transaction() as tx:
            # The database would not have it: what was agreed on stays.
            await tx.execute("set local session_replication_role = replica")
            await tx.execute("update orders set template = %s", [template])
        await person.tap("My videos")
        assert " · Former template · " in (await shown(person, cabinet["message_id"]))["text"]
        await person.tap("‹ Back to cabinet")


async def test_the_language_is_changed_in_place(shop: Shop) -> None:
    person = await shop.regular()
    [cabinet] = await person.write("/cabinet")
    await person.tap("Language")
    assert labels(await shown(person, cabinet["message_id"])) == ["Русский", "English", "‹ Back to cabinet"]
    assert "по-русски" in (await person.tap("Русский"))["text"]
    assert (await shown(person, cabinet["message_id"]))["text"].startswith("Ваш кабинет")
    assert (await person.customer()).language == "ru"
    assert await person.answers() == []


async def test_a_new_video_begins_with_a_photo(shop: Shop) -> None:
    person = await shop.regular()
    [cabinet] = await person.write("/cabinet")
    await person.tap("New video")
    page = await shown(person, cabinet["message_id"])
    assert "Send a photo" in page["text"]
    assert labels(page) == ["‹ Back to cabinet"]
    [choice] = await person.send(photo())
    assert "Blogger" in labels(choice)


@pytest.mark.parametrize("support", [None, "@shop_help", "https://shop.example/?a=1&b=<2>"])
async def test_help_says_how_what_it_costs_and_whom_to_ask(shop: Shop, support: str | None) -> None:
    shop.settings = Settings(_env_file=None, support=support)
    shop.restart()
    person = await shop.regular()
    [page] = await person.write("/help")
    assert "One video: 1 credit, 2 credits (Turn, Before / after)." in page["text"]
    assert "vertical video (10 seconds)." in page["text"]
    assert (f"Write to {support} and name the order number" in page["text"]) is (support is not None)
    assert ("Still stuck?" in page["text"]) is (support is not None)
    assert labels(page) == []


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ({"ugc_blogger": 1, "hero_broll": 1, "own_prompt": 1}, "Одно видео: 1 кредит."),
        ({"ugc_blogger": 1, "hero_broll": 2, "own_prompt": 1}, "Одно видео: 1 кредит, 2 кредита (Главный герой)."),
        ({"ugc_blogger": 3, "hero_broll": 2, "own_prompt": 3}, "Одно видео: 2 кредита (Главный герой), 3 кредита."),
    ],
)
def test_help_names_the_templates_that_cost_something_else(prices: dict[str, int], told: str) -> None:
    catalogue = load_catalogue()
    templates = {id: replace(catalogue.templates[id], price_credits=price) for id, price in prices.items()}
    assert told in cabinet_screens.help_page("ru", replace(catalogue, templates=templates), None).text


async def test_every_tap_is_answered_once(shop: Shop) -> None:
    person = await shop.regular()
    [job] = await finished(shop, person, videos=1)
    [cabinet] = await person.write("/cabinet")
    begun = await answers_given(shop)
    path = ["Statement", "‹ Back to cabinet", "My videos", f"▶ No. {await number_of(shop.database, job)}"]
    path += ["‹ Back to cabinet", "New video", "‹ Back to cabinet", "Language", "English"]
    taps = []
    for label in path:
        page = await shown(person, cabinet["message_id"])
        # The second of two taps finds the page turned already: "message is not modified".
        taps += [await person.begin_tap(label, message=page), await person.begin_tap(label, message=page)]
        await shop.settle()
    assert sorted(await answers_given(shop)) == sorted([*begun, *taps])
    assert set(await shop.states()) == {"handled"}
    assert await person.answers() == []


async def test_a_tap_that_is_handled_twice_changes_nothing(shop: Shop) -> None:
    person = await shop.regular()
    for label in ("Statement", "My videos", "Language", "New video"):
        await person.write("/cabinet")
        await person.tap(label)
        before, found = await person.messages(), await counts(shop.database)
        await again(shop)
        assert await person.messages() == before
        assert await counts(shop.database) == found


async def test_a_page_whose_message_is_gone_is_sent_anew(shop: Shop) -> None:
    person = await shop.regular()
    [cabinet] = await person.write("/cabinet")
    callback_id = await person.begin_tap("Statement")
    await shop.post(f"people/{person.id}/delete", {"message_id": cabinet["message_id"]})
    [statement] = await person.answers()
    assert statement["text"].startswith("Statement")
    assert (await shop.get(f"callbacks/{callback_id}"))["answered"]


async def test_made_up_taps_are_answered_and_do_no_harm(shop: Shop) -> None:
    person = await shop.regular()
    await person.write("/cabinet")
    before = await counts(shop.database)
    for action in (
        CabinetAction(CabinetVerb.STATEMENT, older_than=1),
        CabinetAction(CabinetVerb.STATEMENT, older_than=-(10**30)),
        CabinetAction(CabinetVerb.STATEMENT, older_than=10**30),
        CabinetAction(CabinetVerb.STATEMENT, newer_than=10**30),
        CabinetAction(CabinetVerb.STATEMENT, newer_than=-5),
        CabinetAction(CabinetVerb.STATEMENT, older_than=5, newer_than=5),
        CabinetAction(CabinetVerb.VIDEOS, older_than=10**18),
        CabinetAction(CabinetVerb.VIDEOS, newer_than=1),
    ):
        assert (await person.forge(data(action)))["answered"]
    assert "no longer works" in (await person.forge(data(CabinetAction(CabinetVerb.SPEAK, language="xx"))))["text"]
    for forged in ("c", "c:", "c:h", "c:z::::", "c:s:one:::", "c:g:::no-uuid:", "c:h:::::::", "c:::::"):
        assert "no longer works" in (await person.forge(forged))["text"], forged
    assert await counts(shop.database) == before
    assert (await person.customer()).language == "en"
    assert set(await shop.states()) == {"handled"}


async def test_consent_comes_first(shop: Shop) -> None:
    person = await shop.arrive()
    for command in ("/cabinet", "/balance", "/help"):
        assert [labels(one) for one in await person.write(command)] == [["I agree, let's start"]]
    await person.forge(data(CabinetAction(CabinetVerb.STATEMENT)))
    assert [labels(one) for one in await person.answers()] == [["I agree, let's start"]]


async def test_what_is_not_of_the_cabinet_passes_by(shop: Shop) -> None:
    person = await shop.regular()
    await shop.post(
        f"people/{person.id}/photo", files={"file": ("mug.jpg", photo())}, data={"caption": "/help with my mug"}
    )
    assert "Blogger" in labels((await person.answers())[-1])
    assert (await counts(shop.database))["drafts"] == 1
    await person.write("/cabinet")
    await person.tap("Blogger")
    assert await person.answers()
    assert "no longer works" in (await person.forge("other"))["text"]


def all_screens(language: str) -> Iterator[Screen]:
    """Every screen at its longest."""
    largest = 2**63 - 1
    number = VideoNumber(largest, 10, 10)
    reason = "<b>&</i>" * 100
    lines = [
        Line(largest, kind, date(2025, 9, 1 + place), 10**9, -(10**9), reason, number, reason)
        for place, kind in enumerate(LineKind)
    ]
    videos = [Video(largest, uuid4(), number, "hero_broll", date(2025, 9, 1), 60.0) for _ in range(VIDEOS_PER_PAGE)]
    yield cabinet_screens.home(language, BALANCE, 10**6)
    yield cabinet_screens.statement(language, BALANCE, Page(lines, 10**6, 10**6, LINES_PER_PAGE), TODAY)
    yield cabinet_screens.videos(language, Page(videos, 10**6, 10**6, VIDEOS_PER_PAGE), TODAY)
    yield cabinet_screens.languages(language)
    yield cabinet_screens.new_video(language)
    yield cabinet_screens.help_page(language, load_catalogue(), reason)


@pytest.mark.parametrize("language", LANGUAGES)
def test_screens_fit_into_messages_and_buttons_into_64_bytes(language: str) -> None:
    assert len(LineKind) == LINES_PER_PAGE
    for screen in all_screens(language):
        assert len(screen.text) <= 4096
        assert set(re.findall(r"<[^>]*>", screen.text)) <= {"<b>", "</b>"}
        for row in screen.buttons:
            for button in row:
                assert 1 <= len(data(button.action).encode()) <= 64


def test_every_reason_has_short_words() -> None:
    for language, reason in product(LANGUAGES, Reason):
        line = Line(1, LineKind.REFUND, TODAY, 1, 1, None, VideoNumber(12, 1, 1), reason)
        other = replace(line, failure="words of an operator")
        texts = [
            cabinet_screens.statement(language, BALANCE, Page([one], 0, 0, LINES_PER_PAGE), TODAY).text
            for one in (line, other)
        ]
        assert (texts[0] == texts[1]) is (reason is Reason.INTERNAL)
        assert "operator" not in texts[1]

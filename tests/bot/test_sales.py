"""Nothing is sold that nobody can make: a seller hears for how long, loses nothing, and can confirm afterwards."""

from dataclasses import replace
from datetime import date

import pytest

from bot.chat import Json, Person, Shop, labels
from bot.test_conversation import orders_of
from bot.test_forgiving import confirm_of, the_draft
from neurocards.bot import screens
from neurocards.db import provider_keys
from shop import advance, counts, violations

DEFAULT = "Kling 3.0 Turbo"


async def outage(shop: Shop, *subjects: str, seconds: int) -> None:
    """Workers have found that these do not answer, and leave them alone for so long."""
    async with shop.database.transaction() as tx:
        await tx.execute(
            "insert into circuits (subject, failures, open_until, why)"
            " select subject, 6, clock_now() + make_interval(secs => %s), 'nobody answers'"
            "   from unnest(%s::text[]) subject",
            [seconds, list(subjects)],
        )


async def card_of(person: Person) -> Json:
    return next(one for one in reversed(await person.messages()) if "Confirm" in labels(one))


async def refused(person: Person) -> str:
    """Tap Confirm and be refused: nothing has changed, the card still stands; returns the alert."""
    before, draft = await counts(person.shop.database), await the_draft(person)
    answer = await person.tap("Confirm")
    assert answer["show_alert"]
    assert "Nothing was charged, your order is kept" in answer["text"]
    assert await counts(person.shop.database) == before
    assert await the_draft(person) == draft
    assert "Confirm" in labels(await card_of(person))
    assert (await person.balance()).held == 0
    return str(answer["text"])


async def test_the_card_names_the_model_that_will_make_the_video(shop: Shop) -> None:
    person = await shop.shopper()
    assert f"1 video, 10 seconds · {DEFAULT}" in (await card_of(person))["caption"]


async def test_f09_while_nobody_can_make_it_nothing_is_sold_and_the_alert_says_for_how_long(shop: Shop) -> None:
    person = await shop.shopper()
    await outage(shop, "provider kie", "provider fal", seconds=80)
    assert "back in about 2 minutes" in await refused(person)
    await person.start()
    card = await card_of(person)
    assert "1 video, 10 seconds" in card["caption"]
    assert DEFAULT not in card["caption"]
    await advance(shop.database, 81)
    assert "accepted" in (await person.tap("Confirm"))["text"]
    assert (await person.balance()).held == 1
    assert await violations(shop.database) == []


async def test_f09_a_pause_that_is_over_before_a_worker_comes_to_it_closes_nothing(shop: Shop) -> None:
    person = await shop.shopper()
    await outage(shop, "provider kie", "provider fal", seconds=40)
    assert "accepted" in (await person.tap("Confirm"))["text"]


async def test_f09_an_order_that_was_placed_is_found_although_sales_are_closed(shop: Shop) -> None:
    person = await shop.shopper()
    card = await card_of(person)
    first, second = [await person.begin_tap("Confirm", message=card) for _ in range(2)]
    await shop.settle()
    await outage(shop, "provider kie", "provider fal", seconds=80)
    assert "is accepted" in (await shop.get(f"callbacks/{first}"))["text"]
    assert "accepted before" in (await shop.get(f"callbacks/{second}"))["text"]
    assert "accepted before" in (await person.forge(confirm_of(card)))["text"]
    assert len(await orders_of(shop)) == 1


async def test_f09_while_one_provider_is_away_the_card_names_who_makes_it_instead(shop: Shop) -> None:
    person = await shop.shopper()
    await outage(shop, "provider kie", seconds=80)
    await person.start()
    caption = (await card_of(person))["caption"]
    assert DEFAULT not in caption
    assert "accepted" in (await person.tap("Confirm"))["text"]
    [order] = await orders_of(shop)
    model = shop.catalogue.models[order.model]
    assert model.provider == "fal"
    assert f"1 video, 10 seconds · {model.title}" in caption


async def test_f65_with_an_empty_account_nothing_is_sold_until_it_may_be_tried_again(shop: Shop) -> None:
    person = await shop.shopper()
    async with shop.database.transaction() as tx:
        await provider_keys.register(tx, "kie", ["kie-1"])
    await outage(shop, "key kie-1", seconds=300)
    assert "back in about 5 minutes" in await refused(person)
    await advance(shop.database, 301)
    assert "accepted" in (await person.tap("Confirm"))["text"]


async def test_f09_what_nobody_makes_any_more_is_refused_without_a_time(shop: Shop) -> None:
    person = await shop.shopper()
    gone = {id: replace(model, retires=date(2026, 1, 1)) for id, model in shop.catalogue.models.items()}
    shop.catalogue = replace(shop.catalogue, models=gone)
    shop.restart()
    assert "minute" not in await refused(person)


@pytest.mark.parametrize(
    ("language", "seconds", "told"),
    [
        ("ru", 20.0, "через 1 минуту"),
        ("ru", 61.0, "через 2 минуты"),
        ("ru", 300.0, "через 5 минут"),
        ("ru", 1201.0, "через 21 минуту"),
        ("en", 20.0, "in about a minute"),
        ("en", 61.0, "in about 2 minutes"),
    ],
)
def test_p11_minutes_are_rounded_up_and_said_as_people_do(language: str, seconds: float, told: str) -> None:
    assert told in screens.closed(language, seconds)

"""What a seller hears of what is not kept any more: calm words, and a way to begin anew."""

from bot.chat import Shop, photo
from bot.test_cabinet import DAY_SECONDS, order, refund, settle
from neurocards.keeping import forgetting
from shop import advance

ALL_TOLD = b"update notices set state = 'sent', sent_at = clock_now(), message_id = 1 where state = 'pending'"


async def forget(shop: Shop, days: float) -> None:
    """So many days later, with every message delivered."""
    async with shop.database.transaction() as tx:
        await tx.execute(ALL_TOLD)
    await advance(shop.database, days * DAY_SECONDS)
    while (await forgetting.turn(shop.database, shop.store, photo_days=30, video_days=180)).total:
        pass


async def test_t27_a_video_that_is_no_longer_kept_is_said_to_be_so(shop: Shop) -> None:
    person = await shop.regular()
    await person.give(5)
    (job,) = await order(shop, person)
    await settle(shop.database, job)
    await person.write("/cabinet")
    await person.tap("My videos")
    await forget(shop, 181)

    answer = await person.tap("▶ No. 1")
    assert answer["show_alert"] and "no longer kept" in answer["text"]
    await person.write("/cabinet")
    await person.tap("My videos")
    page = (await person.messages())[-1]
    assert "no longer kept" in page["text"]
    assert not any("▶" in button["text"] for row in page["buttons"] for button in row)


async def test_t27_an_order_whose_photo_is_forgotten_cannot_be_repeated_and_begins_anew(shop: Shop) -> None:
    person = await shop.regular()
    await person.give(5)
    (job,) = await order(shop, person)
    await refund(shop.database, job, reason="provider")
    await shop.tell()
    before = len(await person.messages())
    await forget(shop, 31)

    answer = await person.tap("Same again")
    assert answer["show_alert"] and "no longer kept" in answer["text"]
    assert len(await person.messages()) == before
    assert await person.send(photo())

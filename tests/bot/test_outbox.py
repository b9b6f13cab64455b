"""P6, P8: notices leave in order, old statuses make way, and a video that cannot be handed over is paid back."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from bot.chat import Shop, labels
from bot.test_messenger import Waiting, waiting
from neurocards import maintenance
from neurocards.bot import TelegramMessenger
from neurocards.catalogue import load_catalogue
from neurocards.db import generations, notices, outlook
from neurocards.db.books import figures
from neurocards.db.orders import Outcome, cancel
from neurocards.notices import Outbox, Sent, Story
from shop import advance, claim, new_draft, new_order, place, violations

MODELS = load_catalogue().models

__all__ = ["waiting"]


async def states(one: Waiting) -> list[tuple[str, str]]:
    async with one.shop.database.transaction() as tx:
        cursor = await tx.execute("select coalesce(stage, kind), state from notices order by id")
        return [(str(what), str(state)) for what, state in await cursor.fetchall()]


async def test_p6_a_video_that_can_never_be_handed_over_is_paid_back(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.finish(tmp_path)
    await waiting.shop.store.delete("videos/1.mp4")
    assert (await waiting.person.balance()).spent == 1
    await waiting.person.answers()
    await waiting.shop.tell()

    after = await waiting.person.balance()
    assert (after.available_free, after.held, after.spent) == (1, 0, 0)
    [told] = await waiting.person.answers()
    assert "our own fault" in told["text"]
    assert "Returned to your balance: 1 credit." in told["text"]
    card = next(one for one in await waiting.person.messages() if one["message_id"] == waiting.card_id)
    assert "Returned: 1 credit." in card["caption"]
    assert await violations(waiting.shop.database) == []
    async with waiting.shop.database.transaction() as tx:
        assert (await figures(tx)).notices_undeliverable == 1
        [generation] = await generations.of_order(tx, waiting.order_id)
        assert not await generations.reverse(tx, generation.id, reason="delivery"), "once is enough"


async def test_p8_a_status_that_is_overtaken_is_not_sent(waiting: Waiting) -> None:
    [job] = await claim(waiting.shop.database)
    async with waiting.shop.database.transaction() as tx:
        await generations.begin(tx, job.subject_id, deadline_seconds=3600)
        for stage in ("prompt", "generating"):
            await generations.tell_status(tx, job.subject_id, stage)
            await generations.tell_status(tx, job.subject_id, stage)
    await waiting.shop.tell()
    assert await states(waiting) == [("accepted", "superseded"), ("prompt", "superseded"), ("generating", "sent")]
    card = next(one for one in await waiting.person.messages() if one["message_id"] == waiting.card_id)
    assert len(card["edits"]) <= 2
    assert labels(card) == ["Cancel the order"], "nothing was submitted yet"


async def edits(one: Waiting) -> int:
    """How often Telegram was asked to change a card."""
    calls = (await one.shop.get("calls", method="editMessageCaption"))["calls"]
    return sum(str(call["parameters"]["chat_id"]) == str(one.person.id) for call in calls)


async def test_p8_a_card_is_edited_every_three_seconds_at_most(waiting: Waiting) -> None:
    shop = waiting.shop
    shop.outbox = Outbox(
        shop.database,
        TelegramMessenger(shop.bot, shop.database, shop.store, MODELS),
        chat_pause_seconds=0,
    )
    await shop.tell()
    [job] = await claim(shop.database)
    await advance(shop.database, 1)
    async with shop.database.transaction() as tx:
        await generations.begin(tx, job.subject_id, deadline_seconds=3600)
        await generations.tell_status(tx, job.subject_id, "prompt")
    await shop.tell()
    assert await states(waiting) == [("accepted", "sent"), ("prompt", "pending")]
    assert await edits(waiting) == 1
    await advance(shop.database, 1)
    assert await shop.outbox.turn() == 0
    await advance(shop.database, 1.1)
    await shop.tell()
    assert await states(waiting) == [("accepted", "sent"), ("prompt", "sent")]
    assert await edits(waiting) == 2


async def test_p8_a_card_that_rests_holds_up_no_video(waiting: Waiting, tmp_path: Path) -> None:
    shop = waiting.shop
    shop.outbox = Outbox(
        shop.database,
        TelegramMessenger(shop.bot, shop.database, shop.store, MODELS),
        chat_pause_seconds=0,
    )
    await shop.tell()
    await waiting.finish(tmp_path)
    await shop.tell()
    assert await states(waiting) == [
        ("accepted", "sent"),
        ("sending", "pending"),
        ("video", "sent"),
        ("finished", "pending"),
    ]
    await advance(shop.database, 3.1)
    await shop.tell()
    assert [state for _, state in await states(waiting)] == ["sent", "superseded", "sent", "sent"]
    card = next(one for one in await waiting.person.messages() if one["message_id"] == waiting.card_id)
    assert "Done: 1 of 1." in card["caption"]


async def test_p8_a_card_that_says_so_already_is_left_alone(waiting: Waiting) -> None:
    await waiting.shop.tell()
    before = await edits(waiting)
    assert await maintenance.tell_places(waiting.shop.database) == 1
    await waiting.shop.tell()
    assert await states(waiting) == [("accepted", "sent"), ("accepted", "sent")]
    assert await edits(waiting) == before


async def test_p8_nobody_edits_a_card_while_another_does(waiting: Waiting) -> None:
    database = waiting.shop.database
    async with database.transaction() as tx:
        [first] = await notices.claim(tx, limit=10, lease_seconds=45, per_second=30)
        assert not await notices.card_rests(tx, first, seconds=3)
        await notices.put_back(tx, first, seconds=2, failure="a passing trouble", spends_attempt=True)
    await database.run(outlook.tell_places)
    async with database.transaction() as tx:
        assert await notices.claim(tx, limit=10, lease_seconds=45, per_second=30) == [], (
            "a failure holds up what comes after it"
        )
    await advance(database, 2.1)
    async with database.transaction() as tx:
        [first] = await notices.claim(tx, limit=10, lease_seconds=45, per_second=30)
        assert await notices.card_rests(tx, first, seconds=3)
        [second] = await notices.claim(tx, limit=10, lease_seconds=45, per_second=30)
        assert second.id > first.id
    await advance(database, 5)
    async with database.transaction() as tx:
        assert await notices.claim(tx, limit=10, lease_seconds=45, per_second=30) == [], "the second is being sent"
    await advance(database, 45)
    async with database.transaction() as tx:
        assert await notices.claim(tx, limit=10, lease_seconds=45, per_second=30, held=[first.id]) == [], (
            "it is still in our hands"
        )
        assert [one.id for one in await notices.claim(tx, limit=10, lease_seconds=45, per_second=30)] == [first.id]


async def test_p3_a_sender_that_lost_its_lease_has_the_card_drawn_anew(waiting: Waiting) -> None:
    shop = waiting.shop
    shown = shop.outbox._messenger.show_status

    async def slowly(story: Story) -> Sent:
        sent = await shown(story)
        async with shop.database.transaction() as tx:
            # Paused for so long that somebody else has claimed and sent it.
            await tx.execute("update notices set lease_number = lease_number + 1 where state = 'sending'")
        return sent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop.outbox._messenger, "show_status", slowly)
        assert await shop.outbox.turn() == 1
        await shop.outbox.idle()
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select count(*) from notices where cause like '%:again:%' and state = 'pending'")
        assert await cursor.fetchone() == (1,)


async def test_the_original_comes_as_a_file_with_its_bytes_as_they_are(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.finish(tmp_path)
    await waiting.shop.tell()
    await waiting.person.answers()
    answer = await waiting.person.tap("Original as a file")
    assert "Sending the file" in answer["text"]
    await waiting.shop.tell()
    [message] = await waiting.person.answers()
    assert message["media"]["kind"] == "document"
    assert message["media"]["name"].endswith(".mp4")
    sent = await waiting.shop.client.get(waiting.shop.telegram.removesuffix("/telegram") + message["media"]["url"])
    assert sent.content == await waiting.shop.store.get("videos/1.mp4")
    assert (await waiting.person.balance()).spent == 1


async def test_p8_a_past_video_that_is_gone_is_said_so_and_nothing_is_paid_back(
    waiting: Waiting, tmp_path: Path
) -> None:
    await waiting.finish(tmp_path)
    await waiting.shop.tell()
    await waiting.shop.store.delete("videos/1.mp4")
    await waiting.person.answers()
    await waiting.person.tap("Original as a file")
    await waiting.shop.tell()
    [message] = await waiting.person.answers()
    assert "the file is gone" in message["text"]
    assert (await waiting.person.balance()).spent == 1
    assert await violations(waiting.shop.database) == []


async def test_f68_what_telegram_asks_to_wait_for_is_waited_for_in_order(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.shop.tell()
    await waiting.finish(tmp_path)
    await waiting.shop.fault("429", "sendVideo", retry_after=30)
    await waiting.shop.tell()
    before = [state for what, state in await states(waiting) if what in ("video", "finished")]
    assert before == ["pending", "pending"], "what comes after the video waits behind it"
    await advance(waiting.shop.database, 29)
    assert await waiting.shop.outbox.turn() == 0
    await advance(waiting.shop.database, 2)
    await waiting.shop.tell()
    assert [state for what, state in await states(waiting) if what in ("video", "finished")] == ["sent", "sent"]
    media = [one["media"]["kind"] for one in await waiting.person.messages() if one["from_bot"] and one["media"]]
    assert media.count("video") == 1


async def test_f70_what_a_dead_sender_held_is_sent_by_the_next(waiting: Waiting) -> None:
    async with waiting.shop.database.transaction() as tx:
        assert len(await notices.claim(tx, limit=5, lease_seconds=45, per_second=30)) == 1
    await waiting.shop.tell()
    assert await states(waiting) == [("accepted", "sending")], "its lease still runs"
    await advance(waiting.shop.database, 46)
    await waiting.shop.tell()
    assert await states(waiting) == [("accepted", "sent")]


async def test_f73_a_telegram_that_is_away_for_hours_gets_everything_in_the_end(
    waiting: Waiting, tmp_path: Path
) -> None:
    await waiting.finish(tmp_path)
    await waiting.shop.fault("5xx", "sendVideo", times=12)
    for _ in range(13):
        await waiting.shop.tell()
        await advance(waiting.shop.database, 61)
    await waiting.shop.tell()
    assert [state for _, state in await states(waiting) if state != "superseded"] == ["sent"] * 3
    assert (await waiting.person.balance()).spent == 1


async def crowd(shop: Shop, people: int) -> list[UUID]:
    """Orders of so many customers, each with its first notice."""
    return [await new_order(shop.database) for _ in range(people)]


async def test_p9_all_chats_together_keep_the_pace_whoever_sends(waiting: Waiting) -> None:
    database = waiting.shop.database
    await crowd(waiting.shop, 50)

    async def take() -> int:
        async with database.transaction() as tx:
            return len(await notices.claim(tx, limit=100, lease_seconds=45, per_second=20))

    async def clock() -> float:
        async with database.transaction() as tx:
            return (await generations.clock(tx)).timestamp()

    begun = await clock()
    taken = sum(await asyncio.gather(*(take() for _ in range(5))))
    assert 1 <= taken <= 5, "they share what there is"
    for _ in range(9):
        await advance(database, 0.1)
        taken += await take()
    seconds = await clock() - begun
    assert 9 <= taken <= 20 * max(1.0, seconds), "never more than twenty within a second"
    await advance(database, 60)
    assert await take() <= 5, "what nobody used is not saved up"


async def test_f73_after_an_outage_ends_are_told_first_and_old_statuses_not_at_all(
    waiting: Waiting, tmp_path: Path
) -> None:
    shop = waiting.shop
    await crowd(shop, 3)
    async with shop.database.transaction() as tx:
        await tx.execute("update jobs set run_at = 'tomorrow' where customer_id <> (select min(customer_id) from jobs)")
    for stage in ("prompt", "generating", "checking"):
        async with shop.database.transaction() as tx:
            [generation] = await generations.of_order(tx, waiting.order_id)
            await generations.tell_status(tx, generation.id, stage)
    await waiting.finish(tmp_path)
    await advance(shop.database, 7200)
    async with shop.database.transaction() as tx:
        [first, *_] = await notices.claim(tx, limit=1, lease_seconds=45, per_second=30)
        assert (first.kind, first.order_id) == ("video", waiting.order_id)
    await advance(shop.database, 46)
    await shop.tell()
    told = [one for one in await states(waiting) if one[1] != "pending"]
    assert told.count(("sending", "superseded")) == 1
    assert ("video", "sent") in told
    assert ("finished", "sent") in told
    assert await edits(waiting) == 1, "one edit says what five stages came to"


async def test_f69_a_lost_answer_is_sent_again_marked_and_counted(waiting: Waiting, tmp_path: Path) -> None:
    shop = waiting.shop
    await shop.tell()
    await waiting.finish(tmp_path)
    await shop.fault("drop_answer", "sendVideo", times=1)
    await shop.tell()
    await advance(shop.database, 10)
    await shop.tell()
    videos = [one for one in await waiting.person.messages() if one["media"] and one["media"]["kind"] == "video"]
    assert ["once more" in one["caption"] for one in videos] == [False, True]
    async with shop.database.transaction() as tx:
        assert (await figures(tx)).notices_repeated == 1
    await advance(shop.database, 600)
    await shop.tell()
    assert len([one for one in await waiting.person.messages() if one["media"]]) == len(videos) + 2, "and two photos"


async def test_f70_a_sender_that_died_may_have_sent_it(waiting: Waiting) -> None:
    database = waiting.shop.database
    async with database.transaction() as tx:
        [first] = await notices.claim(tx, limit=5, lease_seconds=45, per_second=30)
    await advance(database, 46)
    async with database.transaction() as tx:
        [again] = await notices.claim(tx, limit=5, lease_seconds=45, per_second=30)
    assert (first.repeats, again.repeats) == (0, 1)


async def test_f68_a_message_that_was_refused_is_no_repeat(waiting: Waiting, tmp_path: Path) -> None:
    shop = waiting.shop
    await waiting.finish(tmp_path)
    await shop.fault("429", "sendVideo", retry_after=3)
    await shop.tell()
    await advance(shop.database, 4)
    await shop.tell()
    async with shop.database.transaction() as tx:
        assert (await figures(tx)).notices_repeated == 0


async def test_f10_a_seller_takes_an_order_back_from_its_card(waiting: Waiting) -> None:
    await waiting.shop.tell()
    answer = await waiting.person.tap("Cancel the order")
    assert "cancelled" in answer["text"]
    await advance(waiting.shop.database, 4)
    await waiting.shop.tell()
    [told] = [one for one in await waiting.person.answers() if one["text"]]
    assert "is cancelled" in told["text"]
    assert "1 credit" in told["text"]
    assert labels(told) == ["Same again"]
    card = next(one for one in await waiting.person.messages() if one["message_id"] == waiting.card_id)
    assert "cancelled" in card["caption"]
    assert labels(card) == []
    assert (await waiting.person.balance()).held == 0
    assert await violations(waiting.shop.database) == []


async def test_f10_a_seller_who_is_too_late_hears_so(waiting: Waiting) -> None:
    shop = waiting.shop
    await shop.tell()
    [job] = await claim(shop.database)
    async with shop.database.transaction() as tx:
        await generations.begin(tx, job.subject_id, deadline_seconds=3600)
        await generations.intend(
            tx, job.subject_id, attempt_id=uuid4(), provider="kie", model="m", lease_number=job.lease_number
        )
    answer = await waiting.person.tap("Cancel the order")
    assert answer["show_alert"]
    assert "being made already" in answer["text"]
    assert (await waiting.person.balance()).held == 1


async def test_f10_an_order_of_three_is_taken_back_with_one_message(waiting: Waiting) -> None:
    shop = waiting.shop
    await waiting.person.give(3)
    customer = await waiting.person.customer()
    draft_id = await new_draft(shop.database, customer, videos=3)
    assert (await place(shop.database, draft_id)).outcome is Outcome.PLACED
    await waiting.person.answers()
    await shop.database.run(lambda tx: cancel(tx, draft_id, customer.id))
    for _ in range(3):
        await shop.tell()
        await advance(shop.database, 4)
    told = [one for one in await waiting.person.answers() if "is cancelled" in str(one["text"])]
    assert len(told) == 1
    assert "3 credits" in told[0]["text"]

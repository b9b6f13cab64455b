"""F71-F75: who cannot be reached, what is too large, which token was revoked: what is owed stays owed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from bot.chat import Shop
from bot.test_messenger import Waiting
from bot.test_outbox import states
from flow.rig import Rig
from neurocards import maintenance, production
from neurocards.bot import Intake, IntakeRefused, TelegramMessenger, make_bot
from neurocards.bot import intake as intake_module
from neurocards.catalogue import load_catalogue
from neurocards.db import books, generations
from neurocards.domain.generations import GenerationState
from neurocards.notices import Outbox
from shop import advance, violations
from web.door import served

MODELS = load_catalogue().models


@asynccontextmanager
async def answering(shop: Shop, status: int, description: str) -> AsyncIterator[Outbox]:
    """The shop's outbox as it meets a Telegram that answers everything like this."""
    refusal = JSONResponse({"ok": False, "error_code": status, "description": description}, status)
    async with served(refusal) as telegram:
        bot = make_bot(shop.token, telegram)
        yield Outbox(
            shop.database,
            TelegramMessenger(bot, shop.database, shop.store, MODELS),
            chat_pause_seconds=0,
        )
        await bot.session.close()


async def send_all(outbox: Outbox) -> None:
    while await outbox.turn():
        await outbox.idle()


async def test_f71_who_blocked_us_is_asked_once_and_gets_everything_at_the_next_start(
    waiting: Waiting, tmp_path: Path
) -> None:
    shop = waiting.shop
    await shop.tell()
    await waiting.finish(tmp_path)
    await shop.fault("403", "*", times=None)
    for _ in range(10):
        await advance(shop.database, 3600)
        await shop.tell()
    calls = [call for call in (await shop.get("calls"))["calls"] if (call["answer"] or {}).get("error_code") == 403]
    refused = [call for call in calls if call["parameters"].get("chat_id") == str(waiting.person.id)]
    assert len(refused) == 1, "no endless retry"
    assert ("video", "pending") in await states(waiting)
    assert (await waiting.person.balance()).spent == 1, "the video is theirs"
    await shop.client.delete(f"{shop.telegram}/sim/faults")
    await waiting.person.start()
    await shop.tell()
    assert ("video", "sent") in await states(waiting)
    videos = [one for one in await waiting.person.messages() if one["media"] and one["media"]["kind"] == "video"]
    assert len(videos) == 1
    assert await violations(shop.database) == []


async def test_f72_a_clip_that_telegram_would_not_take_is_made_again_and_then_paid_back(
    rig: Rig, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(production, "MAX_VIDEO_BYTES", 1000)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id, pace_seconds=5)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "result")
    assert len(await rig.attempts(order_id)) == 4
    assert (await rig.stages(order_id))[-2:] == ["failure", "finished"]
    assert await rig.violations() == []


async def test_f72_a_video_that_telegram_does_not_take_is_paid_back_in_words(waiting: Waiting, tmp_path: Path) -> None:
    shop = waiting.shop
    await shop.tell()
    await waiting.finish(tmp_path)
    await shop.outbox.turn()
    await shop.outbox.idle()
    async with answering(shop, 413, "Request Entity Too Large") as outbox:
        assert await outbox.turn() == 1
        await outbox.idle()
    assert ("video", "undeliverable") in await states(waiting)
    await advance(shop.database, 60)
    await shop.tell()
    after = await waiting.person.balance()
    assert (after.available_free, after.held, after.spent) == (1, 0, 0)
    assert "Returned to your balance: 1 credit." in (await waiting.person.messages())[-1]["text"]
    assert await violations(shop.database) == []


async def test_f74_a_card_that_says_so_already_counts_as_told(waiting: Waiting) -> None:
    shop = waiting.shop
    await shop.tell()
    async with shop.database.transaction() as tx:
        await tx.execute("update orders set card_text = null")
    assert await maintenance.tell_places(shop.database) == 1
    await advance(shop.database, 4)
    before = len(await waiting.calls("editMessageCaption"))
    await shop.tell()
    calls = (await waiting.calls("editMessageCaption"))[before:]
    assert [call["answer"]["description"].split(":")[0] for call in calls] == ["Bad Request"]
    assert await states(waiting) == [("accepted", "sent"), ("accepted", "sent")]
    async with shop.database.transaction() as tx:
        assert (await books.figures(tx)).notices_repeated == 0


async def test_f75_with_a_revoked_token_everything_waits_and_goes_out_with_the_next_one(
    waiting: Waiting, tmp_path: Path
) -> None:
    shop = waiting.shop
    await shop.tell()
    await waiting.finish(tmp_path)
    async with answering(shop, 401, "Unauthorized") as revoked:
        for _ in range(8):
            await advance(shop.database, 61)
            await send_all(revoked)
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select max(attempt), max(repeats) from notices")
        assert await cursor.fetchone() == (1, 0), "it costs no attempt, and was surely not sent"
        figures = await books.figures(tx)
        [generation] = await generations.of_order(tx, waiting.order_id)
    assert (figures.notices_undeliverable, figures.spent_credits) == (0, 1)
    assert generation.state is GenerationState.COMPLETED
    await advance(shop.database, 61)
    await shop.tell()
    assert [state for _, state in await states(waiting) if state != "superseded"] == ["sent"] * 3
    assert await violations(shop.database) == []


async def test_f75_whoever_polls_with_a_revoked_token_leaves_with_a_sentence(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "LONGEST_PAUSE_SECONDS", 0.01)
    unauthorized = JSONResponse({"ok": False, "error_code": 401, "description": "Unauthorized"}, 401)
    async with served(unauthorized) as telegram:
        bot = make_bot(shop.token, telegram)
        with pytest.raises(IntakeRefused, match="does not know this BOT_TOKEN: get a valid one from @BotFather"):
            await Intake(bot, shop.database).run(asyncio.Event())
        await bot.session.close()

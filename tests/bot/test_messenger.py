"""Notices on their way to Telegram: the card edited, the video as a video, each refusal with its meaning."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import av
import numpy as np
import pytest
from aiogram.exceptions import ClientDecodeError
from obstore.store import LocalStore
from pydantic import TypeAdapter, ValidationError

from bot.chat import Json, Person, Shop, labels, photo
from neurocards.bot import TelegramMessenger
from neurocards.bot.trouble import meaning
from neurocards.catalogue import load_catalogue
from neurocards.db import generations, orders
from neurocards.db.generations import Video
from neurocards.domain.failures import Failure, FailureKind
from neurocards.domain.outlook import Outlook
from neurocards.notices import Story, Unreachable
from neurocards.storage import Store
from shop import claim, make_video


def clip(path: Path) -> bytes:
    """A second of moving video with sound."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out:
        video = out.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 180, 320, "yuv420p"
        audio = out.add_stream("aac", rate=48_000)
        for number in range(24):
            picture = np.full((320, 180, 3), number * 10, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for number in range(47):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, number * 1024, Fraction(1, 48_000)
            out.mux(audio.encode(sound))
        out.mux(audio.encode(None))
        out.mux(video.encode(None))
    return path.read_bytes()


@dataclass
class Waiting:
    """A customer whose order was just placed."""

    shop: Shop
    person: Person
    order_id: UUID
    card_id: int

    async def story(self, stage: str | None = None) -> Story:
        async with self.shop.database.transaction() as tx:
            order = await orders.find(tx, self.order_id)
            assert order is not None
            of_order = await generations.of_order(tx, order.id)
            now = await generations.clock(tx)
        return Story(await self.person.customer(), order, of_order, of_order[0], stage, {}, Outlook(), now)

    @property
    def messenger(self) -> TelegramMessenger:
        return TelegramMessenger(self.shop.bot, self.shop.database, self.shop.store, load_catalogue().models)

    async def finish(self, folder: Path) -> None:
        """The worker has made the video; its notices wait."""
        await self.shop.store.put("videos/1.mp4", clip(folder / "clip.mp4"))
        await self.shop.store.put("videos/1-cover.jpg", photo(720, 1280))
        await self.shop.store.put("videos/1-thumbnail.jpg", photo(180, 320))
        [job] = await claim(self.shop.database)
        await make_video(self.shop.database, job)
        async with self.shop.database.transaction() as tx:
            video = Video("videos/1.mp4", "videos/1-cover.jpg", "videos/1-thumbnail.jpg", 180, 320, 1.0, 1000)
            await generations.record_video(tx, job.subject_id, video)
            await generations.settle(tx, job.subject_id, job.lease_number)

    async def calls(self, method: str) -> list[Json]:
        found = await self.shop.get("calls", method=method)
        return [call for call in found["calls"] if call["parameters"].get("chat_id") == str(self.person.id)]


@pytest.fixture
async def waiting(shop: Shop) -> Waiting:
    person = await shop.shopper()
    [card] = [one for one in await person.messages() if "Confirm" in labels(one)]
    await person.tap("Confirm")
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select id from orders")
        row = await cursor.fetchone()
    assert row is not None
    return Waiting(shop, person, row[0], card["message_id"])


async def test_the_whole_story_arrives_in_order(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.finish(tmp_path)
    await waiting.shop.tell()
    messages = await waiting.person.messages()
    card = next(one for one in messages if one["message_id"] == waiting.card_id)
    assert "Done: 1 of 1." in card["caption"]
    assert "Charged: 1 credit." in card["caption"]
    [video] = [one for one in messages if one["from_bot"] and one["media"] and one["media"]["kind"] == "video"]
    assert video["media"]["kind"] == "video"
    assert (video["media"]["width"], video["media"]["height"], video["media"]["duration"]) == (180, 320, 1)
    assert video["media"]["thumbnail_url"]
    assert "Order No." in video["caption"]
    [call] = await waiting.calls("sendVideo")
    assert call["parameters"]["supports_streaming"] == "true"
    assert [one["parameters"]["action"] for one in await waiting.calls("sendChatAction")] == ["upload_video"]
    story = await waiting.story()
    assert story.generation is not None
    assert story.generation.file_id == video["media"]["file_id"]


async def test_f74_a_card_that_says_so_already_is_a_success(waiting: Waiting) -> None:
    story = await waiting.story("accepted")
    assert (await waiting.messenger.show_status(story)).message_id == waiting.card_id
    assert (await waiting.messenger.show_status(story)).message_id == waiting.card_id


async def test_a_card_that_the_customer_deleted_is_sent_anew(waiting: Waiting) -> None:
    await waiting.shop.post(f"people/{waiting.person.id}/delete", {"message_id": waiting.card_id})
    await waiting.shop.tell()
    story = await waiting.story()
    assert story.order.card_message_id not in (None, waiting.card_id)
    shown = next(one for one in await waiting.person.messages() if one["message_id"] == story.order.card_message_id)
    assert "waiting for its turn" in shown["caption"]


async def test_a_video_is_sent_again_without_an_upload(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.finish(tmp_path)
    await waiting.shop.tell()
    sent = await waiting.messenger.deliver(await waiting.story())
    calls = await waiting.calls("sendVideo")
    assert isinstance(calls[-1]["parameters"]["video"], str)
    assert sent.file_id == calls[-1]["parameters"]["video"]
    assert len(await waiting.calls("sendChatAction")) == 1


async def test_a_file_id_that_telegram_refuses_falls_back_to_the_upload(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.finish(tmp_path)
    async with waiting.shop.database.transaction() as tx:
        await tx.execute("update generations set file_id = 'of-another-bot'")
    sent = await waiting.messenger.deliver(await waiting.story())
    assert sent.file_id not in (None, "of-another-bot")


async def test_a_video_is_streamed_and_never_held(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.finish(tmp_path)
    # Free space at the end of an MP4: as heavy as a long clip, and still one.
    padding = 30 * 1024 * 1024
    box = (padding + 8).to_bytes(4, "big") + b"free" + bytes(padding)
    path = tmp_path / "clip.mp4"
    path.write_bytes(path.read_bytes() + box)
    waiting.shop.store = Store(LocalStore(tmp_path / "store", mkdir=True))
    await waiting.shop.store.put("videos/1.mp4", path)
    await waiting.shop.store.put("videos/1-cover.jpg", photo(720, 1280))
    await waiting.shop.store.put("videos/1-thumbnail.jpg", photo(180, 320))
    story = await waiting.story()
    tracemalloc.start()
    try:
        await waiting.messenger.deliver(story)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    [call] = await waiting.calls("sendVideo")
    assert call["parameters"]["video"]["size"] > padding
    assert peak < 16 * 1024 * 1024


async def test_a_video_that_left_the_store_is_no_passing_trouble(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.finish(tmp_path)
    story = await waiting.story()
    await waiting.shop.store.delete("videos/1.mp4")
    with pytest.raises(Failure) as raised:
        await waiting.messenger.deliver(story)
    assert raised.value.kind is FailureKind.PERMANENT


async def test_a_failure_is_told_with_its_reason(waiting: Waiting) -> None:
    [job] = await claim(waiting.shop.database)
    async with waiting.shop.database.transaction() as tx:
        await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="content")
    await waiting.person.answers()
    await waiting.shop.tell()
    [told] = await waiting.person.answers()
    assert "refused this photo or text" in told["text"]
    assert "Returned to your balance: 1 credit. Available now: 1 credit." in told["text"]


@pytest.mark.parametrize(
    ("kind", "more", "is_told"),
    [
        ("429", {"retry_after": 7}, lambda error: (error.kind, error.retry_after_seconds) == ("rate_limited", 7.0)),
        ("5xx", {}, lambda error: error.kind == "temporary"),
        ("reset", {}, lambda error: error.kind == "temporary"),
        ("drop_answer", {}, lambda error: error.kind == "temporary"),
        ("403", {}, lambda error: isinstance(error, Unreachable)),
    ],
)
async def test_each_refusal_has_its_meaning(
    waiting: Waiting, kind: str, more: Json, is_told: Callable[[Exception], bool]
) -> None:
    await waiting.shop.fault(kind, "editMessageCaption", **more)
    with pytest.raises((Failure, Unreachable)) as raised:
        await waiting.messenger.show_status(await waiting.story("accepted"))
    assert is_told(raised.value)


async def test_f71_somebody_who_blocked_us_or_never_came_is_unreachable(waiting: Waiting) -> None:
    story = await waiting.story("accepted")
    await waiting.shop.post(f"people/{waiting.person.id}/block")
    with pytest.raises(Unreachable):
        await waiting.messenger.tell_failure(story)
    stranger = replace(story, customer=replace(story.customer, id=9, telegram_id=4_242_424_242))
    with pytest.raises(Unreachable):
        await waiting.messenger.tell_failure(stranger)


async def test_f71_the_video_waits_until_the_customer_is_back(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.shop.tell()
    await waiting.person.do("block", {})
    await waiting.finish(tmp_path)
    await waiting.shop.tell()
    assert await waiting.calls("sendVideo") == []
    await waiting.person.do("unblock", {})
    await waiting.shop.tell()
    assert len(await waiting.calls("sendVideo")) == 1


def test_an_answer_that_cannot_be_read_is_not_asked_for_again() -> None:
    def unreadable(original: Exception) -> FailureKind:
        failure = meaning(ClientDecodeError("odd", original, "<html>"))
        assert isinstance(failure, Failure)
        return failure.kind

    assert unreadable(ValueError("no JSON")) is FailureKind.TEMPORARY
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(int).validate_python("x")
    assert unreadable(raised.value) is FailureKind.PERMANENT

"""A storm of a few seconds over real processes, and that its reckoning would notice what must not be.

One storm serves all tests here; each spoils something else of what it left and looks only at what is new.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

import neurocards
from neurocards.storm.crew import Exit
from neurocards.storm.plan import Blow, Plan, blows, trouble
from neurocards.storm.reckoning import reckon
from neurocards.storm.sellers import Confirmed
from neurocards.storm.show import figures_of
from neurocards.storm.stage import BOT_TOKEN
from neurocards.storm.weather import Progress, Storm, storm_over

LIMIT_SECONDS = 120

pytestmark = pytest.mark.timeout(LIMIT_SECONDS)


@pytest.fixture(scope="module")
async def progress() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
async def storm(tmp_path_factory: pytest.TempPathFactory, progress: list[Progress]) -> AsyncIterator[Storm]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(neurocards.__file__).parent.parent))
        plan = Plan(seed=8, seconds=5.0, workers=2, sellers=6)
        async with storm_over(plan, tmp_path_factory.mktemp("storm"), progress.append) as storm:
            yield storm


async def test_a_storm_loses_and_doubles_nothing(storm: Storm, progress: list[Progress]) -> None:
    figures = figures_of(storm, await reckon(storm))
    assert figures["violations"] == []
    assert figures["verdict"].startswith("nothing lost")
    assert figures["orders_acknowledged"] >= 1
    assert figures["orders"] >= figures["orders_acknowledged"]
    assert figures["videos_delivered"] + sum(figures["videos_refunded"].values()) >= figures["orders"]
    assert min(figures[blow] for blow in ("kills", "stops", "database_restarts")) >= 1
    assert sum(figures["provider_tasks"].values()) >= figures["videos_delivered"]
    assert "--seed 8 --seconds 5" in figures["replay"]
    assert progress[0].left is None


async def test_a_video_missing_from_the_store_is_noticed(storm: Storm) -> None:
    (video, *_) = (storm.stage.home / "store").rglob("*.mp4")
    video.rename(aside := video.with_suffix(".aside"))
    try:
        assert await complaints(storm, "paid_video_is_in_the_store")
    finally:
        aside.rename(video)
    assert not await complaints(storm, "paid_video_is_in_the_store")


async def test_a_task_that_no_lost_answer_explains_is_noticed(storm: Storm) -> None:
    assert not await complaints(storm, "doubled: task")
    (task, *_) = (await storm.stage.client.get(f"{storm.stage.kie}/sim/tasks")).json()
    made = await storm.stage.client.post(
        f"{storm.stage.kie}/api/v1/jobs/createTask",
        # An address of nobody's: without one it could pass for the task of an attempt whose answer was lost.
        json={"model": task["model"], "input": task["input"], "callBackUrl": "https://shop.example/nobody"},
        headers={"Authorization": "Bearer storm"},
    )
    (complaint,) = await complaints(storm, "doubled: task")
    assert made.json()["data"]["taskId"] in complaint


async def test_a_video_sent_twice_without_doubt_is_noticed(storm: Storm) -> None:
    person_id, video, doubts = await a_video(storm)
    # As often as the storm's own trouble would explain, and once more.
    for _ in range(doubts + 1):
        sent = await storm.stage.client.post(
            f"{storm.stage.telegram}/bot{BOT_TOKEN}/sendVideo",
            json={
                "chat_id": person_id,
                "video": video["media"]["file_id"],
                "reply_markup": {"inline_keyboard": clean(video["buttons"])},
            },
        )
        sent.raise_for_status()
    (complaint,) = await complaints(storm, "doubled: video")
    assert f"its sending was in doubt {doubts} times" in complaint


async def test_a_final_message_missing_from_the_outbox_is_noticed(storm: Storm) -> None:
    async with as_nobody_may(storm) as execute:
        await execute("delete from notices where id = (select min(id) from notices where kind = 'video')")
    assert await complaints(storm, "ended_generation_has_one_final_notice")
    assert await complaints(storm, "no message of the outbox says so")


async def test_an_order_that_was_acknowledged_and_is_not_in_the_books_is_noticed(storm: Storm) -> None:
    order_id = str(uuid4())
    storm.memory.confirmed[order_id] = Confirmed(storm.memory.people[0], order_id, [], acknowledged=True)
    try:
        assert await complaints(storm, f"lost: order {order_id}")
    finally:
        del storm.memory.confirmed[order_id]


async def test_an_order_that_nobody_confirmed_is_noticed(storm: Storm) -> None:
    # Not every tap on Confirm became an order: one that the books know of is forgotten.
    order_id = next(UUID(one.id).hex for one in (await reckon(storm)).books.orders)
    known = {UUID(key).hex: key for key in storm.memory.confirmed}
    confirmed = storm.memory.confirmed.pop(known[order_id])
    try:
        assert await complaints(storm, "was never confirmed")
    finally:
        storm.memory.confirmed[known[order_id]] = confirmed


async def test_credits_from_nowhere_are_noticed(storm: Storm) -> None:
    async with as_nobody_may(storm) as execute:
        await execute(
            "update accounts set balance = balance + 1 where id = (select min(id) from accounts "
            "where kind = 'available' and balance > 0)"
        )
    assert await complaints(storm, "credits: ")


async def test_an_end_that_nobody_asked_for_is_noticed(storm: Storm) -> None:
    now = time.time()
    storm.stage.crew.exits.append(Exit("worker-1", 1, -11, asked=False, hired_at=now, ended_at=now))
    try:
        assert await complaints(storm, "ended by itself with status -11")
    finally:
        storm.stage.crew.exits.pop()


@pytest.mark.parametrize(
    "line", ["Traceback (most recent call last):", '{"event": "step_crashed", "level": "error", "exception": "..."}']
)
async def test_an_outcry_in_a_log_is_noticed(storm: Storm, line: str) -> None:
    log = storm.stage.logs / "late.log"
    log.write_text(f"{line}\n")
    try:
        assert await complaints(storm, "log: late.log")
    finally:
        log.unlink()


def test_the_same_seed_draws_the_same_storm() -> None:
    plan, other = Plan(seed=5, seconds=60, workers=2), Plan(seed=6, seconds=60, workers=2)
    assert blows(plan) == blows(Plan(seed=5, seconds=60, workers=2)) != blows(other)
    drawn = [[trouble(draw) for _ in range(50)] for draw in (plan.draw("t"), plan.draw("t"), other.draw("t"))]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("seconds", [4, 60])
def test_every_blow_falls_often_enough(seconds: int) -> None:
    fallen = [timed.blow for timed in blows(Plan(seed=5, seconds=seconds, workers=2))]
    per_minute = {Blow.KILL: 60, Blow.STOP: 10, Blow.DATABASE: 5, Blow.TERM: 1}
    assert all(fallen.count(blow) >= max(1, number * seconds // 60) for blow, number in per_minute.items())


async def complaints(storm: Storm, about: str) -> list[str]:
    """The complaints that say this."""
    return [complaint for complaint in (await reckon(storm)).complaints if about in complaint]


@asynccontextmanager
async def as_nobody_may(storm: Storm) -> AsyncIterator[Callable[[str], Any]]:  # Any: an awaitable of a cursor
    """Write what the database would refuse to anybody, with its triggers off."""
    async with storm.stage.database.transaction() as tx:
        await tx.execute("set local session_replication_role = replica")
        yield lambda query: tx.execute(query.encode())


async def a_video(storm: Storm) -> tuple[int, dict[str, Any], int]:  # Any: JSON
    """A video in a chat, whose, and how often its sending was in doubt."""
    reckoning = await reckon(storm)
    for telling in reckoning.books.tellings:
        for message in reckoning.seen.chats[telling.person_id]:
            if telling.kind == "video" and telling.message_id == message["message_id"]:
                return telling.person_id, message, telling.doubts
    raise LookupError("nobody has a video")


def clean(rows: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:  # Any: JSON
    """Buttons as a bot sends them."""
    return [[{"text": one["text"], "callback_data": one["callback_data"]} for one in row] for row in rows]

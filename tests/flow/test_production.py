"""The main job over the real adapters: what is recorded, what is paid, and who is told, whatever fails or dies."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from flow.rig import DOUBT_SECONDS, Rig
from neurocards.db import books, generations
from neurocards.domain.generations import AttemptState, GenerationState
from neurocards.maintenance import turn
from shop import SECONDS, advance


async def spent_and_available(rig: Rig) -> tuple[int, int]:
    async with rig.database.transaction() as tx:
        figures = await books.figures(tx)
    assert figures.held_credits == 0
    return figures.spent_credits, figures.available_credits


async def test_an_order_becomes_a_checked_video_in_the_store(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)

    assert generation.state is GenerationState.COMPLETED
    assert generation.prompt_source == "writer"
    assert (generation.width, generation.height) == (720, 1280)
    assert generation.seconds == pytest.approx(SECONDS, abs=0.1)
    assert generation.video_key is not None
    assert await rig.store.size(generation.video_key) == generation.size_bytes
    (task,) = await rig.tasks()
    assert task["model"] == "kling/v3-turbo-image-to-video"
    assert task["input"]["duration"] == str(SECONDS)
    assert task["input"]["prompt"].startswith(generation.prompt or "-")
    assert await spent_and_available(rig) == (1, 9)
    assert await rig.violations() == []


async def test_p8_the_seller_is_told_every_stage_in_order(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    await rig.finish(order_id)
    assert await rig.stages(order_id) == [
        "accepted",
        "prompt",
        "generating",
        "checking",
        "sending",
        "video",
        "finished",
    ]


async def test_p3_waiting_videos_take_no_slot(rig: Rig, photo: bytes) -> None:
    """More are with the provider than the worker has slots: waiting is a row, not a task."""
    await rig.client.post(f"{rig.kie_url}/sim/settings", json={"task_seconds": 30})
    for _ in range(12):
        await rig.order(videos=5, photo=photo)
    worker = rig.worker()
    while len(await rig.tasks()) < 60:
        await rig.work(worker=worker)
    assert len({task["id"] for task in await rig.tasks()}) == 60
    assert await rig.violations() == []


# Retries --------------------------------------------------------------------------------------------------------


async def test_p5_a_failing_provider_is_tried_four_times_and_refunded(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="createTask", kind="task_fails", times=10)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "provider")
    assert [attempt.state for attempt in await rig.attempts(order_id)] == [AttemptState.FAILED] * 4
    assert (await rig.stages(order_id))[-2:] == ["failure", "finished"]
    assert await spent_and_available(rig) == (0, 10)
    assert await rig.violations() == []


async def test_p5_a_provider_that_recovers_delivers_after_three_failures(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="createTask", kind="task_fails", times=3)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.attempts(order_id)) == 4
    assert await spent_and_available(rig) == (1, 9)


@pytest.mark.parametrize("kind", ["http_500", "http_503", "html", "empty", "reset", "drop_answer"])
@pytest.mark.parametrize("route", ["upload", "recordInfo", "result"])
async def test_p5_passing_trouble_on_any_route_costs_no_second_task(
    rig: Rig, photo: bytes, route: str, kind: str
) -> None:
    await rig.fault(route=route, kind=kind, times=2)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    if (route, kind) not in {("result", "html"), ("result", "empty"), ("result", "drop_answer")}:
        assert len(await rig.tasks()) == 1
    assert await rig.violations() == []


async def test_f44_rate_limits_cost_time_and_no_attempt(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="createTask", kind="429", retry_after=7, times=6)
    order_id = await rig.order(photo=photo)
    await rig.work()
    assert (await rig.job())["attempt"] == 1
    await advance(rig.database, 6)
    assert await rig.work() == 0, "the service's own word on when to come back is kept"
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1


@pytest.mark.parametrize("code", [401, 402, 433, 455])
async def test_f65_our_accounts_trouble_costs_time_and_no_attempt(rig: Rig, photo: bytes, code: int) -> None:
    await rig.fault(route="createTask", kind="code", code=code, msg="not now", times=6)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id, pace_seconds=10)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1


MODEL_REFUSALS = [
    (404, "not found"),
    (422, "The model name you specified is not supported"),
    (500, "duration is required"),
    (500, "This interface is temporarily paused"),
    (505, "feature disabled"),
]
"""What KIE says when one of its models will not do it, whoever asks."""


@pytest.mark.parametrize(("code", "message", "reason"), [(400, "content policy", "content")])
async def test_p5_a_permanent_refusal_refunds_at_once(
    rig: Rig, photo: bytes, code: int, message: str, reason: str
) -> None:
    await rig.fault(route="createTask", kind="code", code=code, msg=message, times=1)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, reason)
    assert await rig.tasks() == []
    assert await spent_and_available(rig) == (0, 10)
    assert await rig.violations() == []


@pytest.mark.parametrize(("code", "message"), MODEL_REFUSALS)
async def test_what_one_model_will_not_do_another_does(rig: Rig, photo: bytes, code: int, message: str) -> None:
    await rig.fault(route="createTask", kind="code", code=code, msg=message, times=1)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    refused, made = await rig.attempts(order_id)
    assert (refused.state, refused.failure_kind) == (AttemptState.REFUSED, "unsuited")
    assert made.model != refused.model
    assert made.reason.startswith(f"instead of {refused.model} (")
    assert len(await rig.tasks()) == 1
    assert (await rig.job())["attempt"] == 1, "no retry was spent"
    assert await rig.violations() == []


async def test_p6_when_every_model_refuses_it_is_paid_back(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="createTask", kind="code", code=505, msg="feature disabled", times=1000)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "model")
    asked = [attempt.model for attempt in await rig.attempts(order_id)]
    assert len(asked) == len(set(asked)) > 5, "each was asked once"
    assert await rig.tasks() == []
    assert await rig.violations() == []


@pytest.mark.parametrize("code", [408, 451, 500, 501, 550, 799])
async def test_p5_a_passing_refusal_is_tried_again(rig: Rig, photo: bytes, code: int) -> None:
    await rig.fault(route="createTask", kind="code", code=code, msg="Internal server error", times=1)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert (await rig.attempts(order_id))[0].state is AttemptState.REFUSED
    assert len(await rig.tasks()) == 1


@pytest.mark.parametrize(
    "variant", ["truncated", "not_a_video", "zero_bytes", "wrong_length", "black", "frozen", "small"]
)
async def test_f63_an_unusable_result_is_made_again(rig: Rig, photo: bytes, variant: str) -> None:
    await rig.fault(route="createTask", kind="bad_result", variant=variant, times=1)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    first, second = await rig.attempts(order_id)
    assert (first.state, second.state) == (AttemptState.FAILED, AttemptState.SUCCEEDED)
    assert await spent_and_available(rig) == (1, 9)


async def test_f62_a_link_that_has_expired_is_replaced_by_a_fresh_one(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="result", kind="result_404", times=2)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1, "the task is paid for: only its link is asked for again"
    assert len(await rig.requests("recordInfo")) == 3
    assert await spent_and_available(rig) == (1, 9)


async def test_a_silent_result_gets_a_sound_track(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="createTask", kind="silent", times=1)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1


async def test_p11_a_photo_that_cannot_be_used_ends_at_once(rig: Rig) -> None:
    order_id = await rig.order(photo=b"this was a picture once")
    (generation,) = await rig.finish(order_id)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "photo")
    assert await rig.tasks() == []
    assert await spent_and_available(rig) == (0, 10)


@pytest.mark.parametrize(
    "fault", ["http_500", "429", "insufficient_quota", "401", "refusal", "incomplete", "bad_json", "drop_answer"]
)
async def test_a_prompt_writer_that_fails_is_never_noticed(rig: Rig, photo: bytes, fault: str) -> None:
    await rig.writer_fault(kind=fault, times=5)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert generation.prompt_source == "template"
    assert "A mug" in (generation.prompt or "")
    assert (await rig.job())["attempt"] == 1


async def test_f65_a_writer_whose_key_is_refused_holds_nobody_up_and_is_told_of_once(rig: Rig, photo: bytes) -> None:
    await rig.writer_fault(kind="401", times=1000)
    order_ids = [await rig.order(photo=photo) for _ in range(6)]
    with capture_logs() as logs:
        for order_id in order_ids:
            (generation,) = await rig.finish(order_id)
            assert (generation.state, generation.prompt_source) == (GenerationState.COMPLETED, "template")
    events = [line["event"] for line in logs]
    assert (events.count("prompt_writer_failed"), events.count("writer_pauses")) == (2, 1)
    asked = (await rig.client.get(f"{rig.openai_url}/sim/requests")).json()
    assert 3 <= len(asked) <= 6


# Deadlines ------------------------------------------------------------------------------------------------------


async def test_f60_a_task_that_never_ends_is_refunded_at_the_deadline(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="createTask", kind="never_ends", times=1)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id, pace_seconds=30)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "deadline")
    (attempt,) = await rig.attempts(order_id)
    assert attempt.state is AttemptState.ORPHANED, "its cost stays on record"
    assert await spent_and_available(rig) == (0, 10)
    assert await rig.violations() == []


async def test_p6_without_any_worker_the_deadline_refunds(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(videos=3, photo=photo)
    await advance(rig.database, 3601)
    await turn(rig.database)
    found = await rig.generations(order_id)
    assert [generation.failure for generation in found] == ["deadline"] * 3
    assert await spent_and_available(rig) == (0, 10)


# Crashes --------------------------------------------------------------------------------------------------------


async def test_p4_a_worker_may_die_after_every_step(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    workers = await rig.crash_after_each_step(order_id)
    assert workers > 5
    (generation,) = await rig.generations(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1
    assert await rig.violations() == []


@pytest.mark.parametrize("route", ["upload", "recordInfo", "result"])
async def test_p4_a_worker_may_die_during_a_step(rig: Rig, photo: bytes, route: str) -> None:
    order_id = await rig.order(photo=photo)
    if route != "upload":
        await rig.work()
        await rig.made()
        await advance(rig.database, 2)
    await rig.crash_during(route)
    await rig.expire_leases()
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1
    assert (await rig.job())["attempt"] == 1, "a dead worker costs no attempt"
    assert await rig.violations() == []


async def test_f17_a_worker_that_dies_while_submitting_is_not_repeated_blindly(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    await rig.crash_during("createTask")
    assert len(await rig.tasks()) == 1
    await rig.expire_leases()
    await rig.work()
    (attempt,) = await rig.attempts(order_id)
    assert attempt.state is AttemptState.UNKNOWN
    await advance(rig.database, DOUBT_SECONDS - 40)
    assert await rig.work() == 0, "nothing is sent while the task may exist"

    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert [attempt.state for attempt in await rig.attempts(order_id)] == [
        AttemptState.ABANDONED,
        AttemptState.SUCCEEDED,
    ]
    assert len(await rig.tasks()) == 2, "one resubmission, counted"
    assert await spent_and_available(rig) == (1, 9)
    assert await rig.violations() == []


@pytest.mark.parametrize("kind", ["drop_answer", "http_500", "http_503", "html", "empty", "reset"])
async def test_f46_an_answer_that_was_lost_is_waited_for(rig: Rig, photo: bytes, kind: str) -> None:
    await rig.fault(route="createTask", kind=kind, times=1)
    order_id = await rig.order(photo=photo)
    await rig.work()
    (attempt,) = await rig.attempts(order_id)
    assert attempt.state is AttemptState.UNKNOWN
    submits = len(await rig.requests("createTask"))
    assert submits == 1, "no layer repeats a submit by itself"
    await advance(rig.database, DOUBT_SECONDS - 5)
    await rig.work()
    assert len(await rig.requests("createTask")) == 1
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.requests("createTask")) == 2


async def test_f67_a_second_lost_answer_ends_in_a_refund(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="createTask", kind="drop_answer", times=2)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id, pace_seconds=5)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "provider")
    assert len(await rig.tasks()) == 2
    assert await spent_and_available(rig) == (0, 10)


async def test_f23_a_late_answer_is_adopted_or_kept_for_its_cost(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    await rig.crash_during("createTask")
    await rig.expire_leases()
    await rig.work()
    (attempt,) = await rig.attempts(order_id)
    (task,) = await rig.tasks()
    adopted = await rig.database.run(lambda tx: generations.record_task(tx, attempt.id, task["id"]))
    assert adopted is AttemptState.ACCEPTED
    await advance(rig.database, DOUBT_SECONDS)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1, "the late fact saved a second payment"
    again = await rig.database.run(lambda tx: generations.record_task(tx, attempt.id, task["id"]))
    assert again is AttemptState.SUCCEEDED


async def test_f23_a_late_answer_after_a_refund_is_an_orphan(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    await rig.crash_during("createTask")
    await advance(rig.database, 3601)
    await turn(rig.database)
    (attempt,) = await rig.attempts(order_id)
    (task,) = await rig.tasks()
    late = await rig.database.run(lambda tx: generations.record_task(tx, attempt.id, task["id"]))
    assert late is AttemptState.ORPHANED
    (generation,) = await rig.generations(order_id)
    assert generation.state is GenerationState.FAILED
    assert await rig.violations() == []


async def test_f23_an_answer_that_comes_in_meanwhile_is_not_overruled(rig: Rig, photo: bytes) -> None:
    """The lost answer is recorded between another worker's look and its decision."""
    order_id = await rig.order(photo=photo)
    await rig.crash_during("createTask")
    (attempt,) = await rig.attempts(order_id)
    (task,) = await rig.tasks()
    await rig.database.run(lambda tx: generations.record_task(tx, attempt.id, task["id"]))
    for state in (AttemptState.UNKNOWN, AttemptState.ABANDONED, AttemptState.REFUSED):
        ended = await rig.database.run(
            lambda tx, state=state: generations.end_attempt(tx, attempt.id, state, "late")  # type: ignore[misc]  # bound early
        )
        assert not ended
    await rig.expire_leases()
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1


async def test_f23_an_adopted_attempt_counts_although_a_later_one_was_refused(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    await rig.crash_during("createTask")
    await rig.expire_leases()
    await rig.work()
    await advance(rig.database, DOUBT_SECONDS)
    await rig.fault(route="createTask", kind="429", retry_after=60, times=1)
    await rig.work()
    first, second = await rig.attempts(order_id)
    assert (first.state, second.state) == (AttemptState.ABANDONED, AttemptState.REFUSED)
    (task,) = await rig.tasks()
    late = await rig.database.run(lambda tx: generations.record_task(tx, first.id, task["id"]))
    assert late is AttemptState.ACCEPTED
    (generation,) = await rig.finish(order_id, pace_seconds=10)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1


async def test_f59_a_task_that_is_not_known_yet_is_asked_for_again(rig: Rig, photo: bytes) -> None:
    await rig.fault(route="recordInfo", kind="code", code=422, msg="recordInfo is null", times=3)
    order_id = await rig.order(photo=photo)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 1


async def test_f59_a_task_that_the_provider_lost_is_made_again(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    await rig.work()
    await rig.fault(route="recordInfo", kind="code", code=422, msg="recordInfo is null", times=1)
    await advance(rig.database, 61)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert len(await rig.tasks()) == 2


async def test_f38_a_store_that_is_away_costs_time_and_no_attempt(rig: Rig, photo: bytes, tmp_path: Path) -> None:
    """The folder of the store is a file for a while: everything in it fails like a full or lost disk."""
    order_id = await rig.order(photo=photo)
    folder, aside = tmp_path / "store", tmp_path / "aside"
    folder.rename(aside)
    folder.write_text("not a folder")
    for _ in range(6):
        await rig.work()
        await advance(rig.database, 31)
    assert (await rig.job())["attempt"] == 1
    folder.unlink()
    aside.rename(folder)
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED


async def test_f22_a_paused_worker_changes_nothing_when_it_wakes(rig: Rig, photo: bytes) -> None:
    """It sleeps in the middle of the download; another one finishes; then it wakes."""
    order_id = await rig.order(photo=photo)
    await rig.work()
    await rig.made()
    await advance(rig.database, 2)
    await rig.fault(route="result", kind="delay", delay_seconds=8.0, times=1)
    sleeper = rig.worker("sleeper")
    assert await sleeper.turn() == 1
    asleep = asyncio.create_task(sleeper.idle())
    await asyncio.sleep(0.5)
    await rig.expire_leases()
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert not asleep.done()
    await asleep
    (after,) = await rig.generations(order_id)
    assert after == generation
    assert await spent_and_available(rig) == (1, 9)
    assert await rig.violations() == []


async def test_f29_a_job_that_silences_three_workers_is_refunded(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    for _ in range(3):
        await rig.crash_during("upload")
        await rig.expire_leases()
    (generation,) = await rig.generations(order_id)
    assert (generation.state, generation.failure) == (GenerationState.FAILED, "internal")
    assert await spent_and_available(rig) == (0, 10)
    assert await rig.violations() == []

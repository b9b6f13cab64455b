"""The recovery points: whatever a generation has been through, its next step is the first that is still missing."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocards.domain.generations import (
    Attempt,
    AttemptState,
    Generation,
    GenerationState,
    Step,
    next_step,
    poll_seconds,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)

FRESH = Generation(
    id=UUID(int=1),
    order_id=UUID(int=2),
    customer_id=3,
    ordinal=1,
    price_credits=1,
    state=GenerationState.PROCESSING,
    prompt=None,
    prompt_source=None,
    frame_url=None,
    frame_provider=None,
    last_frame_url=None,
    video_key=None,
    cover_key=None,
    thumbnail_key=None,
    width=None,
    height=None,
    seconds=None,
    size_bytes=None,
    file_id=None,
    failure=None,
    delayed_at=None,
    deadline_at=NOW,
    created_at=NOW,
    finished_at=None,
)
PROMPTED = replace(FRESH, prompt="a slow push-in")
FRAMED = replace(PROMPTED, frame_url="https://files.example/frame.jpg")
FETCHED = replace(FRAMED, video_key="videos/1.mp4")


def attempt(state: AttemptState) -> Attempt:
    return Attempt(
        id=UUID(int=9),
        generation_id=FRESH.id,
        number=1,
        provider="kie",
        model="m",
        key="",
        reason="",
        cost_usd=None,
        lease_number=1,
        state=state,
        task_id="t",
        task_url=None,
        result_url="https://files.example/clip.mp4",
        failure=None,
        failure_kind=None,
        ask_at=None,
        hinted_task_id=None,
        created_at=NOW,
        accepted_at=NOW,
        ended_at=None,
    )


@pytest.mark.parametrize(
    ("generation", "state", "step"),
    [
        (FRESH, None, Step.WRITE_PROMPT),
        (PROMPTED, None, Step.UPLOAD_FRAME),
        (FRAMED, None, Step.SUBMIT),
        (FRAMED, AttemptState.INTENT, Step.DOUBT),
        (FRAMED, AttemptState.UNKNOWN, Step.DOUBT),
        (FRAMED, AttemptState.ACCEPTED, Step.WAIT),
        (FRAMED, AttemptState.SUCCEEDED, Step.FETCH),
        (FRAMED, AttemptState.REFUSED, Step.SUBMIT),
        (FRAMED, AttemptState.FAILED, Step.SUBMIT),
        (FRAMED, AttemptState.ABANDONED, Step.SUBMIT),
        (PROMPTED, AttemptState.FAILED, Step.UPLOAD_FRAME),
        (FETCHED, AttemptState.SUCCEEDED, Step.SETTLE),
        (replace(FETCHED, state=GenerationState.COMPLETED), AttemptState.SUCCEEDED, Step.NOTHING),
        (replace(FRAMED, state=GenerationState.FAILED), AttemptState.FAILED, Step.NOTHING),
        (replace(FRESH, state=GenerationState.CANCELLED), None, Step.NOTHING),
    ],
)
def test_p4_the_next_step_is_the_first_empty_recovery_point(
    generation: Generation, state: AttemptState | None, step: Step
) -> None:
    assert next_step(generation, attempt(state) if state else None) is step


@given(
    generation=st.sampled_from([FRESH, PROMPTED, FRAMED, FETCHED]),
    generation_state=st.sampled_from(GenerationState),
    state=st.none() | st.sampled_from(AttemptState),
)
def test_p7_never_submits_while_a_task_may_exist(
    generation: Generation, generation_state: GenerationState, state: AttemptState | None
) -> None:
    step = next_step(replace(generation, state=generation_state), attempt(state) if state else None)
    may_exist = state in (
        AttemptState.INTENT,
        AttemptState.UNKNOWN,
        AttemptState.ACCEPTED,
        AttemptState.SUCCEEDED,
    )
    assert not (step is Step.SUBMIT and (may_exist or generation_state.ended))


@given(waited=st.floats(0, 10_000))
def test_polling_starts_at_a_second_and_slows_to_ten(waited: float) -> None:
    assert 1.0 <= poll_seconds(waited, None) <= 10.0
    assert poll_seconds(waited, None) <= poll_seconds(waited + 1, None)


@given(waited=st.floats(0, 10_000), usual=st.floats(1, 3_000))
def test_f55_polling_alone_finds_a_result_soon_after_the_usual_time(waited: float, usual: float) -> None:
    pause = poll_seconds(waited, usual)
    assert 1.0 <= pause <= 60.0
    if waited + pause < usual * 0.8:
        assert pause == 60.0, "before the usual time nobody asks without need"
    if usual * 0.8 <= waited < usual * 1.3:
        assert pause <= max(1.0, usual / 50)

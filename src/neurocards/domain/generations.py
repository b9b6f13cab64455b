"""A generation: one video to be made, its recovery points, and the pure function that says what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from uuid import UUID


class GenerationState(StrEnum):
    """What people see of a generation."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (GenerationState.COMPLETED, GenerationState.FAILED, GenerationState.CANCELLED)


class AttemptState(StrEnum):
    """What is known of one try at a provider."""

    INTENT = "intent"
    """Written before the request left; nothing is known yet."""
    ACCEPTED = "accepted"
    """The provider gave a task id."""
    REFUSED = "refused"
    """The provider made no task, or the request never left us."""
    UNKNOWN = "unknown"
    """The request left and the answer was lost: there may be a paid task."""
    ABANDONED = "abandoned"
    """An unknown one that nothing was heard of for so long that another try is allowed."""
    SUCCEEDED = "succeeded"
    """The provider has a result."""
    FAILED = "failed"
    """The provider failed, or its result was unusable."""
    ORPHANED = "orphaned"
    """Accepted, but nobody needs it any more; on record for its cost."""

    @property
    def live(self) -> bool:
        """Whether a task of it may exist and may still be used; a generation has one such attempt at most."""
        return self in (
            AttemptState.INTENT,
            AttemptState.UNKNOWN,
            AttemptState.ACCEPTED,
            AttemptState.SUCCEEDED,
        )


class Step(StrEnum):
    """The next thing a generation needs."""

    WRITE_PROMPT = "write_prompt"
    UPLOAD_FRAME = "upload_frame"
    SUBMIT = "submit"
    DOUBT = "doubt"
    """An answer was lost: wait for evidence instead of paying twice."""
    WAIT = "wait"
    FETCH = "fetch"
    SETTLE = "settle"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Generation:
    """One row of the generations table."""

    id: UUID
    order_id: UUID
    customer_id: int
    ordinal: int
    price_credits: int
    state: GenerationState
    prompt: str | None
    prompt_source: str | None
    frame_url: str | None
    frame_provider: str | None
    """With whom the frames lie: another provider needs its own."""
    last_frame_url: str | None
    video_key: str | None
    cover_key: str | None
    thumbnail_key: str | None
    width: int | None
    height: int | None
    seconds: float | None
    size_bytes: int | None
    file_id: str | None
    failure: str | None
    delayed_at: datetime | None
    """Since when it waits for a provider that does not answer; None while nothing is in its way."""
    deadline_at: datetime
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Attempt:
    """One row of the attempts table. `key` is the label of the key it was made with, `cost_usd` the list price."""

    id: UUID
    generation_id: UUID
    number: int
    provider: str
    model: str
    key: str
    reason: str
    """Why this model."""
    cost_usd: float | None
    lease_number: int
    state: AttemptState
    task_id: str | None
    task_url: str | None
    result_url: str | None
    failure: str | None
    failure_kind: str | None
    ask_at: datetime | None
    """When the provider is to be asked next; a callback brings it forward."""
    hinted_task_id: str | None
    """What a callback claims to be our task: to be asked about, never to be believed."""
    created_at: datetime
    accepted_at: datetime | None
    ended_at: datetime | None


def latest_attempt(attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that counts, of all in their order: the live one, of which there is one at most; else the last."""
    live = [attempt for attempt in attempts if attempt.state.live]
    known = live or attempts
    return known[-1] if known else None


def next_step(generation: Generation, latest: Attempt | None) -> Step:
    """Say what a generation needs next: the first recovery point that is still empty."""
    if generation.state.ended:
        return Step.NOTHING
    if generation.video_key is not None:
        return Step.SETTLE
    match latest.state if latest else AttemptState.REFUSED:
        case AttemptState.INTENT | AttemptState.UNKNOWN:
            return Step.DOUBT
        case AttemptState.ACCEPTED:
            return Step.WAIT
        case AttemptState.SUCCEEDED:
            return Step.FETCH
        case AttemptState.REFUSED | AttemptState.FAILED | AttemptState.ABANDONED | AttemptState.ORPHANED:
            if generation.prompt is None:
                return Step.WRITE_PROMPT
            if generation.frame_url is None:
                return Step.UPLOAD_FRAME
            return Step.SUBMIT
        case unreachable:
            assert_never(unreachable)


def poll_seconds(waited_seconds: float, usual_seconds: float | None) -> float:
    """How long to wait before asking again, while a callback may come at any time.

    Where it was measured how long the model usually takes, the first question comes shortly before that, the next
    ones close together, and then ever more seldom: every tenth of the wait, at least every half minute. Without a
    measure: after a second, later a tenth of the wait, at most 10 seconds.
    """
    if usual_seconds is None:
        return min(10.0, max(1.0, waited_seconds / 10.0))
    nearly_seconds = usual_seconds * 0.8
    if waited_seconds < nearly_seconds:
        return min(60.0, max(1.0, nearly_seconds - waited_seconds))
    if waited_seconds < usual_seconds * 1.3:
        return max(1.0, usual_seconds / 50.0)
    return min(30.0, max(1.0, waited_seconds / 10.0))

"""What is decided about a generation, from what is known of it and from nothing else.

Production, maintenance and a simulation in the tests ask these functions; none knows a clock, a database or a service.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.domain.generations import Attempt, AttemptState
from neurocards.domain.tasks import NotFound, Pending, Succeeded, Task, TaskFailed

RESUBMISSIONS = 1
"""How often a submit whose answer was lost is made again: each one may be paid twice."""

NOT_FOUND_SECONDS = 60.0
"""How long a provider may not know a task that it has just accepted."""

SUSPECT_RESCUES = 2
"""After so many a job is tried alone: it, or another that the same worker held, has killed them."""

POISON_RESCUES = 3
"""A job that silenced its worker this often without progress is given up."""


@dataclass(frozen=True)
class KeepDoubting:
    """Evidence may still come: look again `seconds` from now."""

    seconds: float


@dataclass(frozen=True)
class Abandon:
    """Nothing was heard for so long that another try is allowed, at the risk of paying twice."""


@dataclass(frozen=True)
class GiveUp:
    """It has happened before: no third try, the customer gets their credits back."""

    failure: Failure


Doubt = KeepDoubting | Abandon | GiveUp


def resolve_doubt(
    attempts: Iterable[Attempt], doubted: Attempt, *, waited_seconds: float, doubt_seconds: float
) -> Doubt:
    """Decide about a submit whose answer was lost, by the line or with the worker that was waiting for it."""
    if waited_seconds < doubt_seconds:
        return KeepDoubting(doubt_seconds - waited_seconds)
    # One that was abandoned and turned up later, while another was already on its way, has become an orphan.
    silences = sum(earlier.state in (AttemptState.ABANDONED, AttemptState.ORPHANED) for earlier in attempts)
    if silences < RESUBMISSIONS:
        return Abandon()
    silence = doubted.failure or "no answer and no evidence"
    return GiveUp(Failure(FailureKind.PERMANENT, Reason.PROVIDER, f"lost again: {silence}"))


@dataclass(frozen=True)
class KeepWaiting:
    """The provider is at it."""


@dataclass(frozen=True)
class HasResult:
    """The provider has a result."""

    result_url: str


@dataclass(frozen=True)
class Failed:
    """The attempt has ended without a result."""

    failure: Failure


Progress = KeepWaiting | HasResult | Failed


def read_progress(task: Task, *, waited_seconds: float) -> Progress:
    """What the provider's answer means for an attempt that was accepted `waited_seconds` ago."""
    match task:
        case Pending():
            return KeepWaiting()
        case Succeeded(result_url):
            return HasResult(result_url)
        case TaskFailed(failure):
            return Failed(failure)
        case NotFound():
            if waited_seconds < NOT_FOUND_SECONDS:
                return KeepWaiting()
            return Failed(Failure(FailureKind.TEMPORARY, Reason.PROVIDER, "the provider lost the task"))
        case _:
            assert_never(task)


def after_acceptance(
    state: AttemptState, *, generation_open: bool, has_video: bool, another_is_live: bool
) -> AttemptState:
    """What becomes of an attempt when it turns out, however late, that the provider accepted it.

    A late fact is adopted while it can still be used: otherwise an order could wait for ever, or be paid for twice.
    """
    if state in (AttemptState.ACCEPTED, AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.ORPHANED):
        return state
    usable = generation_open and not has_video and not another_is_live
    return AttemptState.ACCEPTED if usable else AttemptState.ORPHANED


def free_to_cancel(attempts: Iterable[AttemptState]) -> bool:
    """Whether a generation has cost nothing yet; the database function cancel_order asks the same under its locks."""
    return all(state is AttemptState.REFUSED for state in attempts)


def is_poison(rescues: int) -> bool:
    """Whether a job has silenced so many workers in a row that it is the job's fault."""
    return rescues >= POISON_RESCUES

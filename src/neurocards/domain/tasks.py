"""What a video provider can answer: to a submit, and to the question how a task is getting on."""

from dataclasses import dataclass

from neurocards.domain.failures import Failure


@dataclass(frozen=True)
class Accepted:
    """The provider made a task and will charge for it. `task_url` is where it says the task can be asked about."""

    task_id: str
    task_url: str | None = None


@dataclass(frozen=True)
class Refused:
    """No task was made: trying again is safe where the failure allows it."""

    failure: Failure


@dataclass(frozen=True)
class Unanswered:
    """The request left and no answer came that can be trusted: there may be a paid task."""

    detail: str


Submission = Accepted | Refused | Unanswered


@dataclass(frozen=True)
class Pending:
    """The task is waiting or being made."""


@dataclass(frozen=True)
class Succeeded:
    """The result can be fetched; the link may expire soon. `cost_units`: what was charged, in the provider's money."""

    result_url: str
    cost_units: float | None = None


@dataclass(frozen=True)
class TaskFailed:
    """The task ended without a result."""

    failure: Failure


@dataclass(frozen=True)
class NotFound:
    """The provider does not know the task: not yet, or not any more."""


Task = Pending | Succeeded | TaskFailed | NotFound

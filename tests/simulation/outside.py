"""The provider: what it made of each request, and what it says about it. It is the truth that the laws compare with."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.domain.tasks import (
    Accepted,
    NotFound,
    Pending,
    Refused,
    Submission,
    Succeeded,
    Task,
    TaskFailed,
)
from simulation.faults import Faults

PASSING = (FailureKind.TEMPORARY, FailureKind.RATE_LIMITED, FailureKind.OUTAGE)


@dataclass(slots=True, eq=False)
class TaskRow:
    """A task: for which attempt, when it ends, and how: "sound", "spoilt", "endless", "vanished" or a failure."""

    id: str
    attempt_id: UUID
    ready_at: float
    outcome: str | Failure


class Provider:
    """One provider with all its tasks."""

    def __init__(self, random: Random, faults: Faults) -> None:
        self.tasks: dict[str, TaskRow] = {}
        self.requests: dict[UUID, int] = {}
        self._random = random
        self._faults = faults

    def receive(self, attempt_id: UUID, now: float, known: Sequence[str]) -> Submission:
        """A submit has arrived. `known` are the tasks that its answer may name by mistake: those we know of already.

        Of a task that nobody knows of, nobody can say that it belongs to somebody else.
        """
        self.requests[attempt_id] = self.requests.get(attempt_id, 0) + 1
        if self._happens(self._faults.refusal):
            kind = self._random.choice(tuple(FailureKind))
            return Refused(Failure(kind, Reason.CONTENT, "refused"))
        task = TaskRow(f"task-{len(self.tasks)}", attempt_id, now + self._rendering_seconds(), self._outcome())
        self.tasks[task.id] = task
        if known and self._happens(self._faults.shared_task):
            return Accepted(self._random.choice(known))
        return Accepted(task.id)

    def task(self, task_id: str, now: float) -> Task:
        """How the task is getting on. Raises Failure."""
        self.trouble()
        task = self.tasks[task_id]
        if task.outcome == "vanished":
            return NotFound()
        if now < task.ready_at or task.outcome == "endless":
            return Pending()
        if isinstance(task.outcome, Failure):
            return TaskFailed(task.outcome)
        return Succeeded(task_id)

    def made_for(self, task_id: str, attempt_id: UUID) -> bool:
        """Whether the task was made for this very submit. Raises Failure."""
        self.trouble()
        return task_id in self.tasks and self.tasks[task_id].attempt_id == attempt_id

    def is_sound(self, result_url: str) -> bool:
        """Download and check a result. Raises Failure."""
        self.trouble()
        return self.tasks[result_url].outcome == "sound"

    def trouble(self) -> None:
        """Any call to the outside may fail. Raises Failure."""
        if self._happens(self._faults.call_failure):
            raise Failure(self._random.choice(PASSING), Reason.PROVIDER, "no good answer")

    def _rendering_seconds(self) -> float:
        return self._random.choice((1.0, 3.0, 6.0, 30.0)) * (0.5 + self._random.random())

    def _outcome(self) -> str | Failure:
        faults = self._faults
        if self._happens(faults.task_failure):
            kind = self._random.choice((FailureKind.TEMPORARY, FailureKind.TEMPORARY, FailureKind.PERMANENT))
            return Failure(kind, Reason.PROVIDER, "task failed")
        for outcome, rate in (
            ("spoilt", faults.spoilt_result),
            ("endless", faults.endless_task),
            ("vanished", faults.vanished_task),
        ):
            if self._happens(rate):
                return outcome
        return "sound"

    def _happens(self, rate: float) -> bool:
        return rate > 0.0 and self._random.random() < rate

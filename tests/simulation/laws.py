"""What must hold after every event and at the end, whatever went wrong. The numbers are those of the invariants.

Laws read the rows and the provider's own truth; none asks the functions that decide.
"""

from dataclasses import dataclass
from uuid import UUID

from neurocards.domain.generations import AttemptState, GenerationState
from simulation.actors import DOUBT_SECONDS
from simulation.outside import Provider
from simulation.world import AttemptRow, GenerationRow, World

MAX_JOB_ATTEMPTS = 4
LIVE = (AttemptState.INTENT, AttemptState.UNKNOWN, AttemptState.ACCEPTED, AttemptState.SUCCEEDED)
OPEN = (GenerationState.QUEUED, GenerationState.PROCESSING)


class Violation(AssertionError):
    """A law does not hold; the message begins with its number."""


@dataclass(slots=True)
class Memory:
    """How a generation looked when it was checked last."""

    state: GenerationState
    job_state: str
    lease_number: int
    attempt: int
    attempts: dict[UUID, AttemptState]
    tasks: set[str]


class Laws:
    """Checks a world."""

    def __init__(self, world: World, provider: Provider) -> None:
        self._world = world
        self._provider = provider
        self._memory: dict[UUID, Memory] = {}

    def check(self) -> None:
        """What was touched since the last time. Raises Violation."""
        for row in self._world.touched:
            self._check_credits(row)
            self._check_job(row)
            self._check_story(row)
            self._check_attempts(row)
            if row.id in self._memory:
                self._check_change(row, self._memory[row.id])
            self._memory[row.id] = Memory(
                row.state,
                row.job.state,
                row.job.lease_number,
                row.job.attempt,
                {attempt.id: attempt.state for attempt in row.attempts},
                {attempt.task_id for attempt in row.attempts if attempt.task_id is not None},
            )
        self._world.touched.clear()

    def check_end(self) -> None:
        """When nothing more can happen. Raises Violation."""
        for row in self._world.generations:
            require(row.state not in OPEN, "E1 every order ends", row)
        for customer in self._world.customers:
            of_customer = [row for row in self._world.generations if row.customer is customer]
            paid = sum(row.price_credits for row in of_customer if row.state is GenerationState.COMPLETED)
            require(customer.spent == paid and customer.held == 0, "E2 exactly what was made is paid", customer)
        for attempt_id, requests in self._provider.requests.items():
            require(requests == 1, "E3 a submit is one request", attempt_id)
        for task in self._provider.tasks.values():
            row = self._world.by_attempt[task.attempt_id]
            attempt = self._world.attempt(task.attempt_id)
            require(row.state is not GenerationState.CANCELLED, "E4 what was cancelled costs nothing", row)
            explained = attempt.task_id == task.id or attempt.state in (AttemptState.ABANDONED, AttemptState.ORPHANED)
            require(explained, "E5 every task of the provider is explained", row)

    def _check_credits(self, row: GenerationRow) -> None:
        customer = row.customer
        require(min(customer.available, customer.held, customer.spent) >= 0, "I1 no account is overdrawn", customer)
        total = customer.issued + customer.available + customer.held + customer.spent
        require(total == 0, "I1 credits are conserved", customer)
        require(row.transfers.count("hold") == 1 and len(row.transfers) <= 2, "I7 a hold ends once", row)
        held = sum(
            other.price_credits
            for other in self._world.generations
            if other.customer is customer and len(other.transfers) == 1
        )
        require(customer.held == held, "I9 what is held is the sum of the open holds", customer)

    def _check_job(self, row: GenerationRow) -> None:
        job = row.job
        leased = job.owner is not None and job.expires_at is not None
        require(leased == (job.state == "running"), "I14 running means leased", row)
        require(job.attempt <= MAX_JOB_ATTEMPTS, "I15 three retries", row)

    def _check_story(self, row: GenerationRow) -> None:
        match row.state:
            case GenerationState.COMPLETED:
                told = (row.job.state, row.transfers, row.notices) == ("completed", ["hold", "settle"], ["video"])
            case GenerationState.FAILED | GenerationState.CANCELLED:
                told = (row.job.state, row.transfers, row.notices) == ("discarded", ["hold", "refund"], ["failure"])
            case _:
                told = row.job.state in ("available", "running") and row.transfers == ["hold"] and not row.notices
        require(told, "I10 state, job, credits and final notice tell one story", row)
        if row.state is GenerationState.COMPLETED:
            task = self._provider.tasks.get(row.video_key or "")
            own = task is not None and self._world.by_attempt[task.attempt_id] is row and task.outcome == "sound"
            require(own, "I12 completed means a sound video of this very generation", row)

    def _check_attempts(self, row: GenerationRow) -> None:
        live = sum(attempt.state in LIVE for attempt in row.attempts)
        require(live <= 1, "I16 one live attempt", row)
        require(live == 0 or row.state in OPEN or row.state is GenerationState.COMPLETED, "I16 none is left", row)
        for attempt in row.attempts:
            owners = sum(
                other.task_id == attempt.task_id for each in self._world.generations for other in each.attempts
            )
            require(attempt.task_id is None or owners == 1, "I17 a task belongs to one attempt", row)

    def _check_change(self, row: GenerationRow, before: Memory) -> None:
        job = row.job
        if before.state not in OPEN:
            require((row.state, job.state) == (before.state, before.job_state), "I13 what has ended stays ended", row)
        require(job.lease_number >= before.lease_number and job.attempt >= before.attempt, "I13 forward only", row)
        if job.state == "running" and before.job_state == "available":
            require(job.lease_number == before.lease_number + 1, "I13 a claim has the next lease number", row)
        for attempt in row.attempts:
            if attempt.id not in before.attempts:
                self._check_purchase(row, attempt)
            elif attempt.task_id is not None and attempt.task_id not in before.tasks:
                self._check_late_fact(row, attempt)

    def _check_purchase(self, row: GenerationRow, new: AttemptRow) -> None:
        answered = sum(attempt.state in (AttemptState.REFUSED, AttemptState.FAILED) for attempt in row.attempts)
        require(new.number <= 1 + answered + 1, "S1 one submit, one more for each answer, one more for a silence", row)
        for attempt in row.attempts:
            if attempt.state is AttemptState.ABANDONED:
                silence = new.created_at - attempt.created_at
                require(silence >= DOUBT_SECONDS, "S2 nothing is bought twice before the doubt is over", row)

    def _check_late_fact(self, row: GenerationRow, attempt: AttemptRow) -> None:
        others_live = any(other.state in LIVE for other in row.attempts if other is not attempt)
        usable = row.state in OPEN and row.video_key is None and not others_live
        require(attempt.state in LIVE or not usable, "S3 a late fact is adopted while it can be used", row)


def require(holds: bool, law: str, about: object) -> None:
    """Raise Violation unless the law holds."""
    if not holds:
        raise Violation(f"{law}: {about}")

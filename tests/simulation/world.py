"""PostgreSQL's part, in memory: the rows, and the transactions that workers, maintenance and sellers run on them.

A method runs at one instant, so whatever an actor does between two yields is one transaction. Constraints that the
program relies on are refusals here; what must never be true is not refused but left for the laws to find.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from neurocards.db.jobs import Job, LostLease
from neurocards.domain import decisions
from neurocards.domain.generations import Attempt, AttemptState, Generation, GenerationState

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When the clock of a simulation starts."""

BEFORE = {
    AttemptState.UNKNOWN: (AttemptState.INTENT, AttemptState.UNKNOWN),
    AttemptState.REFUSED: (AttemptState.INTENT, AttemptState.UNKNOWN),
    AttemptState.ABANDONED: (AttemptState.INTENT, AttemptState.UNKNOWN),
    AttemptState.FAILED: (AttemptState.ACCEPTED, AttemptState.SUCCEEDED),
}
"""From where the guarded update lets an attempt come to its end."""


class RefusedByIndex(Exception):
    """A unique index has the row already; the message is its name."""


@dataclass(slots=True, eq=False)
class CustomerRow:
    """A customer and their accounts, in credits."""

    id: int
    issued: int = 0
    available: int = 0
    held: int = 0
    spent: int = 0


@dataclass(slots=True, eq=False)
class JobRow:
    """A row of the queue; times in seconds."""

    id: int
    state: str = "available"
    run_at: float = 0.0
    attempt: int = 1
    rescues: int = 0
    lease_number: int = 0
    owner: str | None = None
    expires_at: float | None = None


@dataclass(slots=True, eq=False)
class AttemptRow:
    """A try at the provider; times in seconds."""

    id: UUID
    number: int
    created_at: float
    state: AttemptState = AttemptState.INTENT
    task_id: str | None = None
    hinted_task_id: str | None = None
    result_url: str | None = None
    accepted_at: float | None = None


@dataclass(slots=True, eq=False)
class GenerationRow:
    """A generation with its job, its attempts, the credits moved for it and the final notices written about it."""

    id: UUID
    order_id: int
    customer: CustomerRow
    price_credits: int
    job: JobRow
    deadline_at: float
    state: GenerationState = GenerationState.QUEUED
    prompt: str | None = None
    frame_url: str | None = None
    video_key: str | None = None
    attempts: list[AttemptRow] = field(default_factory=list)
    transfers: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    read: tuple[Generation, tuple[Attempt, ...]] | None = None
    """What a reader saw last, until something changes."""

    def __str__(self) -> str:
        job = f"job {self.job.state}, lease {self.job.lease_number}, attempt {self.job.attempt}"
        tries = ", ".join(
            f"{attempt.state} {attempt.task_id or attempt.hinted_task_id or ''}" for attempt in self.attempts
        )
        return f"generation {self.id.int} {self.state}, {'+'.join(self.transfers)}, {job}, attempts [{tries}]"


class World:
    """The database. `now` is its clock, in seconds; `touched` what changed since the laws were last checked."""

    def __init__(self, *, lease_seconds: float, deadline_seconds: float) -> None:
        self.now = 0.0
        self.lease_seconds = lease_seconds
        self.deadline_seconds = deadline_seconds
        self.customers: list[CustomerRow] = []
        self.generations: list[GenerationRow] = []
        self.by_attempt: dict[UUID, GenerationRow] = {}
        self.touched: list[GenerationRow] = []

    def add_customer(self, credits: int) -> CustomerRow:
        """A customer who was given so many credits."""
        customer = CustomerRow(id=len(self.customers), issued=-credits, available=credits)
        self.customers.append(customer)
        return customer

    # The queue ------------------------------------------------------------------------------------------------

    def claim(self, worker: str) -> Job | None:
        """Take the job that has been due longest."""
        due = [row for row in self.generations if row.job.state == "available" and row.job.run_at <= self.now]
        if not due:
            return None
        row = min(due, key=lambda row: (row.job.run_at, row.job.id))
        job = row.job
        job.state, job.owner = "running", worker
        job.lease_number += 1
        job.expires_at = self.now + self.lease_seconds
        self.touch(row)
        return Job(job.id, "generation", row.id, job.attempt, job.lease_number)

    def holds(self, job: Job) -> bool:
        """Whether the lease is still the newest, and the job still running."""
        row = self.generations[job.id].job
        return row.state == "running" and row.lease_number == job.lease_number

    def prove(self, job: Job) -> GenerationRow:
        """The generation that the lease is about; raises LostLease."""
        if not self.holds(job):
            raise LostLease(job)
        return self.generations[job.id]

    def extend(self, job: Job) -> None:
        """A fresh lease."""
        self.generations[job.id].job.expires_at = self.now + self.lease_seconds

    def put_back(self, job: Job, *, seconds: float, spends_attempt: bool = False) -> None:
        """Snooze or retry; raises LostLease."""
        row = self.prove(job)
        row.job.state, row.job.owner, row.job.expires_at = "available", None, None
        row.job.run_at = self.now + seconds
        row.job.attempt += spends_attempt
        row.job.rescues = 0
        self.touch(row)

    def rescue(self) -> list[tuple[int, int]]:
        """Return silent jobs to the queue; their ids and how often each was rescued."""
        rescued = []
        for row in self.generations:
            job = row.job
            if job.state == "running" and job.expires_at is not None and job.expires_at < self.now:
                job.state, job.owner, job.expires_at, job.run_at = "available", None, None, self.now
                job.rescues += 1
                rescued.append((job.id, job.rescues))
                self.touch(row)
        return rescued

    # Ordering ---------------------------------------------------------------------------------------------------

    def place_order(self, order_id: int, customer: CustomerRow, *, count: int, price_credits: int) -> bool:
        """Whether the order is placed, now or by an earlier try; else there are not enough credits."""
        if any(row.order_id == order_id for row in self.generations):
            return True
        if customer.available < count * price_credits:
            return False
        for _ in range(count):
            number = len(self.generations)
            row = GenerationRow(
                id=UUID(int=number),
                order_id=order_id,
                customer=customer,
                price_credits=price_credits,
                job=JobRow(id=number, run_at=self.now),
                deadline_at=self.now + self.deadline_seconds,
            )
            self.generations.append(row)
            customer.available -= price_credits
            customer.held += price_credits
            row.transfers.append("hold")
            self.touch(row)
        return True

    def cancel_order(self, order_id: int) -> None:
        """What has cost nothing yet is cancelled."""
        for row in self.generations:
            if (
                row.order_id == order_id
                and not row.state.ended
                and decisions.free_to_cancel(attempt.state for attempt in row.attempts)
            ):
                self.refund(row, None, state=GenerationState.CANCELLED)

    # A generation -----------------------------------------------------------------------------------------------

    def begin(self, row: GenerationRow) -> None:
        """A worker has taken it up: the deadline counts from here."""
        if row.state is GenerationState.QUEUED:
            row.state = GenerationState.PROCESSING
            row.deadline_at = self.now + self.deadline_seconds
            self.touch(row)

    def snapshot(self, row: GenerationRow) -> tuple[Generation, tuple[Attempt, ...]]:
        """The rows as the domain knows them."""
        if row.read is None:
            row.read = _generation(row), tuple(_attempt(row, attempt) for attempt in row.attempts)
        return row.read

    def settle(self, row: GenerationRow, job: Job) -> bool:
        """Held credits become spent; False when the lease is lost."""
        if not self.holds(job):
            return False
        self._end(row, GenerationState.COMPLETED, job_state="completed")
        self.end_hold(row, "settle")
        row.notices.append("video")
        return True

    def refund(self, row: GenerationRow, job: Job | None, *, state: GenerationState = GenerationState.FAILED) -> bool:
        """Held credits become available; False when the lease is lost or, without one, nothing is left to end."""
        if job is None and row.job.state not in ("available", "running"):
            return False
        if job is None:
            row.job.lease_number += 1
        elif not self.holds(job):
            return False
        self._end(row, state, job_state="discarded")
        self.end_hold(row, "refund")
        for attempt in row.attempts:
            if attempt.state.live:
                attempt.state = AttemptState.ABANDONED if attempt.task_id is None else AttemptState.ORPHANED
        row.notices.append("failure")
        return True

    def end_hold(self, row: GenerationRow, kind: str) -> None:
        """The hold's credits become spent by "settle", available by "refund"."""
        row.customer.held -= row.price_credits
        if kind == "settle":
            row.customer.spent += row.price_credits
        else:
            row.customer.available += row.price_credits
        row.transfers.append(kind)

    def overdue(self) -> list[GenerationRow]:
        """What has not ended before its deadline."""
        return [row for row in self.generations if not row.state.ended and row.deadline_at < self.now]

    def _end(self, row: GenerationRow, state: GenerationState, *, job_state: str) -> None:
        row.job.state, row.job.owner, row.job.expires_at = job_state, None, None
        row.state = state
        self.touch(row)

    # Attempts -----------------------------------------------------------------------------------------------------

    def intend(self, row: GenerationRow, attempt_id: UUID) -> None:
        """A submit is about to leave; safe to repeat."""
        if attempt_id in self.by_attempt:
            return
        if any(attempt.state.live for attempt in row.attempts):
            raise RefusedByIndex("attempts_one_live")
        row.attempts.append(AttemptRow(attempt_id, number=len(row.attempts) + 1, created_at=self.now))
        self.by_attempt[attempt_id] = row
        self.touch(row)

    def attempt(self, attempt_id: UUID) -> AttemptRow:
        """The row of an attempt."""
        return next(attempt for attempt in self.by_attempt[attempt_id].attempts if attempt.id == attempt_id)

    def record_task(self, attempt_id: UUID, task_id: str) -> AttemptState:
        """The fact that the provider accepted; needs no lease."""
        row, attempt = self.by_attempt[attempt_id], self.attempt(attempt_id)
        if any(
            other.task_id == task_id and other is not attempt
            for generation in self.generations
            for other in generation.attempts
        ):
            raise RefusedByIndex("attempts_one_owner_per_task")
        attempt.state = decisions.after_acceptance(
            attempt.state,
            generation_open=not row.state.ended,
            has_video=row.video_key is not None,
            another_is_live=any(other.state.live for other in row.attempts if other is not attempt),
        )
        attempt.task_id = task_id
        if attempt.accepted_at is None:
            attempt.accepted_at = self.now
        self.touch(row)
        return attempt.state

    def end_attempt(self, attempt_id: UUID, state: AttemptState) -> bool:
        """False when more is known of it by now."""
        attempt = self.attempt(attempt_id)
        if attempt.state not in BEFORE[state]:
            return False
        attempt.state = state
        self.touch(self.by_attempt[attempt_id])
        return True

    def record_result(self, attempt_id: UUID, result_url: str) -> None:
        """The provider has a result."""
        attempt = self.attempt(attempt_id)
        if attempt.state in (AttemptState.ACCEPTED, AttemptState.SUCCEEDED):
            attempt.state, attempt.result_url = AttemptState.SUCCEEDED, result_url
            self.touch(self.by_attempt[attempt_id])

    def hint(self, attempt_id: UUID, task_id: str) -> None:
        """A callback's word: noted where nothing is known, and a waiting job is due now."""
        row, attempt = self.by_attempt[attempt_id], self.attempt(attempt_id)
        if attempt.task_id is None and attempt.hinted_task_id is None:
            attempt.hinted_task_id = task_id
        if row.job.state == "available" and (
            attempt.state in (AttemptState.INTENT, AttemptState.UNKNOWN, AttemptState.ACCEPTED, AttemptState.ABANDONED)
        ):
            row.job.run_at = min(row.job.run_at, self.now)
        self.touch(row)

    def touch(self, row: GenerationRow) -> None:
        """Somebody changed it."""
        row.read = None
        if row not in self.touched:
            self.touched.append(row)


def moment(seconds: float) -> datetime:
    """A time of the simulation's clock as the domain knows it."""
    return EPOCH + timedelta(seconds=seconds)


def _generation(row: GenerationRow) -> Generation:
    return Generation(
        id=row.id,
        order_id=row.id,
        customer_id=row.customer.id,
        ordinal=1,
        price_credits=row.price_credits,
        state=row.state,
        prompt=row.prompt,
        prompt_source=None,
        frame_url=row.frame_url,
        frame_provider=None,
        last_frame_url=None,
        video_key=row.video_key,
        cover_key=None,
        thumbnail_key=None,
        width=None,
        height=None,
        seconds=None,
        size_bytes=None,
        file_id=None,
        failure=None,
        delayed_at=None,
        deadline_at=EPOCH,
        created_at=EPOCH,
        finished_at=None,
    )


def _attempt(row: GenerationRow, attempt: AttemptRow) -> Attempt:
    return Attempt(
        id=attempt.id,
        generation_id=row.id,
        number=attempt.number,
        provider="provider",
        model="model",
        key="",
        reason="",
        cost_usd=None,
        lease_number=0,
        state=attempt.state,
        task_id=attempt.task_id,
        task_url=None,
        result_url=attempt.result_url,
        failure=None,
        failure_kind=None,
        ask_at=None,
        hinted_task_id=attempt.hinted_task_id,
        created_at=moment(attempt.created_at),
        accepted_at=None if attempt.accepted_at is None else moment(attempt.accepted_at),
        ended_at=None,
    )

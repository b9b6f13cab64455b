"""Who acts: workers, maintenance, sellers, callbacks.

An actor is a generator that yields how many seconds pass before it goes on; there it may be paused, or crash. What
stands between two yields is one transaction, or one thing that happens outside. The worker takes the steps of
`neurocards.production`, and decides by the same functions.
"""

from collections.abc import Callable, Generator
from functools import partial
from math import inf
from random import Random
from typing import NoReturn, TypeVar, assert_never
from uuid import UUID

from neurocards.db.jobs import Job, LostLease
from neurocards.domain import decisions, failures, generations
from neurocards.domain.decisions import Abandon, Failed, GiveUp, HasResult, KeepDoubting, KeepWaiting
from neurocards.domain.failures import Failure, FailureKind, Reason, Refund, Retry
from neurocards.domain.generations import AttemptState, Step
from neurocards.domain.orders import Order
from neurocards.domain.tasks import Accepted, Refused, Submission, Unanswered
from neurocards.production import Work
from simulation.faults import Faults
from simulation.outside import Provider
from simulation.world import EPOCH, CustomerRow, GenerationRow, RefusedByIndex, World, moment

LEASE_SECONDS = 30.0
DOUBT_SECONDS = 40.0
DEADLINE_SECONDS = 150.0
FACT_PATIENCE_SECONDS = 300.0
AWAY_PAUSE_SECONDS = 5.0
IDLE_SECONDS = 20.0
SUBMIT_SECONDS = LEASE_SECONDS * 0.6

Result = TypeVar("Result")
Actor = Generator[float, None, None]
Doing = Generator[float, None, Result]

ORDER = Order(
    id=UUID(int=0),
    number=1,
    trace_id=UUID(int=0),
    customer_id=0,
    photo_key="photo",
    second_photo_key=None,
    template="template",
    template_version=1,
    description="",
    wishes="",
    count=1,
    price_credits=1,
    model="model",
    seconds=5,
    card_message_id=None,
    card_text=None,
    placed_at=EPOCH,
)
"""What no decision asks about."""


class DatabaseAway(Exception):
    """No answer, and no patience left."""


class PutBack(Exception):
    """Nothing more to do under this lease."""


class Stage:
    """What every actor stands on, and the luck they share."""

    def __init__(
        self, world: World, random: Random, faults: Faults, spawn: Callable[[str, Actor, float], None]
    ) -> None:
        self.world = world
        self.random = random
        self.faults = faults
        self.provider = Provider(random, faults)
        self.spawn = spawn
        self.orders_to_come = 0
        self._away_until = 0.0
        self._outages_left = 2
        self._attempts = 0

    def is_over(self) -> bool:
        """Whether every order has come and every generation has ended."""
        return self.orders_to_come == 0 and all(row.state.ended for row in self.world.generations)

    def happens(self, rate: float) -> bool:
        """Whether this time the fault happens."""
        return rate > 0.0 and self.random.random() < rate

    def moment(self) -> float:
        """How long something takes that is quick, in seconds."""
        return 0.01 + 0.1 * self.random.random()

    def attempt_id(self) -> UUID:
        """A new identity."""
        self._attempts += 1
        return UUID(int=self._attempts)

    def transact(self, work: Callable[[], Result], *, patience_seconds: float = 0.0) -> Doing[Result]:
        """Run `work` as one transaction, again until somebody says that it was committed. Raises DatabaseAway."""
        gives_up_at = self.world.now + patience_seconds
        while True:
            yield self.moment()
            if self._outages_left and self.happens(self.faults.database_away):
                self._outages_left -= 1
                self._away_until = self.world.now + LEASE_SECONDS * 1.5 * self.random.random()
            if self.world.now >= self._away_until:
                result = work()
                if not self.happens(self.faults.lost_commit):
                    return result
            pause = 2.0 * self.random.random()
            if self.world.now + pause > gives_up_at:
                raise DatabaseAway
            yield pause


class Worker:
    """A worker with one slot."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self._world = stage.world
        self._name = name

    def run(self) -> Actor:
        """Claim jobs and work on them until all is over."""
        while not self._stage.is_over():
            try:
                job = yield from self._stage.transact(lambda: self._world.claim(self._name))
                if job is None:
                    yield self._until_due()
                else:
                    yield from self._work(job)
            except LostLease:
                pass
            except DatabaseAway:
                yield AWAY_PAUSE_SECONDS * self._stage.random.random()

    def _until_due(self) -> float:
        due = [row.job.run_at for row in self._world.generations if row.job.state == "available"]
        return max(0.1, min(min(due, default=inf) - self._world.now, IDLE_SECONDS * self._stage.random.random()))

    def _work(self, job: Job) -> Actor:
        try:
            while True:
                work = yield from self._stage.transact(lambda: self._read(job))
                yield from self._step(work)
        except PutBack:
            return

    def _read(self, job: Job) -> Work:
        row = self._world.prove(job)
        self._world.begin(row)
        generation, attempts = self._world.snapshot(row)
        return Work(job, generation, ORDER, attempts, moment(self._world.now))

    def _step(self, work: Work) -> Actor:
        step = generations.next_step(work.generation, work.latest)
        if step is Step.NOTHING:
            raise LostLease(work.job)
        try:
            if not (yield from self._follow_hints(work)):
                yield from self._take(step, work)
        except Failure as failure:
            yield from self._judge(work, failure)
        except RefusedByIndex as refused:
            yield from self._judge(work, Failure(FailureKind.TEMPORARY, Reason.INTERNAL, str(refused)))

    def _take(self, step: Step, work: Work) -> Actor:
        match step:
            case Step.WRITE_PROMPT:
                yield from self._write_prompt(work)
            case Step.UPLOAD_FRAME:
                yield from self._upload_frame(work)
            case Step.SUBMIT:
                yield from self._submit(work)
            case Step.DOUBT:
                yield from self._doubt(work)
            case Step.WAIT:
                yield from self._wait(work)
            case Step.FETCH:
                yield from self._fetch(work)
            case Step.SETTLE:
                yield from self._settle(work)
            case Step.NOTHING:
                raise LostLease(work.job)
            case _:
                assert_never(step)

    # The steps, in their order --------------------------------------------------------------------------------

    def _write_prompt(self, work: Work) -> Actor:
        def record(row: GenerationRow) -> None:
            row.prompt = "prompt"
            self._world.touch(row)

        yield self._stage.moment()
        yield from self._decide(work.job, record)

    def _upload_frame(self, work: Work) -> Actor:
        yield self._stage.moment()
        self._stage.provider.trouble()
        yield from self._decide(work.job, lambda row: self._record_frame(row, "frame"))

    def _record_frame(self, row: GenerationRow, frame_url: str | None) -> None:
        row.frame_url = frame_url
        self._world.touch(row)

    def _submit(self, work: Work) -> Actor:
        attempt_id = self._stage.attempt_id()

        def intend(row: GenerationRow) -> None:
            self._world.intend(row, attempt_id)
            self._world.extend(work.job)

        yield from self._decide(work.job, intend)
        submission = yield from self._request(attempt_id)
        match submission:
            case Accepted(task_id):
                yield from self._record_task(attempt_id, task_id, patience_seconds=FACT_PATIENCE_SECONDS)
                yield from self._snooze(work.job, generations.poll_seconds(0.0, None))
            case Refused(failure):
                yield from self._judge(work, failure, ended=(attempt_id, AttemptState.REFUSED))
            case Unanswered():
                yield from self._stage.transact(
                    lambda: self._world.end_attempt(attempt_id, AttemptState.UNKNOWN),
                    patience_seconds=FACT_PATIENCE_SECONDS,
                )
            case _:
                assert_never(submission)

    def _request(self, attempt_id: UUID) -> Doing[Submission]:
        stage, faults = self._stage, self._stage.faults
        yield stage.moment()
        if stage.happens(faults.lost_request):
            yield SUBMIT_SECONDS
            return Unanswered("lost on its way")
        if stage.happens(faults.late_request):
            late_seconds = SUBMIT_SECONDS + 2 * DOUBT_SECONDS * stage.random.random()
            stage.spawn("late request", late_request(stage, attempt_id), late_seconds)
            yield SUBMIT_SECONDS
            return Unanswered("no answer")
        submission = receive(stage, attempt_id)
        if stage.happens(faults.lost_answer):
            yield SUBMIT_SECONDS * stage.random.random()
            return Unanswered("the answer was lost")
        return submission

    def _doubt(self, work: Work) -> Actor:
        attempt = work.attempt
        doubt = decisions.resolve_doubt(
            work.attempts,
            attempt,
            waited_seconds=(work.now - attempt.created_at).total_seconds(),
            doubt_seconds=DOUBT_SECONDS,
        )
        match doubt:
            case KeepDoubting(seconds):
                yield from self._decide(work.job, lambda _: self._keep_doubting(work, seconds))
                raise PutBack
            case GiveUp(failure):
                yield from self._judge(work, failure, ended=(attempt.id, AttemptState.ABANDONED))
            case Abandon():
                yield from self._decide(work.job, lambda _: self._world.end_attempt(attempt.id, AttemptState.ABANDONED))
            case _:
                assert_never(doubt)

    def _keep_doubting(self, work: Work, seconds: float) -> None:
        still_unknown = self._world.end_attempt(work.attempt.id, AttemptState.UNKNOWN)
        self._world.put_back(work.job, seconds=seconds if still_unknown else 0.0)

    def _follow_hints(self, work: Work) -> Doing[bool]:
        found = False
        for attempt in work.attempts:
            if attempt.task_id is not None or attempt.hinted_task_id is None:
                continue
            made_for = partial(self._stage.provider.made_for, attempt.hinted_task_id, attempt.id)
            if (yield from self._ask(work, made_for)):
                yield from self._record_task(attempt.id, attempt.hinted_task_id)
                found = True
        return found

    def _record_task(self, attempt_id: UUID, task_id: str, *, patience_seconds: float = 0.0) -> Actor:
        yield from self._stage.transact(
            lambda: self._world.record_task(attempt_id, task_id), patience_seconds=patience_seconds
        )

    def _wait(self, work: Work) -> Actor:
        attempt = work.attempt
        waited = (work.now - (attempt.accepted_at or attempt.created_at)).total_seconds()
        task = yield from self._ask(work, lambda: self._stage.provider.task(attempt.task_id or "", self._world.now))
        progress = decisions.read_progress(task, waited_seconds=waited)
        match progress:
            case KeepWaiting():
                yield from self._snooze(work.job, generations.poll_seconds(waited, None))
            case HasResult(result_url):
                yield from self._decide(work.job, lambda _: self._world.record_result(attempt.id, result_url))
            case Failed(failure):
                yield from self._judge(work, failure, ended=(attempt.id, AttemptState.FAILED))
            case _:
                assert_never(progress)

    def _ask(self, work: Work, question: Callable[[], Result]) -> Doing[Result]:
        yield self._stage.moment()
        try:
            return question()
        except Failure as failure:
            if failure.kind is not FailureKind.TEMPORARY:
                raise
        return (yield from self._snooze(work.job, 5.0))

    def _fetch(self, work: Work) -> Actor:
        attempt, result_url = work.attempt, work.attempt.result_url or ""
        yield 3.0 * self._stage.random.random()
        if not self._stage.provider.is_sound(result_url):
            spoilt = Failure(FailureKind.TEMPORARY, Reason.RESULT, "result")
            yield from self._judge(work, spoilt, ended=(attempt.id, AttemptState.FAILED))

        def record(row: GenerationRow) -> None:
            row.video_key = result_url
            self._world.touch(row)

        yield from self._decide(work.job, record)

    def _settle(self, work: Work) -> Actor:
        def settle(row: GenerationRow) -> None:
            if not self._world.settle(row, work.job):
                raise LostLease(work.job)

        yield from self._decide(work.job, settle)
        raise PutBack

    # Recording ------------------------------------------------------------------------------------------------

    def _decide(self, job: Job, decide: Callable[[GenerationRow], object]) -> Actor:
        yield from self._stage.transact(lambda: decide(self._world.prove(job)), patience_seconds=LEASE_SECONDS)

    def _snooze(self, job: Job, seconds: float) -> Doing[NoReturn]:
        yield from self._decide(job, lambda _: self._world.put_back(job, seconds=seconds))
        raise PutBack

    def _judge(
        self, work: Work, failure: Failure, *, ended: tuple[UUID, AttemptState] | None = None
    ) -> Doing[NoReturn]:
        decision = failures.verdict(failure, work.job.attempt)

        def decide(row: GenerationRow) -> None:
            if ended is not None:
                if failure.kind is FailureKind.TEMPORARY:
                    self._record_frame(row, None)
                if not self._world.end_attempt(*ended):
                    self._world.put_back(work.job, seconds=0.0)
                    return
            match decision:
                case Retry(after_seconds, spends_attempt):
                    self._world.put_back(work.job, seconds=after_seconds, spends_attempt=spends_attempt)
                case Refund():
                    if not self._world.refund(row, work.job):
                        raise LostLease(work.job)
                case _:
                    assert_never(decision)

        yield from self._decide(work.job, decide)
        raise PutBack


def maintenance(stage: Stage) -> Actor:
    """Rescue what silent workers held, refund what is poisonous or overdue."""
    world = stage.world
    while not stage.is_over():
        yield 3.0 + 10.0 * stage.random.random()
        try:
            rescued = yield from stage.transact(world.rescue)
            lost = [world.generations[id] for id, rescues in rescued if decisions.is_poison(rescues)]
            lost += yield from stage.transact(world.overdue)
            for row in lost:
                yield from stage.transact(partial(world.refund, row, None))
        except DatabaseAway:
            pass


def seller(stage: Stage, order_id: int, customer: CustomerRow, *, count: int, price_credits: int) -> Actor:
    """Orders, and perhaps takes it back."""
    world = stage.world
    yield from stage.transact(
        lambda: world.place_order(order_id, customer, count=count, price_credits=price_credits),
        patience_seconds=inf,
    )
    stage.orders_to_come -= 1
    if stage.happens(stage.faults.cancellation):
        yield stage.random.choice((0.5, 2.0, 60.0)) * stage.random.random()
        yield from stage.transact(lambda: world.cancel_order(order_id), patience_seconds=inf)


def receive(stage: Stage, attempt_id: UUID) -> Submission:
    """The submit has reached the provider, who will send word of its task, or not."""
    known = [attempt.task_id for row in stage.world.generations for attempt in row.attempts if attempt.task_id]
    submission = stage.provider.receive(attempt_id, stage.world.now, known)
    if isinstance(submission, Accepted) and not stage.happens(stage.faults.silence):
        late = stage.happens(stage.faults.late_callback)
        seconds = (2 * DOUBT_SECONDS if late else DOUBT_SECONDS / 4) * stage.random.random()
        if stage.happens(stage.faults.false_callback):
            other = stage.random.choice(tuple(stage.provider.tasks))
            stage.spawn("false callback", callback(stage, attempt_id, other), seconds / 2)
        made = next(task.id for task in stage.provider.tasks.values() if task.attempt_id == attempt_id)
        stage.spawn("callback", callback(stage, attempt_id, made), seconds)
    return submission


def late_request(stage: Stage, attempt_id: UUID) -> Actor:
    """A submit arrives when nobody listens any more."""
    receive(stage, attempt_id)
    return
    yield


def callback(stage: Stage, attempt_id: UUID, task_id: str) -> Actor:
    """The provider's word that an attempt has a task; it is not said twice."""
    try:
        yield from stage.transact(lambda: stage.world.hint(attempt_id, task_id), patience_seconds=5.0)
    except DatabaseAway:
        return

"""One claimed job: the generation's next step, recorded; settled or refunded at the end.

Calls to the outside happen between transactions. Each step leaves a recovery point, so whoever claims the job next goes
on from there. Decisions are written under the proved lease; that a provider accepted a task is written always.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar, assert_never
from uuid import UUID, uuid4

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars

from neurocards import meters, traces
from neurocards.db import generations, jobs, orders, outlook
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.generations import Frames, TaskTaken, Video
from neurocards.db.jobs import Job, LostLease
from neurocards.db.provider_keys import TakeTurn
from neurocards.domain.catalogue import Catalogue, JsonValue, Model, Template, spoken_to
from neurocards.domain.decisions import (
    Abandon,
    Failed,
    GiveUp,
    HasResult,
    KeepDoubting,
    KeepWaiting,
    read_progress,
    resolve_doubt,
)
from neurocards.domain.failures import Failure, FailureKind, Gone, Reason, Refund, Retry, Scope, verdict
from neurocards.domain.generations import (
    Attempt,
    AttemptState,
    Generation,
    Step,
    latest_attempt,
    next_step,
    poll_seconds,
)
from neurocards.domain.orders import Order
from neurocards.domain.outlook import rendering_cells, seconds_to_next_cell
from neurocards.domain.routing import Choice, Nobody, Wait
from neurocards.domain.scripts import Commission, WrittenPrompt, commissioned
from neurocards.domain.tasks import Accepted, NotFound, Refused, Submission, Succeeded, Task, Unanswered
from neurocards.media.children import compose_frame, finish_clip, preview
from neurocards.media.photos import BadPhoto, PhotoFault
from neurocards.media.videos import BadClip
from neurocards.routing import PACE_SLACK_SECONDS, Asked, Router
from neurocards.storage import Store

WRITER_SECONDS = 20.0
UPLOAD_SECONDS = 60.0
POLL_SECONDS = 20.0
DOWNLOAD_SECONDS = 300.0
"""How long each call to the outside may take, waiting for our own turn and our own database not counted.
A submit has a limit of its own: it must end while its lease is surely ours."""

LEAST_SIZE = (720, 1280)
"""Of a result, in pixels, whose model's profile is gone."""

LINK_SECONDS = 60.0
"""How old a result's link may be: an older one is asked for anew, since they expire."""

MAX_VIDEO_BYTES = 50_000_000
"""What a bot can upload to Telegram."""

HINT_PAUSE_SECONDS = 5.0

WORTH_TELLING_SECONDS = 8.0
"""A shorter pause is none that a customer has to hear of."""

FACT_PATIENCE_SECONDS = 300.0
"""How long we keep trying to write down that a task was accepted: somebody has paid for it."""

MEDIA_AT_ONCE = 2
"""Photos and clips worked on at once in one process: bounds memory and leaves the event loop its core."""

Product = TypeVar("Product")
Answer = TypeVar("Answer")

log = structlog.get_logger()


class PromptWriter(Protocol):
    """Whoever writes prompts. Raises Failure."""

    async def write(self, commission: Commission, *, photo: bytes) -> WrittenPrompt:
        """An English prompt for one clip of the product in the photo (JPEG). OUTAGE: it is away, and has said so."""
        ...


class VideoProvider(Protocol):
    """Whoever makes videos. Keys are known by their labels here: only the adapter knows what opens the door."""

    @property
    def name(self) -> str:
        """The provider's name as attempts and model profiles have it."""
        ...

    @property
    def keys(self) -> tuple[str, ...]:
        """The labels of the keys, at least one."""
        ...

    async def upload_frame(self, frame: bytes, name: str, *, key: str) -> str:
        """Give the provider a frame (JPEG); its address there. Raises Failure."""
        ...

    async def submit(
        self, model: str, values: dict[str, JsonValue], *, key: str, limit_seconds: float, callback_url: str | None
    ) -> Submission:
        """Ask for a video: exactly one request, never repeated by any layer below. Raises nothing."""
        ...

    async def task(self, task_id: str, *, key: str, task_url: str | None, model: str) -> Task:
        """How the task is getting on; `task_url` is what the submit's answer said. Raises Failure."""
        ...

    async def made_for(self, task_id: str, callback_url: str, *, key: str, model: str) -> bool:
        """Whether the provider made the task for the submit that named this address. Raises Failure."""
        ...

    async def download(self, url: str, target: Path) -> None:
        """Stream the result into a file. Raises Gone, Failure with Reason.RESULT when it is no video, and OSError."""
        ...


@dataclass(frozen=True)
class Work:
    """What a step needs to know, read at one moment of the shared clock."""

    job: Job
    generation: Generation
    order: Order
    attempts: tuple[Attempt, ...]
    now: datetime

    @property
    def latest(self) -> Attempt | None:
        """The attempt that counts."""
        return latest_attempt(self.attempts)

    @property
    def attempt(self) -> Attempt:
        """The attempt that a step after the submit is about."""
        if self.latest is None:
            raise LookupError(f"generation {self.generation.id} has no attempt")
        return self.latest


@dataclass(frozen=True)
class _Submit:
    """What is about to leave: to whom, and since when (monotonic seconds) it may."""

    choice: Choice
    key: str
    admitted_at: float

    @property
    def asked(self) -> Asked:
        return Asked(self.choice.model.provider, self.key, self.choice.model.id)


class _PutBack(Exception):
    """The job went back to the queue for later, or has ended: nothing more to do under this lease."""


class Production:
    """The handler of jobs of kind "generation"."""

    def __init__(
        self,
        database: Database,
        store: Store,
        catalogue: Catalogue,
        *,
        providers: Mapping[str, VideoProvider],
        router: Router,
        writer: PromptWriter | None,
        workspace: Path,
        lease_seconds: float,
        doubt_seconds: float,
        deadline_seconds: float,
        callback_url: Callable[[str, UUID], str | None] = lambda _provider, _attempt_id: None,
    ) -> None:
        """`providers` are by name. `callback_url` is where one may tell of an attempt; without it they are asked."""
        self._database = database
        self._store = store
        self._catalogue = catalogue
        self._providers = providers
        self._router = router
        self._writer = writer
        self._workspace = workspace
        self._lease_seconds = lease_seconds
        self._doubt_seconds = doubt_seconds
        self._deadline_seconds = deadline_seconds
        self._callback_url = callback_url
        self._media_slots = asyncio.Semaphore(MEDIA_AT_ONCE)
        self._steps: dict[Step, Callable[[Work], Awaitable[None]]] = {
            Step.WRITE_PROMPT: self._write_prompt,
            Step.UPLOAD_FRAME: self._upload_frame,
            Step.SUBMIT: self._submit,
            Step.DOUBT: self._doubt,
            Step.WAIT: self._wait,
            Step.FETCH: self._fetch,
            Step.SETTLE: self._settle,
        }

    async def __call__(self, job: Job, draining: Callable[[], bool]) -> None:
        """Take steps until the generation has to wait or has ended. Raises LostLease."""
        with bound_contextvars(generation_id=str(job.subject_id), lease_number=job.lease_number, attempt=job.attempt):
            try:
                while True:
                    work = await self._database.run(lambda tx: self._read(tx, job))
                    _name_in_logs(work)
                    await self._step(work)
                    if draining():
                        await self._decide(job, lambda tx: jobs.snooze(tx, job, seconds=0))
                        return
            except _PutBack:
                return

    async def _read(self, tx: Transaction, job: Job) -> Work:
        await jobs.prove(tx, job)
        is_new = await generations.begin(tx, job.subject_id, deadline_seconds=self._deadline_seconds)
        generation = await generations.get(tx, job.subject_id)
        order = await orders.find(tx, generation.order_id)
        if order is None:
            raise LookupError(f"generation {generation.id} has no order")
        now = await generations.clock(tx)
        if is_new:
            meters.stage_took("queue", (now - generation.created_at).total_seconds())
        return Work(
            job=job,
            generation=generation,
            order=order,
            attempts=tuple(await generations.attempts(tx, generation.id)),
            now=now,
        )

    async def _step(self, work: Work) -> None:
        """Take one step; whatever goes wrong becomes a verdict."""
        step = next_step(work.generation, work.latest)
        if step is Step.NOTHING:
            # The claim and an ending by maintenance crossed; the ending took the job with it.
            raise LostLease(work.job)
        began_at = time.monotonic()
        try:
            with traces.span(step.value, work.order, calm=_PutBack):
                await self._take(step, work)
        finally:
            meters.stage_took(step.value, time.monotonic() - began_at)

    async def _take(self, step: Step, work: Work) -> None:
        try:
            if not await self._follow_hints(work):
                await self._steps[step](work)
                log.info("step_done", step=step.value)
        except Failure as failure:
            await self._judge(work, failure)
        except (_PutBack, LostLease, *Away):
            raise
        except Exception as error:
            log.exception("step_crashed", step=step.value)
            await self._judge(work, Failure(FailureKind.TEMPORARY, Reason.INTERNAL, repr(error)))

    # The steps, in their order --------------------------------------------------------------------------------

    async def _write_prompt(self, work: Work) -> None:
        await self._decide(work.job, lambda tx: generations.tell_status(tx, work.generation.id, "prompt"))
        template = self._template(work.order)
        prompt, source = await self._prompt(template, work.order)
        await self._decide(
            work.job,
            lambda tx: generations.record_prompt(tx, work.generation.id, prompt=prompt, source=source),
        )

    async def _prompt(self, template: Template, order: Order) -> tuple[str, str]:
        """The writer's prompt, else the template's own: a seller never hears of a writer that fails."""
        if self._writer is not None:
            # Who will make it is decided later; what was ordered is the best guess, if it is known here.
            model = self._catalogue.models.get(order.model) or min(
                self._catalogue.models.values(), key=lambda one: one.prompt_characters
            )
            commission = commissioned(
                template,
                model,
                self._catalogue.lock,
                description=order.description,
                wishes=order.wishes,
                seconds=order.seconds,
            )
            try:
                async with self._media_slots:
                    photo = await asyncio.to_thread(preview, await self._photo(order.photo_key))
                async with _limit(WRITER_SECONDS, "writer"):
                    with meters.asking("writer", "write"):
                        written = await self._writer.write(commission, photo=photo)
                return written.prompt, "writer"
            except (Failure, BadPhoto) as failure:
                if not (isinstance(failure, Failure) and failure.kind is FailureKind.OUTAGE):
                    log.warning("prompt_writer_failed", failure=str(failure))
        return template.prompt(description=order.description, wishes=order.wishes), "template"

    async def _upload_frame(self, work: Work) -> None:
        choice, key = await self._choose(work)
        provider = self._providers[choice.model.provider]
        frame = await self._frame(work.order.photo_key)
        # A draft may still carry one from a template that was chosen before.
        second = work.order.second_photo_key if self._template(work.order).wants.last_frame else None
        last_frame = await self._frame(second) if second is not None else None
        asked = Asked(provider.name, key, choice.model.id)
        try:
            async with _limit(UPLOAD_SECONDS, "upload", scope=Scope.PROVIDER):
                with meters.asking(provider.name, "upload"):
                    frames = Frames(
                        provider.name,
                        await provider.upload_frame(frame, f"{uuid4().hex}.jpg", key=key),
                        await provider.upload_frame(last_frame, f"{uuid4().hex}.jpg", key=key) if last_frame else None,
                    )
        except Failure as failure:
            await self._judge(work, failure, asked=asked)
        await self._decide(work.job, lambda tx: generations.record_frames(tx, work.generation.id, frames))

    async def _frame(self, photo_key: str) -> bytes:
        async with self._media_slots:
            photo = await self._photo(photo_key)
            try:
                return await asyncio.to_thread(compose_frame, photo)
            except BadPhoto as bad:
                # It was fine when it came: whatever takes too long now may have met a busy machine.
                kind = FailureKind.TEMPORARY if bad.code is PhotoFault.TOO_HEAVY else FailureKind.PERMANENT
                raise Failure(kind, Reason.PHOTO, f"photo: {bad.code}") from bad

    async def _choose(self, work: Work) -> tuple[Choice, str]:
        """Who will be asked, and a key to prepare it with; puts the job back while everybody is left alone."""

        async def choose(tx: Transaction) -> tuple[Choice, str] | None:
            found = await self._router.route(tx, work.order, self._template(work.order), work.attempts)
            if isinstance(found, Choice):
                return found, await self._router.healthy_key(tx, found.model.provider)
            await self._stand_by(tx, work, found)
            return None

        chosen = await self._decide(work.job, choose)
        if chosen is None:
            raise _PutBack
        return chosen

    async def _stand_by(self, tx: Transaction, work: Work, found: Wait | Nobody) -> None:
        """Nobody can be asked: not now, or not at all."""
        match found:
            case Wait(until, reason):
                log.info("standing_by", until=str(until), reason=reason)
                seconds = max(1.0, (until - await generations.clock(tx)).total_seconds())
                if seconds > WORTH_TELLING_SECONDS:
                    await generations.delay(tx, work.generation.id)
                await jobs.retry(tx, work.job, seconds=seconds, spends_attempt=False, failure=reason)
            case Nobody():
                await self._refund(tx, work, _last_reason(work.attempts))
            case _:
                assert_never(found)

    async def _submit(self, work: Work) -> None:
        attempt_id = uuid4()
        began_at = asyncio.get_running_loop().time()
        submit = await self._decide(work.job, lambda tx: self._intend(tx, work, attempt_id, began_at))
        if submit is None:
            raise _PutBack
        template, model = self._template(work.order), submit.choice.model
        if work.generation.frame_url is None or work.generation.frame_provider != model.provider:
            return  # the frames lie with another provider: they are uploaded anew
        spoken = spoken_to(model, template, self._catalogue.lock, work.generation.prompt or "")
        values = model.input(
            prompt=spoken.prompt,
            negative=spoken.negative,
            frame_url=work.generation.frame_url,
            last_frame_url=work.generation.last_frame_url,
            seconds=work.order.seconds,
        )
        bind_contextvars(attempt_id=str(attempt_id))
        submission = await self._post(submit, values, self._callback_url(model.provider, attempt_id))
        meters.provider_request(model.provider, "submit", type(submission).__name__.lower())
        asked = submit.asked
        match submission:
            case Accepted(task_id, task_url):
                try:
                    await self._database.run(
                        lambda tx: self._record_task(tx, attempt_id, task_id, task_url, asked),
                        patience_seconds=FACT_PATIENCE_SECONDS,
                    )
                except TaskTaken:
                    log.exception("task_of_another_attempt", attempt_id=str(attempt_id), task_id=task_id)
                    await self._record_silence(attempt_id, "the provider named a task of another attempt", asked)
                    return
                await self._keep_waiting(work, attempt_id, model, waited_seconds=0)
            case Refused(failure):
                await self._judge(work, failure, ended=(attempt_id, AttemptState.REFUSED), asked=asked)
            case Unanswered(detail):
                log.warning("submit_unanswered", attempt_id=str(attempt_id), detail=detail)
                await self._record_silence(attempt_id, detail, asked)
            case _:
                assert_never(submission)

    async def _intend(self, tx: Transaction, work: Work, attempt_id: UUID, began_at: float) -> _Submit | None:
        """Choose, take a place in the key's pace, and write the intent; None when the job was put back instead."""
        known = await generations.find_attempt(tx, attempt_id)
        if known is not None:
            # The answer to this very COMMIT was lost: what it says stands, and its place is as old as it is.
            await jobs.extend(tx, [work.job], lease_seconds=self._lease_seconds)
            return _Submit(Choice(self._model(known.model), known.reason), known.key, began_at)
        found = await self._router.route(tx, work.order, self._template(work.order), work.attempts)
        if not isinstance(found, Choice):
            await self._stand_by(tx, work, found)
            return None
        model = found.model
        if work.generation.frame_provider != model.provider:
            await generations.record_frames(tx, work.generation.id, None)
            return _Submit(found, "", 0.0)
        admitted = await self._router.admit(tx, found)
        if isinstance(admitted, TakeTurn):
            await jobs.snooze(tx, work.job, seconds=admitted.seconds)
            return None
        # From here the lease is fresh, and the request ends well before it does.
        await jobs.extend(tx, [work.job], lease_seconds=self._lease_seconds)
        await generations.intend(
            tx,
            work.generation.id,
            attempt_id=attempt_id,
            provider=model.provider,
            model=model.id,
            key=admitted.label,
            reason=found.reason,
            cost_usd=model.cost.usd(work.order.seconds),
            lease_number=work.job.lease_number,
        )
        return _Submit(found, admitted.label, asyncio.get_running_loop().time())

    async def _post(self, submit: _Submit, values: dict[str, JsonValue], callback_url: str | None) -> Submission:
        """The one request. Who was held up since the pace was kept for it leaves it to the next round."""
        if asyncio.get_running_loop().time() - submit.admitted_at > PACE_SLACK_SECONDS:
            return Refused(Failure(FailureKind.RATE_LIMITED, Reason.INTERNAL, "held up before the submit"))
        return await self._providers[submit.choice.model.provider].submit(
            submit.choice.model.id,
            values,
            key=submit.key,
            limit_seconds=self._lease_seconds * 0.6,
            callback_url=callback_url,
        )

    async def _record_task(
        self, tx: Transaction, attempt_id: UUID, task_id: str, task_url: str | None, asked: Asked
    ) -> None:
        await generations.record_task(tx, attempt_id, task_id, task_url=task_url)
        await self._router.note_success(tx, asked)

    async def _record_silence(self, attempt_id: UUID, detail: str, asked: Asked) -> None:
        """The request left and nothing that can be trusted came back."""
        silence = Failure(FailureKind.TEMPORARY, Reason.PROVIDER, detail, scope=Scope.PROVIDER)

        async def record(tx: Transaction) -> None:
            before = await generations.find_attempt(tx, attempt_id)
            await generations.end_attempt(tx, attempt_id, AttemptState.UNKNOWN, detail)
            if before is not None and before.state is AttemptState.INTENT:  # and not repeated after a lost COMMIT
                await self._router.note_failure(tx, asked, silence)

        await self._database.run(record, patience_seconds=FACT_PATIENCE_SECONDS)

    async def _keep_waiting(self, work: Work, attempt_id: UUID, model: Model, *, waited_seconds: float) -> NoReturn:
        """The provider is at it: the job goes back to the queue until it is time to ask."""

        async def snooze(tx: Transaction) -> None:
            usual_seconds = await outlook.rendering_seconds(tx, model.id)
            pause = poll_seconds(waited_seconds, usual_seconds)
            if not await generations.ask_again(tx, attempt_id, seconds=pause, asked_at=work.now):
                pause = 0.0  # a callback came while we asked
            await self._look_in(tx, work, attempt_id, model, waited_seconds=waited_seconds, ask_seconds=pause)

        await self._decide(work.job, snooze)
        raise _PutBack

    async def _look_in(
        self, tx: Transaction, work: Work, attempt_id: UUID, model: Model, *, waited_seconds: float, ask_seconds: float
    ) -> None:
        """Come back when it is time to ask, and between two questions when the customer's bar has to move."""
        usual_seconds = await outlook.rendering_seconds(tx, model.id) or model.usual_seconds
        await generations.tell_progress(tx, attempt_id, rendering_cells(waited_seconds, usual_seconds))
        next_cell = seconds_to_next_cell(waited_seconds, usual_seconds)
        await jobs.snooze(tx, work.job, seconds=min(ask_seconds, next_cell))

    async def _doubt(self, work: Work) -> None:
        """A submit's answer was lost: by the line, or with the worker that was waiting for it."""
        attempt = work.attempt
        doubt = resolve_doubt(
            work.attempts,
            attempt,
            waited_seconds=(work.now - attempt.created_at).total_seconds(),
            doubt_seconds=self._doubt_seconds,
        )
        match doubt:
            case KeepDoubting(seconds):
                await self._decide(work.job, lambda tx: self._keep_doubting(tx, work, seconds))
                raise _PutBack
            case GiveUp(failure):
                log.warning("attempt_abandoned", attempt_id=str(attempt.id))
                meters.doubt_resolved(attempt.provider, "given_up")
                await self._judge(work, failure, ended=(attempt.id, AttemptState.ABANDONED))
            case Abandon():
                log.warning("attempt_abandoned", attempt_id=str(attempt.id))
                meters.doubt_resolved(attempt.provider, "abandoned")
                await self._decide(work.job, lambda tx: self._abandon(tx, attempt))
            case _:
                assert_never(doubt)

    async def _follow_hints(self, work: Work) -> bool:
        """Whether a callback led to a task whose number had never reached us.

        A hint proves nothing: by the provider's own word the task must have been made for that very attempt.
        """
        found = False
        for attempt in work.attempts:
            address, task_id = self._callback_url(attempt.provider, attempt.id), attempt.hinted_task_id
            if attempt.task_id is not None or task_id is None or address is None:
                continue
            try:
                async with _limit(POLL_SECONDS, "poll"):
                    ours = await self._is_ours(attempt, task_id, address)
            except Failure as failure:
                log.warning("hint_not_followed", attempt_id=str(attempt.id), failure=str(failure))
                if attempt.state in (AttemptState.INTENT, AttemptState.UNKNOWN):
                    # This may be what the doubt waits for: nothing is paid again before we know.
                    await self._decide(work.job, lambda tx: jobs.snooze(tx, work.job, seconds=HINT_PAUSE_SECONDS))
                    raise _PutBack from failure
                continue
            if ours and await self._take_hint(attempt.id, task_id):
                meters.doubt_resolved(attempt.provider, "found")
                found = True
            else:
                log.warning("hint_refused", attempt_id=str(attempt.id))
                await self._database.run(partial(generations.forget_hint, attempt_id=attempt.id, task_id=task_id))
        return found

    async def _is_ours(self, attempt: Attempt, task_id: str, address: str) -> bool:
        """Whether the provider made the task for this attempt. Raises Failure, also where another key may know it."""
        provider = self._provider(attempt)
        with meters.asking(attempt.provider, "match"):
            ours = await provider.made_for(task_id, address, key=attempt.key, model=attempt.model)
        if not ours and _is_foreign(attempt, provider):
            raise _foreign(attempt)
        return ours

    async def _take_hint(self, attempt_id: UUID, task_id: str) -> bool:
        try:
            state = await self._database.run(partial(generations.record_task, attempt_id=attempt_id, task_id=task_id))
        except TaskTaken:
            return False
        log.info("lost_answer_found", attempt_id=str(attempt_id), state=state.value)
        return True

    async def _abandon(self, tx: Transaction, attempt: Attempt) -> None:
        silence = attempt.failure or "no answer and no evidence"
        await generations.end_attempt(tx, attempt.id, AttemptState.ABANDONED, silence)

    async def _keep_doubting(self, tx: Transaction, work: Work, seconds: float) -> None:
        silence = work.attempt.failure or "the worker ended while submitting"
        still_unknown = await generations.end_attempt(tx, work.attempt.id, AttemptState.UNKNOWN, silence)
        # Otherwise the lost answer has just come in, and there is nothing to wait for.
        await jobs.snooze(tx, work.job, seconds=seconds if still_unknown else 0)

    async def _wait(self, work: Work) -> None:
        attempt = work.attempt
        waited = (work.now - (attempt.accepted_at or attempt.created_at)).total_seconds()
        if attempt.ask_at is not None and attempt.ask_at > work.now:
            await self._decide(work.job, lambda tx: self._only_look_in(tx, work, waited))
            raise _PutBack
        provider = self._provider(attempt)
        task = await self._ask(
            work,
            provider.task(attempt.task_id or "", key=attempt.key, task_url=attempt.task_url, model=attempt.model),
        )
        if isinstance(task, NotFound) and _is_foreign(attempt, provider):
            raise _foreign(attempt)
        progress = read_progress(task, waited_seconds=waited)
        match progress:
            case KeepWaiting():
                await self._keep_waiting(work, attempt.id, self._model(attempt.model), waited_seconds=waited)
            case HasResult(result_url):
                cost_units = task.cost_units if isinstance(task, Succeeded) else None
                await self._decide(work.job, lambda tx: self._record_result(tx, work, result_url, cost_units))
                meters.stage_took("rendering", waited)
            case Failed(outcome):
                # Only of the model does a task's end say anything beyond its order.
                asked = Asked(attempt.provider, attempt.key, attempt.model) if outcome.scope is Scope.MODEL else None
                await self._judge(work, _of_a_task(outcome), ended=(attempt.id, AttemptState.FAILED), asked=asked)
            case _:
                assert_never(progress)

    async def _only_look_in(self, tx: Transaction, work: Work, waited_seconds: float) -> None:
        attempt = work.attempt
        until = (attempt.ask_at or work.now) - work.now
        await self._look_in(
            tx,
            work,
            attempt.id,
            self._model(attempt.model),
            waited_seconds=waited_seconds,
            ask_seconds=until.total_seconds(),
        )

    async def _ask(self, work: Work, answer: Awaitable[Answer]) -> Answer:
        """Ask the provider about a task; passing trouble puts the question off."""
        try:
            async with _limit(POLL_SECONDS, "poll"):
                with meters.asking(work.attempt.provider, "task"):
                    return await answer
        except Failure as failure:
            if failure.kind not in (FailureKind.TEMPORARY, FailureKind.OUTAGE):
                raise
            # The task is paid for and goes on without our questions; only the deadline ends this.
            pause = max(5.0, failure.retry_after_seconds or 0.0)
            log.warning("poll_failed", failure=str(failure))
            await self._decide(work.job, lambda tx: self._put_question_off(tx, work, pause))
            raise _PutBack from failure

    async def _put_question_off(self, tx: Transaction, work: Work, pause: float) -> None:
        await generations.ask_again(tx, work.attempt.id, seconds=pause, asked_at=work.now)
        await jobs.snooze(tx, work.job, seconds=pause)

    async def _record_result(self, tx: Transaction, work: Work, result_url: str, cost_units: float | None) -> None:
        await generations.record_result(tx, work.attempt.id, result_url, cost_units=cost_units)
        await generations.tell_status(tx, work.generation.id, "checking")

    async def _fetch(self, work: Work) -> None:
        attempt = work.attempt
        model = self._catalogue.models.get(attempt.model)
        least = (model.min_width, model.min_height) if model else LEAST_SIZE
        name = f"{work.generation.id}-{work.job.lease_number}"
        download = self._workspace / f"{name}.part"
        finished = self._workspace / f"{name}.mp4"
        try:
            async with _limit(DOWNLOAD_SECONDS, "download"):
                result_url = await self._result_url(work)
                with meters.asking(attempt.provider, "download"):
                    await self._provider(attempt).download(result_url, download)
            async with self._media_slots:
                ready = await asyncio.to_thread(
                    finish_clip,
                    download,
                    finished,
                    seconds=work.order.seconds,
                    min_width=least[0],
                    min_height=least[1],
                    most_bytes=MAX_VIDEO_BYTES,
                )
            # The lease is part of the key: a worker that lost it must not write over what was settled.
            key = f"videos/{work.generation.id}/{attempt.number}-{work.job.lease_number}"
            await self._store.put(f"{key}.mp4", finished)
            await self._store.put(f"{key}-cover.jpg", ready.cover)
            await self._store.put(f"{key}-thumbnail.jpg", ready.thumbnail)
        except BadClip as bad:
            unusable = Failure(FailureKind.TEMPORARY, Reason.RESULT, f"result: {bad.code}")
            await self._judge(work, unusable, ended=(attempt.id, AttemptState.FAILED))
        except Failure as failure:
            if failure.reason is Reason.RESULT and not isinstance(failure, Gone):
                await self._judge(work, failure, ended=(attempt.id, AttemptState.FAILED))
            raise
        except OSError as error:
            raise Failure(FailureKind.OUTAGE, Reason.INTERNAL, f"workspace: {error}") from error
        finally:
            download.unlink(missing_ok=True)
            finished.unlink(missing_ok=True)

        video = Video(
            video_key=f"{key}.mp4",
            cover_key=f"{key}-cover.jpg",
            thumbnail_key=f"{key}-thumbnail.jpg",
            width=ready.facts.width,
            height=ready.facts.height,
            seconds=ready.facts.seconds,
            size_bytes=ready.facts.size_bytes,
        )
        await self._decide(work.job, lambda tx: generations.record_video(tx, work.generation.id, video))

    async def _result_url(self, work: Work) -> str:
        """The link as recorded; after a failure a fresh one, since result links expire."""
        attempt = work.attempt
        age = (work.now - (attempt.ended_at or work.now)).total_seconds()
        if work.job.attempt > 1 or age > LINK_SECONDS:
            task = await self._provider(attempt).task(
                attempt.task_id or "", key=attempt.key, task_url=attempt.task_url, model=attempt.model
            )
            if isinstance(task, Succeeded):
                return task.result_url
        return attempt.result_url or ""

    async def _settle(self, work: Work) -> None:
        async def settle(tx: Transaction) -> None:
            if not await generations.settle(tx, work.generation.id, work.job.lease_number):
                raise LostLease(work.job)

        await self._decide(work.job, settle)
        meters.stage_took("whole", (work.now - work.generation.created_at).total_seconds())
        log.info("settled", order_id=str(work.order.id))
        raise _PutBack

    # Recording ------------------------------------------------------------------------------------------------

    async def _decide(self, job: Job, work: Callable[[Transaction], Awaitable[Answer]]) -> Answer:
        """Write a decision in one transaction that first proves the lease; raises LostLease."""

        async def proved(tx: Transaction) -> Answer:
            await jobs.prove(tx, job)
            return await work(tx)

        # Longer than the lease is pointless: by then somebody else decides.
        return await self._database.run(proved, patience_seconds=self._lease_seconds)

    async def _judge(
        self,
        work: Work,
        failure: Failure,
        *,
        ended: tuple[UUID, AttemptState] | None = None,
        asked: Asked | None = None,
    ) -> NoReturn:
        """Decide what a failure means. An attempt that ended by it ends in the same transaction.

        `asked` is whom the failed call went to: others may have to be told to leave them alone.
        """
        log.warning("step_failed", failure=str(failure))
        traces.failed(failure)
        if failure.kind is FailureKind.UNSUITED and ended is None:
            # Nobody was asked for a video yet, so there is no model that could have refused it.
            failure = Failure(FailureKind.TEMPORARY, failure.reason, failure.message)

        async def decide(tx: Transaction) -> None:
            left_alone = asked is not None and await self._router.note_failure(tx, asked, failure)
            if ended is not None and not await self._end_attempt(tx, work, *ended, failure):
                # The lost answer has just come in: the failure is not what we took it for.
                await jobs.snooze(tx, work.job, seconds=0)
                return
            decision = verdict(
                failure,
                work.job.attempt,
                another_model=await self._has_another(tx, work, failure),
                left_alone=left_alone,
            )
            match decision:
                case Retry(after_seconds, spends_attempt):
                    await jobs.retry(
                        tx, work.job, seconds=after_seconds, spends_attempt=spends_attempt, failure=str(failure)
                    )
                case Refund(reason):
                    await self._refund(tx, work, reason)
                case _:
                    assert_never(decision)

        await self._decide(work.job, decide)
        raise _PutBack

    async def _has_another(self, tx: Transaction, work: Work, failure: Failure) -> bool:
        """Whether somebody is left who has not refused this video; asked only where it matters."""
        if failure.kind is not FailureKind.UNSUITED:
            return False
        attempts = await generations.attempts(tx, work.generation.id)
        found = await self._router.route(tx, work.order, self._template(work.order), attempts)
        return not isinstance(found, Nobody)

    async def _refund(self, tx: Transaction, work: Work, reason: Reason) -> None:
        if not await generations.refund(tx, work.generation.id, lease_number=work.job.lease_number, reason=reason):
            raise LostLease(work.job)

    async def _end_attempt(
        self, tx: Transaction, work: Work, attempt_id: UUID, state: AttemptState, failure: Failure
    ) -> bool:
        if failure.kind is FailureKind.TEMPORARY:
            # The next attempt brings its own frame: uploads expire, and some failures are about the upload.
            await generations.record_frames(tx, work.generation.id, None)
        return await generations.end_attempt(tx, attempt_id, state, str(failure), kind=failure.kind)

    # What a step needs ------------------------------------------------------------------------------------------

    async def _photo(self, photo_key: str) -> bytes:
        try:
            return await self._store.get(photo_key)
        except FileNotFoundError as error:
            raise Failure(FailureKind.PERMANENT, Reason.INTERNAL, "the photo is not in the store") from error

    def _provider(self, attempt: Attempt) -> VideoProvider:
        return _served(self._providers, attempt.provider)

    def _model(self, model: str) -> Model:
        return _served(self._catalogue.models, model)

    def _template(self, order: Order) -> Template:
        return _served(self._catalogue.templates, order.template)


def _name_in_logs(work: Work) -> None:
    """From here on every line of this task says whose work it is: the job's own name was known before."""
    bind_contextvars(**work.order.names)
    if work.latest is not None:
        bind_contextvars(attempt_id=str(work.latest.id))


def _served(shelf: Mapping[str, Product], name: str) -> Product:
    """What an order names. A worker of an older release, or with fewer keys, may not have it: then another one will."""
    try:
        return shelf[name]
    except KeyError:
        raise Failure(FailureKind.OUTAGE, Reason.INTERNAL, f"{name!r} is not known to this worker") from None


def _is_foreign(attempt: Attempt, provider: VideoProvider) -> bool:
    """Whether it was submitted with a key that this worker lacks: another account's tasks are not known to ours."""
    return attempt.key not in ("", *provider.keys)


def _foreign(attempt: Attempt) -> Failure:
    return Failure(FailureKind.OUTAGE, Reason.INTERNAL, f"{attempt.key!r} is not known to this worker")


def _of_a_task(failure: Failure) -> Failure:
    """Why a task ended: it ended whatever the reason, and the next one is another try, never a free one."""
    if failure.kind in (FailureKind.OUTAGE, FailureKind.RATE_LIMITED):
        return Failure(FailureKind.TEMPORARY, failure.reason, failure.message, scope=failure.scope)
    return failure


def _last_reason(attempts: Sequence[Attempt]) -> Reason:
    """Why nobody is left who could make it: what the last one said, as far as the customer should hear it."""
    refused = [one for one in attempts if one.failure_kind == FailureKind.UNSUITED]
    if refused and refused[-1].failure is not None:
        reason = refused[-1].failure.partition(":")[0].rpartition("/")[2]
        return Reason(reason) if reason in set(Reason) else Reason.MODEL
    return Reason.MODEL


@asynccontextmanager
async def _limit(seconds: float, call: str, *, scope: Scope = Scope.ORDER) -> AsyncIterator[None]:
    """Bound a call to the outside; taking too long is a failure like any other."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        late = f"{call}: no answer in {seconds:.0f} s"
        raise Failure(FailureKind.TEMPORARY, Reason.PROVIDER, late, scope=scope) from error

"""One claimed job: the generation's next step, recorded; settled or refunded at the end.

Calls to the outside happen between transactions. Each step leaves a recovery point, so whoever claims the job next goes
on from there. Decisions are written under the proved lease; that a provider accepted a task is written always.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar, assert_never
from uuid import UUID, uuid4

import structlog
from structlog.contextvars import bound_contextvars

from neurocards.db import generations, jobs, orders, outlook
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.generations import Video
from neurocards.db.jobs import Job, LostLease
from neurocards.domain.catalogue import Catalogue, JsonValue, Model, Template
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
from neurocards.domain.failures import Failure, FailureKind, Reason, Refund, Retry, verdict
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
from neurocards.domain.outlook import rendering_cells
from neurocards.domain.tasks import Accepted, Refused, Submission, Succeeded, Task, Unanswered
from neurocards.media.photos import BadPhoto, compose_frame, preview
from neurocards.media.videos import BadClip, ClipFacts, ClipFault, check_clip, cover, prepare_delivery, probe, thumbnail
from neurocards.storage import Store

WRITER_SECONDS = 20.0
UPLOAD_SECONDS = 60.0
POLL_SECONDS = 20.0
DOWNLOAD_SECONDS = 300.0
"""How long each call to the outside may take, waiting for our own turn and our own database not counted.
A submit has a limit of its own: it must end while its lease is surely ours."""

MAX_VIDEO_BYTES = 50_000_000
"""What a bot can upload to Telegram."""

HINT_PAUSE_SECONDS = 5.0

FACT_PATIENCE_SECONDS = 300.0
"""How long we keep trying to write down that a task was accepted: somebody has paid for it."""

MEDIA_AT_ONCE = 2
"""Photos and clips worked on at once in one process: bounds memory and leaves the event loop its core."""

Product = TypeVar("Product", Template, Model)
Answer = TypeVar("Answer")

log = structlog.get_logger()


class PromptWriter(Protocol):
    """Whoever writes prompts. Raises Failure."""

    async def write(self, *, brief: str, description: str, wishes: str, photo: bytes, seconds: int) -> str:
        """An English prompt for one clip of the product in the photo (JPEG)."""
        ...


class VideoProvider(Protocol):
    """Whoever makes videos."""

    @property
    def name(self) -> str:
        """The provider's name as attempts record it."""
        ...

    async def upload_frame(self, frame: bytes, name: str) -> str:
        """Give the provider the first frame (JPEG); its address there. Raises Failure."""
        ...

    async def submit(
        self, model: str, values: dict[str, JsonValue], *, limit_seconds: float, callback_url: str | None
    ) -> Submission:
        """Ask for a video: exactly one request, never repeated by any layer below. Raises nothing."""
        ...

    async def task(self, task_id: str) -> Task:
        """How the task is getting on. Raises Failure."""
        ...

    async def made_for(self, task_id: str, callback_url: str) -> bool:
        """Whether the provider made the task for the submit that named this address. Raises Failure."""
        ...

    async def download(self, url: str, target: Path) -> None:
        """Stream the result into a file. Raises Failure."""
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


class _PutBack(Exception):
    """The job went back to the queue for later, or has ended: nothing more to do under this lease."""


class Production:
    """The handler of jobs of kind "generation"."""

    def __init__(
        self,
        database: Database,
        store: Store,
        catalogue: Catalogue,
        provider: VideoProvider,
        writer: PromptWriter | None,
        *,
        workspace: Path,
        lease_seconds: float,
        doubt_seconds: float,
        deadline_seconds: float,
        callback_url: Callable[[UUID], str | None] = lambda _attempt_id: None,
    ) -> None:
        """`callback_url` is where the provider may tell of an attempt; without one it is only asked."""
        self._database = database
        self._store = store
        self._catalogue = catalogue
        self._provider = provider
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
        with bound_contextvars(generation_id=str(job.subject_id), lease_number=job.lease_number):
            try:
                while True:
                    work = await self._database.run(lambda tx: self._read(tx, job))
                    await self._step(work)
                    if draining():
                        await self._decide(job, lambda tx: jobs.snooze(tx, job, seconds=0))
                        return
            except _PutBack:
                return

    async def _read(self, tx: Transaction, job: Job) -> Work:
        await jobs.prove(tx, job)
        await generations.begin(tx, job.subject_id, deadline_seconds=self._deadline_seconds)
        generation = await generations.get(tx, job.subject_id)
        order = await orders.find(tx, generation.order_id)
        if order is None:
            raise LookupError(f"generation {generation.id} has no order")
        return Work(
            job=job,
            generation=generation,
            order=order,
            attempts=tuple(await generations.attempts(tx, generation.id)),
            now=await generations.clock(tx),
        )

    async def _step(self, work: Work) -> None:
        """Take one step; whatever goes wrong becomes a verdict."""
        step = next_step(work.generation, work.latest)
        if step is Step.NOTHING:
            # The claim and an ending by maintenance crossed; the ending took the job with it.
            raise LostLease(work.job)
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
        template = _served(self._catalogue.templates, work.order.template)
        prompt, source = await self._prompt(template, work.order)
        await self._decide(
            work.job,
            lambda tx: generations.record_prompt(tx, work.generation.id, prompt=prompt, source=source),
        )

    async def _prompt(self, template: Template, order: Order) -> tuple[str, str]:
        """The writer's prompt, else the template's own: a seller never hears of a writer that fails."""
        if self._writer is not None:
            try:
                async with self._media_slots:
                    photo = await asyncio.to_thread(preview, await self._photo(order))
                async with _limit(WRITER_SECONDS, "writer"):
                    written = await self._writer.write(
                        brief=template.brief,
                        description=order.description,
                        wishes=order.wishes,
                        photo=photo,
                        seconds=order.seconds,
                    )
                return written, "writer"
            except (Failure, BadPhoto) as failure:
                log.warning("prompt_writer_failed", failure=str(failure))
        return template.prompt(description=order.description, wishes=order.wishes), "template"

    async def _upload_frame(self, work: Work) -> None:
        async with self._media_slots:
            photo = await self._photo(work.order)
            try:
                frame = await asyncio.to_thread(compose_frame, photo)
            except BadPhoto as bad:
                raise Failure(FailureKind.PERMANENT, Reason.PHOTO, f"photo: {bad.code}") from bad
        async with _limit(UPLOAD_SECONDS, "upload"):
            frame_url = await self._provider.upload_frame(frame, f"{uuid4().hex}.jpg")
        await self._decide(work.job, lambda tx: generations.record_frame(tx, work.generation.id, frame_url))

    async def _submit(self, work: Work) -> None:
        attempt_id = uuid4()
        model = self._model(work.order)

        async def intend(tx: Transaction) -> None:
            # From here the lease is fresh, and the request below ends well before it does.
            await jobs.extend(tx, [work.job], lease_seconds=self._lease_seconds)
            await generations.intend(
                tx,
                work.generation.id,
                attempt_id=attempt_id,
                provider=self._provider.name,
                model=model.id,
                lease_number=work.job.lease_number,
            )

        await self._decide(work.job, intend)
        submission = await self._provider.submit(
            model.id,
            model.input(
                prompt=work.generation.prompt or "",
                frame_url=work.generation.frame_url or "",
                seconds=work.order.seconds,
            ),
            limit_seconds=self._lease_seconds * 0.6,
            callback_url=self._callback_url(attempt_id),
        )
        match submission:
            case Accepted(task_id):
                await self._database.run(
                    lambda tx: generations.record_task(tx, attempt_id, task_id),
                    patience_seconds=FACT_PATIENCE_SECONDS,
                )
                await self._keep_waiting(work, attempt_id, waited_seconds=0)
            case Refused(failure):
                await self._judge(work, failure, ended=(attempt_id, AttemptState.REFUSED))
            case Unanswered(detail):
                log.warning("submit_unanswered", attempt_id=str(attempt_id), detail=detail)
                await self._database.run(
                    lambda tx: generations.end_attempt(tx, attempt_id, AttemptState.UNKNOWN, detail),
                    patience_seconds=FACT_PATIENCE_SECONDS,
                )
            case _:
                assert_never(submission)

    async def _keep_waiting(self, work: Work, attempt_id: UUID, *, waited_seconds: float) -> NoReturn:
        """The provider is at it: the job goes back to the queue until it is time to ask."""

        async def snooze(tx: Transaction) -> None:
            usual_seconds = await outlook.rendering_seconds(tx, work.order.model)
            await generations.tell_progress(tx, attempt_id, rendering_cells(waited_seconds, usual_seconds))
            await jobs.snooze(tx, work.job, seconds=poll_seconds(waited_seconds))

        await self._decide(work.job, snooze)
        raise _PutBack

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
                await self._judge(work, failure, ended=(attempt.id, AttemptState.ABANDONED))
            case Abandon():
                log.warning("attempt_abandoned", attempt_id=str(attempt.id))
                await self._decide(work.job, lambda tx: self._abandon(tx, attempt))
            case _:
                assert_never(doubt)

    async def _follow_hints(self, work: Work) -> bool:
        """Whether a callback led to a task whose number had never reached us.

        A hint proves nothing: by the provider's own word the task must have been made for that very attempt.
        """
        found = False
        for attempt in work.attempts:
            address, task_id = self._callback_url(attempt.id), attempt.hinted_task_id
            if attempt.task_id is not None or task_id is None or address is None:
                continue
            try:
                async with _limit(POLL_SECONDS, "poll"):
                    ours = await self._provider.made_for(task_id, address)
            except Failure as failure:
                log.warning("hint_not_followed", attempt_id=str(attempt.id), failure=str(failure))
                if attempt.state in (AttemptState.INTENT, AttemptState.UNKNOWN):
                    # This may be what the doubt waits for: nothing is paid again before we know.
                    await self._decide(work.job, lambda tx: jobs.snooze(tx, work.job, seconds=HINT_PAUSE_SECONDS))
                    raise _PutBack from failure
                continue
            if ours:
                state = await self._database.run(
                    partial(generations.record_task, attempt_id=attempt.id, task_id=task_id)
                )
                log.info("lost_answer_found", attempt_id=str(attempt.id), state=state.value)
                found = True
            else:
                log.warning("hint_refused", attempt_id=str(attempt.id))
                await self._database.run(partial(generations.forget_hint, attempt_id=attempt.id, task_id=task_id))
        return found

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
        task = await self._ask(work, self._provider.task(attempt.task_id or ""))
        progress = read_progress(task, waited_seconds=waited)
        match progress:
            case KeepWaiting():
                await self._keep_waiting(work, attempt.id, waited_seconds=waited)
            case HasResult(result_url):
                await self._decide(work.job, lambda tx: self._record_result(tx, work, result_url))
            case Failed(outcome):
                await self._judge(work, outcome, ended=(attempt.id, AttemptState.FAILED))
            case _:
                assert_never(progress)

    async def _ask(self, work: Work, answer: Awaitable[Answer]) -> Answer:
        """Ask the provider about a task; passing trouble puts the question off."""
        try:
            async with _limit(POLL_SECONDS, "poll"):
                return await answer
        except Failure as failure:
            if failure.kind is not FailureKind.TEMPORARY:
                raise
            # The task is paid for and goes on without our questions; only the deadline ends this.
            pause = max(5.0, failure.retry_after_seconds or 0.0)
            log.warning("poll_failed", failure=str(failure))
            await self._decide(work.job, lambda tx: jobs.snooze(tx, work.job, seconds=pause))
            raise _PutBack from failure

    async def _record_result(self, tx: Transaction, work: Work, result_url: str) -> None:
        await generations.record_result(tx, work.attempt.id, result_url)
        await generations.tell_status(tx, work.generation.id, "checking")

    async def _fetch(self, work: Work) -> None:
        attempt = work.attempt
        model = self._model(work.order)
        name = f"{work.generation.id}-{work.job.lease_number}"
        download = self._workspace / f"{name}.part"
        finished = self._workspace / f"{name}.mp4"
        try:
            async with _limit(DOWNLOAD_SECONDS, "download"):
                await self._provider.download(await self._result_url(work), download)
            async with self._media_slots:
                facts, cover_jpeg, thumbnail_jpeg = await asyncio.to_thread(
                    _finish_clip, download, finished, work.order.seconds, model
                )
            # The lease is part of the key: a worker that lost it must not write over what was settled.
            key = f"videos/{work.generation.id}/{attempt.number}-{work.job.lease_number}"
            await self._store.put(f"{key}.mp4", finished)
            await self._store.put(f"{key}-cover.jpg", cover_jpeg)
            await self._store.put(f"{key}-thumbnail.jpg", thumbnail_jpeg)
        except BadClip as bad:
            unusable = Failure(FailureKind.TEMPORARY, Reason.RESULT, f"result: {bad.code}")
            await self._judge(work, unusable, ended=(attempt.id, AttemptState.FAILED))
        except OSError as error:
            raise Failure(FailureKind.OUTAGE, Reason.INTERNAL, f"workspace: {error}") from error
        finally:
            download.unlink(missing_ok=True)
            finished.unlink(missing_ok=True)

        video = Video(
            video_key=f"{key}.mp4",
            cover_key=f"{key}-cover.jpg",
            thumbnail_key=f"{key}-thumbnail.jpg",
            width=facts.width,
            height=facts.height,
            seconds=facts.seconds,
            size_bytes=facts.size_bytes,
        )
        await self._decide(work.job, lambda tx: generations.record_video(tx, work.generation.id, video))

    async def _result_url(self, work: Work) -> str:
        """The link as recorded; after a failure a fresh one, since result links expire."""
        if work.job.attempt > 1:
            task = await self._provider.task(work.attempt.task_id or "")
            if isinstance(task, Succeeded):
                return task.result_url
        return work.attempt.result_url or ""

    async def _settle(self, work: Work) -> None:
        async def settle(tx: Transaction) -> None:
            if not await generations.settle(tx, work.generation.id, work.job.lease_number):
                raise LostLease(work.job)

        await self._decide(work.job, settle)
        log.info("settled", order_id=str(work.order.id))
        raise _PutBack

    # Recording ------------------------------------------------------------------------------------------------

    async def _decide(self, job: Job, work: Callable[[Transaction], Awaitable[None]]) -> None:
        """Write a decision in one transaction that first proves the lease; raises LostLease."""

        async def proved(tx: Transaction) -> None:
            await jobs.prove(tx, job)
            await work(tx)

        # Longer than the lease is pointless: by then somebody else decides.
        await self._database.run(proved, patience_seconds=self._lease_seconds)

    async def _judge(self, work: Work, failure: Failure, *, ended: tuple[UUID, AttemptState] | None = None) -> NoReturn:
        """Decide what a failure means. An attempt that ended by it ends in the same transaction."""
        decision = verdict(failure, work.job.attempt)
        log.warning("step_failed", failure=str(failure), attempt=work.job.attempt, decision=str(decision))

        async def decide(tx: Transaction) -> None:
            if ended is not None and not await self._end_attempt(tx, work, *ended, failure):
                # The lost answer has just come in: the failure is not what we took it for.
                await jobs.snooze(tx, work.job, seconds=0)
                return
            match decision:
                case Retry(after_seconds, spends_attempt):
                    await jobs.retry(
                        tx, work.job, seconds=after_seconds, spends_attempt=spends_attempt, failure=str(failure)
                    )
                case Refund(reason):
                    if not await generations.refund(
                        tx, work.generation.id, lease_number=work.job.lease_number, reason=reason
                    ):
                        raise LostLease(work.job)
                case _:
                    assert_never(decision)

        await self._decide(work.job, decide)
        raise _PutBack

    async def _end_attempt(
        self, tx: Transaction, work: Work, attempt_id: UUID, state: AttemptState, failure: Failure
    ) -> bool:
        if failure.kind is FailureKind.TEMPORARY:
            # The next attempt brings its own frame: uploads expire, and some failures are about the upload.
            await generations.record_frame(tx, work.generation.id, None)
        return await generations.end_attempt(tx, attempt_id, state, str(failure))

    # What a step needs ------------------------------------------------------------------------------------------

    async def _photo(self, order: Order) -> bytes:
        try:
            return await self._store.get(order.photo_key)
        except FileNotFoundError as error:
            raise Failure(FailureKind.PERMANENT, Reason.INTERNAL, "the photo is not in the store") from error

    def _model(self, order: Order) -> Model:
        return _served(self._catalogue.models, order.model)


def _served(shelf: Mapping[str, Product], name: str) -> Product:
    """What an order names. A worker of an older release may not know it yet: then another one will."""
    try:
        return shelf[name]
    except KeyError:
        raise Failure(FailureKind.OUTAGE, Reason.INTERNAL, f"{name!r} is not known to this worker") from None


@asynccontextmanager
async def _limit(seconds: float, call: str) -> AsyncIterator[None]:
    """Bound a call to the outside; taking too long is a failure like any other."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"{call}: no answer in {seconds:.0f} s") from error


def _finish_clip(source: Path, target: Path, seconds: int, model: Model) -> tuple[ClipFacts, bytes, bytes]:
    """Check a downloaded clip and make what is delivered of it. Runs in a thread; raises BadClip."""
    check_clip(source, seconds=seconds, min_width=model.min_width, min_height=model.min_height)
    prepare_delivery(source, target)
    facts = probe(target)
    if facts.size_bytes > MAX_VIDEO_BYTES:
        raise BadClip(ClipFault.TOO_LARGE)
    return facts, cover(target), thumbnail(target)

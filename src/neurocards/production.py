"""One claimed job: the generation's next step, recorded; settled or refunded at the end.

Calls to the outside happen between transactions. Each step leaves a recovery point, so whoever claims the job next goes
on from there. Decisions are written under the proved lease; that a provider accepted a task is written always.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, assert_never
from uuid import UUID, uuid4

import structlog
from structlog.contextvars import bound_contextvars

from neurocards.db import generations, jobs, orders
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.generations import Video
from neurocards.db.jobs import Job, LostLease
from neurocards.domain.catalogue import Catalogue, JsonValue, Model, Template
from neurocards.domain.failures import Failure, FailureKind, Reason, Refund, Retry, verdict
from neurocards.domain.generations import Attempt, AttemptState, Generation, Step, next_step, poll_seconds
from neurocards.domain.orders import Order
from neurocards.domain.tasks import (
    Accepted,
    Pending,
    Refused,
    Submission,
    Succeeded,
    Task,
    TaskFailed,
    Unanswered,
)
from neurocards.media.photos import BadPhoto, compose_frame, preview
from neurocards.media.videos import BadClip, ClipFacts, check_clip, cover, prepare_delivery, probe, thumbnail
from neurocards.storage import Store

STEP_SECONDS = {
    Step.WRITE_PROMPT: 25.0,
    Step.UPLOAD_FRAME: 60.0,
    Step.WAIT: 30.0,
    Step.FETCH: 300.0,
}
"""How long a step may take. A submit has its own limit: it must end while its lease is surely ours."""

RESUBMISSIONS = 1
"""How often a submit whose answer was lost is made again: each one may be paid twice."""

FACT_PATIENCE_SECONDS = 300.0
"""How long we keep trying to write down that a task was accepted: somebody has paid for it."""

MEDIA_AT_ONCE = 2
"""Photos and clips worked on at once in one process: bounds memory and leaves the event loop its core."""

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

    async def submit(self, model: str, values: dict[str, JsonValue], *, limit_seconds: float) -> Submission:
        """Ask for a video: exactly one request, never repeated by any layer below. Raises nothing."""
        ...

    async def task(self, task_id: str) -> Task:
        """How the task is getting on. Raises Failure."""
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
        return self.attempts[-1] if self.attempts else None

    @property
    def live(self) -> Attempt:
        """The attempt that a step after the submit is about."""
        if not self.attempts:
            raise LookupError(f"generation {self.generation.id} has no attempt")
        return self.attempts[-1]


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
    ) -> None:
        self._database = database
        self._store = store
        self._catalogue = catalogue
        self._provider = provider
        self._writer = writer
        self._workspace = workspace
        self._lease_seconds = lease_seconds
        self._doubt_seconds = doubt_seconds
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
        await generations.begin(tx, job.subject_id)
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
            async with asyncio.timeout(STEP_SECONDS.get(step)):
                await self._steps[step](work)
        except Failure as failure:
            await self._judge(work, failure)
        except TimeoutError:
            await self._judge(work, Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"{step} took too long"))
        except (_PutBack, LostLease, *Away):
            raise
        except Exception as error:
            log.exception("step_crashed", step=step.value)
            await self._judge(work, Failure(FailureKind.TEMPORARY, Reason.INTERNAL, repr(error)))
        else:
            log.info("step_done", step=step.value)

    # The steps, in their order --------------------------------------------------------------------------------

    async def _write_prompt(self, work: Work) -> None:
        await self._decide(work.job, lambda tx: generations.tell_status(tx, work.generation.id, "prompt"))
        template = self._catalogue.templates[work.order.template]
        prompt, source = await self._prompt(template, work.order)
        await self._decide(
            work.job,
            lambda tx: generations.record_prompt(tx, work.generation.id, prompt=prompt, source=source),
        )

    async def _prompt(self, template: Template, order: Order) -> tuple[str, str]:
        """The writer's prompt, else the template's own: a seller never hears of a writer that fails."""
        if self._writer is not None:
            try:
                async with asyncio.timeout(STEP_SECONDS[Step.WRITE_PROMPT] - 5.0):
                    async with self._media_slots:
                        photo = await asyncio.to_thread(preview, await self._store.get(order.photo_key))
                    written = await self._writer.write(
                        brief=template.brief,
                        description=order.description,
                        wishes=order.wishes,
                        photo=photo,
                        seconds=order.seconds,
                    )
                return written, "writer"
            except (Failure, BadPhoto, TimeoutError) as failure:
                log.warning("prompt_writer_failed", failure=str(failure) or "took too long")
        return template.prompt(description=order.description, wishes=order.wishes), "template"

    async def _upload_frame(self, work: Work) -> None:
        async with self._media_slots:
            photo = await self._store.get(work.order.photo_key)
            try:
                frame = await asyncio.to_thread(compose_frame, photo)
            except BadPhoto as bad:
                raise Failure(FailureKind.PERMANENT, Reason.PHOTO, f"photo: {bad.code}") from bad
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
        )
        match submission:
            case Accepted(task_id):
                await self._database.run(
                    lambda tx: generations.record_task(tx, attempt_id, task_id),
                    patience_seconds=FACT_PATIENCE_SECONDS,
                )
                await self._decide(work.job, lambda tx: self._snooze_rendering(tx, work, poll_seconds(0)))
                raise _PutBack
            case Refused(failure):
                await self._end_attempt(work, attempt_id, AttemptState.REFUSED, failure)
                raise failure
            case Unanswered(detail):
                log.warning("submit_unanswered", attempt_id=str(attempt_id), detail=detail)
                await self._database.run(
                    lambda tx: generations.end_attempt(tx, attempt_id, AttemptState.UNKNOWN, detail),
                    patience_seconds=FACT_PATIENCE_SECONDS,
                )
            case _:
                assert_never(submission)

    async def _snooze_rendering(self, tx: Transaction, work: Work, seconds: float) -> None:
        await generations.tell_status(tx, work.generation.id, "generating")
        await jobs.snooze(tx, work.job, seconds=seconds)

    async def _doubt(self, work: Work) -> None:
        """A submit's answer was lost: by the line, or with the worker that was waiting for it."""
        attempt = work.live
        waited = (work.now - attempt.created_at).total_seconds()
        if waited < self._doubt_seconds:
            await self._decide(work.job, lambda tx: self._keep_doubting(tx, work, self._doubt_seconds - waited))
            raise _PutBack
        await self._decide(
            work.job,
            lambda tx: generations.end_attempt(
                tx, attempt.id, AttemptState.ABANDONED, attempt.failure or "no answer and no evidence"
            ),
        )
        log.warning("attempt_abandoned", attempt_id=str(attempt.id))
        lost = 1 + sum(earlier.state is AttemptState.ABANDONED for earlier in work.attempts)
        if lost > RESUBMISSIONS:
            raise Failure(FailureKind.PERMANENT, Reason.PROVIDER, "two answers to submits were lost")

    async def _keep_doubting(self, tx: Transaction, work: Work, seconds: float) -> None:
        await generations.end_attempt(
            tx, work.live.id, AttemptState.UNKNOWN, work.live.failure or "the worker ended while submitting"
        )
        await jobs.snooze(tx, work.job, seconds=seconds)

    async def _wait(self, work: Work) -> None:
        attempt = work.live
        waited = (work.now - (attempt.accepted_at or attempt.created_at)).total_seconds()
        try:
            task = await self._provider.task(attempt.task_id or "")
        except Failure as failure:
            if failure.kind is FailureKind.TEMPORARY:
                # The task is paid for and goes on without our questions; only the deadline ends this.
                pause = max(5.0, failure.retry_after_seconds or 0.0)
                log.warning("poll_failed", failure=str(failure))
                await self._decide(work.job, lambda tx: jobs.snooze(tx, work.job, seconds=pause))
                raise _PutBack from failure
            raise
        match task:
            case Pending():
                await self._decide(work.job, lambda tx: self._snooze_rendering(tx, work, poll_seconds(waited)))
                raise _PutBack
            case Succeeded(result_url):
                await self._decide(work.job, lambda tx: self._record_result(tx, work, result_url))
            case TaskFailed(outcome):
                await self._end_attempt(work, attempt.id, AttemptState.FAILED, outcome)
                raise outcome
            case _:
                assert_never(task)

    async def _record_result(self, tx: Transaction, work: Work, result_url: str) -> None:
        await generations.record_result(tx, work.live.id, result_url)
        await generations.tell_status(tx, work.generation.id, "checking")

    async def _fetch(self, work: Work) -> None:
        attempt = work.live
        name = f"{work.generation.id}-{work.job.lease_number}"
        download = self._workspace / f"{name}.part"
        finished = self._workspace / f"{name}.mp4"
        try:
            await self._provider.download(await self._result_url(work), download)
            async with self._media_slots:
                model = self._model(work.order)
                facts, cover_jpeg, thumbnail_jpeg = await asyncio.to_thread(
                    _finish_clip, download, finished, work.order.seconds, model
                )
            key = f"videos/{work.generation.id}/{attempt.number}"
            await self._store.put(f"{key}.mp4", finished)
            await self._store.put(f"{key}-cover.jpg", cover_jpeg)
            await self._store.put(f"{key}-thumbnail.jpg", thumbnail_jpeg)
        except BadClip as bad:
            failure = Failure(FailureKind.TEMPORARY, Reason.RESULT, f"result: {bad.code}")
            await self._end_attempt(work, attempt.id, AttemptState.FAILED, failure)
            raise failure from bad
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
            task = await self._provider.task(work.live.task_id or "")
            if isinstance(task, Succeeded):
                return task.result_url
        return work.live.result_url or ""

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

    async def _end_attempt(self, work: Work, attempt_id: UUID, state: AttemptState, failure: Failure) -> None:
        async def end(tx: Transaction) -> None:
            await generations.end_attempt(tx, attempt_id, state, str(failure))
            if failure.kind is FailureKind.TEMPORARY:
                # The next attempt brings its own frame: uploads expire, and some failures are about the upload.
                await generations.record_frame(tx, work.generation.id, None)

        await self._decide(work.job, end)

    async def _judge(self, work: Work, failure: Failure) -> None:
        decision = verdict(failure, work.job.attempt)
        log.warning("step_failed", failure=str(failure), attempt=work.job.attempt, decision=str(decision))
        match decision:
            case Retry(after_seconds, spends_attempt):
                await self._decide(
                    work.job,
                    lambda tx: jobs.retry(
                        tx,
                        work.job,
                        seconds=after_seconds,
                        spends_attempt=spends_attempt,
                        failure=str(failure),
                    ),
                )
            case Refund(reason):

                async def refund(tx: Transaction) -> None:
                    if not await generations.refund(
                        tx, work.generation.id, lease_number=work.job.lease_number, reason=reason
                    ):
                        raise LostLease(work.job)

                await self._decide(work.job, refund)
            case _:
                assert_never(decision)
        raise _PutBack

    def _model(self, order: Order) -> Model:
        return self._catalogue.models[order.model]


def _finish_clip(source: Path, target: Path, seconds: int, model: Model) -> tuple[ClipFacts, bytes, bytes]:
    """Check a downloaded clip and make what is delivered of it. Runs in a thread; raises BadClip."""
    check_clip(source, seconds=seconds, min_width=model.min_width, min_height=model.min_height)
    prepare_delivery(source, target)
    return probe(target), cover(target), thumbnail(target)

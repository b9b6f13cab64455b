"""Claims due jobs, runs their handlers in a number of slots, keeps their leases alive, drains when asked to.

It knows jobs and handlers, not videos. A job that waits for something is not here: it lies in the queue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog
from structlog.contextvars import bound_contextvars

from neurocards import meters
from neurocards.db import jobs
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.jobs import Job, LostLease
from neurocards.loops import Holding

POLL_SECONDS = 0.2
"""How often the queue is asked without a hint: due times pass silently, notifications can be lost."""

DRAIN_SECONDS = 25.0
"""How long running steps may go on after SIGTERM; service managers usually kill after 30."""

Draining = Callable[[], bool]
Handler = Callable[[Job, Draining], Awaitable[None]]
"""Does a job's next work and records under its lease how it goes on. Returns early when draining."""

Room = Callable[[Transaction], Awaitable[int]]

log = structlog.get_logger()


class Worker:
    """One worker process: any number of them share the queue."""

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        *,
        name: str,
        slots: int,
        lease_seconds: float,
        room: Room | None = None,
    ) -> None:
        """`room` says how many jobs that nobody has begun may be begun now; without it, as many as there are slots."""
        self._database = database
        self._handlers = handlers
        self._name = name
        self._lease_seconds = lease_seconds
        self._room = room
        self._holding = Holding(
            "worker",
            slots=slots,
            poll_seconds=POLL_SECONDS,
            lease_seconds=lease_seconds,
            drain_seconds=DRAIN_SECONDS,
            claim=self._claim,
            extend=self._extend,
            work=self._work,
        )
        self.wake = self._holding.wake
        self.turn = self._holding.turn
        self.idle = self._holding.idle
        self.beat = self._holding.beat

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the running steps and give the jobs back."""
        await self._holding.run(stop)

    async def _claim(self, limit: int, held: Collection[int]) -> Sequence[Job]:
        async def claim(tx: Transaction) -> list[Job]:
            return await jobs.claim(
                tx,
                worker=self._name,
                kinds=self._handlers.keys(),
                limit=limit,
                lease_seconds=self._lease_seconds,
                held=held,
                begin_limit=None if self._room is None else await self._room(tx),
            )

        return await self._database.run(claim)

    async def _extend(self, held: Sequence[Job]) -> Collection[int]:
        return await self._database.run(lambda tx: jobs.extend(tx, held, lease_seconds=self._lease_seconds))

    async def _work(self, job: Job) -> None:
        # The handler adds what it knows; this task's lines carry it until the end of the task.
        with bound_contextvars(
            job_id=job.id,
            lease_number=job.lease_number,
            attempt=job.attempt,
            **{f"{job.kind}_id": str(job.subject_id)},
        ):
            try:
                await self._handlers[job.kind](job, lambda: self._holding.draining)
            except LostLease:
                meters.decision_was_stale()
                log.warning("decision_refused")
            except Away:
                log.warning("job_interrupted")
            except Exception:
                # The lease runs out and the job is rescued; three times in a row make it poison.
                log.exception("job_crashed")

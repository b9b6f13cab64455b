"""Claims due jobs, runs their handlers in a number of slots, keeps their leases alive, drains when asked to.

It knows jobs and handlers, not videos. A job that waits for something is not here: it lies in the queue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from neurocards.db import jobs
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.jobs import Job, LostLease
from neurocards.loops import Loop, Slots

POLL_SECONDS = 0.2
"""How often the queue is asked without a hint: due times pass silently, notifications can be lost."""

DRAIN_SECONDS = 25.0
"""How long running steps may go on after SIGTERM; service managers usually kill after 30."""

Draining = Callable[[], bool]
Handler = Callable[[Job, Draining], Awaitable[None]]
"""Does a job's next work and records under its lease how it goes on. Returns early when draining."""

log = structlog.get_logger()


class Worker:
    """One worker process: any number of them share the queue."""

    def __init__(
        self, database: Database, handlers: Mapping[str, Handler], *, name: str, slots: int, lease_seconds: float
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._name = name
        self._lease_seconds = lease_seconds
        self._loop = Loop("worker", self.turn, pause_seconds=POLL_SECONDS)
        self._slots = Slots(slots, when_free=self._loop.wake)
        self._held: dict[int, Job] = {}
        self._draining = False

    def wake(self) -> None:
        """Look at the queue now: something was announced."""
        self._loop.wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the running steps and return."""
        heartbeat = asyncio.create_task(self._keep_alive())
        try:
            await self._loop.run(stop)
            self._draining = True
            log.info("draining", running=len(self._slots.keys))
            # What is cancelled keeps its lease until it runs out: whether a submit was under way is not known here.
            await self._slots.drain(seconds=DRAIN_SECONDS)
        finally:
            heartbeat.cancel()

    async def turn(self) -> int:
        """Claim what fits into the free slots and start it; returns how many jobs were claimed."""
        if self._slots.free == 0:
            return 0

        async def claim(tx: Transaction) -> list[Job]:
            return await jobs.claim(
                tx,
                worker=self._name,
                limit=self._slots.free,
                lease_seconds=self._lease_seconds,
                held=self._slots.keys,
            )

        claimed = await self._database.run(claim)
        for job in claimed:
            self._held[job.id] = job
            self._slots.start(job.id, self._work(job))
        return len(claimed)

    async def idle(self) -> None:
        """Wait until nothing is running here; for turns taken by hand."""
        await self._slots.idle()

    async def beat(self) -> None:
        """Extend the leases of everything that is running here."""
        held = list(self._held.values())
        if not held:
            return

        async def extend(tx: Transaction) -> set[int]:
            return await jobs.extend(tx, held, lease_seconds=self._lease_seconds)

        kept = await self._database.run(extend)
        for job in held:
            if job.id not in kept and job.id in self._held:
                # Left running: its next write will be refused, and cancelling a submit might lose a paid task's id.
                log.warning("lease_lost", job_id=job.id, lease_number=job.lease_number)

    async def _work(self, job: Job) -> None:
        try:
            await self._handlers[job.kind](job, lambda: self._draining)
        except LostLease:
            log.warning("decision_refused", job_id=job.id, lease_number=job.lease_number)
        except Away:
            log.warning("job_interrupted", job_id=job.id)
        except Exception:
            # The lease runs out and the job is rescued; three times in a row make it poison.
            log.exception("job_crashed", job_id=job.id)
        finally:
            del self._held[job.id]

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                await self.beat()
            except Exception as error:
                # Whatever it was: without the next beat every lease here would be lost.
                log.warning("heartbeat_missed", error=str(error).strip())

"""How a process repeats its turns: `Loop` decides when, `Slots` bounds how much goes on at once.

`Holding` puts both together for rows under leases: it claims them, works on them, and keeps their leases alive.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog

from neurocards.db.connection import Away
from neurocards.db.leases import Claimed

AWAY_PAUSE_SECONDS = 1.0

log = structlog.get_logger()


class Loop:
    """Repeats a turn until told to stop: at once while turns find work, else after a hint or a pause.

    While the database is away it waits for it; anything else that a turn raises ends the process, which its
    supervisor starts again.
    """

    def __init__(self, name: str, turn: Callable[[], Awaitable[int]], *, pause_seconds: float) -> None:
        self._name = name
        self._turn = turn
        self._pause_seconds = pause_seconds
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Take a turn now."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Take turns until `stop` is set."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                if not await self._calmly():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), self._pause_seconds)
        finally:
            stopping.cancel()

    async def run_loosely(self, stop: asyncio.Event) -> None:
        """Take turns until `stop` is set, and break off the one that runs then: for turns that only look."""
        running = asyncio.create_task(self.run(stop))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            stopping.cancel()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _calmly(self) -> int:
        try:
            return await self._turn()
        except Away as error:
            log.warning("database_away", loop=self._name, error=str(error).strip())
            await asyncio.sleep(AWAY_PAUSE_SECONDS)
            return 0

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()


class Slots:
    """A bounded number of tasks by key."""

    def __init__(self, limit: int, *, when_free: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._when_free = when_free
        self._tasks: dict[int, asyncio.Task[None]] = {}

    @property
    def free(self) -> int:
        return self._limit - len(self._tasks)

    def start(self, key: int, work: Coroutine[Any, Any, None]) -> None:  # Any: what a coroutine yields inside
        """Run `work` in a slot. It must not raise: nobody is there to hear."""
        task = asyncio.create_task(work)
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._done(key))

    async def idle(self) -> None:
        """Wait until every slot is free."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def drain(self, *, seconds: float) -> None:
        """Let what runs finish; cancel what has not finished in time."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks.values(), timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _done(self, key: int) -> None:
        del self._tasks[key]
        self._when_free()


Row = TypeVar("Row", bound=Claimed)


class Holding(Generic[Row]):
    """Claims rows into free slots and works on each, while a heartbeat extends the leases of all that are held.

    `claim(limit, held)` claims up to `limit` rows and none of the `held`; `extend(rows)` extends leases and returns
    the ids that were still ours; `work(row)` must not raise.
    """

    def __init__(
        self,
        name: str,
        *,
        slots: int,
        poll_seconds: float,
        lease_seconds: float,
        drain_seconds: float,
        claim: Callable[[int, Collection[int]], Awaitable[Sequence[Row]]],
        extend: Callable[[Sequence[Row]], Awaitable[Collection[int]]],
        work: Callable[[Row], Awaitable[None]],
    ) -> None:
        self._name = name
        self._lease_seconds = lease_seconds
        self._drain_seconds = drain_seconds
        self._claim = claim
        self._extend = extend
        self._work = work
        self._loop = Loop(name, self.turn, pause_seconds=poll_seconds)
        self._slots = Slots(slots, when_free=self._loop.wake)
        self._held: dict[int, Row] = {}
        self.draining = False

    def wake(self) -> None:
        """Look now: something was announced."""
        self._loop.wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and work until `stop` is set, then finish what is held.

        What is cancelled because it takes too long keeps its lease until that runs out: whether it was about to pay
        somebody is not known here.
        """
        heartbeat = asyncio.create_task(self._keep_alive())
        try:
            await self._loop.run(stop)
            self.draining = True
            await self._slots.drain(seconds=self._drain_seconds)
        finally:
            heartbeat.cancel()

    async def turn(self) -> int:
        """Claim what fits into the free slots and start on it; returns how many rows that were."""
        if self._slots.free == 0:
            return 0
        claimed = await self._claim(self._slots.free, self._held.keys())
        for row in claimed:
            self._held[row.id] = row
            self._slots.start(row.id, self._hold(row))
        return len(claimed)

    async def idle(self) -> None:
        """Wait until nothing is held; for turns taken by hand."""
        await self._slots.idle()

    async def beat(self) -> None:
        """Extend the leases of everything that is held."""
        held = list(self._held.values())
        if not held:
            return
        kept = await self._extend(held)
        for row in held:
            if row.id not in kept and row.id in self._held:
                # Left running: its next write will be refused, and cancelling might lose a paid task's id.
                log.warning("lease_lost", loop=self._name, id=row.id, lease_number=row.lease_number)

    async def _hold(self, row: Row) -> None:
        try:
            await self._work(row)
        finally:
            del self._held[row.id]

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                await self.beat()
            except Exception as error:
                # Whatever it was: without the next beat every lease here would be lost.
                log.warning("heartbeat_missed", loop=self._name, error=str(error).strip())

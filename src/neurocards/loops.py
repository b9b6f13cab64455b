"""How a process repeats its turns: `Loop` decides when, `Slots` bounds how much goes on at once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from neurocards.db.connection import Away

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

    @property
    def keys(self) -> list[int]:
        return list(self._tasks)

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

"""A version number that rises with every change and can be awaited: the root of every long poll and stream here.

Announcing is synchronous, so a change of state and its announcement are one step of the event loop.
"""

import asyncio


class Changes:
    """Counts changes and wakes whoever waits for the next one; a change of a part is one of its whole, too."""

    def __init__(self, *, part_of: "Changes | None" = None) -> None:
        self.version = 0
        self._whole = part_of
        self._next = asyncio.Event()

    def announce(self) -> int:
        """Raise the version, wake all waiters and return the new version."""
        self.version += 1
        self._next.set()
        self._next = asyncio.Event()
        if self._whole:
            self._whole.announce()
        return self.version

    async def wait_beyond(self, version: int, seconds: float) -> None:
        """Return as soon as the version is greater than `version`, at the latest after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self.version <= version:
                    await self._next.wait()
        except TimeoutError:
            return


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, at the latest after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

"""What a look needs: the shop that is looked at, and a guard that lets no look fail, hang or hide another."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from neurocards.doctor import lines
from neurocards.doctor.lines import Finding
from neurocards.domain.catalogue import Catalogue
from neurocards.settings import Settings

LOOK_SECONDS = 30.0
"""How long one part may take to answer."""

Look = Callable[[], Awaitable[Sequence[Finding]]]
Clock = Callable[[], datetime]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Patient:
    """A shop as it is set up: its settings, what is wrong with them, and what was made of them.

    `catalogue` is None when it cannot be read. `providers` are the adapters by name, `writer` the prompt writer.
    """

    settings: Settings
    problems: Sequence[str]
    open_dsn: Callable[[], AbstractAsyncContextManager[str]]
    catalogue: Catalogue | None
    providers: Mapping[str, object]
    writer: object | None


def this_machine() -> datetime:
    """The time as this machine has it: what is compared with everybody else's."""
    return datetime.now(UTC)


async def looked_at(check: str, look: Look, *, seconds: float = LOOK_SECONDS) -> Sequence[Finding]:
    """What a look finds, or how it failed: never an exception."""
    try:
        async with asyncio.timeout(seconds):
            return await look()
    except TimeoutError:
        return [lines.TOO_SLOW.told(check=check, seconds=f"{seconds:.0f}")]
    except Exception as error:
        # Of a surprise only its kind is told: its words may quote a secret.
        return [lines.BROKEN.told(check=check, error=type(error).__name__)]


async def in_thread(work: Callable[[], Result]) -> Result:
    """What `work` returns, done in a thread that nobody waits for: a disk that hangs must not hold the process."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Result] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if outcome.done() else settle())

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            failure = error
            tell(lambda: outcome.set_exception(failure))
        else:
            tell(lambda: outcome.set_result(result))

    threading.Thread(target=run, daemon=True).start()
    return await outcome

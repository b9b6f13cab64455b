"""One real process of the shop: started, stopped, woken, asked to end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from flow.crew import Role, environment
from neurocards import processes
from neurocards.processes import LeashedProcess
from services import Simulators

TOKEN = f"5999999:{'w' * 35}"


@asynccontextmanager
async def at_work(
    role: Role, home: Path, simulators: Simulators, *, dsn: str, log: Path, token: str = TOKEN, **settings: str
) -> AsyncIterator[LeashedProcess]:
    """The process, from its start on; it logs to `log`. Whoever still runs in the end is killed."""
    surroundings = environment(
        home,
        DATABASE_URL=dsn,
        BOT_TOKEN=token,
        KIE_API_KEY="test-key",
        TELEGRAM_API_URL=simulators.telegram,
        KIE_API_URL=simulators.kie,
        KIE_UPLOAD_URL=simulators.kie,
        **settings,
    )
    process = await asyncio.to_thread(_start, role, surroundings, home, log)
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(processes.stop, process)


def _start(role: Role, surroundings: Mapping[str, str], home: Path, log: Path) -> LeashedProcess:
    with log.open("ab", buffering=0) as file:
        return processes.start(
            [sys.executable, "-m", "neurocards", role], env=surroundings, cwd=home, stdout=file, stderr=file
        )

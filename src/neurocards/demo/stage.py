"""Everything the demo needs, started as real processes and stopped in order: database, simulators, bot, workers."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from neurocards import processes
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.migrate import migrate
from neurocards.processes import LeashedProcess
from neurocards.settings import Settings

READY_SECONDS = 30.0
STOP_SECONDS = 5.0

# A demo's worker that is killed is replaced while somebody is watching, not after half a minute.
DEMO_LEASE_SECONDS = "5"
DEMO_DOUBT_SECONDS = "15"


class StageError(Exception):
    """A process of the demo did not start or has ended; the message says which, and where its log lies."""


@dataclass
class Stage:
    """What is running: addresses for whoever plays the seller, and the processes."""

    dsn: str
    telegram: str
    kie: str
    environment: dict[str, str]
    logs: Path
    simulators: LeashedProcess
    bot: LeashedProcess
    workers: list[LeashedProcess] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    def check(self) -> list[str]:
        """Name the workers that have ended since the last look; raises StageError when the rest cannot go on."""
        for name, process in (("simulators", self.simulators), ("bot", self.bot)):
            if process.poll() is not None:
                raise StageError(f"the {name} ended; see {self.logs / name}.log")
        ended = {worker.child_pid for worker in self.workers if worker.poll() is not None}
        if len(ended) == len(self.workers):
            raise StageError(f"every worker has ended; see {self.logs}")
        news = ended - self.lost
        self.lost |= news
        return [f"worker {pid}" for pid in sorted(news)]


@asynccontextmanager
async def open_stage(home: Path, *, workers: int) -> AsyncIterator[Stage]:
    """Start everything below `home`; an earlier demo's database is used again. Raises StageError."""
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        server = await asyncio.to_thread(EmbeddedPostgres.start, home / "postgres")
        stack.push_async_callback(asyncio.to_thread, server.stop)
        migrating = asyncio.create_task(migrate(server.dsn))

        simulators = _start("simulators", ["-m", "neurocards.simulators"], dict(os.environ), logs, stack, listen=True)
        addresses = await _addresses(simulators, logs)
        await migrating

        environment = _environment(home, server.dsn, addresses)
        stage = Stage(
            dsn=server.dsn,
            telegram=addresses["telegram"],
            kie=addresses["kie"],
            environment=environment,
            logs=logs,
            simulators=simulators,
            bot=_start("bot", ["-m", "neurocards", "bot"], environment, logs, stack),
        )
        for number in range(1, workers + 1):
            stage.workers.append(_start(f"worker-{number}", ["-m", "neurocards", "worker"], environment, logs, stack))
        yield stage


def _environment(home: Path, dsn: str, addresses: dict[str, str]) -> dict[str, str]:
    """The settings of production, with the simulators' addresses: no other process of ours knows that it is a demo.

    What an operator has set for the real shop must not reach it: neither a store nor a deadline, nor a key.
    """
    return {
        **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
        "NEUROCARDS_HOME": str(home),
        "DATABASE_URL": dsn,
        "BOT_TOKEN": "110000001:demo-token-of-the-simulated-telegram",
        "KIE_API_KEY": "demo",
        "OPENAI_API_KEY": "demo",
        "TELEGRAM_API_URL": addresses["telegram"],
        "KIE_API_URL": addresses["kie"],
        "KIE_UPLOAD_URL": addresses["kie"],
        "OPENAI_BASE_URL": addresses["openai"],
        "LEASE_SECONDS": DEMO_LEASE_SECONDS,
        "DOUBT_SECONDS": DEMO_DOUBT_SECONDS,
    }


def _start(
    name: str,
    arguments: list[str],
    environment: dict[str, str],
    logs: Path,
    stack: AsyncExitStack,
    *,
    listen: bool = False,
) -> LeashedProcess:
    with (logs / f"{name}.log").open("wb") as log:
        process = processes.start(
            [sys.executable, *arguments],
            env=environment,
            cwd=logs,  # away from a .env file of the real shop
            stdout=subprocess.PIPE if listen else log,
            stderr=log,
        )
    stack.push_async_callback(asyncio.to_thread, processes.stop, process, STOP_SECONDS)
    return process


async def _addresses(simulators: LeashedProcess, logs: Path) -> dict[str, str]:
    """The line with which the simulators say where they listen."""
    if simulators.stdout is None:
        raise StageError("the simulators have no output")
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await asyncio.to_thread(simulators.stdout.readline)
    except TimeoutError as error:
        raise StageError(f"the simulators did not start; see {logs / 'simulators'}.log") from error
    if not line:
        raise StageError(f"the simulators did not start; see {logs / 'simulators'}.log")
    addresses: dict[str, str] = json.loads(line)
    return addresses

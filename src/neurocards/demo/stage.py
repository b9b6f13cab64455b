"""Everything the demo needs, started as real processes and stopped in order: database, simulators, bot, workers."""

import asyncio
import json
import os
import subprocess
import sys
import time
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
DEMO_WELCOME_CREDITS = "10"
"""Enough to order three videos and five, and little enough to run out."""

SHORT_LIFE_SECONDS = 15.0
"""Whoever ends by itself within this time would do so again."""


class StageError(Exception):
    """A process of the demo did not start or has ended; the message says which, and where its log lies."""


@dataclass
class Member:
    """One of our own processes: its name in the demo, and the command that it runs."""

    name: str
    command: str
    process: LeashedProcess
    started_at: float

    @property
    def gave_up(self) -> bool:
        """Whether it ended with an error of its own soon after its start; a signal's status is above 128."""
        status = self.process.poll()
        return status is not None and 0 < status < 128 and time.monotonic() - self.started_at < SHORT_LIFE_SECONDS


@dataclass
class Stage:
    """What is running: addresses for whoever plays the seller, and the processes."""

    dsn: str
    telegram: str
    kie: str
    environment: dict[str, str]
    logs: Path
    simulators: LeashedProcess
    crew: list[Member] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    @property
    def bot(self) -> LeashedProcess:
        return next(member.process for member in self.crew if member.command == "bot")

    @property
    def workers(self) -> list[LeashedProcess]:
        return [member.process for member in self.crew if member.command == "worker"]

    @property
    def workers_alive(self) -> int:
        return sum(worker.poll() is None for worker in self.workers)

    def enlist(self, name: str, command: str) -> None:
        """Start one more process of ours."""
        self.crew.append(Member(name, command, self._start(name, command), time.monotonic()))

    def check(self) -> list[str]:
        """Name the workers that have ended since the last look; raises StageError when the rest cannot go on."""
        for name, process in (("simulators", self.simulators), ("bot", self.bot)):
            if process.poll() is not None:
                raise StageError(f"the {name} ended; see {self.logs / name}.log")
        if self.workers_alive == 0:
            raise StageError(f"every worker has ended; see {self.logs}")
        ended = {worker.child_pid for worker in self.workers if worker.poll() is not None}
        news = ended - self.lost
        self.lost |= news
        return [f"worker {pid} is gone; the others go on with its orders" for pid in sorted(news)]

    def replace_lost(self) -> list[str]:
        """Start another process for each of ours that has ended, and say so; raises StageError when that is no use."""
        if self.simulators.poll() is not None:
            raise StageError(f"the simulators ended; see {self.logs / 'simulators'}.log")
        news = []
        for member in self.crew:
            if member.process.poll() is None:
                continue
            if member.gave_up:
                raise StageError(f"the {member.name} ended; see {self.logs / member.name}.log")
            gone = member.process.child_pid
            member.process.leash.close()
            member.process, member.started_at = self._start(member.name, member.command), time.monotonic()
            news.append(f"{member.command} {gone} is gone; {member.command} {member.process.child_pid} takes its place")
        return news

    async def end(self) -> None:
        """Stop bot and workers, all at once."""
        await asyncio.gather(*(asyncio.to_thread(processes.stop, member.process, STOP_SECONDS) for member in self.crew))

    def _start(self, name: str, command: str) -> LeashedProcess:
        # What a lost process has written stays in front of its successor's words.
        with (self.logs / f"{name}.log").open("ab" if self._knows(name) else "wb") as log:
            return processes.start(
                [sys.executable, "-m", "neurocards", command],
                env=self.environment,
                cwd=self.logs,  # away from a .env file of the real shop
                stdout=log,
                stderr=log,
            )

    def _knows(self, name: str) -> bool:
        return any(member.name == name for member in self.crew)


@asynccontextmanager
async def open_stage(home: Path, *, workers: int, port: int = 0) -> AsyncIterator[Stage]:
    """Start everything below `home`, with the simulators at `port`, or at a free one. Raises StageError.

    An earlier demo's database is used again.
    """
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        server = await asyncio.to_thread(EmbeddedPostgres.start, home / "postgres")
        stack.push_async_callback(asyncio.to_thread, server.stop)
        migrating = asyncio.create_task(migrate(server.dsn))
        stack.push_async_callback(_abandon, migrating)

        simulators = _start_simulators(logs, port)
        stack.push_async_callback(asyncio.to_thread, processes.stop, simulators, STOP_SECONDS)
        addresses = await _addresses(simulators, logs)
        await migrating

        stage = Stage(
            dsn=server.dsn,
            telegram=addresses["telegram"],
            kie=addresses["kie"],
            environment=_environment(home, server.dsn, addresses),
            logs=logs,
            simulators=simulators,
        )
        stack.push_async_callback(stage.end)
        stage.enlist("bot", "bot")
        for number in range(1, workers + 1):
            stage.enlist(f"worker-{number}", "worker")
        yield stage


async def _abandon(task: asyncio.Task[list[str]]) -> None:
    """Let go of a task whose outcome matters no longer."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _environment(home: Path, dsn: str, addresses: dict[str, str]) -> dict[str, str]:
    """The settings of production, with the simulators' addresses: no other process of ours knows that it is a demo.

    What an operator has set for the real shop must not reach it: neither a store nor a deadline, nor a key.
    """
    return {
        **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
        "NEUROCARDS_HOME": str(home),
        "DATABASE_URL": dsn,
        # Several processes on one machine, and nobody who watches over them.
        "OPS_PORT": "0",
        "BOT_TOKEN": "110000001:demo-token-of-the-simulated-telegram",
        "KIE_API_KEY": "demo",
        "FAL_KEY": "demo",
        # Nobody watches a demo to see orders wait for the pace of a key.
        "KIE_SUBMITS": "10000",
        "KIE_IN_FLIGHT": "10000",
        "FAL_SUBMITS": "10000",
        "FAL_IN_FLIGHT": "10000",
        "OPENAI_API_KEY": "demo",
        "TELEGRAM_API_URL": addresses["telegram"],
        "KIE_API_URL": addresses["kie"],
        "KIE_UPLOAD_URL": addresses["kie"],
        "FAL_QUEUE_URL": addresses["fal"],
        "FAL_REST_URL": addresses["fal"],
        "OPENAI_BASE_URL": addresses["openai"],
        "LEASE_SECONDS": DEMO_LEASE_SECONDS,
        "DOUBT_SECONDS": DEMO_DOUBT_SECONDS,
        "WELCOME_CREDITS": DEMO_WELCOME_CREDITS,
    }


def _start_simulators(logs: Path, port: int) -> LeashedProcess:
    with (logs / "simulators.log").open("wb") as log:
        return processes.start(
            [sys.executable, "-m", "neurocards.simulators", "--port", str(port)],
            cwd=logs,
            stdout=subprocess.PIPE,
            stderr=log,
        )


async def _addresses(simulators: LeashedProcess, logs: Path) -> dict[str, str]:
    """The line with which the simulators say where they listen."""
    if simulators.stdout is None:
        raise StageError("the simulators have no output")
    log = logs / "simulators.log"
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await asyncio.to_thread(simulators.stdout.readline)
    except TimeoutError as error:
        raise StageError(f"the simulators did not start; see {log}") from error
    if not line:
        # The port is taken, most likely: worth a look without opening a file.
        last_words = (await asyncio.to_thread(log.read_text)).splitlines()[-1:]
        raise StageError(f"the simulators did not start: {' '.join(last_words)} (see {log})")
    addresses: dict[str, str] = json.loads(line)
    return addresses

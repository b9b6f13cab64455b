"""The bot and the worker of a shop as real processes: started, asked to end, killed, and their logs read."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import neurocards
from neurocards import processes
from neurocards.processes import LeashedProcess
from neurocards.settings import Settings

Role = Literal["bot", "worker"]
ROLES: tuple[Role, ...] = ("bot", "worker")

GRACE_SECONDS = 35.0
"""Longer than either of them lets what it has begun finish."""

READY_SECONDS = 60.0

_SOURCE = Path(neurocards.__file__).parent.parent


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The surroundings of a shop's process: these settings, and none that an operator has set for a real one."""
    inherited = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return {
        **inherited,
        "PYTHONPATH": str(_SOURCE),
        "NEUROCARDS_HOME": str(home),
        "LOG_FORMAT": "json",
        "OPS_PORT": "0",
        **settings,
    }


class Crew:
    """At most one process of each role. Use it with `async with`: whoever still works at the end is asked to go."""

    def __init__(self, surroundings: Mapping[str, str], logs: Path) -> None:
        self._surroundings = surroundings
        self._logs = logs
        self._at_work: dict[Role, LeashedProcess] = {}
        self._hired = 0

    async def __aenter__(self) -> "Crew":
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(self.end(role, signal.SIGTERM) for role in list(self._at_work)))

    async def start(self, *roles: Role) -> None:
        """Start somebody in each role, and wait until they are at work: from then on they can be asked to end."""
        logs = []
        for role in roles:
            self._hired += 1
            log = self._logs / f"{self._hired:02}-{role}.log"
            self._at_work[role] = await asyncio.to_thread(self._start, role, log)
            logs.append(log)
        async with asyncio.timeout(READY_SECONDS):
            for log in logs:
                while '"started"' not in await asyncio.to_thread(log.read_text, "utf-8"):  # noqa: ASYNC110 (a file)
                    await asyncio.sleep(0.05)

    async def end(self, role: Role, how: signal.Signals) -> int:
        """End the one in this role by KILL or by asking it with TERM; returns the exit status once it has gone."""
        process = self._at_work.pop(role)
        if how is signal.SIGKILL:
            process.kill()
        return await asyncio.to_thread(processes.stop, process, GRACE_SECONDS)

    def gone(self) -> list[Role]:
        """Who has ended without being told to."""
        return [role for role, process in self._at_work.items() if process.poll() is not None]

    def outcries(self) -> list[str]:
        """What the logs hold that should never be there: errors, tracebacks, and whatever is no event at all."""
        return [
            f"{log.name}: {line[:3000]}"
            for log in sorted(self._logs.glob("*.log"))
            for line in log.read_text("utf-8", "replace").splitlines()
            if _is_outcry(line)
        ]

    def _start(self, role: Role, log: Path) -> LeashedProcess:
        with log.open("wb") as file:
            return processes.start(
                [sys.executable, "-m", "neurocards", role],
                env=self._surroundings,
                cwd=self._logs,  # away from a .env file of a real shop
                stdout=file,
                stderr=file,
            )


def _is_outcry(line: str) -> bool:
    try:
        event = json.loads(line)
    except ValueError:
        return True
    return "exception" in event or event.get("level") in ("error", "critical")

"""Where a worker can be stopped: in the middle of each of its calls to the outside, before or after the service acted.

The real adapters stand behind the gates. Whoever is held is a paused worker; held and cancelled, a dead one.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flow.rig import LEASE_SECONDS, Rig
from neurocards.db import callbacks
from neurocards.db.jobs import Job
from neurocards.domain.catalogue import JsonValue
from neurocards.domain.generations import Attempt
from neurocards.domain.scripts import Commission, WrittenPrompt
from neurocards.domain.tasks import Submission, Task
from neurocards.production import PromptWriter, VideoProvider
from shop import claim

Call = Literal["write", "upload", "submit", "task", "download"]
When = Literal["before", "after"]


@dataclass
class Gate:
    """Holds the first who comes until it is opened; `crash` is raised there instead of holding anybody."""

    crash: Exception | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_through(self) -> None:
        self.reached.set()
        if self.crash is not None:
            raise self.crash
        await self.opened.wait()


class Gates:
    """The gates that are closed, by where they stand."""

    def __init__(self) -> None:
        self._closed: dict[tuple[Call, When], list[Gate]] = {}

    def close(self, call: Call, when: When, *, crash: Exception | None = None) -> Gate:
        """The next who makes this call is held (or crashes) there; those who come later are not."""
        gate = Gate(crash)
        self._closed.setdefault((call, when), []).append(gate)
        return gate

    async def come_to(self, call: Call, when: When) -> None:
        waiting = self._closed.get((call, when))
        if waiting:
            await waiting.pop(0).pass_through()


@dataclass
class GatedWriter:
    """The prompt writer behind its gates."""

    writer: PromptWriter
    gates: Gates

    async def write(self, commission: Commission, *, photo: bytes) -> WrittenPrompt:
        await self.gates.come_to("write", "before")
        prompt = await self.writer.write(commission, photo=photo)
        await self.gates.come_to("write", "after")
        return prompt


@dataclass
class GatedProvider:
    """The video provider behind its gates; `limits` are the seconds each submit was given."""

    provider: VideoProvider
    gates: Gates
    limits: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def keys(self) -> tuple[str, ...]:
        return self.provider.keys

    async def upload_frame(self, frame: bytes, name: str, *, key: str) -> str:
        await self.gates.come_to("upload", "before")
        url = await self.provider.upload_frame(frame, name, key=key)
        await self.gates.come_to("upload", "after")
        return url

    async def submit(
        self, model: str, values: dict[str, JsonValue], *, key: str, limit_seconds: float, callback_url: str | None
    ) -> Submission:
        self.limits.append(limit_seconds)
        await self.gates.come_to("submit", "before")
        submission = await self.provider.submit(
            model, values, key=key, limit_seconds=limit_seconds, callback_url=callback_url
        )
        await self.gates.come_to("submit", "after")
        return submission

    async def task(self, task_id: str, *, key: str, task_url: str | None, model: str) -> Task:
        await self.gates.come_to("task", "before")
        task = await self.provider.task(task_id, key=key, task_url=task_url, model=model)
        await self.gates.come_to("task", "after")
        return task

    async def made_for(self, task_id: str, callback_url: str, *, key: str, model: str) -> bool:
        return await self.provider.made_for(task_id, callback_url, key=key, model=model)

    async def download(self, url: str, target: Path) -> None:
        await self.gates.come_to("download", "before")
        await self.provider.download(url, target)
        await self.gates.come_to("download", "after")


@dataclass(frozen=True)
class Workshop:
    """A rig whose production can be stopped at its gates."""

    rig: Rig
    gates: Gates
    provider: GatedProvider

    async def hold(self, call: Call, when: When) -> tuple[Gate, "asyncio.Task[None]", Job]:
        """Have the one due job worked on until it is held there."""
        gate = self.gates.close(call, when)
        (job,) = await claim(self.rig.database, worker="held", lease_seconds=LEASE_SECONDS)
        working = asyncio.create_task(self.rig.production(job, lambda: False))
        await come(gate.reached, working)
        return gate, working, job

    async def die(self, call: Call, when: When) -> Job:
        """Have the one due job worked on by somebody who dies there without another word."""
        _, working, job = await self.hold(call, when)
        await kill(working)
        return job

    async def call_back(self, attempt: Attempt, task_id: str) -> None:
        """The provider tells, as a hint, which task it made for the attempt."""
        await self.rig.database.run(lambda tx: callbacks.hint(tx, attempt.id, task_id, provider="kie"))

    async def due_task(self, photo: bytes) -> None:
        """Until the provider has made what the only order needs, and it is time to ask for it."""
        await self.rig.order(photo=photo)
        await self.rig.work()
        await self.rig.made()


async def come(reached: asyncio.Event, working: "asyncio.Task[None]") -> None:
    """Wait until somebody has come to a gate; fails when the work ends without it."""
    coming = asyncio.create_task(reached.wait())
    await asyncio.wait([coming, working], return_when=asyncio.FIRST_COMPLETED, timeout=10)
    assert coming.done(), f"the work never came to the gate: {working}"


async def kill(working: "asyncio.Task[None]") -> None:
    """End somebody at once."""
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def until_blocked(rig: Rig, *, sessions: int = 1) -> None:
    """Wait until so many sessions of the database wait for a lock."""
    async with asyncio.timeout(10):
        while await _blocked(rig) < sessions:  # noqa: ASYNC110 (locks set no event)
            await asyncio.sleep(0.01)


async def _blocked(rig: Rig) -> int:
    async with rig.database.transaction() as tx:
        cursor = await tx.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0

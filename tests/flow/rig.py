"""A workshop for tests: production over a real database, real adapters and simulators; time is moved by hand."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from neurocards.catalogue import load_catalogue
from neurocards.db import generations, jobs, orders
from neurocards.db.books import Violation
from neurocards.db.connection import Database
from neurocards.db.jobs import Job
from neurocards.domain.generations import Attempt, Generation
from neurocards.maintenance import turn
from neurocards.production import Production
from neurocards.providers.kie import Kie
from neurocards.providers.openai_writer import OpenAIWriter
from neurocards.storage import Store
from neurocards.worker import Worker
from shop import advance, new_customer, new_draft, place, violations

LEASE_SECONDS = 30.0
DOUBT_SECONDS = 300.0

Json = dict[str, Any]  # Any: the simulators' JSON


@dataclass(frozen=True)
class Rig:
    """Everything one worker needs, and both sides to look at."""

    database: Database
    store: Store
    kie: Kie
    production: Production
    kie_url: str
    openai_url: str
    client: httpx2.AsyncClient

    def worker(self, name: str = "test") -> Worker:
        return Worker(self.database, {"generation": self.production}, name=name, slots=50, lease_seconds=LEASE_SECONDS)

    async def order(self, *, videos: int = 1, photo: bytes, credits: int = 10) -> UUID:
        """An order whose photo lies in the store."""
        customer = await new_customer(self.database, free=credits)
        draft_id = await new_draft(self.database, customer, videos=videos)
        await self.store.put("photos/1", photo)
        placement = await place(self.database, draft_id)
        assert placement.outcome is orders.Outcome.PLACED
        return draft_id

    async def work(self, *, worker: Worker | None = None) -> int:
        """Run what is due now; returns how many jobs were claimed."""
        worker = worker or self.worker()
        claimed = await worker.turn()
        await worker.idle()
        return claimed

    async def finish(self, order_id: UUID, *, pace_seconds: float = 1.0, turns: int = 400) -> list[Generation]:
        """Move time and work until the order has ended."""
        worker = self.worker()
        for _ in range(turns):
            await self.work(worker=worker)
            found = await self.generations(order_id)
            if all(generation.state.ended for generation in found):
                return found
            await advance(self.database, pace_seconds)
            await turn(self.database)
            await asyncio.sleep(0.01)
        raise AssertionError(f"the order has not ended: {found}")

    async def generations(self, order_id: UUID) -> list[Generation]:
        async with self.database.transaction() as tx:
            return list(await generations.of_order(tx, order_id))

    async def attempts(self, order_id: UUID) -> list[Attempt]:
        async with self.database.transaction() as tx:
            return [
                attempt
                for generation in await generations.of_order(tx, order_id)
                for attempt in await generations.attempts(tx, generation.id)
            ]

    async def job(self) -> Json:
        """The only job's row."""
        async with self.database.transaction() as tx:
            cursor = await tx.execute("select state, attempt, rescues, failure from jobs")
            row = await cursor.fetchone()
        assert row is not None
        return dict(zip(("state", "attempt", "rescues", "failure"), row, strict=True))

    async def stages(self, order_id: UUID) -> list[str]:
        """What the seller is told, in order."""
        async with self.database.transaction() as tx:
            cursor = await tx.execute(
                "select coalesce(stage, kind) from notices where order_id = %s order by id", [order_id]
            )
            return [stage for (stage,) in await cursor.fetchall()]

    async def tasks(self) -> list[Json]:
        """What the provider was asked to make."""
        tasks: list[Json] = (await self.client.get(f"{self.kie_url}/sim/tasks")).json()
        return tasks

    async def made(self) -> None:
        """Wait until the provider has finished what it was asked to make."""
        async with asyncio.timeout(30):
            while not all(task["state"] in ("success", "fail") for task in await self.tasks()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def requests(self, route: str) -> list[Json]:
        """What reached the provider's side on one route."""
        found: list[Json] = (await self.client.get(f"{self.kie_url}/sim/requests", params={"route": route})).json()
        return found

    async def fault(self, **fault: Any) -> None:  # Any: the simulator's JSON
        response = await self.client.post(f"{self.kie_url}/sim/faults", json=fault)
        assert response.is_success, response.text

    async def writer_fault(self, **fault: Any) -> None:  # Any: the simulator's JSON
        response = await self.client.post(f"{self.openai_url}/sim/faults", json=fault)
        assert response.is_success, response.text

    async def violations(self) -> list[Violation]:
        return list(await violations(self.database))

    async def crash_during(self, route: str) -> None:
        """Work, and die without another word while the provider holds the request on this route."""
        before = len(await self.requests(route))
        await self.fault(route=route, kind="delay", delay_seconds=1.0, times=1)
        (job,) = await self._claim()
        working = asyncio.create_task(self.production(job, lambda: False))
        while len(await self.requests(route)) == before:
            assert not working.done(), "the worker never came to the route"
            await asyncio.sleep(0.01)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        await asyncio.sleep(1.1)  # the service finishes what it was doing; the answer reaches nobody

    async def crash_after_each_step(self, order_id: UUID) -> int:
        """A worker dies after every single step it records; returns how many workers it took."""
        for workers in range(1, 100):
            claimed = await self._claim()
            for job in claimed:
                await self.production(job, _once())
            if all(generation.state.ended for generation in await self.generations(order_id)):
                return workers
            await advance(self.database, 1.0)
        raise AssertionError("the order has not ended")

    async def expire_leases(self) -> None:
        await advance(self.database, LEASE_SECONDS + 1)
        await turn(self.database)

    async def _claim(self) -> list[Job]:
        return await self.database.run(
            lambda tx: jobs.claim(
                tx, worker="doomed", kinds=["generation"], limit=10, lease_seconds=LEASE_SECONDS, held=[]
            )
        )


def _once() -> Callable[[], bool]:
    return lambda: True


def make_rig(
    database: Database,
    store: Store,
    *,
    kie_url: str,
    openai_url: str,
    client: httpx2.AsyncClient,
    workspace: Path,
    video_model: str | None = None,
) -> tuple[Rig, OpenAIWriter]:
    catalogue = load_catalogue()
    if video_model is not None:
        catalogue = replace(catalogue, default_model=video_model)
    kie = Kie(api_url=kie_url, upload_url=kie_url, api_key="test-key")
    writer = OpenAIWriter(base_url=f"{openai_url}/v1", api_key="test-key", model="gpt-6-luna")
    production = Production(
        database,
        store,
        catalogue,
        kie,
        writer,
        workspace=workspace,
        lease_seconds=LEASE_SECONDS,
        doubt_seconds=DOUBT_SECONDS,
        deadline_seconds=3600,
    )
    return Rig(database, store, kie, production, kie_url, openai_url, client), writer

"""A workshop for tests: production over a real database, real adapters and simulators; time is moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
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
from neurocards.db.provider_keys import Pace
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.generations import Attempt, Generation
from neurocards.maintenance import turn
from neurocards.production import Production, VideoProvider
from neurocards.providers.fal import Fal
from neurocards.providers.keys import labelled
from neurocards.providers.kie import Kie
from neurocards.providers.openai_writer import OpenAIWriter
from neurocards.routing import Router
from neurocards.storage import Store, open_store
from neurocards.worker import Worker
from services import Simulators
from shop import PRICE, advance, new_customer, new_draft, place, violations

LEASE_SECONDS = 30.0
DOUBT_SECONDS = 300.0

WIDE_PACE = Pace(submits=10_000, window_seconds=10.0, slack_seconds=1.0, in_flight=10_000)

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
    catalogue: Catalogue
    router: Router
    fal: Fal | None = None
    fal_url: str = ""

    def worker(self, name: str = "test", *, slots: int = 50) -> Worker:
        return Worker(
            self.database, {"generation": self.production}, name=name, slots=slots, lease_seconds=LEASE_SECONDS
        )

    async def order(self, *, videos: int = 1, photo: bytes, credits: int = 10, price: int = PRICE) -> UUID:
        """An order whose photo lies in the store."""
        customer = await new_customer(self.database, free=credits)
        draft_id = await new_draft(self.database, customer, videos=videos, price=price)
        await self.store.put("photos/1", photo)
        placement = await place(self.database, draft_id, price=price)
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

    async def fal_tasks(self) -> list[Json]:
        """What fal was asked to make."""
        tasks: list[Json] = (await self.client.get(f"{self.fal_url}/sim/tasks")).json()
        return tasks

    async def kie_is(self, **settings: Any) -> None:  # Any: the simulator's JSON
        """Change how KIE behaves from now on."""
        response = await self.client.post(f"{self.kie_url}/sim/settings", json=settings)
        assert response.is_success, response.text

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


def make_router(catalogue: Catalogue, providers: Mapping[str, VideoProvider], *, pace: Pace = WIDE_PACE) -> Router:
    """A router of these providers, whose keys allow nearly everything."""
    return Router(catalogue, {name: one.keys for name, one in providers.items()}, dict.fromkeys(providers, pace))


def make_rig(
    database: Database,
    store: Store,
    *,
    kie_url: str,
    openai_url: str,
    client: httpx2.AsyncClient,
    workspace: Path,
    video_model: str | None = None,
    catalogue: Catalogue | None = None,
    kie_keys: Sequence[str] = ("test-key",),
    fal_url: str | None = None,
    pace: Pace = WIDE_PACE,
) -> tuple[Rig, OpenAIWriter]:
    """A rig of KIE with these keys, and of fal where there is an address of it."""
    catalogue = catalogue or load_catalogue()
    if video_model is not None:
        catalogue = replace(catalogue, preferred_model=video_model)
    kie = Kie(api_url=kie_url, upload_url=kie_url, keys=labelled("kie", kie_keys))
    fal = Fal(queue_url=fal_url, rest_url=fal_url, keys=labelled("fal", ["test-key"])) if fal_url else None
    providers: dict[str, VideoProvider] = {"kie": kie} | ({"fal": fal} if fal else {})
    router = make_router(catalogue, providers, pace=pace)
    writer = OpenAIWriter(base_url=f"{openai_url}/v1", api_key="test-key", model="gpt-6-luna")
    production = Production(
        database,
        store,
        catalogue,
        providers=providers,
        router=router,
        writer=writer,
        workspace=workspace,
        lease_seconds=LEASE_SECONDS,
        doubt_seconds=DOUBT_SECONDS,
        deadline_seconds=3600,
    )
    rig = Rig(
        database, store, kie, production, kie_url, openai_url, client, catalogue, router, fal=fal, fal_url=fal_url or ""
    )
    return rig, writer


@asynccontextmanager
async def opened_rig(
    database: Database,
    simulators: Simulators,
    home: Path,
    *,
    kie_url: str | None = None,
    fal: bool = True,
    **options: Any,  # Any: what make_rig takes besides
) -> AsyncIterator[Rig]:
    """A rig of both providers whose keys are known to the shop; `kie_url` is where KIE is taken to be."""
    rig, writer = make_rig(
        database,
        open_store(None, home),
        kie_url=kie_url or simulators.kie,
        fal_url=simulators.fal if fal else None,
        openai_url=simulators.openai.removesuffix("/v1"),
        client=simulators.client,
        workspace=home,
        **options,
    )
    await database.run(rig.router.register)
    try:
        yield rig
    finally:
        await writer.close()
        await rig.kie.close()
        if rig.fal is not None:
            await rig.fal.close()

"""P3, P4: the worker runs each job once, keeps what it holds, outlives its database's troubles, and drains."""

import asyncio
from collections import Counter
from uuid import UUID

import psycopg

from neurocards.db import generations, jobs
from neurocards.db.connection import Database, Transaction
from neurocards.db.jobs import Job
from neurocards.maintenance import turn
from neurocards.worker import Draining, Worker
from shop import advance, new_order, violations

LEASE_SECONDS = 30.0


class Refunding:
    """The shortest honest handler: it ends the generation of its job, and remembers for whom."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs: Counter[UUID] = Counter()

    async def __call__(self, job: Job, draining: Draining) -> None:
        self.runs[job.subject_id] += 1

        async def refund(tx: Transaction) -> bool:
            return await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="provider")

        assert await self.database.run(refund, patience_seconds=10)


class Waiting:
    """Works until it is let go, or told that the worker is draining; then gives the job back."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.started = asyncio.Event()
        self.let_go = asyncio.Event()
        self.was_draining: bool | None = None

    async def __call__(self, job: Job, draining: Draining) -> None:
        self.started.set()
        await self.let_go.wait()
        self.was_draining = draining()
        await self.database.run(lambda tx: jobs.snooze(tx, job, seconds=0))


def worker(database: Database, handler: Refunding | Waiting, *, name: str = "w", slots: int = 20) -> Worker:
    return Worker(database, {"generation": handler}, name=name, slots=slots, lease_seconds=LEASE_SECONDS)


async def open_jobs(tx: Transaction) -> int:
    cursor = await tx.execute("select count(*) from jobs where state in ('available', 'running')")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def run_until_done(database: Database, workers: list[Worker]) -> None:
    stop = asyncio.Event()
    running = [asyncio.create_task(one.run(stop)) for one in workers]
    async with asyncio.timeout(60):
        while await database.run(open_jobs):  # noqa: ASYNC110 (rows set no event)
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*running)


async def test_p3_four_workers_run_every_job_once(database: Database) -> None:
    for _ in range(60):
        await new_order(database, videos=5)
    handler = Refunding(database)
    await run_until_done(database, [worker(database, handler, name=f"w{n}") for n in range(4)])
    assert len(handler.runs) == 300
    assert set(handler.runs.values()) == {1}
    assert await violations(database) == []


async def test_f35_connections_that_are_cut_cost_nothing(database: Database, dsn: str) -> None:
    """Every connection of the database is terminated again and again while the workers work."""
    for _ in range(20):
        await new_order(database, videos=5)
    handler = Refunding(database)

    async def cut() -> None:
        async with await psycopg.AsyncConnection.connect(
            psycopg.conninfo.make_conninfo(dsn, dbname="neurocards"), autocommit=True
        ) as operator:
            while True:
                await operator.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
                    [psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]],
                )
                await asyncio.sleep(0.3)

    cutting = asyncio.create_task(cut())
    stop = asyncio.Event()
    running = [asyncio.create_task(worker(database, handler, name=f"w{n}").run(stop)) for n in range(2)]
    await asyncio.sleep(3)
    cutting.cancel()
    async with asyncio.timeout(60):
        while await database.run(open_jobs, patience_seconds=10):
            await advance(database, LEASE_SECONDS + 1)  # what a cut left claimed is rescued
            await turn(database)
            await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*running)
    assert await violations(database) == []
    async with database.transaction() as tx:
        cursor = await tx.execute("select count(*), sum(balance) from accounts where kind = 'held'")
        assert await cursor.fetchone() == (40, 0)


async def test_p4_a_heartbeat_keeps_what_runs_longer_than_the_lease(database: Database) -> None:
    await new_order(database)
    handler = Waiting(database)
    one = worker(database, handler)
    assert await one.turn() == 1
    await handler.started.wait()
    for _ in range(3):
        await advance(database, LEASE_SECONDS - 1)
        await one.beat()
        assert (await turn(database)).rescued == 0
    await advance(database, LEASE_SECONDS + 1)
    assert (await turn(database)).rescued == 1, "without the heartbeat it is taken back"
    handler.let_go.set()
    await one.idle()


async def test_f30_a_worker_that_is_told_to_stop_gives_back_what_it_holds(database: Database) -> None:
    await new_order(database)
    handler = Waiting(database)
    stop = asyncio.Event()
    running = asyncio.create_task(worker(database, handler).run(stop))
    await handler.started.wait()
    stop.set()
    await asyncio.sleep(0.1)
    assert not running.done(), "the step under way is finished first"
    await new_order(database)
    handler.let_go.set()
    await running
    assert handler.was_draining is True
    async with database.transaction() as tx:
        cursor = await tx.execute("select state, attempt, rescues, lease_number from jobs order by id")
        assert await cursor.fetchall() == [("available", 1, 0, 1), ("available", 1, 0, 0)]


async def test_a_full_worker_claims_nothing_more(database: Database) -> None:
    await new_order(database, videos=5)
    handler = Waiting(database)
    one = worker(database, handler, slots=2)
    assert await one.turn() == 2
    assert await one.turn() == 0
    handler.let_go.set()
    await one.idle()

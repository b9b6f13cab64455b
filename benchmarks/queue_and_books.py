"""The queue and the books at size: `python benchmarks/queue.py --help`.

One embedded PostgreSQL with `fsync` on. First real worker processes run jobs that do nothing but count themselves: none
may run twice. Then a shop is filled with ended orders, and the audit reads all of it. Last, what a claim costs beside
that history is compared with what it costs in an empty shop.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from uuid import uuid4

ROOT = Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import psycopg  # noqa: E402 (whoever runs a script has not set the path)
from rich.console import Console  # noqa: E402

from neurocards.db import books, customers, jobs  # noqa: E402
from neurocards.db.connection import APP_ROLE, Database, Transaction  # noqa: E402
from neurocards.db.embedded import EmbeddedPostgres  # noqa: E402
from neurocards.db.jobs import Job, LostLease  # noqa: E402
from neurocards.db.migrate import migrate  # noqa: E402
from neurocards.worker import Worker  # noqa: E402

LEASE_SECONDS = 30.0
SLOTS = 50
CUSTOMERS = 200
AUDIT_TARGET_SECONDS = 2.0

console = Console()

NO_OP_JOBS = b"""
    insert into jobs (kind, subject_id, customer_id)
    select 'no-op', gen_random_uuid(), (select min(id) from customers) + n %% %(customers)s
      from generate_series(1, %(jobs)s) n
"""

COMPLETE = b"""
    with done as (
        update jobs set state = 'completed', finished_at = clock_now(), lease_owner = null, lease_expires_at = null
         where id = %(id)s and lease_number = %(number)s and state = 'running'
        returning id
    )
    insert into runs select id from done
"""

# An order as the program leaves it: one of eight is refunded, one of fifty stays open.
FILL = """
create or replace procedure fill(p_orders integer, p_part integer) language plpgsql as $$
declare
    v_customer  bigint;
    v_order     uuid;
    v_video     uuid;
    v_attempt   uuid;
    v_first     bigint := (select min(id) from customers);
begin
    for n in 1 .. p_orders loop
        v_customer := v_first + 2 * floor(random() * {customers} / 2) + p_part;
        v_order := gen_random_uuid();
        delete from drafts where customer_id = v_customer;
        insert into drafts (order_id, customer_id, photo_key, template, description, wishes, count,
                            quoted_price_credits, card_message_id)
        values (v_order, v_customer, 'photos/' || v_order, 'hero_broll', 'A mug', '', 1, 1, 7);
        perform place_order(v_order, 1, 'model', 5, 1, interval '1 hour');
        if n % 50 <> 0 then
            select id into v_video from generations where order_id = v_order;
            update jobs
               set state = 'running', lease_number = 1, lease_owner = 'fill', lease_expires_at = now() + interval '1 h'
             where subject_id = v_video;
            if n % 8 = 0 then
                perform refund_generation(v_video, 1, 'provider');
            else
                v_attempt := gen_random_uuid();
                insert into attempts (id, generation_id, number, provider, model, lease_number, state, task_id,
                                      result_url, accepted_at, ended_at)
                values (v_attempt, v_video, 1, 'kie', 'model', 1, 'succeeded', v_attempt::text,
                        'https://files.example/1', now(), now());
                update generations
                   set video_key = 'videos/' || v_video, cover_key = 'c', thumbnail_key = 't', width = 720,
                       height = 1280, seconds = 5, size_bytes = 1, prompt = 'p', prompt_source = 'template',
                       state = 'processing'
                 where id = v_video;
                perform settle_generation(v_video, 1);
            end if;
            update notices set state = 'sent', sent_at = now(), message_id = 1 where order_id = v_order;
        end if;
        if n % 200 = 0 then
            commit;
        end if;
    end loop;
end $$
"""


async def people(database: Database, *, credits: int) -> None:
    async with database.transaction() as tx:
        for number in range(CUSTOMERS):
            one = await customers.register(tx, telegram_id=number + 1, first_name="Seller", language="en")
            await customers.top_up(tx, one.id, amount=credits, funding="paid", cause=str(uuid4()), reason="benchmark")


def work(dsn: str, name: str, jobs_in_all: int) -> None:
    """One worker process: it ends when every job has run."""

    async def run() -> None:
        async with Database(dsn, connections=10) as database:

            async def no_op(job: Job, _draining: object) -> None:
                async def complete(tx: Transaction) -> None:
                    cursor = await tx.execute(COMPLETE, {"id": job.id, "number": job.lease_number})
                    if cursor.rowcount == 0:
                        raise LostLease(job)

                await database.run(complete)

            worker = Worker(database, {"no-op": no_op}, name=name, slots=SLOTS, lease_seconds=LEASE_SECONDS)
            stop = asyncio.Event()
            working = asyncio.create_task(worker.run(stop))
            while await count(database, b"select count(*) from runs") < jobs_in_all:  # noqa: ASYNC110 (a table)
                await asyncio.sleep(0.2)
            stop.set()
            await working

    asyncio.run(run())


async def count(database: Database, query: bytes) -> int:
    async with database.transaction() as tx:
        cursor = await tx.execute(query)
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def run_no_ops(database: Database, dsn: str, *, jobs_in_all: int, workers: int) -> dict[str, float]:
    async with database.transaction() as tx:
        await tx.execute(b"create table runs (job_id bigint)")
        await tx.execute(NO_OP_JOBS, {"jobs": jobs_in_all, "customers": CUSTOMERS})
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work, args=(dsn, f"w{n}", jobs_in_all)) for n in range(workers)]
    begun = time.monotonic()
    for process in processes:
        process.start()
    while await count(database, b"select count(*) from runs") < jobs_in_all:  # noqa: ASYNC110 (a table)
        await asyncio.sleep(0.1)
    seconds = time.monotonic() - begun
    for process in processes:
        process.join()
    runs = await count(database, b"select count(*) from runs")
    distinct = await count(database, b"select count(distinct job_id) from runs")
    async with database.transaction() as tx:
        await tx.execute(b"drop table runs")
    return {"jobs": jobs_in_all, "runs": runs, "distinct": distinct, "seconds": round(seconds, 1)}


async def claim_milliseconds(database: Database) -> float:
    """The median time of a claim that finds work, then gives it back."""
    times = []
    for _ in range(40):
        begun = time.perf_counter()
        claimed = await database.run(
            lambda tx: jobs.claim(tx, worker="w", kinds=["no-op"], limit=10, lease_seconds=LEASE_SECONDS, held=[])
        )
        times.append(time.perf_counter() - begun)
        async with database.transaction() as tx:
            for job in claimed:
                await jobs.snooze(tx, job, seconds=0)
    return round(median(times) * 1000, 2)


async def fill(dsn: str, database: Database, orders: int) -> float:
    """Seconds it took."""
    async with database.transaction() as tx:
        await tx.execute(FILL.replace("{customers}", str(CUSTOMERS)).encode())

    async def part(number: int) -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute(f"call fill({orders // 2}, {number})".encode())

    begun = time.monotonic()
    await asyncio.gather(part(0), part(1))
    return round(time.monotonic() - begun, 1)


async def measure(arguments: argparse.Namespace, dsn: str) -> dict[str, object]:
    await migrate(dsn)
    async with Database(dsn) as owner, Database(dsn, role=APP_ROLE) as database:
        await people(owner, credits=arguments.orders)
        console.print(f"{arguments.jobs} jobs, {arguments.workers} worker processes…")
        no_ops = await run_no_ops(owner, dsn, jobs_in_all=arguments.jobs, workers=arguments.workers)
        async with owner.transaction() as tx:
            await tx.execute(NO_OP_JOBS, {"jobs": 5000, "customers": CUSTOMERS})
        claim_without = await claim_milliseconds(database)
        async with owner.transaction() as tx:
            await tx.execute("update jobs set run_at = 'tomorrow' where state = 'available'")
        console.print(f"filling a shop with {arguments.orders} orders…")
        filled = await fill(dsn, owner, arguments.orders)
        async with owner.transaction() as tx:
            await tx.execute("update jobs set run_at = clock_now() where kind = 'no-op' and state = 'available'")
            await tx.execute("analyze")
        claim_beside = await claim_milliseconds(database)
        audits = []
        for _ in range(3):
            begun = time.monotonic()
            async with database.transaction() as tx:
                found = await books.violations(tx)
                figures = await books.figures(tx)
            audits.append(time.monotonic() - begun)
    return {
        "no_ops": no_ops,
        "orders": figures.orders,
        "orders_per_second_filled": round(arguments.orders / filled, 1),
        "violations": len(found),
        "audit_seconds": round(median(audits), 2),
        "claim_ms_without_history": claim_without,
        "claim_ms_with_history": claim_beside,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--orders", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, EmbeddedPostgres.start(Path(home) / "postgres") as server:
        os.environ["PYTHONPATH"] = str(ROOT / "src")
        figures = asyncio.run(measure(arguments, server.dsn))
    console.print_json(json.dumps(figures))
    no_ops = figures["no_ops"]
    sound = isinstance(no_ops, dict) and no_ops["jobs"] == no_ops["runs"] == no_ops["distinct"]
    seconds = figures["audit_seconds"]
    fast = isinstance(seconds, float) and seconds <= AUDIT_TARGET_SECONDS * max(1.0, arguments.orders / 20_000)
    return 0 if sound and fast and not figures["violations"] else 1


if __name__ == "__main__":
    sys.exit(main())

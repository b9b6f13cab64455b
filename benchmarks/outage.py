"""How soon a shop goes on after the database was away, or its processes died: `python benchmarks/outage.py --help`.

Real processes with the leases of production: a bot and a worker, whose line to PostgreSQL is cut and put through again.
Nobody may exit, and every order must end.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT / "src")  # for the processes

import httpx2  # noqa: E402 (whoever runs a script has not set the path)
from rich.console import Console  # noqa: E402

from faults.line import Line  # noqa: E402
from flow.crew import Crew, environment  # noqa: E402
from neurocards.db import books  # noqa: E402
from neurocards.db.connection import Database  # noqa: E402
from neurocards.db.embedded import EmbeddedPostgres  # noqa: E402
from neurocards.db.migrate import migrate  # noqa: E402
from neurocards.demo.samples import draw_product  # noqa: E402
from neurocards.simulators import running_simulators  # noqa: E402
from neurocards.storm.sellers import Memory, Phone, Seller  # noqa: E402

BOT_TOKEN = "110000001:" + "s" * 35
LEASE_SECONDS = 30.0
TARGET_SECONDS = 10.0
GRACE_SECONDS = 1.0

CROWD = 10
RESTART_SECONDS = 3.0
"""How long systemd waits before it starts one of our units again."""
DELIVERY_TARGET_SECONDS = 15.0

console = Console()


@dataclass
class Shop:
    """What runs, and the line that can be cut."""

    database: Database
    line: Line
    crew: Crew
    client: httpx2.AsyncClient
    telegram: str
    photo: bytes
    memory: Memory

    async def order(self) -> float:
        """Somebody new orders; returns the seconds until the order was accepted."""
        begun = time.monotonic()
        phone = await Phone.buy(self.client, self.telegram, "Seller")
        seller = Seller(phone, Random(1), self.memory, self.photo)  # noqa: S311 (no secret)
        await seller.trade(1, lambda: False)
        return time.monotonic() - begun

    async def delivered(self) -> int:
        """How many videos have arrived."""
        async with self.database.transaction() as tx:
            cursor = await tx.execute("select count(*) from notices where kind = 'video' and state = 'sent'")
            ((count,),) = await cursor.fetchall()
        return int(count)

    async def ended(self) -> None:
        """Wait until every order has ended."""
        while True:
            async with self.database.transaction() as tx:
                if not (await books.figures(tx)).open:
                    return
            await asyncio.sleep(0.2)


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Shop]:
    photo = await asyncio.to_thread(draw_product)
    with EmbeddedPostgres.start(home / "postgres") as server:
        await migrate(server.dsn)
        async with (
            running_simulators(state=home / "simulators") as simulators,
            Line(server.dsn) as line,
            Database(server.dsn) as database,
            httpx2.AsyncClient(timeout=60) as client,
        ):
            settings = {"task_seconds": 1, "render": "shared"}
            (await client.post(f"{simulators.kie}/sim/settings", json=settings)).raise_for_status()
            (await client.get(f"{simulators.telegram}/bot{BOT_TOKEN}/getMe")).raise_for_status()
            surroundings = environment(
                home,
                DATABASE_URL=line.dsn,
                BOT_TOKEN=BOT_TOKEN,
                KIE_API_KEY="outage",
                OPENAI_API_KEY="outage",
                TELEGRAM_API_URL=simulators.telegram,
                KIE_API_URL=simulators.kie,
                KIE_UPLOAD_URL=simulators.kie,
                OPENAI_BASE_URL=simulators.openai,
                WELCOME_CREDITS="100",
                LEASE_SECONDS=str(LEASE_SECONDS),
            )
            async with Crew(surroundings, home / "logs") as crew:
                await crew.start("bot", "worker")
                yield Shop(database, line, crew, client, simulators.telegram, photo, Memory())


async def outage(shop: Shop, seconds: float) -> float:
    """Cut everybody off for so long; returns the seconds from the end of it to the next accepted order."""
    shop.line.down = True
    shop.line.cut_all()
    await asyncio.sleep(seconds)
    shop.line.down = False
    return await shop.order()


async def death(shop: Shop) -> float:
    """Kill the worker while it holds jobs; returns the seconds until another one has claimed one of them."""
    for _ in range(5):
        await shop.order()
        async with shop.database.transaction() as tx:
            cursor = await tx.execute("select id, lease_number from jobs where state = 'running' limit 1")
            held = await cursor.fetchone()
        if held is not None:
            break
    else:
        raise RuntimeError("the worker never held a job when it was looked at")
    await shop.crew.end("worker", signal.SIGKILL)
    died_at = time.monotonic()
    await shop.crew.start("worker")
    while True:
        async with shop.database.transaction() as tx:
            cursor = await tx.execute(
                "select 1 from jobs where id = %s and (lease_number > %s or state not in ('running', 'available'))",
                held,
            )
            if await cursor.fetchone() is not None:
                return time.monotonic() - died_at
        await asyncio.sleep(0.05)


async def restart(shop: Shop) -> float:
    """Kill bot and worker while a crowd orders; returns the seconds from then to the next video that somebody got."""
    over = asyncio.Event()

    async def keep_ordering() -> None:
        while not over.is_set():
            await shop.order()

    crowd = [asyncio.create_task(keep_ordering()) for _ in range(CROWD)]
    while await shop.delivered() < CROWD:  # noqa: ASYNC110 (the database is looked at)
        await asyncio.sleep(0.1)
    await asyncio.gather(shop.crew.end("bot", signal.SIGKILL), shop.crew.end("worker", signal.SIGKILL))
    died_at, before = time.monotonic(), await shop.delivered()
    await asyncio.sleep(RESTART_SECONDS)
    await shop.crew.start("bot", "worker")
    while await shop.delivered() == before:  # noqa: ASYNC110 (the same)
        await asyncio.sleep(0.05)
    after = time.monotonic() - died_at
    over.set()
    await asyncio.gather(*crowd)
    return after


async def measure(outages: list[float]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as home:
        async with opened(Path(home)) as shop:
            usual = await shop.order()
            after = {}
            for seconds in outages:
                console.print(f"the database is away for {seconds:g} s…")
                after[f"{seconds:g}"] = round(await outage(shop, seconds), 2)
            console.print("a worker is killed…")
            taken_up = await death(shop)
            console.print("bot and worker are killed while a crowd orders…")
            delivered = await restart(shop)
            await shop.ended()
            async with shop.database.transaction() as tx:
                found = await books.violations(tx)
                ((kept,),) = await (await tx.execute("select count(*) from orders")).fetchall()
            return {
                "first_order_usually_seconds": round(usual, 2),
                "first_order_after_outage_of_seconds": after,
                "exited": shop.crew.gone(),
                "lease_seconds": LEASE_SECONDS,
                "dead_workers_job_taken_up_seconds": round(taken_up, 2),
                "first_video_after_kill_of_all_seconds": round(delivered, 2),
                "orders_acknowledged": shop.memory.acknowledged,
                "orders_kept": kept,
                "violations": len(found),
                "sound": not shop.crew.gone()
                and not found
                and kept >= shop.memory.acknowledged
                and max(after.values(), default=0) <= TARGET_SECONDS
                and taken_up <= LEASE_SECONDS + GRACE_SECONDS
                and delivered <= DELIVERY_TARGET_SECONDS,
            }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--outages", type=float, nargs="*", default=[10.0, 90.0], help="seconds each")
    figures = asyncio.run(measure(parser.parse_args().outages))
    console.print_json(json.dumps(figures))
    return 0 if figures["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())

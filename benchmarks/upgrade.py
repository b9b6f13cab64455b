"""An upgrade without stopping sales: `python benchmarks/upgrade.py --help`.

A bot and a worker of an earlier commit sell. The schema moves on under them, and once more by a change of the usual
kind to the busiest tables, while somebody else's long transaction holds what it needs. Then a worker of today works
beside the old one, and a bot of today takes over. How long anybody waited for a lock is read from the server all along.
"""

import argparse
import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT / "src")  # for the processes

import httpx2  # noqa: E402 (whoever runs a script has not set the path)
import psycopg  # noqa: E402
from rich.console import Console  # noqa: E402

from flow.crew import Crew, environment  # noqa: E402
from neurocards.db import books, migrate  # noqa: E402
from neurocards.db.connection import Database  # noqa: E402
from neurocards.db.embedded import EmbeddedPostgres  # noqa: E402
from neurocards.demo.samples import draw_product  # noqa: E402
from neurocards.simulators import running_simulators  # noqa: E402
from neurocards.storm.sellers import Memory, Phone, Seller  # noqa: E402

BOT_TOKEN = "110000002:" + "u" * 35
SELLERS = 4
MOST_WAIT_SECONDS = 1.0
HELD_SECONDS = 3.0
"""How long somebody's transaction holds the tables: some tries of the migration fail meanwhile."""

USUAL = (
    "alter table orders add column next text; alter table generations add column next text;"
    " alter table jobs add column next text; alter table notices add column next text not null default '';"
)

_WAITS_FOR_THE_MIGRATION = b"""
    with migrating as (
         select pid from pg_locks
          where locktype = 'advisory' and granted and (classid::bigint << 32) + objid::bigint = %s)
    select coalesce(max(extract(epoch from clock_timestamp() - waitstart)), 0)::float8
      from pg_locks
     where not granted and pid not in (select pid from migrating)
       and pg_blocking_pids(pid) && array(select pid from migrating)
"""

console = Console()


@dataclass
class Watched:
    """What the server showed of waits for the migration, in seconds, and of workers."""

    longest_wait: float = 0.0
    workers: Counter[str] = field(default_factory=Counter)

    async def watch(self, dsn: str) -> None:
        """Look a hundred times a second, until cancelled; a server that crashes is looked at again when it is back."""
        while True:
            with suppress(psycopg.OperationalError):
                await self._look(dsn)
            await asyncio.sleep(0.05)

    async def _look(self, dsn: str) -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            while True:
                cursor = await connection.execute(_WAITS_FOR_THE_MIGRATION, [migrate.LOCK])
                row = await cursor.fetchone()
                self.longest_wait = max(self.longest_wait, row[0] if row else 0.0)
                cursor = await connection.execute("select distinct lease_owner from jobs where state = 'running'")
                self.workers.update(owner for (owner,) in await cursor.fetchall())
                await asyncio.sleep(0.01)


def older(commit: str, folder: Path) -> Path:
    """The source as it was at a commit."""
    packed = subprocess.run(["git", "-C", ROOT, "archive", commit, "src"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


async def move_on(dsn: str, folder: Path) -> list[str]:
    """Migrate to today's schema and one step further, while a long transaction is in the way; what was applied."""
    shutil.copytree(migrate.MIGRATIONS, folder)
    (folder / "9999_usual.sql").write_text(USUAL)
    migrate.MIGRATIONS = folder
    async with await psycopg.AsyncConnection.connect(dsn) as reader:
        await reader.execute("select from orders, generations, jobs, notices limit 1")
        moving = asyncio.create_task(migrate.migrate(dsn))
        await asyncio.sleep(HELD_SECONDS)
        await reader.rollback()
    return await moving


async def measure(commit: str, seconds: float) -> dict[str, Any]:
    photo = await asyncio.to_thread(draw_product)
    with tempfile.TemporaryDirectory() as scratch, EmbeddedPostgres.start(Path(scratch, "postgres")) as server:
        home = Path(scratch, "home")
        old = await asyncio.to_thread(older, commit, Path(scratch, "old"))
        async with (
            running_simulators(state=Path(scratch, "simulators")) as outside,
            httpx2.AsyncClient(timeout=60) as client,
        ):
            (
                await client.post(f"{outside.kie}/sim/settings", json={"task_seconds": 1, "render": "shared"})
            ).raise_for_status()
            (await client.get(f"{outside.telegram}/bot{BOT_TOKEN}/getMe")).raise_for_status()
            today = environment(
                home,
                DATABASE_URL=server.dsn,
                BOT_TOKEN=BOT_TOKEN,
                KIE_API_KEY="upgrade",
                OPENAI_API_KEY="upgrade",
                TELEGRAM_API_URL=outside.telegram,
                KIE_API_URL=outside.kie,
                KIE_UPLOAD_URL=outside.kie,
                OPENAI_BASE_URL=outside.openai,
                WELCOME_CREDITS="1000",
            )
            then = {**today, "PYTHONPATH": str(old)}
            subprocess.run([sys.executable, "-m", "neurocards", "migrate"], env=then, cwd=scratch, check=True)  # noqa: ASYNC221
            memory, over, watched = Memory(), asyncio.Event(), Watched()
            async with (
                Database(server.dsn) as database,
                Crew(then, Path(scratch, "logs", "old")) as before,
                Crew(today, Path(scratch, "logs", "new")) as after,
            ):
                await before.start("bot", "worker")
                watching = asyncio.create_task(watched.watch(server.dsn))
                phones = [await Phone.buy(client, outside.telegram, f"Seller {n}") for n in range(SELLERS)]
                trades = [
                    asyncio.create_task(Seller(phone, Random(n), memory, photo).trade(10_000, over.is_set))  # noqa: S311
                    for n, phone in enumerate(phones)
                ]
                console.print(f"{commit} sells…")
                await asyncio.sleep(seconds)
                console.print("the schema moves on…")
                acknowledged = memory.acknowledged
                applied = await move_on(server.dsn, Path(scratch, "migrations"))
                during = memory.acknowledged - acknowledged
                await asyncio.sleep(seconds)
                console.print("a worker of today beside the old one…")
                watched.workers.clear()
                await after.start("worker")
                await asyncio.sleep(seconds)
                workers = dict(watched.workers)
                console.print("and a bot of today takes over…")
                await before.end("bot", signal.SIGTERM)
                await after.start("bot")
                await asyncio.sleep(seconds)
                over.set()
                await asyncio.gather(*trades)
                figures = await _ended(database)
                async with database.transaction() as tx:
                    violations = await books.violations(tx)
                watching.cancel()
                gone, outcries = before.gone() + after.gone(), before.outcries() + after.outcries()
    return {
        "older": commit,
        "applied": applied,
        "orders": figures.orders,
        "orders_accepted_while_migrating": during,
        "completed": figures.completed,
        "failed": figures.failed,
        "taken_back_by_sellers": figures.cancelled,
        "confirmed_but_never_placed": sum(not one.acknowledged for one in memory.confirmed.values()),
        "longest_lock_wait_seconds": round(watched.longest_wait, 3),
        "looks_at_running_jobs_by_worker": workers,
        "violations": len(violations),
        "exited": gone,
        "errors_in_logs": outcries[:5],
        "sound": not (figures.failed or violations or gone or outcries)
        and watched.longest_wait <= MOST_WAIT_SECONDS
        and len(workers) == 2
        and during > 0,
    }


async def _ended(database: Database) -> books.Figures:
    """Wait until every order has."""
    while True:
        async with database.transaction() as tx:
            figures = await books.figures(tx)
        if not figures.open:
            return figures
        await asyncio.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--older", default="21565dc", help="the commit whose bot and worker are upgraded")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each part takes")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.older, options.seconds))
    console.print_json(json.dumps(figures))
    return 0 if figures["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())

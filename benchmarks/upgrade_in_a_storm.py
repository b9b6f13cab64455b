"""An upgrade in the middle of a storm: `python benchmarks/upgrade_in_a_storm.py --help`.

`./neurocards storm` of an earlier commit rages: its bots and workers are killed and stopped and its database crashes
all the time. The schema moves on under them, and once more by a change of the usual kind to the busiest tables; a
migration that a crash breaks off is asked for again. Then a worker of today works beside those of then. The storm
reckons as ever.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it ships no types
import psycopg
from upgrade import MOST_WAIT_SECONDS, ROOT, USUAL, Watched, console, older

from neurocards.db import migrate
from neurocards.db.embedded import attach

START_SECONDS = 120.0
"""How long the first order of the storm is waited for."""

CRASHED = (psycopg.OperationalError, migrate.Busy)
MOVING_SECONDS = 120.0
DRAINING_SECONDS = 60.0
WORKER_SHARE = 0.4
"""For how much of the storm the worker of today is there."""


async def opened(scratch: Path) -> str:
    """The address of the storm's database, as soon as somebody has ordered."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            dsn = await asyncio.to_thread(_attached, scratch)
            if dsn is not None and await _has_orders(dsn):
                return dsn
            await asyncio.sleep(0.2)


def _attached(scratch: Path) -> str | None:
    folders = [*scratch.glob("neurocards-storm-*/postgres")]
    return attach(folders[0]) if folders else None


async def _has_orders(dsn: str) -> bool:
    try:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            cursor = await connection.execute("select exists (select from orders)")
            return await cursor.fetchone() == (True,)
    except psycopg.Error:
        return False


def surroundings(storm_pid: int) -> dict[str, str]:
    """The settings of the storm's shop, for today's code."""
    for process in psutil.Process(storm_pid).children(recursive=True):
        if "neurocards.storm.nursery" in process.cmdline():
            return {**process.environ(), "PYTHONPATH": str(ROOT / "src")}
    raise LookupError("the storm has no nursery")


async def move_on(dsn: str, folder: Path) -> tuple[list[str], int]:
    """Migrate to today's schema and one step further; what was applied, and in how many tries.

    Raises TimeoutError when the database does not come back.
    """
    shutil.copytree(migrate.MIGRATIONS, folder)
    (folder / "9999_usual.sql").write_text(USUAL)
    migrate.MIGRATIONS = folder
    wanted: list[str] = []
    async with asyncio.timeout(MOVING_SECONDS):
        for tries in count(1):
            with suppress(*CRASHED):
                wanted = wanted or await migrate.pending(dsn)
                await migrate.migrate(dsn)
                return wanted, tries
            await asyncio.sleep(0.5)
    raise AssertionError("a timeout ends in an error")


async def measure(commit: str, seconds: float, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        then = {
            **os.environ,
            "PYTHONPATH": str(await asyncio.to_thread(older, commit, scratch / "old")),
            "TMPDIR": name,
        }
        storm = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "neurocards", "storm", "--json", "--seconds", str(seconds), "--seed", str(seed)),
            env=then,
            cwd=scratch,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            dsn = await opened(scratch)
            watched = Watched()
            watching = asyncio.create_task(watched.watch(dsn))
            await asyncio.sleep(seconds / 4)
            console.print("the schema moves on…")
            applied, tries = await move_on(dsn, scratch / "migrations")
            longest_wait = watched.longest_wait
            console.print("a worker of today beside the old ones…")
            watched.workers.clear()
            with (scratch / "today.log").open("wb") as log:
                worker = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "neurocards", "worker"),
                    env=surroundings(storm.pid),
                    cwd=scratch,
                    stdout=log,
                    stderr=log,
                )
                try:
                    await asyncio.sleep(seconds * WORKER_SHARE)
                finally:
                    worker.send_signal(signal.SIGTERM)
                status = await asyncio.wait_for(worker.wait(), DRAINING_SECONDS)
            looks, mine = dict(watched.workers), f":{worker.pid}"
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            told, _ = await storm.communicate()
        finally:
            if storm.returncode is None:
                storm.send_signal(signal.SIGTERM)
                await storm.wait()
    figures = json.loads(told)
    old = sum(count for owner, count in looks.items() if not owner.endswith(mine))
    new = sum(looks.values()) - old
    return {
        "older": commit,
        "applied": applied,
        "tries": tries,
        "longest_lock_wait_seconds": round(longest_wait, 3),
        "looks_at_running_jobs": {"of then": old, "of today": new},
        "todays_worker_ended_with": status,
        "storm": {
            key: figures[key]
            for key in ("seed", "orders", "orders_acknowledged", "kills", "stops", "database_restarts", "violations")
        },
        "sound": storm.returncode == 0
        and status == 0
        and old > 0
        and new > 0
        and longest_wait <= MOST_WAIT_SECONDS
        and len(applied) > 1,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--older", default="21565dc", help="the commit whose storm it is")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the storm lasts")
    parser.add_argument("--seed", type=int, default=62)
    options = parser.parse_args()
    figures = asyncio.run(measure(options.older, options.seconds, options.seed))
    console.print_json(json.dumps(figures))
    return 0 if figures["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""A shop of many orders is lost and comes back: `python benchmarks/recovery.py --help`.

A shop with its own embedded database is filled by the program's own functions, backed up, and goes on: a payment in
Stars arrives after the backup. Then its database is removed, and the commands of docs/recovery.md bring it back, each
of them timed. Exits 0 when the books are clean, the payment is back, the shop sells again, and all of it took at most
five minutes.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import httpx2  # noqa: E402 (whoever runs a script has not set the path)
from aiogram.types import LabeledPrice  # noqa: E402
from queue_and_books import fill, people  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from neurocards.bot import make_bot  # noqa: E402
from neurocards.db.connection import Database  # noqa: E402
from neurocards.db.embedded import EmbeddedPostgres  # noqa: E402
from neurocards.db.migrate import migrate  # noqa: E402
from neurocards.simulators import running_simulators  # noqa: E402

TARGET_SECONDS = 300.0
TOKEN = "4711:drill"  # noqa: S105 (of a simulator)
STARS_PER_CREDIT = 100

console = Console()


async def open_shop(home: Path, orders: int) -> dict[str, float]:
    """Fill the shop, with a file in the store for each photo and video; returns figures of it."""
    server = await asyncio.to_thread(EmbeddedPostgres.start, home / "postgres")
    try:
        await migrate(server.dsn)
        async with Database(server.dsn) as database:
            await people(database, credits=orders)
            seconds = await fill(server.dsn, database, orders)
            async with database.transaction() as tx:
                cursor = await tx.execute(
                    "select video_key from generations where video_key is not null"
                    " union all select photo_key from orders"
                )
                keys = [key for (key,) in await cursor.fetchall()]
    finally:
        await asyncio.to_thread(server.stop)
    await asyncio.to_thread(_store, home / "store", keys)
    return {"filled": seconds, "objects": len(keys)}


def _store(folder: Path, keys: list[str]) -> None:
    for key in keys:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(b"x")


async def pay(telegram: str, client: httpx2.AsyncClient, *, stars: int) -> None:
    """Somebody whom the backup does not know pays, and nobody is there to book it."""
    bot = make_bot(TOKEN, telegram)
    try:
        await bot.get_me()
        params = {"bot": str(bot.id)}
        made = await client.post(f"{telegram}/sim/people", params=params, json={"first_name": "Ann"})
        person = f"{telegram}/sim/people/{made.json()['id']}"
        await client.post(f"{person}/start", params=params, json={})
        price = [LabeledPrice(label="Three credits", amount=stars)]
        link = await bot.create_invoice_link("Credits", "Three of them", "purchase-1", "XTR", price)
        asked = await client.post(f"{person}/pay", params=params, json={"link": link})
        await bot.answer_pre_checkout_query(asked.json()["checkout_id"], ok=True)
    finally:
        await bot.session.close()


def command(environment: dict[str, str], *arguments: str) -> tuple[float, str]:
    """Seconds and output of one command, which has to succeed."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "neurocards", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(f"neurocards {' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


async def drill(home: Path, orders: int) -> int:
    console.print(f"Filling a shop with {orders} orders…")
    opened = await open_shop(home, orders)
    console.print(f"{opened['filled']:.1f} s, {opened['objects']:.0f} objects in the store.")
    async with running_simulators() as addresses, httpx2.AsyncClient(timeout=30) as client:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "NEUROCARDS_HOME": str(home),
            "BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": addresses.telegram,
            "STARS_PER_CREDIT": str(STARS_PER_CREDIT),
            "BACKUP_KEY": "bmV1cm9jYXJkcyBiZW5jaG1hcmsgb2YgcmVjb3Zlcnk=",
        }

        async def run(*arguments: str) -> tuple[float, str]:
            return await asyncio.to_thread(command, environment, *arguments)

        steps = {"backup": (await run("backup"))[0], "restore-check": (await run("restore-check"))[0]}
        await pay(addresses.telegram, client, stars=3 * STARS_PER_CREDIT)
        await asyncio.to_thread(shutil.rmtree, home / "postgres")
        steps["restore"] = (await run("restore", "latest"))[0]
        steps["reconcile"], reconciled = await run("reconcile", "--json")
        steps["audit"], audited = await run("audit", "--json")
    found, books = json.loads(reconciled), json.loads(audited)
    recovery = steps["restore"] + steps["reconcile"] + steps["audit"]
    table = Table("step", "seconds", title=f"{books['orders']} orders, {books['transfers']} transfers")
    for name, seconds in steps.items():
        table.add_row(name, f"{seconds:.1f}")
    table.add_row("from nothing to sales on", f"{recovery:.1f}")
    console.print(table)
    backup = max((home / "backups").iterdir())
    console.print(f"The backup takes {backup.stat().st_size / 1e6:.1f} MB.")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    console.print(f"The largest of all processes took {peak:.0f} MB.")
    mended = [one["what"] for one in found["differences"] if one["mended"]]
    console.print(f"Mended: {mended.count('payment')} payments; {len(books['violations'])} violations.")
    sound = found["resumed"] and "payment" in mended and not books["violations"] and books["orders"] == orders
    return 0 if sound and sum(steps.values()) <= TARGET_SECONDS else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--orders", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recovery-") as home:
        return asyncio.run(drill(Path(home), arguments.orders))


if __name__ == "__main__":
    sys.exit(main())

"""Whether a provider's limits are kept by all workers together: `python benchmarks/provider_limits.py --help`.

Four real worker processes make the videos of orders that lie in the database, first with one key and then with two. The
simulated KIE holds each key to what the real one allows, and counts what it sees of it.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import httpx2  # noqa: E402 (whoever runs a script has not set the path)
from rich.console import Console  # noqa: E402

from flow.crew import environment  # noqa: E402
from flow.phones import Json  # noqa: E402
from neurocards import processes  # noqa: E402
from neurocards.db import books  # noqa: E402
from neurocards.db.connection import Database  # noqa: E402
from neurocards.db.embedded import EmbeddedPostgres  # noqa: E402
from neurocards.db.migrate import migrate  # noqa: E402
from neurocards.demo.samples import draw_product  # noqa: E402
from neurocards.media.photos import compose_frame  # noqa: E402
from neurocards.providers.keys import labelled  # noqa: E402
from neurocards.providers.kie import Kie  # noqa: E402
from neurocards.simulators import running_simulators  # noqa: E402
from shop import new_customer, new_draft, place, prepare  # noqa: E402

WORKERS = 4
SUBMITS = 20
"""What KIE takes of one key within ten seconds."""

TASK_SECONDS = 5.0
GRACE_SECONDS = 35.0
PATIENCE_SECONDS = 900.0
TWICE = 1.8
"""So many times as fast counts as twice: the beginning and the end of a run are the same with any number of keys."""

console = Console()


@dataclass(frozen=True)
class Site:
    """Where it takes place."""

    dsn: str
    database: Database
    telegram: str
    kie: str
    client: httpx2.AsyncClient
    home: Path
    frame: bytes


def main() -> int:
    """Measure; 0 when no limit was overstepped, nothing refused, and two keys are twice as fast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=200, help="how many videos in each run (default 200)")
    parser.add_argument("--in-flight", type=int, default=15, help="tasks that a key may have at once (default 15)")
    options = parser.parse_args()
    figures = asyncio.run(_measure(orders=options.orders, in_flight=options.in_flight))
    console.print_json(json.dumps(figures))
    return 0 if figures["sound"] else 1


async def _measure(*, orders: int, in_flight: int) -> Json:
    with tempfile.TemporaryDirectory(prefix="provider-limits-") as home:
        async with _opened(Path(home)) as site:
            runs = []
            for keys in (["first"], ["second", "third"]):
                console.print(f"{orders} orders, {len(keys)} key(s)…")
                runs.append(await _run(site, keys, orders=orders, in_flight=in_flight))
            async with site.database.transaction() as tx:
                found = await books.violations(tx)
    one, two = runs
    ratio = round(two["submits_per_second"] / one["submits_per_second"], 2)
    return {
        "workers": WORKERS,
        "orders": orders,
        "limits_of_a_key": {"submits_in_ten_seconds": SUBMITS, "in_flight": in_flight},
        "one_key": one,
        "two_keys": two,
        "times_as_fast": ratio,
        "violations": len(found),
        "sound": not found and ratio >= TWICE and all(run["within_limits"] for run in runs),
    }


@asynccontextmanager
async def _opened(home: Path) -> AsyncIterator[Site]:
    with EmbeddedPostgres.start(home / "postgres") as server:
        await migrate(server.dsn)
        async with (
            running_simulators(state=home / "simulators") as simulators,
            Database(server.dsn) as database,
            httpx2.AsyncClient(timeout=60) as client,
        ):
            frame = await asyncio.to_thread(lambda: compose_frame(draw_product()))
            yield Site(server.dsn, database, simulators.telegram, simulators.kie, client, home, frame)


async def _run(site: Site, keys: list[str], *, orders: int, in_flight: int) -> Json:
    """Make so many videos with these keys; what the provider has seen of it."""
    (await site.client.post(f"{site.kie}/sim/reset")).raise_for_status()
    limits = {"rate_limit": True, "max_in_flight": in_flight}
    quick = {"task_seconds": TASK_SECONDS, "render": "shared", "frame_rate": 5}
    (await site.client.post(f"{site.kie}/sim/settings", json=limits | quick)).raise_for_status()
    for _ in range(orders):
        draft_id = await new_draft(site.database, await new_customer(site.database, free=1))
        await place(site.database, draft_id)
    # Drawing frames would measure the machine: what is to hold the workers back is the pace alone.
    kie = Kie(api_url=site.kie, upload_url=site.kie, keys=labelled("kie", keys))
    await prepare(site.database, await kie.upload_frame(site.frame, "frame.jpg", key=kie.keys[0]))
    await kie.close()
    async with _workers(site, keys, in_flight=in_flight):
        await _ended(site)
    submits = await _submits(site)
    seen: Mapping[str, Json] = (await site.client.get(f"{site.kie}/sim/keys")).json()
    per_key = {
        f"key {number}": {
            name: one[name] for name in ("accepted", "refused", "most_accepted_in_ten_seconds", "most_in_flight")
        }
        for number, one in enumerate(seen.values(), start=1)
    }
    async with site.database.transaction() as tx:
        completed = (await books.figures(tx)).completed
    return {
        "keys": per_key,
        "seconds_from_first_to_last_submit": round(submits[-1] - submits[0], 1),
        "submits_per_second": round(len(submits) / (submits[-1] - submits[0]), 2),
        "completed_in_all": completed,
        "within_limits": sum(one["accepted"] for one in per_key.values()) == orders
        and all(
            one["most_accepted_in_ten_seconds"] <= SUBMITS
            and one["most_in_flight"] <= in_flight
            and one["refused"] == 0
            for one in per_key.values()
        ),
    }


@asynccontextmanager
async def _workers(site: Site, keys: list[str], *, in_flight: int) -> AsyncIterator[None]:
    surroundings = environment(
        site.home,
        DATABASE_URL=site.dsn,
        BOT_TOKEN="110000001:" + "s" * 35,
        KIE_API_KEY=",".join(keys),
        KIE_SUBMITS=str(SUBMITS),
        KIE_IN_FLIGHT=str(in_flight),
        TELEGRAM_API_URL=site.telegram,
        KIE_API_URL=site.kie,
        KIE_UPLOAD_URL=site.kie,
    )
    command = [sys.executable, "-m", "neurocards", "worker"]
    with (site.home / "workers.log").open("ab") as log:
        crew = [
            await asyncio.to_thread(processes.start, command, env=surroundings, cwd=site.home, stdout=log, stderr=log)
            for _ in range(WORKERS)
        ]
        try:
            yield
        finally:
            await asyncio.gather(*(asyncio.to_thread(processes.stop, one, GRACE_SECONDS) for one in crew))


async def _ended(site: Site) -> None:
    """Wait until every order has ended."""
    gives_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < gives_up_at:
        async with site.database.transaction() as tx:
            if not (await books.figures(tx)).open:
                return
        await asyncio.sleep(0.5)
    raise TimeoutError("the orders have not ended")


async def _submits(site: Site) -> list[float]:
    """When each submit came in at the provider."""
    response = await site.client.get(f"{site.kie}/sim/requests", params={"route": "createTask"})
    response.raise_for_status()
    return sorted(request["at"] for request in response.json())


if __name__ == "__main__":
    sys.exit(main())

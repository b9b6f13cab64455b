"""Random sellers over a shop whose processes end again and again: `python benchmarks/random_sellers.py --help`.

Exits 0 when nothing was lost, doubled or left undone. The same seed draws the same acts and the same trouble.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import httpx2  # noqa: E402 (whoever runs a script has not set the path)
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402
from rich.table import Table  # noqa: E402

from flow.storm import Outcome, Plan, Site, weather  # noqa: E402
from neurocards.db.embedded import EmbeddedPostgres  # noqa: E402
from neurocards.db.migrate import migrate  # noqa: E402
from neurocards.simulators import running_simulators  # noqa: E402

SECONDS_PER_VIDEO = 0.2
"""A quick provider: the storm is about everything around it."""

console = Console()


def main() -> int:
    """Run one storm; 0 when nobody has a complaint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=5000, help="how much all sellers do together (default 5000)")
    parser.add_argument("--sellers", type=int, default=10)
    parser.add_argument("--restarts", type=int, default=3, help="how often bot and worker are ended (default 3)")
    parser.add_argument("--seed", type=int, help="to have an earlier storm again; default: a new one")
    parser.add_argument("--home", type=Path, help="an empty folder for database, store and logs; default: temporary")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    plan = Plan(seed, options.sellers, -(-options.actions // options.sellers), options.restarts)
    console.print(f"seed {seed}", highlight=False)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="random-sellers-") as folder:
        outcome = asyncio.run(_run(plan, options.home or Path(folder)))
    _show(outcome, time.monotonic() - began)
    return 1 if outcome.complaints else 0


async def _run(plan: Plan, home: Path) -> Outcome:
    server = await asyncio.to_thread(EmbeddedPostgres.start, home / "postgres")
    try:
        await migrate(server.dsn)
        async with running_simulators() as addresses, httpx2.AsyncClient() as client:
            quick = {"task_seconds": SECONDS_PER_VIDEO, "render": "shared"}
            (await client.post(f"{addresses.kie}/sim/settings", json=quick)).raise_for_status()
            site = Site(server.dsn, addresses.telegram, addresses.kie, addresses.openai, home)
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            ) as progress:
                bar = progress.add_task(f"{plan.sellers} sellers", total=plan.sellers * plan.acts_each)
                return await weather(site, plan, on_act=lambda: progress.advance(bar))
    finally:
        await asyncio.to_thread(server.stop)


def _show(outcome: Outcome, seconds: float) -> None:
    figures = outcome.figures
    table = Table("What", "How many", title=f"{outcome.plan.sellers} random sellers, seed {outcome.plan.seed}")
    for what, number in (
        ("acts", sum(outcome.acts.values())),
        ("orders", figures.orders),
        ("videos completed", figures.completed),
        ("videos refunded", figures.failed + figures.cancelled),
        ("videos seen in the chats", outcome.videos_seen),
        ("of these sent again after a doubt", outcome.videos_repeated),
        ("credits issued", figures.issued_credits),
        ("credits spent", figures.spent_credits),
        ("dead updates", figures.updates_dead),
        *((f"ended: {what}", number) for what, number in sorted(outcome.ended.items())),
        ("seconds", round(seconds)),
        ("complaints", len(outcome.complaints)),
    ):
        table.add_row(what, str(number))
    console.print(table)
    acts = ", ".join(f"{name} {number}" for name, number in outcome.acts.most_common())
    console.print(f"Acts: {acts}", highlight=False)
    if outcome.complaints:
        console.print(outcome.told(), style="red", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())

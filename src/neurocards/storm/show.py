"""What a storm says of itself: a live line while it lasts, then its figures, as a table or as one JSON object."""

import asyncio
import json
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rich.markup import escape
from rich.table import Table

from neurocards.console import console
from neurocards.db.connection import Away
from neurocards.db.embedded import EmbeddedPostgresError
from neurocards.storm.crew import CrewError
from neurocards.storm.plan import Blow, Json, Plan
from neurocards.storm.reckoning import Reckoning, reckon
from neurocards.storm.stage import StageError
from neurocards.storm.weather import Progress, Storm, storm_over

COMPLAINTS_SHOWN = 30


@dataclass(frozen=True)
class Wishes:
    """What whoever starts the storm wants of it; without a seed one is drawn."""

    seconds: float
    seed: int | None
    workers: int
    as_json: bool


def run_storm(wishes: Wishes) -> int:
    """Have a storm and print its figures; 0 when nothing was lost, doubled or left hanging, 130 after Ctrl-C."""
    plan = plan_of(wishes)
    home = Path(tempfile.mkdtemp(prefix="neurocards-storm-"))
    try:
        figures = asyncio.run(_storm(plan, home, wishes))
    except (StageError, CrewError, EmbeddedPostgresError, httpx2.HTTPError, OSError, *Away) as error:
        _say(f"The storm could not take place: {error}. Again: {plan.replay}")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(home, ignore_errors=True)
        _say("Stopped; nothing is left running.")
        return 130
    if wishes.as_json:
        sys.stdout.write(json.dumps(figures, ensure_ascii=False) + "\n")
    else:
        _show(figures)
    if figures["violations"]:
        _say(f"Again: {plan.replay}\nLogs: {home / 'logs'}")
        return 1
    shutil.rmtree(home, ignore_errors=True)
    return 0


def plan_of(wishes: Wishes) -> Plan:
    """The storm that is wished for; with every other seed Telegram and KIE call the bot."""
    seed = secrets.randbelow(1_000_000) if wishes.seed is None else wishes.seed
    return Plan(seed=seed, seconds=wishes.seconds, workers=wishes.workers, hooks=seed % 2 == 1)


def figures_of(storm: Storm, reckoning: Reckoning) -> Json:
    """Everything worth telling, as JSON."""
    books, exits = (
        reckoning.books,
        Counter(one.post.partition("-")[0] for one in storm.stage.crew.exits if one.status == -signal.SIGKILL),
    )
    met = storm.trouble.met
    abandoned = [one for one in books.attempts if one.state == "abandoned"]
    callbacks = [callback for task in reckoning.seen.tasks for callback in task["callbacks"]]
    return {
        "seed": storm.plan.seed,
        "seconds": storm.plan.seconds,
        "workers": storm.plan.workers,
        "updates_by": "webhook" if storm.plan.hooks else "polling",
        "sellers": len(storm.memory.people),
        "orders": reckoning.figures.orders,
        "orders_acknowledged": reckoning.acknowledged,
        "videos_delivered": reckoning.figures.completed,
        "videos_refunded": dict(Counter(one.failure for one in books.videos if one.failure is not None)),
        "double_taps": storm.memory.double_taps,
        "cancel_taps": storm.memory.taken_back,
        "kills": exits.total(),
        "kills_by_role": dict(exits),
        "stops": storm.struck[Blow.STOP],
        "terms": storm.struck[Blow.TERM],
        "database_restarts": storm.struck[Blow.DATABASE],
        "slowest_recovery_seconds": _rounded(reckoning.slowest_recovery_seconds),
        "settling_seconds": _rounded(storm.settling_seconds),
        "faults": met,
        "provider_absences": storm.trouble.absences,
        "lost_answers": sum(number for name, number in met.items() if " drop_answer" in name),
        "updates_redelivered": storm.trouble.redelivered,
        "repeated_messages": reckoning.repeated_messages,
        "attempts": dict(Counter(one.state for one in books.attempts)),
        "provider_tasks": dict(Counter(task["provider"] for task in reckoning.seen.tasks)),
        "resubmissions": len(abandoned),
        "orphans": reckoning.orphans + sum(one.state == "orphaned" for one in books.attempts),
        "callbacks": len(callbacks),
        "callbacks_repeated": storm.trouble.callbacks_repeated,
        "callbacks_forged": storm.trouble.callbacks_forged,
        "violations": reckoning.complaints,
        "verdict": "lost or doubled" if reckoning.complaints else "nothing lost, nothing doubled, nothing left hanging",
        "replay": storm.plan.replay,
    }


async def _storm(plan: Plan, home: Path, wishes: Wishes) -> Json:
    _let_sigterm_interrupt()
    # It cuts these connections itself.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    with _telling(plan, quiet=wishes.as_json) as on_progress:
        async with storm_over(plan, home, on_progress) as storm:
            return figures_of(storm, await reckon(storm))


@contextmanager
def _telling(plan: Plan, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """One live line, where somebody watches a terminal."""
    if quiet or not console.is_terminal:
        yield lambda _progress: None
        return
    console.print(f"A shop of its own for storm {plan.seed}: database, simulators, bot, {plan.workers} workers.")
    with console.status("The first sellers are coming.") as status:

        def tell(progress: Progress) -> None:
            done = f"{progress.orders} orders, {progress.kills} kills"
            if progress.left is None:
                status.update(f"{progress.seconds_left:3.0f} s of storm left: {done}")
            else:
                waiting = ", ".join(f"{number} {what}" for what, number in progress.left.items())
                status.update(f"calm after {done}; still waiting: {waiting}")

        yield tell


def _let_sigterm_interrupt() -> None:
    """A TERM ends the storm like Ctrl-C: everything that was started is stopped."""
    storm = asyncio.current_task()
    if storm is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, storm.cancel)


def _show(figures: Json) -> None:
    table = Table("What", "How many", title=f"Storm {figures['seed']}", title_justify="left")
    for name, value in figures.items():
        if name in ("seed", "violations", "verdict", "replay"):
            continue
        told = ", ".join(f"{what} {number}" for what, number in value.items()) if isinstance(value, dict) else value
        table.add_row(name.replace("_", " "), escape(str(told)))
    console.print(table)
    complaints = figures["violations"]
    for complaint in complaints[:COMPLAINTS_SHOWN]:
        console.print(f"[red]•[/red] {escape(complaint)}", highlight=False)
    if len(complaints) > COMPLAINTS_SHOWN:
        console.print(f"and {len(complaints) - COMPLAINTS_SHOWN} more")
    console.print(f"[{'red' if complaints else 'green'}]{figures['verdict']}[/]")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)

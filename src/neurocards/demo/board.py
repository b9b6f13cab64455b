"""The live counters: a table that renews itself on a terminal; elsewhere a line when something has changed."""

import asyncio
from collections.abc import AsyncIterator

from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from neurocards.console import console
from neurocards.db import counters
from neurocards.db.books import Event
from neurocards.db.connection import Away, Database
from neurocards.db.counters import Counters
from neurocards.demo.stage import Stage

REFRESH_SECONDS = 1.0
LINE_SECONDS = 5.0
"""At most so often a line is printed where there is no terminal."""

Rows = list[tuple[str, str]]
"""What is counted, and the figures in words."""


async def show_board(database: Database, stage: Stage) -> None:
    """Show the counters until cancelled."""
    readings = _read(database, stage)
    await (_show_table(readings) if console.is_interactive else _print_lines(readings))


async def _show_table(readings: AsyncIterator[Rows]) -> None:
    # Without a refreshing thread: what others print meanwhile goes above the table all the same.
    with Live(console=console, auto_refresh=False) as live:
        async for rows in readings:
            table = Table.grid(padding=(0, 2))
            for what, figures in rows:
                table.add_row(f"[dim]{what}[/dim]", console.render_str(escape(figures)))
            live.update(Panel(table, title="live; Ctrl-C stops everything", title_align="left", expand=False))
            live.refresh()


async def _print_lines(readings: AsyncIterator[Rows]) -> None:
    now = asyncio.get_running_loop().time
    printed, printed_at = "", now() - LINE_SECONDS
    async for rows in readings:
        line = "; ".join(f"{what} {figures}" for what, figures in rows)
        if line != printed and now() - printed_at >= LINE_SECONDS:
            printed, printed_at = line, now()
            console.print(escape(line), soft_wrap=True, highlight=False)


async def _read(database: Database, stage: Stage) -> AsyncIterator[Rows]:
    """A reading every second; none while the database is away."""
    while True:
        try:
            async with database.transaction() as tx:
                counted, event = await counters.count(tx), await counters.latest(tx)
        except Away:
            pass
        else:
            yield _rows(counted, event, stage)
        await asyncio.sleep(REFRESH_SECONDS)


def _rows(counted: Counters, event: Event | None, stage: Stage) -> Rows:
    return [
        ("customers", f"{counted.customers}"),
        (
            "orders",
            f"{counted.orders_placed} placed: {counted.orders_in_work} in work,"
            f" {counted.orders_delivered} delivered, {counted.orders_refunded} refunded",
        ),
        (
            "credits",
            f"{counted.credits_available} available, {counted.credits_held} held, {counted.credits_spent} spent",
        ),
        ("jobs", f"{counted.jobs_waiting} waiting, {counted.jobs_running} running"),
        ("messages", f"{counted.notices_waiting} waiting to be sent"),
        ("updates", f"{counted.updates_handled} handled, {counted.updates_waiting} waiting"),
        ("workers", f"{stage.workers_alive} of {len(stage.workers)} alive"),
        ("last", f"{event.at.astimezone():%H:%M:%S} {event.what} ({event.detail})" if event else "nothing yet"),
    ]

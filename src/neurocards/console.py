"""What commands print for people: an audit's report, an order's story."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from neurocards.audit import Report
from neurocards.db.books import Event

console = Console()


def show_report(report: Report) -> None:
    """Print an audit's report for people."""
    figures = report.figures
    console.print(
        f"Books: {figures.orders} orders, {figures.generations} videos"
        f" ({figures.completed} completed, {figures.failed} failed, {figures.cancelled} cancelled,"
        f" {figures.open} open), {figures.transfers} transfers."
    )
    console.print(
        f"Credits: {figures.issued_credits} issued = {figures.available_credits} available"
        f" + {figures.held_credits} held + {figures.spent_credits} spent."
    )
    if not report.violations:
        console.print("[green]Audit clean:[/green] nothing lost, nothing doubled.")
        return
    table = Table("Check", "About", "Found", title=f"{len(report.violations)} violations", title_style="bold red")
    for one in report.violations:
        table.add_row(one.check, one.subject, one.detail)
    console.print(table)


def show_story(title: str, events: Sequence[Event]) -> None:
    """Print an order's story for people."""
    table = Table("When", "What", "Detail", title=title, title_justify="left")
    for event in events:
        table.add_row(f"{event.at:%H:%M:%S.%f}"[:-3], event.what, event.detail)
    console.print(table)

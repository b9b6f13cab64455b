"""What commands print for people: an audit's report, an order's story."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neurocards.audit import Report
from neurocards.db.attention import Matter
from neurocards.db.books import Event

REMEDIES = {
    "update": "mend its cause, then: neurocards again {subject}",
    "message": "nothing is owed: what was paid for it is paid back",
    "poison": "refunded; see what kills workers: neurocards order {subject}",
    "orphan": "paid for and not needed: compare with the provider's bill",
    "doubt": "its answer was lost: compare with the provider's bill",
}
"""What to do about each kind of matter."""

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
    console.print(
        f"Messages: {figures.notices_waiting} waiting, {figures.notices_undeliverable} undeliverable,"
        f" {figures.notices_repeated} sent again after a lost answer; dead updates: {figures.updates_dead}."
    )
    console.print(
        f"Attempts: {figures.attempts}, of which {figures.attempts_abandoned} with a lost answer"
        f" and {figures.attempts_orphaned} paid for in vain."
    )
    if not report.violations:
        console.print("[green]Audit clean:[/green] nothing lost, nothing doubled.")
        return
    table = Table("Check", "About", "Found", title=f"{len(report.violations)} violations", title_style="bold red")
    for one in report.violations:
        table.add_row(one.check, escape(one.subject), escape(one.detail))
    console.print(table)


def show_story(title: str, events: Sequence[Event]) -> None:
    """Print an order's story for people."""
    table = Table("When", "What", "Detail", title=title, title_justify="left")
    for event in events:
        table.add_row(f"{event.at:%H:%M:%S.%f}"[:-3], event.what, escape(event.detail))
    console.print(table)


def show_matters(found: Sequence[Matter]) -> None:
    """What a person should look at, and what to do about each."""
    if not found:
        console.print("[green]Nothing needs attention.[/green]")
        return
    table = Table("when", "what", "which", "known of it", "what to do", box=None, pad_edge=False)
    for one in found:
        remedy = REMEDIES[one.what].format(subject=one.subject)
        table.add_row(f"{one.at:%Y-%m-%d %H:%M}", one.what, one.subject, escape(one.detail), remedy)
    console.print(table)

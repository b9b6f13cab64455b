"""What commands print for people: an audit's report, an order's story, how providers stand, what they billed."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn
from rich.table import Column, Table

from neurocards.audit import Report
from neurocards.db.attention import Matter
from neurocards.db.bills import Bill, usd
from neurocards.db.books import Event, Margin
from neurocards.db.operators import Action, SalesPause
from neurocards.db.standing import KeyStanding, LeftAlone, ModelStanding, ProviderStanding, Standing
from neurocards.doctor.lines import Finding, State
from neurocards.keeping.backing_up import Made, Watch
from neurocards.keeping.reconciling import Reconciled
from neurocards.keeping.restoring import Proof, Restored

if TYPE_CHECKING:
    from neurocards.bot import Change
    from neurocards.preview import Preview

REMEDIES = {
    "update": "mend its cause, then: neurocards again {subject}",
    "message": "nothing is owed: what was paid for it is paid back",
    "poison": "refunded; see what kills workers: neurocards order {subject}",
    "orphan": "paid for and not needed: compare with the provider's bill",
    "doubt": "its answer was lost: compare with the provider's bill",
    "account": "top it up, raise the key's limit or put in another key; it is tried again by itself",
    "provider": "nothing, if it is away: it is tried again by itself; another company would stand in",
    "model": "others stand in; if its input has changed, mend its profile: docs/models.md",
    "unlisted": "others stand in; take its profile out, or name another VIDEO_MODEL: docs/models.md",
    "retiring": "name another VIDEO_MODEL before, if it is the one: docs/models.md",
    "bill": "see which attempts may explain it: neurocards bills; then ask the provider",
}
"""What to do about each kind of matter."""

SHOWN_ATTEMPTS = 5
"""So many are named where many may explain a difference."""

console = Console()


STATE_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red", State.NOT_SET: "dim"}


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what doctor found, a line each: how it stands, what was looked at, what is, and what to do."""
    table = Table("state", "about", "what is", "what to do", box=None, pad_edge=False)
    for one in findings:
        table.add_row(
            f"[{STATE_STYLES[one.state]}]{one.state}[/]", escape(one.check), escape(one.found), escape(one.advice)
        )
    console.print(table)
    counts = {state: sum(one.state is state for one in findings) for state in (State.FAILED, State.WARNING)}
    if any(counts.values()):
        console.print(f"\n{counts[State.FAILED]} failed, {counts[State.WARNING]} warnings: docs/doctor.md says more.")
    else:
        console.print("\n[green]Everything is well.[/green]")


def show_changes(changes: Sequence["Change"]) -> None:
    """Print what Telegram shows of the bot from now on."""
    if not changes:
        console.print("Name, descriptions and commands are as they should be; nothing was changed.")
    for one in changes:
        title = f"{one.what} ({one.language})"
        if one.refusal is None:
            console.print(f"[green]Set[/green] {title}:")
        else:
            console.print(f"[bold red]Not set[/] {title}, because Telegram refused: {escape(one.refusal)}")
        for line in one.text.splitlines():
            console.print(f"  {line}", markup=False, highlight=False)


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


def show_backup(made: Made) -> None:
    """Print where a backup lies and what is in it."""
    console.print(f"[green]Backup made:[/green] {escape(made.location)}", soft_wrap=True, highlight=False)
    console.print(
        f"{decimal(made.size_bytes)}, sha256 {made.sha256[:16]}…; it lists {made.media} objects of the store"
        f" ({decimal(made.media_bytes)}), which it does not hold. Old backups removed: {made.forgotten}.",
        highlight=False,
    )


def show_restored(restored: Restored) -> None:
    """Print what was put back, and what comes next."""
    console.print(
        f"[green]Restored[/green] {escape(restored.location)}, made {restored.made_at:%Y-%m-%d %H:%M:%S} UTC;"
        f" it lists {restored.media} objects of the store.",
        soft_wrap=True,
        highlight=False,
    )
    if restored.migrated:
        console.print(f"Migrated since: {', '.join(restored.migrated)}.", highlight=False)
    console.print("Sales are paused: run neurocards reconcile.")


def show_proof(proof: Proof) -> None:
    """Print how a trial restore went."""
    console.print(f"Restored {escape(proof.location)} beside the shop.", soft_wrap=True, highlight=False)
    show_report(proof.report)


def show_reconciled(found: Reconciled, *, dry_run: bool) -> None:
    """Print what differs, what was mended, what is known beside it, and whether the shop sells."""
    if found.report is not None:
        show_report(found.report)
    if found.differences:
        table = Table("what", "which", "known of it", "now", box=None, pad_edge=False)
        for one in found.differences:
            table.add_row(one.what, escape(one.subject), escape(one.detail), "mended" if one.mended else "LEFT")
        console.print(table)
    for note in found.notes:
        console.print(f"Note: {note}.", markup=False, highlight=False)
    if found.left:
        console.print(f"[bold red]{len(found.left)} left:[/bold red] nothing was resumed.")
    elif dry_run:
        console.print("[green]It would pass.[/green] Nothing was changed.")
    else:
        console.print("[green]Reconciled.[/green] " + ("Sales are on." if found.resumed else "Sales are as they were."))


def show_story(title: str, events: Sequence[Event]) -> None:
    """Print an order's story for people."""
    table = Table("When", "What", "Detail", title=title, title_justify="left")
    for event in events:
        table.add_row(f"{event.at:%H:%M:%S.%f}"[:-3], event.what, escape(event.detail))
    console.print(table)


def show_margin(margin: Margin) -> None:
    """Print what an order brought and cost."""
    credits = f"{margin.spent_credits} {'credit' if margin.spent_credits == 1 else 'credits'} spent"
    gift = f" ({margin.free_credits} of them a gift)" if margin.free_credits else ""
    line = (
        f"Margin: {_money(margin.margin_usd)} = {credits}{gift}, sold for {_money(margin.income_usd)},"
        f" - {_money(margin.cost_usd)} paid to providers"
    )
    if margin.doubtful_usd:
        line += f"; {_money(margin.doubtful_usd)} more may have been paid, then it is"
        line += f" {_money(margin.margin_usd - margin.doubtful_usd)}"
    if margin.unpriced:
        line += f"; not counted: {margin.unpriced} of whose price nothing is known"
    console.print(f"{line}.", highlight=False)


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


def show_sales(pause: SalesPause | None) -> None:
    """Whether orders are taken."""
    if pause is None:
        console.print("[green]Sales are on.[/green]")
    else:
        console.print(
            f"[yellow]Sales are paused[/yellow] since {pause.paused_at:%Y-%m-%d %H:%M} UTC by {pause.paused_by}:"
            f" {escape(pause.reason)}",
            highlight=False,
        )


def show_actions(found: Sequence[Action]) -> None:
    """What operators did, newest first."""
    if not found:
        console.print("No operator has done anything yet.")
        return
    table = Table("when (UTC)", "who", "what", "on", "why", box=None, pad_edge=False)
    for one in found:
        when = f"{one.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(when, one.operator, one.action, escape(one.subject), escape(one.reason))
    console.print(table)


@dataclass(frozen=True)
class Destination:
    """Which model a template would go to now, and why; without a model it says what stands in the way."""

    template: str
    model: str | None
    reason: str


def show_standing(standing: Standing, destinations: Sequence[Destination]) -> None:
    """Print how providers, keys and models stand, and where orders would go."""
    for provider in standing.providers:
        console.print(f"{provider.provider}: {_trouble(provider, standing.at)}", style="yellow", markup=False)
    _show_keys(standing)
    _show_models(standing)
    table = Table("template", "goes to", "why", box=None, pad_edge=False)
    for one in destinations:
        table.add_row(one.template, one.model or "nobody", escape(one.reason))
    console.print(table)


def _trouble(provider: ProviderStanding, now: datetime) -> str:
    failures = f"{provider.failures} {'failure' if provider.failures == 1 else 'failures'} since the last success"
    return f"{failures}, {_alone(provider.left_alone, now)}" if provider.left_alone else failures


def _show_keys(standing: Standing) -> None:
    if not standing.keys:
        console.print("No worker has named a key within a day.\n")
        return
    table = Table("key", "provider", "seen", "balance", "of", "in 10 s", "in flight", "state", box=None, pad_edge=False)
    for key in standing.keys:
        table.add_row(
            key.label,
            key.provider,
            _ago(key.seen_at, standing.at),
            _balance(key),
            _ago(key.weighed_at, standing.at),
            str(key.submits),
            str(key.in_flight),
            escape(_key_state(key, standing.at)),
        )
    console.print(table)
    console.print()


def _key_state(key: KeyStanding, now: datetime) -> str:
    if key.left_alone is None and key.rests_until is not None:
        return f"rests for {_span((key.rests_until - now).total_seconds())} more: it was asked too fast"
    return _alone(key.left_alone, now)


def _balance(key: KeyStanding) -> str:
    if key.balance_units is None:
        return "not told"
    return f"{key.balance_units:g} units" if key.balance_usd is None else _amount(key.balance_units, key.balance_usd)


def _show_models(standing: Standing) -> None:
    table = Table(
        "model", Column("id", overflow="fold"), "provider", "listed", "success", "ours", "10 s", "videos/day", "state",
        "price as told", box=None, pad_edge=False,
    )  # fmt: skip
    for model in standing.models:
        table.add_row(
            model.title,
            model.id,
            model.provider,
            {True: "yes", False: "NO", None: ""}[model.listed],
            _share(model.success_rate),
            _share(model.own_rate),
            _money(model.cost_usd) + ("" if model.cost_seconds == 10 else f" ({model.cost_seconds} s)"),
            str(model.videos or ""),
            escape(_state(model, standing.at)),
            escape(model.price or ""),
        )
    console.print(table)
    console.print()


def _state(model: ModelStanding, now: datetime) -> str:
    if model.is_retired:
        return f"retired {model.retires}"
    parts = [] if model.has_key else ["no key"]
    if model.retires is not None:
        parts.append(f"retires {model.retires}")
    if model.left_alone is not None:
        parts.append(_alone(model.left_alone, now))
    return ", ".join(parts)


def _alone(left: LeftAlone | None, now: datetime) -> str:
    """In words why something is not tried."""
    if left is None:
        return ""
    if left.is_over:
        return f"tried by one next: {left.why}"
    return f"left alone for {_span((left.until - now).total_seconds())} more: {left.why}"


def show_bills(bills: Sequence[Bill], *, days: int) -> None:
    """Print what was taken from each key on each day beside what our attempts account for."""
    if not bills:
        console.print(f"No balance and no video in {'one day' if days == 1 else f'{days} days'}.")
        return
    table = Table(
        "day", "key", "from", "to", "taken", "videos", "our attempts", "difference", "what may explain it",
        "unexplained", box=None, pad_edge=False,
    )  # fmt: skip
    for bill in bills:
        table.add_row(
            str(bill.day),
            bill.label,
            _clock(bill.since, bill.day),
            _clock(bill.until, bill.day),
            "" if bill.fell is None else _units(bill.provider, bill.fell),
            str(bill.videos),
            _units(bill.provider, bill.counted),
            "not compared" if bill.difference is None else _units(bill.provider, bill.difference),
            "\n".join(_explanations(bill)),
            _units(bill.provider, bill.unexplained) if bill.is_alarming else "",
            style="bold red" if bill.is_alarming else "",
        )
    console.print(table)
    alarming = sum(bill.is_alarming for bill in bills)
    if alarming:
        console.print(f"[bold red]{alarming} unexplained:[/bold red] compare with the provider's own list of tasks.")
    elif any(bill.fell is not None for bill in bills):
        console.print("[green]Bills agree:[/green] every cent is accounted for.")


def _explanations(bill: Bill) -> list[str]:
    lines = [
        f"topped up by about {_units(bill.provider, one.units)} before {_clock(one.at, bill.day)}"
        for one in bill.top_ups
    ]
    lines += [
        f"order {one.order_number}, video {one.ordinal}, attempt {one.number}: {one.state},"
        f" {_units(bill.provider, one.may_cost)}"
        for one in bill.doubtful[:SHOWN_ATTEMPTS]
    ]
    if len(bill.doubtful) > SHOWN_ATTEMPTS:
        lines.append(f"and {len(bill.doubtful) - SHOWN_ATTEMPTS} more attempts")
    return lines


def _units(provider: str, units: float) -> str:
    worth = usd(provider, units)
    return f"{units:g} units" if worth is None else _amount(units, worth)


def _amount(units: float, worth_usd: float) -> str:
    return f"{_money(worth_usd)} ({units:,.2f})"


def _money(amount_usd: float) -> str:
    """To the cent, and further where the cents are not whole."""
    cents = f"{abs(amount_usd):,.4f}".rstrip("0")
    whole, _, parts = cents.partition(".")
    return f"{'-' if round(amount_usd, 4) < 0 else ''}${whole}.{parts:0<2}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _clock(at: datetime | None, day: date) -> str:
    """The time (UTC), with its date where that is another one."""
    if at is None:
        return ""
    there = at.astimezone(UTC)
    return f"{there:%H:%M}" if there.date() == day else f"{there:%m-%d %H:%M}"


def _ago(at: datetime | None, now: datetime) -> str:
    return "" if at is None else f"{_span((now - at).total_seconds())} ago"


def _span(seconds: float) -> str:
    """A span of time in one unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size * 2:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def show_preview(preview: "Preview") -> None:
    """Print what would be sent for a video: as it is, since every blank of it may matter."""
    source = "the writer" if preview.written else "the template"
    parts = [
        ("The prompt writer is told", preview.instructions.strip()),
        ("and asked", f"{preview.question}\n+ {preview.photo}"),
    ]
    if preview.failure:
        parts.append(("It failed", preview.failure))
    if preview.written:
        parts.append(("It plans", json.dumps(plan_of(preview), ensure_ascii=False, indent=2)))
    parts.append(
        (
            f"{preview.model.title} ({preview.model.provider}, {preview.reason}) is asked, in the words of {source}",
            json.dumps(request_of(preview), ensure_ascii=False, indent=2),
        )
    )
    for title, text in parts:
        console.print(f"[bold]{escape(title)}:[/bold]")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        console.print()
    credits = f"{preview.price_credits} {'credit' if preview.price_credits == 1 else 'credits'}"
    console.print(f"Costs ${preview.usd:.2f} at the provider's list price; sold for {credits}.", highlight=False)


def request_of(preview: "Preview") -> dict[str, object]:
    """What the provider's address is sent."""
    return {"model": preview.model.id, "input": preview.input}


def plan_of(preview: "Preview") -> dict[str, object] | None:
    """What the writer answered beside the prompt."""
    if preview.written is None:
        return None
    plan = asdict(preview.written)
    del plan["prompt"]
    return plan


@contextmanager
def watched(what: str) -> Iterator[Watch]:
    """A line at a terminal that says how far a backup or a restore has come; nothing in a log."""
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=None)
        yield Watch(
            on_media=lambda count: progress.update(bar, description=f"{what}: {count} objects in the store"),
            on_bytes=lambda count: progress.advance(bar, count),
        )

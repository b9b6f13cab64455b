"""The commands. Each reads the settings, hands over to the composition root, and says in one line what is wrong."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, assert_never
from uuid import UUID, uuid4

import typer

from neurocards import app, operating
from neurocards.audit import Report, audit
from neurocards.catalogue import BadCatalogue
from neurocards.console import (
    Destination,
    console,
    plan_of,
    request_of,
    show_actions,
    show_backup,
    show_bills,
    show_changes,
    show_findings,
    show_margin,
    show_matters,
    show_preview,
    show_proof,
    show_reconciled,
    show_report,
    show_restored,
    show_sales,
    show_standing,
    show_story,
    watched,
)
from neurocards.db import bills, books, customers, jobs, migrate, operators, orders, standing, updates
from neurocards.db.attention import Matter, matters
from neurocards.db.connection import Away, Transaction
from neurocards.db.dumps import DumpError, NoProgram, NoRole
from neurocards.db.embedded import EmbeddedPostgresError
from neurocards.db.migrate import Busy, NotUnicode, SchemaTooNew
from neurocards.db.operators import COMMAND_LINE, Action, SalesPause
from neurocards.db.standing import Standing
from neurocards.doctor.lines import State
from neurocards.domain.bills import Bill
from neurocards.domain.failures import Failure
from neurocards.domain.orders import Order
from neurocards.domain.routing import Choice, Nobody, Route, Wait
from neurocards.keeping.backing_up import Made, NoBackup
from neurocards.keeping.reconciling import Reconciled
from neurocards.keeping.restoring import NotEmpty, Proof, Restored, Unsound
from neurocards.logs import set_up_logs
from neurocards.routing import offer
from neurocards.settings import BadSettings, Settings, read_leniently, read_settings
from neurocards.starting import Role, settings_for
from neurocards.storage import BadStore
from neurocards.texts import BadTexts

commands = typer.Typer(
    name="neurocards",
    help="Product photos in, marketplace videos out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
sales_commands = typer.Typer(help="Show whether orders are taken; pause and resume sales.", invoke_without_command=True)
commands.add_typer(sales_commands, name="sales")
Answer = TypeVar("Answer")


class Refusal(Exception):
    """The command was asked for something that is not there."""


OPERATORS_CAN_MEND = (
    Refusal,
    BadSettings,
    BadCatalogue,
    BadStore,
    BadTexts,
    EmbeddedPostgresError,
    SchemaTooNew,
    Busy,
    DumpError,
    NoProgram,
    NoRole,
    NoBackup,
    NotEmpty,
    NotUnicode,
    Unsound,
)


def main() -> None:
    """Run one command; what an operator can mend is told in plain words and exits 1."""
    try:
        commands(prog_name="neurocards")
    except OPERATORS_CAN_MEND as error:
        _give_up(str(error))
    except Failure as error:
        _give_up(f"an outside service does not answer: {error}")
    except Away as error:
        _give_up(f"the database does not answer: {' '.join(str(error).split())}")


@commands.command()
def bot(
    set_up: Annotated[
        bool, typer.Option("--setup", help="Only set the bot's name, descriptions and commands, and end.")
    ] = False,
) -> None:
    """Take orders from Telegram until stopped."""
    if set_up:
        _set_up()
        return
    asyncio.run(app.run_bot(_settings_for("bot")))


@commands.command()
def worker() -> None:
    """Make and deliver videos until stopped. Start as many as you like."""
    asyncio.run(app.run_worker(_settings_for("worker")))


@commands.command(name="migrate")
def migrate_command(
    check: Annotated[
        bool,
        typer.Option("--check", help="Change nothing: list what is pending or too new, and exit 1 if anything is."),
    ] = False,
) -> None:
    """Bring the database's schema up to date."""

    async def compare(settings: Settings) -> migrate.Difference:
        async with app.open_dsn(settings) as dsn:
            return await migrate.compare(dsn)

    if check:
        found = _ask(compare)
        for name in found.pending:
            console.print(f"pending: {name}")
        for name in found.unknown:
            console.print(f"too new: {name} is not known to this version of neurocards")
        if found:
            raise typer.Exit(1)
        console.print("Nothing to do: the schema is up to date.")
        return

    async def run(settings: Settings) -> list[str]:
        async with app.open_dsn(settings) as dsn:
            return await migrate.migrate(dsn)

    applied = _ask(run)
    console.print(f"Applied {', '.join(applied)}." if applied else "The schema is up to date.")


@commands.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Look at every setting and every outside part and say what to do; exits 1 when something fails or would fail."""
    reading = read_leniently()
    set_up_logs(reading.settings.log_format, level=logging.ERROR)
    findings = asyncio.run(app.run_doctor(reading))
    failed = [one for one in findings if one.state is State.FAILED]
    if as_json:
        _print_json({"checks": [asdict(one) for one in findings], "failed": len(failed)})
    else:
        show_findings(findings)
    if failed:
        raise typer.Exit(1)


@commands.command(name="audit")
def audit_command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Compare the books with themselves and with the store; exits 1 when anything is wrong."""

    async def run(settings: Settings) -> Report:
        async with app.open_basics(settings) as basics:
            return await audit(basics.database, basics.store)

    report = _ask(run)
    if as_json:
        _print_json({"violations": [asdict(one) for one in report.violations], **asdict(report.figures)})
    else:
        show_report(report)
    if report.violations:
        raise typer.Exit(1)


@commands.command()
def order(order_id: Annotated[str, typer.Argument(metavar="ID", help="The order's id, or its short number.")]) -> None:
    """Tell the whole story of one order: steps, attempts, credits, messages, and what it brought and cost."""

    async def run(settings: Settings) -> tuple[str, list[books.Event], books.Margin]:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            found = await _find_order(tx, order_id)
            return (
                f"Order {found.number} ({found.id})",
                await books.story(tx, found.id),
                await books.margin(tx, found.id, credit_usd=settings.credit_usd),
            )

    title, events, margin = _ask(run)
    show_story(title, events)
    show_margin(margin)


@commands.command()
def hurry(order_id: Annotated[str, typer.Argument(metavar="ID", help="The order's id, or its short number.")]) -> None:
    """Let an order go before all others: its videos are the next that workers take up."""

    async def run(settings: Settings) -> tuple[int, int]:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            found = await _find_order(tx, order_id)
            return found.number, await jobs.hurry(tx, found.id, priority=1)

    number, hurried = _ask(run)
    if hurried == 0:
        raise Refusal(f"order {number} has no open video: there is nothing to hurry")
    console.print(f"Order {number}: {hurried} open {'video' if hurried == 1 else 'videos'} first from now on.")


@commands.command()
def attention(
    days: Annotated[int, typer.Option(min=1, help="How far to look back.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """List what a person should look at: what ended badly, whom nobody can ask, what bills do not explain."""

    async def run(settings: Settings) -> Sequence[Matter]:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            return await matters(tx, basics.catalogue, within=timedelta(days=days))

    found = _ask(run)
    if as_json:
        _print_json({"matters": [asdict(one) for one in found]})
    else:
        show_matters(found)


@commands.command()
def providers(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Show how keys and models stand, and whom each template would be made by now; asks nobody outside."""

    async def run(settings: Settings) -> tuple[Standing, list[Destination]]:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            return await standing.read(tx, basics.catalogue.models.values()), [
                _destination(template.id, await offer(tx, basics.catalogue, template))
                for template in basics.catalogue.templates.values()
            ]

    stand, destinations = _ask(run)
    if as_json:
        _print_json({**asdict(stand), "templates": [asdict(one) for one in destinations]})
    else:
        show_standing(stand, destinations)


@commands.command(name="bills")
def bills_command(
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days (UTC), today included.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Compare what each key was charged with what our attempts account for; exits 1 when over a cent is unexplained."""

    async def run(settings: Settings) -> list[Bill]:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            return await bills.read(tx, days=days)

    found = _ask(run)
    if as_json:
        _print_json({"bills": [_bill_json(bill) for bill in found]})
    else:
        show_bills(found, days=days)
    if any(bill.is_alarming for bill in found):
        raise typer.Exit(1)


@commands.command()
def again(update_id: Annotated[int, typer.Argument(metavar="UPDATE", help="The dead update's id.")]) -> None:
    """Handle a dead update once more, after its cause is mended."""

    async def run(settings: Settings) -> bool:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            return await updates.revive(tx, update_id)

    if not _ask(run):
        raise Refusal(f"there is no dead update {update_id}; `neurocards attention` lists them")
    console.print(f"Update {update_id} will be handled once more.")


@commands.command()
def grant(
    telegram_id: Annotated[int, typer.Argument(help="The customer's Telegram id.")],
    credits: Annotated[int, typer.Argument(min=1, max=1_000_000, help="How many free credits.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the transfer.")],
    cause: Annotated[
        str | None, typer.Option(help="An identity of this gift: the same one again gives nothing more.")
    ] = None,
) -> None:
    """Give a customer free credits."""

    async def run(settings: Settings) -> tuple[bool, int]:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            customer = await customers.find(tx, telegram_id)
            if customer is None:
                raise Refusal(f"there is no customer with Telegram id {telegram_id}")
            moved = await operating.grant(
                tx, customer, amount=credits, cause=cause or uuid4().hex, operator=COMMAND_LINE, reason=reason
            )
            return moved, (await customers.get(tx, customer.id)).available_credits

    moved, available = _ask(run)
    console.print(f"{'Granted' if moved else 'Granted before, nothing changed'}; the customer has {available} now.")


@sales_commands.callback()
def sales(context: typer.Context) -> None:
    """Show whether orders are taken; pause and resume sales. What was ordered always goes on."""
    if context.invoked_subcommand is None:
        show_sales(_ask(_sales_pause))


@sales_commands.command(name="pause")
def sales_pause(reason: Annotated[str, typer.Option(help="Why; kept on record.")]) -> None:
    """Sell nothing from now on: customers are told so, and their drafts are kept."""
    if not reason.strip():
        raise Refusal("a pause needs a reason")

    async def run(settings: Settings) -> tuple[bool, SalesPause | None]:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            new = await operators.pause_sales(tx, operator=COMMAND_LINE, reason=reason.strip())
            return new, await operators.sales_pause(tx)

    new, pause = _ask(run)
    if not new:
        console.print("Sales were paused before; nothing changed.")
    show_sales(pause)


@sales_commands.command(name="resume")
def sales_resume(reason: Annotated[str, typer.Option(help="Why; kept on record.")] = "") -> None:
    """Take orders again."""

    async def run(settings: Settings) -> bool:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            return await operators.resume_sales(tx, operator=COMMAND_LINE, reason=reason.strip())

    if not _ask(run):
        console.print("Sales were not paused; nothing changed.")
    show_sales(None)


@commands.command()
def actions(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """List what operators did, in the chat and here, and what others tried."""

    async def run(settings: Settings) -> Sequence[Action]:
        async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
            return await operators.latest(tx, limit=limit)

    found = _ask(run)
    if as_json:
        _print_json({"actions": [asdict(one) for one in found]})
    else:
        show_actions(found)


@commands.command()
def backup() -> None:
    """Make an encrypted backup of the database with a list of what the store holds; removes old ones."""

    async def run(settings: Settings) -> Made:
        with watched("Backup") as watch:
            return await app.run_backup(settings, watch)

    show_backup(_ask(run))


@commands.command()
def restore(
    backup_name: Annotated[str, typer.Argument(metavar="BACKUP", help="A file, a backup's name, or latest.")],
) -> None:
    """Put a backup into an empty database; nothing is sold until `neurocards reconcile` has passed."""

    async def run(settings: Settings) -> Restored:
        with watched("Restore") as watch:
            return await app.run_restore(settings, backup_name, watch)

    show_restored(_ask(run))


@commands.command(name="restore-check")
def restore_check(
    backup_name: Annotated[str, typer.Argument(metavar="[BACKUP]", help="A file, a name, or latest.")] = "latest",
) -> None:
    """Prove a backup: restore it beside the shop, audit it there, record how that went; exits 1 if it is not sound."""

    async def run(settings: Settings) -> Proof:
        with watched("Trial restore") as watch:
            return await app.run_restore_check(settings, backup_name, watch)

    proof = _ask(run)
    show_proof(proof)
    if proof.failure is not None:
        raise typer.Exit(1)


@commands.command()
def reconcile(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what differs; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """After a restore: put back what the books have lost, then sell again; exits 1 if anything is left."""

    async def run(settings: Settings) -> Reconciled:
        with console.status("Comparing") if not as_json else nullcontext() as status:
            tell = (lambda what: status.update(f"Comparing {what}")) if status else (lambda _: None)
            return await app.run_reconcile(settings, dry_run=dry_run, tell=tell)

    found = _ask(run)
    if as_json:
        _print_json(
            {
                "differences": [asdict(one) for one in found.differences],
                "notes": found.notes,
                "resumed": found.resumed,
            }
        )
    else:
        show_reconciled(found, dry_run=dry_run)
    if found.left:
        raise typer.Exit(1)


@commands.command()
def prompt(
    photo: Annotated[Path, typer.Argument(help="The product's photo.")],
    *,
    template: Annotated[str, typer.Option(help="The template's id.")],
    text: Annotated[str, typer.Option(help="What the seller says of the product.")],
    wishes: Annotated[str, typer.Option(help="What the seller wishes for.")] = "",
    second: Annotated[Path | None, typer.Option(help="The other photo, for a template that needs two.")] = None,
    model: Annotated[
        str | None, typer.Option(show_default="the one that would be chosen", help="The model's id.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Really ask the prompt writer; costs a little.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a text.")] = False,
) -> None:
    """Show what would be sent for a video, to the prompt writer and to the model, and what it costs; sends nothing."""
    from neurocards.preview import NoPreview, Trial  # noqa: PLC0415 (decoding photos takes long to import)

    trial = Trial(
        photo=_file(photo),
        second_photo=_file(second) if second is not None else None,
        template=template,
        description=text.strip(),
        wishes=wishes.strip(),
        model=model,
    )
    try:
        preview = _ask(lambda settings: app.run_preview(settings, trial, write=write))
    except NoPreview as error:
        raise Refusal(str(error)) from error
    if not as_json:
        show_preview(preview)
        return
    _print_json(
        {
            "writer": {"instructions": preview.instructions, "question": preview.question, "photo": preview.photo},
            "plan": plan_of(preview),
            "writer_failure": preview.failure,
            "prompt_source": "writer" if preview.written else "template",
            "provider": preview.model.provider,
            "reason": preview.reason,
            "request": request_of(preview),
            "cost_usd": round(preview.usd, 4),
            "price_credits": preview.price_credits,
        }
    )


@commands.command()
def demo(
    *,
    photo: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Your product photo instead of the sample.")
    ] = None,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Where to put the video.")] = None,
    leave: Annotated[bool, typer.Option("--exit", help="End after the orders instead of waiting for Ctrl-C.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="How many worker processes.")] = 1,
    order_count: Annotated[int, typer.Option("--orders", min=1, max=500, help="How many sellers order at once.")] = 1,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, show_default="a free one", help="Where the simulators and the chat page are."),
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the chat page on this desktop.")
    ] = False,
) -> None:
    """Play the main job with simulators: no keys, no accounts, nothing to install."""
    from neurocards.demo.show import Wishes, run_demo  # noqa: PLC0415 (production commands need none of it)

    raise typer.Exit(
        run_demo(
            Wishes(
                photo=photo,
                out=out,
                leave=leave,
                workers=workers,
                order_count=order_count,
                port=port,
                browser=not no_browser,
            )
        )
    )


@commands.command()
def storm(
    *,
    seconds: Annotated[float, typer.Option(min=1, help="How long everything fails.")] = 60,
    seed: Annotated[int | None, typer.Option(min=0, show_default="drawn", help="The same storm again.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=16, help="How many worker processes.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Rehearse disaster on this machine; exits 0 only if nothing was lost, doubled or left hanging."""
    from neurocards.storm.show import Wishes, run_storm  # noqa: PLC0415 (production commands need none of it)

    raise typer.Exit(run_storm(Wishes(seconds=seconds, seed=seed, workers=workers, as_json=as_json)))


def _set_up() -> None:
    try:
        changes = _ask(app.run_setup)
    except Failure as failure:
        raise Refusal(f"Telegram does not say how the bot is shown: {failure.message}") from failure
    show_changes(changes)
    if any(change.refusal is not None for change in changes):
        raise typer.Exit(1)


def _settings_for(role: Role) -> Settings:
    """The settings of a process that runs for long: it does not start before all of them are sound."""
    settings = settings_for(role)
    set_up_logs(settings.log_format)
    return settings


def _settings() -> Settings:
    settings = read_settings()
    set_up_logs(settings.log_format)
    return settings


def _ask(run: Callable[[Settings], Coroutine[Any, Any, Answer]]) -> Answer:
    return asyncio.run(run(_settings()))


def _destination(template: str, found: Route) -> Destination:
    match found:
        case Choice(model, reason):
            return Destination(template, model.id, reason)
        case Wait(until, reason):
            return Destination(template, None, f"everybody is left alone until {until:%H:%M:%S}: {reason}")
        case Nobody():
            return Destination(template, None, "no model can make it: it is not sold")
        case _:
            assert_never(found)


def _bill_json(bill: Bill) -> dict[str, Any]:  # Any: whatever JSON can hold
    """A bill with what follows from it; amounts in the provider's own units, and the difference in US dollars too."""
    difference = bill.difference
    return {
        **asdict(bill),
        "difference": difference,
        "difference_usd": None if difference is None else bills.usd(bill.provider, difference),
        "unexplained": bill.unexplained,
        "unexplained_usd": bills.usd(bill.provider, bill.unexplained),
        "is_alarming": bill.is_alarming,
    }


async def _sales_pause(settings: Settings) -> SalesPause | None:
    async with app.open_basics(settings) as basics, basics.database.transaction() as tx:
        return await operators.sales_pause(tx)


async def _find_order(tx: Transaction, order_id: str) -> Order:
    """The order with this id or short number; raises Refusal."""
    found = (
        await orders.find_number(tx, int(order_id)) if order_id.isdecimal() else await orders.find(tx, _uuid(order_id))
    )
    if found is None:
        raise Refusal(f"there is no order {order_id}")
    return found


def _file(path: Path) -> bytes:
    """The file's content; raises Refusal."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from error


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Refusal(f"{text!r} is neither an order's id nor its number") from error


def _print_json(value: dict[str, Any]) -> None:  # Any: whatever JSON can hold
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def _give_up(message: str) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"neurocards: {line}\n")
    raise SystemExit(1)

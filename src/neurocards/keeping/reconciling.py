"""After a restore: what others know that the books have lost is put back or named, and only then sales go on.

Every part of it is safe to repeat, and with `dry_run` nothing is changed at all.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from neurocards import maintenance, payments
from neurocards.audit import Report, audit
from neurocards.checks import Account
from neurocards.db import bills, customers, generations, operators, provider_keys, recovery
from neurocards.db.connection import Database, Transaction
from neurocards.domain.failures import Failure
from neurocards.keeping.restoring import RESTORED
from neurocards.storage import Store

BILL_DAYS = 7
STRANGERS_AT_ONCE = 500

log = structlog.get_logger()


@dataclass(frozen=True)
class StarMove:
    """One movement of the bot's Stars, as Telegram tells of it."""

    charge_id: str
    stars: int
    at: datetime
    is_refund: bool
    telegram_id: int
    first_name: str
    language: str


@dataclass(frozen=True)
class Difference:
    """What the books and the world do not agree on, and whether they do now."""

    what: str
    subject: str
    detail: str
    mended: bool = False


@dataclass
class Reconciled:
    """What was found. `notes` are what is known and cannot, or need not, be mended."""

    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    report: Report | None = None
    resumed: bool = False

    @property
    def left(self) -> list[Difference]:
        """The differences that a person has to look at."""
        return [one for one in self.differences if not one.mended]


async def reconcile(
    database: Database,
    store: Store,
    *,
    star_moves: AsyncIterator[StarMove],
    accounts: Mapping[str, Account],
    stars_per_credit: int | None,
    dry_run: bool,
    tell: Callable[[str], None] = lambda _: None,
) -> Reconciled:
    """Compare, mend what can be mended, and resume the sales that a restore had paused if nothing is left.

    `accounts` are the providers that say what is left on a key. Raises Failure when Telegram or the store is away.
    """
    found = Reconciled()
    tell("what is overdue")
    found.differences += await _overdue(database, dry_run=dry_run)
    tell("payments")
    found.differences += await _payments(database, star_moves, stars_per_credit, dry_run=dry_run)
    tell("the accounts with providers")
    found.notes += await _spending(database, accounts, dry_run=dry_run)
    tell("the store")
    found.notes += await _strangers(database, store)
    found.differences += await _photos(database, store)
    tell("the books")
    found.report = await audit(database, store)
    found.differences += [
        Difference(one.check, one.subject, one.detail)
        for one in found.report.violations
        # Without a dry run they were paid back before.
        if not (dry_run and one.check == "no_generation_is_overdue")
    ]
    if not dry_run:
        found.resumed = await database.run(partial(_conclude, found=found))
    return found


async def _overdue(database: Database, *, dry_run: bool) -> list[Difference]:
    """What was open at the time of the backup has missed its deadline since: it is paid back, as in any outage."""
    if dry_run:
        overdue = await database.run(generations.overdue)
        return [Difference("overdue", str(one), "would be paid back") for one in overdue]
    paid_back: list[Difference] = []
    while True:
        overdue = await database.run(generations.overdue)
        turn = await maintenance.turn(database)
        left = set(await database.run(generations.overdue))
        ended = [one for one in overdue if one not in left]
        paid_back += [Difference("overdue", str(one), "paid back", mended=True) for one in ended]
        if turn.overdue == 0 or not ended:
            return paid_back


async def _payments(
    database: Database, moves: AsyncIterator[StarMove], stars_per_credit: int | None, *, dry_run: bool
) -> list[Difference]:
    """Every payment in Stars is in the books, whatever happened to the message that told of it."""
    paid: dict[str, StarMove] = {}
    returned: dict[str, StarMove] = {}
    async for move in moves:
        (returned if move.is_refund else paid)[move.charge_id] = move
    booked = await database.run(lambda tx: recovery.moves_by_cause(tx, [payments.STARS, payments.STARS_RETURNED]))
    found: list[Difference] = []
    for charge_id, move in paid.items():
        is_booked = f"{payments.STARS}{charge_id}" in booked
        if charge_id in returned:
            if is_booked and f"{payments.STARS_RETURNED}{charge_id}" not in booked:
                detail = f"{move.stars} Stars of {move.telegram_id} were returned, and the credits were not taken back"
                found.append(Difference("refund", charge_id, detail))
        elif not is_booked:
            found.append(await _credit(database, move, stars_per_credit, dry_run=dry_run))
    for cause, (telegram_id, credits) in booked.items():
        charge_id = cause.removeprefix(payments.STARS)
        if cause.startswith(payments.STARS) and charge_id not in paid:
            detail = f"{credits} credits of {telegram_id}, and Telegram knows of no such payment"
            found.append(Difference("unpaid", charge_id, detail))
    return found


async def _credit(database: Database, move: StarMove, stars_per_credit: int | None, *, dry_run: bool) -> Difference:
    about = f"{move.stars} Stars of {move.telegram_id} on {move.at:%Y-%m-%d %H:%M}"
    if stars_per_credit is None:
        return Difference("payment", move.charge_id, f"{about}: STARS_PER_CREDIT does not say for how many credits")
    credits, odd = divmod(move.stars, stars_per_credit)
    if odd:
        return Difference("payment", move.charge_id, f"{about} are no whole number of credits at {stars_per_credit}")
    if dry_run:
        return Difference("payment", move.charge_id, f"{about}: {credits} credits would be given")

    async def give(tx: Transaction) -> None:
        # Somebody who came after the backup is met once more.
        customer = await customers.register(
            tx, telegram_id=move.telegram_id, first_name=move.first_name, language=move.language
        )
        await payments.stars(tx, customer.id, charge_id=move.charge_id, amount=credits)

    await database.run(give)
    log.warning("payment_recovered", charge_id=move.charge_id, credits=credits)
    return Difference("payment", move.charge_id, f"{about}: {credits} credits given", mended=True)


async def _spending(database: Database, accounts: Mapping[str, Account], *, dry_run: bool) -> list[str]:
    """What was taken from keys for tasks that no attempt in the books explains.

    Neither KIE nor fal has an address that lists an account's tasks, so what is left on a key says how much was spent
    on orders that the books have lost; which tasks they were is on the providers' own pages.
    """
    notes: list[str] = []
    for name, account in accounts.items():
        known = await database.run(partial(provider_keys.unweighed, labels=account.keys, older_than_seconds=0))
        for label in known:
            try:
                units = await account.balance(label)
            except (Failure, TimeoutError) as failure:
                notes.append(f"{name} does not say what is left on key {label}: {failure}")
                continue
            if not dry_run:
                await database.run(partial(provider_keys.record_balance, label=label, units=units))
    for bill in await database.run(lambda tx: bills.read(tx, days=BILL_DAYS)):
        if bill.is_alarming:
            notes.append(
                f"key {bill.label}: on {bill.day} {bill.unexplained:g} units were taken that no attempt in the books"
                f" explains; {bill.provider} lists no tasks by its interface, its page does"
            )
    return notes


async def _strangers(database: Database, store: Store) -> list[str]:
    """Videos in the store that belong to no order: of orders that were placed after the backup."""
    strangers: set[UUID] = set()
    batch: set[UUID] = set()

    async def look() -> None:
        strangers.update(await database.run(lambda tx: recovery.strangers(tx, list(batch))))
        batch.clear()

    async for one in store.list("videos"):
        if (generation_id := _generation(one.key)) is not None:
            batch.add(generation_id)
        if len(batch) >= STRANGERS_AT_ONCE:
            await look()
    await look()
    if not strangers:
        return []
    return [f"the store has videos of {len(strangers)} generations that are in no order: {_some(map(str, strangers))}"]


def _generation(key: str) -> UUID | None:
    """Whose a stored video is, by its key."""
    try:
        return UUID(key.split("/")[1])
    except (IndexError, ValueError):
        return None


def _some(names: Iterable[str], *, shown: int = 5) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return ", ".join(listed[:shown]) + more


async def _photos(database: Database, store: Store) -> list[Difference]:
    """Open orders are made from photos: one that is gone cannot be made, and is paid back by the worker that tries."""
    return [
        Difference("photo", key, f"order {number} is open, and its photo is not in the store")
        for number, key in await database.run(recovery.photos_wanted)
        if await store.size(key) is None
    ]


async def _conclude(tx: Transaction, *, found: Reconciled) -> bool:
    """Write down what was found; sales that a restore had paused go on if nothing is left. Returns whether they do."""
    mended = len(found.differences) - len(found.left)
    summary = f"{mended} differences mended, {len(found.left)} left"
    await operators.record(tx, operator=operators.COMMAND_LINE, action="reconcile", reason=summary)
    pause = await operators.sales_pause(tx)
    # Whoever paused them for another reason resumes them.
    if found.left or pause is None or pause.reason != RESTORED:
        return False
    return await operators.resume_sales(tx, operator=operators.COMMAND_LINE, reason=summary)

"""What operators did: every act is on record with who did it and why, and sales can be paused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from neurocards.db.connection import Transaction

COMMAND_LINE = "command line"
"""Who acts in a terminal: whoever may open one there."""


@dataclass(frozen=True)
class Action:
    """One act: by whom ("telegram 4711" or the command line), what, on whom or what, and why."""

    operator: str
    action: str
    subject: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class SalesPause:
    """Since when nothing is sold, by whom and why."""

    reason: str
    paused_by: str
    paused_at: datetime


async def record(tx: Transaction, *, operator: str, action: str, subject: str = "", reason: str = "") -> None:
    """Write down an act in the transaction that does it."""
    await tx.execute(
        "insert into operator_actions (operator, action, subject, reason) values (%s, %s, %s, %s)",
        [operator, action, subject, reason],
    )


async def record_refusal(tx: Transaction, *, operator: str, subject: str, fault: str, detail: str) -> None:
    """Write down that somebody was refused, of whom and of which fault once an hour: nobody can bury what was done."""
    await tx.execute(
        """
        insert into operator_actions (operator, action, subject, reason)
        select %(operator)s, 'refused', %(subject)s, %(fault)s || '; ' || %(detail)s
         where not exists (
               select from operator_actions
                where operator = %(operator)s and action = 'refused' and starts_with(reason, %(fault)s || '; ')
                  and at > clock_now() - interval '1 hour')
        """,
        {"operator": operator, "subject": subject, "fault": fault, "detail": detail},
    )


async def latest(tx: Transaction, *, limit: int) -> Sequence[Action]:
    """The last acts, newest first."""
    cursor = tx.cursor(row_factory=class_row(Action))
    await cursor.execute(
        "select operator, action, subject, reason, at from operator_actions order by id desc limit %s", [limit]
    )
    return await cursor.fetchall()


async def sales_pause(tx: Transaction) -> SalesPause | None:
    """The pause of sales; None while orders are taken."""
    cursor = tx.cursor(row_factory=class_row(SalesPause))
    await cursor.execute("select reason, paused_by, paused_at from sales_pause")
    return await cursor.fetchone()


async def selling(tx: Transaction) -> bool:
    """Whether orders are taken; until this transaction ends nobody pauses sales.

    An order is placed in the transaction that asked, or not at all: a pause waits for those that were let in, and who
    asks after it sees it.
    """
    # A statement of its own: what it waited for is seen by the next one only.
    await tx.execute("select pg_advisory_xact_lock_shared('sales_pause'::regclass::oid::bigint)")
    return await sales_pause(tx) is None


async def pause_sales(tx: Transaction, *, operator: str, reason: str) -> bool:
    """Sell nothing from this commit on, whoever is confirming an order now; returns whether that is new."""
    await tx.execute("select pg_advisory_xact_lock('sales_pause'::regclass::oid::bigint)")
    cursor = await tx.execute(
        "insert into sales_pause (reason, paused_by) values (%s, %s) on conflict do nothing", [reason, operator]
    )
    paused = cursor.rowcount == 1
    if paused:
        await record(tx, operator=operator, action="pause sales", reason=reason)
    return paused


async def resume_sales(tx: Transaction, *, operator: str, reason: str = "") -> bool:
    """Sell again from this commit on; returns whether they were paused."""
    cursor = await tx.execute("delete from sales_pause")
    resumed = cursor.rowcount == 1
    if resumed:
        await record(tx, operator=operator, action="resume sales", reason=reason)
    return resumed

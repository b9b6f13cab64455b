"""Periodic single turns: rescue what silent workers held, refund what is overdue, forget what is done with.

Every process runs them. They are safe to run anywhere at the same time, and none of them needs a worker to be alive.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from neurocards import meters
from neurocards.db import books, generations, jobs, notices, orders, outlook, updates, watch
from neurocards.db.connection import Away, Database, Transaction
from neurocards.domain.decisions import is_poison

UPDATES_KEPT = timedelta(days=3)

CATCH_UP_TURNS = 50

log = structlog.get_logger()


@dataclass(frozen=True)
class Turn:
    """What one turn did."""

    rescued: int
    overdue: int
    poisonous: int


async def turn(database: Database) -> Turn:
    """Rescue and refund once; returns what was done."""
    rescued = await database.run(jobs.rescue)
    meters.jobs_reclaimed(len(rescued))
    poison = [job.subject_id for job in rescued if job.kind == "generation" and is_poison(job.rescues)]
    for generation_id in poison:
        await _give_up(database, generation_id, generations.give_up_poison)
    overdue = await database.run(generations.overdue)
    for generation_id in overdue:
        await _give_up(database, generation_id, generations.give_up_overdue)
    await database.run(notices.pass_by_moot)
    done = Turn(rescued=len(rescued), overdue=len(overdue), poisonous=len(poison))
    if any((done.rescued, done.overdue, done.poisonous)):
        log.warning("maintenance", rescued=done.rescued, overdue=done.overdue, poisonous=done.poisonous)
    return done


async def tell_places(database: Database) -> int:
    """Tell customers near the front of the queue that they have come nearer; returns how many."""
    return await database.run(outlook.tell_places)


async def prune(database: Database) -> int:
    """Forget handled updates; returns how many."""

    async def forget(tx: Transaction) -> int:
        return await updates.prune(tx, older_than=UPDATES_KEPT)

    return await database.run(forget)


async def audit_books(database: Database) -> bool:
    """Audit the books if that is due and no other process does; returns whether it was tried.

    The store is not looked at: asking for every video ever made is a command of its own.
    """
    if not await database.run(watch.begin_audit):
        return False
    for _ in range(CATCH_UP_TURNS):
        # After an outage much may be overdue, which is no fault of the books as long as somebody sees to it.
        if not (await turn(database)).overdue:
            break
    try:
        async with database.transaction() as tx:
            found = await books.violations(tx)
        await database.run(lambda tx: watch.end_audit(tx, found))
    except Away:
        raise
    except Exception:
        # Sales go on; that the books have not been audited for long is what raises the alarm.
        log.exception("audit_failed")
        return True
    if found:
        log.error("books_violated", checks=sorted({violation.check for violation in found}), violations=len(found))
    return True


async def _give_up(
    database: Database, generation_id: UUID, refund: Callable[[Transaction, UUID], Awaitable[bool]]
) -> None:
    order = await database.run(lambda tx: orders.of_generation(tx, generation_id))
    with bound_contextvars(**(order.names if order is not None else {})):
        # Looked at once more when it is locked: since it was listed a worker may have taken it up.
        try:
            if await database.run(lambda tx: refund(tx, generation_id)):
                log.error("given_up", generation_id=str(generation_id), why=refund.__name__)
        except Away:
            raise
        except Exception:
            # One row that cannot be ended must not keep the others from their refunds; the audit names it.
            log.exception("give_up_failed", generation_id=str(generation_id))

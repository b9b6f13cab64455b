"""Periodic single turns: rescue what silent workers held, refund what is overdue, forget what is done with.

Every process runs them. They are safe to run anywhere at the same time, and none of them needs a worker to be alive.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from neurocards.db import generations, jobs, notices, outlook, updates
from neurocards.db.connection import Away, Database, Transaction
from neurocards.domain.decisions import is_poison

UPDATES_KEPT = timedelta(days=3)

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


async def _give_up(
    database: Database, generation_id: UUID, refund: Callable[[Transaction, UUID], Awaitable[bool]]
) -> None:
    # Looked at once more when it is locked: since it was listed a worker may have taken it up.
    try:
        if await database.run(lambda tx: refund(tx, generation_id)):
            log.error("given_up", generation_id=str(generation_id), why=refund.__name__)
    except Away:
        raise
    except Exception:
        # One row that cannot be ended must not keep the others from their refunds; the audit names it.
        log.exception("give_up_failed", generation_id=str(generation_id))

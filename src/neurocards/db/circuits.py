"""How providers, keys and models fare, as all workers together have seen it."""

from collections.abc import Collection, Sequence

from psycopg.rows import class_row

from neurocards.db import generations
from neurocards.db.connection import Transaction
from neurocards.domain.circuits import PROBE, Circuit, after_failure
from neurocards.domain.failures import Failure

_CIRCUIT = "subject, failures, open_until, why, changed_at as failed_at"


async def read(tx: Transaction) -> dict[str, Circuit]:
    """Everything that has failed and has not succeeded since, by its subject."""
    cursor = tx.cursor(row_factory=class_row(Circuit))
    await cursor.execute(f"select {_CIRCUIT} from circuits".encode())
    return {circuit.subject: circuit for circuit in await cursor.fetchall()}


async def failed(tx: Transaction, subject: str, failure: Failure) -> tuple[Circuit, bool]:
    """Count a failure; returns what the circuit is from now on, and whether this failure has changed it."""
    cursor = tx.cursor(row_factory=class_row(Circuit))
    # The lock is on the name: of a subject's first failures none must be lost, and there is no row yet.
    await cursor.execute("select pg_advisory_xact_lock(hashtextextended('circuit ' || %s, 0))", [subject])
    await cursor.execute(f"select {_CIRCUIT} from circuits where subject = %s for update".encode(), [subject])
    before = await cursor.fetchone() or Circuit(subject, 0, None, "", None)
    after = after_failure(before, failure, await generations.moment(tx))
    if after == before:
        return before, False
    await tx.execute(
        """
        insert into circuits (subject, failures, open_until, why, changed_at) values (%s, %s, %s, %s, %s)
        on conflict (subject) do update
           set failures = excluded.failures, open_until = excluded.open_until, why = excluded.why,
               changed_at = excluded.changed_at
        """,
        [after.subject, after.failures, after.open_until, after.why[:200], after.failed_at],
    )
    return after, True


async def succeeded(tx: Transaction, subjects: Collection[str]) -> None:
    """What works is trusted again; costs nothing where nothing had failed."""
    await tx.execute("delete from circuits where subject = any(%s)", [list(subjects)])


async def claim_probe(tx: Transaction, subjects: Sequence[str]) -> bool:
    """Whether the caller may try what was left alone: of all who want to, one may, the others wait for the outcome."""
    cursor = await tx.execute(
        """
        with suspects as (
            select subject, open_until from circuits
             where subject = any(%(subjects)s) and open_until is not null
             order by subject for update
        ), probed as (
            update circuits set open_until = clock_now() + %(probe)s
              from suspects
             where circuits.subject = suspects.subject
               and not exists (select from suspects where open_until > clock_now())
            returning 1
        )
        select (select count(*) from suspects) = (select count(*) from probed)
        """,
        {"subjects": list(subjects), "probe": PROBE},
    )
    return await cursor.fetchone() == (True,)

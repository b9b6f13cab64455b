"""What the shop finds out about itself: whether it can be written to, at what time, and whether its books are right."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from psycopg.types.json import Jsonb

from neurocards.db.books import Violation
from neurocards.db.connection import Transaction
from neurocards.db.migrate import difference

AUDIT_EVERY = timedelta(minutes=5)

AUDIT_LIMIT = timedelta(minutes=10)
"""An audit that has not ended by then never will: its process died."""


@dataclass(frozen=True)
class Probe:
    """`lacking` are migrations that the database has not seen; `skew_seconds` is how far its clock is before ours."""

    lacking: tuple[str, ...]
    skew_seconds: float


async def probe(tx: Transaction) -> Probe:
    """Write to the database, unless its schema is too old for that; whatever it raises, it cannot be written to."""
    cursor = await tx.execute("select name from migrations")
    lacking = tuple(difference(name for (name,) in await cursor.fetchall()).pending)
    asked_at = time.time()
    # The time that machines agree about: what tests move is another one.
    cursor = await tx.execute("select extract(epoch from clock_timestamp())::double precision")
    answered_at = time.time()
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("the clock gave no answer")
    if not lacking:
        await tx.execute("update watch set probed_at = clock_now()")
    return Probe(lacking, row[0] - (asked_at + answered_at) / 2)


async def begin_audit(tx: Transaction) -> bool:
    """Whether an audit is due and the caller is to make it: of all who ask, one is."""
    cursor = await tx.execute(
        """
        update watch set audit_begun_at = clock_now()
         where audit_begun_at <= clock_now() - %(every)s
           and (audited_at >= audit_begun_at or audit_begun_at <= clock_now() - %(limit)s)
        """,
        {"every": AUDIT_EVERY, "limit": AUDIT_LIMIT},
    )
    return cursor.rowcount == 1


async def end_audit(tx: Transaction, found: Iterable[Violation]) -> None:
    """Write down what an audit that has looked at everything has found."""
    counted = Counter(violation.check for violation in found)
    await tx.execute("update watch set audited_at = clock_now(), violations = %s", [Jsonb(counted)])

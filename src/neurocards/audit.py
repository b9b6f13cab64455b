"""Compares the books with themselves and with the store: what was paid for must be there."""

from dataclasses import dataclass
from uuid import UUID

from neurocards.db import books
from neurocards.db.books import Figures, Violation
from neurocards.db.connection import Database
from neurocards.storage import Store


@dataclass(frozen=True)
class Report:
    """What the audit found, and what it looked at."""

    violations: list[Violation]
    figures: Figures


async def audit(database: Database, store: Store) -> Report:
    """Look at everything; changes nothing."""
    async with database.transaction() as tx:
        found = await books.violations(tx)
        figures = await books.figures(tx)
    return Report(violations=found + await _missing_videos(database, store), figures=figures)


async def _missing_videos(database: Database, store: Store) -> list[Violation]:
    missing: list[Violation] = []
    after: UUID | None = None
    while True:
        async with database.transaction() as tx:
            page = await books.stored_keys(tx, after=after)
        if not page:
            return missing
        for generation_id, key, size_bytes in page:
            stored = await store.size(key)
            if stored != size_bytes:
                detail = f"{key}: {size_bytes} bytes on record, {stored or 'nothing'} in the store"
                missing.append(Violation("paid_video_is_in_the_store", str(generation_id), detail))
            after = generation_id

"""Compares the books with themselves and with the store: what was paid for must be there."""

import asyncio
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from neurocards.db import books
from neurocards.db.books import Figures, Violation
from neurocards.db.connection import Database

ASKED_AT_ONCE = 100
"""An object store far away answers many questions in the time of one."""


@dataclass(frozen=True)
class Report:
    """What the audit found, and what it looked at."""

    violations: list[Violation]
    figures: Figures


class Sizes(Protocol):
    """Whatever knows what is stored: the store itself, or a list of it."""

    async def size(self, key: str) -> int | None:
        """Bytes stored under the key, or None when there is nothing."""
        ...


async def audit(database: Database, store: Sizes) -> Report:
    """Look at everything; changes nothing."""
    async with database.transaction() as tx:
        found = await books.violations(tx)
        figures = await books.figures(tx)
    return Report(violations=found + await _missing_videos(database, store), figures=figures)


async def _missing_videos(database: Database, store: Sizes) -> list[Violation]:
    missing: list[Violation] = []
    after: UUID | None = None
    while True:
        async with database.transaction() as tx:
            page = await books.stored_keys(tx, after=after, limit=ASKED_AT_ONCE)
        if not page:
            return missing
        sizes = await asyncio.gather(*(store.size(key) for _, key, _ in page))
        for (generation_id, key, size_bytes), stored in zip(page, sizes, strict=True):
            if stored != size_bytes:
                detail = f"{key}: {size_bytes} bytes on record, {stored or 'nothing'} in the store"
                missing.append(Violation("paid_video_is_in_the_store", str(generation_id), detail))
            after = generation_id

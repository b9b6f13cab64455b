"""From a backup back to a shop, or to a copy of one that only has to prove itself.

A restored shop sells nothing until it is reconciled: what happened after the backup is not in its books.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from neurocards.audit import Report, audit
from neurocards.db import backups, dumps, migrate, operators
from neurocards.db.connection import Database, Transaction
from neurocards.keeping.backing_up import Found, Head, NoBackup
from neurocards.sealing import CannotOpen

RESTORED = "restored from a backup; neurocards reconcile resumes sales"
"""Why sales are paused after a restore."""


class NotEmpty(Exception):
    """There is something in the database already."""


class Unsound(Exception):
    """The backup is none that a shop could be restored from; the message names it and says why."""


@dataclass(frozen=True)
class Restored:
    """What was put back."""

    location: str
    made_at: datetime
    media: int
    migrated: tuple[str, ...]
    """What the schema lacked."""


@dataclass(frozen=True)
class Proof:
    """How a trial restore went."""

    location: str
    report: Report

    @property
    def failure(self) -> str | None:
        """What is wrong with the restored books, in a line; None when they are sound."""
        found = self.report.violations
        if not found:
            return None
        return f"{len(found)} violations, first {found[0].check}: {found[0].subject}: {found[0].detail}"


async def restore(dsn: str, found: Found, *, key: bytes, on_bytes: Callable[[int], None] = lambda _: None) -> Restored:
    """Put a backup into an empty database and pause sales; raises NotEmpty, or Unsound: then it is still empty.

    Until sales are paused nobody else can write there: a restore that breaks off is no shop that sells.
    """
    if not await dumps.is_empty(dsn):
        raise NotEmpty(
            "the database is not empty: a backup goes into an empty one: docs/recovery.md says how to make it"
        )
    async with dumps.closed(dsn) as ours:
        with _named(found):
            head, media = await _put_back(ours, found, key, on_bytes)
        migrated = await migrate.migrate(ours)
        async with dumps.transaction(ours) as tx:
            await operators.record(tx, operator=operators.COMMAND_LINE, action="restore", subject=found.location)
            await operators.pause_sales(tx, operator=operators.COMMAND_LINE, reason=RESTORED)
    return Restored(found.location, head.made_at, len(media), tuple(migrated))


async def prove(dsn: str, found: Found, *, key: bytes, on_bytes: Callable[[int], None] = lambda _: None) -> Report:
    """Restore into the empty database of a trial and audit it there, as of the time of the backup. Raises Unsound."""
    with _named(found):
        head, media = await _put_back(dsn, found, key, on_bytes)
    await migrate.migrate(dsn)
    # As the owner: the trial has a clock to be set, and no other use.
    async with Database(dsn, connections=2) as database:
        await dumps.set_clock(database, head.made_at)
        return await audit(database, _Listed(media))


async def record_proof(database: Database, found: Found, *, failure: str | None) -> None:
    """Write down how the trial went: others are alerted by the age of the last good one."""

    async def record(tx: Transaction) -> None:
        # One that a lost database knew of, or that was brought along, is written down first.
        if not await backups.known(tx, found.location) and found.size_bytes > 0:
            await backups.record(tx, location=found.location, size_bytes=found.size_bytes, sha256=found.sha256)
        await backups.checked(tx, found.location, failure=failure)

    await database.run(record)


@contextmanager
def _named(found: Found) -> Iterator[None]:
    try:
        yield
    except (CannotOpen, NoBackup, dumps.DumpError, migrate.SchemaTooNew) as error:
        raise Unsound(f"{found.location}: {error}") from error


async def _put_back(
    dsn: str, found: Found, key: bytes, on_bytes: Callable[[int], None]
) -> tuple[Head, Mapping[str, int]]:
    """The database as it was; returns about when, and what the store held: sizes in bytes by key."""
    backup = await found.open(key)
    unknown = migrate.difference(backup.head.migrations).unknown
    if unknown:
        raise migrate.SchemaTooNew(f"it has migrations that this version does not know: {', '.join(unknown)}")
    media = {one.key: one.size_bytes async for one in backup.media}
    await dumps.restore(dsn, backup.archive, server=backup.head.server, on_bytes=on_bytes)
    return backup.head, media


class _Listed:
    """What the store held, by the list in the backup."""

    def __init__(self, media: Mapping[str, int]) -> None:
        self._media = media

    async def size(self, key: str) -> int | None:
        return self._media.get(key)

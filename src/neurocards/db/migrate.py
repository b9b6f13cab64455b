"""Brings the schema up to date: numbered SQL files, forward only, one at a time under an advisory lock."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable

MIGRATIONS = Path(__file__).parent / "migrations"

# Any constant will do, as long as no other program locks the same one in this database.
LOCK = 7_300_001

LOCK_MILLISECONDS = 250
"""How long a file waits for one table. Orders queue behind it all that time, and it may have to wait for several."""

LOCK_TRIES = 120
"""How often a file is tried while something holds what it must change, a second apart."""

ASIDE = b" index concurrently "
"""A file with this is applied statement by statement, each on its own: nobody waits for it, however long it takes."""


class Busy(Exception):
    """Something holds what a migration must change."""


def names() -> list[str]:
    """The names of all files, in their order."""
    return [file.name for file in sorted(MIGRATIONS.glob("*.sql"))]


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of neurocards."""


class NotUnicode(Exception):
    """The database cannot keep every text, nor compare it as we do."""


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing; returns the names of the files applied. Raises SchemaTooNew, NotUnicode, or Busy."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":  # on a server that has no locale a new database is SQL_ASCII
            raise NotUnicode(
                f"the database's encoding is {encoding} and must be UTF8:"
                " make it anew with createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8"
            )
        await _take_turn(connection)
        await connection.execute(
            "create table if not exists migrations"
            " (name text primary key, applied_at timestamptz not null default now())"
        )
        cursor = await connection.execute("select name from migrations")
        applied = {name for (name,) in await cursor.fetchall()}
        found = difference(applied)
        if found.unknown:
            raise SchemaTooNew(
                f"the database has migrations that this version does not know: {', '.join(found.unknown)}"
            )
        for name in found.pending:
            await _apply(connection, name, (MIGRATIONS / name).read_bytes())
        return found.pending


async def _take_turn(connection: psycopg.AsyncConnection) -> None:
    """One migration at a time. It is asked for again and again: an index waits for whoever waits inside a statement."""
    while True:
        cursor = await connection.execute("select pg_try_advisory_lock(%s)", [LOCK])
        if await cursor.fetchone() == (True,):
            return
        await asyncio.sleep(0.2)


async def _apply(connection: psycopg.AsyncConnection, name: str, statements: bytes) -> None:
    """Apply one file whole. Sales go on meanwhile: who waits for a lock makes others wait, so it waits briefly."""
    if ASIDE in statements:
        await _apply_aside(connection, name, statements)
        return
    for attempt in count(1):
        try:
            async with connection.transaction():
                await connection.execute(f"set local lock_timeout = {LOCK_MILLISECONDS}".encode())
                await connection.execute(statements)
                await connection.execute("insert into migrations (name) values (%s)", [name])
        except (LockNotAvailable, DeadlockDetected) as error:
            if attempt == LOCK_TRIES:
                raise Busy(
                    f"{name} was not applied: something holds a table for long (a backup?): migrate again"
                ) from error
            await asyncio.sleep(1.0)
        else:
            return


async def _apply_aside(connection: psycopg.AsyncConnection, name: str, statements: bytes) -> None:
    """Apply a file of indexes. One that breaks off is applied anew: each statement is safe to repeat."""
    await connection.execute("set lock_timeout = 0")
    await connection.execute("set statement_timeout = 0")
    for statement in statements.split(b";"):
        if statement.strip():
            await connection.execute(statement)
    await connection.execute("insert into migrations (name) values (%s)", [name])


async def pending(dsn: str) -> list[str]:
    """The names of the files that the database lacks."""
    return (await compare(dsn)).pending


@dataclass(frozen=True)
class Difference:
    """How the schema of a database and this version of neurocards differ: what it lacks, and what we do not know."""

    pending: list[str]
    unknown: list[str]

    def __bool__(self) -> bool:
        return bool(self.pending or self.unknown)


def difference(applied: Iterable[str]) -> Difference:
    """How a database with these migrations and this version differ: both lists in the order of the files."""
    there, known = set(applied), set(names())
    return Difference(pending=sorted(known - there), unknown=sorted(there - known))


async def compare(dsn: str) -> Difference:
    """What `migrate` would do or refuse to do; changes nothing."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        cursor = await connection.execute("select to_regclass('migrations') is not null")
        applied: set[str] = set()
        if await cursor.fetchone() == (True,):
            cursor = await connection.execute("select name from migrations")
            applied = {name for (name,) in await cursor.fetchall()}
    return difference(applied)

"""Brings the schema up to date: numbered SQL files, forward only, one at a time under an advisory lock."""

import asyncio
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
from psycopg.errors import LockNotAvailable

MIGRATIONS = Path(__file__).parent / "migrations"

# Any constant will do, as long as no other program locks the same one in this database.
LOCK = 7_300_001

LOCK_TRIES = 60
"""How often a file is tried while something holds what it must change; a second each."""


def names() -> list[str]:
    """The names of all files, in their order."""
    return [file.name for file in sorted(MIGRATIONS.glob("*.sql"))]


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of neurocards."""


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing; returns the names of the files applied. Raises SchemaTooNew."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        await connection.execute("select pg_advisory_lock(%s)", [LOCK])
        await connection.execute(
            "create table if not exists migrations"
            " (name text primary key, applied_at timestamptz not null default now())"
        )
        cursor = await connection.execute("select name from migrations")
        applied = {name for (name,) in await cursor.fetchall()}
        files = sorted(MIGRATIONS.glob("*.sql"))
        unknown = applied - {file.name for file in files}
        if unknown:
            raise SchemaTooNew(
                f"the database has migrations that this version does not know: {', '.join(sorted(unknown))}"
            )
        missing = [file for file in files if file.name not in applied]
        for file in missing:
            await _apply(connection, file.name, file.read_bytes())
        return [file.name for file in missing]


async def _apply(connection: psycopg.AsyncConnection, name: str, statements: bytes) -> None:
    """Apply one file whole. Sales go on meanwhile: who waits for a lock makes others wait, so it waits briefly."""
    for attempt in count(1):
        try:
            async with connection.transaction():
                await connection.execute(b"set local lock_timeout = '1s'")
                await connection.execute(statements)
                await connection.execute("insert into migrations (name) values (%s)", [name])
        except LockNotAvailable:
            if attempt == LOCK_TRIES:
                raise
            await asyncio.sleep(1.0)
        else:
            return


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


async def compare(dsn: str) -> Difference:
    """What `migrate` would do or refuse to do; changes nothing."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        cursor = await connection.execute("select to_regclass('migrations') is not null")
        applied: set[str] = set()
        if await cursor.fetchone() == (True,):
            cursor = await connection.execute("select name from migrations")
            applied = {name for (name,) in await cursor.fetchall()}
    known = {file.name for file in MIGRATIONS.glob("*.sql")}
    return Difference(pending=sorted(known - applied), unknown=sorted(applied - known))

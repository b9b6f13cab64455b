"""What a PostgreSQL server is like: read over a connection of its own, before anything of ours is known to be there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from neurocards.db.connection import APP_ROLE, Transaction
from neurocards.db.migrate import difference

OLDEST_VERSION = 150_000
CAREFUL = ("fsync", "full_page_writes", "synchronous_commit")
"""Settings that keep what was committed through a crash."""


@dataclass(frozen=True)
class Server:
    """A server and whom we are to it. `usable_connections` are those that are kept for nobody special."""

    version: str
    version_number: int
    user: str
    takes_writes: bool
    careless: list[str]
    has_checksums: bool
    usable_connections: int
    used_connections: int


@dataclass(frozen=True)
class Schema:
    """Migrations by name: those applied, those missing, and those that this version does not know."""

    applied: list[str]
    missing: list[str]
    unknown: list[str]


@dataclass(frozen=True)
class Clock:
    """The database's time, and by how much the shop's own is moved away from it."""

    at: datetime
    shift: timedelta


@asynccontextmanager
async def connected(dsn: str, *, statement_seconds: int) -> AsyncIterator[Transaction]:
    """One connection, in which no statement takes longer. Raises one of Away."""
    conninfo = make_conninfo(
        dsn, connect_timeout=5, options=f"-c statement_timeout={statement_seconds}s -c timezone=UTC"
    )
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        yield connection


async def server(tx: Transaction) -> Server:
    """What the server says of itself."""
    cursor = tx.cursor(row_factory=class_row(Server))
    await cursor.execute(
        """
        select split_part(current_setting('server_version'), ' ', 1) as version,
               current_setting('server_version_num')::int as version_number,
               current_user::text as user,
               not pg_is_in_recovery() and not current_setting('transaction_read_only')::boolean as takes_writes,
               array(select name from unnest(%s::text[]) name where current_setting(name) = 'off') as careless,
               current_setting('data_checksums')::boolean as has_checksums,
               current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                   - coalesce(current_setting('reserved_connections', true), '0')::int as usable_connections,
               -- Less our own; other people's rows of pg_stat_activity may be closed to us.
               (select sum(numbackends) - 1 from pg_stat_database)::int as used_connections
        """,
        [list(CAREFUL)],
    )
    found = await cursor.fetchone()
    if found is None:
        raise LookupError("the server said nothing of itself")
    return found


async def act_as_app(tx: Transaction) -> bool:
    """Become the role that bot and workers act as; returns whether that is allowed."""
    try:
        await tx.execute(f"set role {APP_ROLE}".encode())
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
        return False
    return True


async def schema(tx: Transaction) -> Schema | None:
    """Which migrations are there: of an empty database all are missing. None when we may not look."""
    cursor = await tx.execute("select to_regclass('migrations') is not null")
    applied: list[str] = []
    if await cursor.fetchone() == (True,):
        try:
            cursor = await tx.execute("select name from migrations order by name")
        except psycopg.errors.InsufficientPrivilege:
            return None
        applied = [name for (name,) in await cursor.fetchall()]
    found = difference(applied)
    return Schema(applied, missing=found.pending, unknown=found.unknown)


async def clock(tx: Transaction) -> Clock:
    """The database's time now, without what tests have moved the shop's by."""
    cursor = await tx.execute("select clock_now(), coalesce((select shift from clock), interval '0')")
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("the clock gave no answer")
    return Clock(row[0] - row[1], row[1])

"""The whole database as one stream, and back: by PostgreSQL's own pg_dump and pg_restore, of a version that fits.

Neither is older than the server it talks to. Addresses and passwords reach them by the environment, not as arguments.
"""

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from neurocards.db import embedded
from neurocards.db.connection import APP_ROLE, Database, Transaction

CHUNK_BYTES = 256 * 1024

KEEPING_LOCK = 7_300_002
"""Held while a backup is made: meanwhile nothing is forgotten that it lists. The migrations know it too."""


class DumpError(Exception):
    """A dump or a restore that could not be; the message is for an operator."""


class NoRole(Exception):
    """The server lacks the role that the shop acts as; the message says what to do."""


class NoProgram(Exception):
    """This machine lacks a pg_dump or pg_restore for a server of that version; the message says what to install."""


@dataclass(frozen=True)
class Moment:
    """The database as one backup sees it: the moment has a name that pg_dump can be told."""

    snapshot: str
    taken_at: datetime
    migrations: tuple[str, ...]
    server: int
    """The server's major version."""


@asynccontextmanager
async def one_moment(dsn: str) -> AsyncIterator[Moment]:
    """Hold a moment of the database still while others go on. The time is that of the shop's own clock."""
    async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=10, autocommit=True) as connection:
        await connection.execute("set idle_in_transaction_session_timeout = 0")
        # Before the transaction: the statement that waited would see what there was before it waited.
        await connection.execute("select pg_advisory_lock_shared(%s)", [KEEPING_LOCK])
        async with connection.transaction():
            await connection.execute("set transaction isolation level repeatable read, read only")
            cursor = await connection.execute(
                "select pg_export_snapshot(), clock_now(), array(select name from migrations order by name)"
            )
            row = await cursor.fetchone()
            if row is None:
                raise LookupError("the database gave no snapshot")
            snapshot, taken_at, migrations = row
            yield Moment(snapshot, taken_at, tuple(migrations), _major(connection))


async def dump(dsn: str, moment: Moment) -> AsyncGenerator[bytes, None]:
    """The database at that moment, in chunks of pg_dump's own compressed format. Raises DumpError."""
    program = await asyncio.to_thread(program_for, "pg_dump", moment.server)
    # Whose clock was moved by a test has not moved that of whoever restores it.
    arguments = ["--format=custom", "--no-owner", "--exclude-table-data=clock", f"--snapshot={moment.snapshot}"]
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, env=_environment(dsn)
    )
    complaints = asyncio.create_task(_read(process.stderr))
    try:
        if process.stdout is None:
            raise LookupError("pg_dump has no output")
        while chunk := await process.stdout.read(CHUNK_BYTES):
            yield chunk
        if await process.wait() != 0:
            raise DumpError(f"pg_dump failed: {_told(await complaints)}")
    finally:
        await _end(process, complaints)


async def restore(
    dsn: str, archive: AsyncIterator[bytes], *, server: int, on_bytes: Callable[[int], None] = lambda _: None
) -> None:
    """Put a dump into the empty database: all of it or, with DumpError, nothing. `server` is where it was made.

    What the archive itself raises comes through, and leaves nothing behind either.
    """
    here = await _prepare(dsn)
    if here < server:
        raise DumpError(f"the backup was made of PostgreSQL {server} and cannot go back to the older PostgreSQL {here}")
    program = await asyncio.to_thread(program_for, "pg_restore", max(here, server))
    name = str(conninfo_to_dict(dsn).get("dbname") or "")
    arguments = ["--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={name}"]
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdin=PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=PIPE, env=_environment(dsn)
    )
    complaints = asyncio.create_task(_read(process.stderr))
    try:
        await _feed(process, archive, on_bytes)
        if await process.wait() != 0:
            raise DumpError(f"pg_restore failed: {_told(await complaints)}")
    finally:
        await _end(process, complaints)


async def is_empty(dsn: str) -> bool:
    """Whether there is nothing in the database yet."""
    async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=10) as connection:
        cursor = await connection.execute(
            "select not exists (select from pg_class where relnamespace = 'public'::regnamespace)"
        )
        return await cursor.fetchone() == (True,)


@asynccontextmanager
async def closed(dsn: str) -> AsyncIterator[str]:
    """Let nobody write to the database but who comes by the address that is given here, until the end of the block.

    What breaks off in the middle, whatever ends it, leaves a database that is empty or that nobody can write to.
    """
    options = f"{conninfo_to_dict(dsn).get('options') or ''} -c default_transaction_read_only=off".strip()
    ours = make_conninfo(dsn, options=options)
    await _set_read_only(ours, read_only=True)
    try:
        yield ours
    except BaseException:
        if await is_empty(ours):
            await _set_read_only(ours, read_only=False)
        raise
    await _set_read_only(ours, read_only=False)


@asynccontextmanager
async def transaction(dsn: str) -> AsyncIterator[Transaction]:
    """One transaction by just this address, which a pool would add to."""
    async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=10) as connection:
        yield connection


async def _set_read_only(dsn: str, *, read_only: bool) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=10, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        change = "set default_transaction_read_only = on" if read_only else "reset default_transaction_read_only"
        try:
            await connection.execute(sql.SQL("alter database {} " + change).format(name))
        except psycopg.errors.InsufficientPrivilege as error:
            user = connection.info.user
            raise DumpError(f"{user} does not own the database: a restore goes into one that it does") from error


async def set_clock(database: Database, at: datetime) -> None:
    """Let the clock of a trial copy stand where it stood in the backup: what was due then is not overdue now."""
    async with database.transaction() as tx:
        await tx.execute("insert into clock (shift) values (%s::timestamptz - now())", [at])


async def _prepare(dsn: str) -> int:
    """What no dump holds: the role, which belongs to the whole server. Returns the server's major version."""
    async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=10, autocommit=True) as connection:
        cursor = await connection.execute("select to_regrole(%s) is null", [APP_ROLE])
        try:
            if await cursor.fetchone() == (True,):
                with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                    await connection.execute(f"create role {APP_ROLE} nologin".encode())
            cursor = await connection.execute("select pg_has_role(current_user, %s, 'member')", [APP_ROLE])
            if await cursor.fetchone() != (True,):
                await connection.execute(f"grant {APP_ROLE} to current_user".encode())
        except psycopg.errors.InsufficientPrivilege as error:
            user = connection.info.user
            raise NoRole(
                f"{user} may not make the role {APP_ROLE}: have a superuser do"
                f' "create role {APP_ROLE} nologin; grant {APP_ROLE} to {user}", then restore again'
            ) from error
        return _major(connection)


async def _feed(process: Process, archive: AsyncIterator[bytes], on_bytes: Callable[[int], None]) -> None:
    if process.stdin is None:
        raise LookupError("pg_restore has no input")
    # One that has given up says why on its own; what is left need not be read.
    with suppress(BrokenPipeError, ConnectionResetError):
        async for chunk in archive:
            process.stdin.write(chunk)
            await process.stdin.drain()
            on_bytes(len(chunk))
        process.stdin.close()
        await process.stdin.wait_closed()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


async def _end(process: Process, complaints: "asyncio.Task[bytes]") -> None:
    """Leave no program behind, whatever has happened."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    with suppress(Exception):
        await complaints


def _told(complaints: bytes) -> str:
    # What else is said of an error may quote a row.
    lines = [
        line.strip()
        for line in complaints.decode(errors="replace").splitlines()
        if line.strip() and not line.startswith(("DETAIL:", "CONTEXT:"))
    ]
    return " / ".join(lines[:4]) or "it said nothing"


def program_for(name: str, server: int) -> Path:
    """The program of the lowest version that is not below the server's; raises NoProgram."""
    found: dict[int, Path] = {}
    for folder in embedded.folders_of_programs():
        program = folder / name
        if os.access(program, os.X_OK):
            found.setdefault(embedded.major_version(program), program)
    fitting = [version for version in found if version >= server]
    if not fitting:
        newest = f"the newest here is {max(found)}" if found else "there is none here"
        raise NoProgram(
            f"PostgreSQL {server} needs a {name} of version {server} or newer, and {newest}: install"
            f" postgresql-client-{server}, or set NEUROCARDS_PG_BIN to the folder with its programs"
        )
    # A newer pg_restore may set what an older server has never heard of, so the nearest version it is.
    return found[min(fitting)]


def _environment(dsn: str) -> dict[str, str]:
    """The parts of the address, as every program of PostgreSQL reads them."""
    parts = conninfo_to_dict(dsn)
    variables = {
        option.envvar.decode(): str(parts[option.keyword.decode()])
        for option in pq.Conninfo.get_defaults()
        if option.envvar and parts.get(option.keyword.decode()) not in (None, "")
    }
    # What the address leaves open is read from the same environment by us and by them.
    return {**os.environ, **variables, "PGAPPNAME": "neurocards backup", "LC_ALL": "C"}


def _major(connection: "psycopg.AsyncConnection[tuple[object, ...]]") -> int:
    return connection.info.server_version // 10_000

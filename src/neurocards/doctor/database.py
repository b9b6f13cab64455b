"""The database and what stands in it: the server, our role, the schema, its clock, backups, sales and the books."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from neurocards.db import backups, books, condition, operators
from neurocards.db.connection import APP_ROLE, Away, Transaction
from neurocards.db.embedded import EmbeddedPostgresError
from neurocards.doctor import lines
from neurocards.doctor.lines import Finding
from neurocards.doctor.looking import Clock, Patient, looked_at
from neurocards.settings import BadSettings, Settings

STATEMENT_SECONDS = 20
BOOKS_SECONDS = 20.0
"""Whoever reads the books lifts the limit of statements: a big shop's take long."""
SECONDS = 90.0
"""For everything here, the start of an embedded server included."""

OLD_BACKUP = timedelta(days=8)
"""A week and a day: one weekly trial that failed."""

LEAST_PROCESSES = 2

IN_THE_DATABASE = ("schema", "clock", "backup", "sales", "books")


async def look(patient: Patient, clock: Clock) -> Sequence[Finding]:
    """Look at the server, then at what it holds; of a server that is away only that is told."""
    settings = patient.settings
    found: list[Finding] = []
    if settings.database_url is None:
        found.append(lines.DATABASE_EMBEDDED.told(home=settings.neurocards_home))
    try:
        async with (
            patient.open_dsn() as dsn,
            condition.connected(dsn, statement_seconds=STATEMENT_SECONDS) as connection,
        ):
            server = await condition.server(connection)
            found += _server(server, settings)
            return found + await _inside(connection, server.user, clock)
    except BadSettings:
        return [*found, *_not_looked_at("settings", "database", "role", *IN_THE_DATABASE)]
    except (*Away, EmbeddedPostgresError) as error:
        away = lines.DATABASE_AWAY.told(error=" ".join(str(error).split())[:300])
        return [*found, away, *_not_looked_at("database", "role", *IN_THE_DATABASE)]


def _server(server: condition.Server, settings: Settings) -> list[Finding]:
    each = settings.database_connections + 1  # the one that listens
    found: list[Finding] = []
    if server.version_number < condition.OLDEST_VERSION:
        found.append(lines.DATABASE_OLD.told(version=server.version))
    if not server.takes_writes:
        found.append(lines.DATABASE_READ_ONLY.told())
    if server.careless:
        found.append(lines.DATABASE_CAREFREE.told(settings=", ".join(server.careless)))
    if server.usable_connections < LEAST_PROCESSES * each:
        found.append(lines.DATABASE_CROWDED.told(usable=server.usable_connections, needed=LEAST_PROCESSES * each))
    if not found:
        room = max(0, server.usable_connections - server.used_connections)
        found.append(lines.DATABASE_SOUND.told(version=server.version, processes=room // each))
    if not server.has_checksums:
        found.append(lines.DATABASE_UNCHECKED.told())
    return found


async def _inside(connection: Transaction, user: str, clock: Clock) -> list[Finding]:
    schema = await condition.schema(connection)
    if schema is None or (not schema.missing and not await condition.act_as_app(connection)):
        barred = lines.ROLE_BARRED.told(user=user, role=APP_ROLE)
        return [barred, *_not_looked_at("role", *IN_THE_DATABASE)]
    if schema.missing:
        return [_schema(schema), *_not_looked_at("schema", "role", *IN_THE_DATABASE[1:])]
    found = [lines.ROLE_SOUND.told(user=user, role=APP_ROLE), _schema(schema)]
    found += await looked_at("clock", lambda: _clock(connection, clock))
    found += await looked_at("backup", lambda: _backup(connection))
    found += await looked_at("sales", lambda: _sales(connection))
    # The longest look comes last: if it has to be broken off, the connection is lost with it.
    found += await looked_at("books", lambda: _books(connection))
    return found


def _schema(schema: condition.Schema) -> Finding:
    if schema.missing:
        return lines.SCHEMA_OLD.told(names=", ".join(schema.missing))
    if schema.unknown:
        return lines.SCHEMA_NEW.told(names=", ".join(schema.unknown))
    return lines.SCHEMA_SOUND.told(migrations=len(schema.applied))


async def _clock(connection: Transaction, clock: Clock) -> Sequence[Finding]:
    before = clock()
    there = await condition.clock(connection)
    ours = before + (clock() - before) / 2
    found = [lines.compared((ours - there.at).total_seconds(), "the database")]
    if there.shift:
        found.append(lines.CLOCK_SHIFTED.told(seconds=there.shift.total_seconds()))
    return found


async def _backup(connection: Transaction) -> Sequence[Finding]:
    verified_at = await backups.last_verified(connection)
    if verified_at is None:
        return [lines.BACKUP_NEVER.told()]
    there = await condition.clock(connection)
    age = there.at + there.shift - verified_at
    line = lines.BACKUP_OLD if age > OLD_BACKUP else lines.BACKUP_SOUND
    return [line.told(days=age / timedelta(days=1))]


async def _sales(connection: Transaction) -> Sequence[Finding]:
    pause = await operators.sales_pause(connection)
    if pause is None:
        return [lines.SALES_OPEN.told()]
    return [lines.SALES_PAUSED.told(since=pause.paused_at, who=pause.paused_by, why=pause.reason)]


async def _books(connection: Transaction) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(BOOKS_SECONDS), connection.transaction():
            violations = await books.violations(connection)
            figures = await books.figures(connection)
    except TimeoutError:
        # A big shop takes longer, and its bot audits it all the time.
        return [lines.BOOKS_LONG.told(seconds=f"{BOOKS_SECONDS:.0f}")]
    if violations:
        return [lines.BOOKS_WRONG.told(violations=len(violations), first=violations[0].check)]
    return [lines.BOOKS_SOUND.told(orders=figures.orders)]


def _not_looked_at(first: str, *checks: str) -> list[Finding]:
    return [lines.NOT_LOOKED_AT.told(check=check, first=first) for check in checks]

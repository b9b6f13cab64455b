"""Proves that every object of the schema is needed: each is dropped in turn, and what it refused goes through.

`PYTHONPATH=src:tests python -m db.strength` prints what each case met with and without its object, and exits with 1
when an object could be dropped without anybody noticing, or when something else refuses and the case does not say so.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from db.refusals import REFUSALS, Refusal, open_shop
from neurocards.db.connection import Database
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.migrate import migrate

OBJECTS = """
    select conname, format('alter table %I drop constraint %I cascade', relname, conname)
      from pg_constraint join pg_class on pg_class.oid = conrelid
     where connamespace = 'public'::regnamespace and contype in ('c', 'f', 'p', 'u', 'x')
    union all
    -- A key's own columns and numbers that the database gives out are never null, whatever we say.
    select format('%s.%s', relname, attname), format('alter table %I alter column %I drop not null', relname, attname)
      from pg_attribute join pg_class on pg_class.oid = attrelid
     where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
       and attnotnull and attidentity = ''
       and not exists (select from pg_index where indrelid = attrelid and indisprimary and attnum = any(indkey))
    union all
    select tgname, format('drop trigger %I on %I', tgname, relname)
      from pg_trigger join pg_class on pg_class.oid = tgrelid
     where relnamespace = 'public'::regnamespace and not tgisinternal
    union all
    select relname, format('drop index %I', relname)
      from pg_index join pg_class on pg_class.oid = indexrelid
     where relnamespace = 'public'::regnamespace and indisunique
       and not exists (select from pg_constraint where conindid = indexrelid)
"""
"""Whatever can refuse, and how to be rid of it."""


def objects(connection: psycopg.Connection) -> dict[str, str]:
    """Every object of the schema that can refuse, by name, with the statement that drops it.

    Raises ValueError when two share a name: then nobody could tell which of them refused.
    """
    rows = connection.execute(OBJECTS.encode()).fetchall()
    connection.rollback()
    found = {str(name): str(drop) for name, drop in rows}
    if len(found) < len(rows):
        raise ValueError("two objects of the schema have one name")
    return found


def refuser(error: psycopg.Error) -> str:
    """The name of what refused: a constraint, trigger or index, or table.column; else the error's own words."""
    told = error.diag
    if told.constraint_name:
        return told.constraint_name
    return f"{told.table_name}.{told.column_name}" if told.column_name else str(error)


def attempted(connection: psycopg.Connection, statements: bytes, *, without: Sequence[str] = ()) -> str | None:
    """Who refuses these statements once the objects dropped by `without` are gone; None when they go through.

    Everything is rolled back.
    """
    try:
        for drop in without:
            connection.execute(drop.encode())
        connection.execute(statements)
        connection.execute("set constraints all immediate")
    except psycopg.Error as error:
        return refuser(error)
    else:
        return None
    finally:
        connection.rollback()


@dataclass(frozen=True)
class Trial:
    """One case, with its object (`met`) and without it (`then`): who refused, or None."""

    refusal: Refusal
    met: str | None
    then: str | None

    @property
    def proved(self) -> bool:
        """Whether the object is what refuses, and without it only what the case names."""
        return self.met == self.refusal.by and self.then == self.refusal.also

    def __str__(self) -> str:
        told = "" if self.proved else f"   NOT PROVED, expected {self.refusal.by} and then {self.refusal.also}"
        then = f"refused by {self.then}" if self.then else "let through"
        return f"{self.refusal.by:42} {self.refusal.what:50} refused by {self.met} -> {then}{told}"


def trials(connection: psycopg.Connection, names: Mapping[str, str]) -> Iterator[Trial]:
    """Every case with and without its object, on the shop that has these names."""
    drops = objects(connection)
    for refusal in REFUSALS:
        statements = refusal.statements(names)
        hidden = [drops[name] for name in refusal.behind]
        yield Trial(
            refusal,
            met=attempted(connection, statements, without=hidden),
            then=attempted(connection, statements, without=[*hidden, drops[refusal.by]]),
        )


async def prepare(dsn: str) -> dict[str, str]:
    """A migrated database with the shop in it; returns the shop's names."""
    await migrate(dsn)
    async with Database(dsn) as database:
        return await open_shop(database)


def main() -> int:
    """Print every trial; 1 when any of them proves nothing."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres.start(Path(folder), durable=False) as server:
        names = asyncio.run(prepare(server.dsn))
        with psycopg.connect(server.dsn) as connection:
            tried = list(trials(connection, names))
    for trial in tried:
        sys.stdout.write(f"{trial}\n")
    failed = sum(not trial.proved for trial in tried)
    sys.stdout.write(f"\n{len(tried)} cases of {len({t.refusal.by for t in tried})} objects, {failed} not proved\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Migrations since this rule only expand: the version before goes on beside them, and nobody waits for them.

A statement that could break that says in the comment right above it why it does not, beginning with `-- Safe beside
older code: `. An index on a table that is there already is made concurrently, in a file of nothing else.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import psycopg
import pytest

from neurocards.db import migrate
from neurocards.db.connection import Database
from neurocards.db.migrate import MIGRATIONS
from neurocards.db.orders import Outcome
from shop import new_customer, new_draft, place, violations

BEFORE_THE_RULE = (
    "0001_schema.sql",
    "0002_money.sql",
    "0003_conversation.sql",
    "0004_safeguards.sql",
    "0005_providers.sql",
)
MOST_TABLES = 4
"""How many tables that are there already one file may have to wait for: it holds the first until it has the last."""
REASON = re.compile(r"-- Safe beside older code: \w")

_BODY = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_ATOMIC = re.compile(r"\bbegin atomic\b.*?\bend(?=;)", re.DOTALL)
_COMMENTS = re.compile(r"(?:[ \t]*--[^\n]*\n)+\Z")
_NAME = r"(?:only )?(?:if (?:not )?exists )?(?:public\.)?(\w+)"
_HOLDS = re.compile(rf"(?:^alter table|(?:trigger|index)\b.* on|\breferences) {_NAME}")


@dataclass(frozen=True)
class Statement:
    """One statement of a file, without what functions do inside, and the comment above it."""

    text: str
    comment: str


def statements(sql: str) -> Iterator[Statement]:
    """The statements of a file in lower case, blanks made equal."""
    bare = re.sub(r"'(?:[^']|'')*'", "''", _ATOMIC.sub("body", _BODY.sub("''", _hidden_comments(sql))))
    for part in bare.split(";"):
        lines = part.strip("\n").split("\n")
        comment = "\n".join(line for line in lines if line.lstrip().startswith("--"))
        text = " ".join(" ".join(line for line in lines if not line.lstrip().startswith("--")).split()).lower()
        if text:
            yield Statement(text, comment.replace("\x00", ";").replace("\x01", "'").replace("\x02", "$"))


def _hidden_comments(sql: str) -> str:
    """Comments keep their words but can end no statement and open no string."""
    return re.sub(
        r"--[^\n]*", lambda found: found[0].replace(";", "\x00").replace("'", "\x01").replace("$", "\x02"), sql
    )


def risks(sql: str) -> list[str]:
    """The statements of a migration that an older version, or who waits, may not survive, and that give no reason."""
    found = list(statements(sql))
    if any(" index concurrently " in one.text for one in found):
        return [
            f"waits among indexes: {one.text[:200]}"
            for one in found
            if not REASON.search(one.comment) and not _makes_an_index(one.text, found)
        ]
    new = {name[1] for one in found if (name := re.match(rf"create table {_NAME}", one.text))}
    held = {name[1] for one in found if (name := _HOLDS.search(one.text))} - new
    return [f"holds {len(held)} tables" for _ in range(len(held) > MOST_TABLES)] + [
        f"{risk}: {one.text[:200]}" for one in found if not REASON.search(one.comment) for risk in _risks(one.text, new)
    ]


def _makes_an_index(text: str, found: list[Statement]) -> bool:
    """Whether it makes an index beside writers, or removes what is left of one that it is about to make."""
    if dropped := re.fullmatch(r"drop index concurrently if exists (\w+)", text):
        return any(re.match(rf"create (?:unique )?index concurrently {dropped[1]} ", one.text) for one in found)
    made = re.match(r"create (?:unique )?index concurrently (\w+) on ", text)
    return made is not None and any(one.text == f"drop index concurrently if exists {made[1]}" for one in found)


def _risks(text: str, new: set[str]) -> Iterator[str]:
    table = re.match(rf"alter table {_NAME} ?(.*)", text)
    if table:
        if table[1] not in new:
            for action in re.split(r",\s*(?=(?:add|drop|alter|rename|validate)\b)", table[2]):
                yield from _risks_of(action.strip())
        return
    on = re.search(r"\bon (?:only )?(?:public\.)?(\w+)", text)
    on_new = on is not None and on[1] in new
    if re.match(r"(?:drop|truncate|lock|cluster|vacuum|reindex)\b", text):
        yield "takes something away"
    elif re.match(r"(?:update|delete|insert into .* select|with)\b", text):
        yield "writes rows that are there"
    elif re.match(r"create (?:unique )?index\b", text) and not on_new:
        yield "stops writers while the index is made"
    elif re.match(r"create (?:or replace )?(?:constraint )?trigger\b", text) and not on_new:
        yield "holds older code to something new"
    elif re.match(r"alter (?:type|domain|view|materialized view|sequence)\b", text):
        yield "changes what is there"


def _risks_of(action: str) -> Iterator[str]:
    """Of one thing that is done to a table that is there already."""
    if re.match(r"(?:drop|rename)\b", action):
        yield "takes away what older code knows"
    elif re.match(r"alter (?:column )?\w+ (?:set data )?type\b", action):
        yield "rewrites the table"
    elif re.match(r"alter (?:column )?\w+ set not null\b", action):
        yield "refuses rows that older code writes"
    elif re.match(r"add (?:constraint|check|foreign|unique|primary|exclude)\b", action):
        if not action.endswith("not valid"):
            yield "reads the whole table under a lock"
    elif re.match(r"add\b", action):
        if re.search(r"\bnot null\b", action) and "default" not in action:
            yield "refuses rows of older code, which does not know the column"
        if re.search(r"\bdefault (?:\w+\.)?\w+\(", action):
            yield "rewrites the table: each row gets a default of its own"
        if re.search(r"\b(?:unique|primary key|references|check|constraint)\b", action):
            yield "reads the whole table under a lock"


@pytest.mark.parametrize("name", sorted(path.name for path in MIGRATIONS.glob("*.sql")))
def test_f77_a_migration_only_expands(name: str) -> None:
    if name not in BEFORE_THE_RULE:
        assert risks((MIGRATIONS / name).read_text("utf-8")) == []


@pytest.mark.parametrize(
    "harmful",
    [
        "drop table photos",
        "alter table orders drop column wishes",
        "alter table orders drop wishes",
        "alter table orders drop constraint orders_fit",
        "alter table only public.orders rename column wishes to wants",
        "alter table orders rename to sales",
        "alter table orders alter column price_credits type bigint",
        "alter table orders alter price_credits set not null",
        "alter table orders add column shop text not null",
        "alter table orders add column a text,\n  add column shop text not null",
        "alter table orders add column shop uuid not null default gen_random_uuid()",
        "alter table orders add column shop bigint references photos",
        "alter table orders add constraint orders_fit check (price_credits < 9)",
        "alter table orders add unique (number)",
        "create index on orders (wishes)",
        "create unique index orders_wishes on orders (wishes)",
        "drop index jobs_due",
        "drop function place_order(uuid)",
        "drop trigger a on orders",
        "create trigger a before insert on orders execute function refuse_change()",
        "update orders set wishes = ''",
        "delete from photos",
        "truncate photos",
        "alter type stage rename value 'a' to 'b'",
        "-- A comment; with 'odd $$ things\ndrop view a",
        "create table a (b text);\nalter table orders add column shop text not null",
        "create index concurrently a on orders (wishes)",
        "drop index concurrently if exists jobs_due",
    ],
)
def test_f77_what_older_code_would_not_survive_is_found(harmful: str) -> None:
    assert risks(f"{harmful};\n") != []
    assert risks(f"-- Safe beside older code: nobody reads it since version 3.\n{harmful.splitlines()[-1]};\n") == []


def test_f76_what_waits_for_too_much_at_once_is_found() -> None:
    tables = ("orders", "generations", "jobs", "notices", "drafts")
    added = [f"alter table {table} add column shop text;\n" for table in tables]
    assert risks("".join(added[:4])) == []
    assert risks("".join(added)) == ["holds 5 tables"]
    indexes = "drop index concurrently if exists a; create index concurrently a on orders (wishes);"
    assert risks(indexes) == []
    assert risks(indexes + added[0]) != []


@pytest.mark.parametrize(
    "harmless",
    [
        "create table shops (id bigint primary key, name text not null unique); create index on shops (name);"
        " alter table shops add constraint named check (name <> ''); create trigger a before update on shops"
        " execute function refuse_change()",
        "alter table orders add column shop text",
        "alter table orders add column shop text, add column more integer not null default 0",
        "alter table orders add constraint orders_fit check (price_credits < 9) not valid",
        "alter table orders alter column shop set default gen_random_uuid()",
        "alter table orders alter column shop drop default",
        "alter table orders validate constraint orders_fit",
        "create or replace function f() returns void language plpgsql as $$ begin drop table a; delete from b; end $$",
        "create function f() returns boolean language sql begin atomic select true; end",
        "create function f() returns boolean language sql begin atomic select true; end; grant select on a to b",
        "comment on table orders is 'drop; delete from'",
        "grant select on orders to neurocards_app; revoke update on orders from neurocards_app",
        "insert into alert_board default values",
    ],
)
def test_f77_what_only_expands_is_let_through(harmless: str) -> None:
    assert risks(f"{harmless};\n") == []


# Under load ----------------------------------------------------------------------------------------------------------


async def test_f76_nobody_waits_longer_than_a_second_while_a_migration_cannot_have_its_lock(
    database: Database, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction is in the way for more than two tries; what waits for what is read from the server."""
    copytree(MIGRATIONS, tmp_path / "next")
    (tmp_path / "next" / "9999_next.sql").write_text("alter table orders add column next text;")
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path / "next")
    drafts = [await new_draft(database, await new_customer(database, free=1)) for _ in range(60)]
    seen: list[tuple[float, float]] = [(0.0, 0.0)]  # how long the migration waits, and how long whoever orders

    async def watch() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as server:
            while True:
                cursor = await server.execute(WAITS)
                seen.extend(await cursor.fetchall())
                await asyncio.sleep(0.01)

    async def until_the_migration(waits: bool) -> None:
        while (seen[-1][0] > 0) is not waits:  # noqa: ASYNC110 (the server sets no event)
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    async with database.transaction() as reader, asyncio.timeout(20):
        await reader.execute("select from orders")
        moving = asyncio.create_task(migrate.migrate(dsn))
        await until_the_migration(waits=True)
        for draft_id in drafts:
            assert (await place(database, draft_id)).outcome is Outcome.PLACED
        await until_the_migration(waits=False)
        await until_the_migration(waits=True)
        await reader.execute("rollback")
        assert await moving == ["9999_next.sql"]
    watching.cancel()
    assert max(migrating for migrating, _ in seen) < 1.0
    assert 0 < max(ordering for _, ordering in seen) < 1.0, "orders queued behind it, for as long as one try takes"
    assert await violations(database) == []


async def test_f76_an_index_is_made_beside_writers_and_anew_when_it_broke_off(
    database: Database, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copytree(MIGRATIONS, tmp_path / "next")
    (tmp_path / "next" / "9999_next.sql").write_text(
        "drop index concurrently if exists orders_next;\ncreate index concurrently orders_next on orders (number);\n"
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path / "next")
    drafts = [await new_draft(database, await new_customer(database, free=1)) for _ in range(5)]
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as server, asyncio.timeout(20):
        async with database.transaction() as writer:
            await writer.execute("update orders set wishes = wishes")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await server.execute("set lock_timeout = '50ms'")
                await server.execute("create index concurrently orders_next on orders (number)")
            moving = [asyncio.create_task(migrate.migrate(dsn)) for _ in range(2)]
            while (await (await server.execute(WAITS_FOR_WRITERS)).fetchone()) != (True,):  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)
            for draft_id in drafts:
                assert (await place(database, draft_id)).outcome is Outcome.PLACED
        # The other one does not stand in the way of the index it waits for.
        assert sorted(await asyncio.gather(*moving)) == [[], ["9999_next.sql"]]
        cursor = await server.execute("select indisvalid from pg_index where indexrelid = 'orders_next'::regclass")
        assert await cursor.fetchone() == (True,)


async def test_f76_a_migration_that_never_gets_its_lock_says_what_to_do_and_changes_nothing(
    database: Database, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copytree(MIGRATIONS, tmp_path / "next")
    (tmp_path / "next" / "9999_next.sql").write_text("alter table orders add column next text;")
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path / "next")
    monkeypatch.setattr(migrate, "LOCK_TRIES", 1)
    async with database.transaction() as reader:
        await reader.execute("select from orders")
        with pytest.raises(migrate.Busy, match=r"9999_next\.sql was not applied.*migrate again"):
            await migrate.migrate(dsn)
    assert await migrate.pending(dsn) == ["9999_next.sql"]


WAITS_FOR_WRITERS = """
    select exists (select from pg_locks where not granted and locktype = 'virtualxid' and pid <> pg_backend_pid())
"""


WAITS = """
    select coalesce(max(waited) filter (where mode = 'AccessExclusiveLock'), 0)::float8,
           coalesce(max(waited) filter (where mode <> 'AccessExclusiveLock'), 0)::float8
      from (select mode, extract(epoch from clock_timestamp() - waitstart) as waited
              from pg_locks
             where not granted and database = (select oid from pg_database where datname = current_database())) waiting
"""


async def test_a_database_that_cannot_keep_every_text_is_refused_before_anything_is_made_in_it(dsn: str) -> None:
    """What createdb makes on a server without a locale."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            b"create database of_bytes template template0 encoding 'SQL_ASCII' locale_provider libc locale 'C'"
        )
    other = psycopg.conninfo.make_conninfo(dsn, dbname="of_bytes")
    try:
        with pytest.raises(migrate.NotUnicode, match="SQL_ASCII and must be UTF8"):
            await migrate.migrate(other)
        assert await migrate.pending(other) == migrate.names()
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(b"drop database of_bytes with (force)")

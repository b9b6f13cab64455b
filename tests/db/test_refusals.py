"""F80, P10: what must never be true is refused by name, from psql too, and every object of the schema is needed."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import psycopg.conninfo
import pytest

from db.refusals import NO_REFUSAL, NOTHING_WRONG, REFUSALS, Refusal
from db.strength import attempted, objects, prepare, refuser, trials
from neurocards.db.embedded import EmbeddedPostgres

DATABASE = "refusals"


@dataclass(frozen=True)
class Shop:
    """An operator's connection to a small shop, the names of its things as SQL literals, and what refuses there."""

    connection: psycopg.Connection
    names: dict[str, str]
    objects: dict[str, str]


def everything(connection: psycopg.Connection) -> dict[str, str]:
    """A digest of all rows of every table."""
    tables = connection.execute(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
    )
    digests = " union all ".join(
        f"select '{table}', md5(string_agg(row::text, ',' order by row::text)) from {table} row"
        for (table,) in tables.fetchall()
    )
    found: dict[str, str] = dict(connection.execute(digests.encode()).fetchall())
    connection.rollback()
    return found


@pytest.fixture(scope="module")
def shop(postgres: EmbeddedPostgres) -> Iterator[Shop]:
    """One shop for the module; whatever was refused has changed nothing in it."""
    with psycopg.connect(postgres.dsn, autocommit=True) as server:
        server.execute(f"create database {DATABASE} template empty_shop".encode())
    dsn = psycopg.conninfo.make_conninfo(postgres.dsn, dbname=DATABASE)
    names = asyncio.run(prepare(dsn))
    with psycopg.connect(dsn) as connection:
        before = everything(connection)
        yield Shop(connection, names, objects(connection))
        assert everything(connection) == before
    with psycopg.connect(postgres.dsn, autocommit=True) as server:
        server.execute(f"drop database {DATABASE} with (force)".encode())


@pytest.mark.parametrize("what", NOTHING_WRONG)
def test_p10_nothing_wrong_goes_through(shop: Shop, what: str) -> None:
    """What the cases are put together from is accepted, so that it is the fault that is refused."""
    statements = Refusal(by="", what=what, sql=NOTHING_WRONG[what]).statements(shop.names)
    assert attempted(shop.connection, statements) is None


@pytest.mark.parametrize(
    "refusal",
    [refusal for refusal in REFUSALS if not refusal.behind],
    ids=lambda refusal: f"{refusal.by}: {refusal.what}",
)
def test_f80_the_database_refuses(shop: Shop, refusal: Refusal) -> None:
    statements = refusal.statements(shop.names)
    # Tried first, so that what is let through does not spoil the shop for the other cases.
    assert attempted(shop.connection, statements) == refusal.by
    with pytest.raises(psycopg.DatabaseError) as refused:
        shop.connection.execute(statements)
        shop.connection.commit()
    shop.connection.rollback()
    assert refuser(refused.value) == refusal.by
    # Ours are counted and alerted on by their codes.
    ours = shop.objects[refusal.by].startswith("drop trigger")
    assert str(refused.value.sqlstate)[:2] == ("NC" if ours else "23")


def test_f80_what_nothing_refuses_is_seen(shop: Shop) -> None:
    assert attempted(shop.connection, b"update customers set first_name = 'x'") is None
    assert attempted(shop.connection, b"update customers set language = 'fr'") == "customers_language_known"


def test_f80_every_object_has_a_case_or_a_reason(shop: Shop) -> None:
    covered = {refusal.by for refusal in REFUSALS}
    assert covered | set(NO_REFUSAL) == set(shop.objects)
    assert covered & set(NO_REFUSAL) == set()


def test_f80_no_object_can_be_dropped_unnoticed(shop: Shop) -> None:
    """Every case again, with and without its object: half a second in all."""
    assert [str(trial) for trial in trials(shop.connection, shop.names) if not trial.proved] == []

"""Real things for tests: one PostgreSQL server, a fresh migrated database per test, the simulators over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count

import psycopg
import psycopg.conninfo
import pytest

from neurocards.db.connection import Database
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.migrate import migrate

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server for the session; it dies with the tests."""
    with EmbeddedPostgres.start(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        asyncio.run(migrate(_with_database(server.dsn, _create(server.dsn, "empty_shop"))))
        yield server


@pytest.fixture
def dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A fresh migrated database."""
    name = _create(postgres.dsn, f"test_{next(_numbers)}", template="empty_shop")
    yield _with_database(postgres.dsn, name)
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """The fresh database as the program opens it."""
    async with Database(dsn, connections=12) as opened:
        yield opened


def _create(dsn: str, name: str, *, template: str = "template1") -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}".encode())
    return name


def _with_database(dsn: str, name: str) -> str:
    return psycopg.conninfo.make_conninfo(dsn, dbname=name)

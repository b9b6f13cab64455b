"""Real things for tests: one PostgreSQL server, a fresh migrated database per test, the simulators over HTTP."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import psutil  # type: ignore[import-untyped]  # it ships no types
import psycopg
import psycopg.conninfo
import pytest
import structlog
from playwright.async_api import Browser

import neurocards.bot  # noqa: F401 (imports aiogram as the program does, before any test does)
from browsers import NoBrowser, browser_is_required, find_chromium, running_browser
from collector import Collector
from neurocards.db.connection import Database
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.migrate import migrate
from neurocards.simulators import Addresses, running_simulators
from services import Closing, Simulators

QUICK = {"task_seconds": 0, "render": "shared", "frame_rate": 2}

MEMORY = Path("/dev/shm")
MEMORY_PREFIX = "neurocards-tests-"
MEMORY_BYTES = 2 * 2**30
"""What must be free: three servers with a quarter of a gigabyte of log each, and databases that come and go."""

LONGEST = (
    "test_demo",
    "test_production",
    "test_providers",
    "test_orders_on_the_page",
    "test_talks_on_the_page",
    "test_cli",
    "test_many_sellers",
    "test_chat_page",
    "test_storm",
    "test_bills",
    "test_secrets",
    "test_doctor",
)
"""The files that take longest, begun first: in the end nobody waits for one of them."""

_numbers = count(1)

# Whoever runs us in the background may have told us to ignore Ctrl-C; the programs under test must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Without this, structlog draws every traceback with all its locals, for seconds."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server for the session, in memory where there is enough of it; it dies with the tests."""
    with (
        _in_memory() or nullcontext(tmp_path_factory.mktemp("postgres")) as folder,
        EmbeddedPostgres.start(Path(folder), durable=False) as server,
    ):
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


@pytest.fixture(scope="session")
async def all_simulators() -> AsyncIterator[Addresses]:
    async with running_simulators() as addresses:
        yield addresses


@pytest.fixture
async def simulators(all_simulators: Addresses) -> AsyncIterator[Simulators]:
    """The simulators as if just started; videos are quick, one clip serves every picture."""
    openai_sim = all_simulators.openai.removesuffix("/v1") + "/sim"
    # It speaks to loopback alone; reading whom to trust would cost more than the rest of the fixture.
    async with httpx2.AsyncClient(timeout=30, verify=False) as client:
        for reset in (
            client.post(f"{all_simulators.kie}/sim/reset"),
            client.post(f"{all_simulators.fal}/sim/reset"),
            client.post(f"{openai_sim}/reset"),
            client.delete(f"{all_simulators.telegram}/sim/faults"),
            client.post(f"{all_simulators.kie}/sim/settings", json=QUICK),
            client.post(f"{all_simulators.fal}/sim/settings", json=QUICK),
        ):
            (await reset).raise_for_status()
        yield Simulators(all_simulators.telegram, all_simulators.kie, all_simulators.fal, all_simulators.openai, client)


@pytest.fixture(scope="session")
async def closing() -> AsyncIterator[Closing]:
    """What ends while other tests go on: aiogram lets a quarter of a second pass whenever it closes a session."""
    tasks: Closing = set()
    yield tasks
    await asyncio.gather(*tasks)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for the session. Where there is none its tests are skipped, unless it is required."""
    try:
        find_chromium()
    except NoBrowser as missing:
        if browser_is_required():
            raise
        pytest.skip(str(missing))
    async with running_browser() as running:
        yield running


def _in_memory() -> TemporaryDirectory[str] | None:
    """A folder for a server whose databases come and go: on ext4 the files of each cost more than most tests do.

    It does not give out the place of a file that was deleted within five seconds, and looks at every such place anew.
    """
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < MEMORY_BYTES:
        return None
    for left in MEMORY.glob(f"{MEMORY_PREFIX}*"):  # by tests that were killed
        if left.suffix[1:].isdecimal() and not psutil.pid_exists(int(left.suffix[1:])):
            shutil.rmtree(left, ignore_errors=True)
    return TemporaryDirectory(dir=MEMORY, prefix=MEMORY_PREFIX, suffix=f".{os.getpid()}")


def _create(dsn: str, name: str, *, template: str = "template1") -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}".encode())
    return name


def _with_database(dsn: str, name: str) -> str:
    return psycopg.conninfo.make_conninfo(dsn, dbname=name)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Somewhere for traces to go."""
    collector = Collector()
    yield collector
    collector.close()

"""F76-F82: releases and operators: old beside new, half a configuration, two bots, and one clock for all decisions."""

import ast
import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copy
from uuid import uuid4

import pytest

import neurocards
from bot.chat import Shop
from flow.rig import LEASE_SECONDS, Rig, make_router
from neurocards.bot import Intake, IntakeRefused, make_bot
from neurocards.bot import intake as intake_module
from neurocards.catalogue import load_catalogue
from neurocards.db import jobs, migrate
from neurocards.db.connection import Database
from neurocards.db.jobs import Job
from neurocards.db.orders import Outcome
from neurocards.domain.generations import GenerationState
from neurocards.maintenance import turn
from neurocards.production import Production
from neurocards.settings import BadSettings, read_settings
from neurocards.worker import Draining, Worker
from shop import advance, claim, counts, new_customer, new_draft, new_order, place, violations

SOURCE = Path(neurocards.__file__).parent


# Releases ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version with one more migration of the usual kind."""
    for file in migrate.MIGRATIONS.glob("*.sql"):
        copy(file, tmp_path)
    (tmp_path / "9999_next.sql").write_text(
        "alter table orders add column next text; create index orders_next on orders (next);"
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path)


@pytest.mark.usefixtures("next_release")
async def test_f76_orders_go_on_while_the_schema_moves_on(database: Database, dsn: str) -> None:
    drafts = [await new_draft(database, await new_customer(database, free=1)) for _ in range(40)]
    waits: list[float] = []

    async def sell() -> None:
        for draft_id in drafts:
            began = time.monotonic()
            assert (await place(database, draft_id)).outcome is Outcome.PLACED
            waits.append(time.monotonic() - began)

    async def move_on() -> None:
        while len(waits) < 5:  # noqa: ASYNC110 (a list sets no event)
            await asyncio.sleep(0.001)
        assert await migrate.migrate(dsn) == ["9999_next.sql"]
        assert len(waits) < 40, "it was applied in the middle"

    await asyncio.gather(sell(), move_on())
    assert max(waits) < 1
    assert await violations(database) == []


@pytest.mark.usefixtures("next_release")
async def test_f76_a_migration_that_has_to_wait_for_its_lock_makes_no_order_wait(database: Database, dsn: str) -> None:
    """Somebody reads an order for a while; whoever queues behind that with a stronger lock stops everybody else."""
    draft_id = await new_draft(database, await new_customer(database, free=1))
    async with database.transaction() as reader:
        await reader.execute("select from orders")
        moving = asyncio.create_task(migrate.migrate(dsn))
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(1.5):
                placed = await place(database, draft_id)
        except TimeoutError:
            pytest.fail("an order waited for more than a second behind the migration")
        finally:
            await reader.execute("rollback")
            await moving
    assert placed.outcome is Outcome.PLACED


async def test_f77_what_an_older_worker_does_not_know_of_the_schema_it_leaves_alone(rig: Rig, photo: bytes) -> None:
    order_id = await rig.order(photo=photo)
    paused_id = await rig.order(photo=photo)
    async with rig.database.transaction() as tx:
        for table in ("jobs", "generations", "attempts", "orders", "notices", "customers"):
            await tx.execute(f"alter table {table} add column novel text default 'unknown to us'".encode())
        await tx.execute("alter table jobs drop constraint jobs_state_known")
        await tx.execute(
            "update jobs set state = 'paused' where subject_id = (select id from generations where order_id = %s)",
            [paused_id],
        )
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert (await turn(rig.database)).rescued == 0
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select state, lease_number from jobs where state = 'paused'")
        assert await cursor.fetchall() == [("paused", 0)], "a state that it does not know it never claims"


async def test_f77_an_order_for_a_template_that_only_newer_workers_know_waits_for_them(
    rig: Rig, photo: bytes, tmp_path: Path
) -> None:
    catalogue = load_catalogue()
    older = Production(
        rig.database,
        rig.store,
        replace(catalogue, templates={id: one for id, one in catalogue.templates.items() if id != "hero_broll"}),
        providers={"kie": rig.kie},
        router=make_router(catalogue, {"kie": rig.kie}),
        writer=None,
        workspace=tmp_path,
        lease_seconds=LEASE_SECONDS,
        doubt_seconds=300,
        deadline_seconds=3600,
    )
    order_id = await rig.order(photo=photo)
    old = Worker(rig.database, {"generation": older}, name="old", slots=5, lease_seconds=LEASE_SECONDS)
    for _ in range(6):
        await rig.work(worker=old)
        await advance(rig.database, 40)
        assert (await turn(rig.database)).rescued == 0
    assert (await rig.job())["attempt"] == 1, "it costs time only"
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert await rig.violations() == []


async def test_f77_a_kind_of_job_that_only_newer_workers_know_is_left_to_them(database: Database) -> None:
    async def unused(job: Job, draining: Draining) -> None:
        raise AssertionError("there is no video to make")

    customer = await new_customer(database)
    async with database.transaction() as tx:
        await tx.execute(
            "insert into jobs (kind, subject_id, customer_id) values ('poster', %s, %s)", [uuid4(), customer.id]
        )
    older = Worker(database, {"generation": unused}, name="old", slots=5, lease_seconds=LEASE_SECONDS)
    assert await older.turn() == 0
    await older.idle()


# Operators -----------------------------------------------------------------------------------------------------------


def test_f78_every_problem_of_the_settings_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LEASE_SECONDS": "soon", "HTTP_PORT": "0", "PUBLIC_URL": "http://shop.example"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as refused:
        read_settings()
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "PUBLIC_URL",
        "HTTP_PORT",
        "LEASE_SECONDS",
    ]
    for name in ("LEASE_SECONDS", "HTTP_PORT", "PUBLIC_URL", "BOT_TOKEN", "KIE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadSettings) as refused:
        read_settings().worker_secrets()
    assert [line.split(" is not set: ")[0] for line in str(refused.value).splitlines()] == ["BOT_TOKEN", "KIE_API_KEY"]


async def test_f81_of_two_bots_with_one_token_the_second_leaves_and_the_first_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has polled for a while; then somebody starts another."""
    monkeypatch.setattr(intake_module, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(intake_module, "LONGEST_PAUSE_SECONDS", 0.1)
    person = await shop.arrive()
    stop = asyncio.Event()
    first = asyncio.create_task(Intake(shop.bot, shop.database, poll_seconds=1).run(stop))
    await asyncio.sleep(1.5)  # one poll to its end: nobody else was there
    other = make_bot(shop.token, shop.telegram)
    second = asyncio.create_task(Intake(other, shop.database, poll_seconds=2).run(stop))
    await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED, timeout=20)
    await asyncio.sleep(0.5)
    try:
        assert not first.done(), "the first goes on"
        assert second.done()
        with pytest.raises(IntakeRefused, match="another process polls with this BOT_TOKEN: stop it"):
            second.result()
        await shop.post(f"people/{person.id}/start", {})
        async with asyncio.timeout(5):
            while not await shop.states():  # noqa: ASYNC110 (rows set no event)
                await asyncio.sleep(0.05)
    finally:
        stop.set()
        await asyncio.gather(first, second, return_exceptions=True)
        await other.session.close()


# One clock -----------------------------------------------------------------------------------------------------------

OUR_OWN_CLOCK = {
    "alerts.py": "since when the database has been away: nobody else could be asked",
    "app.py": "the age of a file that a killed worker left: the file system's time",
    "doctor/looking.py": "how far this machine's clock is from everybody else's",
    "db/watch.py": "how far this machine's time is from the database's, which is what is asked",
    "preview.py": "which models have retired, for somebody who only looks",
    "providers/fal_callbacks.py": "how fresh fal's signature is: fal's time",
    "providers/kie_callbacks.py": "how fresh KIE's signature is: KIE's time",
}
"""Where the time of this machine is read, and what of; nowhere is anything else decided by it."""

STAND_INS = {"simulators", "demo", "storm"}
CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today")} | {
    ("date", "today"),
    ("time", "localtime"),
    ("time", "gmtime"),
}


def clock_calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (owner, node.attr) in CLOCKS:
                yield f"{owner}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"from time import {one.name}" for one in node.names if ("time", one.name) in CLOCKS)


def test_f82_leases_deadlines_and_retries_know_no_clock_but_the_databases() -> None:
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if path.relative_to(SOURCE).parts[0] not in STAND_INS and list(clock_calls(path))
    }
    assert found == set(OUR_OWN_CLOCK)


def test_f82_statements_read_the_one_clock_that_can_be_moved() -> None:
    own = re.compile(r"\b(?:now\(\)|current_timestamp|clock_timestamp|statement_timestamp|localtimestamp|current_date)")
    found = {
        path.name
        for path in [*SOURCE.joinpath("db").glob("*.py"), *SOURCE.joinpath("db", "migrations").glob("*.sql")]
        if own.search(path.read_text("utf-8").replace("clock_now()", ""))
    }
    # The clock itself, migrations applied, a trial's clock that is set, and what machines' clocks are compared with.
    assert found == {"0001_schema.sql", "0005_providers.sql", "migrate.py", "dumps.py", "watch.py"}


async def test_f82_whoever_moves_the_clock_moves_leases_retries_and_deadlines(database: Database) -> None:
    await new_order(database)
    await new_order(database)
    held, put_back = await claim(database)
    await database.run(lambda tx: jobs.snooze(tx, put_back, seconds=60))
    before = await counts(database)
    await advance(database, 61)
    assert [one.id for one in await claim(database)] == [put_back.id]
    assert (await turn(database)).rescued == 1, f"the lease of {held.id} has run out"
    await advance(database, 3600)
    assert (await turn(database)).overdue == 2
    assert await counts(database) != before

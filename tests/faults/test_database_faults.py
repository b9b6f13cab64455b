"""F34-F43: the database dies, hangs, fills up, runs into itself; what was acknowledged stays, the rest is repeated."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from subprocess import run
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import SerializationFailure
from psycopg_pool import PoolTimeout

import neurocards
from bot.chat import Shop, words
from bot.test_conversation import orders_of
from faults.line import Cut, Line, once_each
from faults.places import opened_shop, opened_workshop
from faults.points import Workshop
from faults.traps import CONFLICT, DISK_FULL, sprung, trap
from flow.rig import LEASE_SECONDS
from neurocards import ordering
from neurocards.catalogue import load_catalogue
from neurocards.db import connection, customers, generations
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.jobs import Job
from neurocards.db.migrate import migrate
from neurocards.db.orders import Outcome, Placement
from neurocards.domain.generations import GenerationState
from neurocards.maintenance import turn
from neurocards.worker import Draining, Worker
from services import Simulators
from shop import DEADLINE_SECONDS, advance, counts, new_customer, new_draft, violations

RECONNECT_SECONDS = 10.0


async def order(database: Database, draft_id: UUID) -> Placement:
    return await ordering.place_order(
        database, load_catalogue(), draft_id, "hero_broll", deadline_seconds=DEADLINE_SECONDS, open_limit=100
    )


class Refunding:
    """The shortest honest handler: it ends the generation of its job."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def __call__(self, job: Job, draining: Draining) -> None:
        async def refund(tx: Transaction) -> bool:
            return await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="provider")

        await self.database.run(refund, patience_seconds=10)


# The server goes and comes back --------------------------------------------------------------------------------------


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server that may be hurt: durable, as a real one is."""
    server = await asyncio.to_thread(EmbeddedPostgres.start, tmp_path / "postgres")
    await migrate(server.dsn)
    yield server
    await asyncio.to_thread(server.stop)


async def crash(dsn: str) -> None:
    """Kill one backend: the server throws all others out at once and recovers from its log."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as operator:
        os.kill(operator.info.backend_pid, signal.SIGKILL)


async def test_f34_a_server_that_restarts_at_once_loses_nothing_that_was_acknowledged(
    own_server: EmbeddedPostgres,
) -> None:
    async with Database(own_server.dsn) as database:
        drafts = [await new_draft(database, await new_customer(database, free=1)) for _ in range(45)]
        acknowledged: dict[UUID, int | None] = {}
        crashes: list[float] = []
        handler = Refunding(database)
        stop = asyncio.Event()
        worker = Worker(database, {"generation": handler}, name="w", slots=5, lease_seconds=LEASE_SECONDS)
        working = asyncio.create_task(worker.run(stop))

        async def sell(some: list[UUID]) -> None:
            for draft_id in some:
                placement = await order(database, draft_id)
                assert placement.outcome in (Outcome.PLACED, Outcome.ALREADY_PLACED)
                acknowledged[draft_id] = placement.order_number

        async def hurt() -> None:
            for enough in (10, 30):
                while len(acknowledged) < enough:  # noqa: ASYNC110 (a dictionary sets no event)
                    await asyncio.sleep(0)
                await crash(own_server.dsn)
                began = time.monotonic()
                await database.run(lambda tx: tx.execute("select 1"), patience_seconds=RECONNECT_SECONDS)
                crashes.append(time.monotonic() - began)

        await asyncio.gather(hurt(), *(sell(drafts[number::3]) for number in range(3)))
        async with asyncio.timeout(RECONNECT_SECONDS):
            while await database.run(open_jobs, patience_seconds=RECONNECT_SECONDS):
                await advance(database, LEASE_SECONDS + 1)
                await turn(database)
                await asyncio.sleep(0.05)
        stop.set()
        await working

        assert len(crashes) == 2
        async with database.transaction() as tx:
            found = dict(await (await tx.execute("select id, number from orders")).fetchall())
        assert found == acknowledged
        assert len(found) == 45
        assert await violations(database) == []


async def open_jobs(tx: Transaction) -> int:
    row = await (await tx.execute("select count(*) from jobs where state in ('available', 'running')")).fetchone()
    assert row is not None
    return int(row[0])


async def test_f34_what_is_tapped_while_the_database_is_away_is_served_when_it_is_back(
    line: Line, simulators: Simulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "POOL_WAIT_SECONDS", 0.2)
    async with Database(line.dsn) as database, opened_shop(database, simulators) as shop:
        person = await shop.shopper()
        callback_id = await person.begin_tap("Confirm")
        line.down = True
        line.cut_all()
        for turns in (shop.intake.turn, shop.handling.turn, shop.outbox.turn):
            with pytest.raises(Away):
                await turns()
        line.down = False
        async with asyncio.timeout(RECONNECT_SECONDS):
            while not await orders_there(database):
                with suppress(*Away):
                    await shop.settle()
        [placed] = await orders_of(shop)
        assert f"No. {placed.number}" in (await shop.get(f"callbacks/{callback_id}"))["text"]
        assert await violations(database) == []


async def orders_there(database: Database) -> bool:
    with suppress(*Away):
        return (await counts(database))["orders"] > 0
    return False


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_f35_every_kind_of_transaction_of_a_worker_may_lose_its_line(
    database: Database, line: Line, simulators: Simulators, tmp_path: Path, photo: bytes, cut: Cut
) -> None:
    """Each is cut off at its commit the first time it comes: before the server hears of it, or before we hear of it."""
    done: list[str] = []
    async with Database(line.dsn) as cut_off, opened_workshop(cut_off, simulators, tmp_path) as workshop:
        rig = workshop.rig
        order_id = await rig.order(photo=photo)
        line.decide = once_each(cut, done)
        worker = rig.worker()
        for _ in range(100):
            with suppress(*Away):
                await worker.turn()
            await worker.idle()
            async with database.transaction() as tx:
                (generation,) = await generations.of_order(tx, order_id)
            if generation.state.ended:
                break
            await advance(database, 7)
            with suppress(*Away):
                await turn(cut_off)
            await asyncio.sleep(0.01)
        assert generation.state is GenerationState.COMPLETED
        assert len(await rig.tasks()) == 1
        for kind in (
            "with front as",
            "set prompt",
            "set frame_url",
            "insert into attempts",
            "set task_id",
            "'succeeded', result_url",
            "set video_key",
            "settle_generation",
            "set state = 'available', run_at = clock_now() +",
            "with silent as",
            "deadline_at < clock_now()",
        ):
            assert any(kind in words for words in done), f"never cut: {kind}"
    assert await violations(database) == []
    async with database.transaction() as tx:
        spent = await tx.execute("select sum(balance) from accounts where kind = 'spent'")
        assert await spent.fetchone() == (1,)


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_f35_every_kind_of_transaction_of_the_bot_may_lose_its_line(
    database: Database, line: Line, simulators: Simulators, cut: Cut
) -> None:
    done: list[str] = []
    async with Database(line.dsn) as cut_off, opened_shop(cut_off, simulators) as shop:
        person = await shop.shopper()
        line.decide = once_each(cut, done)
        taps = [await person.begin_tap("Confirm")]
        for _ in range(40):
            for turns in (shop.settle, shop.tell):
                with suppress(*Away):
                    await turns()
            await shop.handling.idle()
            await shop.outbox.idle()
            await advance(database, 61)
            async with database.transaction() as tx:
                cursor = await tx.execute(
                    "select (select count(*) from updates where state <> 'handled'), (select count(*) from orders),"
                    " (select count(*) from notices where state in ('pending', 'sending'))"
                )
                left = await cursor.fetchone()
            if left == (0, 1, 0):
                break
            answer = await shop.get(f"callbacks/{taps[-1]}")
            if left == (0, 0, 0) and answer["answered"]:
                assert "nothing will be charged twice" in answer["text"]
                taps.append(await person.begin_tap("Confirm"))
        line.decide = lambda _words: None
        [placed] = await orders_of(shop)
        assert f"No. {placed.number}" in (await shop.get(f"callbacks/{taps[-1]}"))["text"]
        assert (await person.balance()).held == 1
        cards = [one for one in await person.messages() if f"No. {placed.number}" in str(one["caption"])]
        assert len(cards) == 1
        if cut == "before":
            async with database.transaction() as tx:
                cursor = await tx.execute("select max(attempt) from updates")
                assert await cursor.fetchone() == (1,), "the database's trouble is not the update's"
        for kind in ("insert into updates", "update updates", "place_order(", "update notices", "set card_message_id"):
            assert any(kind in words for words in done), f"never cut: {kind}"
        assert await violations(database) == []


async def test_f36_with_every_connection_taken_all_wait_for_so_long_and_leave_nothing_half_done(
    database: Database, dsn: str, simulators: Simulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "POOL_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(ordering, "PATIENCE_SECONDS", 0.3)
    async with Database(dsn, connections=2) as small, opened_shop(small, simulators) as shop:
        person = await shop.shopper()
        draft_id = await new_draft(database, await new_customer(database, free=1))
        before = await counts(database)
        callback_id = await person.begin_tap("Confirm")
        async with small.transaction(), small.transaction():
            began = time.monotonic()
            with pytest.raises(PoolTimeout):
                await order(small, draft_id)
            with pytest.raises(PoolTimeout):
                await shop.intake.turn()
            assert time.monotonic() - began < 3
        assert await counts(database) == before
        await shop.settle()
        [placed] = await orders_of(shop)
        assert f"No. {placed.number}" in (await shop.get(f"callbacks/{callback_id}"))["text"], "nothing was lost"
        assert (await order(small, draft_id)).outcome is Outcome.PLACED
        assert await violations(database) == []


# It runs into itself -------------------------------------------------------------------------------------------------


async def test_f37_of_two_that_wait_for_each_other_one_begins_again_and_nobody_notices(
    database: Database, dsn: str
) -> None:
    async with database.transaction() as tx:
        name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        await tx.execute(f"alter database {name} set deadlock_timeout = '20ms'".encode())
    async with Database(dsn) as fresh:
        one, two = await new_customer(fresh), await new_customer(fresh)
        tries = 0
        both = asyncio.Barrier(2)

        async def top_up(first: int, second: int, cause: str) -> None:
            async def work(tx: Transaction) -> None:
                nonlocal tries
                tries += 1
                for number, customer_id in enumerate((first, second)):
                    await customers.top_up(
                        tx, customer_id, amount=1, funding="paid", cause=f"{cause}:{number}", reason="test"
                    )
                    if number == 0 and tries <= 2:
                        await both.wait()

            await fresh.run(work)

        await asyncio.gather(top_up(one.id, two.id, "a"), top_up(two.id, one.id, "b"))
        assert tries == 3
        async with fresh.transaction() as tx:
            assert [(await customers.balance(tx, one.id)).available_paid for one in (one, two)] == [2, 2]
        assert await violations(fresh) == []


@pytest.mark.parametrize(("times", "outcome"), [(3, Outcome.PLACED), (4, None)])
async def test_f37_a_conflict_is_retried_three_times(database: Database, times: int, outcome: Outcome | None) -> None:
    draft_id = await new_draft(database, await new_customer(database, free=1))
    before = await counts(database)
    async with trap(database, "orders", "insert", CONFLICT, times=times):
        if outcome is None:
            with pytest.raises(SerializationFailure):
                await order(database, draft_id)
            assert await counts(database) == before
        else:
            assert (await order(database, draft_id)).outcome is outcome
        assert await sprung(database) == 4


# It has no room, or no time ------------------------------------------------------------------------------------------


async def test_f38_while_the_disk_is_full_orders_are_refused_in_words_and_nothing_is_lost(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "PATIENCE_SECONDS", 0.1)
    person = await shop.shopper()
    before = await counts(shop.database)
    async with trap(shop.database, "orders", "insert", DISK_FULL):
        answer = await person.tap("Confirm")
        assert answer["show_alert"]
        assert "nothing will be charged twice" in answer["text"]
        assert await counts(shop.database) == before
    assert "accepted" in (await person.tap("Confirm"))["text"]
    async with trap(shop.database, "updates", "insert", DISK_FULL):
        await shop.post(f"people/{person.id}/text", {"text": "/balance"})
        with pytest.raises(psycopg.errors.DiskFull):
            await shop.intake.turn()
    assert "Your cabinet" in words(await person.answers()), "what could not be stored was not confirmed either"
    assert await violations(shop.database) == []


async def test_f38_a_worker_goes_on_by_itself_when_there_is_room_again(workshop: Workshop, photo: bytes) -> None:
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    async with trap(rig.database, "attempts", "insert", DISK_FULL):
        working = asyncio.create_task(rig.work())
        async with asyncio.timeout(10):
            while await sprung(rig.database) < 3:  # noqa: ASYNC110 (a trap sets no event)
                await asyncio.sleep(0.02)
        assert await rig.tasks() == [], "no intent, no submit"
    await working
    (generation,) = await rig.finish(order_id)
    assert generation.state is GenerationState.COMPLETED
    assert (await rig.job())["attempt"] == 1
    assert len(await rig.tasks()) == 1
    assert await rig.violations() == []


async def test_f39_every_connection_has_its_limits_and_they_end_before_a_lease_does(database: Database) -> None:
    async with database.transaction() as tx:
        limits = await tx.execute(
            "select name, setting::int / 1000.0 from pg_settings where name in"
            " ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')"
        )
        seconds = {name: float(value) for name, value in await limits.fetchall()}
    assert len(seconds) == 3
    assert all(0 < value < LEASE_SECONDS for value in seconds.values())


@pytest.mark.parametrize("trouble", ["a long query", "a forgotten transaction", "a lock that is never let go"])
async def test_f39_what_takes_too_long_is_cut_and_nobody_waits_for_it(database: Database, trouble: str) -> None:
    """With shorter limits than the real ones, which a connection is given in the same way."""
    customer = await new_customer(database)

    async def top_up(tx: Transaction, cause: str) -> None:
        await customers.top_up(tx, customer.id, amount=1, funding="free", cause=cause, reason="test")

    async def slow(tx: Transaction) -> None:
        await top_up(tx, "slow")
        match trouble:
            case "a long query":
                await tx.execute("set local statement_timeout = '50ms'")
                await tx.execute("select pg_sleep(30)")
            case "a forgotten transaction":
                await tx.execute("set local idle_in_transaction_session_timeout = '50ms'")
                await asyncio.sleep(0.3)
                await tx.execute("select 1")
            case _:
                await tx.execute("set local lock_timeout = '50ms'")
                await tx.execute("lock table clock")

    async with database.transaction() as holder:
        await holder.execute("lock table clock in row share mode")
        with pytest.raises(Away):
            await database.run(slow)
        await database.run(lambda tx: top_up(tx, "quick"))
    async with database.transaction() as tx:
        assert (await customers.balance(tx, customer.id)).available_free == 1
    assert await violations(database) == []


# Beside it -----------------------------------------------------------------------------------------------------------

WORK = """
import structlog
from neurocards.logs import set_up_logs
set_up_logs("json")
log = structlog.get_logger()
for number in range(1000):
    log.info("step_done", number=number)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("step_crashed")
open("done", "w").write("the work was done")
"""


@pytest.mark.parametrize("log", ["2>/dev/full", "2>&-", "2>&1 | true"], ids=["full", "closed", "hung up"])
def test_f43_work_goes_on_when_nobody_takes_the_log(tmp_path: Path, log: str) -> None:
    run(
        ["sh", "-c", f'"$0" -c "$1" {log}', sys.executable, WORK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(neurocards.__file__).parent.parent)},
        check=False,
        timeout=30,
    )
    assert (tmp_path / "done").read_text("utf-8") == "the work was done"

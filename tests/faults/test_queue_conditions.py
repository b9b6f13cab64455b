"""What a queue that one makes oneself must keep, each condition under its own sentence."""

import ast
import asyncio
import re
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

import neurocards
from faults.line import Line
from faults.places import opened_workshop
from faults.points import Workshop
from flow.rig import LEASE_SECONDS
from neurocards import notices
from neurocards.bot import make_bot
from neurocards.db import books, connection, generations, jobs
from neurocards.db.connection import Away, Database
from neurocards.db.jobs import Job
from neurocards.domain.generations import AttemptState, GenerationState
from neurocards.maintenance import turn
from neurocards.providers import http
from neurocards.worker import Draining, Worker
from services import Simulators
from shop import advance, claim, make_video, new_order, violations

SOURCE = Path(neurocards.__file__).parent
ROOT = SOURCE.parent.parent

WITHOUT_A_LEASE = {
    "claim": "gives the next number",
    "rescue": "takes what nobody keeps alive any more",
    "hurry": "changes only what goes first",
    "hint": "makes a job due that nobody holds",
}
"""The statements that change a job and prove no lease, and what they do instead."""


class Held:
    """A handler that holds its job until it is let go, and then puts it back."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, job: Job, draining: Draining) -> None:
        self.begun.set()
        await self.let_go.wait()
        await self.database.run(lambda tx: jobs.snooze(tx, job, seconds=3600), patience_seconds=30)


def worker(database: Database, handler: Held) -> Worker:
    return Worker(database, {"generation": handler}, name="w", slots=5, lease_seconds=LEASE_SECONDS)


def updates_of_jobs() -> dict[str, str]:
    """Every statement of the program that changes jobs, by the function it stands in."""
    found = {}
    for path in SOURCE.joinpath("db").glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.AsyncFunctionDef):
                text = "".join(
                    node.value
                    for node in ast.walk(function)
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                )
                if re.search(r"\bupdate jobs\b", text):
                    found[function.name] = text
    return found


def test_the_lease_number_is_in_every_later_update() -> None:
    statements = updates_of_jobs()
    assert WITHOUT_A_LEASE.keys() < statements.keys()
    for name in statements.keys() - WITHOUT_A_LEASE.keys():
        assert "lease_number = %(number)s and state = 'running'" in statements[name], name
    functions = "".join(path.read_text("utf-8") for path in sorted(SOURCE.glob("db/migrations/*.sql")))
    settling, refunding = (
        functions.split(f"create function {name}")[1].split("end $$")[0]
        for name in ("settle_generation", "refund_generation")
    )
    assert "state = 'running' and lease_number = p_lease_number" in settling
    assert "state = 'running' and lease_number = p_lease_number" in refunding
    assert "lease_number = lease_number + case when p_lease_number is null" in refunding, "it takes the lease away"


async def test_a_step_that_pays_ends_before_its_lease_does(workshop: Workshop, photo: bytes) -> None:
    rig = workshop.rig
    await rig.order(photo=photo)
    gate = workshop.gates.close("submit", "before")
    (job,) = await claim(rig.database, lease_seconds=LEASE_SECONDS)
    # The steps before have eaten up most of the lease.
    await advance(rig.database, LEASE_SECONDS - 1)
    working = asyncio.create_task(rig.production(job, lambda: False))
    await gate.reached.wait()
    async with rig.database.transaction() as tx:
        cursor = await tx.execute("select extract(epoch from lease_expires_at - clock_now())::float from jobs")
        row = await cursor.fetchone()
    gate.opened.set()
    await working
    assert row is not None
    (left,) = row
    (limit,) = workshop.provider.limits
    assert limit < left - LEASE_SECONDS / 4, "whatever is late has some time to be written down"


async def test_a_worker_never_reclaims_what_it_holds(database: Database) -> None:
    await new_order(database)
    handler = Held(database)
    one, other = worker(database, handler), worker(database, Held(database))
    assert await one.turn() == 1
    await handler.begun.wait()
    await advance(database, LEASE_SECONDS + 1)
    assert (await turn(database)).rescued == 1
    assert await one.turn() == 0, "it is still in its hands, whatever the queue says"
    assert await other.turn() == 1
    handler.let_go.set()
    await one.idle()


async def test_claim_and_finish_are_retried_until_the_database_is_back(
    line: Line, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "POOL_WAIT_SECONDS", 0.2)
    async with Database(line.dsn) as behind:
        handler = Held(behind)
        stop = asyncio.Event()
        await new_order(database)
        working = asyncio.create_task(worker(behind, handler).run(stop))
        await handler.begun.wait()
        line.down = True
        line.cut_all()
        await new_order(database)
        handler.let_go.set()
        await asyncio.sleep(0.5)
        assert await put_back(database) == 0, "nothing gets through"
        line.down = False
        async with asyncio.timeout(20):
            while await put_back(database) < 2:  # noqa: ASYNC110 (rows set no event)
                await asyncio.sleep(0.05)
        stop.set()
        await working
    async with database.transaction() as tx:
        cursor = await tx.execute("select max(rescues), max(attempt), max(lease_number) from jobs")
        assert await cursor.fetchone() == (0, 1, 1)


async def put_back(database: Database) -> int:
    async with database.transaction() as tx:
        row = await (await tx.execute("select count(*) from jobs where run_at > clock_now()")).fetchone()
    return int(row[0]) if row else 0


async def test_notify_is_a_hint_only(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "create or replace function announce() returns trigger language plpgsql as 'begin return null; end'"
        )
    handler = Held(database)
    handler.let_go.set()
    stop = asyncio.Event()
    working = asyncio.create_task(worker(database, handler).run(stop))
    await asyncio.sleep(0.05)
    await new_order(database)
    async with asyncio.timeout(5):
        await handler.begun.wait()
    stop.set()
    await working


async def test_there_are_time_outs_on_every_statement_and_socket(dsn: str, simulators: Simulators) -> None:
    async with Database(dsn) as database, database.transaction() as tx:
        cursor = await tx.execute(
            "select count(*) from pg_settings where setting <> '0' and name in"
            " ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')"
        )
        assert await cursor.fetchone() == (3,)
        line = tx.info.get_parameters()
        for name in ("connect_timeout", "keepalives_idle", "keepalives_count", "tcp_user_timeout"):
            assert int(line[name]) > 0, name
    client = http.make_client()
    assert None not in client.timeout.as_dict().values()
    await client.aclose()
    bot = make_bot(f"1:{'t' * 35}", simulators.telegram)
    assert 0 < bot.session.timeout < notices.SENDING_SECONDS
    await bot.session.close()


@pytest.mark.parametrize("end", ["settle", "refund"])
async def test_there_is_one_settle_or_refund_per_generation_by_a_unique_key(database: Database, end: str) -> None:
    await new_order(database)
    (job,) = await claim(database)
    await make_video(database, job)
    async with database.transaction() as tx:
        assert await generations.settle(tx, job.subject_id, job.lease_number)
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        async with database.transaction() as tx:
            # From psql, as the owner of everything, under a cause that was never used.
            await tx.execute(
                "select move_credits(%(end)s, customer_id, 'held', %(to)s, funding, amount_credits, 'again:1',"
                "                    generation_id, id) from transfers where kind = 'hold'",
                {"end": end, "to": {"settle": "spent", "refund": "available"}[end]},
            )
    assert refused.value.diag.constraint_name == "transfers_ended_once"
    assert await violations(database) == []


async def test_the_intent_is_stored_before_the_submit(workshop: Workshop, photo: bytes) -> None:
    rig = workshop.rig
    order_id = await rig.order(photo=photo)
    gate, working, job = await workshop.hold("submit", "before")
    assert await rig.requests("createTask") == []
    (attempt,) = await rig.attempts(order_id)
    assert (attempt.state, attempt.lease_number) == (AttemptState.INTENT, job.lease_number), "others see it"
    with pytest.raises(psycopg.errors.UniqueViolation, match="attempts_one_live"):
        async with rig.database.transaction() as tx:
            await generations.intend(
                tx, attempt.generation_id, attempt_id=uuid4(), provider="kie", model="m", lease_number=9
            )
    gate.opened.set()
    await working


@pytest.mark.parametrize("limit", ["attempts", "deadline"])
async def test_attempts_and_a_deadline_both_end_in_a_refund(workshop: Workshop, photo: bytes, limit: str) -> None:
    rig = workshop.rig
    fault = {"attempts": "task_fails", "deadline": "never_ends"}[limit]
    await rig.fault(route="createTask", kind=fault, times=10)
    order_id = await rig.order(photo=photo)
    if limit == "deadline":
        await rig.work()
        await advance(rig.database, 3590)
    (generation,) = await rig.finish(order_id, pace_seconds=5)
    assert generation.state is GenerationState.FAILED
    assert generation.failure == {"attempts": "provider", "deadline": "deadline"}[limit]
    assert len(await rig.attempts(order_id)) == {"attempts": 4, "deadline": 1}[limit]
    async with rig.database.transaction() as tx:
        figures = await books.figures(tx)
    assert (figures.available_credits, figures.held_credits, figures.spent_credits) == (10, 0, 0)
    assert await rig.violations() == []


async def test_an_outage_longer_than_the_lease_is_survived(
    database: Database,
    line: Line,
    simulators: Simulators,
    tmp_path: Path,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database is away while a video is fetched, and comes back when the lease is long over."""
    monkeypatch.setattr(connection, "POOL_WAIT_SECONDS", 0.1)
    async with Database(line.dsn) as behind, opened_workshop(behind, simulators, tmp_path) as workshop:
        rig = workshop.rig
        await workshop.due_task(photo)
        await advance(database, 2)
        gate, working, _ = await workshop.hold("download", "after")
        line.down = True
        line.cut_all()
        gate.opened.set()
        for turns in (rig.worker().turn, lambda: turn(behind)):
            with pytest.raises(Away):
                await turns()
        await advance(database, 10 * LEASE_SECONDS)
        line.down = False
        # It may just come in time, before anybody else has taken its job; else its lease is gone.
        with suppress(jobs.LostLease):
            await working
        await advance(database, LEASE_SECONDS + 1)
        async with database.transaction() as tx:
            ((order_id,),) = await (await tx.execute("select id from orders")).fetchall()
        (generation,) = await rig.finish(order_id)
        assert generation.state is GenerationState.COMPLETED
        assert len(await rig.tasks()) == 1
    async with database.transaction() as tx:
        assert (await books.figures(tx)).spent_credits == 1
    assert await violations(database) == []


def test_every_run_kills_stops_and_wakes_and_has_an_outage_longer_than_the_lease() -> None:
    """`./test` without arguments leaves nothing out, and these three are in it."""
    (command,) = re.findall(r"-m pytest (--numprocesses.*) \|\|", (ROOT / "test").read_text("utf-8"))
    assert not re.search(r"--ignore|--deselect|-k|-m|tests", command)
    for name, module, does in (
        ("test_random_sellers_leave_nothing_undone_whatever_ends", "flow/test_many_sellers.py", "weather("),
        (
            "test_f22_f30_f43_a_process_is_stopped_woken_and_asked_to_end",
            "faults/test_worker_faults.py",
            "SIGCONT",
        ),
        ("test_an_outage_longer_than_the_lease_is_survived", "faults/test_queue_conditions.py", "line.down = True"),
    ):
        source = (ROOT / "tests" / module).read_text("utf-8")
        found = [one for one in ast.parse(source).body if getattr(one, "name", "") == name]
        assert len(found) == 1, name
        assert does in (ast.get_source_segment(source, found[0]) or ""), name

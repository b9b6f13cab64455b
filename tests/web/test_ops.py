"""What operators ask a process: alive, ready, how is the shop. Each alert fires when what it is about happens."""

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx2
import psycopg
import pytest
from structlog.testing import capture_logs

import promtool
from collector import Collector
from flow.crew import Crew, environment
from flow.phones import Phone, open_client
from flow.sellers import photos
from neurocards import maintenance
from neurocards.bot.screens import Verb
from neurocards.db import backups, circuits, generations, operators, updates
from neurocards.db import watch as watching
from neurocards.db.connection import APP_ROLE, Database
from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.domain.generations import AttemptState
from neurocards.settings import Settings
from neurocards.web import Ops, build_hooks, build_ops, keep_serving
from neurocards.web import ops as ops_module
from services import Simulators
from shop import advance, attempted, claim, new_customer, new_order
from web.door import KEY, SECRET, Doorway, free_port

PATIENCE_SECONDS = 60.0
DESCRIPTION = "A mug that nobody but its seller knows of"


@dataclass(frozen=True)
class Post:
    """A process' answers on a real server, and the database it works with. `home` is its folder."""

    doorway: Doorway
    client: httpx2.AsyncClient
    database: Database
    home: Path

    async def ask(self, path: str, *, draining: bool = False, database: Database | None = None) -> httpx2.Response:
        """What a process that has just come says: nothing is kept from the last time."""
        ops = Ops(database or self.database, role="bot", home=self.home, draining=lambda: draining)
        self.doorway.app = build_ops(ops)
        return await self.client.get(f"{self.doorway.base}{path}")

    async def scrape(self, *, moved_seconds: float = 0.0, database: Database | None = None) -> str:
        """The figures, with timestamps as ages: `moved_seconds` is how far the shop's clock is before ours."""
        now = time.time() + moved_seconds
        text = (await self.ask("/metrics", database=database)).text
        return re.sub(
            r"^(neurocards_\w+_timestamp_seconds(?:{.*})?) (\S+)$",
            lambda found: f"{found[1]} {float(found[2]) - now}",
            text,
            flags=re.MULTILINE,
        )


@pytest.fixture
def post(doorway: Doorway, database: Database, simulators: Simulators, tmp_path: Path) -> Post:
    return Post(doorway, simulators.client, database, tmp_path)


# Health ---------------------------------------------------------------------------------------------------------------


async def test_a_process_that_can_work_is_alive_and_ready(post: Post) -> None:
    assert (await post.ask("/livez")).text == "ok"
    ready = await post.ask("/readyz")
    assert ready.status_code == 200
    told = ready.json()
    assert (told["ready"], told["problems"], told["role"], told["outbox_oldest_seconds"]) == (True, [], "bot", 0)
    assert abs(told["clock_skew_seconds"]) < 1


async def test_who_is_told_to_stop_is_not_ready_from_that_moment(post: Post) -> None:
    ready = await post.ask("/readyz", draining=True)
    assert ready.status_code == 503
    assert "draining" in ready.json()["problems"][0]
    assert (await post.ask("/livez", draining=True)).status_code == 200


async def test_a_database_that_takes_no_writes_is_not_ready(post: Post, dsn: str) -> None:
    take_no_writes(dsn)
    async with Database(dsn) as reader:
        ready = await post.ask("/readyz", database=reader)
    assert ready.json()["problems"] == ["the database cannot be written to: ReadOnlySqlTransaction"]


async def test_a_database_that_does_not_answer_is_one_line(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops_module, "MEASURE_SECONDS", 0.3)
    monkeypatch.setattr(ops_module, "PROBE_SECONDS", 0.3)
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    async with Database(nowhere) as away:
        ready = await post.ask("/readyz", database=away)
        figures = (await post.ask("/metrics", database=away)).text
    assert ready.status_code == 503
    (problem,) = ready.json()["problems"]
    assert problem.startswith("the database does not answer")
    assert "\nneurocards_database_up 0.0\n" in figures
    assert "neurocards_job_oldest_due_seconds" not in figures


async def test_an_older_schema_is_not_ready_and_says_what_to_do(post: Post) -> None:
    async with post.database.transaction() as tx:
        await tx.execute("delete from migrations where name >= '0009'")
    (problem,) = (await post.ask("/readyz")).json()["problems"]
    assert re.fullmatch(r"the database lacks 0009_watching\.sql.*: run ./neurocards migrate", problem)


async def test_a_clock_that_is_off_and_messages_that_wait_are_not_ready(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await failed_video(post.database)
    await advance(post.database, 300)
    (problem,) = (await post.ask("/readyz")).json()["problems"]
    assert re.fullmatch(r"somebody has waited for a message for 30\d seconds", problem)
    our_clock_goes_wrong(monkeypatch, seconds=-9)
    assert "clock is +9.0 seconds from ours" in (await post.ask("/readyz")).json()["problems"][0]


# Metrics --------------------------------------------------------------------------------------------------------------


async def test_everything_that_rules_pages_and_panels_name_is_told(post: Post) -> None:
    told = set(re.findall(r"^# TYPE (neurocards_\w+) ", (await post.ask("/metrics")).text, re.MULTILINE))
    root = promtool.MONITORING.parent.parent
    asked = {
        name
        for path in (*promtool.MONITORING.rglob("*.*"), *(root / "docs" / "runbooks").glob("*.md"))
        if path.is_file()
        for name in re.findall(r"(?<!\^)\bneurocards_(?!app\b)\w+", path.read_text("utf-8"))
    }
    assert {re.sub(r"_(bucket|count)$", "", name) for name in asked} <= told
    explained = re.findall(r"`(neurocards_\w+)", (root / "docs" / "watching.md").read_text("utf-8"))
    assert set(explained) == told


async def test_no_label_holds_an_id(post: Post) -> None:
    """Each value of a label is a series that is kept for years."""
    async with post.database.transaction() as tx:
        await tx.execute("insert into provider_keys (label, provider) values ('kie-1', 'kie')")
        await circuits.failed(tx, "key kie-1", SHUT)
    await failed_video(post.database)
    labels = dict(re.findall(r'(\w+)="([^"]*)"', (await post.ask("/metrics")).text))
    assert set(labels) <= {
        *("role", "version", "result", "state", "reason", "check", "scope", "provider", "outcome", "code"),
        *("stage", "le", "kind", "op", "resolution"),
    }


async def test_however_many_scrape_the_database_is_measured_by_one(post: Post) -> None:
    async with post.database.transaction() as holder:
        await holder.execute("lock table backups in access exclusive mode")
        url = f"{shared(post)}/metrics"
        scrapes = asyncio.gather(*(post.client.get(url) for _ in range(30)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await waiting_sessions(post.database):  # noqa: ASYNC110 (sessions set no event)
                await asyncio.sleep(0.01)
        assert await waiting_sessions(post.database) == 1
    assert {scrape.status_code for scrape in await scrapes} == {200}


async def test_t24_health_and_metrics_are_on_a_listener_of_their_own(post: Post) -> None:
    """Nothing of it is where Telegram and providers knock, and by default nobody but this machine gets in."""
    assert Settings.model_fields["ops_host"].default == "127.0.0.1"
    post.doorway.app = build_hooks(post.database, webhook_secret=SECRET, callback_key=KEY, readers={})
    for path in ("/metrics", "/readyz"):
        assert (await post.client.get(f"{post.doorway.base}{path}")).status_code == 404
    for path in ("/docs", "/redoc", "/openapi.json", "/"):
        assert (await post.ask(path)).status_code == 404
    base = shared(post)
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await post.client.post(f"{base}{path}", content=b"x")).status_code == 405


async def test_a_port_that_is_taken_ends_nobody_and_is_had_when_it_is_free(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops_module, "RETRY_SECONDS", 0.02)
    app = build_ops(Ops(post.database, role="worker", home=post.home, draining=lambda: False))
    stop = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with capture_logs() as logs:
            serving = asyncio.create_task(keep_serving(app, host="127.0.0.1", port=port, stop=stop))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not logs:  # noqa: ASYNC110 (a line in a log sets no event)
                    await asyncio.sleep(0.01)
    (told,) = logs
    assert (told["event"], told["remedy"]) == ("not_watched", "give each process an OPS_PORT of its own")
    assert str(port) in told["problem"]
    await until(lambda: answers(post.client, f"{address(port)}/livez"))
    stop.set()
    await serving


# The books ------------------------------------------------------------------------------------------------------------


async def test_the_books_are_audited_every_five_minutes_by_one_of_all(database: Database, dsn: str) -> None:
    async with Database(dsn, role=APP_ROLE) as other:
        assert sorted(await asyncio.gather(maintenance.audit_books(database), maintenance.audit_books(other))) == [
            False,
            True,
        ]
        assert not await maintenance.audit_books(other)
        await advance(database, 301)
        assert await maintenance.audit_books(other)


async def test_an_audit_whose_process_died_is_made_by_another(database: Database) -> None:
    assert await database.run(watching.begin_audit)
    await advance(database, 400)
    assert not await maintenance.audit_books(database)
    await advance(database, 201)
    assert await maintenance.audit_books(database)


async def test_what_is_overdue_after_an_outage_is_refunded_before_it_is_called_a_violation(database: Database) -> None:
    await new_order(database)
    await advance(database, 7200)
    assert await maintenance.audit_books(database)
    async with database.transaction() as tx:
        assert await (await tx.execute("select violations from watch")).fetchone() == ({},)


# Alerts ---------------------------------------------------------------------------------------------------------------

SHUT = Failure(FailureKind.OUTAGE, Reason.PROVIDER, "402: no credits", scope=Scope.KEY)

Cause = Callable[[Post], Awaitable[float]]
"""Makes it happen; returns how far it moved the shop's clock."""


async def failed_video(database: Database) -> None:
    """A refund that its customer has still to hear of."""
    await new_order(database)
    job = (await claim(database))[-1]
    async with database.transaction() as tx:
        await generations.refund(tx, job.subject_id, lease_number=job.lease_number, reason="provider")


async def books_violated(post: Post) -> float:
    await new_customer(post.database, free=1)
    async with post.database.transaction() as tx:
        await tx.execute("set local session_replication_role = replica")
        await tx.execute("update accounts set balance = balance + 1 where kind = 'available'")
    return await moved(post, 301, then=maintenance.audit_books)


async def nobody_audits(post: Post) -> float:
    return await moved(post, 1000)


async def history_rewritten(post: Post) -> float:
    await new_customer(post.database, free=1)
    with pytest.raises(psycopg.DatabaseError, match="append-only"):
        async with post.database.transaction() as tx:
            await tx.execute("update transfers set reason = 'x'")
    return 0.0


async def orphans_found(post: Post) -> float:
    await attempted(post.database, AttemptState.ABANDONED, AttemptState.ABANDONED, cost_usd=2.6)
    return 0.0


async def answers_lost(post: Post) -> float:
    await attempted(post.database, AttemptState.UNKNOWN, AttemptState.UNKNOWN, None, cost_usd=0.1)
    return 0.0


async def backups_forgotten(post: Post) -> float:
    return await moved(post, timedelta(days=9).total_seconds())


async def nobody_works(post: Post) -> float:
    await new_order(post.database)
    return await moved(post, 200)


async def nobody_sends(post: Post) -> float:
    await failed_video(post.database)
    return await moved(post, 200)


async def nobody_answers(post: Post) -> float:
    async with post.database.transaction() as tx:
        await updates.store(tx, [updates.Incoming(1, 1, False, {})])
    return await moved(post, 200)


async def update_dies(post: Post) -> float:
    async with post.database.transaction() as tx:
        await updates.store(tx, [updates.Incoming(1, 1, False, {})])
        (update,) = await updates.claim(tx, limit=1, lease_seconds=30)
        await updates.bury(tx, update, failure="x")
    return 0.0


async def sales_paused(post: Post) -> float:
    async with post.database.transaction() as tx:
        await operators.pause_sales(tx, operator="me", reason="x")
    return await moved(post, 2000)


async def key_refused(post: Post) -> float:
    async with post.database.transaction() as tx:
        await tx.execute("insert into provider_keys (label, provider) values ('kie-1', 'kie')")
        await circuits.failed(tx, "key kie-1", SHUT)
    return 0.0


async def moved(post: Post, seconds: float, *, then: Callable[[Database], Awaitable[object]] | None = None) -> float:
    await advance(post.database, seconds)
    if then is not None:
        await then(post.database)
    return seconds


CAUSES: dict[str, Cause] = {
    "NeurocardsBooksViolated": books_violated,
    "NeurocardsBooksNotAudited": nobody_audits,
    "NeurocardsDatabaseRefused": history_rewritten,
    "NeurocardsOrphansCostMuch": orphans_found,
    "NeurocardsBackupNotVerified": backups_forgotten,
    "NeurocardsQueueWaits": nobody_works,
    "NeurocardsOutboxWaits": nobody_sends,
    "NeurocardsInboxWaits": nobody_answers,
    "NeurocardsUpdatesDead": update_dies,
    "NeurocardsSalesPaused": sales_paused,
    "NeurocardsKeyRefused": key_refused,
    "NeurocardsAnswersLost": answers_lost,
}
ELSEWHERE = {
    "NeurocardsDatabaseAway": "test_an_alert_fires_when_the_database_takes_no_writes",
    "NeurocardsNotMeasured": "test_an_alert_fires_when_nobody_gets_the_figures",
    "NeurocardsDiskFull": "test_an_alert_fires_when_the_disk_fills_up",
    "NeurocardsClockOff": "test_an_alert_fires_when_clocks_differ",
    "NeurocardsProcessDown": "test_one_trace_leads_through_every_process_and_restart",
}


def test_every_alert_has_its_cause_here() -> None:
    assert set(promtool.alerts()) == {*CAUSES, *ELSEWHERE}
    assert all(name in globals() for name in ELSEWHERE.values())


@pytest.mark.parametrize("alert", CAUSES)
async def test_an_alert_fires_when_what_it_is_about_happens(post: Post, alert: str, tmp_path: Path) -> None:
    before = await well(post)
    moved_seconds = await CAUSES[alert](post)
    assert promtool.fires(alert, tmp_path, before=before, after=await post.scrape(moved_seconds=moved_seconds))


async def test_an_alert_fires_when_the_database_takes_no_writes(post: Post, dsn: str, tmp_path: Path) -> None:
    before = await well(post)
    take_no_writes(dsn)
    async with Database(dsn) as fresh:
        after = await post.scrape(database=fresh)
    assert promtool.fires("NeurocardsDatabaseAway", tmp_path, before=before, after=after)


async def test_an_alert_fires_when_nobody_gets_the_figures(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await well(post)
    monkeypatch.setattr(ops_module, "MEASURE_SECONDS", 0.3)
    async with post.database.transaction() as holder:
        await holder.execute("lock table backups in access exclusive mode")
        after = await post.scrape()
    assert "neurocards_job_oldest_due_seconds" not in after
    assert promtool.fires("NeurocardsNotMeasured", tmp_path, before=before, after=after)


async def test_an_alert_fires_when_the_disk_fills_up(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one figure that is made up: as the kernel tells it of a disk of 100 blocks, 5 of them for root alone."""
    monkeypatch.setattr(os, "statvfs", lambda path: disk(path, free=24))
    before = await well(post)
    assert "\nneurocards_disk_used_ratio 0.8\n" in before
    monkeypatch.setattr(os, "statvfs", lambda path: disk(path, free=23))
    after = await post.scrape()
    assert promtool.fires("NeurocardsDiskFull", tmp_path, before=before, after=after)


async def test_an_alert_fires_when_clocks_differ(post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await well(post)
    our_clock_goes_wrong(monkeypatch, seconds=6)
    assert promtool.fires("NeurocardsClockOff", tmp_path, before=before, after=await post.scrape())


# Real processes -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
async def test_one_trace_leads_through_every_process_and_restart(
    dsn: str, database: Database, simulators: Simulators, tmp_path: Path, collector: Collector
) -> None:
    """A worker is told to stop while it submits: it says so, finishes that and ends; the next one goes on."""
    ports = {"bot": free_port(), "worker": free_port()}
    token = f"7700001:{'o' * 35}"
    settings = {
        "DATABASE_URL": dsn,
        "BOT_TOKEN": token,
        "KIE_API_KEY": "kie",
        "TELEGRAM_API_URL": simulators.telegram,
        "KIE_API_URL": simulators.kie,
        "KIE_UPLOAD_URL": simulators.kie,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
    }
    (await simulators.client.get(f"{simulators.telegram}/bot{token}/getMe")).raise_for_status()
    slow = {"route": "createTask", "kind": "delay", "delay_seconds": 3}
    (await simulators.client.post(f"{simulators.kie}/sim/faults", json=slow)).raise_for_status()
    crews = [
        Crew(environment(tmp_path / "home", OPS_PORT=str(port), **settings), tmp_path / role)
        for role, port in ports.items()
    ]
    async with crews[0] as bots, crews[1] as workers, open_client() as client:
        await asyncio.gather(bots.start("bot"), workers.start("worker"))
        for port in ports.values():
            await until(partial(answers, client, f"{address(port)}/metrics"))
        before = await up(client, ports)
        await order(await Phone.buy(client, simulators.telegram, "7700001", name="Ann", language="en"))
        await until(lambda: finds(database, "select from attempts where state = 'intent'"))
        ending = asyncio.create_task(workers.end("worker", signal.SIGTERM))
        await until(lambda: is_draining(client, ports["worker"]))
        assert await ending == 0
        after = await up(client, ports)
        await workers.start("worker")
        await until(lambda: finds(database, "select from notices where kind = 'video' and state = 'sent'"))
        figures: dict[str, str] = {}

        async def is_told() -> bool:
            for role, port in ports.items():
                figures[role] = (await client.get(f"{address(port)}/metrics")).text
            return 'neurocards_messages_total{kind="video",outcome="sent"} 1.0' in "".join(figures.values())

        await until(is_told)
        assert bots.gone() == workers.gone() == []

    assert promtool.fires("NeurocardsProcessDown", tmp_path, before=before, after=after)
    assert 'neurocards_orders_total{result="completed"} 1.0' in figures["worker"]
    assert 'neurocards_provider_requests_total{op="download",outcome="ok",provider="kie"} 1.0' in figures["worker"]
    assert 'neurocards_job_stage_seconds_count{stage="whole"} 1.0' in figures["worker"]

    async with database.transaction() as tx:
        row = await (await tx.execute("select number, trace_id from orders")).fetchone()
    assert row is not None
    number, trace_id = row
    lines = {log.name: [json.loads(line) for line in log.read_text("utf-8").splitlines()] for log in logs_in(tmp_path)}
    found = {log: {line["event"] for line in theirs if line.get("order") == number} for log, theirs in lines.items()}
    assert found["01-bot.log"] >= {"order_placed"}
    assert found["01-worker.log"] >= {"step_done"}
    assert found["02-worker.log"] >= {"step_done", "settled"}
    of_order = [line for theirs in lines.values() for line in theirs if line.get("order") == number]
    assert {line["trace_id"] for line in of_order} == {trace_id.hex}
    placed = next(line for line in of_order if line["event"] == "order_placed")
    assert {"update_id", "lease_number", "attempt"} <= placed.keys()
    settled = next(line for line in of_order if line["event"] == "settled")
    assert {"generation_id", "job_id", "lease_number", "attempt", "attempt_id"} <= settled.keys()

    ((_, root),) = [one for one in collector.received if one[1].name == "place"]
    assert (root.trace_id.hex(), root.parent_span_id) == (trace_id.hex, b"")
    rest = [(about, span) for about, span in collector.received if span.name != "place"]
    assert {(span.trace_id, span.parent_span_id) for _, span in rest} == {(root.trace_id, root.span_id)}
    steps = {"write_prompt", "upload_frame", "submit", "wait", "fetch", "settle"}
    assert {span.name for _, span in rest} == {*steps, "send status", "send video"}
    assert {about["service.name"] for about, _ in collector.received} == {"neurocards-bot", "neurocards-worker"}
    workers_at_it = {about["service.instance.id"] for about, span in rest if span.name in steps}
    assert len(workers_at_it) == 2
    (last,) = [{one.key: one.value for one in span.attributes} for _, span in rest if span.name == "settle"]
    assert (last["order"].int_value, last["generation_id"].string_value) == (number, settled["generation_id"])
    said = b"".join(span.SerializeToString() for _, span in collector.received).decode("utf-8", "replace")
    assert [word for word in (DESCRIPTION, token, "test-key") if word in said] == []


# Help -----------------------------------------------------------------------------------------------------------------


async def well(post: Post) -> str:
    """The figures of a shop in order: audited, with a proved backup."""
    async with post.database.transaction() as tx:
        await backups.record(tx, location="here", size_bytes=1, sha256="")
        await backups.checked(tx, "here", failure=None)
    assert await maintenance.audit_books(post.database)
    return await post.scrape()


def our_clock_goes_wrong(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    right = time.time
    monkeypatch.setattr(watching, "time", SimpleNamespace(time=lambda: right() + seconds))


def disk(_: Path, *, free: int) -> SimpleNamespace:
    return SimpleNamespace(f_blocks=100, f_bfree=free, f_bavail=free - 5)


def take_no_writes(dsn: str) -> None:
    """Of whoever connects from now on, as a server does that stands in for another one."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"alter database {name} set default_transaction_read_only = on".encode())


def shared(post: Post) -> str:
    """The address of one process that keeps what it has seen."""
    post.doorway.app = build_ops(Ops(post.database, role="bot", home=post.home, draining=lambda: False))
    return post.doorway.base


async def waiting_sessions(database: Database) -> int:
    async with database.transaction() as tx:
        cursor = await tx.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def finds(database: Database, query: str) -> bool:
    async with database.transaction() as tx:
        return await (await tx.execute(f"select exists ({query})".encode())).fetchone() == (True,)


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await done():  # noqa: ASYNC110 (neither rows nor other processes set an event)
            await asyncio.sleep(0.02)


async def answers(client: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx2.TransportError:
        return False


async def is_draining(client: httpx2.AsyncClient, port: int) -> bool:
    ready = await client.get(f"{address(port)}/readyz")
    return ready.status_code == 503 and "draining" in ready.text


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


async def up(client: httpx2.AsyncClient, ports: Mapping[str, int]) -> str:
    """What Prometheus itself notes of each process: whether it answered."""
    found = {role: await answers(client, f"{address(port)}/metrics") for role, port in ports.items()}
    series = [f'up{{job="neurocards",process="{role}"}} {int(answered)}' for role, answered in found.items()]
    return "\n".join(["# TYPE up gauge", *series, ""])


def logs_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.log"))


async def order(phone: Phone) -> None:
    """From the first word to the confirmed card."""
    await phone.start()
    await phone.tap(await phone.offered(Verb.AGREE, seconds=PATIENCE_SECONDS))
    assert await phone.hear(phone.version, seconds=PATIENCE_SECONDS)
    await phone.send_photo(photos()[0])
    await phone.tap(await phone.offered(Verb.CHOOSE_TEMPLATE, "hero_broll", seconds=PATIENCE_SECONDS))
    await phone.hear(phone.version, seconds=PATIENCE_SECONDS)
    await phone.write(DESCRIPTION)
    await phone.tap(await phone.offered(Verb.SKIP_WISHES, seconds=PATIENCE_SECONDS))
    await phone.tap(await phone.offered(Verb.CHOOSE_COUNT, "1", seconds=PATIENCE_SECONDS))
    await phone.tap(await phone.offered(Verb.CONFIRM, seconds=PATIENCE_SECONDS))

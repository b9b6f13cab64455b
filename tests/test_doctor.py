"""What doctor says of a shop that is well, and of one with each thing broken: the right line, and no other hidden."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest

from neurocards import app
from neurocards.addresses import callback_key, self_test_mac, self_test_url, webhook_path_token, webhook_secret
from neurocards.bot import make_bot
from neurocards.bot.webhook import register
from neurocards.db import backups, operators
from neurocards.db import migrate as migrate_module
from neurocards.db.connection import Database
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.migrate import migrate
from neurocards.doctor import database as doctor_database
from neurocards.doctor import lines
from neurocards.doctor.lines import LINES, Finding, State
from neurocards.doctor.looking import looked_at
from neurocards.media import children
from neurocards.settings import BadSettings, Settings, read_leniently
from neurocards.starting import ROLES, Role, settings_for
from neurocards.web import build_hooks
from services import Simulators
from shop import advance, new_order
from web.door import free_port, served

ROOT = Path(__file__).parent.parent

KIE_KEY, FAL_KEY, OPENAI_KEY = "kie-canary-1", "fal-canary-1", "openai-canary-1"
NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"

IN_A_SMALL_ROOM = """
mount -t tmpfs -o size=128k none "$NEUROCARDS_HOME" || exit 77
head -c 200k /dev/zero > "$NEUROCARDS_HOME/filler" 2>/dev/null
exec "$@"
"""

_bots = count(5_800_001)


@dataclass(frozen=True)
class Ward:
    """A shop whose settings a test spoils; everything it does not spoil is sound."""

    home: Path
    token: str
    settings: dict[str, str]
    patch: pytest.MonkeyPatch

    async def findings(self, *, clock: Callable[[], datetime] | None = None, **spoilt: str) -> list[Finding]:
        """What doctor finds in this process."""
        with self.patch.context() as patch:
            for name, value in {**self.settings, **spoilt}.items():
                patch.setenv(name, value)
            reading = read_leniently()
        return await app.run_doctor(reading, clock=clock)

    def environment(self, **spoilt: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "COLUMNS": "250",
            **self.settings,
            **spoilt,
        }

    async def command(
        self, *arguments: str, before: tuple[str, ...] = (), **spoilt: str
    ) -> "subprocess.CompletedProcess[str]":
        """What an operator sees; the simulators go on meanwhile."""
        return await asyncio.to_thread(
            subprocess.run,
            [*before, sys.executable, "-m", "neurocards", *arguments],
            env=self.environment(**spoilt),
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def ward(dsn: str, simulators: Simulators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ward:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from a .env file of a real shop
    token = f"{next(_bots)}:{'canary' * 6}"
    settings = {
        "NEUROCARDS_HOME": str(tmp_path),
        "DATABASE_URL": dsn,
        "BOT_TOKEN": token,
        "KIE_API_KEY": KIE_KEY,
        "FAL_KEY": FAL_KEY,
        "OPENAI_API_KEY": OPENAI_KEY,
        "TELEGRAM_API_URL": simulators.telegram,
        "KIE_API_URL": simulators.kie,
        "KIE_UPLOAD_URL": simulators.kie,
        "FAL_QUEUE_URL": simulators.fal,
        "FAL_REST_URL": simulators.fal,
        "OPENAI_BASE_URL": simulators.openai,
    }
    return Ward(tmp_path, token, settings, monkeypatch)


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database as in production: what is committed survives a power cut."""
    with EmbeddedPostgres.start(tmp_path_factory.mktemp("durable")) as server:
        asyncio.run(migrate(server.dsn))
        yield server.dsn


@asynccontextmanager
async def open_to_the_world(ward: Ward, database: Database, *, token: str | None = None) -> AsyncIterator[str]:
    """The bot's web side at an address; with another `token` it is another shop's."""
    token = token or ward.token
    hooks = build_hooks(database, webhook_secret=webhook_secret(token), callback_key=callback_key(token), readers={})
    async with served(hooks) as base:
        yield base


def said(findings: list[Finding], check: str) -> list[str]:
    """The lines of one check, as people see them."""
    return [f"{one.state}: {one.found}" for one in findings if one.check == check]


def states(findings: list[Finding], *, but: str = "") -> set[State]:
    """How everything else stands; a test's own database is not durable, and nobody backs it up."""
    return {one.state for one in findings if one.check not in {but, "database", "backup", "public address", "packages"}}


# Well ---------------------------------------------------------------------------------------------------------------


async def test_a_shop_that_is_well_is_ok_in_every_line_and_no_secret_is_shown(ward: Ward, durable: str) -> None:
    async with Database(durable) as database, open_to_the_world(ward, database) as base:
        async with database.transaction() as tx:
            await backups.record(tx, location="elsewhere", size_bytes=1, sha256="0" * 64)
            await backups.checked(tx, "elsewhere", failure=None)
        bot = make_bot(ward.token, ward.settings["TELEGRAM_API_URL"])
        secret = webhook_secret(ward.token)
        await register(bot, public_url=base, secret=secret)
        told = await ward.command("doctor", "--json", DATABASE_URL=durable, PUBLIC_URL=base)
        await bot.delete_webhook()
        await bot.session.close()
    assert (told.stderr, told.returncode) == ("", 0)
    findings = json.loads(told.stdout)["checks"]
    # Which packages are installed beside ours is the business of whoever runs these tests.
    assert [one for one in findings if one["state"] != "ok" and one["check"] != "packages"] == []
    assert {one["check"] for one in findings} == {
        line.check for line in LINES if line.check and "{" not in line.check
    } | {"kie key", "fal key"}
    for hidden in (ward.token.split(":")[1], KIE_KEY, FAL_KEY, OPENAI_KEY, secret, webhook_path_token(secret)):
        assert hidden not in told.stdout
    password = psycopg.conninfo.conninfo_to_dict(durable)["password"]
    assert str(password) not in told.stdout


# Broken -------------------------------------------------------------------------------------------------------------


async def test_without_a_database_all_else_is_looked_at_and_what_needs_it_says_so(ward: Ward) -> None:
    told = await ward.command("doctor", DATABASE_URL=NOBODY)
    rows = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert told.returncode == 1
    away = re.compile(r"failed database does not answer: .*refused.* start PostgreSQL, or correct DATABASE_URL")
    assert any(away.match(row) for row in rows)
    for check in ("role", "schema", "clock", "backup", "sales", "books"):
        assert any(row.startswith(f"warning {check} not looked at: database comes first") for row in rows), check
    for check in ("telegram", "store", "kie key", "fal key", "models", "prompt writer"):
        assert any(row.startswith(f"ok {check} ") for row in rows), check
    assert "Traceback" not in told.stderr
    assert "canary" not in told.stdout + told.stderr


async def test_an_old_schema_is_told_with_the_command_that_mends_it(
    ward: Ward, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """As an earlier release has left it."""
    shutil.copytree(migrate_module.MIGRATIONS, tmp_path / "earlier")
    *_, latest = sorted((tmp_path / "earlier").glob("*.sql"))
    latest.unlink()
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("create database earlier")
    dsn = psycopg.conninfo.make_conninfo(postgres.dsn, dbname="earlier")
    with ward.patch.context() as patch:
        patch.setattr(migrate_module, "MIGRATIONS", tmp_path / "earlier")
        await migrate(dsn)
    findings = await ward.findings(DATABASE_URL=dsn)
    assert said(findings, "schema") == [f"failed: lacks {latest.name}"]
    assert next(one.advice for one in findings if one.check == "schema") == "run ./neurocards migrate"
    assert said(findings, "books") == ["warning: not looked at: schema comes first"]
    await migrate(dsn)
    assert said(await ward.findings(DATABASE_URL=dsn), "schema")[0].startswith("ok: ")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into migrations (name) values ('9999_later.sql')")
    newer = await ward.findings(DATABASE_URL=dsn)
    assert said(newer, "schema") == ["warning: has 9999_later.sql, which this version does not know"]


async def test_a_token_that_telegram_does_not_know_is_told(ward: Ward, simulators: Simulators) -> None:
    assert said(await ward.findings(), "telegram") == [
        f"ok: @sim{ward.token.split(':')[0]}_bot, {ward.token.split(':')[0]}"
    ]
    revoked = await simulators.client.post(f"{simulators.telegram}/sim/bots/{ward.token.split(':')[0]}/revoke")
    assert revoked.status_code == 204
    findings = await ward.findings()
    assert said(findings, "telegram") == ["failed: does not know this BOT_TOKEN"]
    assert states(findings, but="telegram") == {State.OK}
    assert said(await ward.findings(BOT_TOKEN="0:nobody"), "telegram") == ["failed: does not know this BOT_TOKEN"]
    away = await ward.findings(TELEGRAM_API_URL="http://127.0.0.1:1")
    assert said(away, "telegram") == ["failed: 127.0.0.1:1: no answer (ConnectError)"]
    assert not any(ward.token.split(":")[1] in str(one) for one in away)


async def test_a_dead_key_is_told_by_its_label_and_hides_no_other(ward: Ward, simulators: Simulators) -> None:
    await simulators.client.post(f"{simulators.kie}/sim/settings", json={"revoked_keys": [KIE_KEY]})
    await simulators.client.post(f"{simulators.fal}/sim/settings", json={"revoked_keys": [FAL_KEY]})
    findings = await ward.findings(KIE_API_KEY=f"{KIE_KEY},another")
    dead, alive = said(findings, "kie key")
    assert re.fullmatch(r"failed: kie-[0-9a-f]{8}: query: code 401: You do not have access permissions", dead)
    assert re.fullmatch(r"ok: kie-[0-9a-f]{8}: \$5,000\.00 left, about \d+ videos", alive)
    [fal] = said(findings, "fal key")
    assert re.fullmatch(r"failed: fal-[0-9a-f]{8}: upload, HTTP 401.*", fal)
    assert not any("canary" in str(one) for one in findings)
    away = await ward.findings(KIE_API_URL="http://127.0.0.1:1", KIE_API_KEY=KIE_KEY)
    assert [re.sub(r"kie-\w+", "", line) for line in said(away, "kie key")] == ["failed: : ConnectError"]
    assert said(await ward.findings(FAL_KEY=""), "fal key") == ["not set: no FAL_KEY"]


async def test_an_empty_balance_is_told_before_the_next_order_meets_it(ward: Ward, simulators: Simulators) -> None:
    async def with_credits(credits: float) -> list[str]:
        await simulators.client.post(f"{simulators.kie}/sim/settings", json={"credits": credits})
        return [re.sub(r"kie-\w+", "KEY", line) for line in said(await ward.findings(), "kie key")]

    assert await with_credits(0) == ["failed: KEY: $0.00 left, one video costs $0.90"]
    assert await with_credits(179) == ["failed: KEY: $0.90 left, one video costs $0.90"]
    assert await with_credits(1800) == ["warning: KEY: $9.00 left, about 10 videos"]
    await simulators.client.post(f"{simulators.fal}/sim/settings", json={"credits": 0})
    [locked] = said(await ward.findings(), "fal key")
    assert re.match(r"failed: fal-\w+: upload, HTTP 403, .*[Ll]ocked", locked)


async def test_a_retired_model_is_told_and_so_is_one_that_is_not_on_offer_any_more(
    ward: Ward, simulators: Simulators
) -> None:
    retired = await ward.findings(VIDEO_MODEL="sora-2-image-to-video")
    assert said(retired, "models") == [
        "warning: VIDEO_MODEL sora-2-image-to-video is retired since 2026-09-24: others stand in"
    ]
    await simulators.client.post(
        f"{simulators.kie}/sim/settings", json={"unlisted_models": ["kling/v3-turbo-image-to-video"]}
    )
    gone = await ward.findings(VIDEO_MODEL="auto")
    assert "warning: kling/v3-turbo-image-to-video is not on offer any more: others stand in" in said(gone, "models")
    keyless = await ward.findings(VIDEO_MODEL="kling/v3-turbo-image-to-video", KIE_API_KEY="")
    assert any("is of kie, for which there is no key: others stand in" in line for line in said(keyless, "models"))


async def test_a_template_that_nobody_can_make_fails(ward: Ward) -> None:
    """The only model for it has gone: a folder of one's own takes profiles' places by their ids."""
    folder = ward.home / "own" / "models"
    folder.mkdir(parents=True)
    for path in (ROOT / "src/neurocards/content/models").glob("*.toml"):
        text = path.read_text("utf-8")
        (folder / path.name).write_text(text if "\nretires" in text else f"retires = 2026-01-01\n{text}", "utf-8")
    findings = await ward.findings(CONTENT_FOLDER=str(folder.parent))
    assert any(line.startswith("failed: nobody can make ugc_blogger, hero_broll,") for line in said(findings, "models"))


async def test_a_store_that_cannot_be_written_is_told(ward: Ward) -> None:
    (ward.home / "store").write_text("a file where the folder should be")
    findings = await ward.findings()
    [store] = said(findings, "store")
    assert re.match(r"failed: .*/store: cannot be opened: NEUROCARDS_HOME: .*File exists", store)
    assert [line for line in said(findings, "settings") if "cannot be the store" in line]
    away = await ward.findings(STORE_URL="foo://bucket")
    assert "cannot be opened: STORE_URL cannot be the store" in said(away, "store")[0]


async def test_a_full_disk_is_told_and_so_is_the_store_on_it(ward: Ward) -> None:
    """A file system of 128 kB, in a name space of its own, with no room left."""
    room = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", IN_A_SMALL_ROOM, "sh")
    home = ward.home / "room"
    home.mkdir()
    told = await ward.command("doctor", "--json", before=room, NEUROCARDS_HOME=str(home))
    if told.returncode == 77 or "unshare" in told.stderr:
        pytest.skip("this machine lets nobody mount a file system of his own")
    assert told.returncode == 1
    findings = [Finding(**one) for one in json.loads(told.stdout)["checks"]]
    assert said(findings, "disk") == [f"failed: {home}: only 0.0 MB of 0.1 MB left"]
    assert re.match(r"failed: .*/room/store: cannot write: ", said(findings, "store")[0])
    assert said(findings, "telegram")[0].startswith("ok: ")


async def test_clocks_that_are_off_are_told_whoevers_they_are(ward: Ward, database: Database) -> None:
    assert [line.split(" s of ")[0][:9] for line in said(await ward.findings(), "clock")] == ["ok: within"[:9]] * 2
    ahead = await ward.findings(clock=lambda: datetime.now(UTC) + timedelta(seconds=400))
    told = said(ahead, "clock")
    assert [line.split(": ")[0] for line in told] == ["failed", "failed"]
    assert re.search(r"this machine is (399|400) s ahead of the database: signed callbacks are refused", told[0])
    assert re.search(r"this machine is (39|40)\d s ahead of (Telegram|KIE|fal): signed", told[1])
    behind = said(await ward.findings(clock=lambda: datetime.now(UTC) - timedelta(seconds=60)), "clock")
    assert [line.split(": ")[0] for line in behind] == ["warning", "warning"]
    assert "60 s behind the database" in behind[0]
    await advance(database, 600)
    assert "failed: the shop's clock is shifted by 600 s" in said(await ward.findings(), "clock")


async def test_an_address_that_does_not_lead_to_our_bot_is_told(
    ward: Ward, database: Database, simulators: Simulators
) -> None:
    port = free_port()
    [nobody] = said(await ward.findings(PUBLIC_URL=f"http://127.0.0.1:{port}"), "public address")
    assert re.match(rf"failed: 127\.0\.0\.1:{port}: no answer \(ConnectError", nobody)
    [stranger] = said(await ward.findings(PUBLIC_URL=simulators.kie), "public address")
    assert re.search(r"somebody else answers at .*: HTTP 404", stranger)
    async with open_to_the_world(ward, database, token=f"1:{'x' * 35}") as base:
        [other] = said(await ward.findings(PUBLIC_URL=base), "public address")
        assert "a bot with another BOT_TOKEN answers at" in other
    async with open_to_the_world(ward, database) as base:
        findings = await ward.findings(PUBLIC_URL=base)
    [ours] = said(findings, "public address")
    assert ours == f"ok: {base.removeprefix('http://')} leads to our bot"
    assert said(findings, "updates") == ["failed: Telegram delivers to nobody and not to PUBLIC_URL"]


async def test_t02_a_self_test_is_answered_to_ourselves_alone_and_leaves_nothing(
    ward: Ward, database: Database, simulators: Simulators
) -> None:
    key = callback_key(ward.token)
    async with open_to_the_world(ward, database) as base:
        url = self_test_url(base, key, "question")
        right = await simulators.client.post(url)
        forged = [
            await simulators.client.post(url[:-1]),
            await simulators.client.post(f"{url}0"),
            await simulators.client.post(self_test_url(base, b"another key", "question")),
            await simulators.client.post(url.replace("question", "questiom")),
            await simulators.client.post(f"{base}/hooks/self-test/question/ключ"),
            # What proves a question is no proof of an attempt.
            await simulators.client.post(f"{base}/hooks/kie/question/{self_test_mac(key, 'question')}"),
        ]
        looked = await simulators.client.get(url)
    assert right.status_code == 200
    assert self_test_mac(key, "question") not in right.text
    assert [one.status_code for one in forged] == [401, 401, 401, 401, 401, 404]
    assert looked.status_code == 405
    async with database.transaction() as tx:
        cursor = await tx.execute("select (select count(*) from updates), (select count(*) from jobs)")
        assert await cursor.fetchone() == (0, 0)


# Between well and broken ----------------------------------------------------------------------------------------------


async def test_where_updates_go_is_told_in_either_mode(ward: Ward, simulators: Simulators) -> None:
    bot = make_bot(ward.token, simulators.telegram)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    try:
        assert said(await ward.findings(), "updates") == ["ok: the bot polls; 0 wait"]
        await register(bot, public_url=base, secret=webhook_secret(ward.token))
        [left] = said(await ward.findings(), "updates")
        assert left == f"warning: Telegram delivers to 127.0.0.1:{port}, but PUBLIC_URL is not set"
        assert said(await ward.findings(PUBLIC_URL=base), "updates") == ["ok: Telegram delivers to PUBLIC_URL; 0 wait"]
        person = (await simulators.client.post(f"{simulators.telegram}/sim/people", json={"first_name": "Ann"})).json()
        await simulators.client.post(
            f"{simulators.telegram}/sim/people/{person['id']}/start",
            json={},
            params={"bot": ward.token.split(":")[0]},
        )
        async with asyncio.timeout(10):
            while not (await bot.get_webhook_info()).last_error_message:  # noqa: ASYNC110 (another process's)
                await asyncio.sleep(0.01)
        [stuck] = said(await ward.findings(PUBLIC_URL=base), "updates")
        assert re.fullmatch(r"failed: Telegram cannot deliver: ConnectError: .*; 1 wait", stuck)
    finally:
        await bot.delete_webhook(drop_pending_updates=True)
        await bot.session.close()


async def test_what_the_books_sales_and_backups_say_is_told(ward: Ward, database: Database) -> None:
    await new_order(database)
    findings = await ward.findings()
    assert said(findings, "books") == ["ok: no violation in 1 orders"]
    assert said(findings, "sales") == ["ok: orders are taken"]
    assert said(findings, "backup") == ["warning: none was ever proved to be restorable"]
    async with database.transaction() as tx:
        await operators.pause_sales(tx, operator="command line", reason="a restore")
        await backups.record(tx, location="elsewhere", size_bytes=1, sha256="0" * 64)
        await backups.checked(tx, "elsewhere", failure=None)
        await tx.execute("update backups set checked_at = checked_at - interval '9 days'")
        await tx.execute("set local session_replication_role = replica")
        await tx.execute("update accounts set balance = balance + 1 where kind = 'available'")
    findings = await ward.findings()
    assert re.fullmatch(r"warning: paused since .* UTC by command line: a restore", said(findings, "sales")[0])
    assert said(findings, "backup") == ["warning: the last verified one was restored 9 days ago"]
    assert re.fullmatch(r"failed: \d violations, \w+ among them", said(findings, "books")[0])


async def test_a_database_that_may_lose_what_it_was_told_fails(ward: Ward, postgres: EmbeddedPostgres) -> None:
    """The database of these tests is one."""
    [careless] = said(await ward.findings(), "database")
    assert (
        careless
        == "failed: fsync, full_page_writes, synchronous_commit off: a crash loses or spoils what was committed"
    )
    crowded = said(await ward.findings(DATABASE_CONNECTIONS="150"), "database")
    assert "failed: lets 197 connections in; a bot and a worker take up to 302" in crowded
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("create role passer_by login password 'x'")
        try:
            barred = psycopg.conninfo.make_conninfo(ward.settings["DATABASE_URL"], user="passer_by", password="x")
            findings = await ward.findings(DATABASE_URL=barred)
        finally:
            connection.execute("drop role passer_by")
    assert said(findings, "role") == ["failed: passer_by may not act as neurocards_app"]
    assert said(findings, "books") == ["warning: not looked at: role comes first"]


@pytest.mark.parametrize(
    ("fault", "settings", "told"),
    [
        ("401", {}, "failed: AuthenticationError 401 (invalid_api_key): each template's own text is the prompt"),
        ("404", {}, "warning: {host} does not say what it offers: NotFoundError 404 (no code)"),
        ("html", {}, "warning: {host} does not say what it offers: an answer that is no list of models"),
        (None, {"OPENAI_MODEL": "gpt-9"}, "failed: gpt-9 is not on offer: each template's own text is the prompt"),
        (None, {"OPENAI_MODEL": "gpt-5-mini"}, "warning: gpt-5-mini is shut down on 2026-12-11"),
        (None, {"OPENAI_API_KEY": ""}, "not set: no OPENAI_API_KEY: each template's own text is the prompt"),
        (
            None,
            {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"},
            "failed: 127.0.0.1:1: APIConnectionError: each template's own text is the prompt",
        ),
    ],
)
async def test_a_writer_that_will_not_write_is_told_without_asking_it_to(
    ward: Ward, simulators: Simulators, fault: str | None, settings: Mapping[str, str], told: str
) -> None:
    control = simulators.openai.removesuffix("/v1") + "/sim"
    if fault is not None:
        ordered = await simulators.client.post(f"{control}/faults", json={"route": "models", "kind": fault, "times": 9})
        assert ordered.is_success, ordered.text
    findings = await ward.findings(clock=lambda: datetime(2026, 11, 28, tzinfo=UTC), DATABASE_URL=NOBODY, **settings)
    host = simulators.openai.split("/")[2]
    assert said(findings, "prompt writer") == [told.format(host=host)]
    asked = (await simulators.client.get(f"{control}/requests")).json()
    assert {one["route"] for one in asked} <= {"models"}


async def test_books_that_take_long_to_read_are_no_failure(
    ward: Ward, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a big shop: what reads them is broken off at its limit."""
    monkeypatch.setattr(doctor_database, "BOOKS_SECONDS", 1.0)
    async with await psycopg.AsyncConnection.connect(dsn) as holder:
        await holder.execute("lock table entries in access exclusive mode")
        findings = await ward.findings()
    assert said(findings, "books") == ["warning: not read to the end within 1 s"]
    assert said(findings, "sales") == ["ok: orders are taken"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"bad": "x", "sealed": True}, "ok: what strangers send"),
        ({"bad": "x", "sealed": False}, "warning: this system has no seccomp"),
        (None, "failed: does not work: a media child ended with status 1"),
    ],
)
async def test_whether_what_strangers_send_is_opened_safely_is_told(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object] | None, told: str
) -> None:
    assert said(await ward.findings(DATABASE_URL=NOBODY), "media children")[0].startswith("ok: what strangers send")

    def work(*_: object) -> tuple[dict[str, object], list[bytes]]:
        if answer is None:
            raise children.Lost(1)
        return answer, []

    monkeypatch.setattr(children.Child, "work", work)
    assert said(await ward.findings(DATABASE_URL=NOBODY), "media children")[0].startswith(told)


async def test_a_look_that_hangs_or_breaks_is_a_line_and_hides_no_other() -> None:
    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def breaks() -> list[Finding]:
        raise KeyError("a secret")

    async def works() -> list[Finding]:
        return [lines.SALES_OPEN.told()]

    found = await asyncio.gather(
        looked_at("disk", hangs, seconds=0.01), looked_at("store", breaks), looked_at("sales", works)
    )
    assert [one.found for findings in found for one in findings] == [
        "no answer within 0 s",
        "could not be looked at: KeyError",
        "orders are taken",
    ]


# Settings -------------------------------------------------------------------------------------------------------------

SPOILT = {
    "PUBLIC_URL": "http://shop.example",
    "LEASE_SECONDS": "soon",
    "DATABASE_URL": "postgres:/u:SECRET@h/db",
    "STORE_URL": "foo://bucket",
    "CONTENT_FOLDER": "/nothing/here",
    "BOT_TOKEN": "",
    "KIE_API_KEY": "",
    "FAL_KEY": "",
}
PROBLEMS = ["BOT_TOKEN", "CONTENT_FOLDER", "DATABASE_URL", "LEASE_SECONDS", "PUBLIC_URL", "STORE_URL"]


@pytest.mark.parametrize("role", ROLES)
def test_f78_a_process_refuses_to_start_with_every_problem_in_a_line_of_its_own(ward: Ward, role: Role) -> None:
    for name, value in {**ward.settings, **SPOILT}.items():
        ward.patch.setenv(name, value)
    with pytest.raises(BadSettings) as refused:
        settings_for(role)
    told = str(refused.value).splitlines()
    assert sorted(re.split(r"\W", line)[0] for line in told) == sorted(
        [*PROBLEMS, *(["KIE_API_KEY"] if role == "worker" else [])]
    )
    assert "SECRET" not in str(refused.value)


async def test_f78_the_command_says_so_and_exits_1_and_doctor_says_the_same_and_goes_on(ward: Ward) -> None:
    refused = await ward.command("bot", before=(), **SPOILT)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.splitlines()) == len(PROBLEMS)
    findings = await ward.findings(clock=None, **SPOILT)
    assert len(said(findings, "settings")) == len(PROBLEMS) + 1
    assert said(findings, "database") == ["warning: not looked at: settings comes first"]
    assert said(findings, "telegram") == ["not set: no BOT_TOKEN: nobody was asked"]
    assert said(findings, "prompt writer") == ["ok: gpt-6-luna is on offer"]
    assert "SECRET" not in str(findings)


def test_f78_what_an_own_folder_holds_is_told_beside_the_rest(ward: Ward) -> None:
    folder = ward.home / "own" / "models"
    (folder / "folder.toml").mkdir(parents=True)
    for name, value in {**ward.settings, "HTTP_PORT": "0", "CONTENT_FOLDER": str(folder.parent)}.items():
        ward.patch.setenv(name, value)
    with pytest.raises(BadSettings) as refused:
        settings_for("bot")
    first, second = str(refused.value).splitlines()
    assert first.startswith("HTTP_PORT: ")
    assert second == f"{folder}/folder.toml: Is a directory"
    ward.patch.chdir(ward.home)
    (ward.home / ".env").write_bytes(b"SUPPORT=\xff")
    with pytest.raises(BadSettings, match=r"^\.env cannot be read: it is no UTF-8$"):
        settings_for("bot")


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page_has_every_line_that_doctor_can_print_and_no_other() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text("utf-8")
    _, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    told = set()
    for section in sections:
        check = section.splitlines()[0]
        for state, found, meaning, advice in re.findall(
            r"^\| (.*?) \| (.*?) \| (.*?) \| (.*?) ?\|$", section, re.MULTILINE
        ):
            if state != "State":
                assert meaning.strip(), f"{check}: {found} means nothing"
                told.add(("" if check == "any check" else check, state, found, advice))
    assert told == {(line.check, str(line.state), line.found, line.advice) for line in LINES}
    assert len(told) == len(LINES)

"""T19: what is secret stays in the settings: a run of real processes with trouble and noise leaves it nowhere else."""

import asyncio
import json
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psycopg
import psycopg.conninfo
import pytest

from flow.crew import Crew, environment
from flow.phones import Phone, open_client
from flow.sellers import photos
from neurocards.bot.screens import Verb
from neurocards.catalogue import CONTENT
from neurocards.db import books
from neurocards.db.connection import Database
from services import Simulators

PATIENCE_SECONDS = 60.0
SELLERS = 3
VIDEOS_EACH = 3

NOISE = """
import logging

_set = logging.Logger.setLevel
logging.Logger.setLevel = lambda logger, level: _set(logger, logging.DEBUG)
"""
"""Found by Python at its start: whatever level a logger is given, it tells everything."""


def canary(kind: str) -> str:
    """A secret that can be found again wherever it leaks to."""
    return f"canary-{kind}-{secrets.token_hex(16)}"


@pytest.mark.timeout(240)
async def test_t19_no_secret_leaves_the_settings(
    dsn: str, database: Database, simulators: Simulators, tmp_path: Path
) -> None:
    keys = {name: canary(name) for name in ("kie-revoked", "kie", "fal", "openai", "webhook")}
    token = f"{7_600_001 + secrets.randbelow(1000)}:{secrets.token_hex(18)}"
    password = psycopg.conninfo.conninfo_to_dict(dsn)["password"]
    hidden = {**keys, "token": token.partition(":")[2], "password": str(password)}

    home, noise = tmp_path / "home", tmp_path / "noise"
    noise.mkdir()
    (noise / "sitecustomize.py").write_text(NOISE)
    port, *ops_ports = _free_ports(3)
    surroundings = environment(
        home,
        DATABASE_URL=dsn,
        BOT_TOKEN=token,
        KIE_API_KEY=f"{keys['kie-revoked']},{keys['kie']}",
        FAL_KEY=keys["fal"],
        OPENAI_API_KEY=keys["openai"],
        KIE_WEBHOOK_KEY=keys["webhook"],
        PUBLIC_URL=f"http://127.0.0.1:{port}",
        HTTP_PORT=str(port),
        CONTENT_FOLDER=str(_dear_template(tmp_path / "content")),
        WELCOME_CREDITS="10",
        LEASE_SECONDS="5",
        TELEGRAM_API_URL=simulators.telegram,
        KIE_API_URL=simulators.kie,
        KIE_UPLOAD_URL=simulators.kie,
        FAL_QUEUE_URL=simulators.fal,
        FAL_REST_URL=simulators.fal,
        OPENAI_BASE_URL=simulators.openai,
        # The SDK of OpenAI and asyncio have noise of their own.
        OPENAI_LOG="debug",
        PYTHONASYNCIODEBUG="1",
    )
    surroundings["PYTHONPATH"] = f"{noise}:{surroundings['PYTHONPATH']}"
    await _settings(simulators, simulators.kie, webhook_key=keys["webhook"], revoked_keys=[keys["kie-revoked"]])
    (await simulators.client.get(f"{simulators.telegram}/bot{token}/getMe")).raise_for_status()

    seen: list[str] = []
    shown: list[str] = []
    logs = tmp_path / "logs"
    bots, workers = (Crew({**surroundings, "OPS_PORT": str(ops_port)}, logs) for ops_port in ops_ports)
    async with bots, workers, open_client() as client:
        await bots.start("bot")
        await workers.start("worker")
        phones = [await _arrive(client, simulators, token, number) for number in range(SELLERS)]

        # One key is refused, the writer's as well, and downloads, uploads and messages fail.
        await _trouble(simulators)
        await _order(phones[0])
        await _until(lambda: _nothing_waits(database))
        seen += _command_lines()

        # KIE is away: what was begun goes to fal, whose results fail at first.
        await _settings(simulators, simulators.kie, down="503")
        for phone in phones[1:]:
            await _order(phone)
        await _until(lambda: _made_by_fal(database))
        await _settings(simulators, simulators.kie, down=None)
        await _until(lambda: _nothing_waits(database))
        seen += _command_lines()
        for ops_port in ops_ports:
            for page in ("metrics", "readyz", "livez"):
                shown.append((await client.get(f"http://127.0.0.1:{ops_port}/{page}")).text)
        assert bots.gone() + workers.gone() == []

    async with database.transaction() as tx:
        assert (await books.figures(tx)).completed == SELLERS * VIDEOS_EACH
    with psycopg.connect(dsn) as connection:
        dump = "\n".join(_dumped(connection))
    heard = {
        name: json.dumps((await simulators.client.get(f"{url}/sim/requests")).json(), ensure_ascii=False)
        for name, url in (
            ("kie", simulators.kie),
            ("fal", simulators.fal),
            ("openai", simulators.openai.removesuffix("/v1")),
        )
    }
    places = {
        **{path.name: path.read_bytes() for path in logs.glob("*.log")},
        **{str(path.relative_to(tmp_path)): path.read_bytes() for path in home.rglob("*") if path.is_file()},
        "the database": dump.encode(),
        "the processes": "\n".join(seen).encode(),
        "the metrics": "\n".join(shown).encode(),
        **{f"what {name} received": words.encode() for name, words in heard.items()},
    }
    told = b"".join(content for name, content in places.items() if name.endswith(".log"))

    # It was a run in which there was something to leak.
    assert [name for name in ("step_failed", "left_alone", "prompt_writer_failed") if name.encode() not in told] == []
    assert b'"level": "debug"' in told
    assert b"httpcore2" in told
    assert sum("neurocards_build_info" in page for page in shown) == len(ops_ports)
    assert any("neurocards" in line and "worker" in line for line in seen)
    assert any(name.endswith(".mp4") for name in places)
    asked = {"kie": '"route": "createTask"', "fal": '"route": "submit"', "openai": '"authorization": "Bearer '}
    assert [name for name, words in heard.items() if asked[name] not in words] == []

    leaks = [
        (what, place)
        for what, secret in hidden.items()
        for place, content in places.items()
        if secret.encode() in content
    ]
    assert leaks == []
    for name, words in heard.items():
        assert "/file/bot" not in words, f"an address that only our bot may know reached {name}"
        assert not re.search(r"bot\d{5,}:", words)


def _dear_template(own: Path) -> Path:
    """A short clip at a price for which fal makes it too."""
    (own / "templates").mkdir(parents=True)
    text = (CONTENT / "templates" / "02-hero_broll.toml").read_text("utf-8")
    for usual, ours in (("price_credits = 1", "price_credits = 2"), ("seconds = 10", "seconds = 4")):
        assert text.count(usual) == 1
        text = text.replace(usual, ours)
    (own / "templates" / "hero.toml").write_text(text, "utf-8")
    return own


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


async def _settings(simulators: Simulators, url: str, **settings: object) -> None:
    (await simulators.client.post(f"{url}/sim/settings", json=settings)).raise_for_status()


async def _trouble(simulators: Simulators) -> None:
    openai = simulators.openai.removesuffix("/v1")
    for url, fault in (
        (simulators.telegram, {"kind": "5xx", "method": "getFile"}),
        (simulators.telegram, {"kind": "reset", "method": "sendVideo"}),
        (simulators.telegram, {"kind": "5xx", "method": "editMessageCaption"}),
        (openai, {"kind": "401"}),
        (simulators.kie, {"kind": "http_503", "route": "upload"}),
        (simulators.kie, {"kind": "http_503", "route": "result"}),
        (simulators.kie, {"kind": "result_redirect", "route": "result"}),
        (simulators.kie, {"kind": "reset", "route": "recordInfo"}),
        (simulators.fal, {"kind": "result_404", "route": "result"}),
        (simulators.fal, {"kind": "http_500", "route": "status"}),
    ):
        (await simulators.client.post(f"{url}/sim/faults", json=fault)).raise_for_status()


async def _arrive(client: httpx2.AsyncClient, simulators: Simulators, token: str, number: int) -> Phone:
    """Somebody who has agreed and has their welcome credits."""
    bot_id = token.partition(":")[0]
    phone = await Phone.buy(client, simulators.telegram, bot_id, name=f"Seller {number}", language="en")
    await phone.start()
    await phone.tap(await phone.offered(Verb.AGREE, seconds=PATIENCE_SECONDS))
    assert await phone.hear(phone.version, seconds=PATIENCE_SECONDS)
    return phone


async def _order(phone: Phone) -> None:
    """From the photo to the confirmed card."""
    await phone.send_photo(photos()[0])
    await phone.tap(await phone.offered(Verb.CHOOSE_TEMPLATE, "hero_broll", seconds=PATIENCE_SECONDS))
    await phone.hear(phone.version, seconds=PATIENCE_SECONDS)
    await phone.write("A mug")
    await phone.tap(await phone.offered(Verb.SKIP_WISHES, seconds=PATIENCE_SECONDS))
    await phone.tap(await phone.offered(Verb.CHOOSE_COUNT, str(VIDEOS_EACH), seconds=PATIENCE_SECONDS))
    await phone.tap(await phone.offered(Verb.CONFIRM, seconds=PATIENCE_SECONDS))
    await phone.hear(phone.version, seconds=PATIENCE_SECONDS)


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await done():  # noqa: ASYNC110 (rows set no event)
            await asyncio.sleep(0.2)


async def _nothing_waits(database: Database) -> bool:
    async with database.transaction() as tx:
        figures = await books.figures(tx)
    return figures.orders > 0 and not figures.open and not figures.notices_waiting


async def _made_by_fal(database: Database) -> bool:
    async with database.transaction() as tx:
        cursor = await tx.execute("select exists (select from attempts where provider = 'fal' and state = 'succeeded')")
        return await cursor.fetchone() == (True,)


def _command_lines() -> list[str]:
    """What everybody on this machine can read of every process."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return lines


def _dumped(connection: "psycopg.Connection[psycopg.rows.TupleRow]") -> Iterator[str]:
    """Every row of every table as text, and what the server shows of its sessions."""
    tables = connection.execute(
        "select quote_ident(table_name) from information_schema.tables"
        " where table_schema = 'public' and table_type = 'BASE TABLE'"
    ).fetchall()
    for (table,) in tables:
        yield from (f"{table}: {row}" for (row,) in connection.execute(f"select t::text from {table} t".encode()))
    yield from (str(row) for (row,) in connection.execute("select a::text from pg_stat_activity a"))

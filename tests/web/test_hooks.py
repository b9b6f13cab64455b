"""Callbacks are hints, strangers change nothing, and the server is a loop like any other."""

import asyncio
import base64
import hashlib
import hmac
import time
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI, Request
from pydantic import ValidationError

from neurocards.addresses import callback_key, callback_url, webhook_path_token, webhook_secret, webhook_url
from neurocards.db import callbacks, generations, jobs
from neurocards.db.connection import APP_ROLE, Database
from neurocards.domain.tasks import Accepted
from neurocards.providers.keys import labelled
from neurocards.providers.kie import Kie
from neurocards.settings import Settings
from neurocards.web import CannotListen, serve
from neurocards.web import server as server_module
from services import Simulators
from shop import counts
from web.door import KEY, TOKEN, Door, Doorway, Row, free_port, intended, listening, served, waiting

HOUR = 3600
KLING = "kling/v3-turbo-image-to-video"

ATTEMPTS = "select id, state, task_id, hinted_task_id, result_url, accepted_at, ended_at from attempts order by id"
JOBS = "select id, state, run_at, attempt, lease_number from jobs order by id"
DUE = "select run_at <= clock_now() from jobs order by id"
HINTS = "select hinted_task_id from attempts"


async def everything(door: Door) -> tuple[list[Row], list[Row], dict[str, int]]:
    return await door.rows(ATTEMPTS), await door.rows(JOBS), await counts(door.database)


def told(task_id: object, **more: object) -> dict[str, object]:
    return {"code": 200, "msg": "", "data": {"taskId": task_id, **more}}


async def test_t02_f56_a_forged_callback_changes_nothing(door: Door) -> None:
    attempt_id, other_id = await waiting(door.database), await waiting(door.database)
    before = await everything(door)
    path, mac = door.callback(attempt_id).rsplit("/", 1)
    other_mac = door.callback(other_id).rsplit("/", 1)[1]
    foreign = callback_url(door.base, callback_key(f"1:{'c' * 35}"), "kie", attempt_id)
    for url in (
        f"{path}/{mac[:-1]}",
        f"{path}/{mac}A",
        f"{path}/{mac.swapcase()}",
        f"{path}/{other_mac}",
        f"{path}/%D0%BF%00%FF",
        f"{path.replace(str(attempt_id), str(attempt_id).upper())}/{mac}",
        f"{path.replace(str(attempt_id), '1 or true')}/{mac}",
        foreign,
    ):
        answer = await door.client.post(url, json=told("task-1"))
        assert (answer.status_code, answer.content) == (401, b""), url
    assert await everything(door) == before


async def test_f56_with_kies_key_a_callback_must_be_signed_by_kie_and_fresh(
    doorway: Doorway, database: Database, simulators: Simulators
) -> None:
    def signed(task_id: str, *, key: str = "kie-key", age_seconds: int = 0) -> dict[str, str]:
        timestamp = str(int(time.time()) - age_seconds)
        digest = hmac.digest(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256)
        return {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": base64.b64encode(digest).decode()}

    door = doorway.open(database, simulators.client, kie_webhook_key="kie-key")
    attempt_id = await waiting(database)
    before = await everything(door)
    for headers in (
        {},
        signed("task-1", key="wrong"),
        signed("task-2"),
        signed("task-1", age_seconds=310),
        signed("task-1", age_seconds=-310),
        {**signed("task-1"), "X-Webhook-Timestamp": "²"},
        {**signed("task-1"), "X-Webhook-Timestamp": "9" * 5000},
        {**signed("task-1"), "X-Webhook-Signature": "ÿ"},
    ):
        answer = await door.client.post(
            door.callback(attempt_id),
            json=told("task-1"),
            headers={name.encode(): value.encode("latin-1") for name, value in headers.items()},
        )
        assert answer.status_code == 401, headers
    assert await everything(door) == before
    samples_name = {"data": {"task_id": "task-1"}}
    for body in (told("task-1"), samples_name):
        answer = await door.client.post(door.callback(attempt_id), json=body, headers=signed("task-1", age_seconds=200))
        assert answer.status_code == 200
    assert await door.rows(HINTS) == [("task-1",)]


async def test_f54_three_callbacks_have_one_effect(door: Door) -> None:
    attempt_id = await waiting(door.database)
    listener = door.database.listen("jobs")
    assert await anext(listener) == "jobs"
    assert await door.rows(DUE) == [(False,)]
    for task_id in ("task-1", "task-2", "task-1"):
        answer = await door.client.post(door.callback(attempt_id), json=told(task_id))
        assert (answer.status_code, answer.json()) == (200, {"code": 200, "msg": "success"})
    assert await door.rows(HINTS) == [("task-1",)]
    assert await door.rows(DUE) == [(True,)]
    async with asyncio.timeout(5):
        assert await anext(listener) == "jobs"
    later = asyncio.ensure_future(anext(listener))
    assert not (await asyncio.wait([later], timeout=0.1))[0], "only the first callback wakes a worker"
    later.cancel()
    await asyncio.gather(later, return_exceptions=True)
    await listener.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_f54_a_callback_hurries_only_what_still_waits_for_a_task(door: Door) -> None:
    hurried = []
    for state in ("intent", "unknown", "abandoned", "refused", "accepted", "succeeded", "failed"):
        accepted = state in ("accepted", "succeeded", "failed")
        attempt_id = await waiting(door.database, task_id=f"task of {state}" if accepted else None)
        await door.rows(
            f"update attempts set state = '{state}', result_url = 'a' where id = '{attempt_id}' returning 1"
        )
        assert await door.call_back(attempt_id) == 200
        hurried += [state] * (await door.rows(DUE))[-1][0]
    assert hurried == ["intent", "unknown", "abandoned", "accepted"]


async def test_f53_a_callback_before_the_submits_answer_is_kept_and_the_answer_wins(door: Door) -> None:
    attempt_id, job = await intended(door.database)
    before = await door.rows(JOBS)
    assert await door.call_back(attempt_id, told("task-1", state="success")) == 200
    assert await door.rows(HINTS) == [("task-1",)]
    assert await door.rows(JOBS) == before, "whoever works on the job goes on undisturbed"
    async with door.database.transaction() as tx:
        await generations.record_task(tx, attempt_id, "task-1")
        await jobs.snooze(tx, job, seconds=HOUR)
    known = await door.rows(ATTEMPTS)
    assert await door.call_back(attempt_id, told("task-9")) == 200
    assert await door.rows(ATTEMPTS) == known


async def test_f57_nothing_that_a_callback_says_is_believed(door: Door) -> None:
    attempt_id = await waiting(door.database, task_id="task-1")
    before = await door.rows(ATTEMPTS)
    lie = told("task-2", state="success", resultJson='{"resultUrls":["https://evil.example/v.mp4"]}')
    assert await door.call_back(attempt_id, lie) == 200
    assert await door.rows(ATTEMPTS) == before


async def test_what_cannot_be_a_task_is_no_hint_but_still_a_reason_to_look(door: Door) -> None:
    attempt_id = await waiting(door.database)
    odd: list[object] = [told(task_id) for task_id in ("x" * 201, "a b", "a\x00b", "я", "", 7, None)]
    for body in [*odd, [], "data", 1]:
        assert await door.call_back(attempt_id, body) == 200
    for raw in (b"", b"\xff", b"{", b"[" * 60_000, b"1" * 60_000):
        assert (await door.client.post(door.callback(attempt_id), content=raw)).status_code == 200
    assert await door.rows(HINTS) == [(None,)]
    assert await door.rows(DUE) == [(True,)]
    assert await door.call_back(attempt_id, told("x" * 200)) == 200
    assert await door.rows(HINTS) == [("x" * 200,)]


@pytest.mark.parametrize("task_id", ["task-1", None])
async def test_f54_a_callback_after_the_end_moves_nothing(door: Door, task_id: str | None) -> None:
    attempt_id = await waiting(door.database, task_id=task_id)
    async with door.database.transaction() as tx:
        ((generation_id,),) = await (await tx.execute("select id from generations")).fetchall()
        assert await generations.refund(tx, generation_id, lease_number=None, reason="deadline")
    before = await everything(door)
    assert await door.call_back(attempt_id) == 200
    assert await everything(door) == before


async def test_a_callback_for_an_attempt_that_is_not_there_changes_nothing(door: Door) -> None:
    await waiting(door.database)
    before = await everything(door)
    assert await door.call_back(uuid4(), told("task-1")) == 200
    assert await everything(door) == before


async def test_a_hint_is_news_once_and_needs_no_more_rights_than_the_shop_has(door: Door, dsn: str) -> None:
    attempt_id = await waiting(door.database)
    async with Database(dsn, connections=2, role=APP_ROLE) as database:
        assert await database.run(lambda tx: callbacks.hint(tx, attempt_id, None, provider="kie"))
        assert await database.run(lambda tx: callbacks.hint(tx, attempt_id, "task-1", provider="kie"))
        assert not await database.run(lambda tx: callbacks.hint(tx, attempt_id, "task-1", provider="kie"))


async def test_a_database_that_hangs_is_answered_for_within_a_second_and_the_callback_repeated(door: Door) -> None:
    attempt_id = await waiting(door.database)
    async with door.database.transaction() as tx:
        await tx.execute("select 1 from jobs for update")
        began = time.monotonic()
        assert await door.call_back(attempt_id, told("task-1")) == 503
        assert time.monotonic() - began < 5
    assert await door.rows(HINTS) == [(None,)]
    assert await door.call_back(attempt_id, told("task-1")) == 200
    assert await door.rows(HINTS) == [("task-1",)]


async def test_t32_a_thousand_forged_posts_write_no_row(door: Door) -> None:
    await waiting(door.database)
    before = await everything(door)

    async def knock() -> set[bytes]:
        return {
            (await door.raw(f"POST {path} HTTP/1.1", "Content-Length: 2", body=b"{}"))[:12]
            for path in (f"/hooks/kie/{uuid4()}/{'m' * 43}", f"/hooks/telegram/{'0' * 64}")
            for _ in range(50)
        }

    assert set.union(*await asyncio.gather(*(knock() for _ in range(10)))) == {b"HTTP/1.1 401"}
    assert await everything(door) == before
    assert await door.rows("select count(*) from updates") == [(0,)]


async def test_the_provider_itself_calls_back_and_tells_whose_task_it_is(door: Door, simulators: Simulators) -> None:
    attempt_id = await waiting(door.database)
    url = door.callback(attempt_id)
    kie = Kie(api_url=simulators.kie, upload_url=simulators.kie, keys=labelled("kie", ["test-key"]))
    try:
        submission = await kie.submit(
            KLING,
            {"image_urls": ["http://127.0.0.1:1/x.jpg"], "duration": "3", "prompt": "A cup."},
            key="",
            limit_seconds=10,
            callback_url=url,
        )
        assert isinstance(submission, Accepted)
        async with asyncio.timeout(20):
            while await door.rows(HINTS) != [(submission.task_id,)]:  # noqa: ASYNC110 (the provider sets no event)
                await asyncio.sleep(0.02)
        assert await kie.made_for(submission.task_id, url, key="", model=KLING)
        assert not await kie.made_for(submission.task_id, url[:-1], key="", model=KLING)
        assert not await kie.made_for(submission.task_id, door.callback(uuid4()), key="", model=KLING)
        assert not await kie.made_for("no-such-task", url, key="", model=KLING)
        unnamed = await kie.submit(
            KLING,
            {"image_urls": ["http://127.0.0.1:1/x.jpg"], "duration": "3", "prompt": "A cup."},
            key="",
            limit_seconds=10,
            callback_url=None,
        )
        assert isinstance(unnamed, Accepted)
        assert not await kie.made_for(unnamed.task_id, url, key="", model=KLING)
    finally:
        await kie.close()


# The server -----------------------------------------------------------------------------------------------------


async def test_bodies_are_cut_before_they_are_read(door: Door) -> None:
    attempt_id = await waiting(door.database)
    callback = f"POST {door.callback(attempt_id).removeprefix(door.base)} HTTP/1.1"
    webhook = f"POST {door.webhook.removeprefix(door.base)} HTTP/1.1"
    secret = f"X-Telegram-Bot-Api-Secret-Token: {webhook_secret(TOKEN)}"
    # Only announced: not a byte of the body is ever sent.
    for head in (
        [callback, f"Content-Length: {64 * 1024 + 1}"],
        [webhook, secret, f"Content-Length: {1024 * 1024 + 1}"],
    ):
        assert (await door.raw(*head)).startswith(b"HTTP/1.1 413 ")
    # Not even announced, and never ending.
    chunk = b"1000\r\n" + b"1" * 4096 + b"\r\n"
    assert (await door.raw(callback, "Transfer-Encoding: chunked", body=chunk * 17)).startswith(b"HTTP/1.1 413 ")
    assert (await door.raw(webhook, secret, "Transfer-Encoding: chunked", body=chunk * 257)).startswith(
        b"HTTP/1.1 413 "
    )
    # A stranger is refused by his head alone.
    assert (await door.raw(webhook, "Content-Length: 1000")).startswith(b"HTTP/1.1 401 ")
    assert await door.rows(HINTS) == [(None,)]
    whole = b'{"data":{"taskId":"task-1"}}'
    assert (await door.client.post(door.callback(attempt_id), content=whole.ljust(64 * 1024))).status_code == 200
    assert await door.rows(HINTS) == [("task-1",)]


async def test_t23_nobody_is_who_a_header_says(simulators: Simulators) -> None:
    app = FastAPI()

    @app.get("/")
    async def who(request: Request) -> list[str | None]:
        return [request.client and request.client.host, request.url.scheme, request.headers.get("X-Forwarded-For")]

    async with served(app) as base:
        for spoofed in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP"):
            value = "https" if "Proto" in spoofed else "203.0.113.9"
            answer = await simulators.client.get(base, headers={spoofed: value})
            assert answer.json()[:2] == ["127.0.0.1", "http"], spoofed


async def test_the_server_tells_strangers_nothing(door: Door) -> None:
    alive = await door.client.get(f"{door.base}/livez")
    assert (alive.status_code, alive.text) == (200, "ok")
    assert "server" not in alive.headers
    for path in ("/", "/docs", "/redoc", "/openapi.json", "/livez/", "/hooks", "/hooks/telegram/", "/hooks/kie/a"):
        assert (await door.client.get(f"{door.base}{path}")).status_code == 404, path
    assert (await door.client.get(door.webhook)).status_code == 405


async def test_a_taken_port_is_one_sentence() -> None:
    async with served(FastAPI()) as base:
        port = int(base.rsplit(":", 1)[1])
        with pytest.raises(CannotListen, match=rf"^cannot listen on 127\.0\.0\.1, port {port}: \w.*$"):
            await serve(FastAPI(), host="127.0.0.1", port=port, stop=asyncio.Event())
    with pytest.raises(CannotListen, match=r"^cannot listen on 192\.0\.2\.1, port 8080: "):
        await serve(FastAPI(), host="192.0.2.1", port=8080, stop=asyncio.Event())


async def test_stopping_finishes_what_runs_and_takes_nothing_new(simulators: Simulators) -> None:
    app, begun, go_on = FastAPI(), asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    port, stop = free_port(), asyncio.Event()
    serving = asyncio.create_task(serve(app, host="127.0.0.1", port=port, stop=stop))
    await listening(port, serving)
    asking = asyncio.create_task(simulators.client.get(f"http://127.0.0.1:{port}/"))
    await begun.wait()
    stop.set()
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionError):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert not serving.done(), "the request is given its time"
    go_on.set()
    assert (await asking).json() == "done"
    async with asyncio.timeout(5):
        await serving


async def test_stopping_does_not_wait_for_ever(
    simulators: Simulators, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "DRAIN_SECONDS", 0.2)
    app, begun = FastAPI(), asyncio.Event()

    @app.get("/")
    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with served(app) as base:
        asking = asyncio.create_task(simulators.client.get(base))
        await begun.wait()
        began = time.monotonic()
    assert time.monotonic() - began < 3
    with pytest.raises(httpx2.HTTPError):
        (await asking).raise_for_status()


# Addresses and settings -----------------------------------------------------------------------------------------


def test_every_process_derives_the_same_addresses_and_no_path_shows_a_secret() -> None:
    attempt_id = UUID(int=7)
    url = callback_url("https://shop.example", KEY, "kie", attempt_id)
    assert url == callback_url("https://shop.example", callback_key(TOKEN), "kie", attempt_id)
    assert url.startswith(f"https://shop.example/hooks/kie/{attempt_id}/")
    secret = webhook_secret(TOKEN)
    assert webhook_url("https://shop.example", secret).endswith(f"/hooks/telegram/{webhook_path_token(secret)}")
    shown = url + webhook_url("https://shop.example", secret)
    for hidden in (secret, TOKEN, KEY.hex(), callback_key(TOKEN).decode("latin-1")):
        assert hidden not in shown
    assert len({secret, KEY.hex(), webhook_path_token(secret), webhook_secret(f"1:{'c' * 35}")}) == 4


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("https://shop.example", "https://shop.example"),
        (" https://shop.example:8443/bot/ ", "https://shop.example:8443/bot"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("http://shop.example", None),
        ("http://127.0.0.1.shop.example", None),
        ("https://me:word@shop.example", None),
        ("https://shop.example/?a=b", None),
        ("https://shop.example/#a", None),
        ("https://shop .example", None),
        ("shop.example", None),
        ("ftp://shop.example", None),
        ("https://", None),
    ],
)
def test_the_public_address_has_tls_unless_it_is_this_machine(given: str, read: str | None) -> None:
    if read is None:
        with pytest.raises(ValidationError):
            Settings(_env_file=None, public_url=given)
    else:
        assert Settings(_env_file=None, public_url=given).public_url == read


def test_a_worker_learns_callback_addresses_without_a_web_framework() -> None:
    source = Path(callback_url.__code__.co_filename).read_text("utf-8")
    assert "fastapi" not in source and "aiogram" not in source and "neurocards." not in source

"""fal's callbacks: believed to come from fal when it signed the very bytes, and even then no more than a hint."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from starlette.datastructures import Headers

from neurocards.addresses import callback_key, callback_url
from neurocards.db import generations, jobs
from neurocards.db.connection import Database
from neurocards.domain.callbacks import Undecided
from neurocards.domain.catalogue import JsonValue
from neurocards.domain.tasks import Accepted
from neurocards.providers import fal_callbacks
from neurocards.providers.fal import Fal
from neurocards.providers.fal_callbacks import FalCallbacks
from neurocards.simulators.fal.webhooks import Signer
from services import Simulators
from web.door import Door, Doorway, Row, intended, served, waiting

MODEL = "fal-ai/kling-video/v3/standard/image-to-video"
VALUES: dict[str, JsonValue] = {"prompt": "A cup.", "start_image_url": "http://127.0.0.1:9/x.jpg", "duration": "3"}

ATTEMPTS = "select id, state, task_id, hinted_task_id, result_url, accepted_at, ended_at from attempts order by id"
JOBS = "select id, state, run_at, attempt, lease_number from jobs order by id"
DUE = "select run_at <= clock_now() from jobs order by id"
HINTS = "select hinted_task_id from attempts"


@dataclass
class Keys:
    """The address of fal's keys: shows those of a signer, or is `away`; answers while the gate is open."""

    signer: Signer = field(default_factory=Signer)
    away: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    shown: bytes | None = None
    asked: int = 0
    base: str = ""

    async def __call__(self, scope: Mapping[str, Any], _receive: object, send: Any) -> None:  # Any: ASGI
        self.asked += 1
        assert scope["path"] == "/.well-known/jwks.json"
        await self.gate.wait()
        body = self.shown if self.shown is not None else json.dumps(self.signer.jwks()).encode()
        await send({"type": "http.response.start", "status": 503 if self.away else 200, "headers": []})
        await send({"type": "http.response.body", "body": b"" if self.away else body})


@pytest.fixture
async def keys() -> AsyncIterator[Keys]:
    keys = Keys()
    keys.gate.set()
    async with served(keys) as base:
        keys.base = base
        yield keys


@pytest.fixture
async def fal_door(keys: Keys, doorway: Doorway, database: Database, simulators: Simulators) -> AsyncIterator[Door]:
    reader = FalCallbacks(rest_url=keys.base)
    yield doorway.open(database, simulators.client, fal=reader)
    await reader.close()


def told(request_id: object, **more: object) -> bytes:
    body = {"request_id": request_id, "gateway_request_id": request_id, "status": "OK", "payload": {}}
    return json.dumps(body | more).encode()


async def post(
    door: Door, url: str, body: bytes, headers: Mapping[str, str], *, statuses: tuple[int, ...] = (200,)
) -> None:
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    answer = await door.client.post(url, content=body, headers=raw)
    assert answer.status_code in statuses, (answer.status_code, headers)


async def signed(
    door: Door, keys: Keys, attempt_id: UUID, body: bytes, *, age_seconds: int = 0, statuses: tuple[int, ...] = (200,)
) -> None:
    headers = keys.signer.headers("r", body, age_seconds=age_seconds)
    await post(door, door.callback(attempt_id, "fal"), body, headers, statuses=statuses)


async def everything(door: Door) -> tuple[list[Row], list[Row]]:
    return await door.rows(ATTEMPTS), await door.rows(JOBS)


async def test_t02_f56_what_fal_did_not_sign_just_so_changes_nothing(fal_door: Door, keys: Keys) -> None:
    attempt_id = await waiting(fal_door.database, provider="fal")
    other_id = await waiting(fal_door.database, provider="fal")
    url, body = fal_door.callback(attempt_id, "fal"), told("task-1")
    good = keys.signer.headers("r", body)
    signature = good["X-Fal-Webhook-Signature"]
    before = await everything(fal_door)
    for headers in (
        {},
        {**good, "X-Fal-Webhook-Signature": ""},
        {**good, "X-Fal-Webhook-Signature": "0" * 128},
        {**good, "X-Fal-Webhook-Signature": signature[:-2]},
        {**good, "X-Fal-Webhook-Signature": signature[:-1] + "x"},
        {**good, "X-Fal-Webhook-Signature": "ÿ" * 128},
        {**good, "X-Fal-Webhook-Request-Id": "s"},
        {**good, "X-Fal-Webhook-User-Id": "somebody"},
        {**good, "X-Fal-Webhook-Timestamp": str(int(time.time()) - 1)},
        {**good, "X-Fal-Webhook-Timestamp": "²"},
        {**good, "X-Fal-Webhook-Timestamp": "-1"},
        {**good, "X-Fal-Webhook-Timestamp": "9" * 5000},
        keys.signer.headers("r", body, age_seconds=310),
        keys.signer.headers("r", body, age_seconds=-310),
        keys.signer.headers("r", told("task-2")),
        Signer().headers("r", body),
    ):
        await post(fal_door, url, body, headers, statuses=(401,))
    path, mac = url.rsplit("/", 1)
    for foreign in (
        f"{path}/{mac[:-1]}",
        f"{path}/{fal_door.callback(other_id, 'fal').rsplit('/', 1)[1]}",
        callback_url(fal_door.base, callback_key(f"1:{'c' * 35}"), "fal", attempt_id),
    ):
        await post(fal_door, foreign, body, good, statuses=(401,))
    assert await everything(fal_door) == before
    assert keys.asked == 1, "whoever sends nonsense makes no work for fal"
    await post(fal_door, url, body, keys.signer.headers("r", body, age_seconds=290))
    await post(fal_door, url, body, {name.upper(): value for name, value in good.items()})
    assert sorted(await fal_door.rows(HINTS), key=str) == [("task-1",), (None,)]


async def test_t02_no_way_around_the_signature_leads_over_another_provider(fal_door: Door, keys: Keys) -> None:
    """KIE's address of the same attempt has the same proof in it, and KIE may sign nothing at all."""
    attempt_id = await waiting(fal_door.database, provider="fal")
    kies_id = await waiting(fal_door.database)
    before = await everything(fal_door)
    assert await fal_door.call_back(attempt_id, {"data": {"taskId": "task-1"}}) == 200
    await signed(fal_door, keys, kies_id, told("task-1"))
    assert await everything(fal_door) == before
    for nobody in ("telegram", "nobody", "FAL", ""):
        answer = await fal_door.client.post(fal_door.callback(attempt_id, nobody), content=told("task-1"))
        assert answer.status_code == 404
    assert await everything(fal_door) == before


async def test_without_a_key_of_fal_nobody_listens_to_it(door: Door) -> None:
    attempt_id = await waiting(door.database, provider="fal")
    answer = await door.client.post(door.callback(attempt_id, "fal"), content=told("task-1"))
    assert answer.status_code == 404


async def test_f54_repeated_and_replayed_callbacks_have_one_effect(fal_door: Door, keys: Keys) -> None:
    attempt_id = await waiting(fal_door.database, provider="fal")
    url, body = fal_door.callback(attempt_id, "fal"), told("task-1")
    headers = keys.signer.headers("r", body)
    for _ in range(3):
        await post(fal_door, url, body, headers)
    after = await everything(fal_door)
    await signed(fal_door, keys, attempt_id, told("task-2"))
    assert await everything(fal_door) == after
    assert await fal_door.rows(HINTS) == [("task-1",)]
    assert await fal_door.rows(DUE) == [(True,)]
    async with fal_door.database.transaction() as tx:
        ((generation_id,),) = await (await tx.execute("select id from generations")).fetchall()
        assert await generations.refund(tx, generation_id, lease_number=None, reason="deadline")
    ended = await everything(fal_door)
    await post(fal_door, url, body, headers)
    assert await everything(fal_door) == ended


async def test_f53_a_callback_before_the_submits_answer_is_kept_and_the_answer_wins(fal_door: Door, keys: Keys) -> None:
    attempt_id, job = await intended(fal_door.database, provider="fal")
    await signed(fal_door, keys, attempt_id, told("task-1"))
    assert await fal_door.rows(HINTS) == [("task-1",)]
    async with fal_door.database.transaction() as tx:
        await generations.record_task(tx, attempt_id, "task-1")
        await jobs.snooze(tx, job, seconds=3600)
    known = await fal_door.rows(ATTEMPTS)
    await signed(fal_door, keys, attempt_id, told("task-9"))
    assert await fal_door.rows(ATTEMPTS) == known


async def test_f57_nothing_that_a_signed_callback_says_is_believed(fal_door: Door, keys: Keys) -> None:
    attempt_id = await waiting(fal_door.database, task_id="task-1", provider="fal")
    before = await fal_door.rows(ATTEMPTS)
    lie = told("task-2", payload={"video": {"url": "https://evil.example/v.mp4"}})
    await signed(fal_door, keys, attempt_id, lie)
    await signed(fal_door, keys, attempt_id, told("task-1", status="ERROR", error="Invalid status code: 422"))
    assert await fal_door.rows(ATTEMPTS) == before
    assert await fal_door.rows(DUE) == [(True,)]


async def test_what_cannot_be_a_task_is_no_hint_but_still_a_reason_to_look(fal_door: Door, keys: Keys) -> None:
    attempt_id = await waiting(fal_door.database, provider="fal")
    for odd in (*(told(name) for name in ("x" * 201, "a b", "я", "", 7, None)), b"", b"\xff", b"[]", b"[" * 60_000):
        await signed(fal_door, keys, attempt_id, odd)
    assert await fal_door.rows(HINTS) == [(None,)]
    assert await fal_door.rows(DUE) == [(True,)]
    await signed(fal_door, keys, uuid4(), told("task-1"))
    await signed(fal_door, keys, attempt_id, b"1" * (64 * 1024 + 1), statuses=(413,))


# The keys -----------------------------------------------------------------------------------------------------------


async def test_keys_that_are_away_make_fal_come_again(
    fal_door: Door, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id = await waiting(fal_door.database, provider="fal")
    before = await everything(fal_door)
    keys.away = True
    for _ in range(3):
        await signed(fal_door, keys, attempt_id, told("task-1"), statuses=(503,))
    assert keys.asked == 1, "a service in trouble is not asked with every callback"
    assert await everything(fal_door) == before
    monkeypatch.setattr(fal_callbacks, "FAILED_SECONDS", 0.0)
    keys.away = False
    for shown in (b"", b"{", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "RSA"}]}', b'{"keys": [{"x": "AAAA"}]}'):
        keys.shown = shown
        await signed(fal_door, keys, attempt_id, told("task-1"), statuses=(503,))
    keys.shown = None
    await signed(fal_door, keys, attempt_id, told("task-1"))
    assert await fal_door.rows(HINTS) == [("task-1",)]


async def test_new_keys_are_looked_up_when_none_fits_but_seldom(
    fal_door: Door, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id = await waiting(fal_door.database, provider="fal")
    await signed(fal_door, keys, attempt_id, told("task-1"))
    keys.signer.rotate()
    await signed(fal_door, keys, attempt_id, told("task-1"), statuses=(401,))
    assert keys.asked == 1
    monkeypatch.setattr(fal_callbacks, "LOOK_AGAIN_SECONDS", 0.0)
    await signed(fal_door, keys, attempt_id, told("task-1"))
    assert keys.asked == 2
    keys.signer.rotate()
    keys.away = True
    await signed(fal_door, keys, attempt_id, told("task-1"), statuses=(503,))


async def test_keys_are_believed_for_a_day(fal_door: Door, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt_id = await waiting(fal_door.database, provider="fal")
    for _ in range(3):
        await signed(fal_door, keys, attempt_id, told("task-1"))
    assert keys.asked == 1
    monkeypatch.setattr(fal_callbacks, "KEYS_SECONDS", 0.0)
    monkeypatch.setattr(fal_callbacks, "FAILED_SECONDS", 0.0)
    keys.away = True
    await signed(fal_door, keys, attempt_id, told("task-1"), statuses=(503,))
    assert keys.asked == 2


async def test_slow_keys_hold_up_nobody_and_are_there_when_fal_comes_again(fal_door: Door, keys: Keys) -> None:
    attempt_id = await waiting(fal_door.database, provider="fal")
    keys.gate.clear()
    waiting_for_keys = [signed(fal_door, keys, attempt_id, told("task-1"), statuses=(503,)) for _ in range(5)]
    others = [fal_door.call_back(await waiting(fal_door.database)) for _ in range(2)]
    answers = await asyncio.gather(*waiting_for_keys, *others)
    assert answers[5:] == [200, 200]
    keys.gate.set()
    async with asyncio.timeout(10):
        while ("task-1",) not in await fal_door.rows(HINTS):
            await signed(fal_door, keys, attempt_id, told("task-1"), statuses=(200, 503))
    assert keys.asked == 1, "one looks up the keys for all"


async def test_whoever_waits_for_keys_is_told_so_in_good_time(keys: Keys) -> None:
    reader = FalCallbacks(rest_url=keys.base)
    body = told("task-1")
    keys.gate.clear()
    async with asyncio.timeout(3):
        assert isinstance(await reader.read(Headers(keys.signer.headers("r", body)), body), Undecided)
    keys.gate.set()
    await reader.close()


async def test_a_database_with_no_connection_to_spare_is_not_waited_for(
    keys: Keys, doorway: Doorway, dsn: str, simulators: Simulators
) -> None:
    reader = FalCallbacks(rest_url=keys.base)
    async with Database(dsn, connections=2) as busy:
        door = doorway.open(busy, simulators.client, fal=reader)
        attempt_id = await waiting(busy, provider="fal")
        async with busy.transaction(), busy.transaction():
            began = time.monotonic()
            await signed(door, keys, attempt_id, told("task-1"), statuses=(503,))
            assert time.monotonic() - began < 5
        await signed(door, keys, attempt_id, told("task-1"))
    await reader.close()


async def test_a_database_that_hangs_is_answered_for_within_a_second(fal_door: Door, keys: Keys) -> None:
    attempt_id = await waiting(fal_door.database, provider="fal")
    async with fal_door.database.transaction() as tx:
        await tx.execute("select 1 from jobs for update")
        began = time.monotonic()
        await signed(fal_door, keys, attempt_id, told("task-1"), statuses=(503,))
        assert time.monotonic() - began < 5
    assert await fal_door.rows(HINTS) == [(None,)]


# The simulator itself ------------------------------------------------------------------------------------------------


@pytest.fixture
async def simulated(doorway: Doorway, database: Database, simulators: Simulators) -> AsyncIterator[tuple[Door, Fal]]:
    reader = FalCallbacks(rest_url=simulators.fal)
    fal = Fal(queue_url=simulators.fal, rest_url=simulators.fal, keys={"fal-1": "key"})
    yield doorway.open(database, simulators.client, fal=reader), fal
    await fal.close()
    await reader.close()


async def outcomes(simulators: Simulators, count: int) -> list[str]:
    """How the hooks answered the first so many callbacks of the only task."""
    async with asyncio.timeout(20):
        while True:
            (task,) = (await simulators.client.get(f"{simulators.fal}/sim/tasks")).json()
            answers = [callback["outcome"] for callback in task["callbacks"]]
            if len(answers) >= count and "pending" not in answers:
                return answers
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("fate", "expected"),
    [
        (None, ["200"]),
        ("content_refused", ["200"]),
        ("callback_without_payload", ["200"]),
        ("callback_thrice", ["200"] * 3),
        ("callback_forged", ["401", "200"]),
        ("callback_old", ["401", "200"]),
        ("callback_lies", ["200", "200"]),
    ],
)
async def test_fal_itself_calls_back_and_tells_whose_task_it_is(
    simulated: tuple[Door, Fal], simulators: Simulators, fate: str | None, expected: list[str]
) -> None:
    door, fal = simulated
    if fate:
        (await simulators.client.post(f"{simulators.fal}/sim/faults", json={"kind": fate})).raise_for_status()
    attempt_id = await waiting(door.database, provider="fal")
    url = door.callback(attempt_id, "fal")
    submission = await fal.submit(MODEL, VALUES, key="fal-1", limit_seconds=10, callback_url=url)
    assert isinstance(submission, Accepted)
    assert await outcomes(simulators, len(expected)) == expected
    ((hinted,),) = await door.rows(HINTS)
    assert (hinted == submission.task_id) == (fate != "callback_lies")
    assert await fal.made_for(hinted, url, key="fal-1", model=MODEL) == (fate != "callback_lies")
    assert await fal.made_for(submission.task_id, url, key="fal-1", model=MODEL)


async def test_fal_repeats_a_callback_until_its_keys_are_back(
    simulated: tuple[Door, Fal], simulators: Simulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fal_callbacks, "FAILED_SECONDS", 0.0)
    door, fal = simulated
    client: httpx2.AsyncClient = simulators.client
    await client.post(f"{simulators.fal}/sim/faults", json={"kind": "http_503", "route": "jwks", "times": 2})
    await client.post(f"{simulators.fal}/sim/settings", json={"webhook_pause_seconds": 0.05})
    attempt_id = await waiting(door.database, provider="fal")
    url = door.callback(attempt_id, "fal")
    await fal.submit(MODEL, VALUES, key="fal-1", limit_seconds=10, callback_url=url)
    assert await outcomes(simulators, 3) == ["503", "503", "200"]
    assert [hint is not None for (hint,) in await door.rows(HINTS)] == [True]

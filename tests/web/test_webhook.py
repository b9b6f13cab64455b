"""Telegram's webhook: only Telegram is believed, what is acknowledged is stored, what is stored is stored once."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest

from bot.chat import Shop, labels
from neurocards.addresses import webhook_secret
from neurocards.bot import IntakeRefused, Registration, make_bot
from neurocards.bot import webhook as webhook_module
from neurocards.bot.intake import ALLOWED_UPDATES
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.web import build_hooks
from neurocards.web import hooks as hooks_module
from web.door import KEY, SECRET, Door, Doorway

STORED = "select id, person, urgent, body from updates order by id"

Json = dict[str, Any]  # Any: JSON


def update(number: int = 1, *, text: str = "hi") -> Json:
    person = {"id": 5, "is_bot": False, "first_name": "Ann"}
    chat = {"id": 5, "type": "private", "first_name": "Ann"}
    message = {"message_id": number, "date": 1_700_000_000, "chat": chat, "from": person, "text": text}
    return {"update_id": number, "message": message}


@pytest.fixture
async def webhook(shop: Shop, doorway: Doorway) -> AsyncIterator[Registration]:
    """The registration of the shop's bot with the simulated Telegram; its hooks are served."""
    secret = webhook_secret(shop.token)
    doorway.app = build_hooks(shop.database, webhook_secret=secret, callback_key=KEY, readers={})
    yield Registration(shop.bot, public_url=doorway.base, secret=secret, look_seconds=0.02)
    await shop.bot.delete_webhook()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the simulated Telegram does in its own time."""
    async with asyncio.timeout(45):
        while not await holds():  # noqa: ASYNC110 (another process would have to set the event)
            await asyncio.sleep(0.05)


async def until_stored(shop: Shop, count: int) -> None:
    async def stored() -> bool:
        return len(await shop.states()) >= count

    await until(stored)


async def test_t01_whoever_lacks_the_secret_is_refused_in_one_way_and_stores_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[object, object]] = []
    compare_digest = hmac.compare_digest

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append((type(given), type(expected)))
        return compare_digest(given, expected)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    body = json.dumps(update()).encode()
    header = b"X-Telegram-Bot-Api-Secret-Token"
    wrong_path = f"{door.base}/hooks/telegram/{'0' * 64}"
    secret = SECRET.encode()
    requests: list[tuple[str, dict[bytes, bytes]]] = [
        (door.webhook, {}),
        (door.webhook, {header: b""}),
        (door.webhook, {header: b"wrong"}),
        (door.webhook, {header: secret[:-1]}),
        (door.webhook, {header: secret + b"0"}),
        (door.webhook, {header: secret.upper()}),
        (door.webhook, {header: "секрет".encode()}),
        (door.webhook, {header: secret[:-1] + b"\xff"}),
        (door.webhook, {header: b"a" * 1024 * 1024}),
        (wrong_path, {header: secret}),
        (wrong_path, {}),
        (f"{door.webhook}%D0%BF", {header: secret}),
    ]
    answers = [await door.client.post(url, content=body, headers=headers) for url, headers in requests]
    assert [(answer.status_code, answer.content) for answer in answers] == [(401, b"")] * len(requests)
    assert compared == [(bytes, bytes)] * 2 * len(requests)
    assert await door.rows(STORED) == []
    assert await door.deliver(update()) == 200
    assert await door.rows(STORED) == [(1, 5, False, update())]


async def test_f02_an_update_delivered_again_is_stored_once_by_whichever_way_it_comes(
    shop: Shop, webhook: Registration
) -> None:
    person = await shop.arrive()
    await shop.post(f"people/{person.id}/start", {})
    await shop.intake.turn()
    await shop.intake.turn()  # confirms, so that it can come again
    assert await shop.states() == ["pending"]
    await webhook.turn()
    await shop.post("redeliver", {})
    await shop.fault("deliver_twice", "message")
    await shop.post(f"people/{person.id}/text", {"text": "hello"})
    await until_stored(shop, 2)
    await shop.bot.delete_webhook()
    await shop.post("redeliver", {})
    assert await shop.intake.turn() >= 1
    assert await shop.states() == ["pending"] * 2


async def test_f02_the_same_bytes_twice_are_acknowledged_twice(door: Door) -> None:
    for text in ("hi", "hi", "other"):
        assert await door.deliver(update(7, text=text)) == 200
    assert await door.rows(STORED) == [(7, 5, False, update(7))]


async def test_an_order_can_be_talked_about_over_the_webhook(shop: Shop, webhook: Registration) -> None:
    person = await shop.arrive()
    await webhook.turn()
    await shop.post(f"people/{person.id}/start", {})
    await until_stored(shop, 1)
    while await shop.handling.turn():
        await shop.handling.idle()
    assert labels((await person.messages())[-1]) == ["I agree, let's start"]


async def test_what_cannot_be_stored_is_not_acknowledged_and_telegram_brings_it_again(
    shop: Shop, webhook: Registration, postgres: EmbeddedPostgres, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks_module, "STORE_SECONDS", 0.3)
    person = await shop.arrive()
    await webhook.turn()

    async def refused() -> bool:
        info = await shop.bot.get_webhook_info()
        return "503" in (info.last_error_message or "") and info.pending_update_count == 1

    async def taken() -> bool:
        return (await shop.bot.get_webhook_info()).pending_update_count == 0

    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"alter database {name} allow_connections false".encode())
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        await shop.post(f"people/{person.id}/text", {"text": "while it is away"})
        await until(refused)
        connection.execute(f"alter database {name} allow_connections true".encode())
    await until_stored(shop, 1)
    async with shop.database.transaction() as tx:
        cursor = await tx.execute("select body->'message'->>'text' from updates")
        assert await cursor.fetchall() == [("while it is away",)]
    await until(taken)


async def test_garbage_is_refused_and_stored_nowhere(door: Door) -> None:
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    for body in (
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"update_id":"1"}',
        b'{"update_id":true}',
        b'{"update_id":1.5}',
        b'{"update_id":9223372036854775808}',
        b'{"update_id":' + b"9" * 5000 + b"}",
        b'{"update_id":1,"x":NaN}',
        b'{"update_id":1,"x":-Infinity}',
        b'{"update_id":1,"x":1e999}',
        b'{"update_id":1,"x":' + b"[" * 100_000,
        b'{"update_id":1,"x":' + b"[" * 900 + b"]" * 900 + b"}",
    ):
        answer = await door.client.post(door.webhook, content=body, headers=headers)
        assert answer.status_code == 400, body[:40]
    assert await door.rows(STORED) == []


async def test_odd_updates_are_stored_all_the_same(door: Door) -> None:
    odd: list[Json] = [
        {"update_id": 1, "telepathy": {"from": {"id": "5"}}},
        {"update_id": 2, "message": {"from": {}, "chat": {"id": -7}}},
        {"update_id": 3, "message": {"from": {"id": 2**70}}},
        {"update_id": 4, "callback_query": {"from": {"id": 5}}},
        {"update_id": 5, "message": "words"},
    ]
    for one in odd:
        assert await door.deliver(one) == 200
    assert [row[:3] for row in await door.rows(STORED)] == [
        (1, 0, False),
        (2, -7, False),
        (3, 0, False),
        (4, 5, True),
        (5, 0, False),
    ]
    assert await door.deliver({"update_id": 6, "a\x00b": "c\x00\ud800"}) == 200
    assert (await door.rows(STORED))[5][3] == {"update_id": 6, "a�b": "c�?"}


# Registration ---------------------------------------------------------------------------------------------------


async def test_telegram_is_told_once_and_again_when_somebody_took_it_away(shop: Shop, webhook: Registration) -> None:
    person = await shop.arrive()
    await shop.post(f"people/{person.id}/text", {"text": "sent before"})
    assert await webhook.turn()
    info = await shop.bot.get_webhook_info()
    assert info.url.startswith("http://127.0.0.1:") and "/hooks/telegram/" in info.url
    assert (info.max_connections, set(info.allowed_updates or ())) == (40, set(ALLOWED_UPDATES))
    await until_stored(shop, 1)
    assert not await webhook.turn()
    await shop.bot.delete_webhook()
    assert await webhook.turn()
    await shop.bot.set_webhook("http://127.0.0.1:1/elsewhere")
    assert await webhook.turn()
    assert (await shop.bot.get_webhook_info()).url == info.url


async def test_registration_waits_out_trouble_and_ends_when_told(
    shop: Shop, webhook: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "LONGEST_PAUSE_SECONDS", 0.01)
    await shop.fault("5xx", "setWebhook", times=7)
    await shop.fault("reset", "setWebhook", times=1)

    async def registered() -> bool:
        return bool((await shop.bot.get_webhook_info()).url)

    stop = asyncio.Event()
    running = asyncio.create_task(webhook.run(stop))
    await until(registered)
    await shop.bot.delete_webhook()
    await until(registered)
    stop.set()
    async with asyncio.timeout(2):
        await running
    assert (await shop.bot.get_webhook_info()).url, "updates wait for the next process"


async def test_registration_ends_at_once_although_telegram_is_silent(shop: Shop, webhook: Registration) -> None:
    await shop.fault("delay", "setWebhook", delay_seconds=30)
    stop = asyncio.Event()
    running = asyncio.create_task(webhook.run(stop))
    await asyncio.sleep(0.1)
    assert not running.done()
    stop.set()
    async with asyncio.timeout(2):
        await running


async def test_what_telegram_will_never_take_is_one_sentence(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "LONGEST_PAUSE_SECONDS", 0.01)
    stop = asyncio.Event()
    with pytest.raises(IntakeRefused, match=r"Telegram does not take PUBLIC_URL: .*HTTPS URL"):
        await Registration(shop.bot, public_url="ftp://shop", secret=SECRET).run(stop)
    stranger = make_bot("0:nobody", shop.telegram)
    try:
        with pytest.raises(IntakeRefused, match="Telegram does not know this BOT_TOKEN"):
            await Registration(stranger, public_url="https://127.0.0.1:1", secret=SECRET).run(stop)
    finally:
        await stranger.session.close()

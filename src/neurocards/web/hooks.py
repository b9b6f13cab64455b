"""What outside services may tell us: Telegram an update, a video provider that a task has changed.

Whoever calls proves himself before his body is read. An update is stored before it is acknowledged; a callback is a
hint that makes us ask, and nothing it says is believed.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from math import isfinite
from typing import Protocol, assert_never
from uuid import UUID

import structlog
from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from structlog.contextvars import bound_contextvars

from neurocards import meters
from neurocards.addresses import (
    PROVIDER_PATH,
    SELF_TEST_PATH,
    TELEGRAM_PATH,
    callback_mac,
    self_test_answer,
    self_test_mac,
    webhook_path_token,
)
from neurocards.bot.intake import BadUpdate, received
from neurocards.db import callbacks, orders, updates
from neurocards.db.connection import Away, Database, Transaction
from neurocards.domain.callbacks import Callback, Forged, Told, Undecided
from neurocards.domain.orders import Order

MAX_UPDATE_BYTES = 1024 * 1024
MAX_CALLBACK_BYTES = 64 * 1024

BODY_SECONDS = 5.0
"""How long a sender who has proved himself may take to send what he has to say."""

STORE_SECONDS = 5.0
"""How long the database may take with an update. Telegram repeats what was not acknowledged."""

ANSWER_SECONDS = 1.0
"""How long a callback's proof and the database may take together. Providers repeat what was not acknowledged."""

QUIET_SECONDS = 60.0
"""Refusals are logged at most this often: a flood of them must not become a flood of lines."""

ACKNOWLEDGED = {"code": 200, "msg": "success"}
"""What KIE takes for an answer; the others look at the status alone."""

log = structlog.get_logger()


class CallbackReader(Protocol):
    """Whoever knows how one provider proves that a callback is its own."""

    async def read(self, headers: Mapping[str, str], body: bytes) -> Callback:
        """What the callback is; names of headers are found in any case. Raises nothing."""
        ...


def build_hooks(
    database: Database, *, webhook_secret: str, callback_key: bytes, readers: Mapping[str, CallbackReader]
) -> FastAPI:
    """The application to serve. `readers` are by the name of the provider; of others nothing is listened to."""
    hooks = _Hooks(database, webhook_secret, callback_key, readers)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_api_route(f"{TELEGRAM_PATH}/{{path_token}}", hooks.take_update, methods=["POST"])
    app.add_api_route(f"{SELF_TEST_PATH}/{{question}}/{{mac}}", hooks.answer_self_test, methods=["POST"])
    app.add_api_route(f"{PROVIDER_PATH}/{{provider}}/{{attempt_id}}/{{mac}}", hooks.take_callback, methods=["POST"])
    app.add_api_route("/livez", _live, methods=["GET"])
    return app


async def _live() -> Response:
    return PlainTextResponse("ok")


class _TooLong(Exception):
    """A body of more bytes than its sender ever needs."""


class _Hooks:
    def __init__(
        self, database: Database, webhook_secret: str, callback_key: bytes, readers: Mapping[str, CallbackReader]
    ) -> None:
        self._database = database
        self._webhook_secret = webhook_secret.encode()
        self._path_token = webhook_path_token(webhook_secret).encode()
        self._callback_key = callback_key
        self._readers = readers
        self._refusals = _Refusals()

    async def take_update(self, path_token: str, request: Request) -> Response:
        """Store an update of Telegram, then acknowledge it; what is known already changes nothing."""
        header = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "").encode("latin-1")
        # Both are always compared, so that no answer comes sooner for a caller who knows one of them.
        proofs = [
            hmac.compare_digest(header, self._webhook_secret),
            hmac.compare_digest(path_token.encode(), self._path_token),
        ]
        if not all(proofs):
            return self._refuse("telegram")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                incoming = received(_decoded(await _read(request, MAX_UPDATE_BYTES)))
            async with asyncio.timeout(STORE_SECONDS):
                await self._database.run(lambda tx: updates.store(tx, [incoming]))
        except _TooLong:
            return _closing(413)
        except BadUpdate as error:
            log.warning("update_unreadable", error=str(error))
            return _closing(400)
        except (*Away, TimeoutError, ClientDisconnect) as error:
            log.warning("update_not_stored", error=str(error).strip() or type(error).__name__)
            return Response(status_code=503)
        return Response()

    async def answer_self_test(self, question: str, mac: str) -> Response:
        """Say who we are to ourselves: changes nothing, reads nothing, and tells nobody else."""
        if not hmac.compare_digest(mac.encode(), self_test_mac(self._callback_key, question).encode()):
            return self._refuse("self-test")
        return PlainTextResponse(self_test_answer(self._callback_key, question))

    async def take_callback(self, provider: str, attempt_id: str, mac: str, request: Request) -> Response:
        """Let the attempt's generation be looked at now."""
        reader = self._readers.get(provider)
        if reader is None:
            return _closing(404)
        # The text of the path is what was signed: nothing of it is parsed before that is known.
        if not hmac.compare_digest(mac.encode(), callback_mac(self._callback_key, attempt_id).encode()):
            meters.callback("refused")
            return self._refuse(provider)
        with bound_contextvars(provider=provider, attempt_id=attempt_id):
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read(request, MAX_CALLBACK_BYTES)
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._taken(provider, UUID(attempt_id), await reader.read(request.headers, body))
            except _TooLong:
                meters.callback("too_long")
                return _closing(413)
            except (*Away, TimeoutError, ClientDisconnect) as error:
                return _not_taken("not_stored", str(error).strip() or type(error).__name__)

    async def _taken(self, provider: str, attempt_id: UUID, callback: Callback) -> Response:
        match callback:
            case Forged():
                meters.callback("refused")
                return self._refuse(provider)
            case Undecided(detail):
                return _not_taken("undecided", detail)
            case Told(task_id):

                async def take(tx: Transaction) -> tuple[bool, Order | None]:
                    news = await callbacks.hint(tx, attempt_id, task_id, provider=provider)
                    return news, await orders.of_attempt(tx, attempt_id)

                news, order = await self._database.run(take)
                meters.callback("news" if news else "known")
                log.info("callback", news=news, **(order.names if order is not None else {}))
                return JSONResponse(ACKNOWLEDGED)
            case _:
                assert_never(callback)

    def _refuse(self, hook: str) -> Response:
        self._refusals.count(hook)
        return _closing(401)


class _Refusals:
    """Counts callers who proved nothing, and says so now and then."""

    def __init__(self) -> None:
        self._count = 0
        self._quiet_until = 0.0

    def count(self, hook: str) -> None:
        self._count += 1
        now = time.monotonic()
        if now >= self._quiet_until:
            log.warning("hook_refused", hook=hook, refused=self._count)
            self._count = 0
            self._quiet_until = now + QUIET_SECONDS


def _closing(status: int) -> Response:
    """An answer after which nothing more is read: the rest of a body that is not wanted stays where it is."""
    return Response(status_code=status, headers={"Connection": "close"})


def _not_taken(outcome: str, why: str) -> Response:
    """The provider has to come again."""
    meters.callback(outcome)
    log.warning("callback_not_taken", error=why)
    return Response(status_code=503)


async def _read(request: Request, limit_bytes: int) -> bytes:
    """The body; raises _TooLong as soon as it is longer than `limit_bytes`, or says that it will be."""
    announced = request.headers.get("Content-Length", "0")
    if not announced.isdecimal() or int(announced) > limit_bytes:
        raise _TooLong
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise _TooLong
    return bytes(body)


def _decoded(body: bytes) -> object:
    """JSON that PostgreSQL takes as well; raises BadUpdate."""
    try:
        decoded: object = json.loads(body, parse_constant=_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise BadUpdate("not JSON") from error
    return decoded


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("no number of JSON")
    return number

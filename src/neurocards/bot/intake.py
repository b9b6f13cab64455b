"""Takes updates in: each is stored before Telegram is told that we have it.

Here by long polling; a webhook brings the same updates, read by the same `received`.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import structlog
from aiogram import Bot
from aiogram.exceptions import (
    AiogramError,
    TelegramConflictError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.methods import TelegramMethod

from neurocards.db import updates
from neurocards.db.connection import LONGEST_AWAY_PAUSE_SECONDS, Away, Database
from neurocards.db.updates import Incoming

POLL_SECONDS = 25
ANSWER_SECONDS = 15
"""How much longer than the long poll itself its answer may take."""

ALLOWED_UPDATES = ("message", "edited_message", "callback_query", "my_chat_member", "pre_checkout_query")
URGENT_UPDATES = ("callback_query", "pre_checkout_query")
"""Somebody looks at a spinner."""

REFUSALS = 5
"""So many in a row are no deploy in which an old process still ends its last poll."""

RESIDENT_PATIENCE = 4
"""How many times as many it takes to drive out who has polled before."""

WEBHOOKS = 3
"""So many webhooks that had to be removed, one after the other, are not what an earlier setting left behind."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

MAX_BIGINT = 2**63 - 1

Json = dict[str, Any]  # Any: Telegram's JSON, typed by aiogram when it is handled

log = structlog.get_logger()


class IntakeRefused(Exception):
    """Telegram does not let us poll; the message is one sentence for the operator."""


class BadUpdate(ValueError):
    """What came is no update."""


class FetchUpdates(TelegramMethod[list[Json]]):
    """getUpdates without types: one update that aiogram cannot read must not hold up all others."""

    __returning__: ClassVar[type] = list[Json]
    __api_method__: ClassVar[str] = "getUpdates"

    offset: int | None
    timeout: int
    allowed_updates: list[str]


class Intake:
    """The only loop that asks Telegram for updates; two of them would get each other's refusals."""

    def __init__(self, bot: Bot, database: Database, *, poll_seconds: int = POLL_SECONDS) -> None:
        self._bot = bot
        self._database = database
        self._poll_seconds = poll_seconds
        self._offset: int | None = None
        self._refused = 0
        self._has_polled = False
        self._webhooks = 0
        self._webhooks_allowed = WEBHOOKS
        self._pause_seconds = 0.0
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Poll now, if a pause after trouble is on."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until `stop` is set; raises IntakeRefused."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                turn = asyncio.create_task(self._calmly())
                await asyncio.wait([turn, stopping], return_when=asyncio.FIRST_COMPLETED)
                if not turn.done():
                    # Nothing is lost: what was not stored is not confirmed either.
                    turn.cancel()
                    with suppress(asyncio.CancelledError):
                        await turn
                    return
                turn.result()
        finally:
            stopping.cancel()

    async def turn(self) -> int:
        """Fetch what there is, waiting for it, and store it; returns how many updates came."""
        bodies = await self._bot(
            FetchUpdates(offset=self._offset, timeout=self._poll_seconds, allowed_updates=list(ALLOWED_UPDATES)),
            request_timeout=self._poll_seconds + ANSWER_SECONDS,
        )
        if bodies:
            incoming = [received(body) for body in bodies]
            await self._database.run(lambda tx: updates.store(tx, incoming))
        # The next poll confirms. An empty answer confirmed all before; from then on no offset is named,
        # because after a quiet week Telegram's numbers begin anew somewhere else.
        self._offset = max(body["update_id"] for body in bodies) + 1 if bodies else None
        return len(bodies)

    async def _calmly(self) -> None:
        """A turn; trouble that may pass is waited out."""
        try:
            await self.turn()
        except TelegramConflictError as error:
            await self._conflict(error)
        except (TelegramUnauthorizedError, TelegramNotFound) as error:
            await self._refusal(error, "Telegram does not know this BOT_TOKEN: get a valid one from @BotFather")
        except TelegramRetryAfter as error:
            await self._rest("telegram_busy", error, seconds=float(error.retry_after))
        except AiogramError as error:
            await self._rest("telegram_away", error)
        except Away as error:
            await self._rest("database_away", error, longest_seconds=LONGEST_AWAY_PAUSE_SECONDS)
        else:
            self._has_polled = True
            self._refused = 0
            self._pause_seconds = 0.0

    async def _conflict(self, error: TelegramConflictError) -> None:
        """Either another process polls, or a webhook is set. The second is mended here, unless it is set anew."""
        # Counted once for each that came after polls that went well.
        if "webhook" in error.message.lower() and self._refused == 0:
            if self._webhooks == 0:
                self._webhooks_allowed = WEBHOOKS * (RESIDENT_PATIENCE if self._has_polled else 1)
            self._webhooks += 1
            if self._webhooks > self._webhooks_allowed:
                raise IntakeRefused(
                    "another process sets a webhook for this BOT_TOKEN again and again: stop it, or use another bot"
                ) from error
        await self._refusal(error, "another process polls with this BOT_TOKEN: stop it, or use another bot")
        with suppress(AiogramError):
            await self._bot.delete_webhook(drop_pending_updates=False)

    async def _refusal(self, error: AiogramError, sentence: str) -> None:
        self._refused += 1
        # Of two with one token the one that came last leaves.
        if self._refused >= REFUSALS * (RESIDENT_PATIENCE if self._has_polled else 1):
            raise IntakeRefused(sentence) from error
        await self._rest("poll_refused", error)

    async def _rest(
        self, event: str, error: Exception, *, seconds: float = 0.0, longest_seconds: float = LONGEST_PAUSE_SECONDS
    ) -> None:
        self._pause_seconds = min(longest_seconds, self._pause_seconds * 2 or FIRST_PAUSE_SECONDS)
        pause = max(seconds, self._pause_seconds)
        log.warning(event, error=str(error).strip()[:300], pause_seconds=pause)
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)


def received(body: object) -> Incoming:
    """The update as it is stored. Raises BadUpdate if it is none."""
    try:
        storable = _storable(body)
    except RecursionError as error:
        raise BadUpdate("nested too deep") from error
    if not isinstance(storable, dict) or not _is_bigint(storable.get("update_id")):
        raise BadUpdate("no object with an update_id")
    return _incoming(storable)


def _incoming(body: Json) -> Incoming:
    return Incoming(
        id=body["update_id"],
        person=_person(body),
        urgent=any(kind in body for kind in URGENT_UPDATES),
        body=body,
    )


def _person(body: Mapping[str, Any]) -> int:  # Any: JSON
    """Whose turn the update takes: the person who caused it, else the chat it came from, else nobody's."""
    for event in body.values():
        if isinstance(event, dict):
            for who in ("from", "user", "chat"):
                if isinstance(event.get(who), dict) and _is_bigint(event[who].get("id")):
                    return int(event[who]["id"])
    return 0


def _is_bigint(value: object) -> bool:
    return type(value) is int and abs(value) <= MAX_BIGINT


def _storable(value: Any) -> Any:  # Any: JSON in, JSON out
    """The same without NUL and lone surrogates, which PostgreSQL refuses, and the whole batch with them."""
    match value:
        case str():
            return value.replace("\x00", "�").encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {_storable(key): _storable(inner) for key, inner in value.items()}
        case list():
            return [_storable(inner) for inner in value]
        case _:
            return value

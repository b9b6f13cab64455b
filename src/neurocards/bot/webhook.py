"""Keeps Telegram delivering to our address: registered at the start, looked after from then on."""

import asyncio
from datetime import datetime

import structlog
from aiogram import Bot
from aiogram.exceptions import (
    AiogramError,
    TelegramBadRequest,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import WebhookInfo

from neurocards.addresses import webhook_url
from neurocards.bot.intake import (
    ALLOWED_UPDATES,
    ANSWER_SECONDS,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    REFUSALS,
    RESIDENT_PATIENCE,
    IntakeRefused,
)

LOOK_SECONDS = 60.0
"""How often we look whether somebody has set or removed the webhook meanwhile."""

LOSSES = 3
"""So many looks in a row at which our registration was gone are no deploy: another process holds the token."""

CONNECTIONS = 40
"""Telegram's own default: each stores one update and is done."""

log = structlog.get_logger()


async def register(bot: Bot, *, public_url: str, secret: str) -> None:
    """Ask Telegram to deliver to us whatever waits and whatever comes. Safe to repeat; raises AiogramError."""
    await bot.set_webhook(
        webhook_url(public_url, secret),
        secret_token=secret,
        allowed_updates=list(ALLOWED_UPDATES),
        max_connections=CONNECTIONS,
        drop_pending_updates=False,
        request_timeout=ANSWER_SECONDS,
    )


class Registration:
    """The loop that takes the poller's place when Telegram can reach us."""

    def __init__(self, bot: Bot, *, public_url: str, secret: str, look_seconds: float = LOOK_SECONDS) -> None:
        self._bot = bot
        self._public_url = public_url
        self._secret = secret
        self._look_seconds = look_seconds
        self._registered = False
        self._refused = 0
        self._lost = 0
        self._is_resident = False
        self._pause_seconds = 0.0
        self._trouble_at: datetime | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Stay registered until `stop` is set; raises IntakeRefused. The registration stays: updates wait for us."""
        stopping = asyncio.create_task(stop.wait())
        keeping = asyncio.create_task(self._keep())
        try:
            await asyncio.wait([keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            keeping.cancel()
            await asyncio.wait([keeping])
        if not keeping.cancelled():
            keeping.result()

    async def turn(self) -> bool:
        """Register if that is not done or no longer so; returns whether it was needed. Raises IntakeRefused."""
        if self._registered:
            # What was registered by an older release may differ in more than the address, so the first turn never asks.
            info = await self._bot.get_webhook_info(request_timeout=ANSWER_SECONDS)
            self._report(info)
            if info.url == webhook_url(self._public_url, self._secret):
                self._lost = 0
                self._is_resident = True
                return False
            self._lose(info)
        await register(self._bot, public_url=self._public_url, secret=self._secret)
        self._registered = True
        log.info("webhook_registered", public_url=self._public_url)
        return True

    def _lose(self, info: WebhookInfo) -> None:
        """Somebody with our token took the updates away: of two the one that came last leaves."""
        self._lost += 1
        sentence = (
            "another process with this BOT_TOKEN has set a webhook of its own"
            if info.url
            else "another process with this BOT_TOKEN polls, and has removed our webhook"
        )
        if self._lost >= LOSSES * (RESIDENT_PATIENCE if self._is_resident else 1):
            raise IntakeRefused(f"{sentence}: stop it, or use another bot")
        log.warning("webhook_lost", why=sentence, times=self._lost)

    async def _keep(self) -> None:
        while True:
            pause = await self._calmly()
            await asyncio.sleep(pause)

    async def _calmly(self) -> float:
        """A turn; returns the seconds until the next one: a look later, or as long as trouble is waited out."""
        try:
            await self.turn()
        except (TelegramUnauthorizedError, TelegramNotFound) as error:
            return self._refusal(error, "Telegram does not know this BOT_TOKEN: get a valid one from @BotFather")
        except TelegramBadRequest as error:
            return self._refusal(error, f"Telegram does not take PUBLIC_URL: {error.message}")
        except TelegramRetryAfter as error:
            return max(float(error.retry_after), self._rest("telegram_busy", error))
        except AiogramError as error:
            return self._rest("telegram_away", error)
        self._refused = 0
        self._pause_seconds = 0.0
        return self._look_seconds

    def _refusal(self, error: AiogramError, sentence: str) -> float:
        self._refused += 1
        if self._refused >= REFUSALS:
            raise IntakeRefused(sentence) from error
        return self._rest("webhook_refused", error)

    def _rest(self, event: str, error: AiogramError) -> float:
        self._pause_seconds = min(LONGEST_PAUSE_SECONDS, self._pause_seconds * 2 or FIRST_PAUSE_SECONDS)
        log.warning(event, error=str(error).strip()[:300], pause_seconds=self._pause_seconds)
        return self._pause_seconds

    def _report(self, info: WebhookInfo) -> None:
        """What Telegram could not deliver is the operator's to mend: a certificate, a name, a closed door."""
        if info.last_error_date is not None and info.last_error_date != self._trouble_at:
            log.warning("webhook_trouble", error=info.last_error_message, waiting=info.pending_update_count)
        self._trouble_at = info.last_error_date

"""Delivers updates to a bot's address the way Telegram does: each lane one at a time, until a 2xx answer.

The pauses between tries are Telegram's in shape and much shorter, so that a rehearsal does not take an hour.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable

    from neurocards.simulators.telegram.updates import Update

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_ANSWER_SECONDS = 60.0


class Webhook:
    """One bot's delivery address and the deliveries under way."""

    def __init__(
        self,
        url: str,
        *,
        secret: str | None,
        max_connections: int,
        on_delivered: Callable[[Update], None],
        on_expired: Callable[[Update], None],
    ) -> None:
        self.url = url
        self.max_connections = max_connections
        self.last_error: tuple[int, str] | None = None
        self._on_delivered = on_delivered
        self._on_expired = on_expired
        self._headers = {SECRET_HEADER: secret} if secret else {}
        self._connections = asyncio.Semaphore(max_connections)
        self._client = httpx2.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False)
        self._lanes: dict[str, deque[Update]] = {}
        self._deliveries: set[asyncio.Task[None]] = set()

    def push(self, update: Update) -> None:
        """Append to the update's lane; a sleeping lane wakes up."""
        if lane := self._lanes.get(update.lane):
            lane.append(update)
            return
        self._lanes[update.lane] = deque([update])
        delivery = asyncio.get_running_loop().create_task(self._empty_lane(update.lane))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def close(self) -> None:
        """Stop delivering; undelivered updates stay pending with the bot."""
        deliveries = tuple(self._deliveries)
        for delivery in deliveries:
            delivery.cancel()
        await asyncio.gather(*deliveries, return_exceptions=True)
        await self._client.aclose()

    async def _empty_lane(self, name: str) -> None:
        lane = self._lanes[name]
        while lane:
            await self._deliver(lane[0])
            lane.popleft()
        del self._lanes[name]

    async def _deliver(self, update: Update) -> None:
        pause = 0.0
        while time.monotonic() < update.expires_at:
            asked_pause = await self._try(update)
            if asked_pause is None:
                self._on_delivered(update)
                return
            await asyncio.sleep(asked_pause or pause)
            pause = min(max(pause * 2, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        self._on_expired(update)

    async def _try(self, update: Update) -> float | None:
        """None when the bot has it, else the pause it asked for, or 0."""
        try:
            async with self._connections:
                answer = await self._client.post(self.url, json=update.as_json(), headers=self._headers)
        except httpx2.HTTPError as error:
            self.last_error = int(time.time()), f"{type(error).__name__}: {error}"
            return 0.0
        if answer.is_success:
            return None
        self.last_error = (
            int(time.time()),
            f"Wrong response from the webhook: {answer.status_code} {answer.reason_phrase}",
        )
        retry_after = answer.headers.get("Retry-After", "")
        return min(float(retry_after), _LONGEST_RETRY_AFTER_SECONDS) if retry_after.isdecimal() else 0.0

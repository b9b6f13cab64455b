"""Updates on their way to one bot: kept in order until confirmed, by long polling or by webhook.

Polling confirms by `offset`. What is delivered out of turn (again, or late) waits in its own line, since
its number may lie below an offset that the bot has already passed.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from neurocards.simulators.telegram.changes import Changes
from neurocards.simulators.telegram.errors import ApiError, CannotDo, Json
from neurocards.simulators.telegram.webhook import Webhook

_DAY_SECONDS = 24 * 3600.0
_TAP_SECONDS = 150.0
_HISTORY_KEPT = 20_000
_MAX_POLL_SECONDS = 50
_NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
_LANES = {
    "callback_query": ("callbacks", _TAP_SECONDS),
    "pre_checkout_query": ("payments", _TAP_SECONDS),
    "my_chat_member": ("member", _DAY_SECONDS),
}


@dataclass(eq=False)
class Update:
    """One event for the bot; `lane` is the queue in which a webhook gets it, one at a time."""

    update_id: int
    kind: str
    body: Json
    lane: str
    expires_at: float
    repeats: int = 0
    was_handed_out: bool = False

    def as_json(self) -> Json:
        return {"update_id": self.update_id, self.kind: self.body}


class UpdateQueue:
    """All updates of one bot."""

    def __init__(self) -> None:
        # Grows over restarts like the real one, so a bot that kept its offset does not skip the new updates.
        self._next_id = int((time.time() - 1_700_000_000) * 10)
        self._pending: OrderedDict[int, Update] = OrderedDict()
        self._out_of_turn: deque[Update] = deque()
        self._history: OrderedDict[int, Update] = OrderedDict()
        self._arrivals = Changes()
        self._poller: object | None = None
        self._allowed: frozenset[str] | None = None
        self._closed = False
        self.webhook: Webhook | None = None

    @property
    def pending_count(self) -> int:
        return len(self._pending) + len(self._out_of_turn)

    @property
    def allowed(self) -> list[str] | None:
        """The kinds the bot asked for, or None for the default ones."""
        return sorted(self._allowed) if self._allowed else None

    def allow(self, kinds: Iterable[str] | None) -> None:
        """Choose kinds: None keeps the earlier choice, an empty list returns to the default."""
        if kinds is not None:
            self._allowed = frozenset(kinds)

    def push(
        self, kind: str, body: Json, *, person_id: int, repeats: int = 0, late_seconds: float = 0
    ) -> Update | None:
        """Queue an event; returns None when the bot does not want this kind."""
        wanted = kind in self._allowed if self._allowed else kind not in _NOT_BY_DEFAULT
        if not wanted:
            return None
        lane, lifetime = _LANES.get(kind, ("chat", _DAY_SECONDS))
        update = Update(self._next_id, kind, body, f"{lane}:{person_id}", time.monotonic() + lifetime, repeats=repeats)
        self._next_id += 1
        if late_seconds:
            asyncio.get_running_loop().call_later(late_seconds, self._deliver_out_of_turn, update)
        else:
            self._pending[update.update_id] = update
            self._send_on(update)
        return update

    async def poll(self, *, offset: int, limit: int, timeout_seconds: int) -> list[Json]:
        """One getUpdates call; a later one ends it with a conflict."""
        if self.webhook:
            raise ApiError(
                409,
                "Conflict: can't use getUpdates method while webhook is active; "
                "use deleteWebhook to delete the webhook first",
            )
        this_poll = object()
        self._poller = this_poll
        self._arrivals.announce()
        self._confirm(offset)
        deadline = time.monotonic() + max(0, min(timeout_seconds, _MAX_POLL_SECONDS))
        while True:
            seen = self._arrivals.version
            batch = self._next_batch(limit)
            left = deadline - time.monotonic()
            if batch or left <= 0 or self._closed:
                self._poller = None
                return [update.as_json() for update in batch]
            await self._arrivals.wait_beyond(seen, left)
            if self._poller is not this_poll:
                raise self._conflict()

    def redeliver(self, update_id: int | None) -> int:
        """Deliver a confirmed update once more, the last one without an id; returns its id."""
        if not self._history or (update_id is not None and update_id not in self._history):
            raise CannotDo(404, "no such confirmed update")
        update = self._history[next(reversed(self._history)) if update_id is None else update_id]
        self._deliver_out_of_turn(update)
        return update.update_id

    def use_webhook(self, webhook: Webhook | None) -> None:
        """Change over to this webhook, or with None back to polling; what is pending stays pending."""
        self.webhook = webhook
        self._poller = None
        self._arrivals.announce()
        if webhook:
            for update in (*self._out_of_turn, *self._pending.values()):
                webhook.push(update)

    async def close(self) -> None:
        """Deliver nothing more; an open poll ends now, with nothing."""
        self._closed = True
        self._arrivals.announce()
        if self.webhook:
            await self.webhook.close()

    def drop_pending(self) -> None:
        self._pending.clear()
        self._out_of_turn.clear()

    def delivered(self, update: Update) -> None:
        """The bot has the update: it is history now, and comes again if a fault says so."""
        self._forget(update)
        self._history[update.update_id] = update
        self._history.move_to_end(update.update_id)
        if len(self._history) > _HISTORY_KEPT:
            self._history.popitem(last=False)
        if update.repeats > 0:
            update.repeats -= 1
            self._deliver_out_of_turn(update)

    def expired(self, update: Update) -> None:
        """Nobody fetched the update in time: Telegram forgets it."""
        self._forget(update)

    def _forget(self, update: Update) -> None:
        self._pending.pop(update.update_id, None)
        if update in self._out_of_turn:
            self._out_of_turn.remove(update)

    def _deliver_out_of_turn(self, update: Update) -> None:
        update.was_handed_out = False
        update.expires_at = max(update.expires_at, time.monotonic() + _TAP_SECONDS)
        self._out_of_turn.append(update)
        self._send_on(update)

    def _send_on(self, update: Update) -> None:
        if self.webhook:
            self.webhook.push(update)
        self._arrivals.announce()

    def _confirm(self, offset: int) -> None:
        if offset < 0:
            keep_last = -offset
            while len(self._pending) > keep_last:
                self.delivered(next(iter(self._pending.values())))
            return
        for update in [u for u in self._out_of_turn if u.was_handed_out and u.update_id < offset]:
            self.delivered(update)
        while self._pending and next(iter(self._pending)) < offset:
            self.delivered(next(iter(self._pending.values())))

    def _next_batch(self, limit: int) -> list[Update]:
        now = time.monotonic()
        batch = list(islice(self._out_of_turn, limit))
        for update in batch:
            update.was_handed_out = True
        late: list[Update] = []
        for update in self._pending.values():
            if len(batch) >= limit:
                break
            (late if update.expires_at < now else batch).append(update)
        for update in late:
            self.expired(update)
        return batch

    def _conflict(self) -> ApiError:
        if self.webhook:
            return ApiError(409, "Conflict: terminated by setWebhook request")
        return ApiError(
            409,
            "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
        )

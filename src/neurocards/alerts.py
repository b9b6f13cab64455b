"""The shop's troubles in the operators' chat, calmly: begun, going on, over; in one message, however many there are.

One process at a time tells them, under a lease. What was told is in the database, so a restart repeats nothing.
Customers' notices go their own way and never wait for this.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

import structlog

from neurocards.db import alerts, customers, generations, measures, operators, watch
from neurocards.db.alerts import Alert, Board, Facts, Staff
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.measures import Measures
from neurocards.db.operators import SalesPause
from neurocards.domain.failures import Failure
from neurocards.notices import Unreachable

KNOWN = frozenset(
    {
        "answers",
        "audit",
        "backup",
        "balance",
        "books",
        "clock",
        "disk",
        "inbox",
        "keys",
        "messages",
        "orphans",
        "paused",
        "queue",
        "updates",
        "workers",
    }
)
"""All troubles by name. A newer version may know more of them: those are left to it."""

LONGEST_WAIT_SECONDS = 120.0
"""A video that is due, or a message that can be sent, waits no longer in a healthy shop."""

SILENCE = timedelta(minutes=3)
"""Workers say every half minute that they are there."""

LONGEST_AWAY = timedelta(minutes=2)
"""A restart of the database is no trouble."""

LOST_ANSWERS, LOST_SHARE = 2, 0.01
"""One lost answer in a small shop is more than 1 % and no trend."""

ORPHANS_USD = 5.0
FULL_RATIO = 0.8
LONGEST_SKEW_SECONDS = 5.0
OLDEST_BACKUP = timedelta(days=8)
LOW_BALANCE_USD = 5.0
"""A handful of videos: time to top up."""

PERSISTS = timedelta(seconds=45)
"""Nobody is called for what is gone at the next look, or for a shop that is just being started."""

QUIET = timedelta(minutes=5)
"""New messages are no closer together; what begins meanwhile is written into the last one without a sound."""

REMINDER = timedelta(hours=1)
"""What goes on is said again so often."""

SETTLES = timedelta(minutes=2)
"""Only what is gone for so long is over: what comes and goes is one trouble."""

OLDEST_AUDIT = timedelta(minutes=15)

LEASE_SECONDS = 90.0
"""Longer than Telegram may take to answer."""

TROUBLE_PAUSE_SECONDS = 60.0
REFUSED_PAUSE_SECONDS = 600.0
"""A chat that does not take our messages is tried again that often."""

SHOWN_KEYS = 5
WHY_CHARACTERS = 150

Result = TypeVar("Result")

log = structlog.get_logger()


class Teller(Protocol):
    """Whoever can write to the operators' chat. Raises Failure, or Unreachable."""

    def words(self, language: str, found: Sequence[Alert]) -> str:
        """All of it as one message."""
        ...

    async def say(self, words: str) -> int:
        """A new message, which people hear; returns its id."""
        ...

    async def edit(self, message_id: int, words: str) -> bool:
        """The message says this from now on; False when it is gone."""
        ...


class Plan(StrEnum):
    """What to do about the message."""

    SAY = "say"
    """A new one, which people hear."""
    EDIT = "edit"
    """The one there is brought up to date, without a sound."""
    NOTHING = "nothing"


class Alerts:
    """Looks at the shop and tells its operators' chat. Any number of processes may run one."""

    def __init__(
        self,
        database: Database,
        teller: Teller,
        *,
        chat_id: int,
        disk_used: Callable[[], float | None],
        readers: Sequence[int] = (),
    ) -> None:
        """`readers` are the operators: the chat is told in the language of the first of them who is known.

        `disk_used` tells which share of this machine's disk is.
        """
        self._database = database
        self._teller = teller
        self._disk_used = disk_used
        self._readers = (chat_id, *readers)
        self._language = "en"
        self._away: Alert | None = None
        self._away_message: int | None = None

    async def turn(self) -> int:
        """Look once, and tell what there is to tell; returns how many messages were sent or changed.

        Raises one of Away when the database is, and nothing else: a fault here must not stop the bot.
        """
        try:
            told = await self._turn()
            await self._tell_return()
            return told
        except Away:
            await self._tell_away()
            raise
        except Exception:
            log.exception("alerts_failed")
            return 0

    async def _turn(self) -> int:
        board = await self._database.run(lambda tx: alerts.claim(tx, lease_seconds=LEASE_SECONDS))
        if board is None:
            return 0
        probe = await self._database.run(watch.probe)
        here = troubles_here(probe.skew_seconds, await asyncio.to_thread(self._disk_used))
        found, words, plan = await self._database.run(lambda tx: self._look(tx, board, here))
        try:
            return await self._tell(board, found, words, plan)
        except (Failure, Unreachable) as trouble:
            log.warning("alerts_not_told", trouble=str(trouble))
            pause = REFUSED_PAUSE_SECONDS if isinstance(trouble, Unreachable) else TROUBLE_PAUSE_SECONDS
            if isinstance(trouble, Failure) and trouble.retry_after_seconds is not None:
                pause = trouble.retry_after_seconds
            await self._database.run(lambda tx: alerts.rest(tx, board, seconds=pause))
            return 0

    async def _look(self, tx: Transaction, board: Board, here: dict[str, Facts]) -> tuple[Sequence[Alert], str, Plan]:
        """Bring what is known of troubles up to date, and decide what to do about the message."""
        measured = await measures.read(tx)
        there = here | troubles(measured, await alerts.staff(tx), await operators.sales_pause(tx))
        before = KNOWN & {alert.name for alert in await alerts.read(tx)}
        for name, facts in there.items():
            await alerts.begin(tx, name, facts, settles=SETTLES)
        for name in before - there.keys():
            await alerts.end(tx, name)
        found = [alert for alert in await alerts.read(tx) if alert.name in KNOWN]
        self._language = await self._spoken(tx)
        words = self._teller.words(self._language, found)
        return found, words, plan(board, found, words, now=measured.at)

    async def _tell(self, board: Board, found: Sequence[Alert], words: str, todo: Plan) -> int:
        message_id, heard = board.message_id, todo is Plan.SAY
        if todo is Plan.EDIT and message_id is not None and not await self._teller.edit(message_id, words):
            # Somebody deleted it; what goes on has to stand somewhere.
            message_id, heard = None, any(alert.over_at is None for alert in found)
        if heard:
            message_id = await self._teller.say(words)
        await self._database.run(lambda tx: _record(tx, board, found, message_id, words, heard=heard))
        return int(todo is not Plan.NOTHING)

    async def _spoken(self, tx: Transaction) -> str:
        for reader in self._readers:
            known = await customers.find(tx, reader)
            if known is not None:
                return known.language
        return "en"

    async def _tell_away(self) -> None:
        """Say once that the database is: this process alone knows, and only as long as it lives."""
        now = datetime.now(UTC)
        self._away = self._away or Alert("database", {}, now, None, None)
        if self._away_message is None and now - self._away.began_at >= LONGEST_AWAY:
            self._away_message = await _dared(self._teller.say(self._teller.words(self._language, [self._away])))

    async def _tell_return(self) -> None:
        away, message_id = self._away, self._away_message
        self._away = self._away_message = None
        if away is not None and message_id is not None:
            over = replace(away, over_at=datetime.now(UTC))
            await _dared(self._teller.edit(message_id, self._teller.words(self._language, [over])))


def troubles(measured: Measures, staff: Staff, pause: SalesPause | None) -> dict[str, Facts]:
    """What is wrong with the shop, by name, with what its words are filled in with."""
    found = _troubles_of_providers(measured, staff)
    violated = sorted(check for check, violations in measured.violations.items() if violations)
    if violated:
        found["books"] = {"violations": sum(measured.violations.values()), "checks": _listed(violated)}
    if measured.audited_at is not None and measured.at - measured.audited_at > OLDEST_AUDIT:
        found["audit"] = {"minutes": int((measured.at - measured.audited_at).total_seconds() // 60)}
    if measured.updates_oldest_seconds > LONGEST_WAIT_SECONDS:
        found["inbox"] = {"minutes": int(measured.updates_oldest_seconds // 60), "waiting": measured.updates}
    if measured.oldest_due_seconds > LONGEST_WAIT_SECONDS:
        found["queue"] = {"minutes": int(measured.oldest_due_seconds // 60), "due": measured.jobs["due"]}
    if measured.outbox_oldest_seconds > LONGEST_WAIT_SECONDS:
        found["messages"] = {"minutes": int(measured.outbox_oldest_seconds // 60), "waiting": measured.outbox}
    if measured.dead_updates_of_day:
        found["updates"] = {"dead": measured.dead_updates_of_day}
    # A shop that is younger than its first backup may be has nothing to prove yet.
    proved_at = measured.backup_verified_at or staff.first_order_at
    if proved_at is not None and measured.at - proved_at > OLDEST_BACKUP:
        found["backup"] = {"days": (measured.at - proved_at).days}
    if pause is not None:
        found["paused"] = {"by": pause.paused_by, "reason": pause.reason[:WHY_CHARACTERS]}
    waits = measured.jobs["due"] > 0 if staff.worker_seen_at is None else True
    if waits and (staff.worker_seen_at is None or measured.at - staff.worker_seen_at > SILENCE):
        found["workers"] = {"waiting": measured.jobs["due"]}
    return found


def _troubles_of_providers(measured: Measures, staff: Staff) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    locked = [circuit for circuit in measured.circuits if circuit.scope == "key"]
    if locked:
        found["keys"] = {"keys": _listed([one.subject for one in locked]), "why": locked[0].why[:WHY_CHARACTERS]}
    low = [f"{label} ${left:.2f}" for label, left in staff.balances_usd.items() if left < LOW_BALANCE_USD]
    if low:
        found["balance"] = {"keys": _listed(low)}
    lost = sum(provider.ambiguous for provider in measured.providers)
    if lost >= LOST_ANSWERS and measured.ambiguous_share > LOST_SHARE:
        found["answers"] = {"lost": lost, "submits": sum(provider.submits for provider in measured.providers)}
    orphans_usd = sum(provider.orphans_usd for provider in measured.providers)
    if orphans_usd > ORPHANS_USD:
        found["orphans"] = {"cost": f"${orphans_usd:.2f}"}
    return found


def troubles_here(skew_seconds: float, disk_used: float | None) -> dict[str, Facts]:
    """What is wrong with this machine, in the same form."""
    found: dict[str, Facts] = {}
    if abs(skew_seconds) > LONGEST_SKEW_SECONDS:
        found["clock"] = {"seconds": round(abs(skew_seconds))}
    if disk_used is not None and disk_used > FULL_RATIO:
        found["disk"] = {"percent": int(disk_used * 100)}
    return found


def plan(board: Board, found: Sequence[Alert], words: str, *, now: datetime) -> Plan:
    """What to do about the message, when these troubles are there or over and it would say these words."""
    going_on = [alert for alert in found if alert.over_at is None]
    silent_for = now - board.sent_at if board.sent_at is not None else REMINDER
    unheard = any(alert.told_at is None and now - alert.began_at >= PERSISTS for alert in going_on)
    heard = any(alert.told_at is not None for alert in going_on)
    if (unheard and silent_for >= QUIET) or (heard and silent_for >= REMINDER):
        return Plan.SAY
    if found and board.message_id is not None and board.words != words:
        return Plan.EDIT
    return Plan.NOTHING


async def _record(
    tx: Transaction, board: Board, found: Sequence[Alert], message_id: int | None, words: str, *, heard: bool
) -> None:
    """Write down what was told, and let others tell. When all is over for good the next trouble has a new message."""
    now = await generations.clock(tx)
    over = [alert for alert in found if alert.over_at is not None]
    for_good = len(over) == len(found) and all(now - alert.over_at >= SETTLES for alert in over if alert.over_at)
    await alerts.told(tx, board, message_id=None if for_good else message_id, words=words, heard=heard)
    if heard or for_good:
        await alerts.forget(tx, [alert.name for alert in over])
    await alerts.rest(tx, board, seconds=0)


async def _dared(saying: Awaitable[Result]) -> Result | None:
    """What comes of it; None when the chat does not take it now."""
    try:
        return await saying
    except (Failure, Unreachable) as trouble:
        log.warning("alerts_not_told", trouble=str(trouble))
        return None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_KEYS])
    return f"{shown}, …" if len(names) > SHOWN_KEYS else shown

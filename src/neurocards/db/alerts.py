"""Troubles of the shop as its operators' chat knows them, and the lease of whoever tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from neurocards.db.connection import Transaction
from neurocards.db.provider_keys import SEEN_MINUTES
from neurocards.domain.bills import usd

Facts = Mapping[str, str | int]
"""What the words about a trouble are filled in with."""


@dataclass(frozen=True)
class Alert:
    """A trouble: `told_at` is when a message that people hear of named it first, `over_at` when it was gone again."""

    name: str
    facts: Facts
    began_at: datetime
    told_at: datetime | None
    over_at: datetime | None


@dataclass(frozen=True)
class Board:
    """The message in which troubles stand now, if there is one, and the number of our right to change it."""

    lease_number: int
    message_id: int | None
    words: str
    sent_at: datetime | None


@dataclass(frozen=True)
class Staff:
    """Who works and on what: when a worker last said that it is there, and what is left on each key in US dollars.

    `first_order_at` is when there began to be something to lose.
    """

    worker_seen_at: datetime | None
    balances_usd: Mapping[str, float]
    first_order_at: datetime | None


async def staff(tx: Transaction) -> Staff:
    """What the measures of the shop do not tell."""
    cursor = await tx.execute(
        "select (select max(seen_at) from provider_keys), (select placed_at from orders order by number limit 1)"
    )
    row = await cursor.fetchone()
    seen_at, first_order_at = row if row is not None else (None, None)
    cursor = await tx.execute(
        """
        select k.label, k.provider, b.units
          from provider_keys k
          join lateral (select units::double precision from balances
                         where label = k.label order by taken_at desc, id desc limit 1) b on true
         where k.seen_at > (select max(seen_at) from provider_keys) - make_interval(mins => %s)
         order by k.label
        """,
        [SEEN_MINUTES],
    )
    worth = {label: usd(provider, units) for label, provider, units in await cursor.fetchall()}
    return Staff(seen_at, {label: left for label, left in worth.items() if left is not None}, first_order_at)


async def claim(tx: Transaction, *, lease_seconds: float) -> Board | None:
    """The right to tell, for a while; None when another process has it."""
    cursor = tx.cursor(row_factory=class_row(Board))
    await cursor.execute(
        """
        update alert_board
           set lease_number = lease_number + 1, lease_expires_at = clock_now() + make_interval(secs => %s)
         where lease_expires_at <= clock_now()
        returning lease_number, message_id, words, sent_at
        """,
        [lease_seconds],
    )
    return await cursor.fetchone()


async def rest(tx: Transaction, board: Board, *, seconds: float) -> bool:
    """Nobody tells anything for so long, and then whoever comes first. False when the right was not ours any more."""
    cursor = await tx.execute(
        "update alert_board set lease_expires_at = clock_now() + make_interval(secs => %s) where lease_number = %s",
        [seconds, board.lease_number],
    )
    return cursor.rowcount == 1


async def read(tx: Transaction) -> Sequence[Alert]:
    """All that goes on, and all that is over and stands on the board; the oldest first."""
    cursor = tx.cursor(row_factory=class_row(Alert))
    await cursor.execute("select name, facts, began_at, told_at, over_at from alerts order by began_at, name")
    return await cursor.fetchall()


async def begin(tx: Transaction, name: str, facts: Facts, *, settles: timedelta = timedelta(0)) -> None:
    """A trouble is there: it begins, goes on with these facts, or is back.

    Back before it was over for as long as `settles`, it has gone on all the time; later it is a new one.
    """
    await tx.execute(
        """
        insert into alerts (name, facts) values (%(name)s, %(facts)s)
        on conflict (name) do update
           set facts = excluded.facts, over_at = null,
               began_at = case when alerts.over_at <= clock_now() - %(settles)s then clock_now()
                               else alerts.began_at end,
               told_at = case when alerts.over_at <= clock_now() - %(settles)s then null else alerts.told_at end
        """,
        {"name": name, "facts": Jsonb(dict(facts)), "settles": settles},
    )


async def end(tx: Transaction, name: str) -> None:
    """A trouble is over."""
    await tx.execute("update alerts set over_at = clock_now() where name = %s and over_at is null", [name])


async def told(tx: Transaction, board: Board, *, message_id: int | None, words: str, heard: bool) -> None:
    """The board says this now, in this message; None when the next trouble is to begin a new one.

    `heard` is whether it was a new message: it named all that goes on, and what is over has been told.
    """
    await tx.execute(
        "update alert_board set message_id = %(message)s, words = %(words)s,"
        " sent_at = case when %(heard)s then clock_now() else sent_at end where lease_number = %(number)s",
        {"message": message_id, "words": words, "heard": heard, "number": board.lease_number},
    )
    if heard:
        await tx.execute("update alerts set told_at = coalesce(told_at, clock_now()) where over_at is null")


async def forget(tx: Transaction, names: Sequence[str]) -> None:
    """These are over, and that was told."""
    await tx.execute("delete from alerts where name = any(%s) and over_at is not null", [list(names)])

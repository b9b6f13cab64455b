"""The bills of the last days, read from balances and attempts."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from psycopg.rows import class_row, kwargs_row

from neurocards.db import generations
from neurocards.db.connection import Transaction
from neurocards.domain.bills import SETTLING, USD_PER_UNIT, Bill, Charge, Reading, day_bill, usd
from neurocards.domain.generations import AttemptState

__all__ = ["Bill", "read", "usd"]

LONGEST_ATTEMPT = timedelta(days=7)
"""An attempt that began earlier than so long before a time has nothing to do with it: orders have deadlines."""


async def read(tx: Transaction, *, days: int) -> list[Bill]:
    """The bills of so many days (UTC), today's as far as it has come: by key and day, days without anything left out.

    A day begins with the last balance of the day before, so that no minute falls between two days.
    """
    today = (await generations.clock(tx)).astimezone(UTC).date()
    starts = [datetime.combine(today - timedelta(days=ago), time(), UTC) for ago in range(days - 1, -1, -1)]
    cursor = await tx.execute("select label, provider from provider_keys order by provider, label")
    found = []
    for label, provider in await cursor.fetchall():
        readings = await _readings(tx, label, since=starts[0])
        charges = await _charges(tx, label, provider, since=readings[0].at if readings else starts[0])
        for start in starts:
            end = start + timedelta(days=1)
            todays = [reading for reading in readings if start <= reading.at < end]
            before = [reading for reading in readings if reading.at < start]
            bill = day_bill(
                label,
                provider,
                start.date(),
                readings=[*before[-1:], *todays] if todays else [],
                charges=charges,
                day_end=end,
            )
            if bill.fell is not None or bill.videos:
                found.append(bill)
    return found


async def _readings(tx: Transaction, label: str, *, since: datetime) -> Sequence[Reading]:
    """What was left on a key, from the last balance before that time on."""
    cursor = tx.cursor(row_factory=class_row(Reading))
    await cursor.execute(
        """
        select taken_at as at, units::double precision from balances
         where label = %(label)s and taken_at >= coalesce(
                   (select max(taken_at) from balances where label = %(label)s and taken_at < %(since)s), %(since)s)
         order by taken_at, id
        """,
        {"label": label, "since": since},
    )
    return await cursor.fetchall()


async def _charges(tx: Transaction, label: str, provider: str, *, since: datetime) -> list[Charge]:
    """The key's attempts that may have moved its balance after that time."""
    cursor = tx.cursor(row_factory=kwargs_row(_charge))
    await cursor.execute(
        """
        select o.number as order_number, g.ordinal, a.number, a.state, a.created_at, a.accepted_at, a.ended_at,
               a.cost_units::double precision as units,
               coalesce(a.cost_usd::double precision / %(usd)s, 0) as list_units
          from attempts a
          join generations g on g.id = a.generation_id
          join orders o on o.id = g.order_id
         where a.key = %(label)s and a.state <> 'refused' and a.created_at > %(since)s - %(longest)s
           and (a.ended_at is null or a.ended_at > %(since)s - %(settling)s)
         order by a.created_at, a.id
        """,
        {
            "label": label,
            "since": since,
            "usd": USD_PER_UNIT.get(provider),
            "longest": LONGEST_ATTEMPT,
            "settling": SETTLING * 2,
        },
    )
    return await cursor.fetchall()


def _charge(**columns: Any) -> Charge:  # Any: a row, typed by the columns selected above
    return Charge(**{**columns, "state": AttemptState(columns["state"])})

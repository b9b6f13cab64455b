"""Keys of providers and how fast all workers together may use each: kept here, so that nobody submits too much.

An attempt's intent is what counts against a key, written in the transaction that is told to go ahead. Who has to wait
is given a turn of their own, so that a thousand who wait do not ask all at once.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from neurocards.db.connection import Transaction

SEEN_MINUTES = 15
"""A key that no worker has named for so long is not there any more; workers name theirs twice a minute."""

MOST_WINDOWS = 3
"""Turns are given no further ahead: those before may give up theirs, and then nobody should wait for nothing."""

MOST_UNITS = 1e9
"""More money of its own than any provider would keep for us, or charge for a video."""

FORGOTTEN_MINUTES = 15
"""How long a task that nobody waits for any more still counts as being made."""


@dataclass(frozen=True)
class Pace:
    """What one key allows: so many submits within any `window_seconds`, so many tasks at once.

    `slack_seconds` is how much later than its intent a request may reach the provider: the window is kept longer by it.
    """

    submits: int
    window_seconds: float
    slack_seconds: float
    in_flight: int


@dataclass(frozen=True)
class GoAhead:
    """Submit now, with this key."""

    label: str


@dataclass(frozen=True)
class TakeTurn:
    """Every key is as busy as it may be: ask again `seconds` from now."""

    seconds: float


async def register(tx: Transaction, provider: str, labels: Sequence[str]) -> None:
    """A worker has these keys."""
    await tx.execute(
        "insert into provider_keys (label, provider) select unnest(%s::text[]), %s"
        " on conflict (label) do update set seen_at = clock_now()",
        [sorted(labels), provider],
    )


async def admit(tx: Transaction, labels: Sequence[str], pace: Pace) -> GoAhead | TakeTurn:
    """Whether one more task may be submitted with one of these keys: the one with most room that does not rest.

    What the provider refused counts like what it took; what never reached it does not.

    Whoever is told to go ahead must write the attempt's intent in this very transaction: until it ends, nobody else is
    told anything about these keys.
    """
    await tx.execute(
        "select 1 from provider_keys where label = any(%s) order by label for no key update", [list(labels)]
    )
    cursor = await tx.execute(
        """
        select label
          from unnest(%(labels)s::text[]) label
          cross join lateral (
              select count(*) as submits from attempts
               where key = label
                 -- Asked for once, not row by row: only so the index serves it.
                 and created_at > (select clock_moment() - make_interval(secs => %(window)s))
                 and not (state = 'refused' and failure ~ '^(outage/|rate_limited/internal)')) lately
          cross join lateral (
              select count(*) as tasks from attempts
               where key = label and state in ('intent', 'unknown', 'accepted')) made
          cross join lateral (
              select count(*) as tasks from attempts
               where key = label and state in ('abandoned', 'orphaned')
                 and created_at > (select clock_moment() - make_interval(mins => %(forgotten)s))) forgotten
          left join provider_keys k using (label)
         where coalesce(k.rests_until <= clock_moment(), true)
           and lately.submits < %(submits)s and made.tasks + forgotten.tasks < %(in_flight)s
         order by lately.submits, made.tasks, label
         limit 1
        """,
        {
            "labels": list(labels),
            "window": pace.window_seconds + pace.slack_seconds,
            "forgotten": FORGOTTEN_MINUTES,
            "submits": pace.submits,
            "in_flight": pace.in_flight,
        },
    )
    row = await cursor.fetchone()
    return GoAhead(row[0]) if row else TakeTurn(await _next_turn(tx, labels, pace))


async def _next_turn(tx: Transaction, labels: Sequence[str], pace: Pace) -> float:
    """Seconds until the turn of one more who waits: turns come as fast as the keys allow, one behind the other."""
    cursor = await tx.execute(
        """
        with soonest as (
            select label from provider_keys where label = any(%(labels)s) order by next_turn, label limit 1
        )
        update provider_keys k
           set next_turn = least(greatest(next_turn, rests_until, clock_moment()) + make_interval(secs => %(step)s),
                                 greatest(rests_until, clock_moment()) + make_interval(secs => %(most)s))
          from soonest where k.label = soonest.label
        returning extract(epoch from next_turn - clock_now()),
                  next_turn >= greatest(rests_until, clock_moment()) + make_interval(secs => %(most)s - %(step)s)
        """,
        {
            "labels": list(labels),
            "step": (pace.window_seconds + pace.slack_seconds) / pace.submits,
            "most": MOST_WINDOWS * pace.window_seconds,
        },
    )
    row = await cursor.fetchone()
    if row is None:
        return pace.window_seconds
    # Those behind the last turn there is come back spread out.
    seconds, is_last = float(row[0]), bool(row[1])
    return seconds + random.uniform(0, pace.window_seconds) if is_last else seconds  # noqa: S311 (no secret)


async def rest(tx: Transaction, label: str, *, seconds: float) -> None:
    """The provider wants nothing from this key for so long: nobody submits with it meanwhile."""
    await tx.execute(
        "update provider_keys set rests_until = greatest(rests_until, clock_moment() + make_interval(secs => %s))"
        " where label = %s",
        [seconds, label],
    )


async def longest_wait(tx: Transaction, labels: Sequence[str]) -> float:
    """In how many seconds the last one who waits for these keys will try again; 0 when nobody waits."""
    cursor = await tx.execute(
        "select greatest(0, extract(epoch from min(next_turn) - clock_now())) from provider_keys"
        " where label = any(%s) and isfinite(next_turn)",
        [list(labels)],
    )
    row = await cursor.fetchone()
    return float(row[0]) if row and row[0] is not None else 0.0


async def unweighed(tx: Transaction, labels: Sequence[str], *, older_than_seconds: float) -> list[str]:
    """Those of the keys whose balance nobody has asked for so long."""
    cursor = await tx.execute(
        """
        select label from provider_keys k
         where label = any(%s)
           and not exists (select from balances b
                            where b.label = k.label and b.taken_at > clock_now() - make_interval(secs => %s))
         order by label
        """,
        [list(labels), older_than_seconds],
    )
    return [label for (label,) in await cursor.fetchall()]


async def record_balance(tx: Transaction, label: str, units: float) -> None:
    """Remember what is left on a key, in the provider's own money; what no account can hold is no balance."""
    if abs(units) >= MOST_UNITS:
        return
    await tx.execute("insert into balances (label, units) values (%s, %s)", [label, units])

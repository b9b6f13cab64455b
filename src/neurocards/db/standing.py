"""How providers, keys and models stand at this moment, for the people who run the shop."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg.rows import class_row

from neurocards.db import circuits, generations
from neurocards.db.connection import Transaction
from neurocards.db.models import checks
from neurocards.db.provider_keys import FORGOTTEN_MINUTES, SEEN_MINUTES
from neurocards.domain.bills import usd
from neurocards.domain.catalogue import Model
from neurocards.domain.circuits import Circuit

WINDOW_SECONDS = 10
"""The window in which providers count submits."""

SHOWN_HOURS = 24
"""A key that no worker has named for so long is not shown any more."""

VIDEO_SECONDS = 10
"""The length whose price models are compared by."""


@dataclass(frozen=True)
class LeftAlone:
    """Nobody tries it until then; afterwards one does for all, and what that brings decides."""

    until: datetime
    is_over: bool
    why: str


@dataclass(frozen=True)
class ProviderStanding:
    """A provider that failed since it last succeeded."""

    provider: str
    failures: int
    left_alone: LeftAlone | None


@dataclass(frozen=True)
class KeyStanding:
    """A key: when a worker last named it, what was left on it and when, how busy it is, until when it rests."""

    label: str
    provider: str
    seen_at: datetime
    balance_units: float | None
    balance_usd: float | None
    weighed_at: datetime | None
    submits: int
    in_flight: int
    rests_until: datetime | None
    left_alone: LeftAlone | None


@dataclass(frozen=True)
class ModelStanding:
    """A model: what its provider says of it, how it fared, what a video of `cost_seconds` costs, how many it made."""

    title: str
    id: str
    provider: str
    has_key: bool
    listed: bool | None
    price: str | None
    checked_at: datetime | None
    success_rate: float | None
    own_rate: float | None
    cost_usd: float
    cost_seconds: int
    retires: date | None
    is_retired: bool
    videos: int
    left_alone: LeftAlone | None


@dataclass(frozen=True)
class Standing:
    """All of it, as of one moment."""

    at: datetime
    providers: Sequence[ProviderStanding]
    keys: Sequence[KeyStanding]
    models: Sequence[ModelStanding]


async def read(tx: Transaction, models: Iterable[Model]) -> Standing:
    """How everything stands: keys that some worker named lately, and all models of the catalogue."""
    now = await generations.clock(tx)
    known = await circuits.read(tx)
    keys = await _keys(tx, known, now)
    served = {key.provider for key in keys if key.seen_at > now - timedelta(minutes=SEEN_MINUTES)}
    return Standing(
        at=now,
        providers=[
            ProviderStanding(name.removeprefix("provider "), circuit.failures, _left_alone(circuit, now))
            for name, circuit in sorted(known.items())
            if name.startswith("provider ")
        ],
        keys=keys,
        models=await _models(tx, models, served, known, now),
    )


@dataclass(frozen=True)
class _Key:
    label: str
    provider: str
    seen_at: datetime
    units: float | None
    taken_at: datetime | None
    submits: int
    in_flight: int
    rests_until: datetime | None


async def _keys(tx: Transaction, known: Mapping[str, Circuit], now: datetime) -> list[KeyStanding]:
    cursor = tx.cursor(row_factory=class_row(_Key))
    await cursor.execute(
        """
        select k.label, k.provider, k.seen_at, b.units, b.taken_at,
               (select count(*) from attempts a
                 where a.key = k.label and not (a.state = 'refused' and a.failure ~ %(not_sent)s)
                   and a.created_at > (select clock_moment() - make_interval(secs => %(window)s))) as submits,
               (select count(*) from attempts a
                 where a.key = k.label and a.state in ('intent', 'unknown', 'accepted'))
               + (select count(*) from attempts a
                   where a.key = k.label and a.state in ('abandoned', 'orphaned')
                     and a.created_at > (select clock_moment() - make_interval(mins => %(forgotten)s))) as in_flight,
               case when k.rests_until > clock_moment() then k.rests_until end as rests_until
          from provider_keys k
          left join lateral (select units::double precision, taken_at from balances
                              where label = k.label order by taken_at desc, id desc limit 1) b on true
         where k.seen_at > clock_now() - make_interval(hours => %(shown)s)
         order by k.provider desc, k.label
        """,
        {
            "window": WINDOW_SECONDS,
            "forgotten": FORGOTTEN_MINUTES,
            "shown": SHOWN_HOURS,
            # Counted as the pace counts them: what never reached the provider is none.
            "not_sent": "^(outage/|rate_limited/internal)",
        },
    )
    return [
        KeyStanding(
            label=key.label,
            provider=key.provider,
            seen_at=key.seen_at,
            balance_units=key.units,
            balance_usd=None if key.units is None else usd(key.provider, key.units),
            weighed_at=key.taken_at,
            submits=key.submits,
            in_flight=key.in_flight,
            rests_until=key.rests_until,
            left_alone=_left_alone(known.get(f"key {key.label}"), now),
        )
        for key in await cursor.fetchall()
    ]


async def _models(
    tx: Transaction, models: Iterable[Model], served: set[str], known: Mapping[str, Circuit], now: datetime
) -> list[ModelStanding]:
    """Those that can be asked first, retired ones last."""
    told = await checks(tx)
    made = await _made(tx)
    found = []
    for model in models:
        check = told.get(model.id)
        seconds = min(model.seconds_allowed, key=lambda allowed: abs(allowed - VIDEO_SECONDS))
        found.append(
            ModelStanding(
                title=model.title,
                id=model.id,
                provider=model.provider,
                # As in routing: as long as no worker has named a key, all are taken to be served.
                has_key=not served or model.provider in served,
                listed=check.listed if check else None,
                price=check.price if check else None,
                checked_at=check.checked_at if check else None,
                success_rate=check.success_rate if check else None,
                own_rate=check.own_rate if check else None,
                cost_usd=round(model.cost.usd(seconds), 4),
                cost_seconds=seconds,
                retires=model.retires,
                is_retired=model.is_retired(now.date()),
                videos=made.get(model.id, 0),
                left_alone=_left_alone(known.get(f"model {model.id}"), now),
            )
        )
    return sorted(found, key=lambda one: (one.is_retired, not one.has_key, one.provider != "kie", one.cost_usd, one.id))


async def _made(tx: Transaction) -> dict[str, int]:
    """How many videos each model made within a day."""
    cursor = await tx.execute(
        "select model, count(*) from attempts where state = 'succeeded'"
        " and ended_at > clock_now() - interval '1 day' group by model"
    )
    return dict(await cursor.fetchall())


def _left_alone(circuit: Circuit | None, now: datetime) -> LeftAlone | None:
    if circuit is None or circuit.open_until is None:
        return None
    return LeftAlone(circuit.open_until, not circuit.is_open(now), circuit.why)

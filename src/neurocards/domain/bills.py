"""What a provider took from a key, compared with what our attempts account for.

A provider takes the price of a task when it accepts it, and gives it back when the task fails. Balances are read every
few minutes, so a task that is being made at the time of a reading may be in it or not: what such tasks may have moved
is told apart from what nothing explains. Amounts are in the provider's own units unless they say USD.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from neurocards.domain.generations import AttemptState

USD_PER_UNIT: Mapping[str, float] = {"kie": 0.005}
"""What a unit is worth. fal's are not money: each model has units of its own price."""

CENT_USD = 0.01
"""A bill may differ by so much and is still right."""

READING = timedelta(seconds=15)
"""How much older than its time a balance may be: so long its answer may have been under way."""

SETTLING = timedelta(minutes=15)
"""For so long a task that we gave up may still be charged for, or paid back."""

DECIMALS = 4
"""Of the amounts on record; rounding to them takes away what adding binary fractions leaves."""


@dataclass(frozen=True)
class Reading:
    """What was left on a key."""

    at: datetime
    units: float


@dataclass(frozen=True)
class Charge:
    """An attempt as the bill sees it. `units` is what the provider says it charged, `list_units` its price list."""

    order_number: int
    ordinal: int
    number: int
    state: AttemptState
    created_at: datetime
    accepted_at: datetime | None
    ended_at: datetime | None
    units: float | None
    list_units: float

    @property
    def may_cost(self) -> float:
        """The most that it has cost."""
        return self.list_units if self.units is None else self.units


@dataclass(frozen=True)
class TopUp:
    """The balance rose: by about so much, since what our attempts took meanwhile is added."""

    at: datetime
    units: float


@dataclass(frozen=True)
class Bill:
    """One key's day. Without two balances, and where units are not money, it has our own count alone.

    `fell` is what was taken between the first and the last reading, top-ups not counted; `counted` what our attempts
    that ended meanwhile were charged, and `videos` how many of them. By `explained_low` to `explained_high` the
    attempts in `doubtful` may have moved the balance beside that.
    """

    label: str
    provider: str
    day: date
    since: datetime | None
    until: datetime | None
    fell: float | None
    counted: float
    videos: int
    top_ups: tuple[TopUp, ...] = ()
    explained_low: float = 0.0
    explained_high: float = 0.0
    doubtful: tuple[Charge, ...] = ()

    @property
    def difference(self) -> float | None:
        """What was taken beyond our count; negative where less was taken."""
        return None if self.fell is None else _rounded(self.fell - self.counted)

    @property
    def unexplained(self) -> float:
        """The part of the difference that no attempt explains."""
        difference = self.difference
        if difference is None:
            return 0.0
        return _rounded(difference - min(max(difference, self.explained_low), self.explained_high))

    @property
    def is_alarming(self) -> bool:
        """Whether more than a cent is unexplained."""
        unexplained_usd = usd(self.provider, self.unexplained)
        return unexplained_usd is not None and round(abs(unexplained_usd), 6) > CENT_USD


def usd(provider: str, units: float) -> float | None:
    """What so many units are worth; None where units are not money."""
    rate = USD_PER_UNIT.get(provider)
    return None if rate is None else units * rate


def cost_usd(provider: str, *, units: float | None, list_usd: float | None) -> float | None:
    """What a try cost when it was paid: by the provider's word, else by its price list; None when neither is known."""
    charged = None if units is None else usd(provider, units)
    return list_usd if charged is None else charged


def is_paid(state: AttemptState, *, units: float | None) -> bool:
    """Whether a task was made of a try and not given back: one whose video was unusable was charged all the same."""
    return units is not None or state in (AttemptState.ACCEPTED, AttemptState.SUCCEEDED, AttemptState.ORPHANED)


def may_be_paid(state: AttemptState) -> bool:
    """Whether nobody knows if there was a task."""
    return state in (AttemptState.INTENT, AttemptState.UNKNOWN, AttemptState.ABANDONED)


def day_bill(
    label: str, provider: str, day: date, *, readings: Sequence[Reading], charges: Sequence[Charge], day_end: datetime
) -> Bill:
    """One key's day. `readings` are in the order of their time, the first one may be the last of the day before.

    `charges` are the key's attempts that reach into the time; more of them do no harm.
    """
    if len(readings) < 2 or provider not in USD_PER_UNIT:
        counted = _ended(charges, day_end - timedelta(days=1), day_end)
        return Bill(label, provider, day, None, None, None, _sum(counted), len(counted))
    first, last = readings[0], readings[-1]
    counted = _ended(charges, first.at, last.at)
    pieces = [(readings[later - 1], readings[later]) for later in range(1, len(readings))]
    top_ups = tuple(
        TopUp(later.at, _rounded(later.units - earlier.units + _sum(_ended(charges, earlier.at, later.at))))
        for earlier, later in pieces
        if _is_top_up(earlier, later, charges)
    )
    low, high, doubtful = 0.0, 0.0, dict[Charge, None]()
    for since, until in _runs(pieces, {top_up.at for top_up in top_ups}):
        for charge in charges:
            least, most = _beside_count(charge, since, until)
            if (least, most) != (0.0, 0.0):
                low, high = low + least, high + most
                doubtful[charge] = None
    return Bill(
        label,
        provider,
        day,
        first.at,
        last.at,
        _rounded(first.units - last.units + sum(top_up.units for top_up in top_ups)),
        _sum(counted),
        len(counted),
        top_ups,
        _rounded(low),
        _rounded(high),
        tuple(doubtful),
    )


def _ended(charges: Iterable[Charge], since: datetime, until: datetime) -> list[Charge]:
    """Those that were charged for and ended in the time."""
    return [
        charge
        for charge in charges
        if charge.units is not None and charge.ended_at is not None and since < charge.ended_at <= until
    ]


def _is_top_up(earlier: Reading, later: Reading, charges: Iterable[Charge]) -> bool:
    """Whether the balance rose by more than what failed tasks have brought back."""
    rise = _rounded(later.units - earlier.units)
    if rise <= 0:
        return False
    brought_back = -sum(min(0.0, _effect(charge, earlier.at, later.at)[0]) for charge in charges)
    return rise > _rounded(brought_back)


def _runs(pieces: Sequence[tuple[Reading, Reading]], risen: set[datetime]) -> list[tuple[datetime, datetime]]:
    """The times between top-ups. What was taken while a balance was topped up nobody can tell."""
    runs: list[tuple[datetime, datetime]] = []
    for earlier, later in pieces:
        if later.at in risen:
            continue
        if runs and runs[-1][1] == earlier.at:
            runs[-1] = (runs[-1][0], later.at)
        else:
            runs.append((earlier.at, later.at))
    return runs


def _beside_count(charge: Charge, since: datetime, until: datetime) -> tuple[float, float]:
    """By how much a balance may have fallen for it beside what is counted: at least, at most.

    Nothing is always possible: a price may as well be taken when a task ends, which is when we count it.
    """
    least, most = _effect(charge, since, until)
    counted = _sum(_ended([charge], since, until))
    return min(0.0, _rounded(least - counted)), max(0.0, _rounded(most - counted))


def _effect(charge: Charge, since: datetime, until: datetime) -> tuple[float, float]:
    """By how much a balance fell for it between two readings: at least, at most."""
    given_up = charge.state in (AttemptState.ABANDONED, AttemptState.ORPHANED) and charge.units is None
    if given_up and charge.ended_at is not None and charge.ended_at + SETTLING <= since - READING:
        return 0.0, 0.0
    before, after = _taken(charge, since), _taken(charge, until)
    return after[0] - before[1], after[1] - before[0]


def _taken(charge: Charge, moment: datetime) -> tuple[float, float]:
    """How much of it a balance of that moment lacks: at least, at most."""
    surely_seen = moment - READING
    if charge.created_at > moment or charge.state is AttemptState.REFUSED:
        return 0.0, 0.0
    if charge.units is not None:
        was_taken = charge.accepted_at is not None and charge.accepted_at <= surely_seen
        return (charge.units if was_taken else 0.0), charge.units
    if charge.state is AttemptState.FAILED and charge.ended_at is not None and charge.ended_at <= surely_seen:
        return 0.0, 0.0
    return 0.0, charge.list_units


def _sum(charges: Iterable[Charge]) -> float:
    return _rounded(sum(charge.units or 0.0 for charge in charges))


def _rounded(units: float) -> float:
    return round(units, DECIMALS) + 0.0

"""Who makes a video: the model that was ordered while it can, else the next best; every choice says why.

Facts in, a decision out: what each model can do, how it and its provider have fared, who has failed this very video.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from neurocards.domain.catalogue import Model, Wants
from neurocards.domain.failures import FailureKind
from neurocards.domain.generations import Attempt

FAILURES_PER_MODEL = 2
"""After so many failed tries a model makes room for another, if there is one."""

UNLISTED_PAUSE = timedelta(minutes=10)
"""How long a model that its provider does not list is left alone: a list may be cut short, and is looked at again."""

POOR_SUCCESS = 0.5
"""Of a model that fails half of its tasks nobody orders while another can do it."""


@dataclass(frozen=True)
class Request:
    """What has to be made. `price_credits` is what one video was sold at."""

    wants: Wants
    seconds: int
    price_credits: int


@dataclass(frozen=True)
class Condition:
    """How a model fares: until when it, its provider or all keys are left alone and why; its share of successes.

    `served` is whether somebody here has a key for its provider; `listed` whether the provider still offers it.
    """

    served: bool = True
    listed: bool = True
    open_until: datetime | None = None
    why: str = ""
    success_rate: float | None = None

    def is_shut(self, now: datetime) -> bool:
        """Whether nobody should ask it now."""
        return self.shut_until(now) > now

    def shut_until(self, now: datetime) -> datetime:
        """Until when nobody should; what a provider does not list may be back at the next look."""
        unlisted_until = now if self.listed else now + UNLISTED_PAUSE
        return max(now, unlisted_until, self.open_until or now)


@dataclass(frozen=True)
class Choice:
    """Ask this model. `reason` is for the record: why it, and why not the one that was ordered."""

    model: Model
    reason: str


@dataclass(frozen=True)
class Wait:
    """Everybody who could make it is left alone until then."""

    until: datetime
    reason: str


@dataclass(frozen=True)
class Nobody:
    """No model can make it: not now, and not later."""


Route = Choice | Wait | Nobody


def route(
    models: Iterable[Model],
    request: Request,
    *,
    ordered: str | None,
    conditions: Mapping[str, Condition],
    attempts: Sequence[Attempt] = (),
    now: datetime,
) -> Route:
    """Choose who makes a video. `ordered` is preferred; `attempts` are the tries at this very video so far."""
    able = [
        model
        for model in models
        if _can_make(model, request, now.date()) and conditions[model.id].served and not _has_refused(model, attempts)
    ]
    ready = [model for model in able if not conditions[model.id].is_shut(now)]
    if ready:
        best = min(ready, key=lambda model: _rank(model, request, ordered, conditions, attempts))
        return Choice(
            best, _reason(best, request=request, ordered=ordered, conditions=conditions, attempts=attempts, now=now)
        )
    if able:
        soonest = min(able, key=lambda model: (conditions[model.id].shut_until(now), model.id))
        condition = conditions[soonest.id]
        return Wait(condition.shut_until(now), condition.why or "not listed any more")
    return Nobody()


def expected_usd(model: Model, seconds: int, success_rate: float | None) -> float:
    """What a video costs us, with the tries that fail paid by those that do not."""
    return model.cost.usd(seconds) / max(1.0 if success_rate is None else success_rate, 0.05)


def _can_make(model: Model, request: Request, today: date) -> bool:
    return (
        not model.is_retired(today)
        and request.seconds in model.seconds_allowed
        and model.can(request.wants)
        and model.price_credits <= request.price_credits
    )


def _has_refused(model: Model, attempts: Sequence[Attempt]) -> bool:
    return any(one.model == model.id and one.failure_kind == FailureKind.UNSUITED for one in attempts)


def _failures(model: Model, attempts: Sequence[Attempt]) -> int:
    """How often it has failed this video; refusals that cost time alone do not count."""
    return sum(one.model == model.id and one.failure_kind == FailureKind.TEMPORARY for one in attempts)


def _rank(
    model: Model,
    request: Request,
    ordered: str | None,
    conditions: Mapping[str, Condition],
    attempts: Sequence[Attempt],
) -> tuple[bool, bool, bool, float, str]:
    """The smaller the better: not worn out, not failing, as ordered, cheap."""
    rate = conditions[model.id].success_rate
    return (
        _failures(model, attempts) >= FAILURES_PER_MODEL,
        rate is not None and rate < POOR_SUCCESS,
        model.id != ordered,
        expected_usd(model, request.seconds, rate),
        model.id,
    )


def _reason(
    chosen: Model,
    *,
    request: Request,
    ordered: str | None,
    conditions: Mapping[str, Condition],
    attempts: Sequence[Attempt],
    now: datetime,
) -> str:
    price = f"${expected_usd(chosen, request.seconds, conditions[chosen.id].success_rate):.3f}"
    if ordered is None:
        return f"cheapest at {price}"
    if chosen.id == ordered:
        return "as ordered"
    return f"instead of {ordered} ({_why_not(ordered, conditions, attempts, now)}), at {price}"


def _why_not(ordered: str, conditions: Mapping[str, Condition], attempts: Sequence[Attempt], now: datetime) -> str:
    condition = conditions.get(ordered)
    of_it = [one for one in attempts if one.model == ordered]
    if any(one.failure_kind == FailureKind.UNSUITED for one in of_it):
        return "it refused"
    if sum(one.failure_kind == FailureKind.TEMPORARY for one in of_it) >= FAILURES_PER_MODEL:
        return "it failed again"
    if condition is None or not condition.served:
        return "not served here"
    if not condition.listed:
        return "not listed any more"
    if condition.is_shut(now):
        return f"left alone: {condition.why}"
    if condition.success_rate is not None and condition.success_rate < POOR_SUCCESS:
        return "it fails too often"
    return "retired, or it cannot make this"

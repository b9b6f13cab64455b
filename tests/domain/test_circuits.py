"""Circuits: what failed again and again is left alone, ever longer; a full account longer at once; limits never."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocards.domain.circuits import (
    ACCOUNT_PAUSE,
    LONGEST_PAUSE,
    MODEL_PAUSE,
    Circuit,
    after_failure,
    subject,
)
from neurocards.domain.failures import Failure, FailureKind, Reason, Scope

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
CLOSED = Circuit("provider kie", 0, None, "", None)


def failure(scope: Scope, kind: FailureKind = FailureKind.OUTAGE) -> Failure:
    return Failure(kind, Reason.PROVIDER, "it said no", scope=scope)


def pauses(scope: Scope, *, times: int, kind: FailureKind = FailureKind.OUTAGE) -> list[float | None]:
    """Seconds after each of so many failures in a row, each met by whoever tried first when the pause was over."""
    circuit, now, found = CLOSED, NOW, list[float | None]()
    for _ in range(times):
        circuit = after_failure(circuit, failure(scope, kind), now)
        found.append((circuit.open_until - now).total_seconds() if circuit.open_until else None)
        now = (circuit.open_until or now) + timedelta(seconds=1)
    return found


def test_three_failures_in_a_row_open_it_and_pauses_grow_from_10_to_120_seconds() -> None:
    assert pauses(Scope.PROVIDER, times=9) == [None, None, 10, 20, 40, 80, 120, 120, 120]


def test_the_longest_outage_has_a_longest_pause() -> None:
    circuit = after_failure(Circuit("provider kie", 10_000, None, "", None), failure(Scope.PROVIDER), NOW)
    assert circuit.open_until == NOW + LONGEST_PAUSE


def test_an_account_is_left_alone_for_five_minutes_at_once() -> None:
    assert pauses(Scope.KEY, times=3) == [300, 300, 300]
    assert timedelta(minutes=5) == ACCOUNT_PAUSE


def test_a_model_is_left_alone_for_ten_minutes() -> None:
    assert pauses(Scope.MODEL, times=2, kind=FailureKind.UNSUITED) == [600, 600]
    assert timedelta(minutes=10) == MODEL_PAUSE


def test_what_was_on_its_way_when_it_opened_met_the_same_trouble() -> None:
    circuit = CLOSED
    for number in range(50):
        circuit = after_failure(circuit, failure(Scope.PROVIDER), NOW + timedelta(seconds=number / 10))
    assert circuit.failures == 3
    assert circuit.open_until == NOW + timedelta(seconds=0.2 + 10)


@pytest.mark.parametrize("scope", Scope)
def test_a_rate_limit_opens_nothing(scope: Scope) -> None:
    assert pauses(scope, times=50, kind=FailureKind.RATE_LIMITED) == [None] * 50
    limited = after_failure(CLOSED, failure(scope, FailureKind.RATE_LIMITED), NOW)
    assert limited == CLOSED, "nor does it count"


@pytest.mark.parametrize(
    ("scope", "name"),
    [(Scope.ORDER, None), (Scope.MODEL, "model m"), (Scope.KEY, "key k"), (Scope.PROVIDER, "provider p")],
)
def test_a_failure_concerns_what_its_scope_names(scope: Scope, name: str | None) -> None:
    assert subject(scope, provider="p", key="k", model="m") == name


@given(
    st.lists(
        st.tuples(st.sampled_from(Scope), st.sampled_from(FailureKind), st.floats(0, 200)),
        max_size=30,
    )
)
def test_whatever_fails_a_circuit_is_never_open_for_longer_than_its_longest_pause(
    failures: list[tuple[Scope, FailureKind, float]],
) -> None:
    circuit, now = CLOSED, NOW
    for scope, kind, seconds in failures:
        now += timedelta(seconds=seconds)
        after = after_failure(circuit, failure(scope, kind), now)
        assert after.failures in (circuit.failures, circuit.failures + 1)
        assert after.open_until is None or after.open_until <= now + MODEL_PAUSE
        assert circuit.open_until is None or after.open_until is not None, "only a success closes it"
        circuit = after

"""P5: temporary errors are retried three times, rate limits and outages cost no attempt, permanent errors end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocards.domain.failures import MAX_ATTEMPTS, Failure, FailureKind, Reason, Refund, Retry, verdict


def failure(kind: FailureKind, retry_after: float | None = None) -> Failure:
    return Failure(kind, Reason.PROVIDER, "it said no", retry_after_seconds=retry_after)


@pytest.mark.parametrize(
    ("attempt", "decision"),
    [
        (1, Retry(2.0, spends_attempt=True)),
        (2, Retry(8.0, spends_attempt=True)),
        (3, Retry(32.0, spends_attempt=True)),
        (4, Refund(Reason.PROVIDER)),
    ],
)
def test_p5_a_temporary_failure_is_retried_three_times(attempt: int, decision: Retry | Refund) -> None:
    assert verdict(failure(FailureKind.TEMPORARY), attempt) == decision


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMITED, FailureKind.OUTAGE])
@pytest.mark.parametrize("attempt", range(1, MAX_ATTEMPTS + 1))
def test_p5_rate_limits_and_outages_cost_time_only(kind: FailureKind, attempt: int) -> None:
    decision = verdict(failure(kind, retry_after=17.0), attempt)
    assert decision == Retry(17.0, spends_attempt=False)


@pytest.mark.parametrize("attempt", range(1, MAX_ATTEMPTS + 1))
def test_p5_a_permanent_failure_ends_at_once(attempt: int) -> None:
    assert verdict(failure(FailureKind.PERMANENT), attempt) == Refund(Reason.PROVIDER)


@pytest.mark.parametrize("attempt", range(1, MAX_ATTEMPTS + 1))
def test_p5_what_befalls_everybody_costs_nobody_an_attempt(attempt: int) -> None:
    assert verdict(failure(FailureKind.TEMPORARY, 7.0), attempt, left_alone=True) == Retry(7.0, spends_attempt=False)
    permanent = verdict(failure(FailureKind.PERMANENT), attempt, left_alone=True)
    assert permanent == Refund(Reason.PROVIDER), "what this order is refused for is its own"


@given(
    kind=st.sampled_from(FailureKind),
    attempt=st.integers(1, MAX_ATTEMPTS),
    retry_after=st.none() | st.floats(0.1, 3600),
)
def test_p5_every_verdict_waits_or_ends(kind: FailureKind, attempt: int, retry_after: float | None) -> None:
    match verdict(failure(kind, retry_after), attempt):
        case Retry(after_seconds, spends_attempt):
            assert after_seconds > 0
            assert after_seconds >= (retry_after or 0)
            assert not (spends_attempt and attempt == MAX_ATTEMPTS), "a fifth attempt would break jobs_three_retries"
        case Refund(reason):
            assert reason is Reason.PROVIDER

"""Circuit breakers: what has failed again and again is left alone for a while, then tried by one, then by all."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from neurocards.domain.failures import Failure, FailureKind, Scope

FAILURES_IN_A_ROW = 3
"""A provider that failed so often, whoever asked it, is left alone."""

SHORTEST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(seconds=120)
ACCOUNT_PAUSE = timedelta(minutes=5)
"""An empty account, a revoked key, a limit of the key: somebody has to mend it."""
MODEL_PAUSE = timedelta(minutes=10)
"""A model that is switched off, or whose input has changed."""

PROBE = timedelta(seconds=20)
"""How long the one who tries first may take, while all others still wait."""


@dataclass(frozen=True)
class Circuit:
    """A row of the circuits table: how often in a row something failed, and until when nobody should try it.

    `failed_at` is when the last failure was counted.
    """

    subject: str
    failures: int
    open_until: datetime | None
    why: str
    failed_at: datetime | None

    def is_open(self, now: datetime) -> bool:
        return self.open_until is not None and self.open_until > now

    @property
    def is_suspect(self) -> bool:
        """Whether it was open and nobody has succeeded since: only one may try at a time."""
        return self.open_until is not None


def subject(scope: Scope, *, provider: str, key: str, model: str) -> str | None:
    """What a failure of this scope opens; None when it is about one order."""
    match scope:
        case Scope.ORDER:
            return None
        case Scope.MODEL:
            return f"model {model}"
        case Scope.KEY:
            return f"key {key}"
        case Scope.PROVIDER:
            return f"provider {provider}"
        case _:
            assert_never(scope)


def after_failure(circuit: Circuit, failure: Failure, now: datetime) -> Circuit:
    """The circuit once more failure is known. A rate limit closes nothing: it has a time of its own.

    Nor does what was on its way already when the circuit opened: however many they are, they met the same trouble.
    """
    if failure.kind is FailureKind.RATE_LIMITED or _rests(circuit, failure.scope, now):
        return circuit
    failures = circuit.failures + 1
    pause = _pause(failure.scope, failures)
    open_until = circuit.open_until if pause is None else now + pause
    return Circuit(circuit.subject, failures, open_until, failure.message, now)


def _rests(circuit: Circuit, scope: Scope, now: datetime) -> bool:
    """Whether the pause after the last failure is not over. Whoever tries first does so later, and then counts."""
    pause = _pause(scope, circuit.failures)
    return pause is not None and circuit.failed_at is not None and now < circuit.failed_at + pause


def _pause(scope: Scope, failures: int) -> timedelta | None:
    match scope:
        case Scope.KEY:
            return ACCOUNT_PAUSE
        case Scope.MODEL:
            return MODEL_PAUSE
        case Scope.PROVIDER | Scope.ORDER:
            beyond = failures - FAILURES_IN_A_ROW
            return None if beyond < 0 else min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(beyond, 10))
        case _:
            assert_never(scope)

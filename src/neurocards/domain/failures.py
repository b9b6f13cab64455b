"""What can go wrong outside, and what it means for a generation.

Adapters translate whatever a service says into one `Failure`; `verdict` turns it into a decision: retry at a time,
or refund with a reason. Nobody else reads status codes or message texts.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

MAX_ATTEMPTS = 4
"""The first try and three retries; a CHECK on the jobs table says the same."""

RETRY_BASE_SECONDS = 2.0
OUTAGE_PAUSE_SECONDS = 30.0
ELSEWHERE_PAUSE_SECONDS = 2.0
"""Where others than this order are in trouble, whoever routes it decides whom to ask instead, or how long to wait."""
RATE_LIMIT_PAUSE_SECONDS = 5.0


class FailureKind(StrEnum):
    """What the failure allows, not where it came from."""

    TEMPORARY = "temporary"
    """May pass by itself; costs one of the retries."""
    RATE_LIMITED = "rate_limited"
    """We were too fast; costs time only."""
    OUTAGE = "outage"
    """Our account, key or database, or the provider's maintenance; costs time only."""
    UNSUITED = "unsuited"
    """This model will not make it, another may; costs no retry while there is another."""
    PERMANENT = "permanent"
    """No retry can help."""


class Scope(StrEnum):
    """How far the trouble reaches: what else will meet it if it is tried now."""

    ORDER = "order"
    """This order alone."""
    MODEL = "model"
    """Everything that is asked of this model."""
    KEY = "key"
    """Everything that is asked with this key."""
    PROVIDER = "provider"
    """Everything that is asked of this provider."""


class Reason(StrEnum):
    """Why a customer gets no video. Each has words in `content/texts`, and nothing else of a failure is shown."""

    PROVIDER = "provider"
    """The video service failed again and again."""
    CONTENT = "content"
    """The video service refused the photo or the words."""
    PHOTO = "photo"
    """The photo cannot be used."""
    RESULT = "result"
    """What came back was not a usable video."""
    MODEL = "model"
    """The video model is not served any more."""
    DELIVERY = "delivery"
    """The video was there and could not be handed over."""
    DEADLINE = "deadline"
    """It took too long."""
    CUSTOMER = "customer"
    """They took it back while it was free."""
    OPERATOR = "operator"
    """An operator paid it back; why is for the record and not for the customer."""
    INTERNAL = "internal"
    """Our own fault."""


class Failure(Exception):
    """A translated outside error.

    `scope` is how far the trouble reaches. `retry_after_seconds` is the service's own word on when to come back.
    `may_have_happened`: what was asked for may have been done, only the answer is lost.
    """

    def __init__(
        self,
        kind: FailureKind,
        reason: Reason,
        message: str,
        *,
        scope: Scope = Scope.ORDER,
        retry_after_seconds: float | None = None,
        may_have_happened: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason
        self.message = message
        self.scope = scope
        self.retry_after_seconds = retry_after_seconds
        self.may_have_happened = may_have_happened

    def __str__(self) -> str:
        return f"{self.kind}/{self.reason}: {self.message}"


class Gone(Failure):
    """A result is not under its link any more; a fresh link may lead to it."""


@dataclass(frozen=True)
class Retry:
    """Try again `after_seconds` from now; `spends_attempt` tells whether one of the three retries is gone."""

    after_seconds: float
    spends_attempt: bool


@dataclass(frozen=True)
class Refund:
    """Give the credits back and say why."""

    reason: Reason


Verdict = Retry | Refund


def verdict(failure: Failure, attempt: int, *, another_model: bool = False, left_alone: bool = False) -> Verdict:
    """Decide what a failure in the given attempt (numbered from 1) means for the generation.

    `another_model`: whether there is one that has not refused it. `left_alone`: whether whoever failed has failed
    others too, so that nobody asks it any more: that is an outage, and no bad luck of this order.
    """
    match failure.kind:
        case FailureKind.UNSUITED:
            return Retry(0.0, spends_attempt=False) if another_model else Refund(failure.reason)
        case FailureKind.PERMANENT:
            return Refund(failure.reason)
        case FailureKind.RATE_LIMITED:
            return Retry(failure.retry_after_seconds or RATE_LIMIT_PAUSE_SECONDS, spends_attempt=False)
        case FailureKind.OUTAGE:
            usual = OUTAGE_PAUSE_SECONDS if failure.scope is Scope.ORDER else ELSEWHERE_PAUSE_SECONDS
            return Retry(failure.retry_after_seconds or usual, spends_attempt=False)
        case FailureKind.TEMPORARY if left_alone:
            return Retry(max(ELSEWHERE_PAUSE_SECONDS, failure.retry_after_seconds or 0.0), spends_attempt=False)
        case FailureKind.TEMPORARY:
            if attempt >= MAX_ATTEMPTS:
                return Refund(failure.reason)
            return Retry(
                max(backoff_seconds(attempt), failure.retry_after_seconds or 0.0),
                spends_attempt=True,
            )
        case _:
            assert_never(failure.kind)


def backoff_seconds(attempt: int) -> float:
    """2, 8, 32 seconds after the first, second and third attempt."""
    return RETRY_BASE_SECONDS * 4.0 ** (attempt - 1)

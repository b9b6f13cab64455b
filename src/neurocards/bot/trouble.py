"""What Telegram refuses or loses, translated once into what it allows us to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiogram.exceptions import (
    AiogramError,
    ClientDecodeError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from pydantic import ValidationError

from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.notices import Unreachable

UNREACHABLE_PAUSE_SECONDS = 5.0


@contextmanager
def translated() -> Iterator[None]:
    """Inside, whatever aiogram raises becomes Failure or Unreachable."""
    try:
        yield
    except AiogramError as error:
        raise meaning(error) from error


def meaning(error: AiogramError) -> Failure | Unreachable:
    """What an error of aiogram means, whoever was asked for what."""
    match error:
        case TelegramRetryAfter():
            return _failure(FailureKind.RATE_LIMITED, error, retry_after_seconds=float(error.retry_after))
        case TelegramForbiddenError():
            return Unreachable(str(error))
        case TelegramBadRequest() if "chat not found" in error.message.lower():
            return Unreachable(str(error))
        case TelegramUnauthorizedError() | TelegramNotFound():
            # The token is wrong or revoked: nothing of ours is, and everything waits until an operator mends it.
            return _failure(FailureKind.OUTAGE, error)
        case TelegramEntityTooLarge():
            return _failure(FailureKind.PERMANENT, error)
        case TelegramNetworkError() if "ClientConnectorError" in error.message:
            # Nobody was there to take it: nothing has been sent, and a repeat is no second copy.
            return _failure(FailureKind.OUTAGE, error, retry_after_seconds=UNREACHABLE_PAUSE_SECONDS)
        case TelegramNetworkError() | TelegramServerError():
            return _failure(FailureKind.TEMPORARY, error, may_have_happened=True)
        case ClientDecodeError() if not isinstance(error.original, ValidationError):
            # No JSON at all: a proxy's error page, not Telegram's answer.
            return _failure(FailureKind.TEMPORARY, error, may_have_happened=True)
        case _:
            # An answer of a shape that aiogram does not know was an answer: a repeat would send a second copy.
            return _failure(FailureKind.PERMANENT, error)


def _failure(
    kind: FailureKind, error: AiogramError, *, retry_after_seconds: float | None = None, may_have_happened: bool = False
) -> Failure:
    return Failure(
        kind,
        Reason.INTERNAL,
        f"telegram: {error}"[:500],
        retry_after_seconds=retry_after_seconds,
        may_have_happened=may_have_happened,
    )

"""The two ways to be refused: a bot gets Telegram's envelope, a person gets a sentence."""

from typing import Any

Json = dict[str, Any]  # a JSON object; its shape is Telegram's and differs per method


class ApiError(Exception):
    """A Bot API call is refused; becomes `{"ok": false, ...}` with the same HTTP status."""

    def __init__(self, status: int, description: str, *, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.retry_after = retry_after

    def envelope(self) -> Json:
        envelope: Json = {"ok": False, "error_code": self.status, "description": self.description}
        if self.retry_after is not None:
            envelope["parameters"] = {"retry_after": self.retry_after}
        return envelope


class CannotDo(Exception):
    """A person cannot do this in the app, for instance tap a button that is not there."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def bad_request(reason: str) -> ApiError:
    """A 400 in Telegram's words."""
    return ApiError(400, f"Bad Request: {reason}")


def blocked_by_person() -> ApiError:
    """The 403 a bot gets from someone who stopped it."""
    return ApiError(403, "Forbidden: bot was blocked by the user")

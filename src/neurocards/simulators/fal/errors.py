"""How fal words that something went wrong, in three shapes: a plain sentence, a model's list, a platform's category."""

from dataclasses import dataclass, field

from pydantic import JsonValue
from starlette.responses import JSONResponse, Response

ERRORS_PAGE = "https://docs.fal.ai/errors"


@dataclass(frozen=True)
class Answer:
    """What a request of the queue ended with, to be given whenever somebody asks for its response."""

    status: int
    body: JsonValue
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_error(self) -> bool:
        return self.status >= 400

    def response(self) -> Response:
        return JSONResponse(self.body, self.status, self.headers)


def plain(status: int, detail: str) -> Answer:
    """The gateway's own words."""
    return Answer(status, {"detail": detail})


def model_error(status: int, kind: str, msg: str, *loc: str | int) -> Answer:
    """A model refuses its input or fails: typed objects in a list."""
    where: list[JsonValue] = [*(loc or ("body",))]
    detail: JsonValue = [{"loc": where, "msg": msg, "type": kind, "url": f"{ERRORS_PAGE}#{kind}"}]
    return Answer(status, {"detail": detail})


def platform_error(status: int, kind: str, detail: str) -> Answer:
    """A runner or the platform fails: a sentence and a category, which a header repeats."""
    return Answer(status, {"detail": detail, "error_type": kind}, {"X-Fal-Error-Type": kind})


def of_type(status: int, kind: str, msg: str) -> Answer:
    """The shape that such an error has: the platform's failures are never the fault of the input."""
    if not kind:
        return plain(status, msg)
    return platform_error(status, kind, msg) if status in PLATFORM_STATUSES else model_error(status, kind, msg)


PLATFORM_STATUSES = {499, 500, 502, 503, 504}

NO_KEY = plain(401, "Authentication is required to access this application.")
WRONG_KEY = plain(401, "No user found for Key ID and Secret")
LOCKED = plain(403, "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.")
TOO_MANY = plain(429, "Too many concurrent requests. Please try again later.")
NO_REQUEST = plain(404, "Request not found")
STILL_RUNNING = plain(400, "Request is still in progress")
NOT_DOWNLOADED = "Failed to download the file. Please check if the URL is accessible and try again."
NOT_LOADED = "Failed to load the image. Please ensure the image file is not corrupted and is in a supported format."
CONTENT_REFUSED = "The content could not be processed because it contained material flagged by a content checker."

"""What can be made to go wrong in fal's service, and how the service words it."""

from typing import Literal

from starlette.responses import HTMLResponse, Response

from neurocards.simulators.exchange import Fault, unavailable
from neurocards.simulators.fal.errors import TOO_MANY, of_type, plain
from neurocards.simulators.studio.spoiling import Spoiling

# These befall a task, not a request: whichever route they name, the next task submitted carries them.
FATES = frozenset(
    {
        "task_fails",
        "content_refused",
        "never_ends",
        "bad_result",
        "silent",
        "no_video",
        "result_404",
        "callback_never",
        "callback_late",
        "callback_thrice",
        "callback_forged",
        "callback_old",
        "callback_without_payload",
        "callback_lies",
    }
)


class FalFault(Fault):
    """A fault of one request, or the fate of the next task.

    `slow`, `huge` and `503_accepted` spoil only the answer: what was asked for is done. So it is with `drop_answer`
    and `delay`; all other faults of a request take its place. `status`, `type` and `msg` are the words of `error` and
    of `task_fails`; without a type they are a plain sentence.
    """

    route: Literal["*", "submit", "status", "response", "cancel", "upload", "put", "result", "jwks", "file"] = "*"
    kind: Literal[
        "http_500",
        "http_503",
        "429",
        "error",
        "delay",
        "drop_answer",
        "reset",
        "html",
        "empty",
        "not_json",
        "slow",
        "huge",
        "503_accepted",
        "task_fails",
        "content_refused",
        "never_ends",
        "bad_result",
        "silent",
        "no_video",
        "result_404",
        "callback_never",
        "callback_late",
        "callback_thrice",
        "callback_forged",
        "callback_old",
        "callback_without_payload",
        "callback_lies",
    ]
    status: int = 500
    type: str = "internal_server_error"
    msg: str = "Internal server error"
    variant: Spoiling = "truncated"

    def applies(self, route: str) -> bool:
        if self.kind == "result_404" and self.route == "result":
            return route == "result"
        return route == "submit" if self.kind in FATES else super().applies(route)


def route_of(path: str) -> str:
    """The name under which faults and `/sim/requests` know a path."""
    parts = path.split("/")
    match parts[1:]:
        case ["storage", "upload", "initiate"]:
            return "upload"
        case ["storage", "put", *_]:
            return "put"
        case ["files", *_]:
            return "file"
        case ["results", *_]:
            return "result"
        case [".well-known", *_]:
            return "jwks"
        case [_, _, "requests", _, ("status" | "cancel") as question]:
            return question
        case [_, _, "requests", _]:
            return "response"
        case _:
            return "submit"


def refusal(fault: FalFault) -> Response | None:
    """The answer that takes the place of any effect; None when the request is to take effect."""
    match fault.kind:
        case "http_500":
            return plain(500, "Internal Server Error").response()
        case "http_503":
            return unavailable()
        case "429":
            return too_many_requests(fault.retry_after)
        case "error":
            return of_type(fault.status, fault.type, fault.msg).response()
        case "html":
            return HTMLResponse("<html><head><title>Just a moment...</title></head><body></body></html>")
        case "empty":
            return Response()
        case "not_json":
            return Response('{"request_id": "', media_type="application/json")
        case "result_404" if fault.route == "result":
            return Response("Not Found", 404)
        case _:
            return None


def too_many_requests(retry_after: int | None = None) -> Response:
    response = TOO_MANY.response()
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response

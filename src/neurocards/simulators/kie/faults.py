"""What can be made to go wrong in KIE's service, and how the service words it."""

from typing import Literal

from pydantic import JsonValue
from starlette.responses import HTMLResponse, JSONResponse, Response

from neurocards.simulators.exchange import Fault

Spoiling = Literal["truncated", "not_a_video", "zero_bytes", "wrong_length", "black", "frozen", "small"]

# These befall a task, not a request: whichever route they name, the next task created carries them.
FATES = frozenset({"task_fails", "never_ends", "bad_result", "silent", "result_404"})


class KieFault(Fault):
    """A fault of one request, or the fate of the next task."""

    route: Literal["*", "createTask", "recordInfo", "upload", "result", "credit", "models", "download-url", "file"] = (
        "*"
    )
    kind: Literal[
        "http_500",
        "http_503",
        "429",
        "code",
        "delay",
        "drop_answer",
        "reset",
        "html",
        "empty",
        "task_fails",
        "never_ends",
        "bad_result",
        "silent",
        "result_404",
    ]
    code: int = 500
    msg: str = "Internal server error"
    fail_code: str = "500"
    fail_msg: str = "Internal Error"
    variant: Spoiling = "truncated"

    def applies(self, route: str) -> bool:
        if self.kind == "result_404" and self.route == "result":
            return route == "result"
        return route == "createTask" if self.kind in FATES else super().applies(route)


def route_of(path: str) -> str:
    """The name under which faults and `/sim/requests` know a path."""
    parts = path.split("/")
    if path.startswith("/api/v1/models"):
        return "models"
    if path.startswith("/api/file-"):
        return "upload"
    if parts[1] == "results":
        return "result"
    return "file" if parts[1] == "files" else parts[-1]


def answer(code: int, msg: str, data: JsonValue = None, *, status: int = 200) -> Response:
    """KIE's envelope: most failures are HTTP 200 with another code."""
    return JSONResponse({"code": code, "msg": msg, "data": data}, status)


def refusal(fault: KieFault) -> Response | None:
    """The answer that takes the place of any effect; None when the request is to take effect."""
    match fault.kind:
        case "http_500":
            return answer(500, "Internal server error", status=500)
        case "http_503":
            return HTMLResponse("<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>", 503)
        case "429":
            return too_many_requests(fault.retry_after)
        case "code":
            return answer(fault.code, fault.msg)
        case "html":
            return HTMLResponse("<html><head><title>Just a moment...</title></head><body></body></html>")
        case "empty":
            return Response()
        case "result_404" if fault.route == "result":
            return Response("Not Found", 404)
        case _:
            return None


def too_many_requests(retry_after: int | None = None) -> Response:
    response = answer(429, "Too many requests, please try again later.", status=429)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response

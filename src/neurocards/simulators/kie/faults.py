"""What can be made to go wrong in KIE's service, and how the service words it."""

from typing import Literal

from pydantic import Field, JsonValue
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from neurocards.simulators.exchange import Fault, unavailable
from neurocards.simulators.studio.spoiling import Spoiling

# These befall a task, not a request: whichever route they name, the next task created carries them.
FATES = frozenset(
    {
        # what it makes
        "task_fails",
        "never_ends",
        "bad_result",
        "silent",
        # what is told of it
        "same_task",
        "unknown_state",
        "goes_back",
        "late_known",
        "lost",
        # how it calls back
        "early_callback",
        "callback_never",
        "callback_thrice",
        "callback_disordered",
        "callback_forged",
        "callback_lies",
        # where its result lies; the next three befall single requests when they name the route of results
        "foreign_result",
        "result_404",
        "result_redirect",
        "result_type",
    }
)
OF_ONE_RESULT = frozenset({"result_404", "result_redirect", "result_type"})


class KieFault(Fault):
    """A fault of one request, or the fate of the next task.

    `slow`, `huge` and `503_accepted` spoil only the answer: what was asked for is done. So it is with `drop_answer`
    and `delay`; all other faults of a request take its place.
    """

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
        "not_json",
        "http_404",
        "slow",
        "huge",
        "503_accepted",
        "task_fails",
        "never_ends",
        "bad_result",
        "silent",
        "same_task",
        "unknown_state",
        "goes_back",
        "late_known",
        "lost",
        "early_callback",
        "callback_never",
        "callback_thrice",
        "callback_disordered",
        "callback_forged",
        "callback_lies",
        "foreign_result",
        "result_404",
        "result_redirect",
        "result_type",
    ]
    code: int = 500
    msg: str = "Internal server error"
    fail_code: str = "500"
    fail_msg: str = "Internal Error"
    variant: Spoiling = "truncated"
    # How many answers of recordInfo `unknown_state` and `late_known` spoil, and with which word.
    answers: int = Field(default=2, ge=1)
    state: str = "preparing"
    # What is wrong about a forged callback: the end of its address, or its signature.
    forgery: Literal["path", "signature"] = "path"
    # Where a foreign result lies: in a lying callback, in a record, in a redirect.
    url: str = "http://127.0.0.1:9/foreign.mp4"
    content_type: str = "text/html"

    def applies(self, route: str) -> bool:
        if self.is_of_one_result:
            return route == "result"
        return route == "createTask" if self.kind in FATES else super().applies(route)

    @property
    def is_of_one_result(self) -> bool:
        """Whether it befalls one request for a result, and not a task's result for good."""
        return self.kind in OF_ONE_RESULT and self.route == "result"


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
            return unavailable()
        case "429":
            return too_many_requests(fault.retry_after)
        case "code":
            return answer(fault.code, fault.msg)
        case "html":
            return HTMLResponse("<html><head><title>Just a moment...</title></head><body></body></html>")
        case "empty":
            return Response()
        case "not_json":
            return Response('{"code":200,"msg":"success","data":{', media_type="application/json")
        case "http_404":
            return Response("Not Found", 404)
        case "result_404" | "result_redirect" if fault.is_of_one_result:
            return withheld(fault)
        case _:
            return None


def withheld(fault: KieFault) -> Response:
    """What is said instead of a result."""
    return RedirectResponse(fault.url, 302) if fault.kind == "result_redirect" else Response("Not Found", 404)


def too_many_requests(retry_after: int | None = None) -> Response:
    response = answer(429, "Too many requests, please try again later.", status=429)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response

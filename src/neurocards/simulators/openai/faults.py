"""What can be made to go wrong at OpenAI, and its error bodies."""

import gzip
from typing import Literal

from starlette.responses import HTMLResponse, JSONResponse, Response

from neurocards.simulators.exchange import Fault

HUGE_BYTES = 3_000_000
"""More than a client should be willing to read."""


class OpenAiFault(Fault):
    """A fault of one request. From refusal to obey they change the answer; the others replace it.

    too_long and cyrillic spoil the prompt alone; fenced wraps the answer in talk; obey does what the person's text
    demands; no_schema refuses what asks for one, and nothing else; 404 on one route is a server that lacks it.
    """

    route: Literal["*", "responses", "chat", "models"] = "*"
    kind: Literal[
        "http_500",
        "http_503",
        "429",
        "insufficient_quota",
        "401",
        "403",
        "404",
        "no_schema",
        "refusal",
        "incomplete",
        "bad_json",
        "wrong_shape",
        "too_long",
        "cyrillic",
        "fenced",
        "obey",
        "delay",
        "drop_answer",
        "reset",
        "html",
        "empty",
        "huge",
        "packed",
    ]
    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"


class ApiError(Exception):
    """A request that is refused; rendered as OpenAI's error body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code

    def response(self) -> Response:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": error}, self.status)


ERRORS = {
    "http_500": ApiError(500, "The server had an error while processing your request. Sorry!", kind="server_error"),
    "http_503": ApiError(503, "The server is currently overloaded with other requests.", kind="server_error"),
    "401": ApiError(401, "Incorrect API key provided.", code="invalid_api_key"),
    "403": ApiError(403, "You are not allowed to sample from this model.", code="permission_denied"),
    "404": ApiError(404, "Invalid URL."),
    "insufficient_quota": ApiError(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        kind="insufficient_quota",
        code="insufficient_quota",
    ),
}


def route_of(path: str) -> str:
    """The name under which faults and `/sim/requests` know a path."""
    if path.startswith("/v1/models"):
        return "models"
    return {"/v1/responses": "responses", "/v1/chat/completions": "chat"}.get(path, path)


def refusal(fault: OpenAiFault) -> Response | None:
    """The answer that takes the place of any work; None when the request is to be answered by the model."""
    match fault.kind:
        case "http_500" | "http_503" | "401" | "403" | "404" | "insufficient_quota":
            return ERRORS[fault.kind].response()
        case "429":
            message = "Rate limit reached for requests. Please try again later."
            response = ApiError(429, message, kind="requests", code="rate_limit_exceeded").response()
            if fault.retry_after is not None:
                response.headers["Retry-After"] = str(fault.retry_after)
            return response
        case "huge":
            return Response(b" " * HUGE_BYTES, media_type="application/json")
        case "packed":
            packed = gzip.compress(b" " * HUGE_BYTES)
            return Response(packed, media_type="application/json", headers={"Content-Encoding": "gzip"})
        case "html":
            return HTMLResponse("<html><body>Bad gateway</body></html>")
        case "empty":
            return Response()
        case _:
            return None

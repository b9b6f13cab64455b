"""What can be made to go wrong at OpenAI, and its error bodies."""

from typing import Literal

from starlette.responses import HTMLResponse, JSONResponse, Response

from neurocards.simulators.exchange import Fault


class OpenAiFault(Fault):
    """A fault of one request; refusal, incomplete and bad_json change the answer, the others replace it."""

    route: Literal["*", "responses", "chat", "models"] = "*"
    kind: Literal[
        "http_500",
        "http_503",
        "429",
        "insufficient_quota",
        "401",
        "refusal",
        "incomplete",
        "bad_json",
        "delay",
        "drop_answer",
        "reset",
        "html",
        "empty",
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


def route_of(path: str) -> str:
    """The name under which faults and `/sim/requests` know a path."""
    if path.startswith("/v1/models"):
        return "models"
    return {"/v1/responses": "responses", "/v1/chat/completions": "chat"}.get(path, path)


def refusal(fault: OpenAiFault) -> Response | None:
    """The answer that takes the place of any work; None when the request is to be answered by the model."""
    match fault.kind:
        case "http_500":
            message = "The server had an error while processing your request. Sorry about that!"
            return ApiError(500, message, kind="server_error").response()
        case "http_503":
            message = "The server is currently overloaded with other requests."
            return ApiError(503, message, kind="server_error").response()
        case "429":
            message = "Rate limit reached for requests. Please try again later."
            response = ApiError(429, message, kind="requests", code="rate_limit_exceeded").response()
            if fault.retry_after is not None:
                response.headers["Retry-After"] = str(fault.retry_after)
            return response
        case "insufficient_quota":
            message = "You exceeded your current quota, please check your plan and billing details."
            return ApiError(429, message, kind="insufficient_quota", code="insufficient_quota").response()
        case "401":
            return ApiError(401, "Incorrect API key provided.", code="invalid_api_key").response()
        case "html":
            return HTMLResponse("<html><body>Bad gateway</body></html>")
        case "empty":
            return Response()
        case _:
            return None

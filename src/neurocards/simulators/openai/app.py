"""Builds the application: responses, chat completions and models under `/v1`, the control side under `/sim`."""

import time
import uuid
from typing import cast

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse, Response

from neurocards.simulators.exchange import FaultBook, Journal, RecordedApp, bearer, control_router, fault_met
from neurocards.simulators.openai.faults import ApiError, OpenAiFault, refusal, route_of
from neurocards.simulators.openai.misbehaving import obedient_answer, spoiled
from neurocards.simulators.openai.reading import read_wanted
from neurocards.simulators.openai.requests import (
    MODELS,
    Ask,
    Json,
    decoded,
    read_chat_request,
    read_response_request,
)
from neurocards.simulators.openai.writing import Writer, as_json, described_schema, tokens

REFUSAL = "I'm sorry, but I can't help with that."


def create_app() -> FastAPI:
    """The simulator, ready to be served by uvicorn or mounted under any prefix."""
    journal, faults = Journal(), FaultBook[OpenAiFault]()
    app = RecordedApp(
        title="OpenAI simulator",
        lifespan=None,
        journal=journal,
        faults=faults,
        route_of=route_of,
        refusal=refusal,
    )
    app.include_router(_api_router())
    app.include_router(_control_router(journal, faults))
    app.add_exception_handler(ApiError, _refused)
    return app


def _api_router() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/responses")
    async def responses(request: Request) -> Response:
        _check_key(request)
        fields = decoded(await request.body())
        return _answered(_response(await read_response_request(fields), fields, _fault(request)))

    @router.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        _check_key(request)
        fields = decoded(await request.body())
        return _answered(_completion(await read_chat_request(fields), _fault(request)))

    @router.get("/models")
    async def models(request: Request) -> Response:
        _check_key(request)
        return _answered({"object": "list", "data": [_model(name) for name in MODELS]})

    @router.get("/models/{name}")
    async def model(request: Request, name: str) -> Response:
        _check_key(request)
        if name not in MODELS:
            raise ApiError(404, f"The model '{name}' does not exist", param="model", code="model_not_found")
        return _answered(_model(name))

    return router


def _control_router(journal: Journal, faults: FaultBook[OpenAiFault]) -> APIRouter:
    router = control_router(journal, faults, OpenAiFault)

    @router.post("/reset", status_code=204)
    async def reset() -> None:
        journal.clear()
        faults.clear()

    return router


def _response(ask: Ask, fields: Json, fault: OpenAiFault | None) -> Json:
    """A Response object."""
    kind = fault.kind if fault else None
    text = _text(ask, fault)
    content: Json = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    if kind == "refusal":
        content = {"type": "refusal", "refusal": REFUSAL}
    status = "incomplete" if kind == "incomplete" else "completed"
    message: Json = {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [content],
    }
    answer: Json = {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": fault.reason} if fault and kind == "incomplete" else None,
        "model": ask.model,
        "output": [message] if text else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": "default",
        "tool_choice": "auto",
        "tools": [],
        "truncation": "disabled",
        "usage": {
            "input_tokens": _input_tokens(ask),
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": tokens(text),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": _input_tokens(ask) + tokens(text),
        },
    }
    defaults: Json = {
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "top_p": 1.0,
        "user": None,
    }
    return answer | {name: fields.get(name, default) for name, default in defaults.items()}


def _completion(ask: Ask, fault: OpenAiFault | None) -> Json:
    """A ChatCompletion object."""
    kind = fault.kind if fault else None
    text = _text(ask, fault)
    finish_reason = "stop"
    if fault and kind == "incomplete":
        finish_reason = "length" if fault.reason == "max_output_tokens" else "content_filter"
    is_refused = kind == "refusal"
    message: Json = {
        "role": "assistant",
        "content": None if is_refused else text,
        "refusal": REFUSAL if is_refused else None,
        "annotations": [],
    }
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": ask.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": _input_tokens(ask),
            "completion_tokens": tokens(text),
            "total_tokens": _input_tokens(ask) + tokens(text),
        },
        "service_tier": "default",
    }


def _text(ask: Ask, fault: OpenAiFault | None) -> str:
    kind, reason = (fault.kind, fault.reason) if fault else (None, None)
    if kind == "no_schema" and ask.schema is not None:
        message = "This response_format type is unavailable now"
        raise ApiError(400, message, param="response_format", code="unsupported_value")
    text = obedient_answer(ask) if kind == "obey" else _written(ask, kind)
    match kind:
        # Output that ran out of tokens stops anywhere; output that is not JSON is what a weak server sends.
        case "incomplete":
            return text[: len(text) // 2] if reason == "max_output_tokens" else ""
        case "bad_json":
            return f"Sure! Here is your JSON: {text[:-1]}"
        case "fenced":
            return f"Here is the prompt:\n\n```json\n{text}\n```\n\nShall I write another one?"
        case _:
            return text


def _written(ask: Ask, kind: str | None) -> str:
    writer = Writer(ask.text)
    schema = ask.schema or described_schema(ask.instructions)
    if schema is None:
        return as_json({"text": writer.plain()}) if ask.wants_json else writer.plain()
    if kind == "wrong_shape":
        return as_json({"text": writer.plain()})
    return as_json(spoiled(writer.fill(schema), kind, read_wanted(ask.text)))


def _input_tokens(ask: Ask) -> int:
    return tokens(ask.all_text) + 765 * ask.images


def _model(name: str) -> Json:
    model: Json = {"id": name, "object": "model", "created": 1_780_000_000, "owned_by": "openai"}
    return model | {"shutdown_date": MODELS[name]} if MODELS[name] else model


def _check_key(request: Request) -> None:
    if not bearer(request.headers.get("authorization", "")):
        raise ApiError(401, "You didn't provide an API key.")


def _fault(request: Request) -> OpenAiFault | None:
    fault = fault_met(request)
    return fault if isinstance(fault, OpenAiFault) else None


def _answered(body: Json) -> Response:
    return JSONResponse(body, headers={"x-request-id": f"req_{uuid.uuid4().hex}"})


async def _refused(_request: Request, error: Exception) -> Response:
    return cast(ApiError, error).response()  # registered for this class only

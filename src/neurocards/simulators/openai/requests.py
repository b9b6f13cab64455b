"""Reads a request of either API into one form, and refuses what OpenAI would refuse."""

import asyncio
import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image
from pydantic import JsonValue

from neurocards.simulators.openai.faults import ApiError
from neurocards.simulators.openai.writing import Schema, strictness_problem

Json = dict[str, JsonValue]

# Model and the day it ends, as far as one is announced.
MODELS: dict[str, str | None] = {
    "gpt-6-luna": None,
    "gpt-6.1-terra": None,
    "gpt-6.1-sol": None,
    "gpt-6-astra": None,
    "gpt-5.6-luna": None,
    "gpt-5": "2026-12-11",
    "gpt-5-mini": "2026-12-11",
    "gpt-5-nano": "2026-12-11",
    "gpt-4o": "2027-01-14",
    "gpt-4o-mini": "2027-01-14",
    "gpt-4.1": "2027-01-14",
    "gpt-4.1-mini": "2027-01-14",
}


DETAILS = ("low", "high", "auto", "original")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
THINKERS = ("gpt-5", "gpt-6")
"""How the names of models that think before they answer begin; the others refuse to be told how much."""
LEAST_OUTPUT_TOKENS = 16


@dataclass(frozen=True)
class Ask:
    """What both APIs ask: what the person said, with how many pictures, and the shape of the answer.

    `instructions` is what the developer said: to the model it is above the person's word.
    """

    model: str
    text: str
    instructions: str
    images: int
    schema: Schema | None
    wants_json: bool

    @property
    def all_text(self) -> str:
        return f"{self.instructions}\n{self.text}"


def decoded(body: bytes) -> Json:
    """The body as an object; raises ApiError."""
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    if fields.get("stream"):
        raise ApiError(400, "Streaming is not simulated.", param="stream", code="unsupported_value")
    return fields


async def read_response_request(fields: Json) -> Ask:
    """The ask of `POST /v1/responses`."""
    model = _model(fields)
    entries = fields.get("input")
    if isinstance(entries, str):
        entries = [{"role": "user", "content": entries}]
    if not isinstance(entries, list) or not entries:
        raise _missing("input")
    collected = _Collected()
    for index, entry in enumerate(entries):
        await collected.take(entry, f"input[{index}]", text_kinds=("input_text", "output_text"))
    reasoning = fields.get("reasoning")
    _check_effort(model, reasoning.get("effort") if isinstance(reasoning, dict) else None, "reasoning.effort")
    _check_tokens(fields, "max_output_tokens")
    instructions = fields.get("instructions")
    text = fields.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    return collected.ask(
        model,
        extra=instructions if isinstance(instructions, str) else "",
        shape=shape if isinstance(shape, dict) else {},
        schema_holder=shape,
        param="text.format",
    )


async def read_chat_request(fields: Json) -> Ask:
    """The ask of `POST /v1/chat/completions`."""
    model = _model(fields)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _missing("messages")
    _check_effort(model, fields.get("reasoning_effort"), "reasoning_effort")
    _check_tokens(fields, "max_completion_tokens")
    collected = _Collected()
    for index, message in enumerate(messages):
        await collected.take(message, f"messages[{index}]", text_kinds=("text",))
    shape = fields.get("response_format")
    shape = shape if isinstance(shape, dict) else {}
    holder = shape.get("json_schema")
    return collected.ask(model, extra="", shape=shape, schema_holder=holder, param="response_format")


class _Collected:
    """The texts and pictures of the messages read so far."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._ordered: list[str] = []
        self._images = 0

    async def take(self, message: JsonValue, param: str, *, text_kinds: tuple[str, ...]) -> None:
        if not isinstance(message, dict) or "role" not in message:
            raise ApiError(400, f"Invalid value for '{param}': expected a message with a role.", param=param)
        content = message.get("content")
        parts = [{"type": text_kinds[0], "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list):
            raise _missing(f"{param}.content")
        for index, part in enumerate(parts):
            where = f"{param}.content[{index}]"
            kind = part.get("type") if isinstance(part, dict) else None
            if not isinstance(part, dict) or not isinstance(kind, str):
                raise _missing(f"{where}.type")
            if kind in text_kinds:
                self._add_text(part.get("text"), where, is_said=message["role"] == "user")
            elif kind in ("input_image", "image_url"):
                await _check_image(part.get("image_url"), kind, where)
                _check_detail(image if isinstance(image := part.get("image_url"), dict) else part, where)
                self._images += 1
            else:
                raise ApiError(400, f"Invalid value: '{kind}'.", param=f"{where}.type", code="invalid_value")

    def _add_text(self, text: JsonValue, where: str, *, is_said: bool) -> None:
        if not isinstance(text, str):
            raise _missing(f"{where}.text")
        (self._said if is_said else self._ordered).append(text)

    def ask(self, model: str, *, extra: str, shape: Json, schema_holder: JsonValue, param: str) -> Ask:
        kind = shape.get("type", "text")
        schema = None
        if kind == "json_schema":
            schema = _schema(schema_holder, param)
        elif kind not in ("text", "json_object"):
            raise ApiError(400, f"Invalid value: '{kind}'.", param=f"{param}.type", code="invalid_value")
        return Ask(
            model=model,
            text="\n".join(self._said),
            instructions="\n".join([extra, *self._ordered] if extra else self._ordered),
            images=self._images,
            schema=schema,
            wants_json=kind != "text",
        )


def _model(fields: Json) -> str:
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise _missing("model")
    if model not in MODELS:
        message = f"The model '{model}' does not exist or you do not have access to it."
        raise ApiError(404, message, param="model", code="model_not_found")
    return model


def _check_effort(model: str, effort: JsonValue, param: str) -> None:
    if effort is None:
        return
    if not model.startswith(THINKERS):
        message = f"Unsupported parameter: '{param}' is not supported with this model."
        raise ApiError(400, message, param=param, code="unsupported_parameter")
    if effort not in EFFORTS:
        raise ApiError(400, f"Invalid value: '{effort}'.", param=param, code="invalid_value")


def _check_tokens(fields: Json, param: str) -> None:
    tokens = fields.get(param)
    if tokens is not None and (not isinstance(tokens, int) or tokens < LEAST_OUTPUT_TOKENS):
        message = f"Invalid '{param}': expected a value >= {LEAST_OUTPUT_TOKENS}."
        raise ApiError(400, message, param=param, code="integer_below_min_value")


def _schema(holder: JsonValue, param: str) -> Schema:
    schema = holder.get("schema") if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or not isinstance(schema, dict):
        raise _missing(f"{param}.schema")
    if not isinstance(holder.get("name"), str):
        raise _missing(f"{param}.name")
    problem = strictness_problem(schema) if holder.get("strict") else None
    if problem:
        message = f"Invalid schema for response_format '{holder['name']}': {problem}"
        raise ApiError(400, message, param=param, code="invalid_json_schema")
    return schema


async def _check_image(image: JsonValue, kind: str, where: str) -> None:
    """The picture must come inside the request and decode: a simulator fetches nothing from outside."""
    url = image.get("url") if kind == "image_url" and isinstance(image, dict) else image
    if not isinstance(url, str) or not url:
        raise _missing(f"{where}.image_url")
    head, _, encoded = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise ApiError(400, "Error while downloading the image.", param=where, code="invalid_image_url")
    if not await asyncio.to_thread(_is_image, encoded):
        message = "The image data you provided does not represent a valid image. Please check your input."
        raise ApiError(400, message, param=where, code="invalid_image")


def _check_detail(holder: Mapping[str, JsonValue], where: str) -> None:
    detail = holder.get("detail")
    if detail is not None and detail not in DETAILS:
        raise ApiError(400, f"Invalid value: '{detail}'.", param=f"{where}.detail", code="invalid_value")


def _is_image(encoded: str) -> bool:
    try:
        with Image.open(
            io.BytesIO(base64.b64decode(encoded, validate=True)), formats=("JPEG", "PNG", "WEBP", "GIF")
        ) as image:
            image.load()
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _missing(param: str) -> ApiError:
    message = f"Missing required parameter: '{param}'."
    return ApiError(400, message, param=param, code="missing_required_parameter")

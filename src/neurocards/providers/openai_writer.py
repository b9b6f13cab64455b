"""The prompt writer on OpenAI's API or on a server that speaks like it: sees the photo, answers in a fixed shape.

Two ways to ask: the Responses API, and chat completions, which compatible servers have. Whatever goes wrong is one
`Failure`, soon: the template's own text is waiting, and nobody waits longer than `ANSWER_SECONDS` for a better one.
"""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Literal

import httpx2
import openai
import structlog
from openai import AsyncOpenAI, Omit, omit
from pydantic import BaseModel, ValidationError

from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.domain.scripts import Commission, WrittenPrompt
from neurocards.providers.http import MAX_ANSWER_BYTES, certificates
from neurocards.providers.writing import (
    INSTRUCTIONS,
    SHAPE_IN_WORDS,
    VideoPrompt,
    find_answer,
    question,
    read,
    unusable,
)

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam
    from openai.types.chat.completion_create_params import ResponseFormat
    from openai.types.responses import ResponseFormatTextConfigParam, ResponseInputParam
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

Mode = Literal["responses", "chat"]

ANSWER_SECONDS = 18.0
"""For everything, a second try included."""
CONNECT_SECONDS = 5.0
SECOND_TRY_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 2.0
"""Whoever tells us to come back later than that gets no second try."""

MAX_OUTPUT_TOKENS = 4000
"""An answer takes about 500, and thinking about it some hundreds more."""

REFUSALS_BEFORE_PAUSE = 3
PAUSE_SECONDS = 60.0
"""How long nobody is asked after key or account were refused so many times in a row."""

# The models of this family think at medium effort unless told otherwise; older ones may not know the word.
_THINKS = re.compile(r"gpt-[6-9]")
_CODE = re.compile(r"[a-z_]{1,60}")

_SHAPE = VideoPrompt.model_json_schema()
_SCHEMA: "ResponseFormat" = {
    "type": "json_schema",
    "json_schema": {"name": "VideoPrompt", "strict": True, "schema": _SHAPE},
}
_FORMAT: "ResponseFormatTextConfigParam" = {
    "type": "json_schema",
    "name": "VideoPrompt",
    "strict": True,
    "schema": _SHAPE,
}


class _Details(BaseModel):
    reason: object = None


class _Content(BaseModel):
    type: str
    text: str = ""


class _Item(BaseModel):
    type: str
    content: Sequence[_Content] = ()


class _Response(BaseModel):
    """What we read of an answer of the Responses API."""

    status: object = None
    incomplete_details: _Details | None = None
    output: Sequence[_Item] = ()

    def text(self) -> str | None:
        """The first text; None where there is a refusal or nothing."""
        contents = (content for item in self.output if item.type == "message" for content in item.content)
        return next((content.text for content in contents if content.type == "output_text"), None)


log = structlog.get_logger()


class OpenAIWriter:
    """The adapter; satisfies production.PromptWriter. Close it when done."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        mode: Mode = "responses",
        answer_seconds: float = ANSWER_SECONDS,
        second_try_seconds: float = SECOND_TRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds. What failed in passing is asked again after `second_try_seconds`, once."""
        self._model = model
        self._mode = mode
        self._answer_seconds = answer_seconds
        self._second_try_seconds = second_try_seconds
        self._clock = clock
        self._effort: Literal["low"] | Omit = "low" if _THINKS.match(model) else omit
        self._takes_schemas = True
        self._refusals = 0
        self._paused_until = -float("inf")
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            # The one second try is ours: the SDK would also repeat what an empty account answers.
            max_retries=0,
            timeout=httpx2.Timeout(answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds)),
            http_client=httpx2.AsyncClient(
                headers={"Accept-Encoding": "identity"},
                transport=_BoundedTransport(
                    verify=certificates(), retries=0, limits=httpx2.Limits(max_connections=None)
                ),
                follow_redirects=False,
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @property
    def model(self) -> str:
        return self._model

    async def offered(self) -> Mapping[str, date | None]:
        """The models on offer, and when each is shut down where that is told. Costs nothing.

        Raises Failure: of scope KEY when key or account are refused, MODEL when the server has no such list.
        """
        try:
            async with asyncio.timeout(self._answer_seconds):
                listed = await self._client.models.list()
                return {one.id: _day(one.shutdown_date) for one in listed.data}
        except TimeoutError as error:
            raise unusable(f"no answer in {self._answer_seconds:.0f} s") from error
        except openai.NotFoundError as error:
            raise Failure(FailureKind.UNSUITED, Reason.PROVIDER, _told(error), scope=Scope.MODEL) from error
        except openai.OpenAIError as error:
            scope = Scope.KEY if _is_ours_to_mend(error) else Scope.PROVIDER
            raise Failure(FailureKind.OUTAGE, Reason.PROVIDER, _told(error), scope=scope) from error
        except Exception as error:
            # The SDK takes whatever comes with status 200 for an answer, and falls over it in many ways.
            raise Failure(
                FailureKind.UNSUITED, Reason.PROVIDER, "an answer that is no list of models", scope=Scope.MODEL
            ) from error

    async def write(self, commission: Commission, *, photo: bytes) -> WrittenPrompt:
        """A checked prompt for one clip. Raises Failure, and nothing else; of kind OUTAGE while it pauses."""
        if (left_seconds := self._paused_until - self._clock()) > 0:
            raise Failure(FailureKind.OUTAGE, Reason.PROVIDER, "writer: pauses", retry_after_seconds=left_seconds)
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await self._answer(commission, photo)
        except Failure:
            raise
        except TimeoutError as error:
            raise unusable(f"no answer in {self._answer_seconds:.0f} s") from error
        except openai.OpenAIError as error:
            raise self._failure(error) from error
        except ValidationError as error:
            raise unusable("an answer out of shape") from error
        except Exception as error:
            # The SDK takes whatever comes with status 200 for an answer, and falls over it in many ways.
            raise unusable(f"no answer at all ({type(error).__name__})") from error
        self._refusals = 0
        return read(answer, commission)

    async def _answer(self, commission: Commission, photo: bytes) -> VideoPrompt:
        ask = self._ask_responses if self._mode == "responses" else self._ask_chat
        try:
            return await ask(commission, photo)
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
            if not _may_pass_soon(error):
                raise
        await asyncio.sleep(self._second_try_seconds)
        return await ask(commission, photo)

    # The Responses API ------------------------------------------------------------------------------------------------

    async def _ask_responses(self, commission: Commission, photo: bytes) -> VideoPrompt:
        # Not by the SDK's method for it, whose types take a second of a standing event loop to import and to build.
        body: ResponseCreateParamsNonStreaming = {
            "model": self._model,
            "instructions": INSTRUCTIONS,
            "input": _input(commission, photo),
            "text": {"format": _FORMAT},
            "max_output_tokens": MAX_OUTPUT_TOKENS,
            "store": False,
        }
        if not isinstance(self._effort, Omit):
            body["reasoning"] = {"effort": self._effort}
        reply = await self._client.post("/responses", body=body, cast_to=httpx2.Response)
        response = _Response.model_validate(reply.json())
        if response.status != "completed":
            details = response.incomplete_details
            raise unusable(f"{_code(response.status)} ({_code(details.reason if details else None)})")
        if (text := response.text()) is None:
            raise unusable("refused")
        return VideoPrompt.model_validate_json(text)

    # Chat completions -------------------------------------------------------------------------------------------------

    async def _ask_chat(self, commission: Commission, photo: bytes) -> VideoPrompt:
        if self._takes_schemas:
            try:
                return find_answer(await self._completion(commission, photo, with_schema=True))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                log.info("writer_refused_schema", model=self._model, failure=_told(error))
            text = await self._completion(commission, photo, with_schema=False)
            # Only now it is known that the schema was in the way, and not the photo or the words.
            self._takes_schemas = False
        else:
            text = await self._completion(commission, photo, with_schema=False)
        return find_answer(text)

    async def _completion(self, commission: Commission, photo: bytes, *, with_schema: bool) -> str:
        completion = await self._client.chat.completions.create(
            model=self._model,
            messages=_messages(commission, photo, with_shape=not with_schema),
            response_format=_SCHEMA if with_schema else omit,
            reasoning_effort=self._effort if with_schema else omit,
        )
        choice = completion.choices[0]
        if choice.finish_reason in ("length", "content_filter"):
            raise unusable(f"incomplete ({choice.finish_reason})")
        if not isinstance(choice.message.content, str):
            raise unusable("refused")
        return choice.message.content

    # Failures ---------------------------------------------------------------------------------------------------------

    def _failure(self, error: openai.OpenAIError) -> Failure:
        told = f"writer: {_told(error)}"
        if not _is_ours_to_mend(error):
            kind = FailureKind.RATE_LIMITED if isinstance(error, openai.RateLimitError) else FailureKind.TEMPORARY
            return Failure(kind, Reason.PROVIDER, told)
        self._refusals += 1
        if self._refusals < REFUSALS_BEFORE_PAUSE:
            return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, told)
        if self._paused_until <= self._clock():
            self._paused_until = self._clock() + PAUSE_SECONDS
            log.warning("writer_pauses", failure=told, seconds=PAUSE_SECONDS, advice=self._advice(error))
        return Failure(
            FailureKind.OUTAGE,
            Reason.PROVIDER,
            told,
            retry_after_seconds=self._paused_until - self._clock(),
        )

    def _advice(self, error: openai.OpenAIError) -> str:
        if isinstance(error, openai.RateLimitError):
            return "the account behind OPENAI_API_KEY has no money left"
        if not isinstance(error, openai.NotFoundError):
            return "OPENAI_API_KEY is refused"
        if self._mode == "responses" and error.code != "model_not_found":
            return "OPENAI_BASE_URL has no such page; a server with chat completions alone wants OPENAI_MODE=chat"
        return f"OPENAI_BASE_URL and OPENAI_MODEL ({self._model}) do not fit together"


def _is_ours_to_mend(error: openai.OpenAIError) -> bool:
    """Whether key, account, address or model are to blame: then it is the same with the next order."""
    if isinstance(error, openai.RateLimitError):
        return error.code == "insufficient_quota"
    return isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError))


def _may_pass_soon(error: openai.APIError) -> bool:
    if isinstance(error, openai.APITimeoutError) or _is_ours_to_mend(error):
        return False
    if not isinstance(error, openai.APIStatusError):
        return True
    try:
        return float(error.response.headers.get("Retry-After", "0")) <= LONGEST_PAUSE_SECONDS
    except ValueError:
        return False


def _told(error: openai.OpenAIError) -> str:
    """The error for the log. Its own text may quote the key or the seller, so only what kind it is."""
    if not isinstance(error, openai.APIStatusError):
        return type(error).__name__
    return f"{type(error).__name__} {error.status_code} ({_code(error.code)})"


def _day(told: object) -> date | None:
    try:
        return date.fromisoformat(str(told)[:10])
    except ValueError:
        return None


def _code(code: object) -> str:
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "no code"


# The question on the wire ---------------------------------------------------------------------------------------------


def _input(commission: Commission, photo: bytes) -> "ResponseInputParam":
    return [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": question(commission)},
                {"type": "input_image", "image_url": _data_url(photo), "detail": "low"},
            ],
        }
    ]


def _messages(commission: Commission, photo: bytes, *, with_shape: bool) -> "list[ChatCompletionMessageParam]":
    return [
        {"role": "system", "content": INSTRUCTIONS + SHAPE_IN_WORDS if with_shape else INSTRUCTIONS},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": question(commission)},
                {"type": "image_url", "image_url": {"url": _data_url(photo), "detail": "low"}},
            ],
        },
    ]


def _data_url(photo: bytes) -> str:
    """The photo inside the request: it is published nowhere."""
    return f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"


class _BoundedTransport(httpx2.AsyncHTTPTransport):
    """Reads no answer that is longer than any answer needs to be, and none that would grow when unpacked."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.DecodingError("packed, though it was asked not to be", request=request)
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, request)
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, request: httpx2.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size_bytes = 0
        async for chunk in self._stream:
            size_bytes += len(chunk)
            if size_bytes > MAX_ANSWER_BYTES:
                raise httpx2.ReadError("too long to be an answer", request=self._request)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()

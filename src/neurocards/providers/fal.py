"""fal.ai: uploads a frame in two steps, submits one request to its queue, reads it, downloads its result.

A request that is COMPLETED may have failed: its response decides, in one of three shapes (fal.ai/docs, model errors and
request errors). fal has no key that would make a repeated submit harmless, so `submit` makes exactly one POST.
"""

import asyncio
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import httpx2
from pydantic import BaseModel, StringConstraints, ValidationError

from neurocards.domain.catalogue import JsonValue
from neurocards.domain.failures import Failure, FailureKind, Reason, Scope
from neurocards.domain.tasks import (
    Accepted,
    NotFound,
    Pending,
    Refused,
    Submission,
    Succeeded,
    Task,
    TaskFailed,
    Unanswered,
)
from neurocards.providers.fetching import Fetcher, on_this_machine
from neurocards.providers.http import (
    NOT_SENT,
    Printable,
    Reply,
    ask,
    make_client,
    network_failure,
    printable,
    retry_after,
)
from neurocards.providers.keys import opened

Meaning = tuple[FailureKind, Reason, Scope]

_PASSES: Meaning = (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.ORDER)
_OF_THE_KEY: Meaning = (FailureKind.OUTAGE, Reason.PROVIDER, Scope.KEY)
_NOT_SERVED: Meaning = (FailureKind.UNSUITED, Reason.MODEL, Scope.MODEL)
_NOT_THIS_INPUT: Meaning = (FailureKind.UNSUITED, Reason.MODEL, Scope.ORDER)
_NOT_THIS_PHOTO: Meaning = (FailureKind.UNSUITED, Reason.PHOTO, Scope.ORDER)

VERDICTS: Mapping[int | str, Meaning] = {
    # A status, where no type says more. An empty account is a locked one: 403, and so is every key of it.
    400: _NOT_THIS_INPUT,
    401: _OF_THE_KEY,
    402: _OF_THE_KEY,
    403: _OF_THE_KEY,
    404: _NOT_SERVED,
    410: _NOT_SERVED,
    413: _NOT_THIS_INPUT,
    422: _NOT_THIS_INPUT,
    429: (FailureKind.RATE_LIMITED, Reason.PROVIDER, Scope.KEY),
    500: (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.PROVIDER),
    502: (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.PROVIDER),
    503: (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.PROVIDER),
    504: (FailureKind.TEMPORARY, Reason.PROVIDER, Scope.PROVIDER),
    # The words or the photo.
    "content_policy_violation": (FailureKind.PERMANENT, Reason.CONTENT, Scope.ORDER),
    "face_detection_error": _NOT_THIS_PHOTO,
    "image_too_small": _NOT_THIS_PHOTO,
    "image_too_large": _NOT_THIS_PHOTO,
    "file_too_large": _NOT_THIS_PHOTO,
    "unsupported_image_format": _NOT_THIS_PHOTO,
    # The upload is gone or was damaged on its way: the next attempt brings its own.
    "file_download_error": _PASSES,
    "image_load_error": (FailureKind.TEMPORARY, Reason.PHOTO, Scope.ORDER),
    # What our profile of the model says is not true, or not any more: no order would fare better.
    "feature_not_supported": _NOT_SERVED,
    "missing": _NOT_SERVED,
    "extra_forbidden": _NOT_SERVED,
    "value_error.missing": _NOT_SERVED,
    "value_error.extra": _NOT_SERVED,
    # The model or its runner failed: none of it is billed, another try may do.
    "no_media_generated": _PASSES,
    "generation_timeout": _PASSES,
    "internal_server_error": _PASSES,
    "downstream_service_error": _PASSES,
    "downstream_service_unavailable": _PASSES,
    "request_timeout": _PASSES,
    "startup_timeout": _PASSES,
    "runner_scheduling_failure": _PASSES,
    "runner_connection_timeout": _PASSES,
    "runner_connection_refused": _PASSES,
    "runner_connection_error": _PASSES,
    "runner_disconnected": _PASSES,
    "runner_incomplete_response": _PASSES,
    "runner_server_error": _PASSES,
    "internal_error": _PASSES,
    "client_disconnected": _PASSES,
    "client_cancelled": _PASSES,
}
"""What fal's statuses and types of error mean. A type says more than the status; what is in neither may pass."""

REFUSING = {401, 402, 403, 404, 410, 413, 429}
"""Statuses of a submit that made no request, whoever gave them: fal, or a proxy before it."""

INPUT_STATUSES = {400, 405, 406, 409, 411, 412, 414, 415, 422, 423, 431}
"""Statuses of a submit that made no request, where it is fal that gives them and says why."""

QUESTIONS_FAIL = {401, 402, 403, 429}
"""Statuses that are about the question and not about the request that was asked about."""

AWAY = {502, 503, 504}
"""What a gateway says when nobody is behind it; of an upload, which costs nothing, it costs nobody an attempt."""

START_SECONDS = 1800
"""What no runner has begun by then fails at fal, unbilled: it would come too late for the seller."""

FRAME_TYPE = "image/jpeg"


class Fal:
    """The adapter; satisfies production.VideoProvider. Close it when done."""

    name: Literal["fal"] = "fal"

    def __init__(self, *, queue_url: str, rest_url: str, keys: Mapping[str, str]) -> None:
        """`keys` are the secrets by label, at least one."""
        self._queue_url = queue_url.rstrip("/")
        self._rest_url = rest_url.rstrip("/")
        self._keys = keys
        self._client = make_client()
        self._fetcher = Fetcher(allow_loopback=on_this_machine(queue_url))

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def _authorization(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Key {opened(self._keys, key)}"}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._fetcher.close()

    async def try_key(self, key: str) -> None:
        """Announce a file that will never come: raises Failure where the key opens nothing. Costs nothing."""
        await self._announce("never-sent.jpg", key)

    async def upload_frame(self, frame: bytes, name: str, *, key: str) -> str:
        """Announce a JPEG, put it where fal says, and return where it will be found. The key stays with fal."""
        place = await self._announce(name, key)
        try:
            self._check_address(place.upload_url)
            put = await ask(self._client, "PUT", place.upload_url, headers={"Content-Type": FRAME_TYPE}, content=frame)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise network_failure(error) from error
        if put.status in AWAY:
            raise _away(put.status)
        if put.status not in (200, 201, 204):
            # Whatever it is, it is not about our key: an address that has expired looks like a forbidden one.
            raise Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"upload: HTTP {put.status}")
        return place.file_url

    async def _announce(self, name: str, key: str) -> "_Place":
        """Where a JPEG of this name is to be put. Raises Failure."""
        try:
            announced = await ask(
                self._client,
                "POST",
                f"{self._rest_url}/storage/upload/initiate",
                headers=self._authorization(key),
                json={"content_type": FRAME_TYPE, "file_name": name},
            )
            if announced.status in AWAY:
                raise _away(announced.status)
            if announced.status != 200:
                raise _question_failure(announced, "upload")
            return _Place.model_validate_json(announced.content)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise network_failure(error) from error
        except ValidationError as error:
            raise _unreadable("upload") from error

    async def submit(
        self, model: str, values: dict[str, JsonValue], *, key: str, limit_seconds: float, callback_url: str | None
    ) -> Submission:
        """One POST. Whatever leaves room for an accepted request is Unanswered.

        fal's own re-runs of failed work stay on: they are runs of one request with one id, of which only a success is
        billed, and without them a wait for a free place would count as a failure. `x-fal-no-retry` would turn off
        both. They end by START_SECONDS.
        """
        try:
            async with asyncio.timeout(limit_seconds):
                reply = await ask(
                    self._client,
                    "POST",
                    f"{self._queue_url}/{model}",
                    headers={**self._authorization(key), "X-Fal-Request-Timeout": str(START_SECONDS)},
                    params={"fal_webhook": callback_url} if callback_url is not None else {},
                    json=values,
                )
        except (*NOT_SENT, httpx2.InvalidURL) as error:
            return Refused(network_failure(error))
        except httpx2.HTTPError as error:
            return Unanswered(type(error).__name__)
        except TimeoutError:
            return Unanswered("no answer in time")

        if reply.status in (200, 201, 202):
            try:
                queued = _Queued.model_validate_json(reply.content)
            except ValidationError:
                return Unanswered("an answer that cannot be read")
            return Accepted(queued.request_id, task_url=self._own(queued.response_url))
        if reply.status in REFUSING or (reply.status in INPUT_STATUSES and _error(reply) is not None):
            return Refused(_failure(reply, "submit"))
        # A gateway may say so although the request is in the queue behind it.
        return Unanswered(f"HTTP {reply.status}")

    async def task(self, task_id: str, *, key: str, task_url: str | None, model: str) -> Task:
        """Read the request; a status that is not known counts as pending. Raises Failure when nothing is learnt."""
        address = self._own(task_url) or self._address(task_id, model)
        status = await self._status(address, key)
        if status is None:
            return NotFound()
        if status.status != "COMPLETED":
            return Pending()
        reply = await self._ask(address, key)
        if reply.status == 200:
            return _result(reply)
        if not _is_typed(reply) and (status.error is None or reply.status in QUESTIONS_FAIL):
            # Nothing says that this is what became of the request: it may be our question that failed.
            if reply.status == 404:
                return NotFound()
            raise _question_failure(reply, "response")
        return TaskFailed(_failure(reply, "request failed"))

    async def made_for(self, task_id: str, callback_url: str, *, key: str, model: str) -> bool:
        """Whether the request exists for this key. Raises Failure.

        fal does not say which address a request named. It need not: that the callback is about this request its
        signature proved, and for which attempt it was made the address did, which nobody but fal was told.
        """
        return await self._status(self._address(task_id, model), key) is not None

    async def _status(self, address: str, key: str) -> "_Status | None":
        """How the request is getting on; None of one that is not known. Raises Failure."""
        reply = await self._ask(f"{address}/status", key)
        if reply.status == 404:
            return None
        if reply.status not in (200, 202):
            raise _question_failure(reply, "status")
        try:
            return _Status.model_validate_json(reply.content)
        except ValidationError as error:
            raise _unreadable("status") from error

    async def _ask(self, address: str, key: str) -> Reply:
        try:
            return await ask(self._client, "GET", address, headers=self._authorization(key))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise network_failure(error) from error

    async def download(self, url: str, target: Path) -> None:
        """Stream the result into `target`; raises what `Fetcher.fetch` raises."""
        await self._fetcher.fetch(url, target)

    def _own(self, url: object) -> str | None:
        """An address as fal told it, if it lies in the queue we were set up with: the key is sent nowhere else."""
        if not isinstance(url, str) or not re.fullmatch(r"[!-~]{1,4000}", url) or set(url) & set("?#"):
            return None
        return url if url.startswith(f"{self._queue_url}/") else None

    def _address(self, task_id: str, model: str) -> str:
        """Where fal's documentation has a request: below owner and name of the model, without the path behind them."""
        app = "/".join(model.split("/")[:2])
        return f"{self._queue_url}/{app}/requests/{quote(task_id, safe='')}"

    def _check_address(self, url: str) -> None:
        """A frame may be put on any host, but never behind weaker transport than the API itself."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        allowed = {"https", urlsplit(self._rest_url).scheme}
        if parts.scheme not in allowed or not parts.hostname or parts.username:
            raise Failure(FailureKind.TEMPORARY, Reason.RESULT, "upload: not an address we use")


class _Place(BaseModel):
    upload_url: Printable
    file_url: Annotated[str, StringConstraints(pattern=r"^https?://[!-~]{1,4000}$")]


class _Queued(BaseModel):
    request_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
    response_url: object = None


class _Status(BaseModel):
    status: str
    error: Any = None  # Any: that there is one is all that counts


class _Video(BaseModel):
    url: Printable


class _Result(BaseModel):
    video: _Video


class _ModelError(BaseModel):
    type: str = ""
    msg: str = ""


class _Error(BaseModel):
    """An error in any of the three shapes: a sentence, a sentence and a category, or a model's list."""

    detail: str | list[_ModelError]
    error_type: str = ""

    @property
    def types(self) -> list[str]:
        listed = [] if isinstance(self.detail, str) else [error.type for error in self.detail]
        return [kind for kind in (*listed, self.error_type) if kind]

    @property
    def words(self) -> str:
        return self.detail if isinstance(self.detail, str) else "; ".join(error.msg for error in self.detail)


def _error(reply: Reply) -> _Error | None:
    """What fal says went wrong, where it is fal who says it."""
    try:
        return _Error.model_validate_json(reply.content)
    except ValidationError:
        return None


def _is_typed(reply: Reply) -> bool:
    """Whether a model or a runner speaks here: a gateway's errors have no type."""
    error = _error(reply)
    return error is not None and bool(error.types)


def _failure(reply: Reply, call: str) -> Failure:
    """An answer that is an error, in our words: its first known type decides, else its status."""
    error = _error(reply)
    types = error.types if error else []
    said: list[int | str] = [*types, reply.status]
    kind, reason, scope = next((VERDICTS[word] for word in said if word in VERDICTS), _PASSES)
    words = f", {' '.join(types)}: {error.words}"[:500] if error else ""
    return Failure(
        kind,
        reason,
        printable(f"{call}, HTTP {reply.status}{words}"[:500]),
        scope=scope,
        retry_after_seconds=retry_after(reply),
    )


def _away(status: int) -> Failure:
    return Failure(FailureKind.OUTAGE, Reason.PROVIDER, f"upload: HTTP {status}", scope=Scope.PROVIDER)


def _question_failure(reply: Reply, call: str) -> Failure:
    """A question that was not answered: whatever is not about the key or our pace may pass."""
    if reply.status in QUESTIONS_FAIL:
        return _failure(reply, call)
    return Failure(
        FailureKind.TEMPORARY,
        Reason.PROVIDER,
        f"{call}: HTTP {reply.status}",
        scope=Scope.PROVIDER if reply.status >= 500 else Scope.ORDER,
        retry_after_seconds=retry_after(reply),
    )


def _result(reply: Reply) -> Task:
    """The response of a request that succeeded; raises Failure when what came cannot be its response at all."""
    try:
        result = _Result.model_validate_json(reply.content)
    except ValidationError as error:
        if any(problem["type"] == "json_invalid" for problem in error.errors()):
            raise _unreadable("response") from error
        return TaskFailed(Failure(FailureKind.TEMPORARY, Reason.RESULT, "success without a result"))
    return Succeeded(result.video.url, cost_units=_units(reply))


def _units(reply: Reply) -> float | None:
    """The units billed, as the response's header has them."""
    try:
        units = float(reply.headers.get("x-fal-billable-units", ""))
    except ValueError:
        return None
    return units if isfinite(units) and units >= 0 else None


def _unreadable(call: str) -> Failure:
    return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"{call}: an answer that cannot be read")

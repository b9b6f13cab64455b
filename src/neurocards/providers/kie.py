"""KIE.ai: uploads the first frame, submits one task, reads it, downloads its result.

KIE answers HTTP 200 for failures; the envelope's `code` decides, and `kie_codes` says what it means. It has no key
that would make a repeated submit harmless, so `submit` makes exactly one request and says when it cannot know.
"""

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from neurocards.domain.catalogue import JsonValue
from neurocards.domain.failures import Failure, FailureKind, Reason
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
from neurocards.providers.http import NOT_SENT, Printable, Reply, ask, make_client, network_failure, retry_after
from neurocards.providers.keys import opened
from neurocards.providers.kie_codes import (
    UNKNOWN_TASK_CODES,
    query_failure,
    submit_failure,
    task_failure,
    upload_failure,
)

UPLOAD_FOLDER = "neurocards/frames"

LATEST_BUCKETS = 6
"""Of ten minutes each: how a model did in the last hour."""

T = TypeVar("T")


class Kie:
    """The adapter; satisfies production.VideoProvider. Close it when done."""

    name: Literal["kie"] = "kie"

    def __init__(self, *, api_url: str, upload_url: str, keys: Mapping[str, str]) -> None:
        """`keys` are the secrets by label, at least one."""
        self._api_url = api_url.rstrip("/")
        self._upload_url = upload_url.rstrip("/")
        self._keys = keys
        self._client = make_client()
        self._fetcher = Fetcher(allow_loopback=on_this_machine(api_url))

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def _authorization(self, key: str) -> dict[bytes, bytes]:
        # As bytes: a letter that is not ASCII then makes it a wrong key and not an error of ours.
        return {b"Authorization": f"Bearer {opened(self._keys, key)}".encode()}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._fetcher.close()

    async def upload_frame(self, frame: bytes, name: str, *, key: str) -> str:
        """Upload a JPEG under a name that must end in .jpg: KIE serves it with the type of its name."""
        reply = await self._ask(
            "POST",
            f"{self._upload_url}/api/file-stream-upload",
            key=key,
            files={"file": (name, frame, "image/jpeg")},
            data={"uploadPath": UPLOAD_FOLDER, "fileName": name},
        )
        return _read(_UPLOAD, reply, upload_failure).downloadUrl

    async def submit(
        self, model: str, values: dict[str, JsonValue], *, key: str, limit_seconds: float, callback_url: str | None
    ) -> Submission:
        """One POST. Whatever leaves room for an accepted task is Unanswered.

        `callback_url` is told when the task has ended, and stays with the task: `made_for` knows it by that.
        """
        callback = {"callBackUrl": callback_url} if callback_url is not None else {}
        try:
            async with asyncio.timeout(limit_seconds):
                reply = await ask(
                    self._client,
                    "POST",
                    f"{self._api_url}/api/v1/jobs/createTask",
                    headers=self._authorization(key),
                    json={"model": model, "input": values, **callback},
                )
        except NOT_SENT as error:
            return Refused(network_failure(error))
        except httpx2.HTTPError as error:
            return Unanswered(type(error).__name__)
        except TimeoutError:
            return Unanswered("no answer in time")

        code, msg = _code(reply)
        failure = submit_failure(reply.status, code, msg, retry_after_seconds=retry_after(reply))
        if failure is not None:
            return Refused(failure)
        if reply.status >= 300:
            return Unanswered(f"HTTP {reply.status}")
        try:
            return Accepted(_read(_CREATED, reply, query_failure).taskId)
        except Failure:
            return Unanswered("an answer that cannot be read")

    async def task(self, task_id: str, *, key: str, task_url: str | None, model: str) -> Task:
        """Read the task; a state that is not known counts as pending. KIE has one address for all tasks."""
        record = await self._record(task_id, key)
        if record is None:
            return NotFound()
        if record.state == "success":
            return _result(record)
        if record.state == "fail":
            return TaskFailed(task_failure(record.failCode or "", record.failMsg or ""))
        return Pending()

    async def made_for(self, task_id: str, callback_url: str, *, key: str, model: str) -> bool:
        """Whether the task exists and was submitted with exactly this callback address. Raises Failure."""
        record = await self._record(task_id, key)
        return record is not None and _callback_url(record.param) == callback_url

    async def _record(self, task_id: str, key: str) -> "_Record | None":
        """What recordInfo says; None of a task that it does not know. Raises Failure."""
        reply = await self._ask("GET", f"{self._api_url}/api/v1/jobs/recordInfo", key=key, params={"taskId": task_id})
        code, _ = _code(reply)
        if reply.status < 500 and code in UNKNOWN_TASK_CODES:
            return None
        return _read(_RECORD, reply, query_failure)

    async def download(self, url: str, target: Path) -> None:
        """Stream the result into `target`; raises what `Fetcher.fetch` raises."""
        await self._fetcher.fetch(url, target)

    async def balance(self, key: str) -> float:
        """The credits left on the account of a key. Raises Failure."""
        return _read(_BALANCE, await self._ask("GET", f"{self._api_url}/api/v1/chat/credit", key=key), query_failure)

    async def listed(self) -> Mapping[str, str]:
        """The price in words of every model on offer, by its id. Raises Failure.

        Being listed proves no service; not being listed is a strong sign of its end.
        """
        reply = await self._ask("GET", f"{self._api_url}/api/v1/models", key=self.keys[0])
        models = {
            model["model"]: str(model.get("pricingDesc") or "")
            for model in _read(_LISTED, reply, query_failure).models
            if isinstance(model.get("model"), str)
        }
        if not models:
            # Nobody offers nothing: this would look like the end of every model at once.
            raise _unreadable()
        return models

    async def success_rate(self, model: str) -> float | None:
        """The share of all customers' tasks that succeeded in the last hour; None when that is not told.

        Raises Failure.
        """
        reply = await self._ask(
            "GET", f"{self._api_url}/api/v1/models/{quote(model, safe='/')}/success-rate", key=self.keys[0]
        )
        code, _ = _code(reply)
        if (code or reply.status) == 404:
            return None
        points = _read(_RATES, reply, query_failure).points[-LATEST_BUCKETS:]
        percents = [point.successRate for point in points if point.successRate is not None]
        return sum(percents) / len(percents) / 100 if percents else None

    async def _ask(self, method: str, url: str, *, key: str, **request: Any) -> Reply:  # Any: httpx2's options
        """A request that is safe to repeat. Raises Failure."""
        try:
            return await ask(self._client, method, url, headers=self._authorization(key), **request)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise network_failure(error) from error


class _Envelope(BaseModel):
    code: int
    msg: str | None = None
    data: Any = None  # Any: differs per call and is validated by its own shape


class _Upload(BaseModel):
    downloadUrl: Printable  # noqa: N815 (KIE's name)


class _Created(BaseModel):
    taskId: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]  # noqa: N815 (KIE's name)


class _Record(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    state: str
    param: Any = None  # Any: read by _callback_url alone, and no reason not to understand the rest
    resultJson: str | None = None  # noqa: N815 (KIE's name)
    failCode: str | None = None  # noqa: N815 (KIE's name)
    failMsg: str | None = None  # noqa: N815 (KIE's name)
    creditsConsumed: Any = None  # noqa: N815 (KIE's name); Any: what it cost is no reason not to take a result


class _ResultJson(BaseModel):
    resultUrls: list[Printable]  # noqa: N815 (KIE's name)


class _Listed(BaseModel):
    models: list[dict[str, Any]]  # Any: an odd entry must not hide the others


class _Point(BaseModel):
    successRate: Annotated[float, Field(ge=0, le=100)] | None = None  # noqa: N815 (KIE's name)


class _Rates(BaseModel):
    points: list[_Point]


_UPLOAD = TypeAdapter(_Upload)
_CREATED = TypeAdapter(_Created)
_RECORD = TypeAdapter(_Record)
_LISTED = TypeAdapter(_Listed)
_RATES = TypeAdapter(_Rates)
_BALANCE: TypeAdapter[float] = TypeAdapter(Annotated[float, Field(allow_inf_nan=False)])


def _envelope(reply: Reply) -> _Envelope | None:
    """The envelope; None of an answer that has none, as a gateway's."""
    try:
        return _Envelope.model_validate_json(reply.content)
    except ValidationError:
        return None


def _code(reply: Reply) -> tuple[int | None, str]:
    """The envelope's code and message."""
    envelope = _envelope(reply)
    return (envelope.code, envelope.msg or "") if envelope else (None, "")


def _read(shape: TypeAdapter[T], reply: Reply, failed: Callable[..., Failure]) -> T:
    """What an answer holds. Raises Failure: what `failed` makes of its codes, or that it cannot be read."""
    envelope = _envelope(reply)
    if reply.status >= 300 or (envelope is not None and envelope.code != 200):
        code, msg = _code(reply)
        raise failed(reply.status, code, msg, retry_after_seconds=retry_after(reply))
    try:
        return shape.validate_python(envelope.data if envelope else None)
    except ValidationError as error:
        raise _unreadable() from error


def _result(record: _Record) -> Task:
    try:
        urls = _ResultJson.model_validate(json.loads(record.resultJson or "")).resultUrls
    except ValueError:
        urls = []
    if not urls:
        return TaskFailed(Failure(FailureKind.TEMPORARY, Reason.RESULT, "success without a result"))
    return Succeeded(urls[0], cost_units=_cost(record.creditsConsumed))


def _cost(credits: object) -> float | None:
    """What was charged, if that is a sum of money."""
    if isinstance(credits, int | float) and math.isfinite(credits) and credits >= 0:
        return float(credits)
    return None


def _callback_url(param: object) -> object:
    """The address in the request as the record repeats it: JSON in a string."""
    try:
        request = json.loads(param) if isinstance(param, str) else None
    except ValueError:
        return None
    return request.get("callBackUrl") if isinstance(request, dict) else None


def _unreadable() -> Failure:
    return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, "an answer that cannot be read")

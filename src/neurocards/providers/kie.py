"""KIE.ai: uploads the first frame, submits one task, reads it, downloads its result.

KIE answers HTTP 200 for failures; the envelope's `code` decides (docs.kie.ai, getting started and model pages). It has
no key that would make a repeated submit harmless, so `submit` makes exactly one request and says when it cannot know.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ValidationError

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
from neurocards.providers.http import NOT_SENT, Reply, ask, make_client, network_failure, retry_after

UPLOAD_FOLDER = "neurocards/frames"

MAX_RESULT_BYTES = 300 * 1024 * 1024

OUTAGE_CODES = {401, 402, 433, 455}
"""Wrong key, no credits, the key's own limit, maintenance: ours or theirs to mend, not the order's fault."""

UNKNOWN_TASK_CODES = {404, 422}
"""What recordInfo says of a task that it does not know: "recordInfo is null"."""

RETRYABLE_CODES = {408, 451, 500, 501, 550}
MODEL_CODES = {404, 422, 505}


class Kie:
    """The adapter; satisfies production.VideoProvider. Close it when done."""

    name: Literal["kie"] = "kie"

    def __init__(self, *, api_url: str, upload_url: str, api_key: str) -> None:
        self._api_url = api_url.rstrip("/")
        self._upload_url = upload_url.rstrip("/")
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._client = make_client()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def upload_frame(self, frame: bytes, name: str) -> str:
        """Upload a JPEG under a name that must end in .jpg: KIE serves it with the type of its name."""
        try:
            reply = await ask(
                self._client,
                "POST",
                f"{self._upload_url}/api/file-stream-upload",
                headers=self._authorization,
                files={"file": (name, frame, "image/jpeg")},
                data={"uploadPath": UPLOAD_FOLDER, "fileName": name},
            )
            envelope = _Upload.model_validate(_data(_envelope(reply)))
        except httpx2.HTTPError as error:
            raise network_failure(error) from error
        except ValidationError as error:
            raise _unreadable("upload") from error
        return envelope.downloadUrl

    async def submit(
        self, model: str, values: dict[str, JsonValue], *, limit_seconds: float, callback_url: str | None
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
                    headers=self._authorization,
                    json={"model": model, "input": values, **callback},
                )
        except NOT_SENT as error:
            return Refused(network_failure(error))
        except httpx2.HTTPError as error:
            return Unanswered(type(error).__name__)
        except TimeoutError:
            return Unanswered("no answer in time")

        if reply.status >= 500:
            # A gateway may say so although the task was made behind it.
            return Unanswered(f"HTTP {reply.status}")
        try:
            created = _Created.model_validate(_data(_envelope(reply)))
        except Failure as failure:
            return Refused(failure)
        except ValidationError:
            return Unanswered("an answer that cannot be read")
        return Accepted(created.taskId)

    async def task(self, task_id: str) -> Task:
        """Read the task; a state that is not known counts as pending."""
        record = await self._record(task_id)
        if record is None:
            return NotFound()
        if record.state == "success":
            return _result(record)
        if record.state == "fail":
            return TaskFailed(_task_failure(record.failCode or "", record.failMsg or ""))
        return Pending()

    async def made_for(self, task_id: str, callback_url: str) -> bool:
        """Whether the task exists and was submitted with exactly this callback address. Raises Failure."""
        record = await self._record(task_id)
        return record is not None and _callback_url(record.param) == callback_url

    async def _record(self, task_id: str) -> "_Record | None":
        """What recordInfo says; None of a task that it does not know. Raises Failure."""
        try:
            reply = await ask(
                self._client,
                "GET",
                f"{self._api_url}/api/v1/jobs/recordInfo",
                headers=self._authorization,
                params={"taskId": task_id},
            )
            envelope = _envelope(reply)
            if envelope.code in UNKNOWN_TASK_CODES:
                return None
            return _Record.model_validate(_data(envelope))
        except httpx2.HTTPError as error:
            raise network_failure(error) from error
        except ValidationError as error:
            raise _unreadable("recordInfo") from error

    async def download(self, url: str, target: Path) -> None:
        """Stream the result into `target`: no key goes along, no redirect is followed, the size is capped."""
        self._check_address(url)
        try:
            async with self._client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"download: HTTP {response.status_code}")
                received = 0
                with target.open("wb") as file:
                    async for chunk in response.aiter_bytes(256 * 1024):
                        received += len(chunk)
                        if received > MAX_RESULT_BYTES:
                            raise Failure(FailureKind.TEMPORARY, Reason.RESULT, "download: too large")
                        file.write(chunk)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise network_failure(error) from error

    def _check_address(self, url: str) -> None:
        """A result may lie on any host, but never behind weaker transport than the API itself."""
        parts = urlsplit(url)
        allowed = {"https", urlsplit(self._api_url).scheme}
        if parts.scheme not in allowed or not parts.hostname or parts.username:
            raise Failure(FailureKind.TEMPORARY, Reason.RESULT, "download: not an address we fetch from")


class _Envelope(BaseModel):
    code: int
    msg: str | None = None
    data: Any = None  # Any: differs per call and is validated by its own model


class _Upload(BaseModel):
    downloadUrl: str  # noqa: N815 (KIE's name)


class _Created(BaseModel):
    taskId: str  # noqa: N815 (KIE's name)


class _Record(BaseModel):
    state: str
    param: Any = None  # Any: read by _callback_url alone, and no reason not to understand the rest
    resultJson: str | None = None  # noqa: N815 (KIE's name)
    failCode: str | None = None  # noqa: N815 (KIE's name)
    failMsg: str | None = None  # noqa: N815 (KIE's name)


class _ResultJson(BaseModel):
    resultUrls: list[str]  # noqa: N815 (KIE's name)


def _envelope(reply: Reply) -> _Envelope:
    """The envelope; raises Failure for a status that has none, ValidationError for one that cannot be read."""
    if reply.status == 429:
        raise Failure(FailureKind.RATE_LIMITED, Reason.PROVIDER, "HTTP 429", retry_after_seconds=retry_after(reply))
    if reply.status in OUTAGE_CODES:
        raise _code_failure(reply.status, "")
    if reply.status >= 500:
        raise Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"HTTP {reply.status}")
    return _Envelope.model_validate_json(reply.content)


def _data(envelope: _Envelope) -> Any:  # Any: validated by the caller
    if envelope.code != 200:
        raise _code_failure(envelope.code, envelope.msg or "")
    return envelope.data


def _code_failure(code: int, message: str) -> Failure:
    """The envelope's codes (docs.kie.ai model pages; 433, 451, 455, 505 and 550 are KIE's own)."""
    text = f"code {code}: {message}"
    if code == 429:
        return Failure(FailureKind.RATE_LIMITED, Reason.PROVIDER, text)
    if code in OUTAGE_CODES:
        return Failure(FailureKind.OUTAGE, Reason.PROVIDER, text)
    if code == 400:
        return Failure(FailureKind.PERMANENT, Reason.CONTENT, text)
    if code in MODEL_CODES or (code == 500 and _about_the_model(message)):
        return Failure(FailureKind.PERMANENT, Reason.MODEL, text)
    if code in RETRYABLE_CODES:
        return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, text)
    return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"unknown {text}")


def _about_the_model(message: str) -> bool:
    """Code 500 also stands for a wrong request and for a model that is switched off: no retry helps."""
    return "is required" in message or "temporarily paused" in message


def _task_failure(code: str, message: str) -> Failure:
    text = f"task failed, code {code}: {message}"
    if code == "400":
        return Failure(FailureKind.PERMANENT, Reason.CONTENT, text)
    return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, text)


def _result(record: _Record) -> Task:
    try:
        urls = _ResultJson.model_validate(json.loads(record.resultJson or "")).resultUrls
    except (ValidationError, json.JSONDecodeError):
        urls = []
    if not urls:
        return TaskFailed(Failure(FailureKind.TEMPORARY, Reason.RESULT, "success without a result"))
    return Succeeded(urls[0])


def _callback_url(param: object) -> object:
    """The address in the request as the record repeats it: JSON in a string."""
    try:
        request = json.loads(param) if isinstance(param, str) else None
    except ValueError:
        return None
    return request.get("callBackUrl") if isinstance(request, dict) else None


def _unreadable(call: str) -> Failure:
    return Failure(FailureKind.TEMPORARY, Reason.PROVIDER, f"{call}: an answer that cannot be read")

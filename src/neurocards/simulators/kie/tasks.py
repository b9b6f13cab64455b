"""Tasks from their creation to their video: states, credits, results and callbacks, as KIE's documentation has them."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

import httpx2
from pydantic import JsonValue

from neurocards.simulators.exchange import masked
from neurocards.simulators.kie.clips import ClipMaker
from neurocards.simulators.kie.faults import FATES, KieFault
from neurocards.simulators.kie.models import Wanted, frame_size
from neurocards.simulators.kie.pictures import (
    NOT_FETCHED,
    NOT_WHAT_IT_SAYS,
    Picture,
    Rejection,
    examine,
    fetch,
    is_loopback,
)
from neurocards.simulators.kie.render import ClipSpec
from neurocards.simulators.kie.settings import KieSettings
from neurocards.simulators.kie.uploads import UploadedFiles

CALLBACK_TRIES = 3
CALLBACK_SECONDS = 15.0
CALLBACK_PAUSE_SECONDS = 0.5
NOT_A_VIDEO = b"<html><body>AccessDenied: the link has expired</body></html>"


class TaskState(StrEnum):
    WAITING = "waiting"
    QUEUING = "queuing"
    GENERATING = "generating"
    SUCCESS = "success"
    FAIL = "fail"


@dataclass
class Callback:
    """One try to tell the client; `outcome` is the HTTP status or the kind of network trouble."""

    at: float
    outcome: str


@dataclass
class Task:
    """One createTask that was accepted, and all that has become of it."""

    id: str
    model: str
    input: dict[str, JsonValue]
    wanted: Wanted
    key: str
    base_url: str
    callback_url: str | None
    created: float
    updated: float
    seconds: float
    credits: float
    fate: KieFault | None
    state: TaskState = TaskState.WAITING
    completed: float | None = None
    rejection: Rejection | None = None
    result: Path | None = None
    result_name: str = field(default_factory=lambda: f"{uuid.uuid4().hex}.mp4")
    callbacks: list[Callback] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.state in (TaskState.SUCCESS, TaskState.FAIL)

    @property
    def result_url(self) -> str | None:
        return f"{self.base_url}/results/{self.result_name}" if self.state is TaskState.SUCCESS else None

    def progress(self) -> int:
        if self.state is TaskState.SUCCESS:
            return 100
        end = self.completed or time.time()
        return min(99, int(100 * (end - self.created) / self.seconds)) if self.seconds else 99

    def move(self, state: TaskState) -> None:
        self.state = state
        self.updated = time.time()

    def record(self) -> dict[str, JsonValue]:
        """The `data` of recordInfo and of a callback. What is not there yet is sometimes '' and sometimes null."""
        blank = None if self.is_over else ""
        request = {"model": self.model, "callBackUrl": self.callback_url, "input": self.input}
        return {
            "taskId": self.id,
            "model": self.model,
            "state": self.state.value,
            "param": json.dumps(request, ensure_ascii=False),
            "resultJson": json.dumps({"resultUrls": [self.result_url]}) if self.result_url else blank,
            "failCode": self.rejection.fail_code if self.rejection else blank,
            "failMsg": self.rejection.fail_msg if self.rejection else blank,
            "costTime": round((self.completed - self.created) * 1000) if self.completed else None,
            "completeTime": round(self.completed * 1000) if self.completed else None,
            "createTime": round(self.created * 1000),
            "updateTime": round(self.updated * 1000),
            "progress": self.progress(),
            "creditsConsumed": self.credits,
        }

    def seen_by_tests(self) -> dict[str, JsonValue]:
        """What `/sim/tasks` shows."""
        return {
            "id": self.id,
            "model": self.model,
            "input": self.input,
            "state": self.state.value,
            "progress": self.progress(),
            "created": self.created,
            "completed": self.completed,
            "key": masked(self.key),
            "credits": self.credits,
            "fate": self.fate.kind if self.fate else None,
            "fail_code": self.rejection.fail_code if self.rejection else None,
            "result_url": self.result_url,
            "callback_url": self.callback_url,
            "callbacks": [{"at": callback.at, "outcome": callback.outcome} for callback in self.callbacks],
        }


class Studio:
    """Makes the tasks' videos and keeps the account of credits."""

    def __init__(self, clips: ClipMaker, uploads: UploadedFiles, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = KieSettings()
        self.tasks: dict[str, Task] = {}
        self._by_result: dict[str, Task] = {}
        self._clips = clips
        self._uploads = uploads
        self._spoiled = folder
        self._running: set[asyncio.Task[None]] = set()
        self._client: httpx2.AsyncClient | None = None

    def change(self, settings: KieSettings) -> None:
        self.settings = settings

    def create(
        self,
        *,
        model: str,
        fields: dict[str, JsonValue],
        wanted: Wanted,
        key: str,
        base_url: str,
        callback_url: str | None,
        fate: KieFault | None,
    ) -> Task | None:
        """Take the credits and begin the work; None when the credits do not suffice."""
        price = round(wanted.price_credits, 2)
        if price > self.settings.credits:
            return None
        self._add_credits(-price)
        now = time.time()
        task = Task(
            id=uuid.uuid4().hex,
            model=model,
            input=fields,
            wanted=wanted,
            key=key,
            base_url=base_url,
            callback_url=callback_url,
            created=now,
            updated=now,
            seconds=self.settings.task_seconds,
            credits=price,
            fate=fate if fate and fate.kind in FATES else None,
        )
        self.tasks[task.id] = self._by_result[task.result_name] = task
        self._start(self._carry_out(task))
        return task

    def result_file(self, name: str) -> Path | None:
        """The finished file behind a result address."""
        task = self._by_result.get(name)
        if task is None or task.result is None or (task.fate and task.fate.kind == "result_404"):
            return None
        return task.result if task.result.is_file() else None

    def repeat_callback(self, task: Task) -> None:
        """Tell the client once more what it may know already."""
        self._start(self._call_back(task))

    async def reset(self) -> None:
        """Forget every task and every setting."""
        await self._stop()
        self.tasks.clear()
        self._by_result.clear()
        self.settings = KieSettings()

    async def close(self) -> None:
        await self._stop()
        self._clips.close()
        if self._client:
            await self._client.aclose()

    async def _carry_out(self, task: Task) -> None:
        if task.fate and task.fate.kind == "never_ends":
            await self._pace(task)
            return
        made, _ = await asyncio.gather(self._make(task), self._pace(task))
        task.completed = time.time()
        if isinstance(made, Rejection):
            task.rejection = made
            # A failed task costs nothing.
            self._add_credits(task.credits)
            task.credits = 0
            task.move(TaskState.FAIL)
        else:
            task.result = made
            task.move(TaskState.SUCCESS)
        if task.callback_url:
            await self._call_back(task)

    async def _pace(self, task: Task) -> None:
        """The states that a client sees while it waits, whether or not the video is ready earlier."""
        await asyncio.sleep(task.seconds * 0.1)
        task.move(TaskState.QUEUING)
        await asyncio.sleep(task.seconds * 0.15)
        task.move(TaskState.GENERATING)
        await asyncio.sleep(task.seconds * 0.75)

    async def _make(self, task: Task) -> Path | Rejection:
        fate = task.fate
        if fate and fate.kind == "task_fails":
            return Rejection(fate.fail_code, fate.fail_msg)
        picture = await self._picture(task)
        if isinstance(picture, Rejection):
            return picture
        spec = replace(_spec(task.wanted, picture.size, fate), frame_rate=self.settings.frame_rate)
        shared = self.settings.render == "shared"
        try:
            clip = await self._clips.clip(spec, None if shared else picture.data)
        except (OSError, SyntaxError, ValueError):
            return NOT_WHAT_IT_SAYS
        except Exception:
            return Rejection("500", "Internal Error")
        if fate and fate.kind == "bad_result":
            return await asyncio.to_thread(self._spoil, clip, fate.variant)
        return clip

    async def _picture(self, task: Task) -> Picture | Rejection:
        url = task.wanted.image_url
        own_files = f"{task.base_url}/files/"
        if url.startswith(own_files):
            content = await self._uploads.content(unquote(url.removeprefix(own_files)))
        else:
            content = await fetch(self._http(), url)
        return await examine(*content) if content else NOT_FETCHED

    def _spoil(self, clip: Path, variant: str) -> Path:
        """The damaged copy of a clip; variants that are damaged by the way they are rendered need none."""
        whole = clip.read_bytes()
        match variant:
            case "truncated":
                damaged = whole[: len(whole) * 3 // 5]
            case "not_a_video":
                damaged = NOT_A_VIDEO
            case "zero_bytes":
                damaged = b""
            case _:
                return clip
        path = self._spoiled / f"{variant}-{clip.name}"
        path.write_bytes(damaged)
        return path

    async def _call_back(self, task: Task) -> None:
        """Deliver the callback; three tries, then the client is left to its own polling."""
        url = task.callback_url
        if url is None or not is_loopback(url):
            return
        body = _callback_body(task)
        for attempt in range(CALLBACK_TRIES):
            await asyncio.sleep(CALLBACK_PAUSE_SECONDS * attempt)
            headers = {"Content-Type": "application/json", **_signature(task.id, self.settings.webhook_key)}
            callback = Callback(time.time(), "pending")
            task.callbacks.append(callback)
            try:
                answer = await self._http().post(url, content=body, headers=headers, timeout=CALLBACK_SECONDS)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                callback.outcome = type(error).__name__
                continue
            callback.outcome = str(answer.status_code)
            if answer.status_code == 200:
                return

    def _add_credits(self, credits: float) -> None:
        balance = round(self.settings.credits + credits, 2)
        self.settings = self.settings.model_copy(update={"credits": balance})

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            limits = httpx2.Limits(max_connections=200)
            self._client = httpx2.AsyncClient(trust_env=False, limits=limits, headers={"User-Agent": "KIE"})
        return self._client

    def _start(self, work: Coroutine[None, None, None]) -> None:
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _stop(self) -> None:
        running = list(self._running)
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _spec(wanted: Wanted, image_size: tuple[int, int], fate: KieFault | None) -> ClipSpec:
    width, height = frame_size(wanted, image_size)
    seconds: float = wanted.seconds
    spoiling = fate.variant if fate and fate.kind == "bad_result" else None
    if spoiling == "small":
        width, height = width // 4 * 2, height // 4 * 2
    if spoiling == "wrong_length":
        seconds /= 2
    return ClipSpec(
        width,
        height,
        seconds,
        sound=wanted.sound and not (fate and fate.kind == "silent"),
        look=spoiling if spoiling in ("black", "frozen") else "moving",
    )


def _callback_body(task: Task) -> bytes:
    data = task.record()
    del data["progress"]
    if task.state is TaskState.SUCCESS:
        body = {"code": 200, "msg": "Playground task completed successfully.", "data": data}
    else:
        body = {"code": 501, "msg": "Playground task failed.", "data": data}
    return json.dumps(body, ensure_ascii=False).encode()


def _signature(task_id: str, webhook_key: str | None) -> dict[str, str]:
    """KIE signs the task's id and the time, not the body."""
    if webhook_key is None:
        return {}
    timestamp = str(int(time.time()))
    digest = hmac.digest(webhook_key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256)
    return {
        "X-Webhook-Timestamp": timestamp,
        "X-Webhook-Signature": base64.b64encode(digest).decode(),
    }

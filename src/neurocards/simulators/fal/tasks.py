"""Requests from their place in the queue to their video: states, results and webhooks, as fal's documentation has them.

fal calls them requests. Here they are tasks, as in the other simulator, so that nobody takes them for HTTP's.
"""

import asyncio
import json
import time
import uuid
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

from pydantic import JsonValue

from neurocards.simulators.exchange import masked
from neurocards.simulators.fal.errors import (
    CONTENT_REFUSED,
    NOT_DOWNLOADED,
    NOT_LOADED,
    Answer,
    model_error,
    of_type,
    plain,
    platform_error,
)
from neurocards.simulators.fal.faults import FATES, FalFault
from neurocards.simulators.fal.models import MODELS, Wanted, app_of, frame_size, read
from neurocards.simulators.fal.settings import FalSettings
from neurocards.simulators.fal.webhooks import OLD_SECONDS, TRIES, Callback, Postman, Signer
from neurocards.simulators.studio.clips import ClipMaker
from neurocards.simulators.studio.pictures import Picture, examine, fetch
from neurocards.simulators.studio.render import ClipSpec
from neurocards.simulators.studio.spoiling import flawed, spoiled
from neurocards.simulators.studio.uploads import UploadedFiles
from neurocards.simulators.studio.usage import Usage

FOREIGN_RESULT = "http://127.0.0.1:9/foreign.mp4"


class TaskState(StrEnum):
    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"


@dataclass
class Task:
    """One submit that was accepted, and all that has become of it. `units` is what it was billed with."""

    id: str
    model: str
    input: JsonValue
    key: str
    base_url: str
    callback_url: str | None
    created: float
    seconds: float
    fate: FalFault | None
    state: TaskState = TaskState.IN_QUEUE
    completed: float | None = None
    answer: Answer | None = None
    result: Path | None = None
    units: float = 0.0
    result_name: str = field(default_factory=lambda: f"{uuid.uuid4().hex}.mp4")
    callbacks: list[Callback] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.state is TaskState.COMPLETED

    @property
    def url(self) -> str:
        """Where it is asked about: below the application, whatever path inside it was called."""
        return f"{self.base_url}/{app_of(self.model)}/requests/{self.id}"

    @property
    def result_url(self) -> str | None:
        return f"{self.base_url}/results/{self.result_name}" if self.result else None

    def fated(self, kind: str) -> bool:
        return self.fate is not None and self.fate.kind == kind

    def progress(self) -> int:
        if self.is_over:
            return 100
        return min(99, int(100 * (time.time() - self.created) / self.seconds)) if self.seconds else 99

    def links(self) -> dict[str, JsonValue]:
        return {
            "request_id": self.id,
            "response_url": self.url,
            "status_url": f"{self.url}/status",
            "cancel_url": f"{self.url}/cancel",
        }

    def status(self, queue_position: int) -> dict[str, JsonValue]:
        """What `/status` shows. A failure is COMPLETED like a success, and says a little more."""
        shown: dict[str, JsonValue] = {"status": self.state.value, **self.links(), "logs": None}
        if self.state is TaskState.IN_QUEUE:
            shown["queue_position"] = queue_position
        if self.is_over:
            shown["metrics"] = {"inference_time": round((self.completed or self.created) - self.created, 3)}
        if self.answer and self.answer.is_error:
            shown["error"] = f"Invalid status code: {self.answer.status}"
            if kind := self.answer.headers.get("X-Fal-Error-Type"):
                shown["error_type"] = kind
        return shown

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
            "units": self.units,
            "fate": self.fate.kind if self.fate else None,
            "status": self.answer.status if self.answer else None,
            "result_url": self.result_url,
            "callback_url": self.callback_url,
            "callbacks": [{"at": callback.at, "outcome": callback.outcome} for callback in self.callbacks],
        }


class Queue:
    """Makes the videos of the tasks and keeps the account's balance."""

    def __init__(self, clips: ClipMaker, uploads: UploadedFiles, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = FalSettings()
        self.tasks: dict[str, Task] = {}
        self.keys: defaultdict[str, Usage] = defaultdict(Usage)
        self.signer = Signer()
        self._by_result: dict[str, Task] = {}
        self._clips = clips
        self._uploads = uploads
        self._spoiled = folder
        self._postman = Postman()
        self._running: set[asyncio.Task[None]] = set()
        self._making: dict[str, asyncio.Task[None]] = {}

    @property
    def is_locked(self) -> bool:
        """Whether the account has nothing left."""
        return self.settings.credits <= 0

    def change(self, settings: FalSettings) -> None:
        self.settings = settings

    def submit(
        self,
        *,
        model: str,
        fields: JsonValue,
        key: str,
        base_url: str,
        callback_url: str | None,
        fate: FalFault | None,
    ) -> Task | None:
        """Put a task in the queue; None when the key has as many unfinished ones as it may."""
        usage, limit = self.keys[key], self.settings.max_in_flight
        if limit is not None and usage.in_flight >= limit:
            return None
        usage.accept()
        usage.begin()
        task = Task(
            id=str(uuid.uuid4()),
            model=model,
            input=fields,
            key=key,
            base_url=base_url,
            callback_url=callback_url,
            created=time.time(),
            seconds=self.settings.task_seconds,
            fate=fate if fate and fate.kind in FATES else None,
        )
        self.tasks[task.id] = self._by_result[task.result_name] = task
        self._making[task.id] = self._start(self._carry_out(task))
        return task

    def position(self, task: Task) -> int:
        """How many wait before it."""
        waiting = [each for each in self.tasks.values() if each.state is TaskState.IN_QUEUE]
        return waiting.index(task) if task in waiting else 0

    def cancel(self, task: Task) -> bool:
        """Stop a task that is not over; it then ends with an error of its own."""
        if task.is_over:
            return False
        self._making[task.id].cancel()
        self._complete(task, platform_error(499, "client_cancelled", "The request was cancelled by the client."))
        self._start(self._call_back(task))
        return True

    def result_file(self, name: str) -> Path | None:
        """The finished file behind a result address."""
        task = self._by_result.get(name)
        if task is None or task.result is None or task.fated("result_404"):
            return None
        return task.result if task.result.is_file() else None

    def repeat_callback(self, task: Task) -> None:
        """Tell the client once more what it may know already."""
        self._start(self._deliver(task))

    async def reset(self) -> None:
        """Forget every task and every setting."""
        await self._stop()
        self.tasks.clear()
        self._by_result.clear()
        self._making.clear()
        self.keys.clear()
        self.settings = FalSettings()

    async def close(self) -> None:
        await self._stop()
        self._clips.close()
        await self._postman.close()

    async def _carry_out(self, task: Task) -> None:
        if task.fated("never_ends"):
            await self._pace(task)
            return
        made, _ = await asyncio.gather(self._make(task), self._pace(task))
        self._complete(task, made)
        self._start(self._call_back(task))

    async def _pace(self, task: Task) -> None:
        """The states that a client sees while it waits, whether or not the video is ready earlier."""
        await asyncio.sleep(task.seconds * 0.25)
        task.state = TaskState.IN_PROGRESS
        await asyncio.sleep(task.seconds * 0.75)

    def _complete(self, task: Task, answer: Answer) -> None:
        """The end of a task; only a success is billed."""
        task.answer = answer
        task.completed = time.time()
        task.state = TaskState.COMPLETED
        self._making.pop(task.id, None)
        self.keys[task.key].end()
        if answer.is_error:
            task.units = 0.0
        else:
            credits = round(self.settings.credits - task.units, 2)
            self.settings = self.settings.model_copy(update={"credits": credits})

    async def _make(self, task: Task) -> Answer:
        fate = task.fate
        if fate and fate.kind == "task_fails":
            return of_type(fate.status, fate.type, fate.msg)
        model = MODELS.get(task.model)
        if model is None:
            return plain(404, f"Path {task.model.removeprefix(app_of(task.model))} not found")
        wanted = read(model, task.input)
        if isinstance(wanted, Answer):
            return wanted
        pictures = []
        for name, url in wanted.images:
            picture = await self._picture(task, name, url)
            if isinstance(picture, Answer):
                return picture
            pictures.append(picture)
        if task.fated("content_refused"):
            return model_error(422, "content_policy_violation", CONTENT_REFUSED, "body", "prompt")
        return await self._filmed(task, wanted, pictures[0])

    async def _picture(self, task: Task, name: str, url: str) -> Picture | Answer:
        own_files = f"{task.base_url}/files/"
        if url.startswith(own_files):
            content = await self._uploads.content(unquote(url.removeprefix(own_files)))
        else:
            content = await fetch(self._postman.http(), url)
        if content is None:
            return model_error(422, "file_download_error", NOT_DOWNLOADED, "body", name)
        picture = await examine(*content)
        return picture or model_error(422, "image_load_error", NOT_LOADED, "body", name)

    async def _filmed(self, task: Task, wanted: Wanted, picture: Picture) -> Answer:
        spoiling = task.fate.variant if task.fate and task.fate.kind == "bad_result" else None
        width, height = frame_size(wanted, picture.size)
        sound = wanted.sound and not task.fated("silent")
        spec = ClipSpec(width, height, wanted.seconds, sound=sound, frame_rate=self.settings.frame_rate)
        shared = self.settings.render == "shared"
        try:
            clip = await self._clips.clip(flawed(spec, spoiling), None if shared else picture.data)
        except (OSError, SyntaxError, ValueError):
            return model_error(422, "image_load_error", NOT_LOADED, "body", wanted.images[0][0])
        except Exception:
            return platform_error(500, "runner_server_error", "The runner encountered an internal server error.")
        task.units = wanted.units
        headers = {"x-fal-billable-units": str(wanted.units)}
        if task.fated("no_video"):
            return Answer(200, {"video": None}, headers)
        task.result = await spoiled(clip, spoiling, self._spoiled) if spoiling else clip
        video: JsonValue = {
            "url": task.result_url,
            "content_type": "video/mp4",
            "file_name": "output.mp4",
            "file_size": task.result.stat().st_size,
        }
        return Answer(200, {"video": video}, headers)

    async def _call_back(self, task: Task) -> None:
        """Tell the client that the task is over, in whichever way its fate has it."""
        match task.fate.kind if task.fate else None:
            case "callback_never":
                return
            case "callback_late" if task.fate:
                await asyncio.sleep(task.fate.delay_seconds)
            case "callback_thrice":
                await self._deliver(task)
                await self._deliver(task)
            case "callback_lies":
                await self._deliver(task, body=_lie())
            case "callback_forged":
                await self._deliver(task, signer=Signer(), tries=1)
            case "callback_old":
                await self._deliver(task, age_seconds=OLD_SECONDS, tries=1)
            case _:
                pass
        await self._deliver(task)

    async def _deliver(
        self,
        task: Task,
        *,
        body: bytes | None = None,
        signer: Signer | None = None,
        age_seconds: int = 0,
        tries: int = TRIES,
    ) -> None:
        if task.callback_url is None or task.answer is None:
            return
        await self._postman.deliver(
            task.callback_url,
            task.id,
            body or _callback_body(task, task.answer),
            signer=signer or self.signer,
            callbacks=task.callbacks,
            pause_seconds=self.settings.webhook_pause_seconds,
            age_seconds=age_seconds,
            tries=tries,
        )

    def _start(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    async def _stop(self) -> None:
        running = list(self._running)
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _callback_body(task: Task, answer: Answer) -> bytes:
    body: dict[str, JsonValue] = {"request_id": task.id, "gateway_request_id": task.id}
    if answer.is_error:
        body |= {"status": "ERROR", "error": f"Invalid status code: {answer.status}", "payload": answer.body}
    elif task.fated("callback_without_payload"):
        body |= {"status": "OK", "payload": None, "payload_error": "Response payload is not JSON serializable."}
    else:
        body |= {"status": "OK", "payload": answer.body}
    return json.dumps(body, ensure_ascii=False).encode()


def _lie() -> bytes:
    """Signed all the same: of a request that was never made, with a result that is not ours."""
    name = str(uuid.uuid4())
    payload: JsonValue = {"video": {"url": FOREIGN_RESULT, "content_type": "video/mp4"}}
    return json.dumps({"request_id": name, "gateway_request_id": name, "status": "OK", "payload": payload}).encode()

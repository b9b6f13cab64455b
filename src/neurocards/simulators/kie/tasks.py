"""Tasks from their creation to their video: states, credits, results and callbacks, as KIE's documentation has them."""

import asyncio
import time
import uuid
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import httpx2
from pydantic import JsonValue

from neurocards.simulators.kie.callbacks import Letter, letters_at_the_end, letters_at_the_start
from neurocards.simulators.kie.faults import FATES, KieFault
from neurocards.simulators.kie.keys import KeyBook, purse
from neurocards.simulators.kie.models import Wanted, frame_size
from neurocards.simulators.kie.pictures import NOT_FETCHED, NOT_WHAT_IT_SAYS, Rejection, examine
from neurocards.simulators.kie.records import Callback, Task, TaskState
from neurocards.simulators.kie.settings import KieSettings
from neurocards.simulators.studio.clips import ClipMaker
from neurocards.simulators.studio.pictures import Picture, fetch, is_loopback
from neurocards.simulators.studio.render import ClipSpec
from neurocards.simulators.studio.spoiling import flawed, spoiled
from neurocards.simulators.studio.uploads import UploadedFiles

CALLBACK_SECONDS = 15.0
CALLBACK_PAUSE_SECONDS = 0.5


class Studio:
    """Makes the tasks' videos and keeps the account of credits."""

    def __init__(self, clips: ClipMaker, uploads: UploadedFiles, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = KieSettings()
        self.keys = KeyBook()
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
        if price > purse(key, self.settings):
            return None
        self._add_credits(key, -price)
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
        self.keys[key].begin()
        work = self._start(self._carry_out(task))
        work.add_done_callback(lambda _done: task.told.set())
        return task

    def made(self, result_name: str) -> Task | None:
        """The task whose finished file lies behind a result address."""
        task = self._by_result.get(result_name)
        return task if task and task.result and task.result.is_file() else None

    def repeat_callback(self, task: Task) -> None:
        """Tell the client once more what it may know already."""
        self._start(self._deliver(task, letters_at_the_end(task, self.settings.webhook_key)))

    async def reset(self) -> None:
        """Forget every task, every key and every setting."""
        await self._stop()
        self.tasks.clear()
        self._by_result.clear()
        self.keys = KeyBook()
        self.settings = KieSettings()

    async def close(self) -> None:
        await self._stop()
        self._clips.close()
        if self._client:
            await self._client.aclose()

    async def _carry_out(self, task: Task) -> None:
        self._start(self._deliver(task, letters_at_the_start(task, self.settings.webhook_key)))
        if task.fate and task.fate.kind == "never_ends":
            await self._pace(task)
            return
        made, _ = await asyncio.gather(self._make(task), self._pace(task))
        self._finish(task, made)
        await self._deliver(task, letters_at_the_end(task, self.settings.webhook_key))

    def _finish(self, task: Task, made: Path | Rejection) -> None:
        task.completed = time.time()
        self.keys[task.key].end()
        if isinstance(made, Path):
            task.result = made
            task.move(TaskState.SUCCESS)
            return
        task.rejection = made
        if not self.settings.keep_failed_credits:
            self._add_credits(task.key, task.credits)
            task.credits = 0
        task.move(TaskState.FAIL)

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
            return await spoiled(clip, fate.variant, self._spoiled)
        return clip

    async def _picture(self, task: Task) -> Picture | Rejection:
        url = task.wanted.image_url
        own_files = f"{task.base_url}/files/"
        if url.startswith(own_files):
            content = await self._uploads.content(unquote(url.removeprefix(own_files)))
        else:
            content = await fetch(self._http(), url)
        return await examine(*content) if content else NOT_FETCHED

    async def _deliver(self, task: Task, letters: Iterable[Letter]) -> None:
        """Bring letters one after the other; each has its tries, then the client is left to its own polling."""
        for letter in letters:
            if is_loopback(letter.url):
                await self._bring(task, letter)

    async def _bring(self, task: Task, letter: Letter) -> None:
        for attempt in range(letter.tries):
            await asyncio.sleep(CALLBACK_PAUSE_SECONDS * attempt)
            callback = Callback(time.time(), "pending")
            task.callbacks.append(callback)
            try:
                answer = await self._http().post(
                    letter.url, content=letter.body, headers=letter.headers(), timeout=CALLBACK_SECONDS
                )
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                callback.outcome = type(error).__name__
                continue
            callback.outcome = str(answer.status_code)
            if answer.status_code == 200:
                return

    def _add_credits(self, key: str, credits: float) -> None:
        balance = round(purse(key, self.settings) + credits, 2)
        own = self.settings.key_credits
        change = {"key_credits": {**own, key: balance}} if key in own else {"credits": balance}
        self.settings = self.settings.model_copy(update=change)

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            limits = httpx2.Limits(max_connections=200)
            self._client = httpx2.AsyncClient(trust_env=False, limits=limits, headers={"User-Agent": "KIE"})
        return self._client

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    async def _stop(self) -> None:
        running = list(self._running)
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _spec(wanted: Wanted, image_size: tuple[int, int], fate: KieFault | None) -> ClipSpec:
    width, height = frame_size(wanted, image_size)
    sound = wanted.sound and not (fate and fate.kind == "silent")
    spec = ClipSpec(width, height, wanted.seconds, sound=sound)
    return flawed(spec, fate.variant if fate and fate.kind == "bad_result" else None)

"""Builds the application: fal's queue, its storage, its keys and the control side under `/sim`, over one queue."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI
from pydantic import JsonValue
from starlette.responses import JSONResponse, Response

from neurocards.simulators.exchange import FaultBook, Journal, RecordedApp, control_router, masked
from neurocards.simulators.fal.faults import FalFault, refusal, route_of
from neurocards.simulators.fal.queue_api import queue_router
from neurocards.simulators.fal.settings import FalSettings, SettingsChange
from neurocards.simulators.fal.storage_api import storage_router
from neurocards.simulators.fal.tasks import Queue
from neurocards.simulators.studio.clips import ClipMaker
from neurocards.simulators.studio.uploads import UploadedFiles


def create_app(state: Path | None = None) -> FastAPI:
    """The simulator, ready to be served by uvicorn or mounted under any prefix.

    Files lie in `state`, or in a temporary folder that goes with the lifespan. A mounted application gets no
    lifespan of its own: whoever mounts it enters `app.router.lifespan_context(app)`.
    """
    folder = state or Path(tempfile.mkdtemp(prefix="fal-simulator-"))
    uploads = UploadedFiles(folder / "uploads")
    queue = Queue(ClipMaker(folder / "clips"), uploads, folder / "spoiled")
    journal, faults = Journal(), FaultBook[FalFault]()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await queue.close()
        if state is None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    app = RecordedApp(
        title="fal simulator",
        lifespan=lifespan,
        journal=journal,
        faults=faults,
        route_of=route_of,
        refusal=refusal,
        down=lambda: queue.settings.down,
    )
    app.include_router(_control_router(queue, uploads, journal, faults))
    app.include_router(storage_router(queue, uploads))
    app.include_router(_keys_router(queue))
    app.include_router(queue_router(queue))
    return app


def _keys_router(queue: Queue) -> APIRouter:
    router = APIRouter()

    @router.get("/.well-known/jwks.json")
    async def jwks() -> Response:
        return JSONResponse(queue.signer.jwks())

    return router


def _control_router(queue: Queue, uploads: UploadedFiles, journal: Journal, faults: FaultBook[FalFault]) -> APIRouter:
    router = control_router(journal, faults, FalFault)

    @router.get("/tasks")
    async def tasks() -> list[dict[str, JsonValue]]:
        return [task.seen_by_tests() for task in queue.tasks.values()]

    @router.get("/keys")
    async def keys() -> dict[str, dict[str, JsonValue]]:
        credits = queue.settings.credits
        return {masked(key): {**usage.figures(), "credits": credits} for key, usage in queue.keys.items()}

    @router.post("/tasks/{task_id}/callback")
    async def repeat_callback(task_id: str) -> Response:
        task = queue.tasks.get(task_id)
        if task is None or not task.is_over or task.callback_url is None:
            return JSONResponse({"detail": "no finished task with a callback"}, 404)
        queue.repeat_callback(task)
        return Response(status_code=204)

    @router.post("/keys/rotate", status_code=204)
    async def rotate_keys() -> None:
        queue.signer.rotate()

    @router.get("/settings")
    async def settings() -> FalSettings:
        return queue.settings

    @router.post("/settings")
    async def change_settings(change: SettingsChange) -> FalSettings:
        queue.change(change.applied(queue.settings))
        return queue.settings

    @router.post("/reset", status_code=204)
    async def reset() -> None:
        await queue.reset()
        journal.clear()
        faults.clear()
        await asyncio.to_thread(uploads.clear)

    return router

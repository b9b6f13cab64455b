"""Builds the application: KIE's API, its upload host and the control side under `/sim`, over one studio."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI
from pydantic import JsonValue
from starlette.responses import JSONResponse, Response

from neurocards.simulators.exchange import FaultBook, Journal, RecordedApp, control_router
from neurocards.simulators.kie.catalogue import catalogue_router
from neurocards.simulators.kie.faults import KieFault, refusal, route_of
from neurocards.simulators.kie.jobs import jobs_router
from neurocards.simulators.kie.settings import KieSettings, SettingsChange
from neurocards.simulators.kie.tasks import Studio
from neurocards.simulators.kie.upload_api import upload_router
from neurocards.simulators.studio.clips import ClipMaker
from neurocards.simulators.studio.uploads import UploadedFiles


def create_app(state: Path | None = None) -> FastAPI:
    """The simulator, ready to be served by uvicorn or mounted under any prefix.

    Files lie in `state`, or in a temporary folder that goes with the lifespan. A mounted application gets no
    lifespan of its own: whoever mounts it enters `app.router.lifespan_context(app)`.
    """
    folder = state or Path(tempfile.mkdtemp(prefix="kie-simulator-"))
    uploads = UploadedFiles(folder / "uploads")
    studio = Studio(ClipMaker(folder / "clips"), uploads, folder / "spoiled")
    journal, faults = Journal(), FaultBook[KieFault]()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await studio.close()
        if state is None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    app = RecordedApp(
        title="KIE simulator",
        lifespan=lifespan,
        journal=journal,
        faults=faults,
        route_of=route_of,
        refusal=refusal,
        down=lambda: studio.settings.down,
    )
    app.include_router(jobs_router(studio))
    app.include_router(catalogue_router(studio))
    app.include_router(upload_router(studio, uploads))
    app.include_router(_control_router(studio, uploads, journal, faults))
    return app


def _control_router(studio: Studio, uploads: UploadedFiles, journal: Journal, faults: FaultBook[KieFault]) -> APIRouter:
    router = control_router(journal, faults, KieFault)

    @router.get("/tasks")
    async def tasks() -> list[dict[str, JsonValue]]:
        return [task.seen_by_tests() for task in studio.tasks.values()]

    @router.get("/keys")
    async def keys() -> dict[str, dict[str, JsonValue]]:
        return studio.keys.seen_by_tests(studio.settings)

    @router.post("/tasks/{task_id}/callback")
    async def repeat_callback(task_id: str) -> Response:
        task = studio.tasks.get(task_id)
        if task is None or not task.is_over or task.callback_url is None:
            return JSONResponse({"detail": "no finished task with a callback"}, 404)
        studio.repeat_callback(task)
        return Response(status_code=204)

    @router.get("/settings")
    async def settings() -> KieSettings:
        return studio.settings

    @router.post("/settings")
    async def change_settings(change: SettingsChange) -> KieSettings:
        studio.change(change.applied(studio.settings))
        return studio.settings

    @router.post("/reset", status_code=204)
    async def reset() -> None:
        await studio.reset()
        journal.clear()
        faults.clear()
        await asyncio.to_thread(uploads.clear)

    return router

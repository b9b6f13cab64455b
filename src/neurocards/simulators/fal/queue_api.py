"""fal's queue: submit, status, response, cancel, and the links to results."""

import json

from fastapi import APIRouter, Request
from pydantic import JsonValue
from starlette.responses import FileResponse, JSONResponse, Response

from neurocards.simulators.exchange import base_url, credential, fault_met
from neurocards.simulators.fal.errors import (
    LOCKED,
    NO_KEY,
    NO_REQUEST,
    STILL_RUNNING,
    WRONG_KEY,
    Answer,
    model_error,
    plain,
)
from neurocards.simulators.fal.faults import FalFault, too_many_requests
from neurocards.simulators.fal.models import APPS, MODELS, app_of, read
from neurocards.simulators.fal.settings import FalSettings
from neurocards.simulators.fal.tasks import Queue, Task


def accepted_key(request: Request, settings: FalSettings) -> str | Answer:
    """The key a request came with; the refusal when it opens nothing."""
    key = credential(request.headers.get("authorization", ""), "Key")
    if not key:
        return NO_KEY
    known = settings.api_keys is None or key in settings.api_keys
    return key if known and key not in settings.revoked_keys else WRONG_KEY


def queue_router(queue: Queue) -> APIRouter:
    """The routes of the queue and `/results`. To be included last: a model's id can be any path."""
    router = APIRouter()

    def asked_about(request: Request, app: str, task_id: str) -> Task | Answer:
        """The task a request is about. Those of other keys do not exist for it, nor do those of other applications."""
        key = accepted_key(request, queue.settings)
        if isinstance(key, Answer):
            return key
        task = queue.tasks.get(task_id)
        return task if task and task.key == key and app_of(task.model) == app else NO_REQUEST

    @router.get("/{owner}/{name}/requests/{task_id}/status")
    async def status(request: Request, owner: str, name: str, task_id: str) -> Response:
        task = asked_about(request, f"{owner}/{name}", task_id)
        if isinstance(task, Answer):
            return task.response()
        return JSONResponse(task.status(queue.position(task)), 200 if task.is_over else 202)

    @router.get("/{owner}/{name}/requests/{task_id}")
    async def response(request: Request, owner: str, name: str, task_id: str) -> Response:
        task = asked_about(request, f"{owner}/{name}", task_id)
        if isinstance(task, Answer):
            return task.response()
        return (task.answer or STILL_RUNNING).response()

    @router.put("/{owner}/{name}/requests/{task_id}/cancel")
    async def cancel(request: Request, owner: str, name: str, task_id: str) -> Response:
        task = asked_about(request, f"{owner}/{name}", task_id)
        if task is NO_REQUEST:
            return JSONResponse({"status": "NOT_FOUND"}, 404)
        if isinstance(task, Answer):
            return task.response()
        if not queue.cancel(task):
            return JSONResponse({"status": "ALREADY_COMPLETED"}, 400)
        return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)

    @router.api_route("/results/{name}", methods=["GET", "HEAD"])
    async def result(name: str) -> Response:
        file = queue.result_file(name)
        return FileResponse(file, media_type="video/mp4") if file else Response("Not Found", 404)

    @router.api_route("/{path:path}", methods=["GET", "PUT"])
    async def nothing(path: str) -> Response:
        return plain(404, f"Path /{path} not found").response()

    @router.post("/{model:path}")
    async def submit(request: Request, model: str, fal_webhook: str | None = None) -> Response:
        sent = credential(request.headers.get("authorization", ""), "Key")
        usage = queue.keys[sent]
        usage.submits += 1
        key = accepted_key(request, queue.settings)
        if isinstance(key, Answer) or queue.is_locked:
            usage.refused += 1
            return (key if isinstance(key, Answer) else LOCKED).response()
        if app_of(model) not in APPS or model in queue.settings.retired_models:
            return plain(404, f'Application "{app_of(model)}" not found').response()
        fields = _decoded(await request.body())
        refused = fields if isinstance(fields, Answer) else _refused_at_once(model, fields)
        if refused is not None:
            return refused.response()
        fate = fault_met(request)
        task = queue.submit(
            model=model,
            fields=None if isinstance(fields, Answer) else fields,
            key=key,
            base_url=base_url(request),
            callback_url=fal_webhook,
            fate=fate if isinstance(fate, FalFault) else None,
        )
        if task is None:
            usage.refused += 1
            return too_many_requests()
        shown = task.status(queue.position(task)) | {"gateway_request_id": task.id, "metrics": {}}
        return JSONResponse(shown)

    def _refused_at_once(model: str, fields: JsonValue) -> Answer | None:
        shape = MODELS.get(model)
        if shape is None or queue.settings.checks_input != "at_once":
            return None
        wanted = read(shape, fields)
        return wanted if isinstance(wanted, Answer) else None

    return router


def _decoded(body: bytes) -> JsonValue | Answer:
    try:
        decoded: JsonValue = json.loads(body)
    except ValueError:
        return model_error(422, "json_invalid", "JSON decode error", "body", 0)
    return decoded

"""KIE's live catalogue: which models are listed, their schemas, prices and recent success."""

import time

from fastapi import APIRouter, Request
from pydantic import JsonValue
from starlette.responses import Response

from neurocards.simulators.kie.faults import answer
from neurocards.simulators.kie.jobs import RateWindow, accepted_key, unauthorized
from neurocards.simulators.kie.models import MODELS, Model
from neurocards.simulators.kie.tasks import Studio, TaskState

SCHEMAS_PER_WINDOW = 3
BUCKET_SECONDS = 600
BUCKETS = 6


def catalogue_router(studio: Studio) -> APIRouter:
    """The routes below `/api/v1/models`; the slashes of a model's id stay unencoded."""
    router = APIRouter(prefix="/api/v1/models")
    window = RateWindow(SCHEMAS_PER_WINDOW)

    @router.get("")
    async def models(request: Request, taskType: str = "", provider: str = "", q: str = "") -> Response:  # noqa: N803 - the service's own name
        if accepted_key(request, studio.settings) is None:
            return unauthorized()
        listed: list[JsonValue] = [
            _entry(model)
            for model in MODELS.values()
            if model.is_listed
            and taskType in ("", "image-to-video")
            and provider.lower() in ("", model.provider.lower())
            and q.lower() in f"{model.id} {model.title}".lower()
        ]
        return answer(200, "success", {"models": listed})

    @router.get("/{model_id:path}/schema")
    async def schema(request: Request, model_id: str) -> Response:
        key = accepted_key(request, studio.settings)
        if key is None:
            return unauthorized()
        if studio.settings.rate_limit and not window.admits(key):
            return answer(429, "Too many requests")
        model = _listed(model_id)
        return answer(200, "success", {"model": model.id, "openapi": _openapi(model)}) if model else _unknown()

    @router.get("/{model_id:path}/price")
    async def price(request: Request, model_id: str) -> Response:
        if accepted_key(request, studio.settings) is None:
            return unauthorized()
        model = _listed(model_id)
        return answer(200, "success", {"pricingDesc": model.price}) if model else _unknown()

    @router.get("/{model_id:path}/success-rate")
    async def success_rate(request: Request, model_id: str) -> Response:
        if accepted_key(request, studio.settings) is None:
            return unauthorized()
        model = _listed(model_id)
        return answer(200, "success", {"points": _points(studio, model)}) if model else _unknown()

    return router


def _listed(model_id: str) -> Model | None:
    model = MODELS.get(model_id)
    return model if model and model.is_listed else None


def _unknown() -> Response:
    return answer(404, "Model not found")


def _entry(model: Model) -> dict[str, JsonValue]:
    return {
        "model": model.id,
        "slug": model.id.replace("/", "-"),
        "title": model.title,
        "provider": model.provider,
        "taskType": ["image-to-video"],
        "description": f"{model.title}: a video from an image.",
        "pricingDesc": model.price,
    }


def _openapi(model: Model) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": {"type": "string", "enum": [model.id]},
            "callBackUrl": {"type": "string", "format": "uri"},
            "input": model.input.model_json_schema(),
        },
    }
    request: JsonValue = {"content": {"application/json": {"schema": body}}}
    return {
        "openapi": "3.0.1",
        "info": {"title": model.title, "version": "1.0.0"},
        "paths": {"/api/v1/jobs/createTask": {"post": {"requestBody": request, "responses": {}}}},
    }


def _points(studio: Studio, model: Model) -> list[JsonValue]:
    """Ten-minute buckets, oldest first; one in which nothing ended counts as normal."""
    points: list[JsonValue] = []
    last_start = int(time.time() // BUCKET_SECONDS) * BUCKET_SECONDS
    ended = [task for task in studio.tasks.values() if task.model == model.id and task.completed]
    for start in range(last_start - (BUCKETS - 1) * BUCKET_SECONDS, last_start + 1, BUCKET_SECONDS):
        inside = [task for task in ended if start <= (task.completed or 0) < start + BUCKET_SECONDS]
        good = sum(task.state is TaskState.SUCCESS for task in inside)
        rate = good / len(inside) if inside else 1.0
        points.append(
            {
                "start": start,
                "end": start + BUCKET_SECONDS,
                "successRate": rate,
                "errorRate": 1 - rate,
                "isNormal": rate >= 0.9,
            }
        )
    return points

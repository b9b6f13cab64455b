"""KIE's live catalogue: which models are listed, their schemas, prices and recent success."""

import time
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import JsonValue
from starlette.responses import Response

from neurocards.simulators.kie.faults import answer
from neurocards.simulators.kie.keys import RateWindow, accepted_key, unauthorized
from neurocards.simulators.kie.models import MODELS, Model
from neurocards.simulators.kie.records import TaskState
from neurocards.simulators.kie.settings import KieSettings
from neurocards.simulators.kie.tasks import Studio

TASK_TYPE = "Image to Video"
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
            if _is_listed(model, studio.settings)
            and taskType.lower().replace("-", " ") in ("", TASK_TYPE.lower())
            and provider.lower() in ("", model.provider.lower())
            and q.lower() in f"{model.id} {model.title}".lower()
        ]
        return answer(200, "success", {"total": len(listed), "models": listed})

    @router.get("/{model_id:path}/schema")
    async def schema(request: Request, model_id: str) -> Response:
        key = accepted_key(request, studio.settings)
        if key is None:
            return unauthorized()
        if studio.settings.rate_limit and not window.admits(key):
            return answer(429, "Too many requests")
        model = _listed(model_id, studio.settings)
        return answer(200, "success", {"model": model.id, "openapi": _openapi(model)}) if model else _unknown()

    @router.get("/{model_id:path}/price")
    async def price(request: Request, model_id: str) -> Response:
        if accepted_key(request, studio.settings) is None:
            return unauthorized()
        model = _listed(model_id, studio.settings)
        return answer(200, "success", {"model": model.id, "pricingDesc": model.price}) if model else _unknown()

    @router.get("/{model_id:path}/success-rate")
    async def success_rate(request: Request, model_id: str) -> Response:
        if accepted_key(request, studio.settings) is None:
            return unauthorized()
        model = _listed(model_id, studio.settings)
        return answer(200, "success", {"model": model.id, "points": _points(studio, model)}) if model else _unknown()

    return router


def _listed(model_id: str, settings: KieSettings) -> Model | None:
    model = MODELS.get(model_id)
    return model if model and _is_listed(model, settings) else None


def _is_listed(model: Model, settings: KieSettings) -> bool:
    return model.is_listed and model.id not in settings.unlisted_models


def _unknown() -> Response:
    return answer(404, "Model not found")


def _entry(model: Model) -> dict[str, JsonValue]:
    return {
        "model": model.id,
        "slug": model.id,
        "title": model.title,
        "provider": model.provider,
        "taskType": [TASK_TYPE],
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
    """Ten-minute buckets, oldest first, in percent; of one in which nothing ended nothing is known."""
    last_start = int(time.time() // BUCKET_SECONDS) * BUCKET_SECONDS
    starts = range(last_start - (BUCKETS - 1) * BUCKET_SECONDS, last_start + 1, BUCKET_SECONDS)
    return [_point(start, _rate(studio, model, start)) for start in starts]


def _rate(studio: Studio, model: Model, start: int) -> float | None:
    """The share of good tasks among those that ended in a bucket."""
    if model.id in studio.settings.success_rates:
        return studio.settings.success_rates[model.id]
    ended = [
        task
        for task in studio.tasks.values()
        if task.model == model.id and task.completed and start <= task.completed < start + BUCKET_SECONDS
    ]
    return sum(task.state is TaskState.SUCCESS for task in ended) / len(ended) if ended else None


def _point(start: int, rate: float | None) -> JsonValue:
    percent = None if rate is None else round(100 * rate, 1)
    return {
        "start": _moment(start),
        "end": _moment(start + BUCKET_SECONDS),
        "successRate": percent,
        "errorRate": None if percent is None else round(100 - percent, 1),
        "isNormal": percent is None or percent >= 90,
    }


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""fal's storage: a file is announced, put where the answer says, and then served to everybody."""

import json
import uuid
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import FileResponse, JSONResponse, Response

from neurocards.simulators.exchange import base_url
from neurocards.simulators.fal.errors import LOCKED, Answer, model_error
from neurocards.simulators.fal.queue_api import accepted_key
from neurocards.simulators.fal.tasks import Queue
from neurocards.simulators.studio.uploads import UploadedFiles, content_type


class Announced(BaseModel):
    """The body of an initiated upload."""

    model_config = ConfigDict(extra="forbid", strict=True)

    content_type: str = Field(min_length=1)
    file_name: str = Field(min_length=1)


@dataclass(frozen=True)
class Place:
    """Where an announced file will lie, and the type it must come with."""

    folder: str
    name: str
    content_type: str


def storage_router(queue: Queue, uploads: UploadedFiles) -> APIRouter:
    """`/storage` and `/files`."""
    router = APIRouter()
    places: dict[str, Place] = {}

    @router.post("/storage/upload/initiate")
    async def initiate(request: Request) -> Response:
        key = accepted_key(request, queue.settings)
        if isinstance(key, Answer):
            return key.response()
        if queue.is_locked:
            return LOCKED.response()
        try:
            announced = Announced.model_validate(json.loads(await request.body()))
        except (ValidationError, ValueError):
            return model_error(422, "value_error", "content_type and file_name are required").response()
        ticket = uuid.uuid4().hex
        place = Place(ticket[:8], PurePosixPath(announced.file_name).name.lstrip("."), announced.content_type)
        places[ticket] = place
        return JSONResponse(
            {
                "upload_url": f"{base_url(request)}/storage/put/{ticket}",
                "file_url": f"{base_url(request)}/files/{place.folder}/{quote(place.name)}",
            }
        )

    @router.put("/storage/put/{ticket}")
    async def put(request: Request, ticket: str) -> Response:
        # The address is the permission, as with any signed one: no key is asked for, but the type is part of it.
        place = places.get(ticket)
        if place is None or request.headers.get("content-type") != place.content_type:
            return Response("SignatureDoesNotMatch", 403)
        await uploads.save(place.folder, place.name, await request.body())
        return Response(status_code=200)

    @router.api_route("/files/{path:path}", methods=["GET", "HEAD"])
    async def file(path: str) -> Response:
        found = uploads.file(path)
        return FileResponse(found, media_type=content_type(path)) if found else Response("Not Found", 404)

    return router

"""KIE's upload host: three ways to hand in a file, and the files it serves."""

import base64
import binascii
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote

import httpx2
from fastapi import APIRouter, Request
from pydantic import JsonValue
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, JSONResponse, Response

from neurocards.simulators.exchange import base_url
from neurocards.simulators.kie.keys import accepted_key
from neurocards.simulators.kie.tasks import Studio
from neurocards.simulators.studio.pictures import fetch
from neurocards.simulators.studio.uploads import UploadedFiles, content_type


class BadUpload(Exception):
    """The upload is refused with `code` and the message."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


@dataclass(frozen=True)
class Upload:
    """A file as it was handed in, whichever way; where it shall lie is not checked yet."""

    path: object
    name: object
    data: bytes


def upload_router(studio: Studio, uploads: UploadedFiles) -> APIRouter:
    """The three upload routes and `/files`."""
    router = APIRouter()

    @router.post("/api/{way}-upload")
    async def upload(request: Request, way: str) -> Response:
        # The real host stands behind a guard that turns away what does not look like an honest client.
        agent = request.headers.get("user-agent", "").strip().lower()
        if not agent or agent.startswith("python"):
            return Response("error code: 1010", 403, media_type="text/plain")
        if accepted_key(request, studio.settings) is None:
            return _answer(401, "You do not have access permissions")
        if way not in _WAYS:
            return Response("Not Found", 404)
        try:
            path, size = await _save(uploads, await _WAYS[way](request))
        except BadUpload as refused:
            return _answer(refused.code, refused.msg)
        saved: dict[str, JsonValue] = {
            "fileName": PurePosixPath(path).name,
            "filePath": path,
            "downloadUrl": f"{base_url(request)}/files/{quote(path)}",
            "fileSize": size,
            "mimeType": content_type(path),
            "uploadedAt": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        return _answer(200, "File uploaded successfully", saved)

    @router.api_route("/files/{path:path}", methods=["GET", "HEAD"])
    async def file(path: str) -> Response:
        found = uploads.file(path)
        return FileResponse(found, media_type=content_type(path)) if found else Response("Not Found", 404)

    return router


async def _from_stream(request: Request) -> Upload:
    async with request.form() as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise BadUpload(400, "file is required")
        return Upload(form.get("uploadPath"), form.get("fileName") or file.filename, await file.read())


async def _from_base64(request: Request) -> Upload:
    fields = await _fields(request)
    encoded = fields.get("base64Data")
    if not isinstance(encoded, str) or not encoded:
        raise BadUpload(400, "base64Data is required")
    head, comma, rest = encoded.partition(",")
    mime = head.removeprefix("data:").partition(";")[0] if comma else "image/jpeg"
    try:
        data = base64.b64decode(rest if comma else encoded, validate=True)
    except binascii.Error:
        raise BadUpload(400, "base64Data is not valid") from None
    name = fields.get("fileName") or f"{uuid.uuid4().hex}.{mime.partition('/')[2]}"
    return Upload(fields.get("uploadPath"), name, data)


async def _from_url(request: Request) -> Upload:
    fields = await _fields(request)
    url = fields.get("fileUrl")
    if not isinstance(url, str) or not url:
        raise BadUpload(400, "fileUrl is required")
    async with httpx2.AsyncClient(trust_env=False) as client:
        fetched = await fetch(client, url)
    if fetched is None:
        raise BadUpload(400, "Failed to download the file")
    name = fields.get("fileName") or PurePosixPath(httpx2.URL(url).path).name
    return Upload(fields.get("uploadPath"), name, fetched[1])


_WAYS = {"file-stream": _from_stream, "file-base64": _from_base64, "file-url": _from_url}


async def _save(uploads: UploadedFiles, upload: Upload) -> tuple[str, int]:
    """Public path and size of the saved file; raises BadUpload for a path that is missing or leads astray."""
    if not isinstance(upload.path, str) or not upload.path.strip("/ "):
        raise BadUpload(400, "uploadPath is required")
    name = upload.name if isinstance(upload.name, str) and upload.name else uuid.uuid4().hex
    path = await uploads.save(upload.path, name, upload.data)
    if path is None:
        raise BadUpload(400, "uploadPath is not valid")
    return path, len(upload.data)


async def _fields(request: Request) -> dict[str, JsonValue]:
    try:
        fields = json.loads(await request.body())
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise BadUpload(400, "The request body is not a JSON object")
    return fields


def _answer(code: int, msg: str, data: JsonValue = None) -> Response:
    """The upload host's own envelope; its failures do carry their HTTP status."""
    return JSONResponse({"success": code == 200, "code": code, "msg": msg, "data": data}, code)

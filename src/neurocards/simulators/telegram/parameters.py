"""The parameters of a Bot API call, whatever way they came: query, form, multipart or JSON.

Uploads stay where the multipart reader spools them, on disk beyond a megabyte, until the call is over.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from neurocards.simulators.telegram.errors import ApiError, Json, bad_request

MAX_UPLOAD_BYTES = 50 * 1024 * 1024
_ATTACHED = "attach://"
_FILE_FIELDS = frozenset({"photo", "document", "video", "animation", "thumbnail", "cover"})
_JSON_FIELDS = frozenset(
    {
        "reply_markup",
        "media",
        "entities",
        "caption_entities",
        "reply_parameters",
        "link_preview_options",
        "prices",
        "commands",
        "scope",
        "reaction",
        "allowed_updates",
        "message_ids",
    }
)


@dataclass(frozen=True)
class Upload:
    """A file that came with the call."""

    name: str
    size: int
    stream: BinaryIO


@dataclass
class Parameters:
    """Fields by name, JSON fields already read, and uploads by the name of their part."""

    values: Json
    uploads: dict[str, Upload] = field(default_factory=dict)
    form: FormData | None = None

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number; refused when it is missing and there is no default."""
        value = self.values.get(name, default)
        try:
            return int(value)  # type: ignore[arg-type]  # None and oddities end in the refusal below
        except (TypeError, ValueError):
            raise bad_request(f"parameter {name} must be a whole number") from None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return "" if value is None else str(value)

    def flag(self, name: str) -> bool:
        return is_true(self.values.get(name))

    def listed(self, name: str) -> list[Any] | None:  # elements are checked by the method that asks
        """A JSON list, or None when the field is absent."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, list):
            raise bad_request(f"can't parse {name}: an array is expected")
        return value

    def upload(self, reference: str) -> Upload | None:
        """The file that `attach://name` refers to."""
        return self.uploads.get(reference.removeprefix(_ATTACHED))

    def recorded(self) -> Json:
        """The fields as a record of the call: each upload as its name and size."""
        return {name: self._recorded(value) for name, value in self.values.items()}

    async def close(self) -> None:
        if self.form is not None:
            await self.form.close()

    def _recorded(self, value: object) -> object:
        if is_attached(value) and (upload := self.upload(str(value))):
            return {"name": upload.name, "size": upload.size}
        if isinstance(value, dict):
            return {name: self._recorded(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._recorded(inner) for inner in value]
        return value


def is_attached(value: object) -> bool:
    return isinstance(value, str) and value.startswith(_ATTACHED)


def is_true(value: object) -> bool:
    """A boolean as forms and JSON spell it."""
    return str(value).lower() in {"true", "1", "yes"}


async def read_parameters(request: Request) -> Parameters:
    """Read the whole request; multipart parts are streamed to disk."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    values: Json = dict(request.query_params)
    if content_type == "multipart/form-data":
        return await _from_multipart(request, values)
    body = await request.body()
    if content_type == "application/json" and body:
        values |= _json_object(body)
    elif content_type == "application/x-www-form-urlencoded":
        values |= dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    return Parameters(_with_json_read(values))


def refuse_oversized(parameters: Parameters) -> None:
    """The front server's limit: it answers before any method is looked at."""
    if any(upload.size > MAX_UPLOAD_BYTES for upload in parameters.uploads.values()):
        raise ApiError(413, "Request Entity Too Large")


async def _from_multipart(request: Request, values: Json) -> Parameters:
    try:
        form = await request.form()
    except HTTPException as error:
        raise bad_request(f"failed to parse multipart: {error.detail}") from error
    uploads: dict[str, Upload] = {}
    for name, part in form.multi_items():
        if isinstance(part, UploadFile):
            uploads[name] = Upload(part.filename or name, part.size or 0, part.file)
            # A client may also put the file under the field's own name, without a reference.
            if name in _FILE_FIELDS:
                values.setdefault(name, _ATTACHED + name)
        else:
            values[name] = part
    try:
        return Parameters(_with_json_read(values), uploads, form)
    except ApiError:
        await form.close()
        raise


def _with_json_read(values: Mapping[str, Any]) -> Json:  # fields of any shape
    read = {
        name: _read_json(name, value) if name in _JSON_FIELDS and isinstance(value, str) and value else value
        for name, value in values.items()
    }
    try:
        json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a character, as JSON escapes can spell it
        raise bad_request("strings must be encoded in UTF-8") from None
    return read


def _read_json(name: str, value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        raise bad_request(f"can't parse {name} JSON object") from None


def _json_object(body: bytes) -> Json:
    try:
        values = json.loads(body)
    except ValueError:
        raise bad_request("can't parse JSON object") from None
    if not isinstance(values, dict):
        raise bad_request("expected a JSON object")
    return values

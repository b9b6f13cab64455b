"""Files as Telegram keeps them: on disk, stored once per content, named by ids that belong to one bot."""

import asyncio
import hashlib
import secrets
import shutil
import tempfile
import weakref
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from neurocards.simulators.telegram.errors import Json, bad_request

_CHUNK_BYTES = 1 << 20
_FOLDER_OF_KIND = {
    "photo": "photos",
    "video": "videos",
    "animation": "animations",
    "thumbnail": "thumbnails",
    "sticker": "stickers",
    "voice": "voice",
}
_SUFFIX_OF_TYPE = {"video/mp4": ".mp4", "image/jpeg": ".jpg", "image/webp": ".webp", "audio/ogg": ".oga"}


@dataclass(frozen=True)
class Blob:
    """Bytes on disk; equal contents share one blob."""

    path: Path
    size: int
    digest: str


@dataclass(frozen=True)
class Looks:
    """What is known of a file besides its bytes."""

    name: str | None = None
    mime_type: str | None = None
    width: int | None = None
    height: int | None = None
    duration: int | None = None


@dataclass(frozen=True)
class StoredFile:
    """One file known to one bot."""

    file_id: str
    owner: object
    kind: str
    blob: Blob
    file_path: str
    looks: Looks
    thumbnail: "StoredFile | None" = None

    @property
    def file_unique_id(self) -> str:
        return self.blob.digest

    def as_json(self) -> Json:
        """The fields that PhotoSize, Video, Animation and Document have in common or alone."""
        looks = self.looks
        described: Json = {
            "file_id": self.file_id,
            "file_unique_id": self.file_unique_id,
            "file_size": self.blob.size,
            "width": looks.width,
            "height": looks.height,
            "duration": looks.duration,
            "file_name": looks.name,
            "mime_type": looks.mime_type,
            "thumbnail": self.thumbnail.as_json() if self.thumbnail else None,
        }
        return {name: value for name, value in described.items() if value is not None}


class FileStore:
    """Keeps every upload in a temporary folder that lives as long as the store."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="telegram-simulator-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._by_id: dict[str, StoredFile] = {}
        self._by_path: dict[tuple[object, str], StoredFile] = {}

    async def keep(self, source: BinaryIO) -> Blob:
        """Copy a stream to disk, piece by piece, and return its blob."""
        return await asyncio.to_thread(self.write, lambda target: _copy(source, target))

    def write(self, fill: Callable[[BinaryIO], object]) -> Blob:
        """Let `fill` write a new blob; touches the disk, so it runs in a thread."""
        arrived = self._folder / secrets.token_hex(8)
        with arrived.open("wb") as target:
            fill(target)
            size = target.tell()
        with arrived.open("rb") as content:
            sha = hashlib.file_digest(content, "sha256").digest()
        digest = urlsafe_b64encode(sha[:12]).decode()
        # Renaming over an equal blob is atomic, so a second upload of the same content disturbs no reader.
        return Blob(arrived.rename(self._folder / digest), size, digest)

    def register(
        self, owner: object, kind: str, blob: Blob, looks: Looks, *, thumbnail: StoredFile | None = None
    ) -> StoredFile:
        """Give a blob an id with which this owner, and nobody else, can name it."""
        suffix = Path(looks.name or "").suffix or _SUFFIX_OF_TYPE.get(looks.mime_type or "", "")
        file = StoredFile(
            file_id=f"{kind[:2].upper()}{secrets.token_urlsafe(45)}",
            owner=owner,
            kind=kind,
            blob=blob,
            file_path=f"{_FOLDER_OF_KIND.get(kind, 'documents')}/file_{len(self._by_id)}{suffix}",
            looks=looks,
            thumbnail=thumbnail,
        )
        self._by_id[file.file_id] = file
        self._by_path[owner, file.file_path] = file
        return file

    def find(self, file_id: str) -> StoredFile | None:
        return self._by_id.get(file_id)

    def at_path(self, owner: object, file_path: str) -> StoredFile | None:
        return self._by_path.get((owner, file_path))

    def owned(self, owner: object, file_id: str) -> StoredFile:
        """The file a bot names; refused when the id is nobody's or another bot's."""
        file = self._by_id.get(file_id)
        if file is None:
            raise bad_request("wrong file identifier/HTTP URL specified")
        if file.owner is not owner:
            raise bad_request("wrong file_id or the file is temporarily unavailable")
        return file

    def close(self) -> None:
        """Remove everything from disk."""
        self._remove_folder()


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    source.seek(0)
    shutil.copyfileobj(source, target, _CHUNK_BYTES)

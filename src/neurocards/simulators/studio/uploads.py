"""Uploaded files: the same path overwrites, and a file is served with the type its name suggests."""

import asyncio
import mimetypes
import shutil
import uuid
from pathlib import Path, PurePosixPath


class UploadedFiles:
    """The files below one folder, known by their public path."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    async def save(self, upload_path: str, file_name: str, data: bytes) -> str | None:
        """The public path of the saved file; None for a path that would leave the folder."""
        path = _clean(f"{upload_path}/{file_name}")
        if path is not None:
            await asyncio.to_thread(self._write, path, data)
        return path

    def file(self, path: str) -> Path | None:
        """Where the file of a public path lies."""
        clean = _clean(path)
        file = self._folder / clean if clean else None
        return file if file and file.is_file() else None

    async def content(self, path: str) -> tuple[str, bytes] | None:
        """Content type and bytes of a public path."""
        file = self.file(path)
        return (content_type(path), await asyncio.to_thread(file.read_bytes)) if file else None

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)

    def _write(self, path: str, data: bytes) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{uuid.uuid4().hex}.part")
        unfinished.write_bytes(data)
        unfinished.replace(target)


def content_type(name: str) -> str:
    """The type a file is served with: its name decides, whatever the bytes are."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _clean(path: str) -> str | None:
    parts = [part for part in PurePosixPath(path).parts if part != "/"]
    return "/".join(parts) if parts and not any(part.startswith(".") for part in parts) else None

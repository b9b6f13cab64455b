"""Pictures and clips the way Telegram treats them: photos become JPEG sizes, clips are looked into.

Everything here decodes, so it runs in threads; a few at a time, because a decoded picture is large.
"""

import asyncio
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
from PIL import Image, ImageOps

from neurocards.simulators.telegram.errors import bad_request
from neurocards.simulators.telegram.files import Blob, FileStore, Looks, StoredFile

MAX_PHOTO_BYTES = 10 * 1024 * 1024
MAX_THUMBNAIL_BYTES = 200_000
_LONG_SIDES = (90, 320, 800, 1280, 2560)
_JPEG_QUALITY = 87
_MAX_SIDES_SUM = 10_000
_MAX_RATIO = 20
_PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_NOT_AN_IMAGE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Clip:
    """What a video file holds."""

    width: int
    height: int
    duration: int
    has_sound: bool


class NotAPhoto(Exception):
    """The bytes are no picture that the apps can send as a photo."""


class Studio:
    """Runs the decoding work of one world beside its event loop."""

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._seats = asyncio.Semaphore(2)

    async def photo_sizes(self, owner: object, blob: Blob, *, strict: bool) -> tuple[StoredFile, ...]:
        """The JPEG sizes of a picture, smallest first; `strict` adds the limits that bots have."""
        async with self._seats:
            sizes = await asyncio.to_thread(_jpeg_sizes, self._files, blob.path, strict=strict)
        return tuple(self._files.register(owner, "photo", size, looks) for size, looks in sizes)

    async def clip(self, blob: Blob) -> Clip | None:
        """What the clip holds, or None if it is no MP4 or QuickTime video."""
        async with self._seats:
            return await asyncio.to_thread(_look_into, blob.path)

    async def thumbnail(self, owner: object, blob: Blob) -> StoredFile:
        """A thumbnail within Telegram's limits; anything else is refused."""
        async with self._seats:
            sides = await asyncio.to_thread(_thumbnail_sides, blob.path)
        if blob.size >= MAX_THUMBNAIL_BYTES or sides is None or max(sides) > 320:
            raise bad_request("wrong thumbnail: a JPEG below 200 kB with sides up to 320 px is expected")
        looks = Looks(mime_type="image/jpeg", width=sides[0], height=sides[1])
        return self._files.register(owner, "thumbnail", blob, looks)


def mime_type_of(name: str | None) -> str:
    """The type Telegram derives from a file's name."""
    return mimetypes.guess_type(name or "")[0] or "application/octet-stream"


def _jpeg_sizes(files: FileStore, path: Path, *, strict: bool) -> list[tuple[Blob, Looks]]:
    try:
        with Image.open(path, formats=_PHOTO_FORMATS) as opened:
            if strict:
                _check_sides(*opened.size)
            opened.draft("RGB", (_LONG_SIDES[-1], _LONG_SIDES[-1]))
            upright = ImageOps.exif_transpose(opened)
            picture = _on_white(upright)
    except _NOT_AN_IMAGE as error:
        raise NotAPhoto(str(error)) from error
    sizes: list[tuple[Blob, Looks]] = []
    # Each size is made from the next larger one, so the full picture is scaled once.
    for side in sorted(_LONG_SIDES, reverse=True):
        is_smaller_than_whole = side < max(picture.size)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        if is_smaller_than_whole or not sizes:
            sizes.append(_saved(files, picture))
    return sizes[::-1]


def _check_sides(width: int, height: int) -> None:
    if width + height > _MAX_SIDES_SUM or max(width, height) > _MAX_RATIO * min(width, height):
        raise bad_request("PHOTO_INVALID_DIMENSIONS")


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture.copy()
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return picture.convert("RGB")


def _saved(files: FileStore, picture: Image.Image) -> tuple[Blob, Looks]:
    def save(target: BinaryIO) -> None:
        picture.save(target, "JPEG", quality=_JPEG_QUALITY)

    return files.write(save), Looks(mime_type="image/jpeg", width=picture.width, height=picture.height)


def _look_into(path: Path) -> Clip | None:
    try:
        with av.open(str(path), format="mp4") as container:
            if not container.streams.video:
                return None
            video = container.streams.video[0]
            seconds = (container.duration or 0) / av.time_base
            return Clip(video.width, video.height, round(seconds), bool(container.streams.audio))
    except (av.FFmpegError, OSError):
        return None


def _thumbnail_sides(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path, formats=("JPEG",)) as opened:
            return opened.size
    except _NOT_AN_IMAGE:
        return None

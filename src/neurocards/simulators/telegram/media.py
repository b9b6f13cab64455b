"""Pictures and clips the way Telegram treats them: photos become JPEG sizes, clips are looked into.

Everything here decodes, so it runs in threads; a few at a time, because a decoded picture is large.
"""

import asyncio
import mimetypes
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from PIL import Image, ImageDraw, ImageOps

from neurocards.simulators.telegram.errors import bad_request
from neurocards.simulators.telegram.files import Blob, FileStore, Looks, StoredFile

MAX_PHOTO_BYTES = 10 * 1024 * 1024
MAX_THUMBNAIL_BYTES = 200_000
_STICKER_SIDE = 512
_VOICE_RATE = 48_000
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

    async def sticker(self, owner: object) -> StoredFile:
        """A sticker from some set."""
        async with self._seats:
            blob = await asyncio.to_thread(_drawn_sticker, self._files)
        looks = Looks(mime_type="image/webp", width=_STICKER_SIDE, height=_STICKER_SIDE)
        return self._files.register(owner, "sticker", blob, looks)

    async def voice(self, owner: object, seconds: int) -> StoredFile:
        """A voice message in which nobody says anything."""
        async with self._seats:
            blob = await asyncio.to_thread(_hummed_voice, self._files, seconds)
        return self._files.register(owner, "voice", blob, Looks(mime_type="audio/ogg", duration=seconds))

    async def thumbnail(self, owner: object, blob: Blob) -> StoredFile:
        """A thumbnail within Telegram's limits; anything else is refused."""
        async with self._seats:
            sides = await asyncio.to_thread(_thumbnail_sides, blob.path)
        if blob.size >= MAX_THUMBNAIL_BYTES or sides is None or max(sides) > 320:
            raise bad_request("wrong thumbnail: a JPEG below 200 kB with sides up to 320 px is expected")
        looks = Looks(mime_type="image/jpeg", width=sides[0], height=sides[1])
        return self._files.register(owner, "thumbnail", blob, looks)


def _drawn_sticker(files: FileStore) -> Blob:
    """A smiling face on nothing, drawn now."""
    face = Image.new("RGBA", (_STICKER_SIDE, _STICKER_SIDE))
    pen = ImageDraw.Draw(face)
    pen.ellipse((16, 16, 496, 496), fill="#ffcc33", outline="#e6a800", width=12)
    for left in (146, 306):
        pen.ellipse((left, 160, left + 60, 250), fill="#5a3d00")
    pen.arc((126, 180, 386, 410), start=20, end=160, fill="#5a3d00", width=26)
    return files.write(lambda target: face.save(target, "WEBP"))


def _hummed_voice(files: FileStore, seconds: int) -> Blob:
    """A quiet hum, as long as asked, in the format of voice messages."""

    def save(target: BinaryIO) -> None:
        with av.open(target, "w", format="ogg") as container:
            track = container.add_stream("libopus", rate=_VOICE_RATE, layout="mono")
            at = np.arange(seconds * _VOICE_RATE, dtype=np.float32) / _VOICE_RATE
            hum = (np.sin(2 * np.pi * 220 * at) * np.sin(np.pi * 2 * at) * 6000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(hum.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = _VOICE_RATE, 0, Fraction(1, _VOICE_RATE)
            container.mux(track.encode(frame))
            container.mux(track.encode())

    return files.write(save)


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

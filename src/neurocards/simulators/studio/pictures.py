"""The pictures a video is made from: fetched when the work begins, and taken only when name and bytes agree."""

import asyncio
import io
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
from PIL import Image

MIME_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
MAX_PICTURE_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class Picture:
    data: bytes
    size: tuple[int, int]


def is_loopback(url: str) -> bool:
    """Whether a URL stays on this machine: a simulator never talks to the world outside."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return parts.hostname == "localhost"


async def fetch(client: httpx2.AsyncClient, url: str) -> tuple[str, bytes] | None:
    """Content type and bytes at a loopback address; None when they cannot be had."""
    if not is_loopback(url):
        return None
    try:
        answer = await client.get(url, timeout=30)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return None
    if answer.status_code != 200 or len(answer.content) > MAX_PICTURE_BYTES:
        return None
    return answer.headers.get("content-type", "").partition(";")[0].strip(), answer.content


async def examine(content_type: str, data: bytes) -> Picture | None:
    """The picture; None when its bytes begin otherwise than its name promised. The renderer finds out damage."""
    return await asyncio.to_thread(_examine, content_type, data)


def _examine(content_type: str, data: bytes) -> Picture | None:
    try:
        with Image.open(io.BytesIO(data), formats=list(MIME_FORMATS.values())) as image:
            if image.format != MIME_FORMATS.get(content_type):
                return None
            turned = image.getexif().get(0x0112, 1) >= 5
            width, height = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return Picture(data, (height, width) if turned else (width, height))

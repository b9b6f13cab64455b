"""A customer's picture on its way into the store: capped, checked by its bytes, never more than a few at once."""

import asyncio
from dataclasses import dataclass

import aiohttp
from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import Message

from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.media.photos import MAX_PHOTO_BYTES, BadPhoto, PhotoFault, check_photo
from neurocards.storage import Store

DOWNLOADS_AT_ONCE = 4
"""Each may hold a whole picture in memory."""

CHECKS_AT_ONCE = 2
"""Each decodes a picture in a thread: bounds memory and leaves the event loop its core."""

SILENCE_SECONDS = 30


@dataclass(frozen=True)
class Picture:
    """A file at Telegram that may be a picture."""

    file_id: str
    size_bytes: int | None


def picture_in(message: Message) -> Picture | None:
    """The photo in its largest size, or the file; what a file is its bytes will tell."""
    if message.photo:
        largest = max(message.photo, key=lambda size: size.width * size.height)
        return Picture(largest.file_id, largest.file_size)
    if message.document and not message.animation:
        return Picture(message.document.file_id, message.document.file_size)
    return None


class Pictures:
    """Takes pictures from Telegram into the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._downloads = asyncio.Semaphore(DOWNLOADS_AT_ONCE)
        self._checks = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def keep(self, bot: Bot, picture: Picture, key: str) -> None:
        """Download, check and store; raises BadPhoto, or whatever Telegram's trouble is."""
        if (picture.size_bytes or 0) > MAX_PHOTO_BYTES:
            raise BadPhoto(PhotoFault.TOO_MANY_BYTES)
        async with self._downloads:
            content = await self._download(bot, picture)
            async with self._checks:
                await asyncio.to_thread(check_photo, content)
            await self._store.put(key, content)

    async def forget(self, key: str) -> None:
        """Remove a picture that no draft and no order needs."""
        await self._store.delete(key)

    async def _download(self, bot: Bot, picture: Picture) -> bytes:
        try:
            file = await bot.get_file(picture.file_id)
        except TelegramBadRequest as error:
            if "file is too big" in error.message.lower():
                raise BadPhoto(PhotoFault.TOO_MANY_BYTES) from error
            raise
        content = bytearray()
        address = bot.session.api.file_url(bot.token, file.file_path or "")
        try:
            async for chunk in bot.session.stream_content(address, timeout=SILENCE_SECONDS):
                content += chunk
                if len(content) > MAX_PHOTO_BYTES:
                    raise BadPhoto(PhotoFault.TOO_MANY_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            # The address holds the token: only the kind of trouble is told.
            kind = type(error).__name__
            raise Failure(FailureKind.TEMPORARY, Reason.PHOTO, f"telegram: download: {kind}") from None
        return bytes(content)

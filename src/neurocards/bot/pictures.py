"""A customer's picture on its way into the store, checked by its bytes; and back, above what is said about it."""

import asyncio
from dataclasses import dataclass

import aiohttp
from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import BufferedInputFile, Message

from neurocards.bot.keyboards import keyboard, send
from neurocards.bot.screens import Screen
from neurocards.db import photos
from neurocards.db.connection import Database
from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.media.children import check_photo, preview
from neurocards.media.photos import MAX_PHOTO_BYTES, BadPhoto, PhotoFault
from neurocards.storage import Store

DOWNLOADS_AT_ONCE = 4
"""Each may hold a whole picture in memory."""

CHECKS_AT_ONCE = 2
"""Each has a picture decoded: bounds memory and leaves the event loop its core."""

SILENCE_SECONDS = 30

SHOWN_PIXELS = 1280
"""The longer side of a photo that we show: Telegram makes it no larger on a phone."""


@dataclass(frozen=True)
class Picture:
    """A file at Telegram that may be a picture; `is_photo` when Telegram shows it as one."""

    file_id: str
    size_bytes: int | None
    is_photo: bool


def picture_in(message: Message) -> Picture | None:
    """The photo in its largest size, or the file; what a file is its bytes will tell."""
    if message.photo:
        largest = max(message.photo, key=lambda size: size.width * size.height)
        return Picture(largest.file_id, largest.file_size, is_photo=True)
    if message.document and not message.animation:
        return Picture(message.document.file_id, message.document.file_size, is_photo=False)
    return None


class Pictures:
    """Takes pictures from Telegram into the store, and shows them."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
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

    async def forget(self, *keys: str) -> None:
        """Remove what a draft leaves behind, unless an order or a draft still needs it."""
        for key in keys:
            if await self._forgotten(key):
                await self._store.delete(key)

    async def show(self, bot: Bot, chat_id: int, screen: Screen) -> int:
        """Send the screen, as the caption of its photo where it has one; returns the message's id.

        Raises Failure when the store is away. A photo that is in it no more is left out.
        """
        key = screen.photo_key
        if key is None:
            return await send(bot, chat_id, screen)
        return await self._show_again(bot, chat_id, screen, key) or await self._upload(bot, chat_id, screen, key)

    async def _show_again(self, bot: Bot, chat_id: int, screen: Screen, key: str) -> int | None:
        """By Telegram's own copy; None where it has none, or does not take its id any more."""
        file_id = await self._database.run(lambda tx: photos.file_id(tx, key))
        if file_id is None:
            return None
        try:
            message = await bot.send_photo(chat_id, file_id, caption=screen.text, reply_markup=keyboard(screen))
        except TelegramBadRequest as error:
            if "file" not in error.message.lower():
                raise
            return None
        return message.message_id

    async def _upload(self, bot: Bot, chat_id: int, screen: Screen, key: str) -> int:
        try:
            content = await self._store.get(key)
        except FileNotFoundError:
            return await send(bot, chat_id, screen)
        except Exception as error:
            raise Failure(FailureKind.TEMPORARY, Reason.INTERNAL, f"store: {error!r}"[:500]) from error
        async with self._checks:
            shown = await asyncio.to_thread(preview, content, longest=SHOWN_PIXELS)
        message = await bot.send_photo(
            chat_id, BufferedInputFile(shown, "photo.jpg"), caption=screen.text, reply_markup=keyboard(screen)
        )
        if message.photo:
            file_id = message.photo[-1].file_id
            await self._database.run(lambda tx: photos.keep_file_id(tx, key, file_id))
        return message.message_id

    async def _forgotten(self, key: str) -> bool:
        return await self._database.run(lambda tx: photos.forget(tx, key))

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

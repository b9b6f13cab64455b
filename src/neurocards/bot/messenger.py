"""Carries notices to Telegram: the status card, the video as a real video, the reason for none."""

from collections.abc import AsyncGenerator
from pathlib import PurePosixPath

import structlog
from aiogram import Bot
from aiogram.enums import ChatAction
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import BufferedInputFile, InputFile, Message

from neurocards.bot import stories
from neurocards.bot.keyboards import send
from neurocards.bot.screens import Screen
from neurocards.bot.trouble import translated
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.domain.generations import Generation
from neurocards.notices import Sent, Story
from neurocards.storage import Store

UPLOAD_SECONDS = 300
"""The longest upload; the lease of a notice is longer."""

# The card cannot be edited any more: the customer deleted it, or it was never there.
_CARD_IS_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid", "message identifier")

log = structlog.get_logger()


class TelegramMessenger:
    """Satisfies `notices.Messenger`: raises Failure or Unreachable, nothing else of Telegram or of the store."""

    def __init__(self, bot: Bot, store: Store, catalogue: Catalogue) -> None:
        self._bot = bot
        self._store = store
        self._catalogue = catalogue

    async def show_status(self, story: Story) -> Sent:
        """Edit the order's card, or send a new one where it is gone."""
        screen = stories.status(story)
        with translated():
            if story.order.card_message_id is not None and await self._edit(story, screen):
                return Sent(story.order.card_message_id)
            return Sent(await send(self._bot, story.customer.telegram_id, screen))

    async def deliver(self, story: Story) -> Sent:
        """Send the video: Telegram's own copy where it has one, else our file, streamed."""
        generation = _generation(story)
        with translated():
            message = await self._send_again(story, generation) or await self._upload(story, generation)
        sent = message.video or message.animation or message.document
        return Sent(message.message_id, sent.file_id if sent else None)

    async def tell_failure(self, story: Story) -> Sent:
        """Say why there is no video."""
        with translated():
            return Sent(await send(self._bot, story.customer.telegram_id, stories.failure(story, _generation(story))))

    async def _edit(self, story: Story, screen: Screen) -> bool:
        """Bring the card up to date; False when it is gone."""
        try:
            await self._bot.edit_message_text(
                screen.text, chat_id=story.customer.telegram_id, message_id=story.order.card_message_id
            )
        except TelegramBadRequest as error:
            words = error.message.lower()
            if any(gone in words for gone in _CARD_IS_GONE):
                return False
            if "message is not modified" not in words:
                raise
        return True

    async def _send_again(self, story: Story, generation: Generation) -> Message | None:
        """Send by file id; None when there is none, or Telegram does not take it any more."""
        if generation.file_id is None:
            return None
        try:
            return await self._bot.send_video(
                story.customer.telegram_id, generation.file_id, caption=stories.caption(story, generation)
            )
        except TelegramBadRequest as error:
            if "file" not in error.message.lower():
                raise
            log.warning("file_id_refused", generation_id=str(generation.id), error=error.message)
            return None

    async def _upload(self, story: Story, generation: Generation) -> Message:
        if generation.video_key is None or generation.cover_key is None or generation.thumbnail_key is None:
            raise LookupError(f"generation {generation.id} has no video")
        name = _file_name(story, generation)
        cover = await self._picture(generation.cover_key)
        thumbnail = await self._picture(generation.thumbnail_key)
        if await self._size(generation.video_key) is None:
            raise _missing(generation.video_key)
        await self._bot.send_chat_action(story.customer.telegram_id, ChatAction.UPLOAD_VIDEO)
        return await self._bot.send_video(
            story.customer.telegram_id,
            StoredFile(self._store, generation.video_key, name),
            caption=stories.caption(story, generation),
            width=generation.width,
            height=generation.height,
            duration=round(generation.seconds or 0),
            supports_streaming=True,
            cover=cover,
            thumbnail=thumbnail,
            request_timeout=UPLOAD_SECONDS,
        )

    async def _picture(self, key: str) -> BufferedInputFile:
        try:
            content = await self._store.get(key)
        except FileNotFoundError as error:
            raise _missing(key) from error
        except Exception as error:
            raise _store_is_away(error) from error
        return BufferedInputFile(content, PurePosixPath(key).name)

    async def _size(self, key: str) -> int | None:
        try:
            return await self._store.size(key)
        except Exception as error:
            raise _store_is_away(error) from error


class StoredFile(InputFile):
    """A file of the store as aiogram uploads it: read in chunks while they are sent, never held whole."""

    def __init__(self, store: Store, key: str, name: str) -> None:
        super().__init__(filename=name)
        self._store = store
        self._key = key

    async def read(self, bot: Bot) -> AsyncGenerator[bytes, None]:
        """The content, from its beginning each time it is asked for."""
        async for chunk in self._store.stream(self._key):
            yield chunk


def _generation(story: Story) -> Generation:
    if story.generation is None:
        raise LookupError(f"the notice about order {story.order.id} names no generation")
    return story.generation


def _file_name(story: Story, generation: Generation) -> str:
    return f"neurocards-{story.order.number}-{generation.ordinal}.mp4"


def _missing(key: str) -> Failure:
    return Failure(FailureKind.PERMANENT, Reason.INTERNAL, f"store: there is no {key}")


def _store_is_away(error: Exception) -> Failure:
    return Failure(FailureKind.TEMPORARY, Reason.INTERNAL, f"store: {error!r}"[:500])

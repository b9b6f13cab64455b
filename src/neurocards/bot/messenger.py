"""Carries notices to Telegram: the status card, the video as a real video, the reason for none."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from pathlib import PurePosixPath

import structlog
from aiogram import Bot
from aiogram.enums import ChatAction
from aiogram.exceptions import TelegramBadRequest, TelegramNetworkError, TelegramServerError
from aiogram.types import BufferedInputFile, InputFile, Message

from neurocards.bot import stories
from neurocards.bot.keyboards import keyboard, send
from neurocards.bot.pictures import Pictures
from neurocards.bot.screens import Screen
from neurocards.bot.trouble import translated
from neurocards.db.connection import Database
from neurocards.domain.catalogue import Model
from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.domain.generations import Generation, GenerationState
from neurocards.notices import Sent, Story
from neurocards.storage import Store

UPLOAD_SECONDS = 300
"""The longest upload; the lease of a notice is longer."""

# The card cannot be edited any more: the customer deleted it, or it was never there.
_CARD_IS_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid", "message identifier")

# The card is a message without a photo: it was made when the photo was gone, or by an earlier version.
_CARD_IS_TEXT = "no caption in the message"

log = structlog.get_logger()


class TelegramMessenger:
    """Satisfies `notices.Messenger`: raises Failure or Unreachable, nothing else of Telegram or of the store."""

    def __init__(self, bot: Bot, database: Database, store: Store, models: Mapping[str, Model]) -> None:
        """`models` are the profiles by id: customers read their plain names."""
        self._bot = bot
        self._models = models
        self._store = store
        self._pictures = Pictures(database, store)

    async def show_status(self, story: Story) -> Sent:
        """Edit the order's card, or send a new one where it is gone; nothing where it says this already."""
        screen, card = stories.status(story, self._models), story.order.card_message_id
        if card is not None and story.order.card_text == screen.gist:
            return Sent(card, card_text=screen.gist, changed=False)
        with translated():
            if card is not None and await self._edit(story, screen):
                return Sent(card, card_text=screen.gist)
            message_id = await self._pictures.show(self._bot, story.customer.telegram_id, screen)
            return Sent(message_id, card_text=screen.gist)

    async def deliver(self, story: Story) -> Sent:
        """Send the video: Telegram's own copy where it has one, else our file, streamed."""
        generation = _generation(story)
        with translated():
            message = await self._send_again(story, generation) or await self._upload(story, generation)
        sent = message.video or message.animation or message.document
        return Sent(message.message_id, sent.file_id if sent else None)

    async def deliver_file(self, story: Story) -> Sent:
        """Send the video as a file, streamed."""
        generation = _generation(story)
        if generation.video_key is None or await self._size(generation.video_key) is None:
            raise _missing(generation.video_key or "video")
        with translated():
            await self._announce(story, ChatAction.UPLOAD_DOCUMENT)
            message = await self._bot.send_document(
                story.customer.telegram_id,
                StoredFile(self._store, generation.video_key, _file_name(story, generation)),
                caption=stories.caption(story, generation),
                disable_content_type_detection=True,
                request_timeout=UPLOAD_SECONDS,
            )
        return Sent(message.message_id)

    async def tell_gone(self, story: Story) -> None:
        """Say that a past video cannot be sent any more."""
        with translated():
            await send(self._bot, story.customer.telegram_id, stories.gone(story))

    async def tell_failure(self, story: Story) -> Sent:
        """Say why there is no video."""
        with translated():
            ended = _generation(story)
            told = stories.cancellation if ended.state is GenerationState.CANCELLED else stories.failure
            return Sent(await send(self._bot, story.customer.telegram_id, told(story, ended)))

    async def _edit(self, story: Story, screen: Screen) -> bool:
        """Bring the card up to date; False when it is gone."""
        chat_id, message_id = story.customer.telegram_id, story.order.card_message_id
        try:
            await self._bot.edit_message_caption(
                chat_id=chat_id, message_id=message_id, caption=screen.text, reply_markup=keyboard(screen)
            )
        except TelegramBadRequest as error:
            if _CARD_IS_TEXT in error.message.lower():
                return await self._edit_text(story, screen)
            return _tolerated(error)
        return True

    async def _edit_text(self, story: Story, screen: Screen) -> bool:
        """The same for a card without a photo."""
        try:
            await self._bot.edit_message_text(
                screen.text,
                chat_id=story.customer.telegram_id,
                message_id=story.order.card_message_id,
                reply_markup=keyboard(screen),
            )
        except TelegramBadRequest as error:
            return _tolerated(error)
        return True

    async def _send_again(self, story: Story, generation: Generation) -> Message | None:
        """Send by file id; None when there is none, or Telegram does not take it any more."""
        if generation.file_id is None:
            return None
        try:
            return await self._bot.send_video(
                story.customer.telegram_id,
                generation.file_id,
                caption=stories.caption(story, generation),
                reply_markup=keyboard(stories.after_video(story, generation)),
            )
        except TelegramBadRequest as error:
            if "file" not in error.message.lower():
                raise
            log.warning("file_id_refused", generation_id=str(generation.id), error=error.message)
            return None

    async def _upload(self, story: Story, generation: Generation) -> Message:
        if generation.video_key is None or generation.cover_key is None or generation.thumbnail_key is None:
            raise _missing(f"video of generation {generation.id}")
        name = _file_name(story, generation)
        cover = await self._picture(generation.cover_key)
        thumbnail = await self._picture(generation.thumbnail_key)
        if await self._size(generation.video_key) is None:
            raise _missing(generation.video_key)
        await self._announce(story, ChatAction.UPLOAD_VIDEO)
        return await self._bot.send_video(
            story.customer.telegram_id,
            StoredFile(self._store, generation.video_key, name),
            caption=stories.caption(story, generation),
            reply_markup=keyboard(stories.after_video(story, generation)),
            width=generation.width,
            height=generation.height,
            duration=round(generation.seconds or 0),
            supports_streaming=True,
            cover=cover,
            thumbnail=thumbnail,
            request_timeout=UPLOAD_SECONDS,
        )

    async def _announce(self, story: Story, action: ChatAction) -> None:
        """Say that something is on its way. Only a courtesy: trouble with it is none of the message's."""
        with suppress(TelegramNetworkError, TelegramServerError):
            await self._bot.send_chat_action(story.customer.telegram_id, action)

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


def _tolerated(error: TelegramBadRequest) -> bool:
    """Whether the card is there, for a refused edit: True when it says this already; raises what is neither."""
    words = error.message.lower()
    if any(gone in words for gone in _CARD_IS_GONE):
        return False
    if "message is not modified" not in words:
        raise error
    return True


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

"""The conversation: photo, template, description, wishes, count, card. What was said is in the draft, nowhere else.

People send things as they like: a photo with its description, both at once, an album, a forwarded post, a file.
Handlers may run twice for one update: each is safe to repeat. No connection is held while Telegram is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from aiogram import Bot, F, Router
from aiogram.enums import ChatMemberStatus, ChatType
from aiogram.filters import Command, CommandStart
from aiogram.types import ChatMemberUpdated, Message, Update

from neurocards.bot import screens
from neurocards.bot.keyboards import disarm_message, send
from neurocards.bot.pictures import Picture, Pictures, picture_in
from neurocards.bot.questions import Questions
from neurocards.bot.screens import Kind, Screen
from neurocards.db import customers, drafts, orders, photos, updates
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.db.updates import Album, Words
from neurocards.domain.orders import (
    ANSWER,
    COUNTS,
    MAX_DESCRIPTION_CHARACTERS,
    MAX_WISHES_CHARACTERS,
    Draft,
    Question,
)
from neurocards.media.photos import BadPhoto
from neurocards.texts import translate


class Conversation:
    """The handlers of messages."""

    def __init__(self, database: Database, questions: Questions, pictures: Pictures) -> None:
        self._database = database
        self._questions = questions
        self._pictures = pictures

    def router(self) -> Router:
        """Commands first: they work in every state. To be included last: it answers whatever is left."""
        router = Router(name="conversation")
        on = router.message.register
        # A photo with a command below it is a photo.
        on(self.start, CommandStart(), F.text)
        on(self.cancel, Command("cancel"), F.text)
        on(self.picture, with_picture)
        on(self.text, F.text, ~F.text.startswith("/"))
        on(self.anything_else)
        router.edited_message.register(self.edited, F.text | F.caption)
        router.my_chat_member.register(self.membership, F.chat.type == ChatType.PRIVATE)
        return router

    async def start(self, _message: Message, bot: Bot, customer: Customer) -> None:
        """Go on where the draft stands, or begin."""
        await self._questions.ask(bot, customer)

    async def cancel(self, _message: Message, bot: Bot, customer: Customer, repeated: bool = False) -> None:
        """Forget the draft and its photos."""
        draft = await self._database.run(lambda tx: drafts.discard(tx, customer.id))
        if draft is not None:
            await self._pictures.forget(*draft.photo_keys)
            await disarm_message(bot, customer.telegram_id, draft.question_message_id)
        words = "cancelled" if draft is not None or repeated else "nothing-to-cancel"
        await send(bot, customer.telegram_id, Screen(translate(customer.language, words)))

    async def picture(
        self, message: Message, picture: Picture, event_update: Update, bot: Bot, customer: Customer
    ) -> None:
        """A photo begins a draft, or fills the one that lacks it; a bad one changes nothing."""
        photo_key = _photo_key(bot, message.chat.id, message.message_id, int(message.date.timestamp()))
        album = await self._album_before(message, event_update, customer)
        earlier = [_photo_key(bot, message.chat.id, *picture) for picture in album.pictures] if album else []
        if await self._is_taken(message, photo_key, earlier, bot, customer):
            return
        try:
            await self._pictures.keep(bot, picture, photo_key)
        except BadPhoto as bad:
            await self._refuse(bot, customer, screens.photo_refused(customer.language, bad.code))
            return
        words = await self._words_with(message, event_update, customer)
        question, draft = await self._questions.current(customer)
        if draft is not None and _is_second(draft, question, photo_key):
            line = ""
            if album is not None:
                line = translate(
                    customer.language, "album-first-two" if draft.photo_key in earlier else "album-first-good"
                )
            await self._take_second(bot, customer, draft, picture=picture, photo_key=photo_key, words=words, line=line)
            return
        too_long = words is not None and len(words.text) > MAX_DESCRIPTION_CHARACTERS

        async def begin(tx: Transaction) -> tuple[bool, Draft | None]:
            if await orders.has_photo(tx, photo_key):
                return False, None
            if picture.is_photo:
                await photos.keep_file_id(tx, photo_key, picture.file_id)
            return True, await _begin(tx, customer, photo_key, None if too_long else words)

        begun, before = await self._database.run(begin)
        if not begun:
            # Handled before: it was ordered while we were away.
            return
        replaced = before is not None and before.photo_key not in (None, photo_key)
        if before is not None and replaced:
            await self._pictures.forget(*before.photo_keys)
        lines = [translate(customer.language, "photo-anew" if replaced else "photo-taken")]
        # Whose template is known and takes two gets the next picture of the album as the second.
        takes_two = before is not None and not replaced and self._questions.takes_two(before)
        if album is not None and not takes_two:
            lines.append(translate(customer.language, "album-first-only"))
        if too_long:
            lines.append(translate(customer.language, "words-too-long", limit=MAX_DESCRIPTION_CHARACTERS))
        elif words is not None:
            rewritten = before is not None and before.photo_key is None and before.description is not None
            lines.append(translate(customer.language, "description-replaced" if rewritten else "words-noted"))
        await self._questions.ask(bot, customer, line=" ".join(lines))
        if before is not None and replaced:
            await disarm_message(bot, customer.telegram_id, before.question_message_id)

    async def _take_second(
        self,
        bot: Bot,
        customer: Customer,
        draft: Draft,
        *,
        picture: Picture,
        photo_key: str,
        words: Words | None,
        line: str,
    ) -> None:
        """The second photo of a draft, once; words that come with it are written to the description, or added to it."""
        told = _described(customer.language, draft, words) if words is not None else None

        async def take(tx: Transaction) -> bool:
            if await orders.has_photo(tx, photo_key):
                return False
            if picture.is_photo:
                await photos.keep_file_id(tx, photo_key, picture.file_id)
            taken = await drafts.answer(tx, draft.order_id, second_photo_key=photo_key)
            if taken is not None and told is not None and told.text is not None:
                await drafts.describe(tx, draft.order_id, told.text, message_id=told.message_id)
            return True

        if not await self._database.run(take):
            # Handled before: it was ordered while we were away.
            return
        lines = [translate(customer.language, "second-photo-taken"), line]
        if told is not None and draft.second_photo_key is None:
            lines.append(told.line)
        await self._questions.ask(bot, customer, line=" ".join(filter(None, lines)))

    async def text(self, message: Message, bot: Bot, customer: Customer, repeated: bool = False) -> None:
        """The answer to the question that is open, or a description that comes early."""
        words = (message.text or "").strip()
        question, draft = await self._questions.current(customer)
        if draft is None or not words:
            await self._surprise(bot, customer, question, Kind.TEXT)
            return
        if repeated and _was_recorded(draft, words, message.message_id):
            # It was recorded when the process died: as an answer to the next question it would be nonsense.
            await self._questions.ask(bot, customer)
            return
        match question:
            case Question.PHOTO | Question.TEMPLATE | Question.SECOND_PHOTO | Question.DESCRIPTION | Question.SCRIPT:
                await self._describe(bot, customer, draft, question, Words(words, message.message_id))
            case Question.WISHES:
                await self._wish(bot, customer, draft, words)
            case Question.COUNT if words in map(str, COUNTS):
                await self._database.run(lambda tx: drafts.answer(tx, draft.order_id, count=int(words)))
                await self._questions.ask(bot, customer)
            case Question.COUNT | Question.CONFIRMATION:
                await self._surprise(bot, customer, question, Kind.TEXT)

    async def edited(self, message: Message, bot: Bot, customer: Customer, repeated: bool = False) -> None:
        """An edited description replaces the one before, also on a card; other edits are none of our business."""
        words = (message.text or message.caption or "").strip()
        _, draft = await self._questions.current(customer)
        if draft is None:
            return
        photo_key = _photo_key(bot, message.chat.id, message.message_id, int(message.date.timestamp()))
        if draft.description is None and photo_key in draft.photo_keys and words:
            # A photo that has been given its words later.
            question = self._questions.open(draft)
            await self._describe(bot, customer, draft, question, Words(words, message.message_id))
            return
        if draft.description_message_id is None and draft.description is not None:
            await self._questions.ask(bot, customer, line=translate(customer.language, "edit-not-taken"))
            return
        if draft.description_message_id != message.message_id:
            return
        if draft.description == words:
            if repeated:
                await self._questions.ask(bot, customer)
            return
        if len(words) > MAX_DESCRIPTION_CHARACTERS or not words:
            line = screens.too_long(customer.language, length=len(words), limit=MAX_DESCRIPTION_CHARACTERS)
            await self._questions.ask(bot, customer, line=line)
            return

        async def replace(tx: Transaction) -> None:
            # A card that was shown must not order what it does not say.
            open_draft = await drafts.renew(tx, draft.order_id) if draft.quoted_price_credits is not None else draft
            if open_draft is None:
                return
            await drafts.describe(tx, open_draft.order_id, words, message_id=message.message_id)
            if not draft.wishes and self._questions.is_script(draft):
                await drafts.take_back(tx, open_draft.order_id, ANSWER[Question.SCRIPT])

        await self._database.run(replace)
        await self._questions.ask(bot, customer, line=translate(customer.language, "description-replaced"))

    async def anything_else(self, message: Message, event_update: Update, bot: Bot, customer: Customer) -> None:
        """Stickers, voices, unknown commands: a friendly line, and the question again."""
        album = await self._album_before(message, event_update, customer)
        if album is not None and album.messages > 0:
            return
        question, _ = await self._questions.current(customer)
        await self._surprise(bot, customer, question, _kind(message))

    async def membership(self, event: ChatMemberUpdated) -> None:
        """Blocked, or back again."""
        reachable = event.new_chat_member.status == ChatMemberStatus.MEMBER

        async def record(tx: Transaction) -> None:
            customer = await customers.find(tx, event.from_user.id)
            if customer is not None:
                await customers.set_reachable(tx, customer.id, reachable=reachable)

        await self._database.run(record)

    # What came with a picture -----------------------------------------------------------------------------------

    async def _album_before(self, message: Message, update: Update, customer: Customer) -> Album | None:
        """What came of the message's album before it; None for a message by itself."""
        group = message.media_group_id
        if group is None:
            return None
        return await self._database.run(
            lambda tx: updates.album_before(tx, update.update_id, customer.telegram_id, group)
        )

    async def _is_taken(
        self, message: Message, photo_key: str, earlier: Sequence[str], bot: Bot, customer: Customer
    ) -> bool:
        """Whether the album of this picture has given what is needed; then only the words below this one count.

        `earlier` are the photos before it in its album. Where the first photo is one of them and a second is wanted,
        this may be it.
        """

        async def find(tx: Transaction) -> tuple[str | None, Draft | None]:
            draft = await drafts.find(tx, customer.id)
            for key in earlier:
                if (draft is not None and key in draft.photo_keys) or await orders.has_photo(tx, key):
                    return key, draft
            return None, draft

        taken, draft = await self._database.run(find)
        if taken is None or (draft is not None and photo_key in draft.photo_keys):
            return False
        if draft is not None and draft.photo_key == taken and self._questions.open(draft) is Question.SECOND_PHOTO:
            return False
        words = (message.caption or "").strip()
        if draft is not None and taken in draft.photo_keys and draft.description is None and words:
            question = self._questions.open(draft)
            await self._describe(bot, customer, draft, question, Words(words, message.message_id))
        return True

    async def _words_with(self, message: Message, update: Update, customer: Customer) -> Words | None:
        """The description that came with a photo: its caption, or the comment with which it was forwarded."""
        caption = (message.caption or "").strip()
        if caption:
            return Words(caption, message.message_id)
        if message.forward_origin is None:
            return None
        moment = message.date - timedelta(seconds=1)
        return await self._database.run(
            lambda tx: updates.words_just_before(tx, update.update_id, customer.telegram_id, since=moment)
        )

    # Answers ----------------------------------------------------------------------------------------------------

    async def _describe(self, bot: Bot, customer: Customer, draft: Draft, question: Question, words: Words) -> None:
        """Write the description, or add to it; before it is asked for, say so."""
        told = _described(customer.language, draft, words)
        text = told.text
        if text is None:
            await self._questions.ask(bot, customer, line=told.line)
            return
        await self._database.run(lambda tx: drafts.describe(tx, draft.order_id, text, message_id=told.message_id))
        early = question in (Question.PHOTO, Question.TEMPLATE, Question.SECOND_PHOTO)
        await self._questions.ask(bot, customer, line=told.line if early else "")

    async def _wish(self, bot: Bot, customer: Customer, draft: Draft, words: str) -> None:
        if len(words) > MAX_WISHES_CHARACTERS:
            line = screens.too_long(customer.language, length=len(words), limit=MAX_WISHES_CHARACTERS)
            await self._questions.ask(bot, customer, line=line)
            return
        await self._database.run(lambda tx: drafts.answer(tx, draft.order_id, wishes=words))
        await self._questions.ask(bot, customer)

    # Refusals ---------------------------------------------------------------------------------------------------

    async def _refuse(self, bot: Bot, customer: Customer, refusal: Screen) -> None:
        """Say what is wrong; an open draft goes on where it stands."""
        question, draft = await self._questions.current(customer)
        if draft is None or question is Question.PHOTO:
            await send(bot, customer.telegram_id, refusal)
        elif question is Question.SECOND_PHOTO:
            await self._questions.ask(bot, customer, line=refusal.text)
        else:
            kept = translate(customer.language, "photo-kept", photos=len(draft.photo_keys))
            await self._questions.ask(bot, customer, line=f"{refusal.text} {kept}")

    async def _surprise(self, bot: Bot, customer: Customer, question: Question, kind: Kind) -> None:
        """Say what it is that came, and what is awaited."""
        line = screens.unexpected(customer.language, kind, question)
        if question is Question.PHOTO:
            in_work = await self._questions.in_work(customer)
            line = f"{in_work}\n\n{line}" if in_work else line
            await send(bot, customer.telegram_id, Screen(line))
        else:
            await self._questions.ask(bot, customer, line=line)


async def with_picture(message: Message) -> dict[str, Picture] | bool:
    """A filter: photos and files, handed on as `picture`."""
    picture = picture_in(message)
    return {"picture": picture} if picture else False


async def _begin(tx: Transaction, customer: Customer, photo_key: str, words: Words | None) -> Draft | None:
    """Begin the draft of a photo, or complete the one that lacks it, once; returns the draft as it was before."""
    before = draft = await drafts.find(tx, customer.id)
    if draft is not None and draft.photo_key == photo_key:
        return before
    if draft is not None and draft.photo_key is None:
        await drafts.answer(tx, draft.order_id, photo_key=photo_key)
    else:
        choices = drafts.Choices(
            photo_key=photo_key, second_photo_key=None, template=None, description=None, wishes=None, count=None
        )
        draft = await drafts.begin(tx, customer.id, order_id=uuid5(NAMESPACE_URL, photo_key), choices=choices)
    if words is not None:
        await drafts.describe(tx, draft.order_id, words.text, message_id=words.message_id)
    return before


def _is_second(draft: Draft, question: Question, photo_key: str) -> bool:
    """Whether a photo is the draft's second one, or is to become it. The first one, handled again, is not."""
    return draft.second_photo_key == photo_key or (question is Question.SECOND_PHOTO and draft.photo_key != photo_key)


@dataclass(frozen=True)
class _Described:
    """A draft's description with further words, and the line that says so. `text` is None where it is too long."""

    text: str | None
    message_id: int | None
    line: str


def _described(language: str, draft: Draft, words: Words) -> _Described:
    added = draft.description is not None
    text = f"{draft.description}\n{words.text}" if added else words.text
    if len(text) > MAX_DESCRIPTION_CHARACTERS:
        key = "extension-too-long" if added else "too-long"
        return _Described(None, None, translate(language, key, length=len(text), limit=MAX_DESCRIPTION_CHARACTERS))
    # What was put together from several messages is not replaced by an edit of one.
    message_id = None if added else words.message_id
    return _Described(text, message_id, translate(language, "words-added" if added else "words-noted"))


def _photo_key(bot: Bot, chat_id: int, message_id: int, date: int) -> str:
    """Where the photo of a message is kept: the same however often its update is handled. `date` is Unix time."""
    name: UUID = uuid5(NAMESPACE_URL, f"telegram:{bot.id}:{chat_id}:{message_id}:{date}")
    return f"photos/{name}"


def _was_recorded(draft: Draft, words: str, message_id: int) -> bool:
    description = draft.description or ""
    return (
        draft.description_message_id == message_id
        or words in (draft.wishes, str(draft.count))
        or description.endswith(f"\n{words}")
    )


def _kind(message: Message) -> Kind:
    if message.text:
        return Kind.COMMAND
    if message.sticker:
        return Kind.STICKER
    if message.animation:
        return Kind.ANIMATION
    if message.video or message.video_note:
        return Kind.VIDEO
    if message.voice or message.audio:
        return Kind.VOICE
    if message.location or message.venue:
        return Kind.LOCATION
    return Kind.CONTACT if message.contact else Kind.OTHER

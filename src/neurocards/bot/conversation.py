"""The conversation: photo, template, description, wishes, count, card. What was said is in the draft, nowhere else.

Handlers may run twice for one update: each is safe to repeat. No database connection is held while Telegram is called.
"""

from uuid import NAMESPACE_URL, UUID, uuid5

from aiogram import Bot, Dispatcher, F, Router
from aiogram.enums import ChatMemberStatus, ChatType
from aiogram.filters import Command, CommandStart
from aiogram.types import ChatMemberUpdated, Message, Update

from neurocards.bot import screens
from neurocards.bot.keyboards import send
from neurocards.bot.people import Meeting, unconsented
from neurocards.bot.pictures import Picture, Pictures, picture_in
from neurocards.bot.questions import Questions
from neurocards.bot.screens import NotPhoto, Screen
from neurocards.bot.taps import Taps
from neurocards.db import customers, drafts, orders, updates
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.orders import MAX_DESCRIPTION_CHARACTERS, MAX_WISHES_CHARACTERS, Question
from neurocards.media.photos import BadPhoto
from neurocards.settings import Settings
from neurocards.storage import Store
from neurocards.texts import translate

TEXT_LIMITS = {Question.DESCRIPTION: MAX_DESCRIPTION_CHARACTERS, Question.WISHES: MAX_WISHES_CHARACTERS}
"""The questions that are answered by text, and how long the answer may be in characters."""


def build_dispatcher(*, database: Database, store: Store, catalogue: Catalogue, settings: Settings) -> Dispatcher:
    """Everything that is said and tapped, wired. Updates are fed by `Handling`."""
    dispatcher = Dispatcher(disable_fsm=True)
    meeting = Meeting(database)
    dispatcher.message.outer_middleware(meeting)
    dispatcher.callback_query.outer_middleware(meeting)
    questions = Questions(database, catalogue)
    pictures = Pictures(store)
    dispatcher.include_router(Conversation(database, questions, pictures).router())
    dispatcher.include_router(Taps(database, catalogue, settings, questions, pictures).router())
    return dispatcher


class Conversation:
    """The handlers of messages."""

    def __init__(self, database: Database, questions: Questions, pictures: Pictures) -> None:
        self._database = database
        self._questions = questions
        self._pictures = pictures

    def router(self) -> Router:
        """Commands first: they work in every state."""
        router = Router(name="conversation")
        on = router.message.register
        on(self.language, Command("language"))
        on(self.ask_consent, unconsented)
        on(self.start, CommandStart())
        on(self.balance, Command("balance"))
        on(self.cancel, Command("cancel"))
        on(self.picture, with_picture)
        on(self.text, F.text, ~F.text.startswith("/"))
        on(self.anything_else)
        router.my_chat_member.register(self.membership, F.chat.type == ChatType.PRIVATE)
        return router

    async def language(self, _message: Message, bot: Bot, customer: Customer) -> None:
        """Offer the languages."""
        await send(bot, customer.telegram_id, screens.choose_language(customer.language))

    async def ask_consent(self, _message: Message, bot: Bot, customer: Customer) -> None:
        """Whatever somebody says who has not agreed yet: this comes first."""
        await send(bot, customer.telegram_id, screens.consent(customer.language))

    async def start(self, _message: Message, bot: Bot, customer: Customer) -> None:
        """Go on where the draft stands, or begin."""
        await self._questions.ask(bot, customer)

    async def balance(self, _message: Message, bot: Bot, customer: Customer) -> None:
        """What there is, what is held, what was spent."""
        credits = await self._database.run(lambda tx: customers.balance(tx, customer.id))
        await send(bot, customer.telegram_id, screens.balance(customer.language, credits))

    async def cancel(self, _message: Message, bot: Bot, customer: Customer, repeated: bool = False) -> None:
        """Forget the draft and its photo."""
        photo_key = await self._database.run(lambda tx: drafts.discard(tx, customer.id))
        if photo_key is not None:
            await self._pictures.forget(photo_key)
        words = "cancelled" if photo_key is not None or repeated else "nothing-to-cancel"
        await send(bot, customer.telegram_id, Screen(translate(customer.language, words)))

    async def picture(
        self, message: Message, picture: Picture, event_update: Update, bot: Bot, customer: Customer
    ) -> None:
        """A photo begins a draft, whatever was there before; a bad one changes nothing."""
        before = await self._album_before(message, event_update, customer)
        if before is not None and before.pictures > 0:
            if before.pictures == 1:
                await send(bot, customer.telegram_id, Screen(translate(customer.language, "album-first-only")))
            return
        order_id = _order_id(bot, message)
        photo_key = f"photos/{order_id}"
        try:
            await self._pictures.keep(bot, picture, photo_key)
        except BadPhoto as bad:
            await self._refuse(bot, customer, screens.photo_refused(customer.language, bad.code))
            return
        replaced = await self._database.run(lambda tx: self._begin(tx, customer, order_id, photo_key))
        if replaced is not None:
            await self._pictures.forget(replaced)
        await self._questions.ask(bot, customer)

    async def text(self, message: Message, bot: Bot, customer: Customer, repeated: bool = False) -> None:
        """The answer to the question that is open, if it takes text."""
        words = (message.text or "").strip()
        question, draft = await self._questions.current(customer)
        if repeated and draft is not None and words in (draft.description, draft.wishes):
            # It was recorded when the process died: as an answer to the next question it would be nonsense.
            await self._questions.ask(bot, customer)
            return
        limit = TEXT_LIMITS.get(question)
        if draft is None or limit is None:
            await self._remind(bot, customer, question, NotPhoto.TEXT)
            return
        if len(words) > limit:
            line = screens.too_long(customer.language, length=len(words), limit=limit)
            await self._questions.ask(bot, customer, line=line)
            return
        await self._database.run(lambda tx: drafts.answer(tx, draft.order_id, **{question.value: words}))
        await self._questions.ask(bot, customer)

    async def anything_else(self, message: Message, event_update: Update, bot: Bot, customer: Customer) -> None:
        """Stickers, voices, unknown commands: a friendly line, and the question again."""
        before = await self._album_before(message, event_update, customer)
        if before is not None and before.messages > 0:
            return
        question, _ = await self._questions.current(customer)
        await self._remind(bot, customer, question, _what(message))

    async def membership(self, event: ChatMemberUpdated) -> None:
        """Blocked, or back again."""
        reachable = event.new_chat_member.status == ChatMemberStatus.MEMBER

        async def record(tx: Transaction) -> None:
            customer = await customers.find(tx, event.from_user.id)
            if customer is not None:
                await customers.set_reachable(tx, customer.id, reachable=reachable)

        await self._database.run(record)

    async def _album_before(self, message: Message, update: Update, customer: Customer) -> updates.Album | None:
        """What came of the message's album before it; None for a message by itself."""
        album = message.media_group_id
        if album is None:
            return None
        return await self._database.run(
            lambda tx: updates.album_before(tx, update.update_id, customer.telegram_id, album)
        )

    async def _begin(self, tx: Transaction, customer: Customer, order_id: UUID, photo_key: str) -> str | None:
        """Begin the draft, once; returns the key of a photo that it replaces."""
        draft = await drafts.find(tx, customer.id)
        if (draft is not None and draft.order_id == order_id) or await orders.find(tx, order_id) is not None:
            return None
        replaced = await drafts.discard(tx, customer.id)
        await drafts.begin(tx, customer.id, order_id=order_id, photo_key=photo_key)
        return replaced

    async def _refuse(self, bot: Bot, customer: Customer, refusal: Screen) -> None:
        """Say what is wrong; an open draft goes on where it stands."""
        question, _ = await self._questions.current(customer)
        if question is Question.PHOTO:
            await send(bot, customer.telegram_id, refusal)
        else:
            await self._questions.ask(bot, customer, line=refusal.text)

    async def _remind(self, bot: Bot, customer: Customer, question: Question, what: NotPhoto) -> None:
        if question is Question.PHOTO:
            await send(bot, customer.telegram_id, screens.not_a_photo(customer.language, what))
        else:
            await self._questions.ask(bot, customer, line=screens.awaiting(customer.language, question))


async def with_picture(message: Message) -> dict[str, Picture] | bool:
    """A filter: photos and files, handed on as `picture`."""
    picture = picture_in(message)
    return {"picture": picture} if picture else False


def _order_id(bot: Bot, message: Message) -> UUID:
    """The id of the order this photo may become: the same however often its update is handled."""
    name = f"telegram:{bot.id}:{message.chat.id}:{message.message_id}:{message.date.timestamp()}"
    return uuid5(NAMESPACE_URL, name)


def _what(message: Message) -> NotPhoto:
    if message.sticker:
        return NotPhoto.STICKER
    if message.animation:
        return NotPhoto.ANIMATION
    if message.video or message.video_note:
        return NotPhoto.VIDEO
    if message.voice or message.audio:
        return NotPhoto.VOICE
    return NotPhoto.TEXT if message.text else NotPhoto.OTHER

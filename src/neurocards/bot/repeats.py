"""After an order: the same again, another video of the product, another photo, other words, the original as a file.

These buttons stand below messages that live for ever, so each begins from the order as it is on record.
"""

from uuid import uuid5

from aiogram import Bot, F, Router
from aiogram.types import CallbackQuery

from neurocards.bot.keyboards import Tap, answer, disarm_message
from neurocards.bot.pictures import Pictures
from neurocards.bot.questions import Questions
from neurocards.bot.screens import Repeat, Verb
from neurocards.db import drafts, generations, notices, orders
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.db.notices import NoticeKind
from neurocards.domain.generations import GenerationState
from neurocards.domain.orders import Draft, Order
from neurocards.texts import translate


class Repeats:
    """The handlers of buttons that name an order."""

    def __init__(self, database: Database, questions: Questions, pictures: Pictures) -> None:
        self._database = database
        self._questions = questions
        self._pictures = pictures

    def router(self) -> Router:
        """Only for their own buttons."""
        router = Router(name="repeats")
        router.callback_query.register(self.repeat, Tap.filter(F.verb == Verb.REPEAT))
        router.callback_query.register(self.original, Tap.filter(F.verb == Verb.ORIGINAL))
        return router

    async def repeat(self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer) -> None:
        """Begin a draft with what the order already says, and ask for the rest."""
        order = await self._own_order(callback_data, customer)
        if order is None or callback_data.value not in list(Repeat):
            await answer(query, translate(customer.language, "outdated"), alert=True)
            return
        if order.forgotten_at is not None:
            await answer(query, translate(customer.language, "order-forgotten"), alert=True)
            return
        known = _known(order, Repeat(callback_data.value))

        async def begin(tx: Transaction) -> Draft | None:
            """The draft that this one replaces."""
            draft = await drafts.find(tx, customer.id)
            if draft is not None and all(getattr(draft, column) == value for column, value in known.items()):
                # The second of two taps, or one handled halfway before: this is the draft that was asked for.
                return None
            replaced = await drafts.discard(tx, customer.id)
            await drafts.begin(tx, customer.id, order_id=uuid5(order.id, query.id), choices=known)
            return replaced

        replaced = await self._database.run(begin)
        if replaced is not None:
            await self._pictures.forget(*replaced.photo_keys)
        await answer(query)
        line = translate(customer.language, "earlier-forgotten") if replaced is not None else ""
        await self._questions.ask(bot, customer, line=line)
        if replaced is not None:
            await disarm_message(bot, customer.telegram_id, replaced.question_message_id)

    async def original(self, query: CallbackQuery, callback_data: Tap, customer: Customer) -> None:
        """Have the video's own bytes sent: apps may show less of a video, and sellers upload the file elsewhere."""
        order = await self._own_order(callback_data, customer)

        async def request(tx: Transaction) -> str:
            """What to say to it."""
            if order is None:
                return "outdated"
            for generation in await generations.of_order(tx, order.id):
                if str(generation.ordinal) == callback_data.value and generation.video_key is not None:
                    await notices.request(tx, generation.id, kind=NoticeKind.FILE, cause=f"file:{query.id}")
                    return "sending-file"
                if str(generation.ordinal) == callback_data.value and generation.state is GenerationState.COMPLETED:
                    return "video-forgotten"
            return "outdated"

        said = await self._database.run(request)
        await answer(query, translate(customer.language, said), alert=said == "video-forgotten")

    async def _own_order(self, tap: Tap, customer: Customer) -> Order | None:
        order_id = tap.order_id
        if order_id is None:
            return None
        order = await self._database.run(lambda tx: orders.find(tx, order_id))
        return order if order is not None and order.customer_id == customer.id else None


def _known(order: Order, what: Repeat) -> drafts.Choices:
    """What a new draft takes over from an order."""
    everything = drafts.Choices(
        photo_key=order.photo_key,
        second_photo_key=order.second_photo_key,
        template=order.template,
        description=order.description,
        wishes=order.wishes,
        count=order.count,
    )
    match what:
        case Repeat.ALL:
            return everything
        case Repeat.PRODUCT:
            return {**everything, "template": None, "wishes": None, "count": None}
        case Repeat.ALL_BUT_PHOTO:
            return {**everything, "photo_key": None, "second_photo_key": None}
        case Repeat.ALL_BUT_WORDS:
            return {**everything, "description": None, "wishes": None}

"""What the buttons of a draft do. Each names its draft: on any other it changes nothing, however often it is tapped."""

from uuid import UUID

import structlog
from aiogram import Bot, F, Router
from aiogram.types import CallbackQuery

from neurocards import ordering
from neurocards.bot import screens
from neurocards.bot.keyboards import Tap, answer, become, disarm, send, tapped, vanish
from neurocards.bot.pictures import Pictures
from neurocards.bot.questions import Questions
from neurocards.bot.screens import Verb
from neurocards.db import drafts, orders
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.customers import Customer
from neurocards.db.orders import Outcome, Placement
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.orders import ANSWER, COUNTS, FORGOTTEN_WITH, Draft, Question, renewed
from neurocards.settings import Settings
from neurocards.texts import translate

log = structlog.get_logger()


class Taps:
    """The handlers of callback queries. Each answers its query, whatever else happens."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        settings: Settings,
        questions: Questions,
        pictures: Pictures,
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._settings = settings
        self._questions = questions
        self._pictures = pictures

    def router(self) -> Router:
        """To be included last: it answers whatever is left."""
        router = Router(name="taps")
        on = router.callback_query.register
        on(self.choose_template, Tap.filter(F.verb == Verb.CHOOSE_TEMPLATE))
        on(self.skip_wishes, Tap.filter(F.verb == Verb.SKIP_WISHES))
        on(self.approve_script, Tap.filter(F.verb == Verb.APPROVE_SCRIPT))
        on(self.extend_script, Tap.filter(F.verb == Verb.EXTEND_SCRIPT))
        on(self.choose_count, Tap.filter(F.verb == Verb.CHOOSE_COUNT))
        on(self.replace_script, Tap.filter(F.verb == Verb.REPLACE_SCRIPT))
        on(self.back, Tap.filter(F.verb == Verb.BACK))
        on(self.confirm, Tap.filter(F.verb == Verb.CONFIRM))
        on(self.cancel, Tap.filter(F.verb == Verb.CANCEL))
        on(self.unknown)
        return router

    async def choose_template(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """The template, if it is on sale. A second photo that it has no use for is forgotten."""
        if callback_data.value not in self._catalogue.templates:
            await self.unknown(query, customer)
            return
        await self._choose(
            query,
            callback_data,
            bot,
            customer,
            question=Question.TEMPLATE,
            choice=callback_data.value,
            repeated=repeated,
        )

    async def skip_wishes(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """No wishes."""
        await self._choose(query, callback_data, bot, customer, question=Question.WISHES, choice="", repeated=repeated)

    async def approve_script(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """The script is good; there is nothing left to wish for."""
        await self._choose(query, callback_data, bot, customer, question=Question.SCRIPT, choice="", repeated=repeated)

    async def extend_script(self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer) -> None:
        """Ask for more: whatever is written while the script is open is added to it."""
        question, draft = await self._questions.current(customer)
        if draft is None or draft.order_id != callback_data.order_id or question is not Question.SCRIPT:
            await self._outdated(query, customer, callback_data.order_id)
            return
        await answer(query)
        await send(bot, customer.telegram_id, screens.ask_extension(customer.language, draft.order_id))

    async def choose_count(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """How many videos."""
        count = next((count for count in COUNTS if str(count) == callback_data.value), None)
        if count is None:
            await self.unknown(query, customer)
            return
        await self._choose(
            query, callback_data, bot, customer, question=Question.COUNT, choice=count, repeated=repeated
        )

    async def back(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """Forget the answer before the question that is left, and ask for it again."""
        if callback_data.value not in list(Question):
            await self.unknown(query, customer)
            return
        left = Question(callback_data.value)
        await self._step_back(query, callback_data, bot, customer, left=left, repeated=repeated)

    async def replace_script(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """Forget the script and ask for another."""
        await self._step_back(
            query,
            callback_data,
            bot,
            customer,
            left=Question.SCRIPT,
            target=Question.DESCRIPTION,
            repeated=repeated,
        )

    async def confirm(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """The order. Its card is from now on the outbox's: it becomes the status card by the first notice."""
        language = customer.language
        try:
            placement = await self._place(customer, callback_data.order_id)
        except Away:
            log.warning("order_interrupted", order_id=str(callback_data.order_id))
            await answer(query, translate(language, "try-again"), alert=True)
            return
        number = str(placement.order_number)
        match placement.outcome:
            case Outcome.PLACED:
                log.info("order_placed", order_id=str(callback_data.order_id), number=number)
                await answer(query, translate(language, "placed", number=number))
            case Outcome.ALREADY_PLACED:
                await answer(query, translate(language, "already-placed", number=number))
            case Outcome.OUTDATED:
                await answer(query, translate(language, "outdated"), alert=True)
                _, draft = await self._questions.current(customer)
                if draft is not None and _still_to_show(draft, callback_data.order_id, repeated=repeated):
                    await self._questions.ask(bot, customer)
            case Outcome.NOT_ENOUGH_CREDITS:
                words = screens.not_enough(
                    language,
                    total_credits=placement.total_credits or 0,
                    available_credits=placement.available_credits or 0,
                )
                await answer(query, words, alert=True)
            case Outcome.CLOSED:
                log.warning("sale_refused", order_id=str(callback_data.order_id), seconds=placement.closed_seconds)
                await answer(query, screens.closed(language, placement.closed_seconds), alert=True)
            case Outcome.PAUSED:
                log.info("sale_paused", order_id=str(callback_data.order_id))
                await answer(query, translate(language, "sales-paused"), alert=True)
            case Outcome.TOO_MANY_OPEN:
                await answer(query, translate(language, "too-many-open"), alert=True)
            case Outcome.PRICE_CHANGED:
                await answer(query, translate(language, "price-changed-alert"), alert=True)
                await disarm(query)
                line = translate(language, "price-changed")
                await self._questions.ask(bot, customer, line=line, settled=tapped(query))

    async def cancel(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """Forget this draft and its photos."""
        order_id = callback_data.order_id
        if order_id is None:
            await self.unknown(query, customer)
            return
        draft = await self._database.run(lambda tx: drafts.discard(tx, customer.id, order_id=order_id))
        if draft is not None:
            await self._pictures.forget(*draft.photo_keys)
        # Handled before and not answered, it was this very tap that forgot the draft, unless an order says otherwise.
        if draft is None and not (repeated and await self._order_number(customer, order_id) is None):
            await self._outdated(query, customer, order_id)
            return
        await answer(query)
        await disarm(query)
        await send(bot, customer.telegram_id, screens.Screen(translate(customer.language, "cancelled")))

    async def unknown(self, query: CallbackQuery, customer: Customer) -> None:
        """A button of an earlier version, or none of ours."""
        await answer(query, translate(customer.language, "outdated"), alert=True)

    async def _step_back(
        self,
        query: CallbackQuery,
        tap: Tap,
        bot: Bot,
        customer: Customer,
        *,
        left: Question,
        target: Question | None = None,
        repeated: bool,
    ) -> None:
        """From the open question `left` to `target`, or to the one before it; the answer to that is forgotten."""
        order_id = tap.order_id
        if order_id is None:
            await self.unknown(query, customer)
            return

        async def step(tx: Transaction) -> tuple[bool, Draft | None]:
            draft = await drafts.find(tx, customer.id)
            if draft is None or draft.order_id != order_id or self._questions.open(draft) is not left:
                return False, draft
            asked = target or self._questions.before(draft)
            if asked is None:
                return False, draft
            # What a shown card says must not be ordered any more.
            open_draft = await drafts.renew(tx, order_id) if draft.quoted_price_credits is not None else draft
            if open_draft is not None:
                for column in (ANSWER[asked], *FORGOTTEN_WITH.get(asked, ())):
                    await drafts.take_back(tx, open_draft.order_id, column)
            return True, draft

        stepped, draft = await self._database.run(step)
        if not stepped and not (repeated and draft is not None and draft.order_id in (order_id, renewed(order_id))):
            await self._outdated(query, customer, order_id)
            return
        if stepped and draft is not None:
            # Those that the draft still has are kept.
            await self._pictures.forget(*draft.photo_keys)
        await answer(query)
        await vanish(query)
        await self._questions.ask(bot, customer, settled=tapped(query))

    async def _choose(
        self,
        query: CallbackQuery,
        tap: Tap,
        bot: Bot,
        customer: Customer,
        *,
        question: Question,
        choice: str | int,
        repeated: bool,
    ) -> None:
        """Record a choice if its question is open, and ask what comes next."""

        column = ANSWER[question]

        async def choose(tx: Transaction) -> tuple[Draft | None, bool, str | None]:
            draft = await drafts.find(tx, customer.id)
            if draft is None or draft.order_id != tap.order_id:
                return None, False, None
            if self._questions.open(draft) is not question:
                return draft, False, None
            answered = await drafts.answer(tx, draft.order_id, **{column: choice})
            spare = self._questions.spare_photo(answered) if answered is not None else None
            if spare is not None:
                await drafts.take_back(tx, draft.order_id, ANSWER[Question.SECOND_PHOTO])
            return answered or draft, answered is not None, spare

        draft, chosen, spare = await self._database.run(choose)
        if spare is not None:
            await self._pictures.forget(spare)
        # The second of two taps, or a tap that was handled halfway when the process died.
        again = draft is not None and getattr(draft, column) == choice
        if draft is None or not (chosen or again):
            await self._outdated(query, customer, tap.order_id)
            return
        await answer(query)
        if chosen or repeated:
            await become(query, screens.chosen(customer.language, question, draft, self._catalogue))
            await self._questions.ask(bot, customer, settled=tapped(query))

    async def _place(self, customer: Customer, order_id: UUID | None) -> Placement:
        draft = await self._database.run(lambda tx: drafts.find(tx, customer.id))
        if order_id is None or draft is None or draft.order_id != order_id:
            order_number = await self._order_number(customer, order_id)
            outcome = Outcome.OUTDATED if order_number is None else Outcome.ALREADY_PLACED
            return Placement(outcome, order_number, None, None)
        if self._questions.open(draft) is not Question.CONFIRMATION:
            # Since the card was shown its template has come to ask for more.
            return Placement(Outcome.OUTDATED, None, None, None)
        return await ordering.place_order(
            self._database,
            self._catalogue,
            order_id,
            draft.template,
            deadline_seconds=self._settings.order_deadline_seconds,
            open_limit=self._settings.open_videos_per_customer,
        )

    async def _outdated(self, query: CallbackQuery, customer: Customer, order_id: UUID | None) -> None:
        """Say why the button did nothing."""
        number = await self._order_number(customer, order_id)
        if number is None:
            await answer(query, translate(customer.language, "outdated"), alert=True)
        else:
            await answer(query, translate(customer.language, "already-placed", number=str(number)), alert=True)

    async def _order_number(self, customer: Customer, order_id: UUID | None) -> int | None:
        """The number of the order that the draft with this id became; None if it is not this customer's."""
        if order_id is None:
            return None
        order = await self._database.run(lambda tx: orders.find(tx, order_id))
        return order.number if order is not None and order.customer_id == customer.id else None


def _still_to_show(draft: Draft, order_id: UUID | None, *, repeated: bool) -> bool:
    """Whether the process died between a card and the record of its price, or before the card with a new price."""
    return draft.order_id == order_id or (repeated and order_id is not None and draft.order_id == renewed(order_id))

"""What the buttons do. A button names its draft: on any other draft it changes nothing, however often it is tapped."""

from uuid import UUID

import structlog
from aiogram import Bot, F, Router
from aiogram.types import CallbackQuery

from neurocards import ordering, payments
from neurocards.bot import screens
from neurocards.bot.keyboards import Tap, answer, disarm, send
from neurocards.bot.people import CONSENT_VERSION, lacks_consent, unconsented
from neurocards.bot.pictures import Pictures
from neurocards.bot.questions import Questions
from neurocards.bot.screens import Verb
from neurocards.db import customers, drafts, orders
from neurocards.db.connection import Away, Database, Transaction
from neurocards.db.customers import Customer
from neurocards.db.orders import Outcome, Placement
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.orders import COUNTS, Draft, Question, next_question
from neurocards.settings import Settings
from neurocards.texts import LANGUAGES, translate

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
        """The buttons in a router of their own."""
        router = Router(name="taps")
        on = router.callback_query.register
        on(self.speak, Tap.filter(F.verb == Verb.SPEAK))
        on(self.agree, Tap.filter(F.verb == Verb.AGREE))
        on(self.ask_consent, unconsented)
        on(self.choose_template, Tap.filter(F.verb == Verb.CHOOSE_TEMPLATE))
        on(self.skip_wishes, Tap.filter(F.verb == Verb.SKIP_WISHES))
        on(self.choose_count, Tap.filter(F.verb == Verb.CHOOSE_COUNT))
        on(self.confirm, Tap.filter(F.verb == Verb.CONFIRM))
        on(self.cancel, Tap.filter(F.verb == Verb.CANCEL))
        on(self.unknown)
        return router

    async def speak(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """Change the language, and go on in it."""
        language = callback_data.value
        if language not in LANGUAGES:
            await self.unknown(query, customer)
            return
        await self._database.run(lambda tx: customers.set_language(tx, customer.id, language))
        await answer(query, translate(language, "language-set"))
        if language == customer.language and not repeated:
            return
        await disarm(query)
        customer = await self._database.run(lambda tx: customers.get(tx, customer.id))
        if lacks_consent(customer):
            await send(bot, customer.telegram_id, screens.consent(language))
        else:
            await self._questions.ask(bot, customer)

    async def ask_consent(self, query: CallbackQuery, bot: Bot, customer: Customer) -> None:
        """Nothing else works before the customer has agreed."""
        await answer(query)
        await send(bot, customer.telegram_id, screens.consent(customer.language))

    async def agree(self, query: CallbackQuery, bot: Bot, customer: Customer, repeated: bool = False) -> None:
        """Consent and the free credits, together and once."""
        gift_credits = self._settings.welcome_credits

        async def consent(tx: Transaction) -> tuple[bool, bool]:
            new = await customers.consent(tx, customer.id, CONSENT_VERSION)
            return new, await payments.welcome(tx, customer.id, amount=gift_credits)

        agreed, given = await self._database.run(consent)
        await answer(query)
        if not (agreed or repeated):
            return
        await disarm(query)
        if given:
            await send(bot, customer.telegram_id, screens.welcome(customer.language, gift_credits))
        else:
            await self._questions.ask(bot, customer)

    async def choose_template(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """The template, if it is on sale."""
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

    async def confirm(self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer) -> None:
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
                if draft is not None and draft.order_id == callback_data.order_id:
                    # The process died between sending this card and recording its price.
                    await self._questions.ask(bot, customer)
            case Outcome.NOT_ENOUGH_CREDITS:
                words = screens.not_enough(
                    language,
                    total_credits=placement.total_credits or 0,
                    available_credits=placement.available_credits or 0,
                )
                await answer(query, words, alert=True)
            case Outcome.PRICE_CHANGED:
                await answer(query, translate(language, "price-changed-alert"), alert=True)
                await disarm(query)
                await self._questions.ask(bot, customer, line=translate(language, "price-changed"))

    async def cancel(self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer) -> None:
        """Forget this draft and its photo."""
        order_id = callback_data.order_id
        if order_id is None:
            await self.unknown(query, customer)
            return
        photo_key = await self._database.run(lambda tx: drafts.discard(tx, customer.id, order_id=order_id))
        if photo_key is None:
            await self._outdated(query, customer, order_id)
            return
        await answer(query)
        await disarm(query)
        await self._pictures.forget(photo_key)
        await send(bot, customer.telegram_id, screens.Screen(translate(customer.language, "cancelled")))

    async def unknown(self, query: CallbackQuery, customer: Customer) -> None:
        """A button of an earlier version, or none of ours."""
        await answer(query, translate(customer.language, "outdated"), alert=True)

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

        async def choose(tx: Transaction) -> tuple[Draft | None, bool]:
            draft = await drafts.find(tx, customer.id)
            if draft is None or draft.order_id != tap.order_id:
                return None, False
            if next_question(draft) is not question:
                return draft, False
            return draft, await drafts.answer(tx, draft.order_id, **{question.value: choice}) is not None

        draft, chosen = await self._database.run(choose)
        # The second of two taps, or a tap that was handled halfway when the process died.
        again = draft is not None and getattr(draft, question.value) == choice
        if not chosen and not again:
            await self._outdated(query, customer, tap.order_id)
            return
        await answer(query)
        if chosen or repeated:
            await disarm(query)
            await self._questions.ask(bot, customer)

    async def _place(self, customer: Customer, order_id: UUID | None) -> Placement:
        draft = await self._database.run(lambda tx: drafts.find(tx, customer.id))
        if order_id is None or draft is None or draft.order_id != order_id:
            order_number = await self._order_number(customer, order_id)
            outcome = Outcome.OUTDATED if order_number is None else Outcome.ALREADY_PLACED
            return Placement(outcome, order_number, None, None)
        return await ordering.place_order(
            self._database,
            self._catalogue,
            order_id,
            draft.template,
            deadline_seconds=self._settings.order_deadline_seconds,
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

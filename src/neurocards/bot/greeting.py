"""Meeting a customer: the language they are spoken to in, and their consent. Both come before anything else."""

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message, Update

from neurocards import payments
from neurocards.bot import screens
from neurocards.bot.keyboards import Tap, answer, become, disarm, send
from neurocards.bot.people import CONSENT_VERSION, lacks_consent, unconsented
from neurocards.bot.questions import Questions
from neurocards.bot.screens import Screen, Verb
from neurocards.db import customers, updates
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.settings import Settings
from neurocards.texts import LANGUAGES, translate


class Greeting:
    """The handlers that come first: without consent nothing behind them is reached."""

    def __init__(self, database: Database, settings: Settings, questions: Questions) -> None:
        self._database = database
        self._settings = settings
        self._questions = questions

    def router(self) -> Router:
        """To be included before every other router."""
        router = Router(name="greeting")
        router.message.register(self.language, Command("language"), F.text)
        router.message.register(self.ask_consent, unconsented)
        router.callback_query.register(self.speak, Tap.filter(F.verb == Verb.SPEAK))
        router.callback_query.register(self.agree, Tap.filter(F.verb == Verb.AGREE))
        router.callback_query.register(self.ask_consent_first, unconsented)
        return router

    async def language(self, _message: Message, bot: Bot, customer: Customer) -> None:
        """Offer the languages."""
        await send(bot, customer.telegram_id, screens.choose_language(customer.language))

    async def ask_consent(self, message: Message, event_update: Update, bot: Bot, customer: Customer) -> None:
        """Whatever somebody says who has not agreed yet: this comes first. Once for an album."""
        group = message.media_group_id
        if group is not None:
            before = await self._database.run(
                lambda tx: updates.album_before(tx, event_update.update_id, customer.telegram_id, group)
            )
            if before.messages > 0:
                return
        screen = screens.consent(customer.language, CONSENT_VERSION)
        if message.photo or message.document:
            screen = screen.after(translate(customer.language, "photo-after-consent"))
        await send(bot, customer.telegram_id, screen)

    async def ask_consent_first(self, query: CallbackQuery, bot: Bot, customer: Customer) -> None:
        """The same for a tap."""
        await answer(query)
        await send(bot, customer.telegram_id, screens.consent(customer.language, CONSENT_VERSION))

    async def speak(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """Change the language, and go on in it."""
        language = callback_data.value
        if language not in LANGUAGES:
            await answer(query, translate(customer.language, "outdated"), alert=True)
            return
        await self._database.run(lambda tx: customers.set_language(tx, customer.id, language))
        await answer(query, translate(language, "language-set"))
        await become(query, Screen(translate(language, "language-set")))
        if language == customer.language and not repeated:
            return
        customer = await self._database.run(lambda tx: customers.get(tx, customer.id))
        if lacks_consent(customer):
            await send(bot, customer.telegram_id, screens.consent(language, CONSENT_VERSION))
        else:
            await self._questions.ask(bot, customer)

    async def agree(
        self, query: CallbackQuery, callback_data: Tap, bot: Bot, customer: Customer, repeated: bool = False
    ) -> None:
        """Consent and the free credits, together and once. Only to the words that are in force."""
        if callback_data.value != str(CONSENT_VERSION):
            await self.ask_consent_first(query, bot, customer)
            return
        gift_credits = self._settings.welcome_credits

        async def consent(tx: Transaction) -> tuple[bool, bool]:
            new = await customers.consent(tx, customer.id, CONSENT_VERSION)
            return new, await payments.welcome(tx, customer.id, amount=gift_credits)

        agreed, given = await self._database.run(consent)
        new = agreed or repeated
        await answer(query, "" if new else translate(customer.language, "agreed-already"))
        await disarm(query)
        if not new:
            return
        if given:
            await send(bot, customer.telegram_id, screens.welcome(customer.language, gift_credits))
        else:
            await self._questions.ask(bot, customer)

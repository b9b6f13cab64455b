"""The cabinet: commands that open it, and its buttons, which turn its pages in place.

Nothing here is remembered between taps: a button says all that its page needs.
"""

from dataclasses import replace
from uuid import UUID

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message

from neurocards.bot import cabinet_screens
from neurocards.bot.keyboards import CabinetTap, answer, send, turn_page
from neurocards.bot.screens import CabinetVerb, Screen
from neurocards.db import customers, generations, notices, statements
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.db.notices import NoticeKind
from neurocards.domain.catalogue import Catalogue
from neurocards.settings import Settings
from neurocards.texts import LANGUAGES, translate


class Cabinet:
    """The handlers of what belongs to the customer and to no draft."""

    def __init__(self, database: Database, catalogue: Catalogue, settings: Settings) -> None:
        self._database = database
        self._catalogue = catalogue
        self._settings = settings

    def router(self) -> Router:
        """To be included behind the consent, and before what answers anything that is left."""
        router = Router(name="cabinet")
        # A photo with a command below it is a photo.
        router.message.register(self.open, Command("cabinet", "balance"), F.text)
        router.message.register(self.help, Command("help"), F.text)
        router.callback_query.register(self.tap, CabinetTap.filter())
        return router

    async def open(self, _message: Message, bot: Bot, customer: Customer) -> None:
        """The cabinet as a new message."""
        await send(bot, customer.telegram_id, await self._home(customer))

    async def help(self, _message: Message, bot: Bot, customer: Customer) -> None:
        """How it works, what it costs, whom to ask."""
        page = cabinet_screens.help_page(customer.language, self._catalogue, self._settings.support)
        await send(bot, customer.telegram_id, page)

    async def tap(self, query: CallbackQuery, callback_data: CabinetTap, bot: Bot, customer: Customer) -> None:
        """Turn to a page, or do what the button says. Safe to repeat."""
        match callback_data.verb:
            case CabinetVerb.HOME:
                await turn_page(query, bot, customer.telegram_id, await self._home(customer))
            case CabinetVerb.STATEMENT:
                await turn_page(query, bot, customer.telegram_id, await self._statement(customer, callback_data))
            case CabinetVerb.VIDEOS:
                await turn_page(query, bot, customer.telegram_id, await self._videos(customer, callback_data))
            case CabinetVerb.LANGUAGES:
                await turn_page(query, bot, customer.telegram_id, cabinet_screens.languages(customer.language))
            case CabinetVerb.NEW_VIDEO:
                await turn_page(query, bot, customer.telegram_id, cabinet_screens.new_video(customer.language))
            case CabinetVerb.SEND_VIDEO:
                await self._send_video(query, customer, callback_data.generation_id)
            case CabinetVerb.SPEAK:
                await self._speak(query, bot, customer, callback_data.language)

    async def _home(self, customer: Customer) -> Screen:
        async def read(tx: Transaction) -> Screen:
            balance = await customers.balance(tx, customer.id)
            return cabinet_screens.home(customer.language, balance, await statements.videos_made(tx, customer.id))

        return await self._database.run(read)

    async def _statement(self, customer: Customer, tap: CabinetTap) -> Screen:
        async def read(tx: Transaction) -> Screen:
            page = await statements.lines(tx, customer.id, older_than=tap.older_than, newer_than=tap.newer_than)
            balance = await customers.balance(tx, customer.id)
            today = (await generations.clock(tx)).date()
            return cabinet_screens.statement(customer.language, balance, page, today)

        return await self._database.run(read)

    async def _videos(self, customer: Customer, tap: CabinetTap) -> Screen:
        async def read(tx: Transaction) -> Screen:
            page = await statements.videos(tx, customer.id, older_than=tap.older_than, newer_than=tap.newer_than)
            today = (await generations.clock(tx)).date()
            return cabinet_screens.videos(customer.language, page, today)

        return await self._database.run(read)

    async def _send_video(self, query: CallbackQuery, customer: Customer, generation_id: UUID | None) -> None:
        """Have a video handed over again, once per tap, if it is this customer's."""

        async def request(tx: Transaction) -> statements.Kept | None:
            kept = None if generation_id is None else await statements.kept(tx, customer.id, generation_id)
            if generation_id is not None and kept is statements.Kept.YES:
                await notices.request(tx, generation_id, kind=NoticeKind.AGAIN, cause=f"again:{query.id}")
            return kept

        match await self._database.run(request):
            case statements.Kept.YES:
                await answer(query, translate(customer.language, "video-again"))
            case statements.Kept.NO_MORE:
                await answer(query, translate(customer.language, "video-forgotten"), alert=True)
            case _:
                await _outdated(query, customer)

    async def _speak(self, query: CallbackQuery, bot: Bot, customer: Customer, language: str) -> None:
        """Change the language, and show the cabinet in it."""
        if language not in LANGUAGES:
            await _outdated(query, customer)
            return
        await self._database.run(lambda tx: customers.set_language(tx, customer.id, language))
        speaking = replace(customer, language=language)
        await turn_page(
            query, bot, customer.telegram_id, await self._home(speaking), words=translate(language, "language-set")
        )


async def _outdated(query: CallbackQuery, customer: Customer) -> None:
    await answer(query, translate(customer.language, "outdated"), alert=True)

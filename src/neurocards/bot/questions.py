"""Asks a customer for what their draft still lacks; the draft's empty columns are the only state there is."""

from uuid import uuid4

from aiogram import Bot

from neurocards import ordering
from neurocards.bot import screens
from neurocards.bot.keyboards import send
from neurocards.bot.screens import Screen
from neurocards.db import drafts
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.orders import Draft, Question, next_question


class Questions:
    """Shows the current question as often as it is asked to: after a crash, the next word shows it again."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def ask(self, bot: Bot, customer: Customer, *, line: str = "") -> None:
        """Send the current question, below a line where something else has to be said first."""

        async def read(tx: Transaction) -> Draft | None:
            return await self._saleable(tx, await drafts.find(tx, customer.id))

        draft = await self._database.run(read)
        screen = self._screen(customer, draft)
        message_id = await send(bot, customer.telegram_id, screen.after(line))
        if draft is not None and next_question(draft) is Question.CONFIRMATION:
            price_credits = ordering.price(self._catalogue, draft)
            await self._database.run(
                lambda tx: drafts.quote(tx, draft.order_id, price_credits=price_credits, card_message_id=message_id)
            )

    async def current(self, customer: Customer) -> tuple[Question, Draft | None]:
        """The question that is open, and the draft it is about."""
        draft = await self._database.run(lambda tx: drafts.find(tx, customer.id))
        return next_question(draft), draft

    def _screen(self, customer: Customer, draft: Draft | None) -> Screen:
        if draft is None:
            return screens.ask_photo(customer.language)
        return screens.ask(customer.language, next_question(draft), draft, self._catalogue, customer.available_credits)

    async def _saleable(self, tx: Transaction, draft: Draft | None) -> Draft | None:
        """The draft as it can be ordered now.

        A template that went, or a price that changed since a card showed it, gives the draft a new id: Confirm on
        the old card must not order what the new one says.
        """
        if draft is None or draft.template is None:
            return draft
        template = self._catalogue.templates.get(draft.template)
        if template is not None and draft.quoted_price_credits in (None, template.price_credits):
            return draft
        return await drafts.renew(tx, draft.order_id, new_order_id=uuid4(), forget_template=template is None)

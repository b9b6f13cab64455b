"""Asks a customer for what their draft still lacks; the draft's empty columns are the only state there is."""

from aiogram import Bot

from neurocards import ordering
from neurocards.bot import screens
from neurocards.bot.keyboards import disarm_message
from neurocards.bot.pictures import Pictures
from neurocards.db import drafts, orders
from neurocards.db.connection import Database, Transaction
from neurocards.db.customers import Customer
from neurocards.domain.catalogue import Catalogue, Template
from neurocards.domain.orders import ANSWER, Draft, Question, next_question, question_before
from neurocards.domain.routing import Choice
from neurocards.texts import translate


class Questions:
    """Shows the current question as often as it is asked to: after a crash, the next word shows it again."""

    def __init__(self, database: Database, catalogue: Catalogue, pictures: Pictures, *, support: str | None) -> None:
        self._database = database
        self._catalogue = catalogue
        self._pictures = pictures
        self._support = support

    async def ask(self, bot: Bot, customer: Customer, *, line: str = "", settled: int | None = None) -> None:
        """Send the current question, below a line where something else has to be said first.

        The buttons of the question before are taken off, unless it is the message `settled`, which has none any more.
        """

        async def read(tx: Transaction) -> tuple[Draft | None, str | None, bool]:
            draft = await self._saleable(tx, await drafts.find(tx, customer.id))
            return draft, await self._made_with(tx, draft), await ordering.sales_are_paused(tx)

        draft, made_with, paused = await self._database.run(read)
        question = self.open(draft)
        if draft is None and not line:
            line = await self.in_work(customer)
        screen = screens.ask(
            customer.language,
            question,
            draft,
            self._catalogue,
            available_credits=customer.available_credits,
            support=self._support,
            made_with=made_with,
            paused=paused,
        )
        message_id = await self._pictures.show(bot, customer.telegram_id, screen.after(line))
        if draft is None:
            return
        if question is Question.CONFIRMATION:
            price_credits = ordering.price(self._catalogue, draft)
            await self._database.run(
                lambda tx: drafts.quote(tx, draft.order_id, price_credits=price_credits, card_message_id=message_id)
            )
        else:
            await self._database.run(lambda tx: drafts.asked(tx, draft.order_id, message_id))
        if draft.question_message_id not in (None, settled):
            await disarm_message(bot, customer.telegram_id, draft.question_message_id)

    async def in_work(self, customer: Customer) -> str:
        """A line about the customer's order that is being made, for somebody who has no draft; empty without one."""
        number = await self._database.run(lambda tx: orders.open_number(tx, customer.id))
        return translate(customer.language, "order-in-work", number=str(number)) if number is not None else ""

    def open(self, draft: Draft | None) -> Question:
        """The question that is open for a draft."""
        return next_question(draft, self._template(draft) if draft else None)

    def before(self, draft: Draft) -> Question | None:
        """The question that Back leads to from the open one."""
        return question_before(self.open(draft), self._template(draft))

    def is_script(self, draft: Draft) -> bool:
        """Whether the draft's description is the customer's own script."""
        template = self._template(draft)
        return template is not None and template.own_words

    def takes_two(self, draft: Draft) -> bool:
        """Whether the draft's template takes a second photo."""
        template = self._template(draft)
        return template is not None and template.photos > 1

    def spare_photo(self, draft: Draft) -> str | None:
        """The second photo of a draft whose template has no use for it."""
        return None if draft.template is None or self.takes_two(draft) else draft.second_photo_key

    async def current(self, customer: Customer) -> tuple[Question, Draft | None]:
        """The question that is open, and the draft it is about."""
        draft = await self._database.run(lambda tx: drafts.find(tx, customer.id))
        return self.open(draft), draft

    def _template(self, draft: Draft) -> Template | None:
        """The draft's template; None where it has none, or one that is sold no more."""
        return self._catalogue.templates.get(draft.template or "")

    async def _made_with(self, tx: Transaction, draft: Draft | None) -> str | None:
        """The name of the model that would make a complete draft, if somebody can."""
        if draft is None or self.open(draft) is not Question.CONFIRMATION:
            return None
        found = await ordering.offer(tx, self._catalogue, self._catalogue.templates[draft.template or ""])
        return found.model.title if isinstance(found, Choice) else None

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
        new = await drafts.renew(tx, draft.order_id)
        if new is not None and template is None:
            await drafts.take_back(tx, new.order_id, ANSWER[Question.TEMPLATE])
        return await drafts.find(tx, draft.customer_id)

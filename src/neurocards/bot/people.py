"""Who is writing: a customer, known or just met. Everything but private chats ends here, quietly."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiogram import BaseMiddleware
from aiogram.enums import ChatType
from aiogram.types import CallbackQuery, Message, TelegramObject

from neurocards.db import customers
from neurocards.db.connection import Database
from neurocards.db.customers import Customer
from neurocards.texts import guess_language

CONSENT_VERSION = 1
"""Raise it when the words of consent change in substance: everybody is asked again."""

Handler = Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]]  # Any: aiogram's own signature


class Meeting(BaseMiddleware):
    """Gives handlers their `customer`. Its transaction has ended before the handler begins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:  # Any: as above
        if not isinstance(event, Message | CallbackQuery):
            return await handler(event, data)
        person = event.from_user
        message = event.message if isinstance(event, CallbackQuery) else event
        if person is None or message is None or message.chat.type != ChatType.PRIVATE:
            return None
        customer = await self._database.run(
            lambda tx: customers.meet(
                tx,
                telegram_id=person.id,
                first_name=person.first_name,
                language=guess_language(person.language_code),
            )
        )
        return await handler(event, {**data, "customer": customer})


def lacks_consent(customer: Customer) -> bool:
    """Whether the customer has still to agree to what happens to their photos."""
    return (customer.consent_version or 0) < CONSENT_VERSION


async def unconsented(_event: TelegramObject, customer: Customer) -> bool:
    """The same as a filter. Asynchronous, because aiogram sends any other into a thread."""
    return lacks_consent(customer)

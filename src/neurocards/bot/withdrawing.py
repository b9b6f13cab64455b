"""The button that takes an order back: free until a provider was asked, and said so when it is too late."""

import structlog
from aiogram import F, Router
from aiogram.types import CallbackQuery

from neurocards import ordering
from neurocards.bot.keyboards import Tap, answer
from neurocards.bot.screens import Verb
from neurocards.db.connection import Away, Database
from neurocards.db.customers import Customer
from neurocards.db.orders import CancelOutcome
from neurocards.texts import translate

WORDS = {
    CancelOutcome.CANCELLED: "order-cancelled-briefly",
    CancelOutcome.TOO_LATE: "cancel-too-late",
    CancelOutcome.ENDED: "cancel-nothing-left",
    CancelOutcome.UNKNOWN: "outdated",
}

log = structlog.get_logger()


class Withdrawing:
    """The handler of one button. What the tap changed, the status card says by itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def router(self) -> Router:
        """Only for its own button."""
        router = Router(name="withdrawing")
        router.callback_query.register(self.cancel_order, Tap.filter(F.verb == Verb.CANCEL_ORDER))
        return router

    async def cancel_order(self, query: CallbackQuery, callback_data: Tap, customer: Customer) -> None:
        """Cancel what of the order is still free; the credits are back in the same moment."""
        language, order_id = customer.language, callback_data.order_id
        if order_id is None:
            await answer(query, translate(language, "outdated"), alert=True)
            return
        try:
            done = await ordering.cancel_order(self._database, order_id, customer.id)
        except Away:
            await answer(query, translate(language, "try-again"), alert=True)
            return
        log.info("order_taken_back", order_id=str(order_id), outcome=done.outcome.value, cancelled=done.cancelled)
        if done.cancelled and done.kept:
            words = translate(language, "cancelled-partly", cancelled=done.cancelled, kept=done.kept)
            await answer(query, words, alert=True)
        else:
            words = translate(language, WORDS[done.outcome])
            await answer(query, words, alert=done.outcome is not CancelOutcome.CANCELLED)

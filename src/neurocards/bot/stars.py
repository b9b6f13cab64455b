"""What Telegram knows of payments in Stars to this bot."""

from collections.abc import AsyncIterator

from aiogram import Bot
from aiogram.types import StarTransaction, TransactionPartnerUser

from neurocards.bot.trouble import translated
from neurocards.keeping.reconciling import StarMove
from neurocards.texts import guess_language

PAGE = 100
"""The most that getStarTransactions gives at once."""


async def star_moves(bot: Bot) -> AsyncIterator[StarMove]:
    """Every payment for an invoice of ours and every refund, in the order of time. Raises Failure.

    Telegram lists all that moved the bot's Stars (getStarTransactions, Bot API 7.5): withdrawals, gifts and adverts are
    none of the shop's business. A refund carries the id of the payment, and has a receiver where that has a source.
    """
    offset = 0
    while True:
        with translated():
            page = (await bot.get_star_transactions(offset=offset, limit=PAGE)).transactions
        for transaction in page:
            if (move := _move(transaction)) is not None:
                yield move
        offset += len(page)
        if len(page) < PAGE:
            return


def _move(transaction: StarTransaction) -> StarMove | None:
    partner = transaction.source or transaction.receiver
    if not isinstance(partner, TransactionPartnerUser) or partner.transaction_type != "invoice_payment":
        return None
    return StarMove(
        charge_id=transaction.id,
        stars=transaction.amount,
        at=transaction.date,
        is_refund=transaction.source is None,
        telegram_id=partner.user.id,
        first_name=partner.user.first_name,
        language=guess_language(partner.user.language_code),
    )

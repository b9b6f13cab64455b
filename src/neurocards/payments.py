"""A payment or a gift becomes credits, once per cause."""

from neurocards.db import customers
from neurocards.db.connection import Transaction


async def welcome(tx: Transaction, customer_id: int, *, amount: int) -> bool:
    """Give a new customer their free credits; True the first time, False ever after."""
    if amount == 0:
        return False
    return await customers.top_up(
        tx, customer_id, amount=amount, funding="free", cause=f"welcome:{customer_id}", reason="welcome gift"
    )


async def grant(tx: Transaction, customer_id: int, *, amount: int, cause: str, reason: str) -> bool:
    """Give free credits on an operator's word. The same cause again changes nothing."""
    return await customers.top_up(tx, customer_id, amount=amount, funding="free", cause=f"grant:{cause}", reason=reason)


STARS = "stars:"
"""How the cause of every credit begins that was paid for with Stars; the rest of it is Telegram's charge id."""

STARS_RETURNED = "stars-returned:"
"""The same of credits that were taken back because their Stars were."""


async def stars(tx: Transaction, customer_id: int, *, charge_id: str, amount: int) -> bool:
    """Credits that were paid for with Stars. The same charge again changes nothing."""
    return await customers.top_up(
        tx, customer_id, amount=amount, funding="paid", cause=f"{STARS}{charge_id}", reason="Telegram Stars"
    )

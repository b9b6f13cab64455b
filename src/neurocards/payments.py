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

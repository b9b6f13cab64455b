"""Invoices in Stars and their checkout: asked, answered within ten seconds, paid or not."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from neurocards.simulators.telegram.conversation import Chat
from neurocards.simulators.telegram.errors import Json, bad_request

ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Invoice:
    """What is for sale, and for how many Stars."""

    title: str
    description: str
    payload: str
    amount: int
    start_parameter: str = ""
    subscription_period: int | None = None

    def as_json(self) -> Json:
        return {
            "title": self.title,
            "description": self.description,
            "start_parameter": self.start_parameter,
            "currency": "XTR",
            "total_amount": self.amount,
        }

    def price_json(self) -> Json:
        return {"currency": "XTR", "total_amount": self.amount, "invoice_payload": self.payload}


class CheckoutState(StrEnum):
    ASKED = "asked"
    PAID = "paid"
    REFUSED = "refused"
    DECLINED = "declined"
    EXPIRED = "expired"


@dataclass(eq=False)
class Checkout:
    """One press of Pay: the bot has been asked and has not necessarily answered."""

    id: str
    chat: Chat
    invoice: Invoice
    will_be_paid: bool
    state: CheckoutState = CheckoutState.ASKED
    error_message: str | None = None
    charge_id: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, state: CheckoutState, *, error_message: str | None = None) -> None:
        self.state = state
        self.error_message = error_message
        self.ended.set()


def read_invoice(values: Mapping[str, Any]) -> Invoice:  # fields of a call, from a form or from JSON
    """The invoice in a call; refuses what Telegram refuses for Stars."""
    if values.get("currency") != "XTR":
        raise bad_request("PAYMENT_PROVIDER_INVALID")
    prices = values.get("prices")
    if not isinstance(prices, list) or len(prices) != 1 or values.get("max_tip_amount"):
        raise bad_request("STARS_INVOICE_INVALID")
    amount = prices[0].get("amount") if isinstance(prices[0], dict) else None
    if not isinstance(amount, int) or amount < 1:
        raise bad_request("STARS_INVOICE_INVALID")
    return Invoice(
        title=_sized(values, "title", 32),
        description=_sized(values, "description", 255),
        payload=_sized(values, "payload", 128, in_bytes=True),
        amount=amount,
        start_parameter=str(values.get("start_parameter") or ""),
        subscription_period=_subscription_period(values, amount),
    )


def _sized(values: Mapping[str, Any], name: str, limit: int, *, in_bytes: bool = False) -> str:
    text = str(values.get(name) or "")
    length = len(text.encode()) if in_bytes else len(text)
    if not 1 <= length <= limit:
        unit = "bytes" if in_bytes else "characters"
        raise bad_request(f"invoice {name} must be 1-{limit} {unit} long")
    return text


def _subscription_period(values: Mapping[str, Any], amount: int) -> int | None:
    period = values.get("subscription_period")
    if not period:
        return None
    if int(period) != 2_592_000 or amount > 10_000:
        raise bad_request("SUBSCRIPTION_PERIOD_INVALID")
    return int(period)

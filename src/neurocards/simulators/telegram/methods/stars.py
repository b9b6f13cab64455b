"""Selling for Stars: invoices, the ten-second question before payment, refunds and the account."""

import secrets
import time

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.conversation import Content
from neurocards.simulators.telegram.errors import Json, bad_request
from neurocards.simulators.telegram.markup import read_markup
from neurocards.simulators.telegram.methods.messages import post
from neurocards.simulators.telegram.parameters import Parameters
from neurocards.simulators.telegram.payments import CheckoutState, read_invoice
from neurocards.simulators.telegram.person import complete_payment
from neurocards.simulators.telegram.world import World


async def send_invoice(world: World, bot: Bot, parameters: Parameters) -> Json:
    chat = world.chat_for_bot(bot, parameters.values.get("chat_id"))
    invoice = read_invoice(parameters.values)
    if invoice.subscription_period:
        raise bad_request("SUBSCRIPTION_PERIOD_INVALID")
    buttons = read_markup(parameters.values).buttons
    if buttons and not buttons[0][0].get("pay"):
        raise bad_request("the first button of an invoice must be a Pay button")
    own_buttons = [[{"text": f"Pay ⭐️{invoice.amount}", "pay": True}]]
    service = {"invoice": invoice.as_json()}
    message = post(chat, parameters, Content(), service=service, own_buttons=own_buttons)
    world.invoices[message] = invoice
    return message.as_json()


async def create_invoice_link(world: World, bot: Bot, parameters: Parameters) -> str:
    link = f"https://t.me/${secrets.token_urlsafe(12)}"
    world.invoice_links[link] = bot, read_invoice(parameters.values)
    return link


async def answer_pre_checkout_query(world: World, bot: Bot, parameters: Parameters) -> bool:
    checkout = world.checkouts.get(parameters.text("pre_checkout_query_id"))
    if checkout is None or checkout.chat.bot is not bot or checkout.state is not CheckoutState.ASKED:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    if parameters.flag("ok"):
        complete_payment(world, checkout)
        return True
    error_message = parameters.text("error_message")
    if not error_message:
        raise bad_request("ERROR_TEXT_EMPTY")
    checkout.end(CheckoutState.REFUSED, error_message=error_message)
    return True


async def refund_star_payment(world: World, bot: Bot, parameters: Parameters) -> bool:
    chat = world.chat_for_bot(bot, parameters.values.get("user_id"), must_be_open=False)
    charge_id = parameters.text("telegram_payment_charge_id")
    payment = bot.stars.refund(charge_id, person_id=chat.person.id, date=int(time.time()))
    refunded = {
        "currency": "XTR",
        "total_amount": payment.amount,
        "invoice_payload": payment.partner["invoice_payload"],
        "telegram_payment_charge_id": charge_id,
    }
    message = chat.add(Content(), from_bot=False, service={"refunded_payment": refunded})
    world.notify(chat, "message", message.as_json())
    return True


async def get_star_transactions(world: World, bot: Bot, parameters: Parameters) -> Json:
    offset = max(0, parameters.integer("offset", 0))
    limit = parameters.integer("limit", 100)
    if not 1 <= limit <= 100:
        raise bad_request("limit must be 1-100")
    page = bot.stars.transactions[offset : offset + limit]
    return {"transactions": [transaction.as_json() for transaction in page]}


async def get_my_star_balance(world: World, bot: Bot, parameters: Parameters) -> Json:
    return {"amount": bot.stars.balance}


METHODS = {
    "sendInvoice": send_invoice,
    "createInvoiceLink": create_invoice_link,
    "answerPreCheckoutQuery": answer_pre_checkout_query,
    "refundStarPayment": refund_star_payment,
    "getStarTransactions": get_star_transactions,
    "getMyStarBalance": get_my_star_balance,
}

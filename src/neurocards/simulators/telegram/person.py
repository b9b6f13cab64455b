"""What a person can do in the app: write, send pictures, tap, pay, block. Knows nothing of HTTP."""

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from neurocards.simulators.telegram.bots import Bot, StarTransaction
from neurocards.simulators.telegram.conversation import Callback, Chat, Content, Media, Message, Person
from neurocards.simulators.telegram.entities import NO_TEXT, FormattedText, typed_text
from neurocards.simulators.telegram.errors import CannotDo, Json
from neurocards.simulators.telegram.files import Looks
from neurocards.simulators.telegram.markup import find_button
from neurocards.simulators.telegram.media import NotAPhoto, mime_type_of
from neurocards.simulators.telegram.payments import ANSWER_SECONDS, Checkout, CheckoutState, Invoice
from neurocards.simulators.telegram.world import World

_START_PAYLOAD = re.compile(r"[A-Za-z0-9_-]{0,64}")
_TEXT_LIMIT = 4096
_CAPTION_LIMIT = 1024
_CHANNEL_ID = -1_001_000_000_001


@dataclass(frozen=True)
class Sent:
    """A file as it lies on the person's phone."""

    name: str
    stream: BinaryIO


def start(world: World, bot: Bot, person: Person, payload: str | None = None) -> Message:
    """Press Start, perhaps through a link with a payload; someone who had stopped the bot restarts it."""
    if payload and not _START_PAYLOAD.fullmatch(payload):
        raise CannotDo(422, "a start payload is up to 64 characters of A-Z a-z 0-9 _ -")
    chat = world.open_chat(bot, person)
    if chat.blocked:
        unblock(world, bot, person)
    return _say(world, chat, Content(typed_text(f"/start {payload}" if payload else "/start")))


def write(world: World, bot: Bot, person: Person, text: str) -> Message:
    """Send a text message."""
    return _say(world, _open_chat(world, bot, person), Content(_typed(text, _TEXT_LIMIT, may_be_empty=False)))


async def send_photos(
    world: World, bot: Bot, person: Person, photos: Sequence[Sent], caption: str = ""
) -> list[Message]:
    """Send one photo, or several as an album with the caption on the first."""
    chat = _open_chat(world, bot, person)
    text = _typed(caption, _CAPTION_LIMIT)
    # All are prepared before the first is sent: an album with a broken picture is not sent at all.
    prepared = [await _photo(world, bot, photo) for photo in photos]
    group = f"{person.id}{next(bot.album_numbers)}" if len(prepared) > 1 else None
    return [
        _say(world, chat, Content(text if number == 0 else NO_TEXT, media), media_group_id=group)
        for number, media in enumerate(prepared)
    ]


async def send_document(world: World, bot: Bot, person: Person, document: Sent, caption: str = "") -> Message:
    """Send a file as a file: its bytes stay as they are."""
    chat = _open_chat(world, bot, person)
    text = _typed(caption, _CAPTION_LIMIT)
    looks = Looks(name=document.name, mime_type=mime_type_of(document.name))
    file = world.files.register(bot, "document", await world.files.keep(document.stream), looks)
    return _say(world, chat, Content(text, world.remember_media(Media("document", file))))


async def send_forwarded(
    world: World, bot: Bot, person: Person, *, channel: str, text: str = "", photo: Sent | None = None
) -> Message:
    """Pass a channel's post on: its words, its photo, or both."""
    chat = _open_chat(world, bot, person)
    words = _typed(text, _CAPTION_LIMIT if photo else _TEXT_LIMIT, may_be_empty=photo is not None)
    media = await _photo(world, bot, photo) if photo else None
    origin: Json = {
        "type": "channel",
        "chat": {"id": _CHANNEL_ID, "title": channel, "username": "simulated_channel", "type": "channel"},
        "message_id": 1 + secrets.randbelow(10_000),
        "date": int(time.time()) - 3600,
    }
    return _say(world, chat, Content(words, media), service={"forward_origin": origin})


async def send_sticker(world: World, bot: Bot, person: Person) -> Message:
    chat = _open_chat(world, bot, person)
    details = {"type": "regular", "is_animated": False, "is_video": False, "emoji": "🙂"}
    media = Media("sticker", await world.studio.sticker(bot), details=details)
    return _say(world, chat, Content(media=world.remember_media(media)))


async def send_voice(world: World, bot: Bot, person: Person, *, seconds: int) -> Message:
    chat = _open_chat(world, bot, person)
    media = Media("voice", await world.studio.voice(bot, seconds))
    return _say(world, chat, Content(media=world.remember_media(media)))


def send_location(world: World, bot: Bot, person: Person, *, latitude: float, longitude: float) -> Message:
    location = {"latitude": latitude, "longitude": longitude}
    return _say(world, _open_chat(world, bot, person), Content(), service={"location": location})


def edit(world: World, bot: Bot, person: Person, message_id: int, text: str) -> Message:
    """Change the text or caption of one's own message."""
    chat = _open_chat(world, bot, person)
    message = _message(chat, message_id)
    if message.from_bot or message.service:
        raise CannotDo(422, "only one's own messages can be edited")
    has_media = message.content.media is not None
    new_text = _typed(text, _CAPTION_LIMIT if has_media else _TEXT_LIMIT, may_be_empty=has_media)
    chat.replace(message, replace(message.content, text=new_text))
    world.notify(chat, "edited_message", message.as_json())
    return message


def delete(world: World, bot: Bot, person: Person, message_id: int) -> None:
    """Delete a message for both sides; bots are not told."""
    chat = world.open_chat(bot, person)
    chat.delete(_message(chat, message_id))


def tap(world: World, bot: Bot, person: Person, message_id: int, button: str) -> Callback:
    """Tap a button, named by its label or its callback data."""
    chat = _open_chat(world, bot, person)
    message = _message(chat, message_id)
    found = find_button(message.content.buttons, button)
    if found is None:
        raise CannotDo(404, f"message {message_id} has no button {button!r}")
    if "callback_data" not in found:
        raise CannotDo(422, f"button {button!r} does not call the bot")
    return world.ask_callback(chat, message, found["callback_data"])


def tap_forged(world: World, bot: Bot, person: Person, message_id: int, data: str) -> Callback:
    """Send any callback data for any message, as an outdated screen or a doctored app can."""
    chat = _open_chat(world, bot, person)
    message = chat.messages.get(message_id)
    if message is None:
        raise CannotDo(404, f"no message {message_id}")
    return world.ask_callback(chat, message, data)


def block(world: World, bot: Bot, person: Person) -> None:
    """Stop the bot."""
    _change_membership(world, bot, person, blocked=True)


def unblock(world: World, bot: Bot, person: Person) -> None:
    _change_membership(world, bot, person, blocked=False)


def pay(
    world: World,
    bot: Bot,
    person: Person,
    *,
    message_id: int | None = None,
    link: str | None = None,
    will_be_paid: bool = True,
) -> Checkout:
    """Press Pay on an invoice, the latest by default; the bot is asked and has ten seconds.

    With `will_be_paid` false the person gives up after the bot agreed: approval is not payment.
    """
    chat = _open_chat(world, bot, person)
    invoice = _invoice_at(world, bot, link) if link else _invoice_in(world, chat, message_id)
    checkout = Checkout(str(secrets.randbits(62)), chat, invoice, will_be_paid)
    world.checkouts[checkout.id] = checkout
    world.notify(
        chat,
        "pre_checkout_query",
        {"id": checkout.id, "from": person.as_user(), **invoice.price_json()},
    )
    asyncio.get_running_loop().call_later(ANSWER_SECONDS, _expire, checkout)
    return checkout


def complete_payment(world: World, checkout: Checkout) -> None:
    """The bot agreed: the Stars move and both sides see the payment, unless the person gives up."""
    if not checkout.will_be_paid:
        checkout.end(CheckoutState.DECLINED)
        return
    chat, invoice = checkout.chat, checkout.invoice
    checkout.charge_id = f"stx{secrets.token_urlsafe(24)}"
    partner: Json = {
        "type": "user",
        "transaction_type": "invoice_payment",
        "user": chat.person.as_user(),
        "invoice_payload": invoice.payload,
    }
    payment: Json = invoice.price_json() | {
        "telegram_payment_charge_id": checkout.charge_id,
        "provider_payment_charge_id": f"{chat.person.id}_{len(chat.bot.stars.payments)}",
    }
    now = int(time.time())
    if invoice.subscription_period:
        partner["subscription_period"] = invoice.subscription_period
        payment |= {
            "is_recurring": True,
            "is_first_recurring": True,
            "subscription_expiration_date": now + invoice.subscription_period,
        }
    chat.bot.stars.receive(StarTransaction(checkout.charge_id, invoice.amount, now, chat.person.id, partner))
    checkout.end(CheckoutState.PAID)
    _say(world, chat, Content(), service={"successful_payment": payment})


def _say(
    world: World,
    chat: Chat,
    content: Content,
    *,
    service: Json | None = None,
    media_group_id: str | None = None,
) -> Message:
    message = chat.add(content, from_bot=False, service=service, media_group_id=media_group_id)
    world.notify(chat, "message", message.as_json())
    return message


def _typed(text: str, limit: int, *, may_be_empty: bool = True) -> FormattedText:
    typed = typed_text(text)
    if not typed.text and not may_be_empty:
        raise CannotDo(422, "an empty message cannot be sent")
    if len(typed.text) > limit:
        raise CannotDo(422, f"the app sends at most {limit} characters at once")
    return typed


async def _photo(world: World, bot: Bot, photo: Sent) -> Media:
    blob = await world.files.keep(photo.stream)
    try:
        sizes = await world.studio.photo_sizes(bot, blob, strict=False)
    except NotAPhoto:
        raise CannotDo(422, f"{photo.name} is not an image that can be sent as a photo") from None
    return world.remember_media(Media("photo", sizes[-1], sizes))


def _open_chat(world: World, bot: Bot, person: Person) -> Chat:
    chat = world.open_chat(bot, person)
    if chat.blocked:
        raise CannotDo(409, "the bot is blocked; unblock it first")
    return chat


def _message(chat: Chat, message_id: int) -> Message:
    message = chat.present(message_id)
    if message is None:
        raise CannotDo(404, f"no message {message_id}")
    return message


def _change_membership(world: World, bot: Bot, person: Person, *, blocked: bool) -> None:
    if bot.token is None:
        raise CannotDo(409, "no bot has appeared yet")
    chat = world.open_chat(bot, person)
    if chat.blocked is blocked:
        return
    member = {"status": "member", "user": bot.as_user()}
    kicked = {"status": "kicked", "user": bot.as_user(), "until_date": 0}
    chat.blocked = blocked
    chat.changes.announce()
    world.notify(
        chat,
        "my_chat_member",
        {
            "chat": person.as_chat(),
            "from": person.as_user(),
            "date": int(time.time()),
            "old_chat_member": member if blocked else kicked,
            "new_chat_member": kicked if blocked else member,
        },
    )


def _invoice_at(world: World, bot: Bot, link: str) -> Invoice:
    seller, invoice = world.invoice_links.get(link, (None, None))
    if invoice is None or seller is not bot:
        raise CannotDo(404, "no invoice at this link")
    return invoice


def _invoice_in(world: World, chat: Chat, message_id: int | None) -> Invoice:
    messages = chat.newest_first() if message_id is None else iter([_message(chat, message_id)])
    for message in messages:
        if message in world.invoices:
            return world.invoices[message]
    raise CannotDo(404, "no invoice in this chat")


def _expire(checkout: Checkout) -> None:
    if checkout.state is CheckoutState.ASKED:
        checkout.end(CheckoutState.EXPIRED)

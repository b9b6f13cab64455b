"""Screens on their way to Telegram, and taps on their way back."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters.callback_data import CallbackData
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup

from neurocards.bot.screens import Action, AdminAction, AdminVerb, CabinetAction, CabinetVerb, Screen, Verb

ADMIN_PREFIX = "op"

# The message cannot become another screen any more: deleted, too old, or never one with text.
_NO_PAGE = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "message identifier",
    "no text in the message",
)


class Tap(CallbackData, prefix="t"):
    """An action as a button carries it."""

    verb: Verb
    order_id: UUID | None = None
    value: str = ""


class CabinetTap(CallbackData, prefix="c"):
    """An action of the cabinet the same way."""

    verb: CabinetVerb
    older_than: int | None = None
    newer_than: int | None = None
    generation_id: UUID | None = None
    language: str = ""


class AdminTap(CallbackData, prefix=ADMIN_PREFIX):
    """An action of the operators' menu the same way."""

    verb: AdminVerb
    subject: int | None = None
    request_id: UUID | None = None


def keyboard(screen: Screen) -> InlineKeyboardMarkup | None:
    """The screen's buttons as Telegram wants them; None when it has none."""
    if not screen.buttons:
        return None
    return InlineKeyboardMarkup(
        inline_keyboard=[
            [
                InlineKeyboardButton(text=button.label, callback_data=data(button.action), style=button.style)
                for button in row
            ]
            for row in screen.buttons
        ]
    )


def data(action: Action | CabinetAction | AdminAction) -> str:
    """What a button with this action sends back."""
    match action:
        case Action(verb, order_id, value):
            return Tap(verb=verb, order_id=order_id, value=value).pack()
        case CabinetAction():
            return CabinetTap(**vars(action)).pack()
        case AdminAction():
            return AdminTap(**vars(action)).pack()


async def send(bot: Bot, chat_id: int, screen: Screen) -> int:
    """Show the screen as a new message; returns its id."""
    message = await bot.send_message(chat_id, screen.text, reply_markup=keyboard(screen))
    return message.message_id


async def answer(query: CallbackQuery, text: str = "", *, alert: bool = False) -> None:
    """End the spinner on the tapped button, with a word if there is one."""
    try:
        await query.answer(text or None, show_alert=alert or None)
    except TelegramBadRequest as error:
        # Telegram forgets a tap after a while; whoever tapped has the new screen anyway.
        if "query is too old" not in error.message:
            raise


async def turn_page(query: CallbackQuery, bot: Bot, chat_id: int, screen: Screen, *, words: str = "") -> None:
    """Answer the tap and let the tapped message become the screen; where it cannot, send a new one to the chat."""
    await answer(query, words)
    if query.message is not None:
        try:
            await bot.edit_message_text(
                screen.text,
                chat_id=query.message.chat.id,
                message_id=query.message.message_id,
                reply_markup=keyboard(screen),
            )
            return
        except TelegramBadRequest as error:
            refusal = error.message.lower()
            if "message is not modified" in refusal:
                return
            if not any(known in refusal for known in _NO_PAGE):
                raise
    await send(bot, chat_id, screen)


def tapped(query: CallbackQuery) -> int | None:
    """The id of the message whose button was tapped."""
    return query.message.message_id if query.message else None


async def disarm(query: CallbackQuery) -> None:
    """Take the buttons off the message that was tapped: its question is answered."""
    if query.message is not None and query.bot is not None:
        await disarm_message(query.bot, query.message.chat.id, query.message.message_id)


async def disarm_message(bot: Bot, chat_id: int, message_id: int | None) -> None:
    """Take the buttons off a message, if there is one."""
    if message_id is None:
        return
    with _harmless():
        await bot.edit_message_reply_markup(chat_id=chat_id, message_id=message_id)


async def become(query: CallbackQuery, screen: Screen) -> None:
    """Let the message that was tapped say what the tap has chosen; its buttons are gone."""
    if query.message is not None and query.bot is not None:
        with _harmless():
            await query.bot.edit_message_text(
                screen.text, chat_id=query.message.chat.id, message_id=query.message.message_id
            )


async def vanish(query: CallbackQuery) -> None:
    """Remove the message that was tapped: its question is taken back."""
    if query.message is None or query.bot is None:
        return
    try:
        await query.bot.delete_message(query.message.chat.id, query.message.message_id)
    except TelegramBadRequest:
        # Telegram deletes nothing that is older than two days.
        await disarm(query)


@contextmanager
def _harmless() -> Iterator[None]:
    """The buttons are off already, or the message is gone. Buttons that stay say "outdated" when tapped."""
    with suppress(TelegramBadRequest):
        yield

"""Who may reach the operators' menu: listed people, in their own private chat with the bot, with words of their own.

The only place that decides it. Everybody else gets what an unknown command or button gets, and the attempt is recorded.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import structlog
from aiogram import BaseMiddleware
from aiogram.enums import ChatType
from aiogram.types import CallbackQuery, Chat, InlineQuery, Message, TelegramObject, Update, User

from neurocards.bot.keyboards import ADMIN_PREFIX
from neurocards.db import operators
from neurocards.db.connection import Database
from neurocards.operating import named

COMMAND = re.compile(r"\s{0,9}/admin(?:@\w{1,32})?(?:\s+(?P<rest>.*))?", re.IGNORECASE | re.DOTALL)

Handler = Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]]  # Any: aiogram's own signature

log = structlog.get_logger()


@dataclass(frozen=True)
class Knock:
    """An update as the door sees it. `asks` is whether it wants to be let in; `fault` is what stands in the way."""

    person: int | None
    asks: bool
    fault: str | None


class Door(BaseMiddleware):
    """Gives handlers their `operator`, a Telegram id, where the update is from one; an outer middleware of updates."""

    def __init__(self, database: Database, operators: Collection[int]) -> None:
        self._database = database
        self._operators = frozenset(operators)

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:  # Any: as above
        if not isinstance(event, Update):
            return await handler(event, data)
        knock = _knock(event)
        if knock.person in self._operators and knock.fault is None:
            return await handler(event, {**data, "operator": knock.person})
        if knock.asks:
            await self._record(event, knock)
        return await handler(event, data)

    async def _record(self, update: Update, knock: Knock) -> None:
        fault = knock.fault or "no operator"
        log.warning("operator_refused", fault=fault)
        who = named(knock.person) if knock.person is not None else "telegram"
        await self._database.run(
            lambda tx: operators.record_refusal(
                tx, operator=who, subject="/admin", fault=fault, detail=f"update {update.update_id}"
            )
        )


async def from_operator(_event: TelegramObject, operator: int | None = None) -> bool:
    """A filter: only what came through the door. Asynchronous, because aiogram sends any other into a thread."""
    return operator is not None


def _knock(update: Update) -> Knock:
    event = update.event
    match event:
        case CallbackQuery():
            asks = (event.data or "").startswith(f"{ADMIN_PREFIX}:")
            return Knock(event.from_user.id, asks, _tap_fault(event))
        case InlineQuery():
            return Knock(event.from_user.id, bool(COMMAND.fullmatch(event.query)), "an inline query")
        case Message():
            asks = bool(COMMAND.fullmatch(event.text or event.caption or ""))
            person = event.from_user.id if event.from_user is not None else None
            return Knock(person, asks, _message_fault(update, event))
        case _:
            return Knock(None, asks=False, fault="neither a message nor a tap")


def _tap_fault(tap: CallbackQuery) -> str | None:
    if tap.message is None:
        return "a button of an inline message"
    return _place_fault(tap.message.chat, tap.from_user)


def _message_fault(update: Update, message: Message) -> str | None:
    if update.message is not message:
        return f"a {update.event_type}"
    if message.from_user is None or message.sender_chat is not None:
        return "written in the name of a chat"
    if message.forward_origin is not None:
        return "forwarded"
    if message.via_bot is not None:
        return "written by another bot"
    return _place_fault(message.chat, message.from_user)


def _place_fault(chat: Chat, person: User) -> str | None:
    """In a private chat with the bot the chat has the person's own id."""
    if chat.type != ChatType.PRIVATE:
        return f"in a {chat.type} {chat.id}"
    if person.is_bot:
        return "a bot"
    return None if chat.id == person.id else f"in the chat of {chat.id}"

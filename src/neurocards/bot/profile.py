"""The bot itself: how it is reached, and what Telegram shows about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog
from aiogram import Bot
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ParseMode
from aiogram.methods import AnswerCallbackQuery, EditMessageText, GetFile, Response, SendMessage, SendPhoto
from aiogram.types import BotCommand

from neurocards.bot.intake import FetchUpdates
from neurocards.bot.trouble import translated
from neurocards.domain.failures import Failure
from neurocards.notices import Unreachable
from neurocards.texts import LANGUAGES, translate

COMMANDS = ("start", "cabinet", "help", "language", "cancel")

# Shown to everybody whose language has no words of its own.
FALLBACK_LANGUAGE = "en"

log = structlog.get_logger()

# Pydantic builds the type of an answer at its first use and forgets it at the next garbage collection: some 20 ms of
# a standing event loop, again and again. Held here, each is built once.
_ANSWERS = [
    Response[method.__returning__]  # type: ignore[name-defined]  # a value, used as a type at run time
    for method in (SendMessage, SendPhoto, EditMessageText, AnswerCallbackQuery, GetFile, FetchUpdates)
]


def make_bot(token: str, api_url: str) -> Bot:
    """The bot behind this token, at this Bot API. Close its session when done."""
    return Bot(
        token,
        session=AiohttpSession(api=TelegramAPIServer.from_base(api_url)),
        default=DefaultBotProperties(parse_mode=ParseMode.HTML, link_preview_is_disabled=True),
    )


@dataclass(frozen=True)
class Change:
    """One thing that Telegram shows of the bot and that was not as it should be; `refusal` says why it still is not."""

    what: str
    language: str
    text: str
    refusal: str | None = None


async def set_up(bot: Bot) -> list[Change]:
    """Let name, descriptions and commands be as `content/texts` says, in every language; returns what was not.

    Nothing is written that is so already: of names Telegram takes a few a day, of the others not many more.
    Raises Failure or Unreachable when Telegram does not say how things are.
    """
    changes: list[Change] = []
    for language in sorted(LANGUAGES, key=lambda one: one != FALLBACK_LANGUAGE):
        code = None if language == FALLBACK_LANGUAGE else language
        for what, read, wanted, write in _wishes(bot, language, code):
            with translated():
                present = await read()
            if present != wanted:
                changes.append(Change(what, language, _in_words(wanted), await _refusal(write)))
    return changes


async def keep_set_up(bot: Bot) -> None:
    """`set_up` at a process's start: orders can be taken without it, so whatever Telegram refuses is only logged."""
    try:
        changes = await set_up(bot)
    except (Failure, Unreachable) as failure:
        log.warning("profile_not_read", failure=str(failure))
        return
    for change in changes:
        if change.refusal is None:
            log.info("profile_set", what=change.what, language=change.language)
        else:
            log.warning("profile_not_set", what=change.what, language=change.language, failure=change.refusal)


_Shown = str | list[BotCommand]
_Wish = tuple[str, Callable[[], Awaitable[_Shown]], _Shown, Callable[[], Awaitable[bool]]]


def _wishes(bot: Bot, language: str, code: str | None) -> list[_Wish]:
    """What Telegram shows in one language: how it is read, what it should be, and how it is written."""
    name, about = translate(language, "bot-name"), translate(language, "bot-about")
    description = translate(language, "bot-description")
    commands = [
        BotCommand(command=command, description=translate(language, f"command-{command}")) for command in COMMANDS
    ]

    async def read_name() -> str:
        return (await bot.get_my_name(language_code=code)).name

    async def read_about() -> str:
        return (await bot.get_my_short_description(language_code=code)).short_description

    async def read_description() -> str:
        return (await bot.get_my_description(language_code=code)).description

    async def read_commands() -> list[BotCommand]:
        # What was received knows its bot and is equal to nothing of ours.
        found = await bot.get_my_commands(language_code=code)
        return [BotCommand(command=one.command, description=one.description) for one in found]

    return [
        ("name", read_name, name, partial(bot.set_my_name, name, language_code=code)),
        ("about", read_about, about, partial(bot.set_my_short_description, about, language_code=code)),
        ("description", read_description, description, partial(bot.set_my_description, description, code)),
        (
            "commands",
            read_commands,
            commands,
            partial(bot.set_my_commands, commands, language_code=code),
        ),
    ]


async def _refusal(write: Callable[[], Awaitable[bool]]) -> str | None:
    """Write it; why Telegram did not take it, if so."""
    try:
        with translated():
            await write()
    except (Failure, Unreachable) as failure:
        return str(failure)
    return None


def _in_words(shown: _Shown) -> str:
    return shown if isinstance(shown, str) else "\n".join(f"/{one.command} {one.description}" for one in shown)

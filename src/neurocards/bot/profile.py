"""The bot itself: how it is reached, and what Telegram shows about it."""

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


async def set_up(bot: Bot) -> None:
    """Tell Telegram the commands and descriptions in every language. Safe to repeat; raises nothing of Telegram's.

    Orders can be taken without: after a few restarts Telegram refuses new descriptions for hours (429).
    """
    try:
        with translated():
            await _describe(bot, FALLBACK_LANGUAGE, None)
            for language in LANGUAGES:
                if language != FALLBACK_LANGUAGE:
                    await _describe(bot, language, language)
    except (Failure, Unreachable) as failure:
        log.warning("profile_not_set", failure=str(failure))


async def _describe(bot: Bot, language: str, code: str | None) -> None:
    commands = [
        BotCommand(command=command, description=translate(language, f"command-{command}")) for command in COMMANDS
    ]
    await bot.set_my_commands(commands, language_code=code)
    name = translate(language, "bot-name")
    if (await bot.get_my_name(language_code=code)).name != name:
        # Telegram lets a bot change its name a few times a day, and counts names that change nothing.
        await bot.set_my_name(name, language_code=code)
    await bot.set_my_description(translate(language, "bot-description"), language_code=code)
    await bot.set_my_short_description(translate(language, "bot-about"), language_code=code)

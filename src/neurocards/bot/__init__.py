"""Telegram: the inbox, the conversation, and the messenger that carries notices. The only room that imports aiogram."""

from neurocards.bot.deferred import build_usual_models  # noqa: I001 (before anybody imports aiogram)
from neurocards.bot.alarm import Alarm
from neurocards.bot.dispatcher import build_dispatcher
from neurocards.bot.handling import Handling
from neurocards.bot.intake import Intake, IntakeRefused
from neurocards.bot.messenger import TelegramMessenger
from neurocards.bot.profile import Change, keep_set_up, make_bot, set_up
from neurocards.bot.stars import star_moves
from neurocards.bot.webhook import Registration

__all__ = [
    "Alarm",
    "Change",
    "Handling",
    "Intake",
    "IntakeRefused",
    "Registration",
    "TelegramMessenger",
    "build_dispatcher",
    "build_usual_models",
    "keep_set_up",
    "make_bot",
    "set_up",
    "star_moves",
]

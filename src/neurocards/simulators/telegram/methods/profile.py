"""Who the bot is and how it presents itself."""

import re
from collections.abc import Awaitable, Callable

from neurocards.simulators.telegram.bots import Bot, command_key
from neurocards.simulators.telegram.errors import Json, bad_request
from neurocards.simulators.telegram.parameters import Parameters
from neurocards.simulators.telegram.world import World

_COMMAND_NAME = re.compile(r"[a-z0-9_]{1,32}")
_MAX_COMMANDS = 100
_DEFAULT_SCOPE: Json = {"type": "default"}


async def get_me(world: World, bot: Bot, parameters: Parameters) -> Json:
    return bot.as_user() | {
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


async def set_my_commands(world: World, bot: Bot, parameters: Parameters) -> bool:
    commands = parameters.listed("commands") or []
    if len(commands) > _MAX_COMMANDS:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    for command in commands:
        _check_command(command)
    bot.commands[_command_key(world, bot, parameters)] = commands
    return True


async def get_my_commands(world: World, bot: Bot, parameters: Parameters) -> list[Json]:
    return bot.commands.get(_command_key(world, bot, parameters), [])


async def delete_my_commands(world: World, bot: Bot, parameters: Parameters) -> bool:
    bot.commands.pop(_command_key(world, bot, parameters), None)
    return True


async def log_out(world: World, bot: Bot, parameters: Parameters) -> bool:
    return True


def _check_command(command: object) -> None:
    name = str(command.get("command", "")) if isinstance(command, dict) else ""
    if not _COMMAND_NAME.fullmatch(name.removeprefix("/")):
        raise bad_request("BOT_COMMAND_INVALID")
    description = str(command.get("description", "")) if isinstance(command, dict) else ""
    if not 1 <= len(description) <= 256:
        raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")


def _command_key(world: World, bot: Bot, parameters: Parameters) -> tuple[str, str]:
    scope = parameters.values.get("scope") or _DEFAULT_SCOPE
    if not isinstance(scope, dict):
        raise bad_request("can't parse BotCommandScope")
    if scope.get("type") == "chat":
        world.chat_for_bot(bot, scope.get("chat_id"), must_be_open=False)
    return command_key(scope, parameters.text("language_code"))


def _setter(field_name: str, limit: int) -> Callable[[World, Bot, Parameters], Awaitable[bool]]:
    async def set_field(world: World, bot: Bot, parameters: Parameters) -> bool:
        text = parameters.text(field_name)
        if len(text) > limit:
            raise bad_request(f"{field_name} is too long: at most {limit} characters")
        key = field_name, parameters.text("language_code")
        if text:
            bot.profile[key] = text
        else:
            bot.profile.pop(key, None)
        return True

    return set_field


def _getter(field_name: str) -> Callable[[World, Bot, Parameters], Awaitable[Json]]:
    async def get_field(world: World, bot: Bot, parameters: Parameters) -> Json:
        default = bot.as_user()["first_name"] if field_name == "name" else ""
        by_default = bot.profile.get((field_name, ""), default)
        return {field_name: bot.profile.get((field_name, parameters.text("language_code")), by_default)}

    return get_field


METHODS: dict[str, Callable[[World, Bot, Parameters], Awaitable[object]]] = {
    "getMe": get_me,
    "setMyCommands": set_my_commands,
    "getMyCommands": get_my_commands,
    "deleteMyCommands": delete_my_commands,
    "setMyName": _setter("name", 64),
    "getMyName": _getter("name"),
    "setMyDescription": _setter("description", 512),
    "getMyDescription": _getter("description"),
    "setMyShortDescription": _setter("short_description", 120),
    "getMyShortDescription": _getter("short_description"),
    "logOut": log_out,
    "close": log_out,
}

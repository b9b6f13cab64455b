"""The Bot API methods, by name in lower case, as Telegram accepts them in any letter case."""

from collections.abc import Awaitable, Callable

from neurocards.simulators.telegram.bots import Bot
from neurocards.simulators.telegram.methods import callbacks, edits, files, messages, profile, receiving, stars
from neurocards.simulators.telegram.parameters import Parameters
from neurocards.simulators.telegram.world import World

Method = Callable[[World, Bot, Parameters], Awaitable[object]]

METHODS: dict[str, Method] = {
    name.lower(): method
    for room in (callbacks, edits, files, messages, profile, receiving, stars)
    for name, method in room.METHODS.items()
}

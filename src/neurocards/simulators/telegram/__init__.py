"""A stand-in for Telegram: bots reach it by the Bot API over HTTP, people through `/sim`."""

from neurocards.simulators.telegram.app import create_app
from neurocards.simulators.telegram.world import World

__all__ = ["World", "create_app"]

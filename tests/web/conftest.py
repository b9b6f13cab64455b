"""A door for each test, and the bot's shop for those that need a real Telegram before it."""

from collections.abc import AsyncIterator

import pytest

from bot.conftest import shop
from neurocards.db.connection import Database
from services import Simulators
from web.door import Door, Doorway, served

__all__ = ["shop"]


@pytest.fixture(scope="session")
async def doorway() -> AsyncIterator[Doorway]:
    doorway = Doorway()
    async with served(doorway) as base:
        doorway.base = base
        yield doorway


@pytest.fixture
def door(doorway: Doorway, database: Database, simulators: Simulators) -> Door:
    """The hooks behind a real server."""
    return doorway.open(database, simulators.client)

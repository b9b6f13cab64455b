"""A shop for each test: its own bot, an empty database, a store in memory."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from obstore.store import MemoryStore

from bot.chat import Shop
from neurocards.db.connection import Database
from neurocards.storage import Store
from services import Closing, Simulators

_tokens = count(5_000_001)


@pytest.fixture
async def shop(simulators: Simulators, database: Database, closing: Closing) -> AsyncIterator[Shop]:
    """A shop with its own bot and an empty database."""
    token = f"{next(_tokens)}:{'a' * 35}"
    shop = Shop(simulators.telegram, database, Store(MemoryStore()), token, simulators.client)
    await shop.bot.get_me()
    yield shop
    closing.add(asyncio.create_task(shop.bot.session.close()))

"""What the faults need: the shop and the rig of other tests, and a workshop whose workers can be stopped anywhere."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.conftest import shop
from bot.test_messenger import waiting
from faults.line import Line
from faults.places import opened_workshop
from faults.points import Workshop
from flow.conftest import photo, rig
from neurocards.db.connection import Database
from services import Simulators

__all__ = ["photo", "rig", "shop", "waiting"]


@pytest.fixture
async def workshop(database: Database, simulators: Simulators, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with opened_workshop(database, simulators, tmp_path) as workshop:
        yield workshop


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    """A line to the test's database that works until a test says otherwise."""
    async with Line(dsn) as line:
        yield line

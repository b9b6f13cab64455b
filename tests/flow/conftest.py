"""The workshop, fresh for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flow.rig import Rig, make_rig
from neurocards.db.connection import Database
from neurocards.demo.samples import draw_product
from neurocards.storage import open_store
from services import Simulators


@pytest.fixture(scope="session")
def photo() -> bytes:
    return draw_product(0)


@pytest.fixture
async def rig(database: Database, simulators: Simulators, tmp_path: Path) -> AsyncIterator[Rig]:
    rig, writer = make_rig(
        database,
        open_store(None, tmp_path),
        kie_url=simulators.kie,
        openai_url=simulators.openai.removesuffix("/v1"),
        client=simulators.client,
        workspace=tmp_path,
    )
    yield rig
    await rig.kie.close()
    await writer.close()

"""A desk with a prompt writer, fresh for each test."""

import io
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from providers.desk import Clock, Desk
from services import Simulators


@pytest.fixture(scope="session")
def small_photo() -> bytes:
    target = io.BytesIO()
    Image.effect_noise((320, 320), 60).convert("RGB").save(target, "JPEG")
    return target.getvalue()


@pytest.fixture
async def desk(simulators: Simulators, small_photo: bytes) -> AsyncIterator[Desk]:
    desk = Desk(simulators.openai, small_photo, Clock(), simulators.client, [])
    yield desk
    for writer in desk.writers:
        await writer.close()

"""T21, T22: whatever is sent to whatever route, nothing breaks, and no answer tells of the inside."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI

from neurocards.db.connection import Database
from services import Simulators
from web.door import Doorway, served
from web.fuzzing import APPS, Opened, description, fuzz, routes


@pytest.mark.parametrize("build", APPS, ids=lambda build: str(build.__name__))
async def test_t21_t22_whatever_is_sent_no_route_breaks_or_tells_of_the_inside(
    doorway: Doorway, database: Database, build: Callable[[Database], Awaitable[Opened]]
) -> None:
    opened = await build(database)
    doorway.app = opened.app
    found = await asyncio.to_thread(fuzz, doorway.base, opened, examples=15)
    assert found.faults == []
    assert found.statuses.total() > 100
    called = description(opened)["paths"]
    assert [route for route in routes(opened.app) if route[1] not in called[route[0]]] == []
    for path in opened.unlocked:
        assert found.answers[f"POST {path}", 200], f"{path} was never passed: {found.answers}"


async def test_t21_a_mistake_of_ours_is_three_words_to_a_stranger(simulators: Simulators) -> None:
    app = FastAPI()

    @app.get("/")
    async def broken() -> None:
        raise RuntimeError("select token from settings -- /srv/neurocards/app.py")

    async with served(app) as base:
        answer = await simulators.client.get(base)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")

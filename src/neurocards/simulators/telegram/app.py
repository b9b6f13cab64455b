"""Builds the application: the Bot API for bots and `/sim` for people, over one world."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from neurocards.simulators.telegram.bot_api import BotApi
from neurocards.simulators.telegram.errors import CannotDo
from neurocards.simulators.telegram.person_api import refused, router
from neurocards.simulators.telegram.world import World


def create_app(world: World | None = None) -> FastAPI:
    """The simulator, ready to be served or mounted under any prefix; its state is `app.state.world`.

    A mounted application gets no shutdown event: whoever mounts it awaits `app.state.world.close()`, best
    before the server stops, because that ends the long polls for which a server would wait.
    """
    world = world or World()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await world.close()

    app = FastAPI(
        title="Telegram simulator",
        lifespan=lifespan,
        routes=BotApi(world).routes(),
        docs_url=None,  # those pages load their scripts from the internet
        redoc_url=None,
    )
    app.state.world = world
    app.include_router(router)
    app.add_exception_handler(CannotDo, refused)
    return app

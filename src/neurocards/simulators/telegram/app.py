"""Builds the application over one world: the Bot API for bots, `/sim` for people, and the page to be one of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from neurocards.simulators.telegram import chat_page, control_api, events, person_api
from neurocards.simulators.telegram.bot_api import BotApi
from neurocards.simulators.telegram.errors import CannotDo
from neurocards.simulators.telegram.world import World


def create_app(world: World | None = None) -> FastAPI:
    """The simulator, ready to be served or mounted under any prefix; its state is `app.state.world`.

    A mounted application gets no shutdown event: whoever mounts it awaits `app.state.world.close()`, best
    before the server stops, because that ends the long polls and streams for which a server would wait.
    """
    world = world or World()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await world.close()

    app = FastAPI(
        title="Telegram simulator",
        lifespan=lifespan,
        routes=[*BotApi(world).routes(), *chat_page.routes()],
        docs_url=None,  # those pages load their scripts from the internet
        redoc_url=None,
    )
    app.state.world = world
    for room in (person_api, control_api, events):
        app.include_router(room.router)
    app.add_exception_handler(CannotDo, control_api.refused)
    app.add_exception_handler(ClientDisconnect, _hung_up)
    return app


async def _hung_up(_request: Request, _error: Exception) -> Response:
    """Whoever was killed in the middle of a request is no error of ours; nobody is there to hear the answer."""
    return Response(status_code=400)

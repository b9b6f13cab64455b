"""Stand-ins that speak the outside services' own HTTP, for the demo and the tests.

They import nothing of neurocards but each other, so that an adapter and its stand-in cannot share a mistake.
"""

# ruff: noqa: PLC0415 - every render worker imports this package, and none of them needs a server.

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn
    from starlette.routing import Router


@dataclass(frozen=True)
class Addresses:
    """Where the simulated services are reached; KIE's upload host and fal's storage share the address of their API."""

    telegram: str
    kie: str
    fal: str
    openai: str


@asynccontextmanager
async def running_simulators(
    *, host: str = "127.0.0.1", port: int = 0, state: Path | None = None
) -> AsyncIterator[Addresses]:
    """All simulators in one server inside the running loop; port 0 takes a free one.

    Files are kept below `state`, or in a temporary folder. Leaving ends it at once, open long polls included.
    """
    listener = _listener(host, port)
    server = _server(_house(state))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if serving.done():
                await serving
                raise RuntimeError("the simulators ended before they listened")
            await asyncio.sleep(0.005)
        name = f"[{host}]" if ":" in host else host
        base = f"http://{name}:{listener.getsockname()[1]}"
        yield Addresses(telegram=f"{base}/telegram", kie=f"{base}/kie", fal=f"{base}/fal", openai=f"{base}/openai/v1")
    finally:
        with _hushed():
            server.should_exit = True
            with suppress(asyncio.CancelledError):
                await serving
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket that says it is TCP: without that, asyncio leaves Nagle's algorithm on for its connections.

    Every answer of head and body would then wait 40 ms for the client's acknowledgement.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _house(state: Path | None) -> "Router":
    """One application with a mount per service. A bare router: mounts get no lifespan from it, so it enters theirs."""
    from starlette.routing import Mount, Router

    from neurocards.simulators.fal.app import create_app as create_fal
    from neurocards.simulators.kie.app import create_app as create_kie
    from neurocards.simulators.openai.app import create_app as create_openai
    from neurocards.simulators.telegram import create_app as create_telegram

    apps = {
        "/telegram": create_telegram(),
        "/kie": create_kie(state / "kie" if state else None),
        "/fal": create_fal(state / "fal" if state else None),
        "/openai": create_openai(),
    }

    @asynccontextmanager
    async def lifespan(_house: object) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for app in apps.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    return Router([Mount(path, app) for path, app in apps.items()], lifespan=lifespan)


def _server(app: "Router") -> "uvicorn.Server":
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Signals belong to the process that the simulators are guests of."""
            yield

    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            http="h11",
            ws="none",
            # Nobody loses anything when a simulator hangs up, and a long poll would hold the exit for a minute.
            timeout_graceful_shutdown=0,
        )
    )


@contextmanager
def _hushed() -> Iterator[None]:
    """The server calls every request that it cuts off at the end an error; here that is how it should end."""
    logger = logging.getLogger("uvicorn.error")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)

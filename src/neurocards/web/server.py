"""An HTTP server as one more loop of a process: it serves until told to stop and finishes what runs.

It stands behind a proxy that speaks TLS, and believes no header about who is in front of it.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

DRAIN_SECONDS = 5
"""How long requests that run may take to finish once we stop; their senders repeat what is cut off."""

IDLE_SECONDS = 75
"""Longer than the 60 seconds for which proxies keep a connection, so that we never close one they are about to use."""

CONNECTIONS = 200
"""Telegram opens 40 at most. Whoever opens more meets a 503 instead of our memory."""

MAX_HEAD_BYTES = 1_200_000
"""A wrong header of a megabyte gets the same answer as any other wrong header, not the parser's."""

log = structlog.get_logger()


class CannotListen(Exception):
    """The address cannot be had; the message is one sentence for the operator."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process, which sets `stop`."""
        yield


async def serve(app: ASGIApp, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve `app` until `stop` is set, then finish what runs within DRAIN_SECONDS. Raises CannotListen."""
    with await _listen(host, port) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                # Its warnings are about strangers' requests, one line each: nobody may fill our logs.
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stopping = asyncio.create_task(stop.wait())
        log.info("listening", host=host, port=port)
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            server.should_exit = True
            await serving


async def _listen(host: str, port: int) -> socket.socket:
    """A bound socket. Bound here, because uvicorn ends the whole process when an address is taken."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # The protocol is named on purpose: only then does asyncio turn off the delay that collects small answers.
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Found out here and not later: two sockets may be bound to one address, but only one may listen.
        listener.listen()
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    return listener

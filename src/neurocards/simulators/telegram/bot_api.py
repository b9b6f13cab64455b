"""The HTTP side for bots: one entrance for all methods, which records every call and plays the faults."""

import asyncio
import json
import re
import socket
import struct
import time

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from neurocards.simulators.telegram.errors import ApiError, Json, blocked_by_person
from neurocards.simulators.telegram.faults import Fault, FaultKind
from neurocards.simulators.telegram.methods import METHODS
from neurocards.simulators.telegram.methods.files import MAX_DOWNLOAD_BYTES
from neurocards.simulators.telegram.parameters import Parameters, read_parameters, refuse_oversized
from neurocards.simulators.telegram.world import World

_TOKEN = re.compile(r"[1-9]\d{0,18}:[\w-]+", re.ASCII)
_HTTP_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_NO_LINGER = struct.pack("ii", 1, 0)


class BotApi:
    """Answers bots out of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/bot{token}/{method}", self.call, methods=_HTTP_METHODS),
            Route("/file/bot{token}/{file_path:path}", self.download, methods=["GET"]),
        ]

    async def call(self, request: Request) -> Response:
        """Answer one call, whatever becomes of it."""
        arrived_at, started = time.time(), time.monotonic()
        token, method = request.path_params["token"], request.path_params["method"]
        faults = self._world.faults.take_for_call(method)
        parameters = Parameters({})
        try:
            parameters = await read_parameters(request)
            result = await self._perform(token, method, parameters, faults)
            status, envelope = 200, {"ok": True, "result": result}
        except ApiError as error:
            status, envelope = error.status, error.envelope()
        except _ResetError:
            status, envelope = 0, {}
        finally:
            await parameters.close()
        answer = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode() if envelope else b""
        is_cut = any(fault.kind in (FaultKind.DROP_ANSWER, FaultKind.RESET) for fault in faults)
        self._world.calls.record(
            time=arrived_at,
            token=token,
            method=method,
            parameters=parameters.recorded(),
            status=0 if is_cut else status,
            answer=answer,
            fault="+".join(fault.kind for fault in faults) or None,
            seconds=time.monotonic() - started,
        )
        if is_cut:
            return _NoAnswer(hard=not envelope)
        return Response(answer, status, media_type="application/json")

    async def download(self, request: Request) -> Response:
        """The bytes of a file that `getFile` has told the path of."""
        bot = self._world.bots.get(request.path_params["token"])
        file = self._world.files.at_path(bot, request.path_params["file_path"]) if bot else None
        if file is None or file.blob.size > MAX_DOWNLOAD_BYTES:
            refusal = ApiError(404, "Not Found").envelope()
            return Response(json.dumps(refusal), 404, media_type="application/json")
        return FileResponse(file.blob.path, media_type="application/octet-stream")

    async def _perform(self, token: str, method: str, parameters: Parameters, faults: list[Fault]) -> object:
        for fault in faults:
            await _suffer(fault)
        refuse_oversized(parameters)
        perform = METHODS.get(method.lower())
        if perform is None or not _TOKEN.fullmatch(token):
            raise ApiError(404, "Not Found")
        if token in self._world.revoked:
            raise ApiError(401, "Unauthorized")
        return await perform(self._world, self._world.bot_of(token), parameters)


class _ResetError(Exception):
    """The connection breaks before the call takes effect."""


async def _suffer(fault: Fault) -> None:
    match fault.kind:
        case FaultKind.TOO_MANY_REQUESTS:
            seconds = fault.retry_after
            raise ApiError(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)
        case FaultKind.FORBIDDEN:
            raise blocked_by_person()
        case FaultKind.SERVER_ERROR:
            raise ApiError(502, "Bad Gateway")
        case FaultKind.RESET:
            raise _ResetError
        case FaultKind.DELAY:
            await asyncio.sleep(fault.delay_seconds)
        case FaultKind.DROP_ANSWER | FaultKind.DELIVER_TWICE | FaultKind.DELIVER_LATE:
            return


class _NoAnswer(Response):
    """Closes the connection instead of answering; `hard` sends a reset where the system allows it.

    ASGI has no word for this. uvicorn's `receive` belongs to the object that holds the connection; behind
    a server without that, an answer that stops after its head leaves the client as much in the dark.
    """

    def __init__(self, *, hard: bool) -> None:
        super().__init__()
        self._hard = hard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if not isinstance(transport, asyncio.Transport):
            head: Json = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]}
            await send(head)
            return
        connection = transport.get_extra_info("socket")
        if self._hard and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
        # The server must see the loss before this returns, or it would take the silence for an error.
        while (await receive())["type"] != "http.disconnect":
            pass

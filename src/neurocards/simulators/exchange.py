"""What a simulated service does with every request before its own code sees it: remember it, or let it go wrong.

Faults come from outside the service's code path, so a simulator behaves the same with and without them. The
requests of the control side (`/sim`) are neither remembered nor disturbed.
"""

import asyncio
import json
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REMEMBERED_REQUESTS = 50_000
LONGEST_REMEMBERED_TEXT = 30_000
_NO_LINGER = struct.pack("ii", 1, 0)


class Fault(BaseModel):
    """The next `times` requests of a route ("*" is any) go wrong in the way `kind` names."""

    model_config = ConfigDict(extra="forbid")

    route: str = "*"
    times: int = Field(default=1, ge=1)
    kind: str
    delay_seconds: float = Field(default=1.0, ge=0)
    retry_after: int | None = Field(default=None, ge=0)

    def applies(self, route: str) -> bool:
        return self.route in ("*", route)


F = TypeVar("F", bound=Fault)


class FaultBook(Generic[F]):
    """The faults still to come, oldest first."""

    def __init__(self) -> None:
        self._ordered: list[F] = []

    @property
    def left(self) -> list[F]:
        return list(self._ordered)

    def order(self, fault: F) -> None:
        self._ordered.append(fault)

    def clear(self) -> None:
        self._ordered.clear()

    def draw(self, route: str) -> F | None:
        """The fault a request of `route` is to meet, used up by asking."""
        fault = next((fault for fault in self._ordered if fault.applies(route)), None)
        if fault is not None:
            fault.times -= 1
            if not fault.times:
                self._ordered.remove(fault)
        return fault


@dataclass
class ReceivedRequest:
    """One request as it came in, and what became of it: `status` 0 is a connection closed without an answer."""

    id: int
    at: float
    method: str
    path: str
    route: str
    query: str
    headers: dict[str, str]
    body: JsonValue
    size: int
    status: int = 0
    fault: str | None = None


class Journal:
    """Everything received, newest last, in a bounded memory."""

    def __init__(self) -> None:
        self._requests: deque[ReceivedRequest] = deque(maxlen=REMEMBERED_REQUESTS)
        self._count = 0

    def enter(self, scope: Scope, *, path: str, route: str, body: bytes) -> ReceivedRequest:
        self._count += 1
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if "authorization" in headers:
            headers["authorization"] = f"Bearer {masked(bearer(headers['authorization']))}"
        request = ReceivedRequest(
            id=self._count,
            at=time.time(),
            method=scope["method"],
            path=path,
            route=route,
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=_remembered(body, headers.get("content-type", "")),
            size=len(body),
        )
        self._requests.append(request)
        return request

    def clear(self) -> None:
        self._requests.clear()

    def listed(self, *, route: str | None = None, since: int = 0) -> list[dict[str, JsonValue]]:
        """The requests after number `since`, of one route or of all."""
        return [
            asdict(request)
            for request in self._requests
            if request.id > since and (route is None or request.route == route)
        ]


class RecordedApp(FastAPI, Generic[F]):
    """An application whose requests are remembered in `journal` and disturbed by `faults`.

    `route_of` gives a path the name that faults use; `refusal` turns a fault into the service's own words for
    it, or into None when the request is to take effect. Routes read the fault they met with `fault_met`.
    """

    def __init__(
        self,
        *,
        title: str,
        lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None,
        journal: Journal,
        faults: FaultBook[F],
        route_of: Callable[[str], str],
        refusal: Callable[[F], Response | None],
    ) -> None:
        super().__init__(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
        self._journal = journal
        self._faults = faults
        self._route_of = route_of
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else "/sim"
        if path == "/sim" or path.startswith("/sim/"):
            await super().__call__(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            return
        route = self._route_of(path)
        fault = self._faults.draw(route)
        request = self._journal.enter(scope, path=path, route=route, body=body)
        request.fault = fault.kind if fault else None
        if fault and fault.kind == "reset":
            await _cut(receive, hard=True)
            return
        scope.setdefault("state", {})["fault"] = fault
        refusal = self._refusal(fault) if fault else None
        answer: ASGIApp = refusal or super().__call__
        if fault and fault.kind == "drop_answer":
            await answer(scope, _replayed(body, receive), _into_the_void)
            await _cut(receive, hard=False)
            return
        delay_seconds = fault.delay_seconds if fault and fault.kind == "delay" else 0.0
        await answer(scope, _replayed(body, receive), _watched(send, request, delay_seconds))


def fault_met(request: Request) -> Fault | None:
    """The fault drawn for this request, if any."""
    fault = request.state.fault
    return fault if isinstance(fault, Fault) else None


def base_url(request: Request) -> str:
    """The address this application is reached at, mounted or not, without a slash at the end."""
    root: str = request.scope.get("root_path", "")
    return f"{request.url.scheme}://{request.url.netloc}{root.rstrip('/')}"


def bearer(authorization: str) -> str:
    """The key of an Authorization header; empty when there is none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def masked(key: str) -> str:
    """Enough of a key to tell two apart, too little to use one."""
    return f"{key[:4]}…" if len(key) > 4 else "…" * bool(key)


def _remembered(body: bytes, content_type: str) -> JsonValue:
    if not body or "multipart" in content_type:
        return None
    try:
        return _shortened(json.loads(body))
    except ValueError:
        return body[:LONGEST_REMEMBERED_TEXT].decode("utf-8", "replace")


def _shortened(value: JsonValue) -> JsonValue:
    """Pictures travel inside JSON as megabytes of base64; their beginning is all that is worth remembering."""
    match value:
        case str() if len(value) > LONGEST_REMEMBERED_TEXT:
            return f"{value[:100]}… ({len(value)} characters)"
        case list():
            return [_shortened(item) for item in value]
        case dict():
            return {name: _shortened(item) for name, item in value.items()}
        case _:
            return value


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None when the client left before its end."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: Iterable[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])
    messages = _continued(waiting, receive)

    async def replay() -> Message:
        return await anext(messages)

    return replay


async def _continued(first: Iterable[Message], receive: Receive) -> AsyncIterator[Message]:
    for message in first:
        yield message
    while True:
        yield await receive()


def _watched(send: Send, request: ReceivedRequest, delay_seconds: float) -> Send:
    async def watch(message: Message) -> None:
        if message["type"] == "http.response.start":
            request.status = message["status"]
            await asyncio.sleep(delay_seconds)
        await send(message)

    return watch


async def _into_the_void(_message: Message) -> None:
    """Takes the answer that the client will never see."""


async def _cut(receive: Receive, *, hard: bool) -> None:
    """Close the connection without an answer; `hard` sends a reset.

    ASGI has no word for this, but uvicorn's `receive` belongs to the object that holds the connection.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if not isinstance(transport, asyncio.Transport):
        raise TypeError("the simulators must be served by uvicorn, with no layer that replaces `receive`")
    connection = transport.get_extra_info("socket")
    if hard and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    # The server must see the loss before this returns, or it would take the silence for an error.
    while (await receive())["type"] != "http.disconnect":
        pass

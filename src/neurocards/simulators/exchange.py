"""What a simulated service does with every request before its own code sees it: remember it, or let it go wrong.

Faults come from outside the service's code path, so a simulator behaves the same with and without them. The
requests of the control side (`/sim`) are neither remembered nor disturbed, not even by an outage.
"""

import asyncio
import hashlib
import json
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Generic, Literal, TypeVar

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REMEMBERED_REQUESTS = 50_000
LONGEST_REMEMBERED_TEXT = 30_000
PADDING = bytes(64 * 1024)
_NO_LINGER = struct.pack("ii", 1, 0)

Down = Literal["refuse", "503"]
"""How a service is away: it cuts every connection, or a gateway in front of it says so."""


class Fault(BaseModel):
    """The next `times` requests of a route ("*" is any) go wrong in the way `kind` names.

    `delay_seconds` is how late an answer comes, and what a slow one takes for each byte.
    """

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
            headers["authorization"] = _masked_authorization(headers["authorization"])
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
    `down` tells whether the service is away: then no request reaches it, and no fault is used up.
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
        down: Callable[[], Down | None] = lambda: None,
    ) -> None:
        super().__init__(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
        self._journal = journal
        self._faults = faults
        self._route_of = route_of
        self._refusal = refusal
        self._down = down

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else "/sim"
        if path == "/sim" or path.startswith("/sim/"):
            await super().__call__(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            return
        route = self._route_of(path)
        down = self._down()
        fault = None if down else self._faults.draw(route)
        request = self._journal.enter(scope, path=path, route=route, body=body)
        request.fault = "down" if down else fault.kind if fault else None
        if down == "refuse" or (fault and fault.kind == "reset"):
            await _cut(receive, hard=True)
            return
        if down:
            await unavailable()(scope, _replayed(body, receive), _watched(send, request))
            return
        scope.setdefault("state", {})["fault"] = fault
        replay, watch = _replayed(body, receive), _watched(send, request)
        if fault is None:
            await super().__call__(scope, replay, watch)
            return
        answer: ASGIApp = self._refusal(fault) or super().__call__
        match fault.kind:
            case "drop_answer":
                await answer(scope, replay, _into_the_void)
                await _cut(receive, hard=False)
            case "503_accepted":
                await answer(scope, replay, _into_the_void)
                await unavailable()(scope, receive, watch)
            case "slow":
                await _trickle(await _kept(answer, scope, replay), receive, watch, fault.delay_seconds)
            case "huge":
                await _flood(await _kept(answer, scope, replay), receive, watch)
            case "delay":
                await answer(scope, replay, _watched(_late(send, fault.delay_seconds), request))
            case _:
                await answer(scope, replay, watch)


def control_router(journal: Journal, faults: FaultBook[F], fault_type: type[F]) -> APIRouter:
    """The control side that all these services share below `/sim`: what was received, and what is to go wrong."""
    router = APIRouter(prefix="/sim")

    @router.get("/requests")
    async def requests(route: str | None = None, since: int = 0) -> list[dict[str, JsonValue]]:
        return journal.listed(route=route, since=since)

    async def order_fault(fault: F) -> F:
        faults.order(fault)
        return fault

    # The service's own faults: the route is typed by them, and nothing at run time knows what F is.
    order_fault.__annotations__ = {"fault": fault_type, "return": fault_type}
    router.add_api_route("/faults", order_fault, methods=["POST"], status_code=201)

    async def faults_left() -> list[F]:
        return faults.left

    router.add_api_route("/faults", faults_left, methods=["GET"], response_model=list[fault_type])  # type: ignore[valid-type]  # known at run time alone

    @router.delete("/faults", status_code=204)
    async def clear_faults() -> None:
        faults.clear()

    return router


def fault_met(request: Request) -> Fault | None:
    """The fault drawn for this request, if any."""
    fault = request.state.fault
    return fault if isinstance(fault, Fault) else None


def base_url(request: Request) -> str:
    """The address this application is reached at, mounted or not, without a slash at the end."""
    root: str = request.scope.get("root_path", "")
    return f"{request.url.scheme}://{request.url.netloc}{root.rstrip('/')}"


def credential(authorization: str, scheme: str) -> str:
    """The key of an Authorization header of this scheme, whose name may be written in any case; empty without one."""
    named, _, key = authorization.partition(" ")
    return key.strip() if named.lower() == scheme.lower() else ""


def bearer(authorization: str) -> str:
    """The key of an Authorization header; empty when there is none."""
    return credential(authorization, "Bearer")


def masked(key: str) -> str:
    """Enough of a key to tell any two apart, too little to use one: how it begins, and eight digits of its SHA-256."""
    if not key:
        return ""
    return f"{key[:4] if len(key) > 4 else ''}…{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def unavailable() -> Response:
    """What a gateway says when the service behind it does not answer."""
    return HTMLResponse("<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>", 503)


def _masked_authorization(authorization: str) -> str:
    """The header as it may be remembered, whatever its scheme; without one, all of it counts as the key."""
    scheme, _, key = authorization.strip().partition(" ")
    return f"{scheme} {masked(key.strip())}" if key else masked(scheme)


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


def _watched(send: Send, request: ReceivedRequest) -> Send:
    async def watch(message: Message) -> None:
        if message["type"] == "http.response.start":
            request.status = message["status"]
        await send(message)

    return watch


def _late(send: Send, delay_seconds: float) -> Send:
    async def wait(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(delay_seconds)
        await send(message)

    return wait


async def _into_the_void(_message: Message) -> None:
    """Takes the answer that the client will never see."""


async def _kept(answer: ASGIApp, scope: Scope, receive: Receive) -> list[Message]:
    """The whole answer, before a byte of it is sent."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await answer(scope, receive, keep)
    return messages


async def _trickle(messages: list[Message], receive: Receive, send: Send, seconds_per_byte: float) -> None:
    """Send the head at once and the body byte by byte, until the client has it or has had enough."""
    start, *bodies = messages
    await send(start)
    for byte in b"".join(part.get("body", b"") for part in bodies):
        if await _left(receive, within_seconds=seconds_per_byte):
            return
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _flood(messages: list[Message], receive: Receive, send: Send) -> None:
    """Send the answer and then zeros without end, until the client has had enough."""
    start, *bodies = messages
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    await send({**start, "headers": headers})
    for part in bodies:
        await send({**part, "more_body": True})
    leaving = asyncio.create_task(_left(receive))
    try:
        while not leaving.done():
            await send({"type": "http.response.body", "body": PADDING, "more_body": True})
            await asyncio.sleep(0)
    finally:
        leaving.cancel()


async def _left(receive: Receive, *, within_seconds: float | None = None) -> bool:
    """Whether the client hangs up in that time; without a time, wait until it does."""
    try:
        async with asyncio.timeout(within_seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


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

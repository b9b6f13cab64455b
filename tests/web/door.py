"""The bot's HTTP side as strangers, Telegram and KIE meet it: a real server on a port of its own."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx2
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from neurocards.addresses import callback_key, callback_url, webhook_secret, webhook_url
from neurocards.db import generations, jobs
from neurocards.db.connection import Database
from neurocards.db.jobs import Job
from neurocards.providers.fal_callbacks import FalCallbacks
from neurocards.providers.kie_callbacks import KieCallbacks
from neurocards.web import build_hooks, serve
from neurocards.web.hooks import CallbackReader
from shop import claim, new_order

TOKEN = f"4242424:{'b' * 35}"
SECRET = webhook_secret(TOKEN)
KEY = callback_key(TOKEN)

ANSWER_SECONDS = 10.0
SILENCE_SECONDS = 0.3

Row = tuple[Any, ...]  # Any: what a test selects


@dataclass(frozen=True)
class Door:
    """An address at which the hooks answer, and the shop behind it."""

    base: str
    database: Database
    client: httpx2.AsyncClient

    @property
    def webhook(self) -> str:
        return webhook_url(self.base, SECRET)

    def callback(self, attempt_id: UUID, provider: str = "kie") -> str:
        return callback_url(self.base, KEY, provider, attempt_id)

    async def deliver(self, update: object, *, secret: str = SECRET) -> int:
        """The status with which an update of Telegram is answered."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
        return (await self.client.post(self.webhook, content=json.dumps(update), headers=headers)).status_code

    async def call_back(self, attempt_id: UUID, body: object = None) -> int:
        """The status with which a callback is answered."""
        return (await self.client.post(self.callback(attempt_id), json=body)).status_code

    async def rows(self, query: str) -> list[Row]:
        async with self.database.transaction() as tx:
            return await (await tx.execute(query.encode())).fetchall()

    async def raw(self, *lines: str, body: bytes = b"") -> bytes:
        """Send a head and a body as they are; all that is answered until the other side hangs up or falls silent."""
        host, port = self.base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("\r\n".join([*lines, "Host: shop", "", ""]).encode() + body)
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS) as limit:
                while chunk := await reader.read(65536):
                    answer += chunk
                    limit.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS)
        writer.close()
        return answer


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve in this loop; yields the address."""
    port, stop = free_port(), asyncio.Event()
    serving = asyncio.create_task(serve(app, host="127.0.0.1", port=port, stop=stop))
    try:
        await listening(port, serving)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        await serving


@dataclass
class Doorway:
    """One server for all tests: starting and ending one takes longer than most of them."""

    base: str = ""
    app: ASGIApp = field(default_factory=lambda: PlainTextResponse("nobody lives here"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    def open(
        self,
        database: Database,
        client: httpx2.AsyncClient,
        *,
        kie_webhook_key: str | None = None,
        fal: FalCallbacks | None = None,
    ) -> Door:
        """The hooks of one shop live here now. Without a reader for fal nobody listens to it."""
        readers: dict[str, CallbackReader] = {"kie": KieCallbacks(kie_webhook_key)}
        if fal is not None:
            readers["fal"] = fal
        self.app = build_hooks(database, webhook_secret=SECRET, callback_key=KEY, readers=readers)
        return Door(self.base, database, client)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def listening(port: int, serving: "asyncio.Task[None]") -> None:
    while not serving.done():
        with suppress(ConnectionError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.005)
    await serving


async def intended(database: Database, *, provider: str = "kie") -> tuple[UUID, Job]:
    """An attempt whose submit is about to leave, and the job under whose lease."""
    order_id = await new_order(database)
    async with database.transaction() as tx:
        (generation,) = await generations.of_order(tx, order_id)
    job = next(job for job in await claim(database) if job.subject_id == generation.id)
    attempt_id = uuid4()
    async with database.transaction() as tx:
        await generations.begin(tx, job.subject_id, deadline_seconds=3600)
        await generations.intend(
            tx, job.subject_id, attempt_id=attempt_id, provider=provider, model="m", lease_number=job.lease_number
        )
    return attempt_id, job


async def waiting(database: Database, *, task_id: str | None = None, provider: str = "kie") -> UUID:
    """An attempt whose job lies in the queue for an hour; without a task its answer was lost."""
    attempt_id, job = await intended(database, provider=provider)
    async with database.transaction() as tx:
        if task_id is not None:
            await generations.record_task(tx, attempt_id, task_id)
        await jobs.snooze(tx, job, seconds=3600)
    return attempt_id

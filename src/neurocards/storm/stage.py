"""A shop of its own for one storm, below a folder of its own: database, simulators, bot and workers."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped]  # it ships no types

from neurocards import processes
from neurocards.db.connection import Away, Database
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.migrate import migrate
from neurocards.demo.samples import draw_product
from neurocards.media.photos import compose_frame
from neurocards.settings import Settings
from neurocards.storage import Store, open_store
from neurocards.storm.crew import Crew, open_crew
from neurocards.storm.plan import DOUBT_SECONDS, LEASE_SECONDS, PROVIDERS, Plan, Service

READY_SECONDS = 30.0
RECOVERY_SECONDS = 30.0

BOT_TOKEN = "110000001:storm-token-of-the-simulated-telegram"  # noqa: S105 (of a simulator)
WELCOME_CREDITS = 1000
DEADLINE_SECONDS = 600
FRAME_RATE = 2
"""Every clip is looked at whole, frame by frame, and there are hundreds of them."""

WORKER_SLOTS = 4
"""What one worker holds when it is killed waits for the end of its leases, so it holds little."""

TASK_SECONDS = 0.5

PHOTO_SIZE = (720, 1280)
"""A frame's own size: nothing has to be painted around it."""


class StageError(Exception):
    """Something that the storm stands on did not start; the message says which, and where its log lies."""


@dataclass(frozen=True)
class Stage:
    """What is running, and how to reach it. `hooks` is the bot's own HTTP address; None when it polls."""

    home: Path
    logs: Path
    client: httpx2.AsyncClient
    database: Database
    store: Store
    server: EmbeddedPostgres
    crew: Crew
    services: dict[Service, str]
    hooks: str | None
    photo: bytes

    @property
    def telegram(self) -> str:
        return self.services[Service.TELEGRAM]

    @property
    def kie(self) -> str:
        return self.services[Service.KIE]

    async def crash_database(self) -> None:
        """Have PostgreSQL cut every connection and recover from its log, as after an immediate shutdown.

        That is what it does by itself when one of its own processes is killed; it keeps its port. Returns when it
        accepts connections again; raises TimeoutError.
        """
        async with asyncio.timeout(RECOVERY_SECONDS):
            await asyncio.to_thread(_kill_checkpointer, self.server.pid)
            while not await self._accepts():  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)

    async def _accepts(self) -> bool:
        with suppress(*Away):
            async with self.database.transaction() as tx:
                await tx.execute("select 1")
                return True
        return False


def _kill_checkpointer(server_pid: int) -> None:
    """Kill the one process of PostgreSQL's own that is always there, and wait until it is gone."""
    for child in psutil.Process(server_pid).children():
        with suppress(psutil.NoSuchProcess):  # a connection that has just been closed
            if "checkpointer" in " ".join(child.cmdline()):
                child.kill()
                child.wait(RECOVERY_SECONDS)


@asynccontextmanager
async def open_stage(home: Path, plan: Plan) -> AsyncIterator[Stage]:
    """Start everything below `home`. Raises StageError, CrewError or EmbeddedPostgresError."""
    logs = home / "logs"
    logs.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        simulators = await asyncio.to_thread(_start_simulators, logs, home / "simulators")
        stack.push_async_callback(asyncio.to_thread, _stop_simulators, simulators)
        # Durable, unlike in tests: what was committed must be there after a crash.
        server = await asyncio.to_thread(EmbeddedPostgres.start, home / "postgres")
        stack.push_async_callback(asyncio.to_thread, server.stop)
        photo = home / "product.jpg"
        addresses, _, _ = await asyncio.gather(
            _addresses(simulators, logs), migrate(server.dsn), asyncio.to_thread(_draw_photo, photo)
        )

        # It hangs up long before the simulators do, or both would now and then do so at once.
        limits = httpx2.Limits(max_connections=1000, keepalive_expiry=1.0)
        client = await stack.enter_async_context(httpx2.AsyncClient(timeout=60.0, limits=limits))
        settings = {"task_seconds": TASK_SECONDS, "render": "shared", "frame_rate": FRAME_RATE}
        for provider in PROVIDERS:
            (await client.post(f"{addresses[provider]}/sim/settings", json=settings)).raise_for_status()
        # The bot must be known to Telegram before anybody can write to it.
        (await client.get(f"{addresses['telegram']}/bot{BOT_TOKEN}/getMe")).raise_for_status()

        database = await stack.enter_async_context(Database(server.dsn))
        hooks = f"http://127.0.0.1:{_free_port()}" if plan.hooks else None
        environment = _environment(home, server.dsn, addresses, hooks)
        posts = {"bot": "bot", **{f"worker-{number}": "worker" for number in range(1, plan.workers + 1)}}
        crew = await stack.enter_async_context(open_crew(posts, environment, photo, home=home, logs=logs))
        yield Stage(
            home=home,
            logs=logs,
            client=client,
            database=database,
            store=open_store(None, home),
            server=server,
            crew=crew,
            services={
                Service.TELEGRAM: addresses["telegram"],
                Service.KIE: addresses["kie"],
                Service.FAL: addresses["fal"],
                Service.OPENAI: addresses["openai"].removesuffix("/v1"),
            },
            hooks=hooks,
            photo=photo.read_bytes(),
        )


def _draw_photo(path: Path) -> None:
    width, height = PHOTO_SIZE
    path.write_bytes(compose_frame(draw_product(), width=width, height=height))


def _environment(home: Path, dsn: str, addresses: dict[str, str], hooks: str | None) -> dict[str, str]:
    """The settings of a real shop with short patience. What an operator has set for one must not reach it."""
    return {
        **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
        "NEUROCARDS_HOME": str(home),
        "DATABASE_URL": dsn,
        "OPS_PORT": "0",
        "BOT_TOKEN": BOT_TOKEN,
        "KIE_API_KEY": "storm",
        # The storm wants to see much happen at once; how the pace of a key or of all chats is kept is shown elsewhere.
        "MESSAGES_PER_SECOND": "300",
        "KIE_SUBMITS": "10000",
        "KIE_IN_FLIGHT": "10000",
        "FAL_KEY": "storm",
        "FAL_SUBMITS": "10000",
        "FAL_IN_FLIGHT": "10000",
        "OPENAI_API_KEY": "storm",
        "TELEGRAM_API_URL": addresses["telegram"],
        "KIE_API_URL": addresses["kie"],
        "KIE_UPLOAD_URL": addresses["kie"],
        "FAL_QUEUE_URL": addresses["fal"],
        "FAL_REST_URL": addresses["fal"],
        "OPENAI_BASE_URL": addresses["openai"],
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "DOUBT_SECONDS": str(DOUBT_SECONDS),
        "ORDER_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
        "WELCOME_CREDITS": str(WELCOME_CREDITS),
        "WORKER_SLOTS": str(WORKER_SLOTS),
        "LOG_FORMAT": "json",
        **({"PUBLIC_URL": hooks, "HTTP_PORT": hooks.rpartition(":")[2]} if hooks else {}),
    }


def _start_simulators(logs: Path, state: Path) -> processes.LeashedProcess:
    with (logs / "simulators.log").open("wb") as log:
        return processes.start(
            [sys.executable, "-m", "neurocards.simulators", "--state", state],
            cwd=logs,
            stdout=subprocess.PIPE,
            stderr=log,
        )


def _stop_simulators(simulators: processes.LeashedProcess) -> None:
    processes.stop(simulators)
    if simulators.stdout is not None:
        simulators.stdout.close()


async def _addresses(simulators: processes.LeashedProcess, logs: Path) -> dict[str, str]:
    """The line with which the simulators say where they listen."""
    line = b""
    if simulators.stdout is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                line = await asyncio.to_thread(simulators.stdout.readline)
    if not line:
        raise StageError(f"the simulators did not start; see {logs / 'simulators.log'}")
    addresses: dict[str, str] = json.loads(line)
    return addresses


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

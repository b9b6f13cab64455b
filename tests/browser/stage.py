"""Everything a person on the chat page needs: simulators, a bot process and a worker process, as in production."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

import neurocards
from neurocards import payments, processes
from neurocards.db import customers
from neurocards.db.connection import Database, Transaction
from neurocards.processes import LeashedProcess
from neurocards.settings import Settings
from neurocards.simulators import Addresses, running_simulators

SOURCE = Path(neurocards.__file__).parents[1]
READY_SECONDS = 30.0
BOT_TOKEN = "220000002:browser-token-of-the-simulated-telegram"
WELCOME_CREDITS = 1
OPERATORS = {"ru": 700_001, "en": 700_002}
"""Who may use /admin, by the language of their app."""
QUICK = {"task_seconds": 0, "render": "shared", "frame_rate": 8}
"""KIE makes one clip and gives it to everybody at once."""

_causes = count(1)


@dataclass(frozen=True)
class Stage:
    """What is running, and hands behind the scenes."""

    addresses: Addresses
    database: Database
    client: httpx2.AsyncClient
    bot: LeashedProcess
    worker: LeashedProcess

    async def arrive(self, name: str = "Продавец", language: str | None = "ru", *, id: int | None = None) -> int:
        """A new person with a phone; returns their id."""
        created = await self.telegram("POST", "people", {"id": id, "first_name": name, "language_code": language})
        return int(created["id"])

    async def grant(self, person_id: int, credits: int, *, reason: str = "test") -> None:
        """Free credits, as an operator gives them."""

        async def give(tx: Transaction) -> None:
            customer = await customers.find(tx, person_id)
            assert customer is not None, "who has never written has no account"
            await payments.grant(tx, customer.id, amount=credits, cause=f"browser:{next(_causes)}", reason=reason)

        await self.database.run(give)

    async def telegram(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # JSON
        """A request to the control side of the simulated Telegram."""
        return await self._ask(method, f"{self.addresses.telegram}/sim/{path}", body)

    async def kie(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # JSON
        """A request to the control side of the simulated KIE."""
        return await self._ask(method, f"{self.addresses.kie}/sim/{path}", body)

    async def _ask(self, method: str, url: str, body: Mapping[str, Any] | None) -> Any:  # JSON
        response = await self.client.request(method, url, json=body)
        response.raise_for_status()
        return response.json() if response.content else None


@asynccontextmanager
async def open_stage(dsn: str, home: Path) -> AsyncIterator[Stage]:
    """Start everything on a migrated database; the processes' logs lie in `home`."""
    async with (
        running_simulators() as addresses,
        Database(dsn, connections=2) as database,
        httpx2.AsyncClient(timeout=30) as client,
        AsyncExitStack() as stack,
    ):
        environment = _environment(dsn, home, addresses)
        bot, worker = (_start(name, environment, home, stack) for name in ("bot", "worker"))
        stage = Stage(addresses, database, client, bot, worker)
        await stage.kie("POST", "settings", QUICK)
        await _until_started(bot, home / "bot.log")
        yield stage


def _environment(dsn: str, home: Path, addresses: Addresses) -> dict[str, str]:
    """The settings of production with the simulators' addresses; nothing of the machine's own shop reaches it."""
    return {
        **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
        "PYTHONPATH": str(SOURCE),
        "NEUROCARDS_HOME": str(home),
        "DATABASE_URL": dsn,
        "OPS_PORT": "0",
        "BOT_TOKEN": BOT_TOKEN,
        "KIE_API_KEY": "browser",
        "OPENAI_API_KEY": "browser",
        "TELEGRAM_API_URL": addresses.telegram,
        "KIE_API_URL": addresses.kie,
        "KIE_UPLOAD_URL": addresses.kie,
        "OPENAI_BASE_URL": addresses.openai,
        "WELCOME_CREDITS": str(WELCOME_CREDITS),
        "SUPPORT": "@neurocards_help",
        "OPERATORS": ",".join(map(str, OPERATORS.values())),
    }


def _start(name: str, environment: Mapping[str, str], home: Path, stack: AsyncExitStack) -> LeashedProcess:
    with (home / f"{name}.log").open("wb") as log:
        process = processes.start(
            [sys.executable, "-m", "neurocards", name], env=environment, cwd=home, stdout=log, stderr=log
        )
    stack.push_async_callback(asyncio.to_thread, processes.stop, process)
    return process


async def _until_started(process: LeashedProcess, log: Path) -> None:
    """The process has said so; the bot has told Telegram its profile by then."""
    async with asyncio.timeout(READY_SECONDS):
        while " started " not in (words := await asyncio.to_thread(log.read_text)):
            assert process.poll() is None, words
            await asyncio.sleep(0.05)

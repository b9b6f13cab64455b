"""Every HTTP route of ours, called with whatever schemathesis thinks of: as strangers and with the right keys.

The suite does it for some seconds. For minutes, by hand, with figures and an exit status:

    PYTHONPATH=src:tests python -m web.fuzzing --seconds 120
"""

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import schemathesis
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok

from neurocards.addresses import callback_url, webhook_url
from neurocards.db.connection import Database
from neurocards.db.embedded import EmbeddedPostgres
from neurocards.db.migrate import migrate
from neurocards.providers.kie_callbacks import KieCallbacks
from neurocards.web import build_hooks
from web.door import KEY, SECRET, served, waiting

Json = dict[str, Any]  # Any: JSON

INSIDE = re.compile(r"Traceback|Error:|psycopg|\bselect\b.*\bfrom\b|site-packages|neurocards|\.py\b", re.IGNORECASE)
"""Words of ours that no stranger has to read (T21)."""

ANYTHING: Json = {}
UPDATE: Json = {
    "type": "object",
    "properties": {
        "update_id": {"type": "integer", "minimum": 1, "maximum": 2**31},
        "message": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        "message_id": {"type": "integer"},
                        "date": {"type": "integer"},
                        "chat": {"type": "object", "properties": {"id": {"type": "integer"}, "type": ANYTHING}},
                        "from": {"type": "object", "properties": {"id": {"type": "integer"}, "first_name": ANYTHING}},
                        "text": ANYTHING,
                    },
                    "required": ["message_id", "chat"],
                },
                ANYTHING,
            ]
        },
    },
    "required": ["update_id"],
}
NEWS: Json = {"type": "object", "properties": {"data": {"type": "object", "properties": {"taskId": ANYTHING}}}}


@dataclass(frozen=True)
class Opened:
    """An application, and what is behind its locks: paths that exist, each with the headers and the body it wants."""

    app: FastAPI
    unlocked: Mapping[str, tuple[Mapping[str, str], Json]] = field(default_factory=dict)


async def hooks(database: Database) -> Opened:
    """What Telegram and the providers may tell us."""
    app = build_hooks(database, webhook_secret=SECRET, callback_key=KEY, readers={"kie": KieCallbacks(None)})
    attempt_id = await waiting(database)
    return Opened(
        app,
        {
            webhook_url("", SECRET): ({"X-Telegram-Bot-Api-Secret-Token": SECRET}, UPDATE),
            callback_url("", KEY, "kie", attempt_id): ({}, NEWS),
            callback_url("", KEY, "kie", uuid4()): ({}, NEWS),
        },
    )


APPS: tuple[Callable[[Database], Awaitable[Opened]], ...] = (hooks,)
"""Every application that we serve. A new one is a line here."""


@dataclass
class Findings:
    """What came of it."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def take(self, name: str, status: int, body: str) -> None:
        self.answers[name, status] += 1
        if status >= 500:
            self.faults.append(f"{name}: {status}")
        if found := INSIDE.search(body):
            self.faults.append(f"{name}: {status} tells of the inside: {found[0]!r}")

    @property
    def statuses(self) -> Counter[int]:
        counted: Counter[int] = Counter()
        for (_, status), times in self.answers.items():
            counted[status] += times
        return counted


def fuzz(base: str, opened: Opened, *, examples: int, seconds: float = 0.0) -> Findings:
    """Call every route with so many examples of each kind, again and again until the seconds are over."""
    findings = Findings()
    described = schemathesis.openapi.from_dict(description(opened))
    until = time.monotonic() + seconds
    first = True
    while first or time.monotonic() < until:
        for found in described.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @given(case=operation.as_strategy(generation_mode=mode))
                @settings(
                    max_examples=examples,
                    deadline=None,
                    database=None,
                    derandomize=not seconds,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                def call(case: Case[Any]) -> None:
                    answer = case.call(base_url=base, timeout=15)
                    findings.take(f"{case.method} {case.path}", answer.status_code, answer.text)

                call()
        first = False
    return findings


def description(opened: Opened) -> Json:
    """The application in OpenAPI: its routes as strangers see them, and the paths whose keys we have."""
    own: Json = opened.app.openapi()
    paths: Json = own["paths"]
    for path, method in routes(opened.app):
        called = paths[path][method]
        called["parameters"] = [
            *called.get("parameters", []),
            {"name": "X-Telegram-Bot-Api-Secret-Token", "in": "header", "schema": {"type": "string"}},
            {"name": "Content-Length", "in": "query", "schema": {"type": "string"}},
        ]
        if method == "post":
            called["requestBody"] = _body(ANYTHING)
    for path, (headers, body) in opened.unlocked.items():
        paths[path] = {
            "post": {
                "parameters": [
                    {"name": name, "in": "header", "required": True, "schema": {"type": "string", "enum": [value]}}
                    for name, value in headers.items()
                ],
                "requestBody": _body(body),
                "responses": {"200": {"description": "taken"}},
            }
        }
    return own


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Path and method of all that is answered."""
    for route in app.routes:
        assert isinstance(route, APIRoute), f"{route} would not be called"
        yield from ((route.path, method.lower()) for method in route.methods or ())


def _body(schema: Json) -> Json:
    return {"content": {"application/json": {"schema": schema}, "text/plain": {"schema": {"type": "string"}}}}


async def by_hand(seconds: float) -> int:
    sound = True
    with tempfile.TemporaryDirectory() as home, EmbeddedPostgres.start(Path(home), durable=False) as server:
        await migrate(server.dsn)
        async with Database(server.dsn) as database:
            for build in APPS:
                opened = await build(database)
                async with served(opened.app) as base:
                    began = time.monotonic()
                    found = await asyncio.to_thread(fuzz, base, opened, examples=100, seconds=seconds)
                print(f"{build.__name__}: {found.statuses.total()} requests in {time.monotonic() - began:.0f} s")  # noqa: T201
                for (name, status), times in sorted(found.answers.items()):
                    print(f"  {times:7} × {status} {name}")  # noqa: T201
                for fault in dict.fromkeys(found.faults):
                    print(f"  FAULT {fault}")  # noqa: T201
                sound &= not found.faults
    return 0 if sound else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="how long each application is called")
    sys.exit(asyncio.run(by_hand(parser.parse_args().seconds)))

"""What an operator's machines ask a process: whether it lives, whether it can do its work, and how the shop is doing.

It has a listener of its own, which belongs to no proxy: nothing here is for the outside world. However many ask, the
database is asked seldom.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from fastapi import FastAPI
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from neurocards import __version__, meters
from neurocards.db import measures, watch
from neurocards.db.connection import Away, Database
from neurocards.db.measures import Measures, ProviderMeasures
from neurocards.db.watch import Probe
from neurocards.web.server import CannotListen, serve

PROBE_SECONDS = 4.0
MEASURE_SECONDS = 8.0
"""How long the database may take; whoever scrapes waits for 10 seconds."""

PROBED_EVERY_SECONDS = 1.0
MEASURED_EVERY_SECONDS = 5.0
MEASURING_SHARE = 0.02
"""The share of its time that a process lets the database measure: a big shop is measured more seldom."""

LONGEST_SKEW_SECONDS = 5.0
OLDEST_NOTICE_SECONDS = 120.0
"""As the alerts have it."""

RETRY_SECONDS = 15.0
"""How often an address is tried that another process has: the one we replace may still be finishing."""

SCOPES = ("key", "model", "provider")

log = structlog.get_logger()

Seen = TypeVar("Seen")


class Ops:
    """The three answers of one process. `role` is bot or worker, `home` the folder whose disk must not fill up."""

    def __init__(self, database: Database, *, role: str, home: Path, draining: Callable[[], bool]) -> None:
        self._role = role
        self._home = home
        self._draining = draining
        self._probed = _Kept(lambda: _probe(database), every_seconds=PROBED_EVERY_SECONDS)
        self._measured = _Kept(lambda: _measure(database), every_seconds=MEASURED_EVERY_SECONDS, share=MEASURING_SHARE)

    async def live(self) -> Response:
        """Whether the event loop turns: it has answered."""
        return PlainTextResponse("ok")

    async def ready(self) -> Response:
        """200 when work can be done here, else 503 and why not; providers are not asked, orders wait for them."""
        probe, measured = await asyncio.gather(self._probed.look(), self._measured.look())
        problems = list(_problems(probe, measured))
        if self._draining():
            problems.insert(0, "draining: told to stop, finishes what it has begun")
        return JSONResponse(
            {
                "ready": not problems,
                "problems": problems,
                "role": self._role,
                "version": __version__,
                "clock_skew_seconds": round(probe.skew_seconds, 3) if isinstance(probe, Probe) else None,
                "outbox_oldest_seconds": round(measured.outbox_oldest_seconds, 1) if measured is not None else None,
            },
            status_code=503 if problems else 200,
        )

    async def metrics(self) -> Response:
        """Everything in the text format of Prometheus."""
        probe, measured = await asyncio.gather(self._probed.look(), self._measured.look())
        disk_used_ratio = await asyncio.to_thread(meters.used_ratio, self._home)
        exposed = _Exposed([*_of_process(self._role, probe, disk_used_ratio), *_of_shop(measured)])
        return Response(generate_latest(exposed), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def build_ops(ops: Ops) -> FastAPI:
    """The application to serve; it documents itself to nobody."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_api_route("/livez", ops.live, methods=["GET"])
    app.add_api_route("/readyz", ops.ready, methods=["GET"])
    app.add_api_route("/metrics", ops.metrics, methods=["GET"])
    return app


async def keep_serving(app: ASGIApp, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. An address that cannot be had is said once and tried again: nobody dies of it."""
    said = False
    while not stop.is_set():
        try:
            await serve(app, host=host, port=port, stop=stop)
        except CannotListen as taken:
            if not said:
                log.warning("not_watched", problem=str(taken), remedy="give each process an OPS_PORT of its own")
                said = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_SECONDS)


@dataclass(frozen=True)
class _Silent:
    """The database could not be written to; `why` is for an operator."""

    why: str


class _Kept(Generic[Seen]):
    """What was seen last, for a while: of all who want to know at the same time, one looks.

    Looking takes no more than the given `share` of the time, as long as it brings anything.
    """

    def __init__(self, see: Callable[[], Awaitable[Seen]], *, every_seconds: float, share: float = 1.0) -> None:
        self._see = see
        self._every_seconds = every_seconds
        self._share = share
        self._looking = asyncio.Lock()
        self._seen: list[Seen] = []
        self._good_until = 0.0

    async def look(self) -> Seen:
        async with self._looking:
            began_at = time.monotonic()
            if not self._seen or began_at >= self._good_until:
                self._seen = [await self._see()]
                seen_at = time.monotonic()
                rest = (seen_at - began_at) / self._share if self._seen[0] is not None else 0.0
                self._good_until = seen_at + max(self._every_seconds, rest)
            return self._seen[0]


async def _probe(database: Database) -> Probe | _Silent:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await database.run(watch.probe)
    except (*Away, TimeoutError) as error:
        return _Silent(f"the database does not answer: {' '.join(str(error).split()) or type(error).__name__}")
    except Exception as error:
        # Read-only, without rights, not ours: whatever it is, no order can be taken.
        log.warning("database_not_writable", error=repr(error))
        return _Silent(f"the database cannot be written to: {type(error).__name__}")


async def _measure(database: Database) -> Measures | None:
    try:
        async with asyncio.timeout(MEASURE_SECONDS):
            return await database.run(measures.read)
    except (*Away, TimeoutError):
        return None
    except Exception:
        log.exception("not_measured")
        return None


def _problems(probe: Probe | _Silent, measured: Measures | None) -> Iterator[str]:
    if isinstance(probe, _Silent):
        yield probe.why
        return
    if probe.lacking:
        yield f"the database lacks {', '.join(probe.lacking)}: run ./neurocards migrate"
    if abs(probe.skew_seconds) > LONGEST_SKEW_SECONDS:
        yield f"the database's clock is {probe.skew_seconds:+.1f} seconds from ours: let both follow a time server"
    if measured is None:
        yield "the shop could not be measured"
    elif measured.outbox_oldest_seconds > OLDEST_NOTICE_SECONDS:
        yield f"somebody has waited for a message for {measured.outbox_oldest_seconds:.0f} seconds"


class _Exposed(Collector):
    """What this process counts, and what was found just now."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from meters.registry.collect()
        yield from self._found


def _of_process(role: str, probe: Probe | _Silent, disk_used_ratio: float | None) -> Iterator[Metric]:
    build = GaugeMetricFamily("neurocards_build_info", "What runs here.", labels=["role", "version"])
    build.add_metric([role, __version__], 1)
    yield build
    yield _gauge("database_up", "Whether the database can be written to from here.", float(isinstance(probe, Probe)))
    if isinstance(probe, Probe):
        yield _gauge("clock_skew_seconds", "How far the database's clock is before ours.", probe.skew_seconds)
    if disk_used_ratio is not None:
        yield _gauge("disk_used_ratio", "Of the disk that NEUROCARDS_HOME is on.", disk_used_ratio)


def _of_shop(measured: Measures | None) -> Iterator[Metric]:
    """The same from every process: take the greatest, never the sum. Nothing while the database does not answer."""
    if measured is None:
        return
    ended = {result: count for result, count in measured.orders.items() if result != "open"}
    yield _counter("orders", "Orders that have ended.", ended, "result")
    yield _gauge("orders_open", "Orders with a video in work.", measured.orders["open"])
    yield _gauge("jobs", "Videos in the queue, by state.", measured.jobs, "state")
    yield _gauge("job_oldest_due_seconds", "How long a due job has waited.", measured.oldest_due_seconds)
    yield _gauge("outbox", "Videos and failures that wait to be sent.", measured.outbox)
    yield _gauge("outbox_oldest_seconds", "How long the oldest has waited.", measured.outbox_oldest_seconds)
    yield _counter("messages_undeliverable", "Notices that never arrived.", measured.undeliverable)
    yield _gauge("inbox", "Updates that wait to be handled.", measured.updates)
    yield _gauge("inbox_oldest_seconds", "How long the oldest has waited.", measured.updates_oldest_seconds)
    yield _gauge("updates_dead", "Updates of the last day that could not be handled.", measured.dead_updates_of_day)
    yield _counter("credits", "Credits moved, by kind of transfer.", measured.credits, "reason")
    yield _gauge("ledger_violations", "What the last audit of the books has found.", measured.violations, "check")
    yield _gauge(
        "ledger_audit_last_success_timestamp_seconds",
        "When the books were last audited; 0: never.",
        _timestamp(measured.audited_at),
    )
    yield _gauge(
        "backup_last_verified_timestamp_seconds",
        "When a backup was last proved to be restorable; 0: never.",
        _timestamp(measured.backup_verified_at),
    )
    paused_at = measured.sales_paused_at or measured.at
    paused_seconds = (measured.at - paused_at).total_seconds()
    yield _gauge("sales_paused_seconds", "For how long nothing has been sold; 0: all is sold.", paused_seconds)
    left_alone = {scope: sum(one.scope == scope for one in measured.circuits) for scope in SCOPES}
    yield _gauge("circuits_open", "Keys, models and providers that are left alone.", left_alone, "scope")
    yield from _of_providers({one.provider: one for one in measured.providers})


def _of_providers(found: Mapping[str, ProviderMeasures]) -> Iterator[Metric]:
    submits = {name: one.submits for name, one in found.items()}
    yield _gauge("provider_submits_recent", "Submits of the last 15 minutes.", submits, "provider")
    ambiguous = {name: one.ambiguous for name, one in found.items()}
    yield _gauge("provider_ambiguous_recent", "Those of them that have no answer.", ambiguous, "provider")
    orphans = {name: one.orphans for name, one in found.items()}
    yield _gauge("provider_orphans", "Tasks that were paid for and that nobody needs.", orphans, "provider")
    usd = {name: one.orphans_usd for name, one in found.items()}
    yield _gauge("provider_orphans_recent_usd", "What those of the last day cost.", usd, "provider")
    units = {name: one.cost_units for name, one in found.items()}
    yield _counter("provider_cost_units", "What providers charged, in their own units.", units, "provider")


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0


def _gauge(name: str, words: str, values: float | Mapping[str, float], label: str | None = None) -> Metric:
    return _filled(GaugeMetricFamily(f"neurocards_{name}", words, labels=[label] if label else []), values)


def _counter(name: str, words: str, values: float | Mapping[str, float], label: str | None = None) -> Metric:
    return _filled(CounterMetricFamily(f"neurocards_{name}", words, labels=[label] if label else []), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: float | Mapping[str, float]) -> Metric:
    for word, value in values.items() if isinstance(values, Mapping) else [("", values)]:
        family.add_metric([word] if word else [], value)
    return family

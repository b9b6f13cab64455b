"""What one process counts of its own doings, for whoever watches it. Counted where it happens.

What all processes know together is not counted here: it is measured in the database (`db/measures.py`). Labels are
words of a short list; they never hold ids.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics

from neurocards.domain.failures import Failure

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry()
ProcessCollector(registry=registry)

REFUSALS = tuple(f"NC{number:03}" for number in (*range(1, 16), 404, 409))
"""The codes of what our own triggers and functions refuse."""

_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 3600)

_provider_requests = Counter(
    "neurocards_provider_requests",
    "Requests to providers; outcome: ok, accepted, refused, unanswered, cut_off, or a kind of failure.",
    ["provider", "op", "outcome"],
    registry=registry,
)
_ambiguous = Counter(
    "neurocards_provider_ambiguous",
    "Submits whose answer was lost, by what became of them: found, abandoned (tried once more), given_up (refunded).",
    ["provider", "resolution"],
    registry=registry,
)
_stages = Histogram(
    "neurocards_job_stage_seconds",
    "How long a step of a video took; queue, rendering, delivery and whole are waits of the customer.",
    ["stage"],
    buckets=_SECONDS,
    registry=registry,
)
_reclaims = Counter(
    "neurocards_job_reclaims", "Jobs taken back from workers that had fallen silent.", registry=registry
)
_stale_decisions = Counter(
    "neurocards_stale_decisions", "Decisions refused because their lease was somebody else's.", registry=registry
)
_messages = Counter(
    "neurocards_messages",
    "Notices by kind; outcome: sent, put_off, unreachable, undeliverable, crashed.",
    ["kind", "outcome"],
    registry=registry,
)
_callbacks = Counter(
    "neurocards_callbacks",
    "Callbacks of providers; outcome: news, known, refused, undecided, too_long, not_stored.",
    ["outcome"],
    registry=registry,
)
_refusals = Counter(
    "neurocards_db_refusals", "What the database refused because it must never be true.", ["code"], registry=registry
)
# A series that begins with its first fault shows no increase to whoever watches: these begin at 0.
for _code in REFUSALS:
    _refusals.labels(_code)
for _outcome in ("news", "known", "refused", "undecided", "too_long", "not_stored"):
    _callbacks.labels(_outcome)


@contextmanager
def asking(provider: str, op: str) -> Iterator[None]:
    """Count the request that is made inside."""
    outcome = "cut_off"
    try:
        yield
        outcome = "ok"
    except Failure as failure:
        outcome = failure.kind.value
        raise
    finally:
        provider_request(provider, op, outcome)


def provider_request(provider: str, op: str, outcome: str) -> None:
    """A request to a provider ended."""
    _provider_requests.labels(provider, op, outcome).inc()


def doubt_resolved(provider: str, resolution: str) -> None:
    """It was found, or decided, what became of a submit whose answer was lost."""
    _ambiguous.labels(provider, resolution).inc()


def stage_took(stage: str, seconds: float) -> None:
    """A stage of a video ended."""
    _stages.labels(stage).observe(max(0.0, seconds))


def jobs_reclaimed(count: int) -> None:
    """So many jobs were taken back."""
    _reclaims.inc(count)


def decision_was_stale() -> None:
    """A decision was refused."""
    _stale_decisions.inc()


def message(kind: str, outcome: str) -> None:
    """A notice was tried."""
    _messages.labels(kind, outcome).inc()


def callback(outcome: str) -> None:
    """Somebody called back."""
    _callbacks.labels(outcome).inc()


def database_refused(code: str) -> None:
    """The database refused something with one of our own codes."""
    _refusals.labels(code).inc()


def used_ratio(folder: Path) -> float | None:
    """How much of the disk under a folder is used, as `df` counts it; None where there is no such folder yet."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    used = disk.f_blocks - disk.f_bfree
    return used / (used + disk.f_bavail) if used + disk.f_bavail else None

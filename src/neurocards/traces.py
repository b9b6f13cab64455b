"""Traces for a collector of OpenTelemetry: one for each order, in whatever process and after whatever restart.

An order brings its trace along. The first span is that it was placed, and its id is the end of the trace's own, so that
whoever goes on needs to be told nothing. Spans carry what lines in the logs carry, and no more: no words, no keys.

Nothing hangs on them: a collector that is away loses spans, and nobody waits for it.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from structlog.contextvars import get_contextvars

from neurocards import __version__
from neurocards.domain.failures import Failure
from neurocards.domain.orders import Order

EXPORT_MILLISECONDS = 1000
"""How often spans leave: a process that is killed takes those of its last second along."""

EXPORT_TIMEOUT_SECONDS = 2
"""Longer would hold up a process that is told to stop while the collector is away."""

_tracer: trace.Tracer = trace.NoOpTracer()
_beginning: ContextVar[UUID | None] = ContextVar("beginning", default=None)


@contextmanager
def exporting(endpoint: str | None, *, role: str) -> Iterator[None]:
    """Send the spans that are made inside to the collector at this address (OTLP over HTTP); without one, make none."""
    global _tracer  # noqa: PLW0603 - one for each process, like its meters
    if endpoint is None:
        yield
        return
    # Takes a while to import, and most processes do without.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    provider = TracerProvider(
        id_generator=_Ids(),
        resource=Resource.create(
            {
                "service.name": f"neurocards-{role}",
                "service.version": __version__,
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            }
        ),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_MILLISECONDS))
    before, _tracer = _tracer, provider.get_tracer("neurocards")
    try:
        yield
    finally:
        _tracer = before
        provider.shutdown()


def begin(order: Order) -> None:
    """The trace begins: the order was placed. Saying it twice says the same span twice."""
    token = _beginning.set(order.trace_id)
    try:
        _tracer.start_span(
            "place", context=Context(), start_time=int(order.placed_at.timestamp() * 1e9), attributes=_names()
        ).end()
    finally:
        _beginning.reset(token)


@contextmanager
def span(name: str, order: Order, *, calm: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """What is done inside is done for the order. `calm` is an exception that means no trouble.

    Trouble is noted by its kind: what it says may be a stranger's words, or a library's with an address in them.
    """
    with _tracer.start_as_current_span(
        name, context=_within(order), record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield
        except calm:
            raise
        except Failure as failure:
            failed(failure)
            raise
        except Exception as error:
            made.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            made.set_attributes(_names())


def failed(failure: Failure) -> None:
    """What is being done has failed, for this reason."""
    trace.get_current_span().set_status(trace.StatusCode.ERROR, f"{failure.kind.value}: {failure.reason.value}")


def _within(order: Order) -> Context:
    root = trace.SpanContext(
        order.trace_id.int,
        _first_span(order.trace_id),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(root), Context())


def _first_span(trace_id: UUID) -> int:
    return trace_id.int & 0xFFFF_FFFF_FFFF_FFFF


def _names() -> dict[str, str | int]:
    return {name: value for name, value in get_contextvars().items() if isinstance(value, str | int)}


class _Ids(RandomIdGenerator):
    """At random, but for the span that begins a trace."""

    def generate_trace_id(self) -> int:
        beginning = _beginning.get()
        return super().generate_trace_id() if beginning is None else beginning.int

    def generate_span_id(self) -> int:
        beginning = _beginning.get()
        return super().generate_span_id() if beginning is None else _first_span(beginning)

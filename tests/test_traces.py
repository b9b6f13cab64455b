"""One trace for each order, whatever happens to those who work on it: sent by real processes to a collector."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bot.chat import Shop
from bot.conftest import shop
from faults.staff import at_work
from neurocards import traces
from neurocards.db import generations, orders
from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.domain.orders import Order
from neurocards.storage import open_store
from services import Simulators

__all__ = ["shop"]


class Collector:
    """Takes what a collector of OpenTelemetry takes."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], Span]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") is None and self.path == "/v1/traces":
                    collector._take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.received += [(about, span) for scope in resource.scope_spans for span in scope.spans]

    @property
    def names(self) -> list[str]:
        return [span.name for _, span in self.received]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


async def order_of(shop: Shop) -> Order:
    async with shop.database.transaction() as tx:
        ((order_id,),) = await (await tx.execute("select id from orders")).fetchall()
        order = await orders.find(tx, order_id)
    assert order is not None
    return order


async def test_an_order_is_one_trace_across_a_tap_a_killed_worker_and_the_next(
    shop: Shop, dsn: str, simulators: Simulators, tmp_path: Path, collector: Collector
) -> None:
    with traces.exporting(collector.address, role="bot"):
        await (await shop.shopper()).tap("Confirm")
    order = await order_of(shop)
    await open_store(None, tmp_path).put(order.photo_key, await shop.store.get(order.photo_key))

    async def killed_worker(until: str) -> None:
        log = tmp_path / "worker.log"
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address}
        async with at_work("worker", tmp_path, simulators, dsn=dsn, log=log, token=shop.token, **endpoint) as process:
            async with asyncio.timeout(60):
                while until not in collector.names:
                    assert process.poll() is None, log.read_text("utf-8")
                    await asyncio.sleep(0.05)

    await killed_worker("submit")
    async with shop.database.transaction() as tx:
        await tx.execute("update jobs set lease_expires_at = clock_now() where state = 'running'")
        await tx.execute("update notices set lease_expires_at = clock_now() where state = 'sending'")
    await killed_worker("send video")

    ((_, root),) = [(about, span) for about, span in collector.received if span.name == "place"]
    assert root.trace_id.hex() == order.trace_id.hex
    assert root.parent_span_id == b""
    rest = [(about, span) for about, span in collector.received if span.name != "place"]
    assert {(span.trace_id, span.parent_span_id) for _, span in rest} == {(root.trace_id, root.span_id)}
    assert {"write_prompt", "upload_frame", "submit", "wait", "fetch", "settle", "send status", "send video"} == {
        span.name for _, span in rest
    }
    assert {about["service.name"] for about, _ in collector.received} == {"neurocards-bot", "neurocards-worker"}
    assert len({about["service.instance.id"] for about, _ in rest}) == 2, "two workers"
    (generation,) = await told(shop, order)
    (settled,) = [{one.key: one.value for one in span.attributes} for _, span in rest if span.name == "settle"]
    assert settled["order"].int_value == order.number
    assert settled["generation_id"].string_value == generation
    assert all(span.start_time_unix_nano >= root.start_time_unix_nano for _, span in rest)
    said = b"".join(span.SerializeToString() for _, span in collector.received)
    assert order.description
    assert order.description.encode() not in said


async def told(shop: Shop, order: Order) -> list[str]:
    async with shop.database.transaction() as tx:
        return [str(one.id) for one in await generations.of_order(tx, order.id)]


async def test_trouble_is_noted_by_its_kind_and_not_by_its_words(shop: Shop, collector: Collector) -> None:
    await (await shop.shopper()).tap("Confirm")
    order = await order_of(shop)

    class Calm(Exception):
        pass

    for trouble in (Failure(FailureKind.TEMPORARY, Reason.PROVIDER, "secret"), ValueError("secret"), Calm("secret")):
        with (
            traces.exporting(collector.address, role="worker"),
            pytest.raises(type(trouble)),
            traces.span("wait", order, calm=Calm),
        ):
            raise trouble
    assert [(span.status.code, span.status.message, len(span.events)) for _, span in collector.received] == [
        (Status.STATUS_CODE_ERROR, "temporary: provider", 0),
        (Status.STATUS_CODE_ERROR, "ValueError", 0),
        (Status.STATUS_CODE_UNSET, "", 0),
    ]


async def test_a_collector_that_is_away_holds_up_nobody(shop: Shop) -> None:
    nobody = Collector()
    nobody.close()
    await (await shop.shopper()).tap("Confirm")
    order = await order_of(shop)
    loop = asyncio.get_running_loop()
    with traces.exporting(nobody.address, role="worker"):
        for _ in range(5000):
            with traces.span("wait", order):
                pass
        began_at = loop.time()
    assert loop.time() - began_at < 10

"""What a trace says, and that nobody waits for it. `web/test_ops.py` follows one through processes and restarts."""

import asyncio

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from bot.chat import Shop
from bot.conftest import shop
from collector import Collector
from neurocards import traces
from neurocards.db import orders
from neurocards.domain.failures import Failure, FailureKind, Reason
from neurocards.domain.orders import Order

__all__ = ["shop"]


async def order_of(shop: Shop) -> Order:
    async with shop.database.transaction() as tx:
        ((order_id,),) = await (await tx.execute("select id from orders")).fetchall()
        order = await orders.find(tx, order_id)
    assert order is not None
    return order


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

"""A confirmed draft becomes an order: priced from the catalogue, placed in one transaction, once."""

from uuid import UUID

from structlog.contextvars import bind_contextvars

from neurocards import traces
from neurocards.db import generations, operators, orders
from neurocards.db.connection import Database, Transaction
from neurocards.db.orders import Cancellation, Outcome, Placement
from neurocards.domain.catalogue import Catalogue
from neurocards.domain.orders import Draft, Order
from neurocards.domain.routing import Choice, Nobody, Wait
from neurocards.routing import offer

__all__ = ["cancel_order", "offer", "place_order", "price", "sales_are_paused"]

# Someone tapped and is looking at the screen: a database restart is waited for, an outage is told.
PATIENCE_SECONDS = 5.0


async def place_order(
    database: Database,
    catalogue: Catalogue,
    draft_id: UUID,
    template_id: str | None,
    *,
    deadline_seconds: int,
    open_limit: int,
) -> Placement:
    """Place the order of the draft with this id, however often it is asked for.

    `template_id` is what the draft says now, None when the draft is gone; then the answer is what became of it.
    `open_limit` is how many videos of one customer may be in work at once.
    Raises psycopg.OperationalError or PoolTimeout when the database stays away; asking again is safe.
    """
    template = catalogue.templates.get(template_id or "")

    async def place(tx: Transaction) -> tuple[Placement, Order | None]:
        if not await operators.selling(tx) and await orders.find(tx, draft_id) is None:
            return Placement(Outcome.PAUSED, None, None, None), None
        found = await offer(tx, catalogue, template) if template is not None else None
        if isinstance(found, Wait | Nobody) and await orders.find(tx, draft_id) is None:
            return await _closed(tx, found), None
        placement = await orders.place(
            tx,
            draft_id,
            template_version=template.version if template else 0,
            model=found.model.id if isinstance(found, Choice) else "",
            seconds=template.seconds if template else 0,
            price_credits=template.price_credits if template else 0,
            deadline_seconds=deadline_seconds,
            open_limit=open_limit,
        )
        return placement, await orders.find(tx, draft_id) if placement.outcome is Outcome.PLACED else None

    placement, order = await database.run(place, patience_seconds=PATIENCE_SECONDS)
    if order is not None:
        _name_in_logs(order)
        traces.begin(order)
    return placement


async def _closed(tx: Transaction, found: Wait | Nobody) -> Placement:
    """Nobody could make it: better to say so than to take credits and give them back."""
    seconds = (found.until - await generations.clock(tx)).total_seconds() if isinstance(found, Wait) else None
    return Placement(Outcome.CLOSED, None, None, None, closed_seconds=seconds)


async def sales_are_paused(tx: Transaction) -> bool:
    """Whether an operator has paused sales: for whoever shows a draft; `place_order` asks for itself."""
    return await operators.sales_pause(tx) is not None


async def cancel_order(database: Database, order_id: UUID, customer_id: int) -> Cancellation:
    """Take back what of a customer's order has cost nothing yet. Raises as place_order does; asking again is safe."""

    async def cancel(tx: Transaction) -> Cancellation:
        _name_in_logs(await orders.find(tx, order_id))
        return await orders.cancel(tx, order_id, customer_id)

    return await database.run(cancel, patience_seconds=PATIENCE_SECONDS)


def _name_in_logs(order: Order | None) -> None:
    """From here on the lines about this tap belong to the order's trace."""
    if order is not None:
        bind_contextvars(**order.names)


def price(catalogue: Catalogue, draft: Draft) -> int:
    """Credits for one video of the draft, as of now; raises KeyError when its template is no longer on sale."""
    if draft.template is None:
        raise KeyError("the draft has no template yet")
    return catalogue.templates[draft.template].price_credits

"""Drafts: what a customer has chosen so far. They live here so that a restart, or a week, loses nothing."""

from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from neurocards.db.connection import Transaction
from neurocards.domain.orders import Draft

_COLUMNS = (
    "order_id, customer_id, photo_key, template, description, wishes, count, quoted_price_credits, card_message_id"
)


async def find(tx: Transaction, customer_id: int) -> Draft | None:
    """The customer's open draft, if there is one."""
    cursor = tx.cursor(row_factory=class_row(Draft))
    await cursor.execute(f"select {_COLUMNS} from drafts where customer_id = %s".encode(), [customer_id])
    return await cursor.fetchone()


async def begin(tx: Transaction, customer_id: int, *, order_id: UUID, photo_key: str) -> Draft:
    """Start a draft from a photo. It replaces the customer's earlier draft, whose buttons become outdated."""
    await discard(tx, customer_id)
    await tx.execute(
        "insert into drafts (order_id, customer_id, photo_key) values (%s, %s, %s)",
        [order_id, customer_id, photo_key],
    )
    return await _get(tx, order_id)


async def answer(tx: Transaction, order_id: UUID, **choices: str | int) -> Draft | None:
    """Record choices: template, description, wishes or count. None when the draft is gone or one was made before.

    A choice is made once: what a shown card says is what its Confirm button orders.
    """
    columns = [sql.Identifier(column) for column in choices]
    cursor = await tx.execute(
        sql.SQL(
            "update drafts set {}, updated_at = clock_now()"
            " where order_id = %(order_id)s and quoted_price_credits is null and {}"
        ).format(
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(column, sql.Placeholder(name))
                for column, name in zip(columns, choices, strict=True)
            ),
            sql.SQL(" and ").join(sql.SQL("{} is null").format(column) for column in columns),
        ),
        {**choices, "order_id": order_id},
    )
    return await _get(tx, order_id) if cursor.rowcount else None


async def quote(tx: Transaction, order_id: UUID, *, price_credits: int, card_message_id: int) -> None:
    """Record the price of one video as the card shows it, and which message that card is."""
    await tx.execute(
        "update drafts set quoted_price_credits = %s, card_message_id = %s, updated_at = clock_now()"
        " where order_id = %s",
        [price_credits, card_message_id, order_id],
    )


async def renew(tx: Transaction, order_id: UUID, *, new_order_id: UUID, forget_template: bool) -> Draft | None:
    """Give the draft a new id, so that every card shown so far is outdated; None when it was gone.

    For a price that has changed, or a template that is no longer sold and has to be chosen anew.
    """
    cursor = await tx.execute(
        "update drafts set order_id = %(new_id)s, quoted_price_credits = null, card_message_id = null,"
        " template = case when %(forget)s then null else template end, updated_at = clock_now()"
        " where order_id = %(id)s",
        {"new_id": new_order_id, "forget": forget_template, "id": order_id},
    )
    return await _get(tx, new_order_id) if cursor.rowcount else None


async def discard(tx: Transaction, customer_id: int, *, order_id: UUID | None = None) -> str | None:
    """Forget the customer's draft, or only the one with this id; returns the key of the photo it leaves behind.

    None when there was none: it may have become an order, and then the photo is needed.
    """
    cursor = await tx.execute(
        "delete from drafts where customer_id = %(customer_id)s"
        " and (%(order_id)s::uuid is null or order_id = %(order_id)s) returning photo_key",
        {"customer_id": customer_id, "order_id": order_id},
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def _get(tx: Transaction, order_id: UUID) -> Draft:
    cursor = tx.cursor(row_factory=class_row(Draft))
    await cursor.execute(f"select {_COLUMNS} from drafts where order_id = %s".encode(), [order_id])
    draft = await cursor.fetchone()
    if draft is None:
        raise LookupError(f"no draft {order_id}")
    return draft

"""Drafts: what a customer has chosen so far. They live here so that a restart, or a week, loses nothing."""

from typing import TypedDict
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from neurocards.db.connection import Transaction
from neurocards.domain.orders import Draft, renewed

_COLUMNS = (
    "order_id, customer_id, photo_key, second_photo_key, template, description, wishes, count, quoted_price_credits,"
    " card_message_id, description_message_id, question_message_id"
)


async def find(tx: Transaction, customer_id: int) -> Draft | None:
    """The customer's open draft, if there is one."""
    cursor = tx.cursor(row_factory=class_row(Draft))
    await cursor.execute(f"select {_COLUMNS} from drafts where customer_id = %s".encode(), [customer_id])
    return await cursor.fetchone()


class Choices(TypedDict):
    """What a draft can begin with; None is asked for."""

    photo_key: str | None
    second_photo_key: str | None
    template: str | None
    description: str | None
    wishes: str | None
    count: int | None


async def begin(tx: Transaction, customer_id: int, *, order_id: UUID, choices: Choices) -> Draft:
    """Start a draft with what is known of it. It replaces the customer's earlier one, whose buttons become outdated."""
    await discard(tx, customer_id)
    await tx.execute(
        "insert into drafts (order_id, customer_id, photo_key, second_photo_key, template, description, wishes, count)"
        " values (%(order_id)s, %(customer_id)s, %(photo_key)s, %(second_photo_key)s, %(template)s, %(description)s,"
        " %(wishes)s, %(count)s)",
        {"order_id": order_id, "customer_id": customer_id, **choices},
    )
    return await _get(tx, order_id)


async def answer(tx: Transaction, order_id: UUID, **choices: str | int) -> Draft | None:
    """Record choices: columns of Choices. None when the draft is gone or one of them was made.

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


async def take_back(tx: Transaction, order_id: UUID, column: str) -> None:
    """Forget one choice of a draft that no card shows, so that it is asked for again."""
    await tx.execute(
        sql.SQL(
            "update drafts set {column} = null, updated_at = clock_now(),"
            " description_message_id = case when {name} = 'description' then null else description_message_id end"
            " where order_id = {order_id} and quoted_price_credits is null"
        ).format(column=sql.Identifier(column), name=column, order_id=order_id)
    )


async def describe(tx: Transaction, order_id: UUID, description: str, *, message_id: int | None) -> None:
    """Write or replace the description of a draft that no card shows.

    `message_id` is the one message that says all of it, None when it was put together from several.
    """
    await tx.execute(
        "update drafts set description = %s, description_message_id = %s, updated_at = clock_now()"
        " where order_id = %s and quoted_price_credits is null",
        [description, message_id, order_id],
    )


async def asked(tx: Transaction, order_id: UUID, message_id: int) -> None:
    """Record which message asks the open question."""
    await tx.execute("update drafts set question_message_id = %s where order_id = %s", [message_id, order_id])


async def quote(tx: Transaction, order_id: UUID, *, price_credits: int, card_message_id: int) -> None:
    """Record the price of one video as the card shows it, and which message that card is."""
    await tx.execute(
        "update drafts set quoted_price_credits = %(price)s, card_message_id = %(card)s,"
        " question_message_id = %(card)s, updated_at = clock_now() where order_id = %(id)s",
        {"price": price_credits, "card": card_message_id, "id": order_id},
    )


async def renew(tx: Transaction, order_id: UUID) -> Draft | None:
    """Give the draft a new id, so that every card shown so far is outdated; None when it was gone."""
    new_order_id = renewed(order_id)
    cursor = await tx.execute(
        "update drafts set order_id = %s, quoted_price_credits = null, card_message_id = null,"
        " updated_at = clock_now() where order_id = %s",
        [new_order_id, order_id],
    )
    return await _get(tx, new_order_id) if cursor.rowcount else None


async def discard(tx: Transaction, customer_id: int, *, order_id: UUID | None = None) -> Draft | None:
    """Forget the customer's draft, or only the one with this id; returns what it was.

    None when there was none: it may have become an order.
    """
    cursor = tx.cursor(row_factory=class_row(Draft))
    await cursor.execute(
        "delete from drafts where customer_id = %(customer_id)s"
        f" and (%(order_id)s::uuid is null or order_id = %(order_id)s) returning {_COLUMNS}".encode(),
        {"customer_id": customer_id, "order_id": order_id},
    )
    return await cursor.fetchone()


async def _get(tx: Transaction, order_id: UUID) -> Draft:
    cursor = tx.cursor(row_factory=class_row(Draft))
    await cursor.execute(f"select {_COLUMNS} from drafts where order_id = %s".encode(), [order_id])
    draft = await cursor.fetchone()
    if draft is None:
        raise LookupError(f"no draft {order_id}")
    return draft

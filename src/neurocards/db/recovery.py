"""What a shop that came back from a backup is asked about itself."""

from collections.abc import Sequence
from uuid import UUID

from neurocards.db.connection import Transaction


async def moves_by_cause(tx: Transaction, prefixes: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The transfers whose causes begin so: of whom (Telegram id) and how many credits, by cause."""
    await tx.execute("set local statement_timeout = 0")
    cursor = await tx.execute(
        "select t.cause, c.telegram_id, t.amount_credits from transfers t join customers c on c.id = t.customer_id"
        " where t.kind in ('top_up', 'withdrawal')"
        " and exists (select from unnest(%s::text[]) prefix where starts_with(t.cause, prefix))",
        [list(prefixes)],
    )
    return {cause: (telegram_id, credits) for cause, telegram_id, credits in await cursor.fetchall()}


async def strangers(tx: Transaction, generation_ids: Sequence[UUID]) -> Sequence[UUID]:
    """Those of them that no order in the books has."""
    cursor = await tx.execute(
        "select asked.id from unnest(%s::uuid[]) asked (id)"
        " where not exists (select from generations g where g.id = asked.id)",
        [list(generation_ids)],
    )
    return [id for (id,) in await cursor.fetchall()]


async def photos_wanted(tx: Transaction) -> Sequence[tuple[int, str]]:
    """The photos that open orders are made from: the order's number and the key."""
    cursor = await tx.execute(
        """
        select distinct o.number, key
          from generations g join orders o on o.id = g.order_id
          cross join lateral (values (o.photo_key), (o.second_photo_key)) photo (key)
         where g.state in ('queued', 'processing') and key is not null
         order by 1, 2
        """
    )
    return await cursor.fetchall()

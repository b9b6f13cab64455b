"""Customers: who they are, what they agreed to, what they have, and whether they can be written to."""

from dataclasses import dataclass

from psycopg.rows import class_row

from neurocards.db.connection import Transaction


@dataclass(frozen=True)
class Customer:
    """A person served through Telegram; `available_credits` is what an order can be paid from."""

    id: int
    telegram_id: int
    first_name: str
    language: str
    consent_version: int | None
    available_credits: int


@dataclass(frozen=True)
class Balance:
    """Credits by account; free and paid are kept apart until the end."""

    available_free: int
    available_paid: int
    held: int
    spent: int


_SELECT = """
    select c.id, c.telegram_id, c.first_name, c.language, c.consent_version,
           (select coalesce(sum(balance), 0)::bigint from accounts
             where customer_id = c.id and kind = 'available') as available_credits
      from customers c
"""


async def register(tx: Transaction, *, telegram_id: int, first_name: str, language: str) -> Customer:
    """The customer with this Telegram id, created with empty accounts when new. A known one stays as it is."""
    await tx.execute("select register_customer(%s, %s, %s)", [telegram_id, first_name, language])
    created = await find(tx, telegram_id)
    if created is None:
        raise LookupError(f"customer {telegram_id} vanished")
    return created


async def find(tx: Transaction, telegram_id: int) -> Customer | None:
    """The customer with this Telegram id, if there is one."""
    cursor = tx.cursor(row_factory=class_row(Customer))
    await cursor.execute(_SELECT.encode() + b" where c.telegram_id = %s", [telegram_id])
    return await cursor.fetchone()


async def get(tx: Transaction, customer_id: int) -> Customer:
    """The customer; raises LookupError."""
    cursor = tx.cursor(row_factory=class_row(Customer))
    await cursor.execute(_SELECT.encode() + b" where c.id = %s", [customer_id])
    customer = await cursor.fetchone()
    if customer is None:
        raise LookupError(f"no customer {customer_id}")
    return customer


async def balance(tx: Transaction, customer_id: int) -> Balance:
    """The customer's credits by account."""
    cursor = tx.cursor(row_factory=class_row(Balance))
    await cursor.execute(
        """
        select coalesce(sum(balance) filter (where kind = 'available' and funding = 'free'), 0)::bigint
                   as available_free,
               coalesce(sum(balance) filter (where kind = 'available' and funding = 'paid'), 0)::bigint
                   as available_paid,
               coalesce(sum(balance) filter (where kind = 'held'), 0)::bigint as held,
               coalesce(sum(balance) filter (where kind = 'spent'), 0)::bigint as spent
          from accounts where customer_id = %s
        """,
        [customer_id],
    )
    found = await cursor.fetchone()
    if found is None:
        raise LookupError(f"no customer {customer_id}")
    return found


async def meet(tx: Transaction, *, telegram_id: int, first_name: str, language: str) -> Customer:
    """The customer who has just written: created when new, and reachable, whatever we believed before."""
    # Every update begins here: somebody known and reachable costs one statement that writes nothing.
    cursor = tx.cursor(row_factory=class_row(Customer))
    await cursor.execute(
        f"""
        with back as (
            update chats set unreachable_since = null
             where customer_id = (select id from customers where telegram_id = %(telegram_id)s)
               and unreachable_since is not null
            returning pg_notify('notices', '')
        )
        {_SELECT} where c.telegram_id = %(telegram_id)s
        """.encode(),
        {"telegram_id": telegram_id},
    )
    known = await cursor.fetchone()
    return known or await register(tx, telegram_id=telegram_id, first_name=first_name, language=language)


async def consent(tx: Transaction, customer_id: int, version: int) -> bool:
    """Record what the customer agreed to; False when they had agreed to this or a later version before."""
    cursor = await tx.execute(
        "update customers set consent_version = %(version)s, consented_at = clock_now()"
        " where id = %(id)s and coalesce(consent_version, 0) < %(version)s",
        {"id": customer_id, "version": version},
    )
    return cursor.rowcount == 1


async def set_language(tx: Transaction, customer_id: int, language: str) -> None:
    """Record the language the customer is spoken to in: ru or en."""
    await tx.execute("update customers set language = %s where id = %s", [language, customer_id])


async def set_reachable(tx: Transaction, customer_id: int, *, reachable: bool) -> None:
    """Record whether the customer can be written to; what waits for them goes out when they are back."""
    # Every update of every customer asks this, so a row that is right already is not written again.
    cursor = await tx.execute(
        "update chats set unreachable_since = case when %(reachable)s then null else clock_now() end"
        " where customer_id = %(id)s and (unreachable_since is null) <> %(reachable)s",
        {"id": customer_id, "reachable": reachable},
    )
    if reachable and cursor.rowcount:
        await tx.execute("select pg_notify('notices', '')")


async def top_up(tx: Transaction, customer_id: int, *, amount: int, funding: str, cause: str, reason: str) -> bool:
    """Issue credits for a cause, once. False when this cause had been honoured before.

    Raises psycopg.DatabaseError with sqlstate NC409 when the cause was used for another transfer.
    """
    cursor = await tx.execute("select top_up(%s, %s, %s, %s, %s)", [customer_id, amount, funding, cause, reason])
    row = await cursor.fetchone()
    return bool(row and row[0])

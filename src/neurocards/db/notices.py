"""Notices waiting to be sent: in order per customer, paced, under a lease, each written once per cause."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from psycopg.rows import kwargs_row

from neurocards.db import leases
from neurocards.db.connection import Transaction

MOOT_SECONDS = 10.0
"""A status that could not be shown for so long makes way for the newest one of its order."""

_MOOT = """
    ({0}.kind = 'status' and {0}.state = 'pending'
     and {0}.created_at < clock_now() - make_interval(secs => %(moot)s)
     and exists (select from notices newer
                  where newer.order_id = {0}.order_id and newer.id > {0}.id
                    and newer.kind = 'status' and newer.state = 'pending'))
"""


class NoticeKind(StrEnum):
    """What a notice does: edits the status card, hands over the video, says why there is none, or hands over again."""

    STATUS = "status"
    VIDEO = "video"
    FAILURE = "failure"
    AGAIN = "again"
    """A past video, as a video."""
    FILE = "file"
    """A past video, as a file: its bytes as they are."""


@dataclass(frozen=True)
class Notice:
    """A claimed notice. `attempt` is numbered from 1; `lease_number` is this claim's."""

    id: int
    customer_id: int
    order_id: UUID
    generation_id: UUID | None
    kind: NoticeKind
    stage: str | None
    attempt: int
    lease_number: int
    repeats: int
    """How often it may have been sent before: an answer was lost, or a sender died."""


def _notice(
    *,
    id: int,
    customer_id: int,
    order_id: UUID,
    generation_id: UUID | None,
    kind: str,
    stage: str | None,
    attempt: int,
    lease_number: int,
    repeats: int,
) -> Notice:
    return Notice(id, customer_id, order_id, generation_id, NoticeKind(kind), stage, attempt, lease_number, repeats)


async def claim(
    tx: Transaction, *, limit: int, lease_seconds: float, per_second: float, held: Collection[int] = ()
) -> list[Notice]:
    """Take the first open notice of up to `limit` customers who may be written to now.

    One at a time per customer, in order, whichever process sends it, and at most `per_second` of all together; chats
    that wait for how something ended go first. Passed by is a status whose card rests, and one that a newer status of
    the same order has made moot while it waited. A lease that expired makes a notice claimable again, but not by
    whoever still holds it: its sender died, and whether it was sent is not known.
    """
    free = await tx.execute("select least(%s, free_places(%s))", [limit, per_second])
    row = await free.fetchone()
    if row is None or row[0] < 1:
        return []
    cursor = tx.cursor(row_factory=kwargs_row(_notice))
    await cursor.execute(
        f"""
        with first as materialized (
            select n.id
              from notices n
              join chats c on c.customer_id = n.customer_id
             where (n.state = 'pending' or n.lease_expires_at < clock_now())
               and n.state in ('pending', 'sending')
               and n.send_at <= clock_now() and n.id <> all(%(held)s)
               and c.unreachable_since is null and c.write_after <= clock_now()
               and not {_MOOT.format("n")}
               and not exists (
                   select from notices other
                    where other.customer_id = n.customer_id and other.id <> n.id
                      and other.state in ('pending', 'sending')
                      and (other.state = 'sending' and other.lease_expires_at >= clock_now()
                           or other.id < n.id and not {_MOOT.format("other")}
                           -- A card that rests holds nobody up: when it is edited it will say what is true by then.
                           and not (other.kind = 'status' and other.state = 'pending'
                                    and other.failure is null and other.send_at > clock_now())))
             order by n.kind = 'status', n.id
             limit %(limit)s
               for update of n skip locked
        )
        update notices
           set state = 'sending', lease_number = lease_number + 1,
               repeats = least(repeats + case state when 'sending' then 1 else 0 end, 1000),
               lease_expires_at = clock_now() + make_interval(secs => %(lease_seconds)s)
          from first
         where notices.id = first.id
        returning notices.id, customer_id, order_id, generation_id, kind, stage, attempt, lease_number,
                  repeats
        """.encode(),
        {"limit": row[0], "lease_seconds": lease_seconds, "held": list(held), "moot": MOOT_SECONDS},
    )
    claimed = await cursor.fetchall()
    if claimed:
        await tx.execute("select use_places(%s, %s)", [len(claimed), per_second])
    return claimed


async def request(tx: Transaction, generation_id: UUID, *, kind: NoticeKind, cause: str) -> bool:
    """Hand over a past video once more, as `AGAIN` or `FILE`; False when this cause was honoured before.

    Only a video that was finished; whose it is the caller has made sure of.
    """
    cursor = await tx.execute(
        """
        insert into notices (customer_id, order_id, generation_id, kind, cause)
        select customer_id, order_id, id, %(kind)s, %(cause)s
          from generations where id = %(id)s and state = 'completed'
        on conflict (cause) do nothing
        """,
        {"id": generation_id, "kind": kind.value, "cause": cause},
    )
    return cursor.rowcount == 1


async def extend(tx: Transaction, held: Collection[Notice], *, lease_seconds: float) -> set[int]:
    """The heartbeat: extend the leases of notices that are being sent; returns the ids that were still ours."""
    return await leases.extend(tx, "notices", held, state="sending", lease_seconds=lease_seconds)


async def overtaken(tx: Transaction, notice: Notice) -> bool:
    """Whether the very next thing to tell this customer is a newer status of the same order."""
    cursor = await tx.execute(
        """
        select kind = 'status' and order_id = %(order_id)s from notices
         where customer_id = %(customer_id)s and id > %(id)s and state = 'pending'
         order by id limit 1
        """,
        {"order_id": notice.order_id, "customer_id": notice.customer_id, "id": notice.id},
    )
    return await cursor.fetchone() == (True,)


async def card_rests(tx: Transaction, notice: Notice, *, seconds: float) -> bool:
    """Reserve the card for an edit now; if it was edited or reserved less than `seconds` ago, put the status back.

    What comes after a status that was put back need not wait for it.
    """
    cursor = await tx.execute(
        "update orders set card_shown_at = clock_now() where id = %(order_id)s"
        " and coalesce(card_shown_at <= clock_now() - make_interval(secs => %(seconds)s), true)",
        {"order_id": notice.order_id, "seconds": seconds},
    )
    if cursor.rowcount == 1:
        return False
    await tx.execute(
        """
        update notices
           set state = 'pending', lease_expires_at = null, failure = null,
               send_at = orders.card_shown_at + make_interval(secs => %(seconds)s)
          from orders
         where notices.id = %(id)s and lease_number = %(number)s and state = 'sending'
           and orders.id = notices.order_id
        """,
        {"seconds": seconds, "id": notice.id, "number": notice.lease_number},
    )
    return True


async def tell_again(tx: Transaction, notice: Notice) -> None:
    """Write the same status once more, to be rendered anew: two senders may have edited the card in any order."""
    await tx.execute(
        """
        insert into notices (customer_id, order_id, generation_id, kind, cause, stage)
        values (%(customer_id)s, %(order_id)s, %(generation_id)s, 'status',
                format('status:%%s:again:%%s:%%s', %(order_id)s, %(id)s::bigint, %(number)s::bigint), %(stage)s)
        on conflict (cause) do nothing
        """,
        {
            "customer_id": notice.customer_id,
            "order_id": notice.order_id,
            "generation_id": notice.generation_id,
            "id": notice.id,
            "number": notice.lease_number,
            "stage": notice.stage,
        },
    )


async def finish(
    tx: Transaction, notice: Notice, *, state: str, message_id: int | None = None, pause_seconds: float = 0.0
) -> bool:
    """End a claimed notice as sent, superseded or undeliverable, and let its customer rest for a moment.

    False when the lease was lost: the notice may have been sent twice.
    """
    cursor = await tx.execute(
        """
        update notices
           set state = %(state)s, message_id = %(message_id)s, lease_expires_at = null,
               sent_at = case when %(state)s = 'sent' then clock_now() end
         where id = %(id)s and lease_number = %(number)s and state = 'sending'
        """,
        {"state": state, "message_id": message_id, "id": notice.id, "number": notice.lease_number},
    )
    ours = cursor.rowcount == 1
    if pause_seconds > 0:
        await rest(tx, notice.customer_id, seconds=pause_seconds)
    if state == "sent" and notice.kind is NoticeKind.STATUS:
        await tx.execute(
            "update notices set state = 'superseded'"
            " where order_id = %s and id < %s and kind = 'status' and state = 'pending'",
            [notice.order_id, notice.id],
        )
    return ours


async def pass_by_moot(tx: Transaction, *, limit: int = 2000) -> int:
    """Put aside statuses that a newer one of their order has made moot while they waited; returns how many."""
    cursor = await tx.execute(
        f"""
        update notices set state = 'superseded'
         where id in (select n.id from notices n where {_MOOT.format("n")} limit %(limit)s for update skip locked)
        """.encode(),
        {"moot": MOOT_SECONDS, "limit": limit},
    )
    return cursor.rowcount


async def put_back(
    tx: Transaction, notice: Notice, *, seconds: float, failure: str, spends_attempt: bool, in_doubt: bool = False
) -> None:
    """Try again later; the customer's other notices wait behind it. `in_doubt`: it may have been sent."""
    await tx.execute(
        """
        update notices
           set state = 'pending', lease_expires_at = null, failure = %(failure)s,
               attempt = attempt + %(spent)s, repeats = least(repeats + %(in_doubt)s, 1000),
               send_at = clock_now() + make_interval(secs => %(seconds)s)
         where id = %(id)s and lease_number = %(number)s and state = 'sending'
        """,
        {
            "failure": failure[:500],
            "spent": int(spends_attempt),
            "in_doubt": int(in_doubt),
            "seconds": seconds,
            "id": notice.id,
            "number": notice.lease_number,
        },
    )


async def rest(tx: Transaction, customer_id: int, *, seconds: float) -> None:
    """Do not write to this customer for a while: the pace of a chat, or what Telegram asked for."""
    await tx.execute(
        "update chats set write_after = clock_now() + make_interval(secs => %s) where customer_id = %s",
        [seconds, customer_id],
    )


async def was_handed_over(tx: Transaction, generation_id: UUID) -> bool:
    """Whether Telegram has taken the video."""
    cursor = await tx.execute(
        "select state = 'sent' from notices where cause = %s", [f"{NoticeKind.VIDEO}:{generation_id}"]
    )
    return await cursor.fetchone() == (True,)


async def waiting(tx: Transaction, telegram_ids: Sequence[int]) -> int:
    """How many notices these people have still to get."""
    cursor = await tx.execute(
        "select count(*) from notices n join customers c on c.id = n.customer_id"
        " where c.telegram_id = any(%s) and n.state in ('pending', 'sending')",
        [list(telegram_ids)],
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def keep_file_id(tx: Transaction, generation_id: UUID, file_id: str) -> None:
    """Remember Telegram's own copy of the video: sending it again costs no upload."""
    await tx.execute("update generations set file_id = %s where id = %s", [file_id, generation_id])

"""What a customer can look up in their cabinet: every move of their credits in lines, and their finished videos.

Both are read in pages, newest first. A page is found by an id and not by its number: what comes in between two
looks neither hides a line nor shows one twice to somebody who goes on to older ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from psycopg.rows import kwargs_row

from neurocards.db.connection import Transaction

LINES_PER_PAGE = 8
VIDEOS_PER_PAGE = 5

Item = TypeVar("Item")


class LineKind(StrEnum):
    """A transfer's kind as its customer sees it: where credits came from is told apart."""

    WELCOME = "welcome"
    GIFT = "gift"
    TOP_UP = "top_up"
    WITHDRAWAL = "withdrawal"
    HOLD = "hold"
    SETTLE = "settle"
    REFUND = "refund"
    REVERSAL = "reversal"


@dataclass(frozen=True)
class VideoNumber:
    """Which video of which order, as customers name it."""

    order_number: int
    ordinal: int
    count: int


@dataclass(frozen=True)
class Line:
    """One move of credits; its free and its paid part together.

    `available_change` is signed: over all lines it sums up to what is available. `failure` is why there is no video.
    """

    id: int
    kind: LineKind
    day: date
    amount_credits: int
    available_change: int
    reason: str | None
    video: VideoNumber | None
    failure: str | None


@dataclass(frozen=True)
class Video:
    """A finished video; `id` is its place among the customer's, `seconds` its length."""

    id: int
    generation_id: UUID
    number: VideoNumber
    template: str
    day: date
    seconds: float
    is_kept: bool = True
    """Whether it can be sent once more: what is old is removed."""


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some of the items, newest first, and how many there are on either side of them."""

    items: Sequence[Item]
    newer: int
    older: int
    size: int

    @property
    def number(self) -> int:
        """Numbered from 1; a page that does not begin where a full one would end counts as one more."""
        return -(-self.newer // self.size) + 1

    @property
    def pages(self) -> int:
        return self.number - (-self.older // self.size)


async def lines(
    tx: Transaction, customer_id: int, *, older_than: int | None = None, newer_than: int | None = None
) -> Page[Line]:
    """The newest lines of the customer's statement, or those next to the line with the given id."""
    return await _page(
        tx,
        # The parts of one move differ in nothing but their funding. One customer's transfers are numbered under a
        # lock: whatever is committed later has a greater id.
        """
        select max(t.id) as id,
               case when t.kind <> 'top_up' then t.kind
                    when starts_with(t.cause, 'welcome:') then 'welcome'
                    when t.funding = 'free' then 'gift'
                    else t.kind end as kind,
               min((t.created_at at time zone 'UTC')::date) as day,
               sum(t.amount_credits)::bigint as amount_credits,
               sum(case 'available' when t.to_kind then t.amount_credits
                                    when t.from_kind then -t.amount_credits
                                    else 0 end)::bigint as available_change,
               min(t.reason) as reason, o.number as order_number, g.ordinal, o.count, g.failure
          from transfers t
          left join generations g on g.id = t.generation_id
          left join orders o on o.id = g.order_id
         where t.customer_id = %(customer_id)s
         group by 2, g.id, o.id, case when g.id is null then t.id end
        """,
        _line,
        customer_id=customer_id,
        older_than=older_than,
        newer_than=newer_than,
        size=LINES_PER_PAGE,
    )


async def videos(
    tx: Transaction, customer_id: int, *, older_than: int | None = None, newer_than: int | None = None
) -> Page[Video]:
    """The customer's newest finished videos, or those next to the video with the given id."""
    return await _page(
        tx,
        # In the order in which they were paid for.
        """
        select max(t.id) as id, g.id as generation_id, o.number as order_number, g.ordinal, o.count, o.template,
               (g.finished_at at time zone 'UTC')::date as day, g.seconds, g.forgotten_at is null as is_kept
          from orders o
          join generations g on g.order_id = o.id
          join transfers t on t.generation_id = g.id and t.kind = 'settle'
         where o.customer_id = %(customer_id)s and g.state = 'completed'
         group by g.id, o.id
        """,
        _video,
        customer_id=customer_id,
        older_than=older_than,
        newer_than=newer_than,
        size=VIDEOS_PER_PAGE,
    )


async def videos_made(tx: Transaction, customer_id: int) -> int:
    """How many videos the customer has."""
    cursor = await tx.execute(
        "select count(*) from orders o join generations g on g.order_id = o.id"
        " where o.customer_id = %s and g.state = 'completed'",
        [customer_id],
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


class Kept(StrEnum):
    """Whether a finished video can be sent once more."""

    YES = "yes"
    NO_MORE = "no_more"
    """It was made, and removed when it had become old."""


async def kept(tx: Transaction, customer_id: int, generation_id: UUID) -> Kept | None:
    """Whether this finished video is still kept; None when there is none, or it is another customer's."""
    cursor = await tx.execute(
        "select forgotten_at is null from generations where id = %s and customer_id = %s and state = 'completed'",
        [generation_id, customer_id],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return Kept.YES if row[0] else Kept.NO_MORE


async def _page(
    tx: Transaction,
    items: str,
    read: Callable[..., Item],
    *,
    customer_id: int,
    older_than: int | None,
    newer_than: int | None,
    size: int,
) -> Page[Item]:
    """A page of `items`, a query whose rows have an id. Whatever is asked for, there is a page."""

    def counted(*, newer: int, total: int, **columns: Any) -> tuple[int, int, Item]:  # Any: a row of `items`
        return newer, total, read(**columns)

    # One statement, so that the counts and the rows are of one moment. An id can be any number somebody made up.
    cursor = tx.cursor(row_factory=kwargs_row(counted))
    await cursor.execute(
        f"""
        with items as materialized ({items}),
        start as (
            select count(*) as total,
                   greatest(0, least(count(*) - 1, case
                       when %(older_than)s::numeric is not null
                           then count(*) filter (where id >= %(older_than)s::numeric)
                       when %(newer_than)s::numeric is not null
                           then count(*) filter (where id > %(newer_than)s::numeric) - %(size)s
                       else 0 end)) as newer
              from items
        )
        select start.newer, start.total, items.*
          from items cross join start
         order by items.id desc
        offset (select newer from start) limit %(size)s
        """.encode(),
        {"customer_id": customer_id, "older_than": older_than, "newer_than": newer_than, "size": size},
    )
    rows = await cursor.fetchall()
    if not rows:
        return Page([], 0, 0, size)
    newer, total, _ = rows[0]
    return Page([item for *_, item in rows], newer, total - newer - len(rows), size)


def _line(
    *,
    kind: str,
    order_number: int | None,
    ordinal: int,
    count: int,
    **columns: Any,  # Any: the rest of a row, typed by the columns selected above
) -> Line:
    video = None if order_number is None else VideoNumber(order_number, ordinal, count)
    return Line(kind=LineKind(kind), video=video, **columns)


def _video(*, order_number: int, ordinal: int, count: int, **columns: Any) -> Video:  # Any: as above
    return Video(number=VideoNumber(order_number, ordinal, count), **columns)

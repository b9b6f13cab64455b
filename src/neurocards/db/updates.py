"""The inbox: every update of Telegram is stored once before anything else happens, then handled in order per person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from neurocards.db.connection import Transaction


@dataclass(frozen=True)
class Incoming:
    """An update as it came. `person` is whose turn it takes; `urgent` ones (taps) go before messages."""

    id: int
    person: int
    urgent: bool
    body: dict[str, Any]  # Any: Telegram's JSON, typed by aiogram when it is handled


@dataclass(frozen=True)
class Update:
    """A claimed update. `attempt` is numbered from 1; `deaths` of those who handled it; `lease_number` is this claim's.

    `waited_seconds` is how long ago it was received.
    """

    id: int
    person: int
    body: dict[str, Any]  # Any: as above
    attempt: int
    deaths: int
    lease_number: int
    waited_seconds: float

    @property
    def repeated(self) -> bool:
        """Whether somebody may have handled it before, wholly or in part."""
        return self.lease_number > 1


@dataclass(frozen=True)
class Album:
    """What of an album was received before one of its messages; `pictures` as message id and date (Unix time)."""

    messages: int
    pictures: list[tuple[int, int]]


@dataclass(frozen=True)
class Words:
    """A text message."""

    text: str
    message_id: int


async def store(tx: Transaction, incoming: Sequence[Incoming]) -> int:
    """Store updates; one that is known already changes nothing. Returns how many were new."""
    cursor = await tx.execute(
        """
        insert into updates (id, person, urgent, body)
        select * from unnest(%s::bigint[], %s::bigint[], %s::boolean[], %s::jsonb[])
        on conflict (id) do nothing
        """,
        [
            [update.id for update in incoming],
            [update.person for update in incoming],
            [update.urgent for update in incoming],
            [Jsonb(update.body) for update in incoming],
        ],
    )
    return cursor.rowcount


async def claim(tx: Transaction, *, limit: int, lease_seconds: float) -> list[Update]:
    """Take the next update of up to `limit` people: taps first, else the oldest; one at a time per person.

    A lease that ran out counts as a death: whoever held it may have died of this very update.
    """
    cursor = tx.cursor(row_factory=class_row(Update))
    await cursor.execute(
        """
        with next as materialized (
            select u.id
              from updates u
             where u.state in ('pending', 'handling')
               and (u.state = 'pending' or u.lease_expires_at < clock_now())
               and u.handle_at <= clock_now()
               and not exists (
                   select from updates other
                    where other.person = u.person and other.state in ('pending', 'handling') and other.id <> u.id
                      and (other.state = 'handling' and other.lease_expires_at >= clock_now()
                           or (not other.urgent, other.id) < (not u.urgent, u.id)))
             order by u.urgent desc, u.id
             limit %(limit)s
               for update skip locked
        )
        update updates
           set state = 'handling', lease_number = lease_number + 1,
               deaths = deaths + case when state = 'handling' then 1 else 0 end,
               lease_expires_at = clock_now() + make_interval(secs => %(lease_seconds)s)
          from next
         where updates.id = next.id
        returning updates.id, person, body, attempt, deaths, lease_number,
                  extract(epoch from clock_now() - received_at)::double precision as waited_seconds
        """,
        {"limit": limit, "lease_seconds": lease_seconds},
    )
    return await cursor.fetchall()


async def finish(tx: Transaction, handled: Sequence[Update]) -> None:
    """These updates are handled."""
    await tx.execute(
        """
        update updates
           set state = 'handled', handled_at = clock_now(), lease_expires_at = null
          from unnest(%s::bigint[], %s::bigint[]) done (id, number)
         where updates.id = done.id and lease_number = done.number and state = 'handling'
        """,
        [[update.id for update in handled], [update.lease_number for update in handled]],
    )


async def bury(tx: Transaction, update: Update, *, failure: str) -> None:
    """Give the update up after failing again and again; the person's other updates go on."""
    await tx.execute(
        """
        update updates
           set state = 'dead', failure = %(failure)s, handled_at = clock_now(), lease_expires_at = null
         where id = %(id)s and lease_number = %(number)s and state = 'handling'
        """,
        {"failure": failure[:500], "id": update.id, "number": update.lease_number},
    )


async def revive(tx: Transaction, update_id: int) -> bool:
    """Handle a dead update once more, as if it had just come in; False when there is no dead one with this id."""
    cursor = await tx.execute(
        "update updates set state = 'pending', attempt = 1, deaths = 0, handle_at = clock_now(),"
        " received_at = clock_now(), handled_at = null where id = %s and state = 'dead'",
        [update_id],
    )
    return cursor.rowcount == 1


async def put_back(
    tx: Transaction, update: Update, *, seconds: float, failure: str | None, spends_attempt: bool
) -> None:
    """Handle it again later; the person's other updates wait behind it. No failure: we are only shutting down."""
    await tx.execute(
        """
        update updates
           set state = 'pending', attempt = attempt + %(spent)s, failure = coalesce(%(failure)s, failure),
               lease_expires_at = null, handle_at = clock_now() + make_interval(secs => %(seconds)s)
         where id = %(id)s and lease_number = %(number)s and state = 'handling'
        """,
        {
            "spent": int(spends_attempt),
            "failure": failure[:500] if failure else None,
            "seconds": seconds,
            "id": update.id,
            "number": update.lease_number,
        },
    )


async def album_before(tx: Transaction, update_id: int, person: int, album: str) -> Album:
    """What of a person's album came in before this update."""
    # An album is sent at once: its updates lie close together, whatever other people write at the same time.
    cursor = tx.cursor(row_factory=class_row(Album))
    await cursor.execute(
        """
        select count(*) as messages,
               coalesce(
                   jsonb_agg(jsonb_build_array(body->'message'->'message_id', body->'message'->'date') order by id)
                   filter (where body->'message' ?| array['photo', 'document']), '[]') as pictures
          from updates
         where id between %(id)s - 1000 and %(id)s - 1 and person = %(person)s
           and body->'message'->>'media_group_id' = %(album)s
        """,
        {"id": update_id, "person": person, "album": album},
    )
    found = await cursor.fetchone()
    if found is None:
        raise LookupError("counting gave no answer")
    return found


async def words_just_before(tx: Transaction, update_id: int, person: int, *, since: datetime) -> Words | None:
    """The text message that came in right before this update and was sent with it; None if there is none.

    Of a post that is forwarded with a comment, the comment comes first.
    """
    cursor = tx.cursor(row_factory=class_row(Words))
    await cursor.execute(
        """
        select text, message_id
          from (select body->'message'->>'text' as text, (body->'message'->>'message_id')::bigint as message_id,
                       (body->'message'->>'date')::bigint as sent
                  from updates
                 where id between %(id)s - 1000 and %(id)s - 1 and person = %(person)s
                 order by id desc limit 1) last
         where text is not null and text not like '/%%' and sent >= extract(epoch from %(since)s::timestamptz)
        """,
        {"id": update_id, "person": person, "since": since},
    )
    return await cursor.fetchone()


async def prune(tx: Transaction, *, older_than: timedelta, limit: int = 5000) -> int:
    """Forget handled updates. Telegram's numbers may start anew after a quiet week, so old ones must not block."""
    cursor = await tx.execute(
        "delete from updates where id in (select id from updates"
        " where state = 'handled' and handled_at < clock_now() - %s limit %s)",
        [older_than, limit],
    )
    return cursor.rowcount

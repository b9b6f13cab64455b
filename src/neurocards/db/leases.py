"""What jobs and notices share: a time-limited right to work on a row, numbered anew at each claim."""

from collections.abc import Collection
from typing import Protocol

from neurocards.db.connection import Transaction


class Claimed(Protocol):
    """A row that was claimed under a numbered lease."""

    @property
    def id(self) -> int: ...

    @property
    def lease_number(self) -> int: ...


async def extend(
    tx: Transaction, table: str, held: Collection[Claimed], *, state: str, lease_seconds: float
) -> set[int]:
    """The heartbeat: extend the leases of held rows, which are in `state`; returns the ids that were still ours."""
    cursor = await tx.execute(
        f"""
        update {table}
           set lease_expires_at = clock_now() + make_interval(secs => %(lease_seconds)s)
          from unnest(%(ids)s::bigint[], %(numbers)s::bigint[]) held (id, number)
         where {table}.id = held.id and lease_number = held.number and state = %(state)s
        returning {table}.id
        """.encode(),
        {
            "ids": [row.id for row in held],
            "numbers": [row.lease_number for row in held],
            "state": state,
            "lease_seconds": lease_seconds,
        },
    )
    return {id for (id,) in await cursor.fetchall()}

"""Traps in a test's own database: whoever writes to a table is cut off, or meets an error, the first few times."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from neurocards.db.connection import Database

Point = Literal["insert", "update", "delete", "commit"]

CUT_OFF = "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(5);"
DISK_FULL = "raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';"
CONFLICT = "raise exception 'could not serialize access' using errcode = 'serialization_failure';"

ALWAYS = 2**31


@asynccontextmanager
async def trap(database: Database, table: str, point: Point, does: str, *, times: int = ALWAYS) -> AsyncIterator[None]:
    """Inside, the first `times` rows that are written there meet what the trap does. "commit" is after an insert."""
    trigger = (
        f"create constraint trigger trap after insert on {table} deferrable initially deferred"
        if point == "commit"
        else f"create trigger trap before {point} on {table}"
    )
    async with database.transaction() as tx:
        await tx.execute(
            f"""
            -- A sequence counts on whatever is rolled back.
            create sequence trapped;
            create function spring() returns trigger language plpgsql security definer as $$ begin
                if nextval('trapped') <= {times} then {does} end if;
                return coalesce(new, old);
            end $$;
            {trigger} for each row execute function spring();
            """.encode()
        )
    try:
        yield
    finally:
        async with database.transaction() as tx:
            await tx.execute(f"drop trigger trap on {table}; drop function spring(); drop sequence trapped".encode())


async def sprung(database: Database) -> int:
    """How often the trap was stepped into."""
    async with database.transaction() as tx:
        row = await (await tx.execute("select last_value * is_called::int from trapped")).fetchone()
    assert row is not None
    return int(row[0])

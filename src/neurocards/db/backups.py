"""Which backups were made, and which of them were restored elsewhere and found sound."""

from datetime import datetime

from neurocards.db.connection import Transaction


async def record(tx: Transaction, *, location: str, size_bytes: int, sha256: str) -> int:
    """Write down a backup that is safely in its place; returns its id."""
    cursor = await tx.execute(
        "insert into backups (location, size_bytes, sha256) values (%s, %s, %s) returning id",
        [location, size_bytes, sha256],
    )
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("the backup was not written down")
    return int(row[0])


async def known(tx: Transaction, location: str) -> bool:
    """Whether this backup was written down; one of a database that is gone was not."""
    cursor = await tx.execute("select exists (select from backups where location = %s)", [location])
    return await cursor.fetchone() == (True,)


async def checked(tx: Transaction, location: str, *, failure: str | None) -> None:
    """Write down how a trial restore went; `failure` is None when the restored books were sound."""
    await tx.execute(
        "update backups set checked_at = clock_now(), failure = %s where location = %s", [failure, location]
    )


async def last_proved(tx: Transaction) -> str | None:
    """Where the newest backup lies that was proved to be restorable; None when none ever was."""
    cursor = await tx.execute(
        "select location from backups where checked_at is not null and failure is null order by id desc limit 1"
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def last_verified(tx: Transaction) -> datetime | None:
    """When a backup was last proved to be restorable; None when none ever was."""
    cursor = await tx.execute("select max(checked_at) from backups where failure is null")
    row = await cursor.fetchone()
    return None if row is None else row[0]

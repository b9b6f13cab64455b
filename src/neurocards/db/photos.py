"""Telegram's own copies of the photos in our store: a shortcut, and nothing is lost with it."""

from neurocards.db.connection import Transaction


async def file_id(tx: Transaction, key: str) -> str | None:
    """The id under which Telegram has this photo, if it has one."""
    cursor = await tx.execute("select file_id from photos where key = %s", [key])
    row = await cursor.fetchone()
    return row[0] if row else None


async def keep_file_id(tx: Transaction, key: str, file_id: str) -> None:
    """Remember Telegram's copy of a photo."""
    await tx.execute(
        "insert into photos (key, file_id) values (%s, %s) on conflict (key) do update set file_id = excluded.file_id",
        [key, file_id],
    )


async def forget(tx: Transaction, key: str) -> bool:
    """Forget a photo that a draft leaves behind; False when an order or a draft still needs it."""
    cursor = await tx.execute(
        "select exists (select from orders where photo_key = %(key)s or second_photo_key = %(key)s)"
        " or exists (select from drafts where photo_key = %(key)s or second_photo_key = %(key)s)",
        {"key": key},
    )
    if await cursor.fetchone() == (True,):
        return False
    await tx.execute("delete from photos where key = %s", [key])
    return True

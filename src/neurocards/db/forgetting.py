"""What is personal is forgotten when it is old; see the functions in the migrations."""

from collections.abc import Sequence

from neurocards.db.connection import Transaction


async def words(tx: Transaction, *, days: int, limit: int) -> int:
    """Forget photos, words and prompts of orders that ended so long ago, and old drafts; returns how many."""
    return await _forget(tx, "select forget_words(make_interval(days => %s), %s)", days, limit)


async def videos(tx: Transaction, *, days: int, limit: int) -> int:
    """Forget what was made by generations that ended so long ago; returns how many."""
    return await _forget(tx, "select forget_videos(make_interval(days => %s), %s)", days, limit)


async def to_delete(tx: Transaction, *, limit: int) -> Sequence[tuple[str, bool]]:
    """Objects and folders (with a slash behind) that have to leave the store; and whether somebody wants them again."""
    cursor = await tx.execute(
        "select key, photo_is_wanted(key) from media_to_delete order by queued_at, key limit %s", [limit]
    )
    return await cursor.fetchall()


async def deleted(tx: Transaction, keys: Sequence[str]) -> None:
    """They have left the store."""
    await tx.execute("delete from media_to_delete where key = any(%s)", [list(keys)])


async def strays(tx: Transaction, keys: Sequence[str]) -> Sequence[str]:
    """Those of these objects that belong to no order and no draft."""
    cursor = await tx.execute(
        """
        select key from unnest(%s::text[]) key
         where case when starts_with(key, 'photos/') then not photo_is_wanted(key)
                    when key ~ '^videos/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/'
                        then not exists (select from generations where id = split_part(key, '/', 2)::uuid) end
        """,
        [list(keys)],
    )
    return [key for (key,) in await cursor.fetchall()]


async def _forget(tx: Transaction, question: str, days: int, limit: int) -> int:
    cursor = await tx.execute(question.encode(), [days, limit])
    row = await cursor.fetchone()
    return int(row[0]) if row else 0

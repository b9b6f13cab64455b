"""What is personal is kept no longer than it has to be: photos and words for a while, videos for a longer one.

First the books forget, then the store: what is to be deleted is on record until it is. What customers paid stays.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from neurocards.db import forgetting, generations
from neurocards.db.connection import Database
from neurocards.domain.failures import Failure
from neurocards.storage import Store

BATCH = 200

log = structlog.get_logger()


@dataclass(frozen=True)
class Forgotten:
    """What one turn did."""

    words: int
    """Orders, drafts and dead updates whose words and photos went."""
    videos: int
    objects: int
    """Names that were deleted from the store."""

    @property
    def total(self) -> int:
        return self.words + self.videos + self.objects


async def turn(database: Database, store: Store, *, photo_days: int, video_days: int) -> Forgotten:
    """Forget a batch of each; returns what was done. Whatever a store that is away keeps goes at a later turn."""
    words = await database.run(lambda tx: forgetting.words(tx, days=photo_days, limit=BATCH))
    videos = await database.run(lambda tx: forgetting.videos(tx, days=video_days, limit=BATCH))
    done = Forgotten(words, videos, await _delete(database, store))
    if done.total:
        log.info("forgotten", words=done.words, videos=done.videos, objects=done.objects)
    return done


async def sweep(database: Database, store: Store, *, photo_days: int, video_days: int) -> int:
    """Delete what is old in the store and in no row: replaced photos, videos of orders that a restore has lost.

    Returns how many objects that were. A store that is away is swept another time.
    """
    now = await database.run(generations.clock)
    try:
        strays = await _strays(database, store, "photos", before=now - timedelta(days=photo_days))
        strays += await _strays(database, store, "videos", before=now - timedelta(days=video_days))
        for key in strays:
            await store.delete(key)
    except Failure as failure:
        log.warning("media_not_swept", failure=str(failure))
        return 0
    if strays:
        log.info("swept", objects=len(strays))
    return len(strays)


async def _strays(database: Database, store: Store, folder: str, *, before: datetime) -> list[str]:
    strays: list[str] = []
    old: list[str] = []

    async def ask() -> None:
        strays.extend(await database.run(lambda tx: forgetting.strays(tx, old)))
        old.clear()

    async for one in store.list(folder):
        if one.changed_at is not None and one.changed_at < before:
            old.append(one.key)
        if len(old) >= BATCH:
            await ask()
    await ask()
    return strays


async def _delete(database: Database, store: Store) -> int:
    queued = await database.run(lambda tx: forgetting.to_delete(tx, limit=BATCH))
    done: list[str] = []
    try:
        for key, is_wanted in queued:
            # An order may have been begun from the same photo meanwhile.
            if not is_wanted:
                await _leave(store, key)
            done.append(key)
    except Failure as failure:
        log.warning("media_not_deleted", failure=str(failure))
    if done:
        await database.run(lambda tx: forgetting.deleted(tx, done))
    return len(done)


async def _leave(store: Store, key: str) -> None:
    if not key.endswith("/"):
        await store.delete(key)
        return
    async for one in store.list(key.removesuffix("/")):
        await store.delete(one.key)

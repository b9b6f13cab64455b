"""What is personal is kept no longer than it has to be: photos and words for a while, videos for a longer one.

First the books forget, then the store: what is to be deleted is on record until it is. What customers paid stays.
"""

from dataclasses import dataclass

import structlog

from neurocards.db import forgetting
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

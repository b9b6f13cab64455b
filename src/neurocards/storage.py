"""One object store for photos and videos: a folder by default, S3 by settings. Nothing large is held in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

from obstore.store import LocalStore, ObjectStore, from_url

CHUNK_BYTES = 1024 * 1024


class Store:
    """Objects by key. Keys are made by us, never by a customer. A finished put is whole or absent."""

    def __init__(self, backend: ObjectStore) -> None:
        self._backend = backend

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store bytes, or a file's content in parts."""
        await self._backend.put_async(key, content)

    async def get(self, key: str) -> bytes:
        """The whole object; for photos, not for videos. Raises FileNotFoundError."""
        result = await self._backend.get_async(key)
        return bytes(await result.bytes_async())

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The object in chunks of about a megabyte. Raises FileNotFoundError."""
        result = await self._backend.get_async(key)
        async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    async def size(self, key: str) -> int | None:
        """Bytes stored under the key, or None when there is nothing."""
        try:
            facts = await self._backend.head_async(key)
        except FileNotFoundError:
            return None
        return facts["size"]

    async def delete(self, key: str) -> None:
        """Remove the object; it may be gone already."""
        try:
            await self._backend.delete_async(key)
        except FileNotFoundError:
            return


def open_store(url: str | None, home: Path) -> Store:
    """The store at the address (s3://, file://), or the default folder below `home`."""
    if url is None:
        return Store(LocalStore(home / "store", mkdir=True))
    return Store(from_url(url))

"""One object store for photos and videos: a folder by default, S3 by settings. Nothing large is held in memory.

A store that does not answer raises Failure (an outage: it costs nobody an attempt), a missing object FileNotFoundError.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from neurocards.domain.failures import Failure, FailureKind, Reason

CHUNK_BYTES = 1024 * 1024


class Store:
    """Objects by key. Keys are made by us, never by a customer. A finished put is whole or absent."""

    def __init__(self, backend: ObjectStore) -> None:
        self._backend = backend

    async def put(self, key: str, content: bytes | Path) -> None:
        """Store bytes, or a file's content in parts."""
        with _translated():
            await self._backend.put_async(key, content)

    async def get(self, key: str) -> bytes:
        """The whole object; for photos, not for videos. Raises FileNotFoundError."""
        with _translated():
            result = await self._backend.get_async(key)
            return bytes(await result.bytes_async())

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The object in chunks of about a megabyte. Raises FileNotFoundError."""
        with _translated():
            result = await self._backend.get_async(key)
            async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    async def size(self, key: str) -> int | None:
        """Bytes stored under the key, or None when there is nothing."""
        try:
            with _translated():
                return (await self._backend.head_async(key))["size"]
        except FileNotFoundError:
            return None

    async def delete(self, key: str) -> None:
        """Remove the object; it may be gone already."""
        with suppress(FileNotFoundError), _translated():
            await self._backend.delete_async(key)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise Failure(FailureKind.OUTAGE, Reason.INTERNAL, f"store: {type(error).__name__}") from error


def open_store(url: str | None, home: Path) -> Store:
    """The store at the address (s3://, file://), or the default folder below `home`."""
    if url is None:
        return Store(LocalStore(home / "store", mkdir=True))
    return Store(from_url(url))

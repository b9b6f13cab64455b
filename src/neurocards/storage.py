"""One object store for photos and videos: a folder by default, S3 by settings. Nothing large is held in memory.

A store that does not answer raises Failure (an outage: it costs nobody an attempt), a missing object FileNotFoundError.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from neurocards.domain.failures import Failure, FailureKind, Reason

CHUNK_BYTES = 1024 * 1024

PARTS_AT_ONCE = 2
"""Parts of one object under way together; each is held in memory (5 MB)."""


@dataclass(frozen=True)
class Stored:
    """An object as the store lists it; `mark` changes with its content (an ETag), `changed_at` is the store's time."""

    key: str
    size_bytes: int
    mark: str
    changed_at: datetime | None = None


class BadStore(Exception):
    """There can be no store there; the message is one line for the operator."""


class Store:
    """Objects by key. Keys are made by us, never by a customer. A finished put is whole or absent."""

    def __init__(self, backend: ObjectStore) -> None:
        self._backend = backend

    async def put(self, key: str, content: bytes | Path | AsyncIterator[bytes]) -> None:
        """Store bytes, or a file's or a stream's content in parts. What a stream raises comes through."""
        if isinstance(content, bytes | Path):
            with _translated():
                await self._backend.put_async(key, content)
            return
        broken: list[BaseException] = []
        try:
            with _translated():
                await self._backend.put_async(key, _watched(content, broken), max_concurrency=PARTS_AT_ONCE)
        except Exception:
            if broken:
                raise broken[0] from None
            raise

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

    async def list(self, prefix: str | None = None) -> AsyncIterator[Stored]:
        """Every object, or those in a folder, in no certain order; fetched a thousand at a time."""
        with _translated():
            async for page in self._backend.list(prefix):
                for one in page:
                    yield Stored(one["path"], one["size"], (one["e_tag"] or "").strip('"'), one["last_modified"])

    async def delete(self, key: str) -> None:
        """Remove the object; it may be gone already."""
        with suppress(FileNotFoundError), _translated():
            await self._backend.delete_async(key)


async def _watched(content: AsyncIterator[bytes], broken: list[BaseException]) -> AsyncIterator[bytes]:
    """The stream; what it raises is kept, since the store would tell of it in words of its own."""
    try:
        async for part in content:
            yield part
    except Exception as error:
        broken.append(error)
        raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise Failure(FailureKind.OUTAGE, Reason.INTERNAL, f"store: {type(error).__name__}") from error


def open_store(url: str | None, home: Path) -> Store:
    """The store at the address (s3://, file://), or the default folder below `home`. Raises BadStore."""
    try:
        if url is None:
            return Store(LocalStore(home / "store", mkdir=True))
        return Store(from_url(url))
    except (BaseError, OSError, ValueError) as error:
        place = f"NEUROCARDS_HOME: {home / 'store'}" if url is None else "STORE_URL"
        # Of the library's words the first line: the others are its own view of itself.
        raise BadStore(f"{place} cannot be the store: {str(error).splitlines()[0]}") from error


def file_store(folder: Path) -> Store:
    """A folder as a store; it is made, for us alone, when it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Store(LocalStore(folder))

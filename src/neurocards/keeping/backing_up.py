"""Backups: the database and the list of what the store holds, as one sealed stream in a place of its own.

What is inside reads like a message: a line about the backup, a line for each stored object, an empty line, and then the
database as pg_dump writes it. Whatever its size, it passes through in pieces.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from neurocards import __version__
from neurocards.db import backups, dumps
from neurocards.db.connection import Database
from neurocards.db.dumps import Moment
from neurocards.sealing import opened, sealed
from neurocards.storage import Store, Stored, file_store

FORMAT = 1
LONGEST_LINE = 64 * 1024
_NAME = re.compile(r"neurocards-(\d{8}T\d{6}Z)\.backup")

log = structlog.get_logger()


class NoBackup(Exception):
    """There is no such backup, or it cannot be read; the message is for an operator."""


@dataclass(frozen=True)
class Place:
    """Where backups lie, and how that is called in records."""

    store: Store
    address: str

    def location(self, name: str) -> str:
        """The backup of this name, as it is recorded."""
        return f"{self.address}/{name}"


@dataclass(frozen=True)
class Made:
    """A backup that is safely in its place."""

    location: str
    size_bytes: int
    sha256: str
    media: int
    media_bytes: int
    forgotten: int
    """How many old backups were removed."""


@dataclass(frozen=True)
class Head:
    """What a backup says of itself."""

    made_at: datetime
    migrations: tuple[str, ...]
    server: int


@dataclass
class Backup:
    """A backup as it is read: its head, what the store held, and then its database, once and in this order."""

    head: Head
    media: AsyncIterator[Stored]
    archive: AsyncIterator[bytes]


@dataclass
class Watch:
    """What somebody at a terminal is told meanwhile."""

    on_media: Callable[[int], None] = lambda _: None
    on_bytes: Callable[[int], None] = lambda _: None


@dataclass
class _Tally:
    media: int = 0
    media_bytes: int = 0
    size_bytes: int = 0
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)


async def back_up(
    dsn: str, database: Database, store: Store, place: Place, *, key: bytes, keep: timedelta, watch: Watch
) -> Made:
    """Make a backup, record it, and remove those older than `keep`. Until it is whole it does not exist.

    Raises DumpError, or Failure when a store is away.
    """
    tally = _Tally()
    async with dumps.one_moment(dsn) as moment:
        name = f"neurocards-{moment.taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.backup"
        # Closed whatever happens: no pg_dump goes on for a place that is away.
        async with aclosing(_content(dsn, moment, store, tally, watch)) as content:
            await place.store.put(name, _tallied(sealed(content, key), tally))
    location, digest = place.location(name), tally.sha256.hexdigest()
    await database.run(lambda tx: backups.record(tx, location=location, size_bytes=tally.size_bytes, sha256=digest))
    proved = await database.run(backups.last_proved)
    forgotten = await _prune(place, older_than=moment.taken_at - keep, spared=proved)
    log.info("backup_made", location=location, size_bytes=tally.size_bytes, media=tally.media, forgotten=forgotten)
    return Made(location, tally.size_bytes, digest, tally.media, tally.media_bytes, forgotten)


async def latest(place: Place) -> str:
    """The name of the newest backup; raises NoBackup."""
    names = [one.key async for one in place.store.list() if _NAME.fullmatch(one.key)]
    if not names:
        raise NoBackup(f"there is no backup in {place.address}: neurocards backup makes one")
    return max(names)


async def find(place: Place, named: str) -> "Found":
    """The backup of this name in its place, the one in this file, or the latest; raises NoBackup."""
    if named == "latest":
        named = await latest(place)
    if _NAME.fullmatch(named) and await place.store.size(named) is not None:
        return Found(place.location(named), place.store.stream(named))
    file = await asyncio.to_thread(_file, named)
    if file is not None:
        return Found(str(file), file_store(file.parent).stream(file.name))
    raise NoBackup(f"there is no backup {named}, neither as a file nor in {place.address}")


def _file(named: str) -> Path | None:
    path = Path(named).absolute()
    return path if path.is_file() else None


class Found:
    """A backup that is there, sealed."""

    def __init__(self, location: str, stream: AsyncIterator[bytes]) -> None:
        self.location = location
        self._tally = _Tally()
        self._stream = _tallied(stream, self._tally)

    @property
    def size_bytes(self) -> int:
        """How much of it was read so far: in the end, all of it."""
        return self._tally.size_bytes

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._tally.sha256.hexdigest()

    async def open(self, key: bytes) -> Backup:
        """What is inside, once; raises CannotOpen, or NoBackup where it is something else."""
        lines = _Lines(opened(self._stream, key))
        first = await lines.next()
        try:
            head = json.loads(first)
            if head["format"] != FORMAT:
                raise NoBackup(f"it was made by a later version of neurocards ({head['neurocards']})")
            about = Head(datetime.fromisoformat(head["made_at"]), tuple(head["migrations"]), int(head["server"]))
        except (ValueError, KeyError, TypeError) as error:
            raise NoBackup("it does not say what it is") from error
        return Backup(about, _media(lines), lines.rest())


async def _content(dsn: str, moment: Moment, store: Store, tally: _Tally, watch: Watch) -> AsyncGenerator[bytes, None]:
    yield _line(
        {
            "neurocards": __version__,
            "format": FORMAT,
            "made_at": moment.taken_at.isoformat(),
            "server": moment.server,
            "migrations": list(moment.migrations),
        }
    )
    async for one in store.list():
        tally.media += 1
        tally.media_bytes += one.size_bytes
        watch.on_media(tally.media)
        yield _line({"key": one.key, "size": one.size_bytes, "mark": one.mark})
    yield b"\n"
    async with aclosing(dumps.dump(dsn, moment)) as chunks:
        async for chunk in chunks:
            watch.on_bytes(len(chunk))
            yield chunk


async def _tallied(stream: AsyncIterator[bytes], tally: _Tally) -> AsyncIterator[bytes]:
    async for piece in stream:
        tally.size_bytes += len(piece)
        tally.sha256.update(piece)
        yield piece


async def _prune(place: Place, *, older_than: datetime, spared: str | None) -> int:
    """Remove old backups, by the time in their names: whatever else lies there is somebody else's.

    The last one that was proved stays until another one is: those after it may be worth nothing.
    """
    old = [
        one.key
        async for one in place.store.list()
        if (name := _NAME.fullmatch(one.key))
        and datetime.strptime(name[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) < older_than
        and place.location(one.key) != spared
    ]
    for key in old:
        await place.store.delete(key)
    return len(old)


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


async def _media(lines: "_Lines") -> AsyncIterator[Stored]:
    while line := await lines.next():
        one = json.loads(line)
        yield Stored(one["key"], one["size"], one["mark"])


class _Lines:
    """A stream that begins with lines and goes on with something else."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self._held = bytearray()

    async def next(self) -> bytes:
        """The next line without its end."""
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if searched > LONGEST_LINE:
                raise NoBackup("the backup has a line without an end")
            try:
                self._held += await anext(self._stream)
            except StopAsyncIteration:
                raise NoBackup("the backup ends in its list of media") from None
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    async def rest(self) -> AsyncIterator[bytes]:
        """Whatever comes behind the lines read."""
        yield bytes(self._held)
        self._held.clear()
        async for part in self._stream:
            yield part

"""One bot and some workers, hired from the nursery and replaced as soon as they are gone."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurocards import processes

READY_SECONDS = 60.0
GRACE_SECONDS = 35.0
"""Longer than bot and workers let what they have begun finish."""

NO_DATABASE = "neurocards: the database does not answer"
"""What a process says that ends because it finds none at its start; whoever watches over it starts it again."""

REHIRE_SECONDS = 0.2

Json = dict[str, Any]  # Any: what one line of the nursery holds


class CrewError(Exception):
    """The nursery did not start, or has ended; the message names its log."""


@dataclass
class Post:
    """One place in the crew and who fills it; `pid` is None for the moment between an end and the next hire."""

    name: str
    role: str
    pid: int | None = None
    hired_at: float = 0.0
    stopped: bool = False
    log_bytes: int = 0
    """How long the log of the post was when they came."""
    condemned: bool = False
    """Whether the one in it has been told to end, in one way or another."""
    filled: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Exit:
    """Somebody ended; `status` is the exit status, or minus the signal's number. Times are Unix time in seconds."""

    post: str
    pid: int
    status: int
    asked: bool
    hired_at: float
    ended_at: float


class Crew:
    """Everybody at work. Times are of the monotonic clock."""

    def __init__(self, posts: Mapping[str, str], environment: Mapping[str, str], logs: Path) -> None:
        self.posts = [Post(name, role) for name, role in posts.items()]
        self.exits: list[Exit] = []
        self._environment = dict(environment)
        self._logs = logs
        self._by_pid: dict[int, Post] = {}
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._line: asyncio.StreamWriter | None = None
        self._ready = asyncio.Event()
        self._closing = False

    def standing(self) -> list[Post]:
        """Who can be struck: at work, not stopped, not told to end."""
        return [post for post in self.posts if post.pid is not None and not post.stopped and not post.condemned]

    def listens(self, post: Post) -> bool:
        """Whether they have come so far that they can be asked to end."""
        with self._log(post).open("rb") as log:
            log.seek(post.log_bytes)
            return b'"event": "started"' in log.read()

    async def kill(self, post: Post) -> None:
        """End somebody at once; returns when they are gone and replaced."""
        await self._end(post, signal.SIGKILL)

    async def term(self, post: Post) -> tuple[int, float]:
        """Ask somebody to end; returns the exit status, and after how many seconds. Raises TimeoutError."""
        asked_at = time.monotonic()
        async with asyncio.timeout(GRACE_SECONDS):
            status = await self._end(post, signal.SIGTERM)
        return status, time.monotonic() - asked_at

    async def stop(self, post: Post, seconds: float) -> None:
        """Let somebody stand still for a while; they go on as if nothing had been."""
        pid = post.pid
        post.stopped = True
        self._signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._signal(pid, signal.SIGCONT)
            post.stopped = False

    async def complete(self) -> None:
        """Wait until every post is filled."""
        await asyncio.gather(*(post.filled.wait() for post in self.posts))

    async def leave(self) -> dict[str, int]:
        """Ask everybody to end and replace nobody; returns the exit status by post. Raises TimeoutError."""
        self._closing = True
        await self.complete()
        async with asyncio.timeout(GRACE_SECONDS):
            statuses = await asyncio.gather(*(self._end(post, signal.SIGTERM) for post in self.posts))
        return {post.name: status for post, status in zip(self.posts, statuses, strict=True)}

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be told by the nursery who has come and gone, until it ends."""
        self._line = writer
        try:
            async for line in reader:
                self._heed(json.loads(line))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def open(self) -> None:
        """Fill every post for the first time, as soon as the nursery is ready. Raises TimeoutError."""
        async with asyncio.timeout(READY_SECONDS):
            await self._ready.wait()
            for post in self.posts:
                self._hire(post)
            await self.complete()

    def close(self) -> None:
        """Hang up: the nursery ends, and everybody with it."""
        self._closing = True
        if self._line is not None:
            self._line.close()

    def _heed(self, news: Json) -> None:
        match news:
            case {"ready": True}:
                self._ready.set()
            case {"hired": name, "pid": pid}:
                post = next(one for one in self.posts if one.name == name)
                post.pid, post.hired_at, post.condemned = pid, time.monotonic(), False
                log = self._log(post)
                post.log_bytes = log.stat().st_size if log.exists() else 0
                self._by_pid[pid] = post
                post.filled.set()
            case {"ended": pid, "status": status}:
                post = self._by_pid.pop(pid)
                now = time.time()
                hired_at = now - (time.monotonic() - post.hired_at)
                self.exits.append(Exit(post.name, pid, status, post.condemned, hired_at, now))
                post.pid = None
                post.filled.clear()
                if waiting := self._ends.pop(pid, None):
                    waiting.set_result(status)
                # Who leaves without being told to is not replaced in a busy loop.
                asyncio.get_running_loop().call_later(0 if post.condemned else REHIRE_SECONDS, self._replace, post)

    def _replace(self, post: Post) -> None:
        if not self._closing:
            self._hire(post)

    def _hire(self, post: Post) -> None:
        log = str(self._log(post))
        self._send({"post": post.name, "role": post.role, "environment": self._environment, "log": log})

    def _log(self, post: Post) -> Path:
        return self._logs / f"{post.name}.log"

    async def _end(self, post: Post, how: signal.Signals) -> int:
        if post.pid is None:
            raise CrewError(f"nobody is at {post.name}")
        post.condemned = True
        ended = self._ends[post.pid] = asyncio.get_running_loop().create_future()
        self._signal(post.pid, how)
        status: int = await ended
        return status

    def _signal(self, pid: int | None, number: signal.Signals) -> None:
        if pid is not None:
            self._send({"signal": int(number), "pid": pid})

    def _send(self, what: Json) -> None:
        if self._line is None or self._line.is_closing():
            raise CrewError(f"the nursery has ended; see {self._logs / 'nursery.log'}")
        self._line.write(json.dumps(what).encode() + b"\n")


@asynccontextmanager
async def open_crew(
    posts: Mapping[str, str], environment: Mapping[str, str], photo: Path, *, home: Path, logs: Path
) -> AsyncIterator[Crew]:
    """Start the nursery, which practises with a photo, and fill the posts (role by name).

    Everybody ends with the block. Raises CrewError."""
    crew = Crew(posts, environment, logs)
    address = home / "nursery"
    server = await asyncio.start_unix_server(crew.hear, address)
    with (logs / "nursery.log").open("wb") as log:
        nursery = await asyncio.to_thread(
            processes.start,
            [sys.executable, "-m", "neurocards.storm.nursery", address, photo],
            # Threads of the libraries' own would not survive a fork.
            env={**environment, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            cwd=logs,  # away from a .env file of the real shop
            stdout=log,
            stderr=log,
        )
    try:
        try:
            await crew.open()
        except TimeoutError as error:
            raise CrewError(f"the crew did not start; see {logs / 'nursery.log'}") from error
        yield crew
    finally:
        crew.close()
        server.close()
        await asyncio.to_thread(processes.stop, nursery)

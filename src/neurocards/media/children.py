"""The same work as `photos` and `videos` do, done where a stranger's file can harm nobody.

A few warm children per process, started when they are first needed. One that crashes, takes too much or has done its
share is replaced; what it was doing is tried once more if nothing says that the file is to blame. A child ends with us,
however we end: it sees its line closed. These functions wait, so an asyncio program calls them in threads.
"""

import atexit
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from neurocards.media.child import BrokenLine, Head, Message, receive, send
from neurocards.media.confinement import Limits
from neurocards.media.photos import BadPhoto, PhotoFacts, PhotoFault

if TYPE_CHECKING:
    from neurocards.media.videos import Finished

PHOTO_LIMITS = Limits(cpu_seconds=10, wall_seconds=30.0, memory_bytes=400_000_000, written_bytes=0)
"""The heaviest photo that is admitted takes about a second and less than 300 MB."""
CLIP_LIMITS = Limits(cpu_seconds=120, wall_seconds=240.0, memory_bytes=2_000_000_000, written_bytes=200_000_000)
"""Every frame is decoded, and encoded anew where it must be. Decoders' threads map memory that they do not use."""

MOST_CHILDREN = 4
"""A process works on two photos of its own and on two that it shows, or on two clips, at once."""
WORK_PER_CHILD = 200
"""After so much work a child is replaced: what decoders leak does not add up."""

_ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
"""All that a child is told: no setting and no secret of ours. Few threads and arenas, since both map memory."""

log = structlog.get_logger()


def check_photo(data: bytes) -> PhotoFacts:
    """Decode the whole photo and tell what it is; raises BadPhoto."""
    return PhotoFacts(**_photo_work("check_photo", {}, data)[0])


def compose_frame(data: bytes, *, width: int = 1080, height: int = 1920) -> bytes:
    """The photo as the JPEG a vertical video starts from; raises BadPhoto."""
    return _photo_work("compose_frame", {"width": width, "height": height}, data)[1][0]


def preview(data: bytes, *, longest: int = 768) -> bytes:
    """A small JPEG of the photo; raises BadPhoto."""
    return _photo_work("preview", {"longest": longest}, data)[1][0]


def finish_clip(
    source: Path, target: Path, *, seconds: float, min_width: int, min_height: int, most_bytes: int
) -> "Finished":
    """Check a clip that came in and make what is delivered of it; raises BadClip, or OSError for our own disk."""
    from neurocards.media.videos import BadClip, ClipFacts, ClipFault, Finished  # noqa: PLC0415 (the bot has no clips)

    asked: Head = {
        "source": str(source.absolute()),
        "target": str(target.absolute()),
        "seconds": seconds,
        "min_width": min_width,
        "min_height": min_height,
        "most_bytes": most_bytes,
    }
    try:
        facts, (cover, thumbnail) = _CHILDREN.work("finish_clip", asked, [], CLIP_LIMITS)
    except Refused as refused:
        raise BadClip(ClipFault(refused.code), refused.detail) from None
    except TooHeavy as heavy:
        raise BadClip(ClipFault.TOO_HEAVY, str(heavy)) from None
    return Finished(ClipFacts(**facts), cover, thumbnail)


def warm_up(count: int = 1) -> None:
    """Start children before they are needed; does not wait for them."""
    _CHILDREN.warm_up(count)


def try_one() -> bool:
    """Whether a child that starts now is sealed; raises OSError, Lost or TooHeavy if it does not work at all."""
    child = Child()
    try:
        head, _ = child.work("check_photo", {}, [b""], PHOTO_LIMITS)
    finally:
        child.end()
    return head.get("sealed") is True


def _photo_work(work: str, asked: Head, data: bytes) -> Message:
    try:
        return _CHILDREN.work(work, asked, [data], PHOTO_LIMITS)
    except Refused as refused:
        raise BadPhoto(PhotoFault(refused.code), refused.detail) from None
    except TooHeavy as heavy:
        raise BadPhoto(PhotoFault.TOO_HEAVY, str(heavy)) from None


# The children ---------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """What the child was given cannot be used; `code` says why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class TooHeavy(Exception):
    """The work took more than it may take, or ended the child that did it, twice."""


class Children:
    """A few children, each doing one piece of work at a time. May be used by many threads."""

    def __init__(self, *, most: int) -> None:
        self._turns = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._free: list[Child] = []
        self._told_unsealed = False

    def work(self, work: str, asked: Head, parts: Sequence[bytes], limits: Limits) -> Message:
        """Have it done; raises Refused, TooHeavy, OSError as the work itself does, or RuntimeError for our mistakes."""
        with self._turns:
            child = self._taken()
            try:
                head, made = child.work(work, asked, parts, limits)
            except Lost as lost:
                log.warning("media_child_ended", work=work, status=lost.status)
                child = Child()
                try:
                    head, made = child.work(work, asked, parts, limits)
                except Lost as again:
                    log.warning("media_child_ended", work=work, status=again.status)
                    if again.status >= 0:  # it left by itself: that is between it and us
                        raise OSError(f"a media child ended with status {again.status}") from None
                    raise TooHeavy(f"ends its process with signal {-again.status}") from None
            self._given_back(child, head)
            return _read(head, made)

    def warm_up(self, count: int) -> None:
        """Let at least `count` children be there, or be starting."""
        with self._lock:
            while len(self._free) < count:
                self._free.append(Child())

    def close(self) -> None:
        """End all that do nothing."""
        with self._lock:
            free, self._free = self._free, []
        for child in free:
            child.end()

    def _taken(self) -> "Child":
        """The one that worked last: it is warm. One that was killed while it did nothing is nobody's fault."""
        while True:
            with self._lock:
                child = self._free.pop() if self._free else None
            if child is None:
                return Child()
            if child.alive:
                return child
            child.end()

    def _given_back(self, child: "Child", head: Head) -> None:
        if not head.get("sealed") and not self._told_unsealed:
            self._told_unsealed = True
            log.warning("media_children_not_sealed", why="this system has no seccomp: they could open connections")
        if child.worn or not head.keys() & {"made", "bad", "errno"}:
            child.end()
            return
        with self._lock:
            self._free.append(child)


class Lost(Exception):
    """The child ended without an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a media child ended with status {status}")
        self.status = status


class Child:
    """One process and our end of its line."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            try:
                self.process: subprocess.Popen[bytes] = subprocess.Popen(
                    [sys.executable, "-P", "-m", "neurocards.media.child"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_ENVIRONMENT,
                    cwd="/",
                )
            except BaseException:
                self._line.close()
                raise
        self._done = 0

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def worn(self) -> bool:
        return self._done >= WORK_PER_CHILD

    def work(self, work: str, asked: Head, parts: Sequence[bytes], limits: Limits) -> Message:
        """Its answer as it is; raises Lost, or TooHeavy. After either the child is gone."""
        self._done += 1
        until = time.monotonic() + limits.wall_seconds
        try:
            self._line.settimeout(limits.wall_seconds)
            send(self._line, {**asked, "work": work, "limits": asdict(limits)}, parts)
            return receive(self._line, until=until)
        except TimeoutError:
            self.end()
            raise TooHeavy(f"takes more than {limits.wall_seconds:.0f} s") from None
        except (BrokenLine, OSError):
            status = self.end(kill=False)
            if status == -signal.SIGXCPU:
                raise TooHeavy(f"takes more than {limits.cpu_seconds} s of work") from None
            raise Lost(status) from None
        except BaseException:
            self.end()
            raise

    def end(self, *, kill: bool = True) -> int:
        """End it now; its exit status. One that says what nobody understands has hung up as far as we are concerned."""
        self._line.close()
        if kill:
            self.process.kill()
        try:
            return self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _read(head: Head, made: list[bytes]) -> Message:
    """What the answer means."""
    match head:
        case {"made": dict(facts)}:
            return facts, made
        case {"bad": str(code), "detail": str(detail)}:
            raise Refused(code, detail)
        case {"heavy": _}:
            raise TooHeavy("takes more memory than it may")
        case {"errno": number, "strerror": text}:
            raise OSError(number, text)
        case _:
            raise RuntimeError(f"a media child failed: {head.get('mistake')}")


_CHILDREN = Children(most=MOST_CHILDREN)
atexit.register(_CHILDREN.close)

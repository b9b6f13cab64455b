"""The process that opens strangers' files: one piece of work after another, for whoever holds the end of its line.

It has no secrets (its environment is empty), no network and no programs (`confinement`), and it ends as soon as the
line is closed, also in the middle of its work. What it answers is JSON and bytes, so that nothing is ever unpickled.
"""

import errno
import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from neurocards.media import photos
from neurocards.media.confinement import Limits, limit, seal

MAX_HEAD_BYTES = 64 * 1024
MAX_PART_BYTES = 64 * 1024 * 1024

Head = dict[str, Any]  # Any: JSON
Message = tuple[Head, list[bytes]]

_LENGTH = struct.Struct(">I")


class BrokenLine(Exception):
    """The other side is gone, or says what nobody understands."""


def send(line: socket.socket, head: Head, parts: Sequence[bytes] = ()) -> None:
    """One message: how long its head is, the head as JSON, then its parts."""
    written = json.dumps({**head, "parts": [len(part) for part in parts]}).encode()
    line.sendall(_LENGTH.pack(len(written)) + written)
    for part in parts:
        line.sendall(part)


def receive(line: socket.socket, *, until: float | None = None) -> Message:
    """One message; raises BrokenLine, or TimeoutError when it is not here by `until` (of the monotonic clock)."""
    (length,) = _LENGTH.unpack(_read(line, _LENGTH.size, MAX_HEAD_BYTES, until))
    try:
        head = json.loads(_read(line, length, MAX_HEAD_BYTES, until))
        lengths = [int(one) for one in head.pop("parts")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BrokenLine("no message") from error
    return head, [_read(line, one, MAX_PART_BYTES, until) for one in lengths]


def _read(line: socket.socket, length: int, most: int, until: float | None) -> bytes:
    if not 0 <= length <= most:
        raise BrokenLine(f"{length} bytes")
    found = bytearray()
    while len(found) < length:
        if until is not None:
            line.settimeout(max(0.001, until - time.monotonic()))
        chunk = line.recv(min(length - len(found), 1 << 20))
        if not chunk:
            raise BrokenLine("hung up")
        found += chunk
    return bytes(found)


class _Refused(Exception):
    """What came in cannot be used."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


# The work -------------------------------------------------------------------------------------------------------------


def _check_photo(_asked: Head, photo: bytes) -> Message:
    return asdict(photos.check_photo(photo)), []


def _compose_frame(asked: Head, photo: bytes) -> Message:
    return {}, [photos.compose_frame(photo, width=asked["width"], height=asked["height"])]


def _preview(asked: Head, photo: bytes) -> Message:
    return {}, [photos.preview(photo, longest=asked["longest"])]


def _finish_clip(asked: Head) -> Message:
    from neurocards.media import videos  # noqa: PLC0415 (half of the memory, and the bot's children need none of it)

    source, target = Path(asked.pop("source")), Path(asked.pop("target"))
    try:
        finished = videos.finish_clip(source, target, **asked)
    except videos.BadClip as bad:
        raise _Refused(bad.code, bad.detail) from bad
    except OSError as error:
        if error.errno == errno.EFBIG:  # the limit of this process, not of the disk
            raise _Refused(videos.ClipFault.TOO_LARGE, "more than may be written") from error
        raise
    return asdict(finished.facts), [finished.cover, finished.thumbnail]


_WORK: dict[str, Callable[..., Message]] = {
    "check_photo": _check_photo,
    "compose_frame": _compose_frame,
    "preview": _preview,
    "finish_clip": _finish_clip,
}


def _answer(asked: Head, parts: list[bytes]) -> Message:
    """What came of it. Whatever goes wrong is an answer too: only the kernel's limits end this process."""
    try:
        limit(Limits(**asked.pop("limits")))
        head, made = _WORK[asked.pop("work")](asked, *parts)
    except (photos.BadPhoto, _Refused) as bad:
        return {"bad": bad.code, "detail": bad.detail}, []
    except MemoryError:
        return {"heavy": "memory"}, []
    except OSError as error:
        return {"errno": error.errno, "strerror": error.strerror or str(error)}, []
    except Exception as error:
        return {"mistake": f"{type(error).__name__}: {error}"[:2000]}, []
    return {"made": head}, made


def main() -> None:
    """Work until the line is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They reach the whole group; whoever we work for first finishes what runs, and then closes the line.
        signal.signal(number, signal.SIG_IGN)
    line = socket.socket(fileno=os.dup(0))
    line.setblocking(True)
    sealed = seal()
    asked: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_listen, args=(line, asked), daemon=True).start()
    while True:
        head, parts = _answer(*asked.get())
        send(line, {**head, "sealed": sealed}, parts)


def _listen(line: socket.socket, asked: "SimpleQueue[Message]") -> None:
    """A thread of its own, so that the end of the line is noticed while something is decoded."""
    try:
        while True:
            asked.put(receive(line))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()

"""Finished clips on disk: rendered in a small pool of processes, reused for equal requests, oldest dropped first.

The pool starts with the first clip and cannot outlive its owner, however that ends.
"""

import asyncio
import hashlib
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path

from neurocards.simulators.studio.render import ClipSpec, render_clip

MAX_CLIPS = 1_000
RENDERERS = 2


class ClipMaker:
    """Clips by what they show and how they are made."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._clips: OrderedDict[str, Path] = OrderedDict()
        self._rendering: dict[str, asyncio.Task[Path]] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None

    async def clip(self, spec: ClipSpec, picture: bytes | None) -> Path:
        """The file of `picture`'s clip; without a picture, one clip shared by all."""
        key = await asyncio.to_thread(_key, spec, picture)
        if path := self._clips.get(key):
            self._clips.move_to_end(key)
            return path
        rendering = self._rendering.get(key)
        if rendering is None:
            rendering = asyncio.create_task(self._render(key, spec, picture))
            self._rendering[key] = rendering
            rendering.add_done_callback(lambda _done: self._rendering.pop(key, None))
        # Others may be waiting for the same clip, so one who leaves must not stop the work.
        return await asyncio.shield(rendering)

    def close(self) -> None:
        """Stop every render at once."""
        for rendering in self._rendering.values():
            rendering.cancel()
        if self._leash:
            self._leash.close()
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._leash = None

    async def _render(self, key: str, spec: ClipSpec, picture: bytes | None) -> Path:
        path = self._folder / f"{key}.mp4"
        pool = self._started_pool()
        try:
            await asyncio.get_running_loop().run_in_executor(pool, render_clip, spec, picture, path)
        except BrokenProcessPool:
            # A renderer was killed: this clip is lost, the next one gets new renderers.
            if self._pool is pool:
                self.close()
            raise
        self._clips[key] = path
        while len(self._clips) > MAX_CLIPS:
            _, oldest = self._clips.popitem(last=False)
            oldest.unlink(missing_ok=True)
        return path

    def _started_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            theirs, self._leash = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(RENDERERS, context, initializer=_wear_leash, initargs=(theirs,))
        return self._pool


def _key(spec: ClipSpec, picture: bytes | None) -> str:
    return hashlib.sha256(repr(spec).encode() + b"\0" + (picture or b"")).hexdigest()


def _wear_leash(leash: Connection) -> None:
    """End this renderer as soon as the owner closes its end of the pipe or dies."""
    # Ctrl-C in a terminal reaches every process of the group; only the owner acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_await_release, args=(leash,), daemon=True).start()


def _await_release(leash: Connection) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        os._exit(0)

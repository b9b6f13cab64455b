"""`python -m neurocards.storm.nursery SOCKET PHOTO`: imports the whole shop once, and forks a bot or a worker per hire.

Importing costs seconds, forking milliseconds: so somebody can be killed every second. The children are real processes
and run what `./neurocards bot` and `./neurocards worker` run. It hears JSON lines on the socket and tells of every end
there; it has neither a thread nor an event loop, and when the socket closes it takes everybody with it.
"""

import asyncio
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from neurocards import app
from neurocards.bot import build_usual_models
from neurocards.db.connection import Away
from neurocards.domain.scripts import Commission
from neurocards.logs import set_up_logs
from neurocards.providers.openai_writer import OpenAIWriter
from neurocards.settings import BadSettings, read_settings
from neurocards.storm.crew import NO_DATABASE
from neurocards.texts import LANGUAGES, translate

SLOW_TO_IMPORT = (
    "httpcore2",  # httpx2 does so at its first client
    "neurocards.production",
    "neurocards.providers.fal",
    "neurocards.providers.kie",
    "neurocards.web",
)
"""What bot and worker import only when they run."""

RUNS = {"bot": app.run_bot, "worker": app.run_worker}

NICENESS = {"bot": 0, "worker": 5}
"""Clips take most of a processor. Where there are few, sellers would wait for an answer instead of ordering."""

Json = dict[str, Any]  # Any: what one line holds


def main() -> int:
    """Fork until the socket closes."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(sys.argv[1])
        # What is imported is never collected: the children share its pages instead of copying them.
        _warm_up(Path(sys.argv[2]).read_bytes())
        gc.collect()
        gc.freeze()
        Nursery(line).serve()
    return 0


def _warm_up(photo: bytes) -> None:
    """Do once what is slow only the first time: import, read the texts, have a prompt written."""
    for module in SLOW_TO_IMPORT:
        importlib.import_module(module)
    build_usual_models()
    for language in LANGUAGES:
        translate(language, "bot-name")
    asyncio.run(_write_a_prompt(photo))


async def _write_a_prompt(photo: bytes) -> None:
    settings = read_settings()
    (api_key,) = settings.required("openai_api_key")
    writer = OpenAIWriter(
        base_url=settings.openai_base_url,
        api_key=api_key,
        model=settings.openai_model,
        mode=settings.openai_mode,
    )
    commission = Commission(
        brief="A product.",
        description="A product.",
        wishes="",
        seconds=5,
        prompt_characters=2000,
        speech_words=0,
        speech_languages=(),
        sound=True,
    )
    await writer.write(commission, photo=photo)
    await writer.close()


class Nursery:
    """The parent of everybody in the crew."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._children: set[int] = set()
        self._unread = b""

    def serve(self) -> None:
        """Do what is asked and tell who has ended, until nobody is at the other end any more."""
        woken, wakes = socket.socketpair()
        woken.setblocking(False)
        wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # The end of the line is the sign to end: who ends without it would leave the children behind.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._line, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            self._tell({"ready": True})
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if woken in ready:
                    with suppress(BlockingIOError):
                        woken.recv(4096)
                    self._reap()
                if self._line in ready and not self._hear():
                    break
        for child in self._children:
            os.kill(child, signal.SIGKILL)

    def _hear(self) -> bool:
        """Read what has come; False at the end."""
        heard = self._line.recv(65536)
        *lines, self._unread = (self._unread + heard).split(b"\n")
        for line in lines:
            asked = json.loads(line)
            if "signal" in asked:
                # Whoever has ended and is not reaped yet keeps the number: nobody else can be hit.
                if asked["pid"] in self._children:
                    os.kill(asked["pid"], asked["signal"])
            else:
                self._hire(asked)
        return bool(heard)

    def _hire(self, asked: Json) -> None:
        child = os.fork()
        if child == 0:
            self._become(asked)
        self._children.add(child)
        self._tell({"hired": asked["post"], "pid": child})

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                child, status = os.waitpid(-1, os.WNOHANG)
                if child == 0:
                    return
                self._children.discard(child)
                self._tell({"ended": child, "status": os.waitstatus_to_exitcode(status)})

    def _tell(self, what: Json) -> None:
        self._line.sendall(json.dumps(what).encode() + b"\n")

    def _become(self, asked: Json) -> NoReturn:
        """Be a process of the shop, from here to the end; what it says goes to its log."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._line.close()
            log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.clear()
            os.environ.update(asked["environment"])
            os.nice(NICENESS[asked["role"]])
            settings = read_settings()
            set_up_logs(settings.log_format)
            asyncio.run(RUNS[asked["role"]](settings))
            status = 0
        except Away as error:
            sys.stderr.write(f"{NO_DATABASE}: {' '.join(str(error).split())}\n")
        except BadSettings as error:
            sys.stderr.write(f"neurocards: {error}\n")
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            # Neither the parent's clean-up nor its buffers are ours.
            os._exit(status)


if __name__ == "__main__":
    sys.exit(main())

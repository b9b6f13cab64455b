"""Children that cannot outlive us. A child runs below a tiny shell that holds one end of a socket; when our end
closes, for whatever reason up to kill -9, the shell's watcher ends the child. No prctl, so it works on every Unix.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

STOP_SECONDS = 10

# $1: the signal that asks the child to end; $2: seconds until its whole process group is killed; the rest: its command.
# The watcher signals the child itself, not the shell, so that it also works when the shell has been killed.
# The shell ignores signals only once both are started: a shell that is just being forked would swallow them too.
# In the end the group is swept: the watcher and what the child left behind.
_LEASH = """
signal=$1 grace_seconds=$2
shift 2
exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
{ read -r _ <&3; kill -s "$signal" "$child"; sleep "$grace_seconds"; kill -s KILL -- "-$$"; } >/dev/null 2>&1 &
trap '' INT TERM
echo "$child" >&3
exec 3<&- >/dev/null 2>&1
wait "$child"
status=$?
kill -s TERM -- "-$$"
wait
exit "$status"
"""


class LeashedProcess(subprocess.Popen[bytes]):
    """A child and the shell around it: signals go to the child, whose exit status (128 + signal) is the shell's."""

    child_pid: int
    end_signal: signal.Signals
    leash: socket.socket

    def send_signal(self, sig: int) -> None:
        """Signal the child, if it still runs; `terminate` and `kill` come here too."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.child_pid, sig)


def start(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    end_signal: signal.Signals = signal.SIGTERM,
    grace_seconds: int = STOP_SECONDS,
) -> LeashedProcess:
    """Start a child that ends with us: by `end_signal`, and by KILL when that takes longer than `grace_seconds`.

    Its session is its own, so Ctrl-C in the terminal reaches only us, and we stop our children in order.
    As a shell's background job it starts with INT and QUIT ignored, which a program undoes by setting a handler.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = LeashedProcess(
                ["/bin/sh", "-c", _LEASH, "leash", end_signal.name.removeprefix("SIG"), str(grace_seconds), *argv],
                stdin=theirs.fileno(),
                stdout=stdout,
                stderr=stderr,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        process.end_signal = end_signal
        process.leash = ours
        process.child_pid = int(ours.recv(32))
    except BaseException:
        ours.close()
        raise
    return process


def stop(process: LeashedProcess, grace_seconds: float = STOP_SECONDS) -> int:
    """Ask the child to end, kill its process group when it has not ended in time; returns its exit status.

    May be repeated. An asyncio program calls it in a thread: it waits.
    """
    process.send_signal(process.end_signal)
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.leash.close()
    return process.wait()

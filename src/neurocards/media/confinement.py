"""What a media child may use and may not do.

Limits end what takes too much: they are for bombs. The seal is for a decoder that a stranger's file has taken over: it
opens no socket, starts no program and signals nobody, whatever it tries; the fence keeps it from the memory and the
environment of others, where our secrets are. The kernel holds them all (getrlimit(2), seccomp(2), landlock(7)), and no
privilege is needed.
"""

import ctypes
import errno
import math
import os
import platform
import resource
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import process_time

FILES = 64

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_SECCOMP_MODE_FILTER = 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4
_OTHER_ABI = 0x40000000
"""x86-64 has a second set of calls from here on; other architectures have nothing there."""

_CALLS = (
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    *("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("kill", "tkill", "tgkill", "pidfd_send_signal", "io_uring_setup"),
)
"""io_uring opens sockets by a way of its own."""
_MACHINES = {
    "x86_64": (0xC000003E, (41, 53, 42, 49, 50, 43, 288, 59, 322, 101, 310, 311, 62, 200, 234, 424, 425)),
    "aarch64": (0xC00000B7, (198, 199, 203, 200, 201, 202, 242, 221, 281, 117, 270, 271, 129, 130, 131, 424, 425)),
}
"""How the kernel names the architecture (linux/audit.h), and the numbers of those calls there (asm/unistd.h)."""


_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_FENCED = sum(1 << bit for bit in (0, 4, 5, 6, 7, 9, 10, 11, 12))
"""Run, remove, and make anything but plain files (linux/landlock.h); no rule allows any of it anywhere."""


@dataclass(frozen=True)
class Limits:
    """What one piece of work may take. Memory counts from what the process has when the work begins."""

    cpu_seconds: int
    wall_seconds: float
    memory_bytes: int
    written_bytes: int


def seal() -> bool:
    """Give up sockets, programs and signals for good, for this thread and those it starts; False where we cannot."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    machine = _MACHINES.get(platform.machine())
    if not sys.platform.startswith("linux") or machine is None:
        return False
    filters = _program(*machine)
    program = ctypes.create_string_buffer(b"".join(filters))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(filters), ctypes.addressof(program)))
    control = ctypes.CDLL(None).prctl
    if control(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    fence()
    done: int = control(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(head)), 0, 0)
    return done == 0


def fence() -> bool:
    """Remove nothing and look into no other process from now on; False where the kernel has no Landlock (before 5.13).

    Whoever has given up anything by Landlock may not trace processes outside: their environ and mem in /proc are shut.
    """
    call = ctypes.CDLL(None).syscall
    given_up = ctypes.c_uint64(_FENCED)
    rules: int = call(_LANDLOCK_CREATE_RULESET, ctypes.byref(given_up), ctypes.c_size_t(8), ctypes.c_uint32(0))
    if rules < 0:
        return False
    done: int = call(_LANDLOCK_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)
    return done == 0


def limit(limits: Limits) -> None:
    """From now on this process may take so much more. What is not there on this system is left out."""
    for what, most in (
        (resource.RLIMIT_CPU, math.ceil(process_time()) + limits.cpu_seconds),
        (resource.RLIMIT_AS, _mapped_bytes() + limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.written_bytes),
    ):
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def _mapped_bytes() -> int:
    """What this process has mapped; where nobody says so, as much as is never reached."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except OSError:
        return 1 << 40
    return pages * resource.getpagesize()


def _program(architecture: int, numbers: tuple[int, ...]) -> list[bytes]:
    """A filter in the kernel's small language: each line is a test, with how many lines to skip if it holds or not."""
    refusing = len(numbers) + 1  # how far behind the first test of a number the refusal is
    return [
        _line(_LOAD, _ARCHITECTURE_OFFSET),
        _line(_EQUAL, architecture, otherwise=refusing + 2),
        _line(_LOAD, _NUMBER_OFFSET),
        _line(_AT_LEAST, _OTHER_ABI, then=refusing),
        *(_line(_EQUAL, number, then=len(numbers) - place) for place, number in enumerate(numbers)),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _REFUSE),
    ]


def _line(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)

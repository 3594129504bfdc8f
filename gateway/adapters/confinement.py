"""What a process gives up before it reads foreign bytes; what the kernel refuses is left as it is.

By `RLIMIT_NOFILE` no descriptor can be made any more: no file, no socket, not even where a sandbox
denies the process a network namespace of its own. So everything must be imported before.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import sys
from collections.abc import Callable

MAX_MEMORY_BYTES = 2**30
_NOBODY = 65534
_NO_NEW_PRIVILEGES, _DUMPABLE = 38, 4
"""Options of prctl(2)."""
_OWN_NETWORK, _OWN_USERS = 0x40000000, 0x10000000
"""Flags of unshare(2)."""
_CAPABILITIES_VERSION = 0x20080522
STEPS = ("privileges", "network", "user", "capabilities", "tracing", "processes", "descriptors")
"""What is given up, in this order: each step takes what a later one gives away."""


def environment() -> dict[str, str]:
    """All that such a process is told of this one's environment, which may hold secrets.

    It finds the same modules as this one.
    """
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),  # noqa: PTH109
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def limit_memory() -> None:
    """No more than `MAX_MEMORY_BYTES`, no core dump, not a byte written to a file."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def limit_cpu(seconds: float) -> None:
    """Let this process use `seconds` more than it has used so far; then it ends by SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = max(1, round(used.ru_utime + used.ru_stime + seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def give_up(descriptors: int = 0) -> list[str]:
    """Give up rights, network, files and descriptors but `descriptors` to be received; what worked.

    What is open stays open. To be called once, after all imports and before the first order.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    ways: dict[str, Callable[[], None]] = {
        "privileges": lambda: _done(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)),
        "network": lambda: _leave_network(libc),
        "user": _become_nobody,
        "capabilities": lambda: _drop_capabilities(libc),
        "tracing": lambda: _done(libc.prctl(_DUMPABLE, 0, 0, 0, 0)),
        "processes": lambda: resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)),
        "descriptors": lambda: _limit_descriptors(descriptors),
    }
    os.chdir("/")
    done = []
    for name in STEPS:
        with contextlib.suppress(OSError, AttributeError, ValueError):
            ways[name]()
            done.append(name)
    return done


def keep_only(*descriptors: int) -> None:
    """Close all descriptors but `descriptors` and the standard streams.

    Loops leave copies of those that they hand to a process, that of the log among them.
    """
    start = 3
    for kept in sorted(descriptors):
        os.closerange(start, kept)
        start = max(start, kept + 1)
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def silence() -> None:
    """What libraries write to standard streams goes nowhere: it may quote what they read."""
    with open(os.devnull, "r+b", buffering=0) as nowhere:  # noqa: PTH123 - no reason to load pathlib
        for stream in range(3):
            os.dup2(nowhere.fileno(), stream)


def _leave_network(libc: ctypes.CDLL) -> None:
    """A network without interfaces; who is not root needs users of its own for that."""
    if libc.unshare(_OWN_NETWORK) != 0:
        _done(libc.unshare(_OWN_USERS | _OWN_NETWORK))


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("Ii", _CAPABILITIES_VERSION, 0)
    _done(libc.capset(header, bytes(24)))


def _limit_descriptors(more: int) -> None:
    """None beyond those that are open, and the lowest `more` of the free ones."""
    free = [n for n in range(256) if not _is_open(n)]
    limit = free[more - 1] + 1 if more else 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _done(result: int) -> None:
    """OSError unless a call of the C library succeeded."""
    if result != 0:
        raise OSError(ctypes.get_errno(), "refused")

"""One process that reads files, from the outside: ordered by descriptor, and killed when it fails.

Everything here blocks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.adapters import confinement
from gateway.adapters.file_process import LENGTH, receive, send_order

WALL_SECONDS = 15.0
_START_SECONDS = 20.0
_MOST_TOLD, _MOST_ANSWERED = 2**20, 2**29
_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
SENSELESS = (OSError, EOFError, ValueError, LookupError, TypeError)
"""What reading an answer raises that was cut, or came of a process that is no longer itself."""
Told = tuple[dict[str, Any], bytearray]


class CannotRead(Exception):
    """The file is not what it says, or costs too much to read; says why, without patient data."""


class ReaderLost(CannotRead):
    """A process was lost over it."""


class ReaderLate(ReaderLost):
    """It took too long, perhaps because much else is going on, or its disk is slow."""


class ReadersBusy(Exception):
    """Nobody could read it now; that says nothing of the file."""


class FileWorker:
    """One process, ready for orders."""

    def __init__(self) -> None:
        """OSError and others of `SENSELESS` when it cannot be started."""
        self.last_read = ""
        ours, theirs = socket.socketpair()
        self._socket = ours
        module = "gateway.adapters.file_process"
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                (sys.executable, "-P", "-m", module, str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=confinement.environment(),
                pass_fds=(theirs.fileno(),),
            )
        try:
            ours.settimeout(_START_SECONDS)
            self._receive()
        except BaseException:
            self.end()
            raise
        ours.settimeout(WALL_SECONDS)

    def send(self, order: dict[str, Any], file: int) -> None:
        """Order something."""
        send_order(self._socket, order, file)

    def told(self) -> Told:
        """The next answer. ReaderLost; ReadersBusy when somebody else ended the process."""
        try:
            return self._receive()
        except TimeoutError as error:
            raise ReaderLate("takes too long to read") from error
        except SENSELESS as error:
            if self._fate() in _OUTSIDE:
                raise ReadersBusy from error
            raise ReaderLost("costs more time or memory to read than it may") from error

    def kill(self) -> None:
        """Kill the process; whoever waits for it buries it."""
        self._process.kill()

    def end(self) -> None:
        """Kill and bury the process."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _receive(self) -> Told:
        (length,) = LENGTH.unpack(receive(self._socket, LENGTH.size))
        told: dict[str, Any] = orjson.loads(receive(self._socket, _within(length, _MOST_TOLD)))
        return told, receive(self._socket, _within(told["size"], _MOST_ANSWERED))

    def _fate(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(1)
        return None


@contextlib.contextmanager
def in_memory(content: bytes | bytearray) -> Iterator[int]:
    """`content` as a file without a name; its descriptor."""
    with _nameless() as file:
        file.write(content)
        file.flush()
        yield file.fileno()


def _nameless() -> Any:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("object", os.MFD_CLOEXEC), "wb")
    return tempfile.TemporaryFile()


def _within(size: int, most: int) -> int:
    if not 0 <= size <= most:
        raise ValueError("no such answer")
    return size

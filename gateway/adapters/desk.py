"""A file in memory that one process writes and another reads, over and over in the same pages."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import mmap
import os
import tempfile
from collections.abc import Sequence

KEPT_BYTES = 8 * 2**20
"""What a cleared desk keeps of its pages."""
_MOST_IN_LOOP_BYTES = 2 * 2**20
"""What is written without leaving the loop: it takes less than to ask a thread for it."""
_MOST_AT_ONCE = 512
"""Pieces that one call of the system takes."""


class Chunks:
    """Content in the pieces in which it came, which nobody needs to put together."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._size = 0

    def append(self, piece: bytes) -> None:
        """Add the next piece."""
        self.pieces.append(piece)
        self._size += len(piece)

    def __len__(self) -> int:
        """The bytes of all pieces."""
        return self._size


Content = bytes | bytearray | Chunks

_INTEGERS = (ctypes.c_int,) * 3
_FAILED = ctypes.c_void_p(-1).value


class Desk:
    """Our end: where content is laid for the other process. Whoever makes it closes it.

    Pages that are there already are written as memory, in a fifth of the time of a system call,
    which writes the others: it fails where there are none to be had, memory would end the process.
    """

    def __init__(self) -> None:
        self.descriptor, self._near = _nameless()
        self._held = 0

    async def lay(self, contents: Sequence[Content]) -> None:
        """Write `contents` one after the other from the start on."""
        size = sum(map(len, contents))
        if size <= _MOST_IN_LOOP_BYTES:
            self._write(contents, size)
            return
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, contents, size))
        try:
            await asyncio.shield(writing)
        finally:
            await asyncio.wait((writing,))  # until then nobody may close the descriptor

    def clear(self) -> None:
        """Give back the memory of large contents."""
        if self._held <= KEPT_BYTES:
            return
        if self._near is None:
            os.ftruncate(self.descriptor, 0)
            self._held = 0
            return
        with (
            contextlib.suppress(OSError),  # then it stays, and serves the next large one
            mmap.mmap(self.descriptor, self._held - KEPT_BYTES, offset=KEPT_BYTES) as far,
        ):
            far.madvise(mmap.MADV_REMOVE)
            self._held = KEPT_BYTES

    def close(self) -> None:
        """Let go of the file; the other process keeps it as long as it lives."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _write(self, contents: Sequence[Content], size: int) -> None:
        pieces = [p for c in contents for p in (c.pieces if isinstance(c, Chunks) else (c,))]
        if self._near is not None and size <= min(self._held, KEPT_BYTES):
            at = 0
            for piece in pieces:
                self._near[at : at + len(piece)] = piece
                at += len(piece)
        else:
            _write(self.descriptor, pieces)
            self._held = max(self._held, size)


class View:
    """The other end: what lies on the desk. Seeing it takes no further descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *_INTEGERS, ctypes.c_long)
        self._libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        self._mapped: ctypes.Array[ctypes.c_char] | None = None

    def contents(self, sizes: Sequence[int]) -> list[memoryview]:
        """What was laid there, by the sizes that it was laid in; EOFError when there is nothing.

        It is there until the next call.
        """
        size = sum(sizes)
        if not size:
            raise EOFError
        mapped = self._mapped
        if mapped is None or len(mapped) < size:
            mapped = self._mapped = self._anew(size)
        whole = memoryview(mapped).cast("B").toreadonly()
        found, at = [], 0
        for one in sizes:
            found.append(whole[at : at + one])
            at += one
        return found

    def _anew(self, size: int) -> ctypes.Array[ctypes.c_char]:
        """The desk as it is now; mmap of Python would duplicate its descriptor."""
        if self._mapped is not None:
            self._libc.munmap(ctypes.addressof(self._mapped), len(self._mapped))
            self._mapped = None
        at = self._libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, self._descriptor, 0)
        if at in {None, _FAILED}:
            raise MemoryError
        return (ctypes.c_char * size).from_address(at)


def _write(descriptor: int, pieces: Sequence[bytes | bytearray]) -> None:
    at = 0
    for first in range(0, len(pieces), _MOST_AT_ONCE):
        at += _written(descriptor, pieces[first : first + _MOST_AT_ONCE], at)


def _written(descriptor: int, pieces: Sequence[bytes | bytearray], at: int) -> int:
    """Writes all `pieces`, and tells how much that was."""
    size = sum(map(len, pieces))
    written = os.pwritev(descriptor, pieces, at)
    if written < size:  # the system takes 2 GiB at the most, and less when a signal comes
        rest = memoryview(b"".join(pieces))
        while written < size:
            written += os.pwrite(descriptor, rest[written:], at + written)
    return size


def _nameless() -> tuple[int, mmap.mmap | None]:
    """A file in memory that nobody can cut, and what is kept of it as ours, where there is such.

    Else one that is already deleted.
    """
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno()), None
    made = os.memfd_create("desk", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(made, KEPT_BYTES)
    try:
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return made, mmap.mmap(made, KEPT_BYTES)
    except OSError:
        return made, None

"""A file in memory that one process writes and another reads, over and over in the same pages."""

from __future__ import annotations

import asyncio
import mmap
import os
import tempfile
from collections.abc import Sequence

KEPT_BYTES = 8 * 2**20
"""What a cleared desk keeps of its size, and what is written without leaving the loop."""


class Desk:
    """Our end: where content is laid for the other process. Whoever makes it closes it."""

    def __init__(self) -> None:
        self.descriptor = _nameless()

    async def lay(self, contents: Sequence[bytes | bytearray]) -> None:
        """Write `contents` one after the other from the start on."""
        if sum(len(c) for c in contents) <= KEPT_BYTES:
            _write(self.descriptor, contents)
        else:
            await asyncio.to_thread(_write, self.descriptor, contents)

    def clear(self) -> None:
        """Give back the memory of large contents."""
        if os.fstat(self.descriptor).st_size > KEPT_BYTES:
            os.ftruncate(self.descriptor, 0)

    def close(self) -> None:
        """Let go of the file; the other process keeps it as long as it lives."""
        os.close(self.descriptor)


class View:
    """The other end: what lies on the desk."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mapped: mmap.mmap | None = None

    def contents(self, sizes: Sequence[int]) -> list[memoryview]:
        """What was laid there, by the sizes that it was laid in; EOFError when there is nothing."""
        size = sum(sizes)
        if not size:
            raise EOFError
        if self._mapped is None or len(self._mapped) < size:
            self._mapped = mmap.mmap(self._descriptor, size, access=mmap.ACCESS_READ)
        found, at = [], 0
        for one in sizes:
            found.append(memoryview(self._mapped)[at : at + one])
            at += one
        return found


def _write(descriptor: int, contents: Sequence[bytes | bytearray]) -> None:
    at = 0
    for content in contents:
        rest = memoryview(content)
        while rest:
            written = os.pwrite(descriptor, rest, at)
            at, rest = at + written, rest[written:]


def _nameless() -> int:
    """A file in memory where the system has that, else one that is already deleted."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("desk", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

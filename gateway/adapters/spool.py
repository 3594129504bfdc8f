"""Bytes on their way to another process: held by the kernel, handed over without a copy."""

from __future__ import annotations

import os
import tempfile


class TooLarge(Exception):
    """More was written than the spool may hold."""


class Spool:
    """A file without a name that grows up to `max_bytes`; whoever makes it closes it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.size = 0
        self.descriptor = _nameless()

    def write(self, chunk: bytes) -> None:
        """Append a chunk. TooLarge when that does not fit."""
        if self.size + len(chunk) > self._max_bytes:
            raise TooLarge
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]
        self.size += len(chunk)

    def close(self) -> None:
        """Let go of the file; whoever has its descriptor keeps it."""
        os.close(self.descriptor)


def _nameless() -> int:
    """A file in memory where the system has that, else one that is already deleted."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("spool", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

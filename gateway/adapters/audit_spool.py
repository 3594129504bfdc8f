"""AuditEvents on this machine: appended to a file, forced to disk twice a second, never rewritten.

Each process writes segments of its own and holds a lock on each. A segment whose writer is gone is
taken, and shipped, by the first that finds it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SUFFIX = ".ndjson"
_SENT = ".sent"
SEGMENT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """An event in a segment, and where the next one begins."""

    body: bytes
    end: int


class Spool:
    """The segments below `folder`. Every method blocks: call them in a thread, one at a time."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """`max_bytes`: of all segments together, whoever wrote them."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._open: IO[bytes] | None = None
        self._held: dict[Path, IO[bytes]] = {}
        self._number = 0

    def append(self, events: list[bytes]) -> None:
        """Writes events, one line each, and forces them to disk. OSError: they are not kept."""
        file = self._current()
        file.write(b"\n".join([*events, b""]))
        file.flush()
        os.fdatasync(file.fileno())

    def is_full(self) -> bool:
        """Whether no more should be written until something was shipped."""
        return sum(_size(path) for path in self._segments()) >= self._max_bytes

    def to_ship(self) -> Iterator[Path]:
        """The segments that are ours to ship, the oldest first: our own, and those left behind."""
        for path in self._segments():
            if path in self._held or self._is_taken(path):
                yield path

    def lines(self, path: Path, most: int) -> list[Line]:
        """The next events of a segment that were not shipped; a last line cut short is left."""
        start = int(_text(path.with_suffix(_SENT)) or "0")
        lines: list[Line] = []
        with path.open("rb") as file:
            file.seek(start)
            for text in file:
                if not text.endswith(b"\n") or len(lines) == most:
                    break
                start += len(text)
                lines.append(Line(text.rstrip(b"\n"), start))
        return lines

    def shipped(self, path: Path, end: int) -> None:
        """Notes that a segment is shipped up to `end`; an ended one that is all shipped goes."""
        sent = path.with_suffix(_SENT)
        if self._held[path] is not self._open and end >= _size(path):
            path.unlink(missing_ok=True)
            sent.unlink(missing_ok=True)
            self._held.pop(path).close()
            return
        temporary = path.with_suffix(".tmp")
        temporary.write_text(str(end))
        temporary.replace(sent)

    def reject(self, event: bytes) -> None:
        """Keeps an event that the audit server will never take."""
        with (self._folder / "rejected").open("ab") as file:
            file.write(event + b"\n")

    def close(self) -> None:
        """Lets go of all segments."""
        for file in self._held.values():
            file.close()
        self._held.clear()
        self._open = None

    def _current(self) -> IO[bytes]:
        """The segment that is written: a new one at the beginning, and when one is long enough."""
        if self._open is None or self._open.tell() >= SEGMENT_BYTES:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._number += 1
            name = f"{time.time_ns():020}-{os.getpid()}-{self._number}{_SUFFIX}"
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
            self._open = os.fdopen(os.open(self._folder / name, flags, 0o600), "ab")
            fcntl.flock(self._open, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._held[self._folder / name] = self._open
        return self._open

    def _is_taken(self, path: Path) -> bool:
        """Takes a segment whose writer is gone; False while somebody else holds it."""
        try:
            file = path.open("ab")
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._held[path] = file
        return True

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""

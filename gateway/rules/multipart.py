"""multipart/related bodies taken apart as they stream by (RFC 2046 §5.1), without I/O.

Tolerant of what archives send: a preamble, bare LF line ends, padding behind a delimiter. Strict in
one thing: a body whose closing delimiter is missing was cut off, however it ended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_HEAD_BYTES = 16384
_AFTER_DELIMITER = re.compile(rb"(--)?[ \t]*\r?\n?")


class MultipartError(ValueError):
    """The body is not multipart, or it broke off."""


@dataclass(frozen=True, slots=True)
class Head:
    """The header fields of a part that begins; names in lower case."""

    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of the present part's body."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The present part is complete."""


Event = Head | Data | End


class Splitter:
    """Feed it chunks, get events; `finish` at the end of the stream."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\n--" + boundary.encode("latin-1")
        self._buffer = b"\n"
        self._skip = 1  # bytes at the buffer's head that only stand in for a line end
        self._state = "preamble"

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes; MultipartError when the body cannot be multipart."""
        if self._state == "closed":
            return []
        self._buffer += chunk
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def finish(self) -> list[Event]:
        """The last events; MultipartError unless the closing delimiter was seen."""
        events = [] if self._state == "closed" else self.feed(b"\r\n")
        if self._state != "closed":
            raise MultipartError("the body ends before its closing delimiter")
        return events

    def _step(self, events: list[Event]) -> bool:
        """Takes one event out of the buffer; False when more bytes are needed."""
        if self._state == "head":
            return self._head(events)
        if self._state == "closed":
            self._buffer = b""
            return False
        return self._body(events)

    def _head(self, events: list[Event]) -> bool:
        if self._buffer.startswith((b"\r\n", b"\n")):
            size, end = 0, self._buffer.index(b"\n") + 1
        else:
            found = re.search(rb"\r?\n\r?\n", self._buffer)
            if found is None:
                if len(self._buffer) > _MAX_HEAD_BYTES:
                    raise MultipartError("the header of a part is too long")
                return False
            size, end = found.start(), found.end()
        events.append(Head(_fields(self._buffer[:size])))
        self._buffer = b"\n" + self._buffer[end:]
        self._skip = 1
        self._state = "body"
        return True

    def _body(self, events: list[Event]) -> bool:
        at = self._buffer.find(self._delimiter)
        if at < 0:
            self._emit(events, len(self._buffer) - len(self._delimiter) - 1)
            return False
        tail = self._buffer[at + len(self._delimiter) :]
        if len(tail) < 2 or (tail.strip(b" \t\r") in {b"", b"--"} and b"\n" not in tail):
            self._emit(events, at - 1)
            return False
        after = _AFTER_DELIMITER.match(tail)
        if after is None or not (after.group(1) or after.group().endswith(b"\n")):
            self._emit(events, at + len(self._delimiter))
            return True
        self._close_part(events, at)
        self._buffer = tail[after.end() :]
        self._state = "closed" if after.group(1) else "head"
        return True

    def _close_part(self, events: list[Event], at: int) -> None:
        if self._state == "body":
            end = at - 1 if at > self._skip and self._buffer[at - 1 : at] == b"\r" else at
            if end > self._skip:
                events.append(Data(self._buffer[self._skip : end]))
            events.append(End())

    def _emit(self, events: list[Event], size: int) -> None:
        """Lets `size` bytes of the buffer go, as data where they are a part's."""
        if size <= self._skip:
            return
        if self._state == "body":
            events.append(Data(self._buffer[self._skip : size]))
        self._buffer = self._buffer[size:]
        self._skip = 0


def _fields(head: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in head.decode("latin-1").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip().lower()] = value.strip()
    return fields

"""multipart/related bodies taken apart as they stream by (RFC 2046 §5.1), without I/O.

Tolerant of what archives send: a preamble, bare LF line ends, padding behind a delimiter. Strict in
one thing: a body whose closing delimiter is missing was cut off, however it ended. A part that says
how long it is is taken at its word: nothing is looked for in so many bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.rules import byte_search

_MAX_HEAD_BYTES = 16384
_MAX_PADDING_BYTES = 256
_REMEMBERED = 64
"""How many heads of only parts are remembered with what they say; archives write few."""
_WRONG_LENGTH = "a part is not as long as it says"
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_AFTER_DELIMITER = re.compile(rb"(--)?[ \t]*(\r?\n)")
_MAYBE_DELIMITER = re.compile(rb"(-|--)?[ \t]*\r?")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]+")


class MultipartError(ValueError):
    """The body is not multipart, or it broke off."""


class WrongLength(MultipartError):
    """A part is not as long as it says."""


@dataclass(frozen=True, slots=True)
class Head:
    """The header fields of a part that begins; names in lower case."""

    fields: dict[str, str]

    @property
    def length(self) -> int | None:
        """How long the part says that its body is (Content-Length); None: it does not say."""
        text = self.fields.get("content-length", "")
        return int(text) if _LENGTH.fullmatch(text) else None


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
        self._delimiter = b"\n--" + boundary.encode("utf-8", "surrogateescape")
        self._buffer = b"\n"
        self._data = 1  # where in the buffer the data begins that is not given out yet
        self._search = 0  # where a delimiter can begin: with the line end before that data
        self._state = "preamble"
        self._has_length = False  # whether the present part says how long it is
        self._left = 0  # how many more bytes of data it then has
        self._has_crlf = True  # the line ends of this body: whether a CR before LF is not data

    @property
    def is_closed(self) -> bool:
        """Whether the closing delimiter was seen: what follows means nothing."""
        return self._state == "closed"

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes; MultipartError when the body cannot be multipart."""
        if self._state == "closed":
            return []
        self._buffer += chunk
        events: list[Event] = []
        while self._step(events):
            pass
        done = min(self._data, self._search)
        self._buffer = self._buffer[done:]
        self._data -= done
        self._search -= done
        return events

    def finish(self) -> list[Event]:
        """The last events; MultipartError unless the closing delimiter was seen."""
        events = [] if self._state == "closed" or self._left else self.feed(b"\n")
        if self._state != "closed":
            raise MultipartError("the body ends before its closing delimiter")
        return events

    def _step(self, events: list[Event]) -> bool:
        """Takes one event out of the buffer; False when more bytes are needed."""
        if self._state == "closed":
            self._data = self._search = len(self._buffer)
            return False
        if self._left:
            return self._sized(events)
        return self._head(events) if self._state == "head" else self._body(events)

    def _head(self, events: list[Event]) -> bool:
        start = self._data
        if self._buffer.startswith((b"\r\n", b"\n"), start):
            size, end = start, self._buffer.index(b"\n", start) + 1
        else:
            found = _BLANK_LINE.search(self._buffer, start)
            size, end = found.span() if found else (start, len(self._buffer))
            if end - start > _MAX_HEAD_BYTES:
                raise MultipartError("the header of a part is too long")
            if found is None:
                return False
        head = Head(_fields(self._buffer[start:size]))
        events.append(head)
        self._data, self._search = end, end - 1
        self._has_length, self._left = head.length is not None, head.length or 0
        self._state = "body"
        return True

    def _sized(self, events: list[Event]) -> bool:
        """Data of a part that says how long it is, given out as it comes."""
        end = min(len(self._buffer), self._data + self._left)
        if end == self._data:
            return False
        events.append(Data(self._buffer[self._data : end]))
        self._left -= end - self._data
        self._data = self._search = end
        return not self._left

    def _body(self, events: list[Event]) -> bool:
        at = byte_search.find(self._buffer, self._delimiter, self._search)
        if at < 0:
            self._give(events, self._settled())
            return False
        behind = at + len(self._delimiter)
        after = _AFTER_DELIMITER.match(self._buffer, behind, behind + _MAX_PADDING_BYTES)
        if after is None:
            maybe = _MAYBE_DELIMITER.fullmatch(self._buffer, behind)
            if maybe is not None and len(maybe[0]) < _MAX_PADDING_BYTES:
                self._give(events, at - 1)
                return False
            self._search = behind  # the boundary is only the beginning of a line of data
            return True
        if self._state == "body":
            has_cr = self._has_crlf and at > self._data and self._buffer[at - 1 : at] == b"\r"
            if self._has_length and at == self._data and self._has_crlf:
                raise WrongLength(_WRONG_LENGTH)  # the CR was taken for data
            self._give(events, at - 1 if has_cr else at)
            events.append(End())
        self._has_crlf = after[2] == b"\r\n"
        self._data = self._search = after.end()
        self._state = "closed" if after[1] else "head"
        return True

    def _settled(self) -> int:
        """Where the buffer ends that cannot belong to a delimiter, whatever follows.

        Mostly the whole of it: chunks then go through without being copied.
        """
        size = len(self._buffer)
        at = self._buffer.rfind(b"\n", max(self._search, size - len(self._delimiter)))
        if at < 0 or not self._delimiter.startswith(self._buffer[at:]):
            at = size
        return at - 1 if self._buffer[at - 1 : at] == b"\r" else at

    def _give(self, events: list[Event], end: int) -> None:
        """Lets go of the buffer up to `end`, as data where it is a part's."""
        if end <= self._data:
            return
        if self._state == "body":
            if self._has_length:
                raise WrongLength(_WRONG_LENGTH)
            events.append(Data(self._buffer[self._data : end]))
        self._data = end
        self._search = max(self._search, end)


def only_part(body: bytes, boundary: str) -> tuple[Head, bytes] | None:
    """Of a whole body with one part, as most servers write it, that part.

    None for any other, which a `Splitter` has to look at. It would come to the same.
    """
    delimiter = f"--{boundary}".encode("utf-8", "surrogateescape")
    start = len(delimiter) + 2
    blank = _BLANK_LINE.search(body, start, start + _MAX_HEAD_BYTES)
    if blank is None or body[:start] != delimiter + b"\r\n" or body[start] in b"\r\n":
        return None
    (head, length), begin = _head(body[start : blank.start()]), blank.end()
    end = body.find(b"\r\n" + delimiter, begin) if length is None else begin + length
    closing = b"\r\n" + delimiter + b"--"
    rest = body[end:]
    if end < begin or (rest != closing and rest != closing + b"\r\n"):
        return None
    if length is None and body.find(b"\n" + delimiter, begin - 1, end) >= 0:
        return None
    return head, body[begin:end]


@lru_cache(maxsize=_REMEMBERED)
def _head(head: bytes) -> tuple[Head, int | None]:
    """The head of a part, and the length that it tells."""
    read = Head(_fields(head))
    return read, read.length


def _fields(head: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    text = head.decode("latin-1")
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip().lower()] = value.strip()
    return fields

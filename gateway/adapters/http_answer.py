"""The answer to one request over HTTP/1.1, pulled by whoever asked: its head, then its body.

What comes before it is asked for waits here, and tells its connection to read no more.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol

READ_BYTES = 1 << 16
"""Once so much of a body is waiting nothing more is read."""
FIELDS = {
    name.lower().encode(): name
    for name in (
        "Content-Encoding",
        "Content-Length",
        "Content-Range",
        "Content-Type",
        "Retry-After",
        "Transfer-Encoding",
        "Warning",
    )
}
"""The header fields that anybody looks at."""
_PLAIN_HEAD = re.compile(
    rb"""HTTP/1\.1\ 200\ [\x20-\x7e]*+\r\n
    (?:(?: [ABD-OQSVX-Zabd-oqsvx-z][A-Za-z0-9-]*+:\ [\x20-\x7e]*+  # none that is told apart below
        | (?(1)(?!)|[Cc]ontent-[Tt]ype:\ ([\x20-\x7e]*+))
        | (?(2)(?!)|[Cc]ontent-[Ll]ength:\ ([1-9][0-9]{0,8}))
        | [Cc]onnection:\ keep-alive
        | (?!(?i:con(?:nection|tent-[elrt])|proxy|retry|transfer|upgrade|warning))
          [A-Za-z0-9-]++:\ [\x20-\x7e]*+
    )\r\n)*+\r\n""",
    re.VERBOSE,
).match
"""The head of a good answer that leaves no choice how it is read (RFC 9112 §4 to §6).

Each field that tells where the body ends, or what it is, at most once and in its strictest form.
"""


class Lost(ConnectionError):
    """The connection ended before the head of an answer had come."""


class BrokenOff(ConnectionError):
    """The connection ended before the body that had begun."""


class NotHttp(ValueError):
    """What came is no answer in HTTP/1.1 or 1.0."""


class Source(Protocol):
    """The connection that an answer comes from."""

    async def next(self, seconds: float) -> None:
        """Returns when something came, or the end; TimeoutError: nothing did."""

    def resume(self) -> None:
        """Reads on where reading had paused."""

    def done(self, answer: Answer) -> None:
        """Nobody wants more of it."""


class Answer:
    """The answer to one request. Whoever has it lets it go, however much of it was read.

    `headers` are those that matter, named as in `FIELDS`, fields that came twice joined
    (RFC 9110 §5.3). `length`: of the body, where it is told beforehand.
    """

    __slots__ = (
        "_connection",
        "_pieces",
        "_waiting",
        "error",
        "has_end",
        "headers",
        "is_whole",
        "length",
        "status",
    )

    def __init__(self, connection: Source) -> None:
        self._connection: Source | None = connection
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self.error: Exception | None = None
        """What ended it before its end."""
        self.status = 0
        """0: the head has not come yet."""
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.has_end = False
        """Whether HTTP tells where the body ends; if not, one that was cut looks like a whole."""
        self.is_whole = False

    async def chunk(self, seconds: float) -> bytes:
        """What came of the body, at least a byte; b"" at its end.

        TimeoutError when none comes for so long; BrokenOff, NotHttp.
        """
        while not self._pieces:
            if self.is_whole:
                return b""
            await self._more(seconds)
        chunk = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        if self._connection is not None:
            self._connection.resume()
        return chunk

    async def whole(self, most: int, seconds: float) -> bytes | None:
        """The body if it is no longer than `most`; None: it is, and all of it is yet to be had.

        `most` is no more than what may wait. Errors as of `chunk`.
        """
        while not self.is_whole:
            if self.is_larger(most):
                return None
            await self._more(seconds)
        body = self.peeked(most)
        if body is not None:
            self._pieces.clear()
            self._waiting = 0
        return body

    def is_larger(self, most: int) -> bool:
        """Whether the body is known to be longer than `most`."""
        return self._waiting > most or (self.length or 0) > most

    def peeked(self, most: int) -> bytes | None:
        """All that waits of the body, and goes on waiting; None: it is longer than `most`."""
        return None if self._waiting > most else b"".join(self._pieces)

    def let_go(self) -> None:
        """The connection is used again if nothing is left on it, else closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.done(self)

    async def _more(self, seconds: float) -> None:
        """Returns when something came; raises what ended the answer."""
        if self.error is not None:
            raise self.error
        if self._connection is None:
            raise BrokenOff("it was let go")
        await self._connection.next(seconds)

    def field(self, name: str, value: bytes) -> None:
        """One of `FIELDS` came; in the trailer it means nothing here."""
        if self.status:
            return
        text = value.decode("latin-1").strip()
        before = self.headers.get(name)
        self.headers[name] = text if before is None else f"{before}, {text}"

    def begin(self, status: int) -> None:
        """The head came; one that tells of a later one (1xx) is passed over. NotHttp."""
        if 100 <= status < 200:
            self.headers.clear()
            return
        coding = self.headers.get("Transfer-Encoding")
        if coding is not None and coding.lower() != "chunked":
            raise NotHttp("a transfer coding that nobody asked for")
        length = self.headers.get("Content-Length")
        self.length = None if length is None else int(length)
        self.has_end = coding is not None or length is not None
        self.status = status

    def add(self, chunk: bytes) -> bool:
        """A piece of the body came; whether so much waits now that no more should."""
        self._pieces.append(chunk)
        self._waiting += len(chunk)
        return self._waiting > READ_BYTES

    def take_plain(self, data: bytes) -> bool:
        """Takes all of an answer that came at once; False: it takes a parser to read it.

        A parser would read the same.
        """
        head = _PLAIN_HEAD(data)
        if head is None or head[2] is None:
            return False
        begin, length = head.end(), int(head[2])
        if len(data) - begin != length or length > READ_BYTES:
            return False
        self.headers["Content-Length"] = head[2].decode()
        if head[1] is not None:
            self.headers["Content-Type"] = head[1].decode().strip()
        self.status, self.length = 200, length
        self.has_end = self.is_whole = True
        self._pieces.append(data[begin:])
        self._waiting = length
        return True

    def fail(self, error: Exception) -> None:
        """Nothing more will come."""
        if not self.is_whole and self.error is None:
            self.error = error

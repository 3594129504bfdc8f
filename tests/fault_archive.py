"""An HTTP server that fails on purpose, in ways that no real archive does on demand.

It speaks HTTP by hand, so that every byte, and every byte that is missing, is the test's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import gzip
import http
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.loopback import LoopbackServer

DICOM_JSON = "application/dicom+json"
WRITE_BYTES = 64 * 1024

Framing = Literal["length", "chunked", "close"]
Ending = Literal["complete", "cut", "left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one request is answered. Without any fault set, it is answered as a good server would."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = DICOM_JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Framing = "length"
    """How the body's end is told: by Content-Length, by chunks, or only by the connection's end."""
    length: int | None = None
    """Content-Length to claim instead of the true one."""
    cut_after: int | None = None
    """Bytes of the body after which the connection is closed, whatever was announced."""
    stall: bool = False
    """Nothing at all is sent until `FaultArchive.release`, or until the caller or server leaves."""
    stall_after: int | None = None
    """The same, after the head and so many bytes of the body."""
    chunk_bytes: int = WRITE_BYTES
    """The body is written in pieces of this size."""
    chunk_seconds: float = 0
    """Pause before each piece: a slow archive."""
    endless: bool = False
    """The body is repeated until the caller leaves; `framing` must not be length."""
    raw: bytes | None = None
    """Sent as it stands instead of a head and a body: what is not HTTP at all."""


Behaviour = Answer | Callable[["Seen"], Answer]


@dataclass(slots=True, kw_only=True, eq=False)
class Seen:
    """A request as it came, and what became of its answer."""

    method: str
    path: str
    """Path and query, not decoded."""
    headers: tuple[tuple[str, str], ...]
    """In the order and the case in which they came."""
    body: bytes
    sent: int = 0
    """Bytes of the answer's body that the caller's side took so far."""
    ending: Ending | None = None
    """`left`: the caller went away first; None while the answer is under way."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with `ending`: `await asyncio.wait_for(seen.ended.wait(), 5)`."""

    @property
    def route(self) -> str:
        """The path without the query."""
        return self.path.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first value of a header, in any case; None when it did not come."""
        lower = name.lower()
        return next((value for key, value in self.headers if key.lower() == lower), None)


class FaultArchive(LoopbackServer):
    """A server on loopback whose paths answer as they were told to; anything else is 404.

    Use it as a context manager: `async with FaultArchive() as archive`.
    """

    def __init__(self) -> None:
        """A server that listens only once it is entered."""
        super().__init__()
        self.requests: list[Seen] = []
        self.connections = 0
        """Connections taken so far: two requests on one connection count once."""
        self._behaviours: dict[str, list[Behaviour]] = {}
        self._arrived = asyncio.Condition()
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        """Base address, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def on(self, path: str, *behaviours: Behaviour) -> None:
        """Answer `path` so: the first request by the first behaviour, and so on; the last stays.

        `path` is compared without the query and may hold `*`; the path told last wins.
        """
        self._behaviours.pop(path, None)
        self._behaviours[path] = list(behaviours)

    def release(self) -> None:
        """Let all stalled answers go on, and stall no more."""
        self._released.set()

    async def wait_for(self, count: int = 1, seconds: float = 10) -> list[Seen]:
        """The requests, as soon as there are `count` of them; TimeoutError if they do not come."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection."""
        self.connections += 1
        while await self._request(reader, writer):
            pass

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection can serve another one."""
        seen = await _read(reader)
        self.requests.append(seen)
        async with self._arrived:
            self._arrived.notify_all()
        ending: Ending = "left"
        try:
            answer = self._answer(seen)
            ending = await self._send(seen, answer, reader, writer)
        finally:
            seen.ending = ending
            seen.ended.set()
        return ending == "complete" and answer.framing != "close" and answer.raw is None

    def _answer(self, seen: Seen) -> Answer:
        for path, behaviours in reversed(self._behaviours.items()):
            if seen.route == path or fnmatch.fnmatchcase(seen.route, path):
                behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
                return behaviour if isinstance(behaviour, Answer) else behaviour(seen)
        return Answer(status=404)

    async def _send(
        self, seen: Seen, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Ending:
        if answer.stall:
            await self._stall(reader)
        if answer.raw is not None:
            writer.write(answer.raw)
            await writer.drain()
            return "complete"
        writer.write(_head(answer))
        if seen.method == "HEAD":
            await writer.drain()
            return "complete"
        for piece in _pieces(answer):
            if answer.stall_after is not None and seen.sent >= answer.stall_after:
                await self._stall(reader)
            if answer.chunk_seconds:
                await asyncio.sleep(answer.chunk_seconds)
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if _chunked(answer) else piece)
            await writer.drain()
            seen.sent += len(piece)
        if answer.cut_after is not None:
            return "cut"
        writer.write(b"0\r\n\r\n" if _chunked(answer) else b"")
        await writer.drain()
        return "complete"

    async def _stall(self, reader: asyncio.StreamReader) -> None:
        """Wait for `release`; ConnectionResetError when the caller leaves first."""
        async with asyncio.TaskGroup() as group:
            waits = {group.create_task(_gone(reader)), group.create_task(self._released.wait())}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        if not self._released.is_set():
            raise ConnectionResetError


async def _gone(reader: asyncio.StreamReader) -> None:
    """Returns when the caller has left."""
    with contextlib.suppress(ConnectionError):
        await reader.read(1)


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name, value.strip()) for name, _, value in pairs)
    seen = Seen(method=method, path=path, headers=headers, body=b"")
    seen.body = await reader.readexactly(int(seen.header("Content-Length") or 0))
    return seen


def _chunked(answer: Answer) -> bool:
    return answer.framing == "chunked"


def _head(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    if answer.content_type is not None:
        lines.append(f"Content-Type: {answer.content_type}")
    if answer.framing == "length":
        length = len(answer.body) if answer.length is None else answer.length
        lines.append(f"Content-Length: {length}")
    else:
        chunked = _chunked(answer)
        lines.append("Transfer-Encoding: chunked" if chunked else "Connection: close")
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _pieces(answer: Answer) -> Iterable[bytes]:
    """The body in pieces, up to the cut and with a border where the answer stalls."""
    body = answer.body if answer.cut_after is None else answer.body[: answer.cut_after]
    borders = sorted({0, min(answer.stall_after or 0, len(body)), len(body)})
    while True:
        for start, end in itertools.pairwise(borders):
            for at in range(start, end, answer.chunk_bytes):
                yield body[at : min(at + answer.chunk_bytes, end)]
        if not answer.endless:
            return


def json_answer(value: Any, **changes: Any) -> Answer:
    """A value as application/dicom+json: `json_answer([row.to_json_dict()])`."""
    return Answer(body=json.dumps(value).encode(), **changes)


def multipart_answer(
    parts: Sequence[bytes],
    *,
    part_type: str = "application/dicom",
    boundary: str = "cut-here",
    closed: bool = True,
    **changes: Any,
) -> Answer:
    """multipart/related as Orthanc frames it; not `closed`: the last boundary is missing."""
    body = b"".join(
        b"--%b\r\nContent-Type: %b\r\nContent-Length: %d\r\nMIME-Version: 1.0\r\n\r\n%b\r\n"
        % (boundary.encode(), part_type.encode(), len(part), part)
        for part in parts
    )
    body += b"--%b--\r\n" % boundary.encode() if closed else b""
    content_type = f'multipart/related; type="{part_type}"; boundary={boundary}'
    return Answer(**{"body": body, "content_type": content_type, "framing": "close"} | changes)


def gzip_bomb(mebibytes: int, **changes: Any) -> Answer:
    """A small body that inflates to so many MiB of JSON white space."""
    body = gzip.compress(b" " * (mebibytes << 20), compresslevel=1, mtime=0)
    return Answer(**{"body": body, "headers": {"Content-Encoding": "gzip"}} | changes)


def redirect(location: str, status: int = 302) -> Answer:
    """A redirect; an archive has no business sending one."""
    return Answer(status=status, headers={"Location": location}, content_type=None)

"""Many small requests over kept connections, and how much CPU a server takes for one."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import cast

import uvloop

from bench.ground.processes import cpu_seconds

CONNECTIONS = 16
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The last answer of a load."""

    head: bytes
    body: bytes


@dataclass(slots=True)
class _Run:
    """How many requests are still to be sent, how many answers to come, and the end of it."""

    unsent: int
    unanswered: int
    done: asyncio.Future[Reply]


NUMBER = b"{number}"
"""Stands in a request for a number that is another each time."""
FRAME = b"{frame}"
"""Stands in a request for the number of a frame, which are asked for in turn."""
FRAMES = 32
GROUP = b"{group}"
"""Stands for the number of a group of numbers that come after each other."""
GROUP_SIZE = 500


class _Client(asyncio.Protocol):
    """One connection that asks the same again and again."""

    def __init__(self, request: bytes, run: _Run) -> None:
        self._request = request
        self._run = run
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head, body = self._buffer[:end], self._buffer[end + 4 :]
        length = _LENGTH.search(head)
        if len(body) < int(length[1]) if length else not body.endswith(b"\r\n0\r\n\r\n"):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(ValueError(f"answered {head[:200]!r} {body[:200]!r}"))
            return
        self._buffer = b""
        self._run.unanswered -= 1
        if self._run.unanswered == 0:
            self._run.done.set_result(Reply(head=head, body=body))
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or EOFError("the server closed the connection"))

    def _ask(self) -> None:
        if self._run.unsent:
            self._run.unsent -= 1
            number = self._run.unsent
            asked = self._request.replace(NUMBER, b"%08d" % number)
            asked = asked.replace(GROUP, b"%d" % (number // GROUP_SIZE))
            self._transport.write(asked.replace(FRAME, b"%d" % (1 + number % FRAMES)))

    def _fail(self, error: Exception) -> None:
        if not self._run.done.done():
            self._run.done.set_exception(error)
        self._transport.abort()


async def _asked(port: int, request: bytes, count: int, connections: int) -> Reply:
    loop = asyncio.get_running_loop()
    run = _Run(unsent=count, unanswered=count, done=loop.create_future())
    clients = [
        await loop.create_connection(lambda: _Client(request, run), "127.0.0.1", port)
        for _ in range(connections)
    ]
    reply: Reply = await run.done
    for transport, _ in clients:
        transport.abort()
    return reply


def get(path: str, **fields: str) -> bytes:
    """A GET request; `accept_encoding="gzip"` for a field."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()]
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{''.join(lines)}\r\n".encode()


def ask(port: int, request: bytes, count: int = 1, connections: int = CONNECTIONS) -> Reply:
    """The last answer to `count` requests, at most `connections` at a time; ValueError: no 200."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_asked(port, request, count, min(connections, count)))


def cpu_per_request(pid: int, port: int, request: bytes, count: int) -> float:
    """CPU seconds that a process tree takes for one of `count` requests."""
    before = cpu_seconds(pid)
    ask(port, request, count)
    return (cpu_seconds(pid) - before) / count

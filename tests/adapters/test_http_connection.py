"""One connection to a server whose every byte is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.adapters.http_answer import READ_BYTES, Answer, BrokenOff, Lost, NotHttp
from gateway.adapters.http_connection import Connection
from tests.loops import on_both_loops

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Opened:
    """A connection, whether it ended, and how often it was free again."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.free = 0
        self.connection = Connection(lambda _: self.ended.set(), self._freed)

    def _freed(self, _: Connection) -> None:
        self.free += 1

    async def ask(self, seconds: float = 5, head_seconds: float = 5) -> Answer:
        return await self.connection.ask(ASK, seconds, head_seconds)

    async def body(self, answer: Answer) -> bytes:
        body = b""
        while chunk := await answer.chunk(5):
            body += chunk
        return body


@asynccontextmanager
async def opened(script: Script) -> AsyncIterator[Opened]:
    """A connection to a server that does as `script` says, which gets each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    one = Opened()
    port = server.sockets[0].getsockname()[1]
    await asyncio.get_running_loop().create_connection(lambda: one.connection, "127.0.0.1", port)
    try:
        yield one
    finally:
        one.connection.abort()
        await one.ended.wait()
        server.close()
        await server.wait_closed()


def saying(*answers: bytes, stays: bool = True) -> Script:
    """A server that gives each request the next of `answers`, and then waits or leaves."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        if stays:
            await reader.read()

    return script


def told(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


LARGE = bytes(range(256)) * 2000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        told(b"abc"),
        CHUNKED + b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nTrailer: 1\r\nContent-Type: no\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Type: no\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + told(b"abc"),
        told(b"abc").replace(b"Content-Length", b"content-LENGTH"),
        told(b"abc").replace(b"\r\n", b"\n"),
        CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=[
        "length",
        "chunks",
        "1xx before",
        "other case",
        "bare line feeds",
        "space behind a size",
        "1.0 kept",
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 20], ids=["byte by byte", "at once"])
@on_both_loops
async def test_an_answer_is_read_and_its_connection_used_again(answer: bytes, step: int) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            for at in range(0, len(answer), step):
                writer.write(answer[at : at + step])
                await asyncio.sleep(0)
        await reader.read()

    async with opened(script) as one:
        for times in (1, 2):
            found = await one.ask()
            assert (found.status, found.has_end, await one.body(found)) == (200, True, b"abc")
            assert "Content-Type" not in found.headers
            found.let_go()
            found.let_go()
            assert one.free == times


@pytest.mark.parametrize("size", [READ_BYTES, READ_BYTES + 1, len(LARGE)])
@pytest.mark.parametrize("cut", [0, 1, READ_BYTES + 1, -1])
@on_both_loops
async def test_a_large_body_is_read_and_its_connection_used_again(size: int, cut: int) -> None:
    """The rest of the first comes once its head, and so much behind it, was read."""
    body, head_size = LARGE[:size], len(told(LARGE[:size])) - size
    rest = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (told(body), told(b"small"), told(body)):
            await reader.readuntil(b"\r\n\r\n")
            at = head_size + cut if cut >= 0 else len(answer) - 1
            writer.write(answer[:at])
            await rest.wait()
            writer.write(answer[at:])
        await reader.read()

    async with opened(script) as one:
        for times, expected in enumerate((body, b"small", body), 1):
            found = await one.ask()
            came = await found.chunk(5) if cut > 0 and not rest.is_set() else b""
            rest.set()
            assert came + await one.body(found) == expected
            found.let_go()
            assert one.free == times


@pytest.mark.parametrize(
    "answer",
    [
        told(LARGE, "Connection: close"),
        told(LARGE).replace(b"1.1", b"1.0", 1),
        told(LARGE) + b"garbage",
        told(LARGE) + told(b"smuggled"),
        told(LARGE) + bytes(1_000_000),
    ],
    ids=["close", "1.0", "garbage", "another answer", "a lot behind it"],
)
@on_both_loops
async def test_a_connection_with_something_behind_a_large_answer_is_not_used_again(
    answer: bytes,
) -> None:
    async with opened(saying(answer)) as one:
        found = await one.ask()
        assert await one.body(found) == LARGE
        found.let_go()
        await one.ended.wait()
        assert one.free == 0


@pytest.mark.parametrize("missing", [1, 1000, len(LARGE) - READ_BYTES, len(LARGE)])
@on_both_loops
async def test_a_large_body_that_is_cut_is_never_whole(missing: int) -> None:
    async with opened(saying(told(LARGE)[:-missing], stays=False)) as one:
        found = await one.ask()
        with pytest.raises(BrokenOff):
            await one.body(found)
        assert not found.is_whole
        found.let_go()
        assert one.free == 0


@on_both_loops
async def test_a_length_without_a_body_does_not_count_for_the_next_answer() -> None:
    head = f"HTTP/1.1 304 Not Modified\r\nContent-Length: {len(LARGE)}\r\n\r\n".encode()
    async with opened(saying(head, told(LARGE), head, told(b"abc"))) as one:
        for expected in (b"", LARGE, b"", b"abc"):
            found = await one.ask()
            assert await one.body(found) == expected
            found.let_go()
        assert one.free == 4


@on_both_loops
async def test_small_chunks_that_came_together_are_read_together() -> None:
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in b"abcdefgh" * 100)
    async with opened(saying(CHUNKED + pieces + b"0\r\n\r\n")) as one:
        found = await one.ask()
        while not found.is_whole:
            await one.connection.next(5)
        assert await found.chunk(5) == b"abcdefgh" * 100
        assert await found.chunk(5) == b""


@pytest.mark.parametrize(
    "answer",
    [
        told(b"abc", "Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        told(b"abc") + b"garbage",
        told(b"abc") + told(b"smuggled"),
        told(b"abc") + b"\0" * 1_000_000,
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + told(b"smuggled"),
    ],
    ids=["close", "1.0", "garbage", "another answer", "a lot behind it", "another behind chunks"],
)
@on_both_loops
async def test_a_connection_with_something_behind_an_answer_is_not_used_again(
    answer: bytes,
) -> None:
    async with opened(saying(answer)) as one:
        found = await one.ask()
        assert await one.body(found) == b"abc"
        found.let_go()
        await one.ended.wait()
        assert one.free == 0
        with pytest.raises(Lost):
            await one.ask()


@on_both_loops
async def test_what_comes_without_being_asked_for_ends_the_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(told(b"unasked"))
        await reader.read()

    async with opened(script) as one:
        await one.ended.wait()


@on_both_loops
async def test_what_comes_later_than_its_end_does_not_touch_a_whole_answer() -> None:
    may_go = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(told(b"abc"))
        await may_go.wait()
        writer.write(told(b"late"))
        await reader.read()

    async with opened(script) as one:
        found = await one.ask()
        may_go.set()
        await one.ended.wait()
        assert await one.body(found) == b"abc"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 two\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        CHUNKED[:-2] + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000,
    ],
)
@on_both_loops
async def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    async with opened(saying(answer)) as one:
        with pytest.raises(NotHttp):
            await one.ask()
        await one.ended.wait()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Lost),
        (b"HTTP/1.1 200 OK\r\nConte", Lost),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Lost),
        (told(b"abcd")[:-1], BrokenOff),
        (CHUNKED + b"3\r\nabc\r\n", BrokenOff),
        (CHUNKED + b"3\r\nab", BrokenOff),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", BrokenOff),
        (CHUNKED + b"zz\r\nabc", NotHttp),
        (CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n", NotHttp),
        (CHUNKED + b"1;" + b"x" * 200_000, NotHttp),
        (CHUNKED + b"0\r\n" + b"X: y\r\n" * 50_000, NotHttp),
    ],
)
@on_both_loops
async def test_a_cut_or_broken_answer_is_never_whole(answer: bytes, error: type[Exception]) -> None:
    async with opened(saying(answer, stays=False)) as one:
        with pytest.raises(error):
            await one.body(await one.ask())
    async with opened(saying(answer, stays=False)) as one:
        with pytest.raises(error):
            await (await one.ask()).whole(1000, 5)


@on_both_loops
async def test_without_length_the_end_of_the_connection_is_that_of_the_body() -> None:
    async with opened(saying(b"HTTP/1.1 200 OK\r\n\r\nabc", stays=False)) as one:
        found = await one.ask()
        assert not found.has_end
        assert await one.body(found) == b"abc"
        found.let_go()
        assert one.free == 0


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@on_both_loops
async def test_an_answer_that_has_no_body_is_whole_at_once(status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()
    async with opened(saying(head, head)) as one:
        for times in (1, 2):
            found = await one.ask()
            assert await one.body(found) == b""
            found.let_go()
            assert one.free == times


@on_both_loops
async def test_fields_that_come_twice_are_joined_and_unknown_ones_forgotten() -> None:
    fields = ("content-encoding: gzip", "Content-Encoding: gzip", "X-Odd: 1", "Set-Cookie: a=b")
    async with opened(saying(told(b"", *fields))) as one:
        found = await one.ask()
        assert found.headers == {"Content-Encoding": "gzip, gzip", "Content-Length": "0"}


@pytest.mark.parametrize(("size", "is_small"), [(0, True), (100, True), (101, False)])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
@on_both_loops
async def test_a_small_body_comes_as_a_whole_and_of_a_large_one_nothing_is_lost(
    size: int, *, is_small: bool, is_chunked: bool
) -> None:
    body = b"x" * size
    pieces = b"".join(b"1\r\nx\r\n" for _ in body)
    answer = CHUNKED + pieces + b"0\r\n\r\n" if is_chunked else told(body)
    async with opened(saying(answer)) as one:
        found = await one.ask()
        assert await found.whole(100, 5) == (body if is_small else None)
        assert await one.body(found) == (b"" if is_small else body)


@on_both_loops
async def test_a_reader_who_waits_makes_the_server_wait() -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 26))
        while sent < 1 << 26:
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16
        await reader.read()

    async with opened(script) as one:
        found = await one.ask()
        assert await found.chunk(5)
        seen = -1
        while seen != sent:  # until nothing moves any more
            seen = sent
            await asyncio.sleep(0.2)
        assert sent < 1 << 25
        got = 0
        while chunk := await found.chunk(5):
            got += len(chunk)
        assert got > (1 << 26) - (1 << 19)
        found.let_go()
        assert one.free == 1


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "silent", "whole"), [(saying(b"HTTP/1.1 2"), 0.15, 20), (trickle, 5, 0.5)]
)
@on_both_loops
async def test_a_head_that_does_not_come_is_a_timeout(
    script: Script, silent: float, whole: float
) -> None:
    async with opened(script) as one:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await one.ask(silent, whole)
        assert min(silent, whole) * 0.7 < time.monotonic() - started < 5
        await one.ended.wait()


async def test_what_comes_together_with_its_timer_is_not_late() -> None:
    """On asyncio's loop, which reads before it looks at timers."""
    more = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(told(b"abc")[:-2])
        await more.wait()
        writer.write(b"b")
        time.sleep(0.2)  # noqa: ASYNC251 - both are due when the loop has its next turn
        await reader.read()

    async with opened(script) as one:
        found = await one.ask()
        assert await found.chunk(5) == b"a"
        more.set()
        assert await found.chunk(0.1) == b"b"
        assert one.connection.is_open


@on_both_loops
async def test_a_body_that_stalls_is_a_timeout_however_long_its_reader_took() -> None:
    answer = told(b"abcd")[:-1]
    async with opened(saying(answer)) as one:
        found = await one.ask(0.1, 5)
        await asyncio.sleep(0.2)  # the reader's own time
        assert await found.chunk(0.1) == b"abc"
        with pytest.raises(TimeoutError):
            await found.chunk(0.1)
        await one.ended.wait()
        with pytest.raises(BrokenOff):
            await found.chunk(0.1)


@on_both_loops
async def test_who_leaves_closes_the_connection() -> None:
    async with opened(saying(b"")) as one:
        asking = asyncio.ensure_future(one.ask())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await one.ended.wait()
    async with opened(saying(told(b"abcd")[:-1])) as one:
        (await one.ask()).let_go()
        await one.ended.wait()
        assert one.free == 0


@on_both_loops
async def test_an_idle_connection_closes_when_its_time_is_over() -> None:
    async with opened(saying(told(b"abc"))) as one:
        found = await one.ask()
        await one.body(found)
        found.let_go()
        one.connection.watch(0.05)
        assert one.connection.is_open
        await one.ended.wait()
        assert not one.connection.is_open

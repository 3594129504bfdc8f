"""Large bodies read in large pieces, over TCP and TLS, on both loops."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.adapters.http_answer import READ_BYTES
from gateway.adapters.http_connection import Connection
from gateway.adapters.http_reading import MOST_AT_ONCE
from tests.certificates import Authority
from tests.loops import on_both_loops

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
NOISE = random.Random(39).randbytes(3_000_000)  # noqa: S311 - nobody is to guess it


def in_chunks(body: bytes, size: int) -> bytes:
    """An answer in HTTP chunks of one size."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    framed = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def told(body: bytes) -> bytes:
    """An answer whose head tells its length."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Those of a server and of its client."""
    folder: Path = tmp_path_factory.mktemp("tls")
    issued = Authority(folder).issue("server")
    server = issued.served()
    server.verify_mode = ssl.CERT_NONE
    return server, ssl.create_default_context(cafile=issued.ca_file)


@asynccontextmanager
async def answering(
    answers: Sequence[bytes], contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None
) -> AsyncIterator[Connection]:
    """A connection to a server that gives each request the next of `answers`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    theirs, ours = contexts or (None, None)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=theirs)
    ended = asyncio.Event()
    connection = Connection(lambda _: ended.set(), lambda _: None)
    port = server.sockets[0].getsockname()[1]
    await asyncio.get_running_loop().create_connection(
        lambda: connection, "127.0.0.1", port, ssl=ours
    )
    try:
        yield connection
    finally:
        connection.abort()
        await ended.wait()
        server.close()


async def pieces(connection: Connection) -> list[bytes]:
    """The body of an answer as it comes."""
    answer = await connection.ask(ASK, 5, 5)
    found = []
    while chunk := await answer.chunk(5):
        found.append(chunk)
    answer.let_go()
    return found


@pytest.mark.parametrize("is_tls", [False, True], ids=["TCP", "TLS"])
@on_both_loops
async def test_large_and_small_bodies_follow_each_other_on_a_connection(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], *, is_tls: bool
) -> None:
    bodies = (NOISE, b"small", NOISE[:READ_BYTES], NOISE, NOISE[1:], b"", NOISE)
    answers = [
        told(bodies[0]),
        told(bodies[1]),
        in_chunks(bodies[2], 100),
        in_chunks(bodies[3], 8192),
        in_chunks(bodies[4], 1_000_000),
        in_chunks(bodies[5], 1),
        told(bodies[6]),
    ]
    async with answering(answers, contexts if is_tls else None) as connection:
        for body in bodies:
            assert b"".join(await pieces(connection)) == body
            assert connection.is_open


@on_both_loops
async def test_pieces_of_a_large_body_are_large_and_bounded() -> None:
    for answer in (told(NOISE * 10), in_chunks(NOISE * 10, 8192)):
        async with answering([answer], None) as connection:
            sizes = [len(one) for one in await pieces(connection)]
        assert sum(sizes) == 10 * len(NOISE)
        assert max(sizes) <= READ_BYTES + MOST_AT_ONCE
        assert len(sizes) < 10 * len(NOISE) / READ_BYTES


@on_both_loops
async def test_for_who_is_slow_little_is_read_ahead() -> None:
    async with answering([told(NOISE * 10)], None) as connection:
        answer = await connection.ask(ASK, 5, 5)
        sizes = []
        while chunk := await answer.chunk(5):
            sizes.append(len(chunk))
            for _ in range(20):  # of the loop's turns, in each of which it could read
                await asyncio.sleep(0)
    assert sum(sizes) == 10 * len(NOISE)
    assert max(sizes[2:]) <= 2 * READ_BYTES


@on_both_loops
async def test_bodies_that_come_at_the_same_time_are_not_mixed_up() -> None:
    bodies = [bytes([number]) * 2_000_000 for number in range(8)]
    async with asyncio.TaskGroup() as tasks:
        for number, body in enumerate(bodies):
            answer = told(body) if number % 2 else in_chunks(body, 5000)
            tasks.create_task(compare(answer, body))


async def compare(answer: bytes, body: bytes) -> None:
    async with answering([answer] * 3, None) as connection:
        for _ in range(3):
            assert b"".join(await pieces(connection)) == body

"""A body goes out as it is written; a caller who does not take it is let go, no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway import outlet
from gateway.app import build_app
from gateway.config import Settings
from gateway.outlet import Outlet
from tests.loops import on_both_loops

Writing = Callable[[Outlet], Awaitable[None]]
LARGE = bytes(range(256)) * 4000


@asynccontextmanager
async def asked(
    writing: Writing, version: str = "1.1", length: int | None = None
) -> AsyncIterator[asyncio.StreamReader]:
    """What the gateway's server sends to who asks it for something that is written so."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = length
        await response.prepare(request)
        async with Outlet(request, response).watched() as one:
            await writing(one)
        return response

    app = build_app(Settings())
    app.router.add_get("/x", handler)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
        writer.write(f"GET /x HTTP/{version}\r\nHost: gateway\r\n\r\n".encode())
        try:
            yield reader
        finally:
            writer.close()


async def chunks(reader: asyncio.StreamReader) -> list[bytes]:
    """The chunks of an answer; IncompleteReadError: it breaks off."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head
    found = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        found.append(await reader.readexactly(size))
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return found


@on_both_loops
async def test_what_is_held_goes_out_with_what_comes_next() -> None:
    async def writing(one: Outlet) -> None:
        one.hold(b"a")
        one.hold(b"b")
        await one.write(b"c")
        one.hold(b"d")
        await one.write(b"")
        await one.write(LARGE)
        await one.write(LARGE)
        one.hold(b"f")
        await one.end()

    async with asked(writing) as reader:
        assert b"".join(await chunks(reader)) == b"abcd" + LARGE + LARGE + b"f"


@on_both_loops
async def test_a_large_piece_may_come_first() -> None:
    async def writing(one: Outlet) -> None:
        one.hold(b"head")
        await one.write(LARGE)
        await one.end()

    async with asked(writing) as reader:
        assert b"".join(await chunks(reader)) == b"head" + LARGE


@pytest.mark.parametrize(("version", "length"), [("1.1", 2 * len(LARGE) + 2), ("1.0", None)])
@on_both_loops
async def test_nothing_is_added_where_the_end_is_told_otherwise(
    version: str, length: int | None
) -> None:
    async def writing(one: Outlet) -> None:
        one.hold(b"a")
        await one.write(LARGE)
        await one.write(LARGE)
        one.hold(b"z")
        await one.end()

    async with asked(writing, version, length) as reader:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(2 * len(LARGE) + 2) == b"a" + LARGE + LARGE + b"z"


@on_both_loops
async def test_what_breaks_off_does_not_look_whole() -> None:
    async def writing(one: Outlet) -> None:
        await one.write(LARGE)
        raise ConnectionError

    async with asked(writing) as reader:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await chunks(reader)


@pytest.mark.parametrize("size", [100, 65536, 1 << 20])
@on_both_loops
async def test_a_caller_who_does_not_read_is_let_go(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(outlet, "WRITE_STALL_SECONDS", 0.3)
    ended = asyncio.Event()
    written = 0

    async def writing(one: Outlet) -> None:
        nonlocal written
        try:
            while True:
                await one.write(bytes(size))
                written += size
        finally:
            ended.set()

    async with asked(writing) as reader:
        await asyncio.wait_for(ended.wait(), 20)
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert written < 32 << 20


@on_both_loops
async def test_a_caller_who_left_ends_it() -> None:
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def writing(one: Outlet) -> None:
        try:
            while True:
                await one.write(LARGE)
        except BaseException as error:
            ended.set_result(error)
            raise

    async with asked(writing) as reader:
        await reader.readexactly(1000)
    assert isinstance(await asyncio.wait_for(ended, 5), ConnectionError | asyncio.CancelledError)


@on_both_loops
async def test_a_caller_who_waits_for_more_is_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "WRITE_STALL_SECONDS", 0.05)

    async def writing(one: Outlet) -> None:
        for _ in range(4):
            await one.write(b"x")
            await asyncio.sleep(0.1)
        await one.end()

    async with asked(writing) as reader:
        assert b"".join(await chunks(reader)) == b"xxxx"

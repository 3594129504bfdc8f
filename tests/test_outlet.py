"""A caller who does not take a body is let go; one who waits for it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from gateway import outlet
from gateway.app import build_app
from gateway.config import Settings
from gateway.outlet import Outlet

Writing = Callable[[Outlet], Awaitable[None]]


async def serving(aiohttp_client: AiohttpClient, writing: Writing) -> TestClient[Any, Any]:
    """A client of the gateway's server, at whose `/x` something is written."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async with Outlet(response).watched() as one:
            await writing(one)
        return response

    app = build_app(Settings())
    app.router.add_get("/x", handler)
    return await aiohttp_client(app)


async def test_what_is_held_goes_out_with_what_comes_next(aiohttp_client: AiohttpClient) -> None:
    async def writing(one: Outlet) -> None:
        one.hold(b"a")
        one.hold(b"b")
        await one.write(b"c")
        one.hold(b"d")
        await one.write(b"")
        await one.write(b"e" * 100_000)
        one.hold(b"f")
        await one.end()

    answer = await (await serving(aiohttp_client, writing)).get("/x")
    assert await answer.read() == b"abcd" + b"e" * 100_000 + b"f"


async def test_a_caller_who_does_not_read_is_let_go(
    aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "WRITE_STALL_SECONDS", 0.3)
    ended = asyncio.Event()

    async def writing(one: Outlet) -> None:
        try:
            while True:
                await one.write(bytes(65536))
        finally:
            ended.set()

    client = await serving(aiohttp_client, writing)
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=1024)
    writer.write(b"GET /x HTTP/1.1\r\nHost: gateway\r\n\r\n")
    await asyncio.wait_for(ended.wait(), 10)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_caller_who_waits_for_more_is_not_let_go(
    aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "WRITE_STALL_SECONDS", 0.05)

    async def writing(one: Outlet) -> None:
        for _ in range(4):
            await one.write(b"x")
            await asyncio.sleep(0.1)
        await one.end()

    answer = await (await serving(aiohttp_client, writing)).get("/x")
    assert await answer.read() == b"xxxx"

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpServer

from gateway.adapters.origin_client import OriginClient
from gateway.errors import Unavailable


async def answers(request: web.Request) -> web.StreamResponse:
    if "away" in request.query:
        raise web.HTTPFound("/elsewhere")
    if "long" in request.query:
        return web.Response(body=b"x" * 5000)
    if "cut" in request.query:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x")
        if request.transport is not None:
            request.transport.close()
        return response
    return web.Response(body=await request.read(), status=201)


async def ask(aiohttp_server: AiohttpServer, query: str) -> OriginClient:
    app = web.Application()
    app.router.add_route("*", "/", answers)
    server = await aiohttp_server(app)
    return OriginClient("the other side", f"http://127.0.0.1:{server.port}/{query}", max_bytes=4096)


async def test_an_answer_is_given_whatever_its_status(aiohttp_server: AiohttpServer) -> None:
    client = await ask(aiohttp_server, "")
    answer = await client.ask("POST", form={"a": "b c"})
    assert (answer.status, answer.body) == (201, b"a=b+c")
    assert (await client.ask("PUT", body=b"{}")).body == b"{}"
    await client.close()


async def test_redirects_are_not_followed(aiohttp_server: AiohttpServer) -> None:
    client = await ask(aiohttp_server, "?away")
    assert (await client.ask("GET")).status == 302
    await client.close()


@pytest.mark.parametrize("query", ["?long", "?cut"])
async def test_what_is_not_whole_is_no_answer(aiohttp_server: AiohttpServer, query: str) -> None:
    client = await ask(aiohttp_server, query)
    with pytest.raises(Unavailable, match="the other side"):
        await client.ask("GET")
    await client.close()


async def test_nobody_there_is_no_answer() -> None:
    for url in ("http://127.0.0.1:1/", "http://169.254.169.254/"):
        client = OriginClient("the other side", url)
        with pytest.raises(Unavailable):
            async with asyncio.timeout(5):
                await client.ask("GET")
        await client.close()

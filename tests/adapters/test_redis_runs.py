"""Which run of a server is talked to."""

from __future__ import annotations

import asyncio

import redis.asyncio

from gateway.adapters.redis_client import Limits, connect, disconnect
from gateway.adapters.redis_runs import Runs
from tests.servers import RedisServer

LIMITS = Limits(connect_seconds=2, operation_seconds=1)


async def test_each_start_of_a_server_is_a_run_of_its_own(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, LIMITS)
    runs, seen = Runs(client), set()
    for _ in range(2):
        await client.ping()
        seen.add(runs.of("a"))
        await asyncio.to_thread(redis_server.restart)
    assert len(seen) == 2
    assert b"" not in seen
    await disconnect(client)


async def test_all_who_ask_one_server_are_told_the_same(redis_server: RedisServer) -> None:
    told = set()
    for _ in range(2):
        client = connect(redis_server.url, LIMITS)
        runs = Runs(client)
        await client.ping()
        told.add(runs.of("a"))
        await disconnect(client)
    assert len(told) == 1


async def test_server_that_may_not_be_asked_is_used_all_the_same(
    redis_server: RedisServer,
) -> None:
    async with redis.asyncio.Redis.from_url(redis_server.url) as admin:
        await admin.acl_setuser(
            "gw", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-info"]
        )
        client = connect(redis_server.url.replace("redis://", "redis://gw:pw@"), LIMITS)
        runs = Runs(client)
        try:
            assert await client.set("a", b"1")
            assert await client.get("a") == b"1"
            assert runs.of("a") == b""
        finally:
            await disconnect(client)
            await admin.acl_deluser("gw")

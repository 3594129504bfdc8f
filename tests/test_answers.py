"""Finished answers are given again only while all that they were made from is current."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpClient

from gateway import disclosures
from gateway.adapters.cache import MemoryCache
from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.telemetry import Telemetry
from gateway.answers import ANSWERS, Answers, kept
from gateway.disclosures import Disclosures
from gateway.errors import ArchiveTimeout
from gateway.http_server import CONSUMER
from gateway.model import Consumer, Identifier, Patient, Study
from tests.adapters.caches import Clock, Source, age, key, memory, shared
from tests.standing import Client

MAX_BYTES = 100_000


@dataclass
class Surface:
    """A handler over a cache, and how often it ran."""

    cache: MemoryCache | RedisCache
    clock: Clock
    source: Source = field(default_factory=lambda: Source(b"one"))
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"1"'})
    status: int = 200
    runs: int = 0
    redis_url: str | None = None

    async def handler(self, request: web.Request) -> web.StreamResponse:
        self.runs += 1
        try:
            body = await self.cache.load(key("a"), self.source)
        except ArchiveTimeout:
            body = b"without"
        body += request.headers.get("Accept", "").encode() + request[CONSUMER].id.encode()
        return web.Response(status=self.status, body=body, headers=self.headers)


@web.middleware
async def as_consumer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    request[CONSUMER] = Consumer(id=request.headers.get("Authorization", "nobody"))
    return await handler(request)


async def client_of(surface: Surface, aiohttp_client: AiohttpClient) -> Client:
    app = web.Application(middlewares=[as_consumer])
    app[ANSWERS] = Answers(surface.cache, max_bytes=MAX_BYTES, telemetry=Telemetry())
    app.router.add_get("/x", kept(surface.handler))
    return await aiohttp_client(app)


@pytest.fixture(params=["memory", "redis"])
async def surface(request: pytest.FixtureRequest) -> AsyncIterator[Surface]:
    clock = Clock()
    url = request.getfixturevalue("redis_server").url if request.param == "redis" else None
    cache: MemoryCache | RedisCache = memory(clock) if url is None else shared(clock, url)
    yield Surface(cache, clock, redis_url=url)
    await cache.close()


@pytest.fixture
async def client(surface: Surface, aiohttp_client: AiohttpClient) -> Client:
    return await client_of(surface, aiohttp_client)


async def text(client: Client, path: str = "/x", **headers: str) -> str:
    given = {"Accept": "", "User-Agent": "one", **headers}
    return await (await client.get(path, headers=given)).text()


async def test_the_same_question_is_answered_again_from_what_is_kept(
    surface: Surface, client: Client
) -> None:
    first = await client.get("/x", headers={"User-Agent": "one"})
    again = await client.get("/x", headers={"User-Agent": "two", "X-Request-Id": "12345678"})
    assert await first.read() == await again.read()
    assert again.headers["ETag"] == '"1"'
    assert again.status == 200
    assert surface.runs == 1


async def test_another_question_or_consumer_is_answered_anew(
    surface: Surface, client: Client
) -> None:
    answers = [
        await text(client),
        await text(client, Accept="text/html"),
        await text(client, "/x?y"),
        await text(client, Authorization="someone"),
    ]
    assert answers == ["onenobody", "onetext/htmlnobody", "onenobody", "onesomeone"]
    assert surface.runs == 4
    assert (await client.head("/x")).status == 200
    assert surface.runs == 5


async def test_what_an_answer_discloses_is_noted_each_time(aiohttp_client: AiohttpClient) -> None:
    cache, runs = memory(Clock()), 0
    shown = Study(uid="1.1", archives=(), patient=Patient(id=Identifier(value="A")))
    hidden = Study(uid="1.2", archives=())
    noted: list[Disclosures] = []

    @web.middleware
    async def noting(request: web.Request, handler: Any) -> web.StreamResponse:
        noted.append(Disclosures())
        token = disclosures.CURRENT.set(noted[-1])
        try:
            response: web.StreamResponse = await handler(request)
            return response
        finally:
            disclosures.CURRENT.reset(token)

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal runs
        runs += 1
        disclosures.shown(shown)
        disclosures.denied(hidden)
        return web.Response(body=await cache.load(key("a"), Source()))

    app = web.Application(middlewares=[as_consumer, noting])
    app[ANSWERS] = Answers(cache, max_bytes=MAX_BYTES, telemetry=Telemetry())
    app.router.add_get("/x", kept(handler))
    client = await aiohttp_client(app)
    for _ in range(3):
        await text(client)
    assert runs == 1
    expected = Disclosures({"1.1": Identifier(value="A")}, {"1.2": None})
    assert noted == [expected] * 3


async def test_a_value_that_was_forgotten_is_not_answered_from(
    surface: Surface, client: Client
) -> None:
    await text(client)
    surface.source.value = b"two"
    await surface.cache.forget(key("a"))
    assert await text(client) == "twonobody"


async def test_a_value_that_is_no_longer_young_is_looked_at_again(
    surface: Surface, client: Client
) -> None:
    await text(client)
    surface.source.value = b"two"
    surface.source.ended.clear()
    surface.clock.seconds += 61
    if surface.redis_url is not None:
        await age(surface.redis_url, 61)
    assert await text(client) == "onenobody"  # stale, and served while it is looked at again
    await asyncio.wait_for(surface.source.ended.wait(), 10)
    surface.clock.seconds += 2  # what Redis was seen to hold is believed no longer
    async with asyncio.timeout(10):  # the load has ended; what it gave is being kept
        while await text(client) != "twonobody":
            surface.clock.seconds += 2
    assert surface.source.runs == 2


async def test_what_an_archive_failed_for_is_not_kept(surface: Surface, client: Client) -> None:
    surface.source.error = ArchiveTimeout("late", archive="north")
    assert await text(client) == "withoutnobody"
    surface.source.error = None
    assert await text(client) == "onenobody"


@pytest.mark.parametrize(
    ("status", "headers"),
    [(404, {}), (206, {}), (200, {"Warning": '299 gateway "archive north"'})],
    ids=["error", "partial", "warning"],
)
async def test_what_is_no_whole_answer_is_not_kept(
    surface: Surface, client: Client, status: int, headers: dict[str, str]
) -> None:
    surface.status, surface.headers = status, headers
    await text(client)
    await text(client)
    assert surface.runs == 2


async def test_an_answer_that_nothing_was_read_for_is_not_kept(
    aiohttp_client: AiohttpClient,
) -> None:
    runs = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal runs
        runs += 1
        return web.Response(body=b"x")

    app = web.Application(middlewares=[as_consumer])
    cache = memory(Clock())
    app[ANSWERS] = Answers(cache, max_bytes=MAX_BYTES, telemetry=Telemetry())
    app.router.add_get("/x", kept(handler))
    client = await aiohttp_client(app)
    await text(client)
    await text(client)
    assert runs == 2


async def test_a_value_that_changes_while_an_answer_is_made_is_not_kept_with_it(
    aiohttp_client: AiohttpClient,
) -> None:
    cache = memory(Clock())
    values = [b"one", b"two"]

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await cache.load(key("a"), Source(values[0]))
        if len(values) == 2:
            del values[0]
            await cache.forget(key("a"))
            await cache.load(key("a"), Source(values[0]))
        return web.Response(body=body)

    app = web.Application(middlewares=[as_consumer])
    app[ANSWERS] = Answers(cache, max_bytes=MAX_BYTES, telemetry=Telemetry())
    app.router.add_get("/x", kept(handler))
    client = await aiohttp_client(app)
    assert await text(client) == "one"
    assert await text(client) == "two"


async def test_what_is_kept_stays_within_its_bound(aiohttp_client: AiohttpClient) -> None:
    surface = Surface(memory(Clock()), Clock())
    surface.source.value = b"x" * 5000
    client = await client_of(surface, aiohttp_client)
    answers = client.app[ANSWERS]
    for number in range(100):
        await text(client, f"/x?{number}")
    assert 50_000 < answers.bytes_held <= MAX_BYTES
    await text(client, "/x?99")
    assert surface.runs == 100
    await text(client, "/x?0")
    assert surface.runs == 101
    await text(client, "/x?" + "y" * 5000)
    await text(client, "/x?" + "y" * 5000)
    assert surface.runs == 103


async def test_reads_of_tasks_begun_within_count_too(aiohttp_client: AiohttpClient) -> None:
    clock = Clock()
    surface = Surface(memory(clock), clock)

    async def handler(request: web.Request) -> web.StreamResponse:
        async with asyncio.TaskGroup() as tasks:
            one = tasks.create_task(surface.handler(request))
        return one.result()

    app = web.Application(middlewares=[as_consumer])
    app[ANSWERS] = Answers(surface.cache, max_bytes=MAX_BYTES, telemetry=Telemetry())
    app.router.add_get("/x", kept(handler))
    client = await aiohttp_client(app)
    await text(client)
    await text(client)
    assert surface.runs == 1
    clock.seconds += 61
    await text(client)
    assert surface.runs == 2

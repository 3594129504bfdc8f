"""Redis shared by several processes, and every way in which it can be away."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import redis.asyncio
from structlog.testing import capture_logs

from gateway.adapters.cache_names import Names
from gateway.adapters.cache_redis import LOOK_SECONDS, RedisCache
from gateway.adapters.redis_client import Limits
from gateway.adapters.redis_envelope import Envelope, Envelopes
from gateway.adapters.redis_loads import LOAD_SECONDS
from gateway.adapters.redis_locks import LOCK_SECONDS
from gateway.adapters.redis_store import NO_EPOCH
from gateway.adapters.telemetry import Telemetry
from gateway.errors import ArchiveTimeout
from tests.adapters.caches import KEY, PATIENT, Clock, Source, age, heard, key, settled, shared
from tests.adapters.delaying_proxy import DelayingProxy
from tests.servers import NOBODY, RedisServer

BRIEF = Limits(connect_seconds=0.1, operation_seconds=0.05, pause_seconds=2)
NAMES = Names()
NAME = NAMES.value(KEY)
MARKS = NAMES.marks(KEY)
NAMES_SEALED = Names(b"sixteen characters")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pair(
    redis_server: RedisServer, clock: Clock
) -> AsyncIterator[tuple[RedisCache, RedisCache]]:
    """Two processes' caches over one Redis."""
    caches = shared(clock, redis_server.url), shared(clock, redis_server.url)
    yield caches
    for cache in caches:
        await cache.close()


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        yield client


async def test_two_processes_share_one_load(pair: tuple[RedisCache, RedisCache]) -> None:
    source = Source(gate=asyncio.Event())
    loads = [asyncio.ensure_future(cache.load(KEY, source)) for cache in pair for _ in range(100)]
    await source.started.wait()
    assert source.gate is not None
    source.gate.set()
    assert set(await asyncio.gather(*loads)) == {b"one"}
    assert source.runs == 1


async def test_second_process_finds_what_the_first_loaded(
    pair: tuple[RedisCache, RedisCache],
) -> None:
    await pair[0].load(KEY, Source(b"one"))
    source = Source(b"two")
    assert await pair[1].load(KEY, source) == b"one"
    assert source.runs == 0


async def test_value_is_as_old_in_one_process_as_in_the_other(
    pair: tuple[RedisCache, RedisCache], clock: Clock, redis_server: RedisServer
) -> None:
    await heard(*pair)
    clock.seconds += 1
    await pair[0].load(KEY, Source(b"one"))
    clock.seconds += 40
    await age(redis_server.url, 40)
    await pair[1].load(KEY, Source(b"two"))
    clock.seconds += 21
    await age(redis_server.url, 21)
    source = Source(b"two")
    assert await pair[1].load(KEY, source) == b"one"
    await settled()
    assert source.given == [b"one"]


async def test_one_process_revalidates_for_both(
    pair: tuple[RedisCache, RedisCache], clock: Clock, redis_server: RedisServer
) -> None:
    await heard(*pair)
    clock.seconds += 1
    for cache in pair:
        await cache.load(KEY, Source(b"old"))
    clock.seconds += 61
    await age(redis_server.url, 61)
    source = Source(b"new", gate=asyncio.Event())
    assert [await cache.load(KEY, source) for cache in pair] == [b"old", b"old"]
    await source.started.wait()
    assert source.gate is not None
    source.gate.set()
    await settled()
    assert source.runs == 1
    assert [await cache.load(KEY, source) for cache in pair] == [b"new", b"new"]


async def test_what_one_process_forgets_the_other_drops_within_a_second(
    pair: tuple[RedisCache, RedisCache], clock: Clock
) -> None:
    for cache in pair:
        await cache.load(KEY, Source(b"old"))
    await pair[0].forget(KEY)
    clock.seconds += LOOK_SECONDS
    source = Source(b"new")
    assert await pair[1].load(KEY, source) == b"new"
    assert source.given == [None]


async def test_load_of_one_process_that_another_forgot_meanwhile_is_not_kept(
    pair: tuple[RedisCache, RedisCache], clock: Clock
) -> None:
    slow = Source(b"old", gate=asyncio.Event())
    waiting = asyncio.ensure_future(pair[0].load(KEY, slow))
    await slow.started.wait()
    await pair[1].forget(KEY)
    assert await pair[1].load(KEY, Source(b"new")) == b"new"
    assert slow.gate is not None
    slow.gate.set()
    assert await waiting == b"old"
    clock.seconds += LOOK_SECONDS
    assert [await cache.load(KEY, Source(b"none")) for cache in pair] == [b"new", b"new"]


async def test_waiter_goes_on_its_own_when_the_holder_of_the_lock_died(
    pair: tuple[RedisCache, RedisCache], client: redis.asyncio.Redis
) -> None:
    seen = await pair[0]._store.look(KEY)
    assert seen is not None
    await client.set(f"{NAME}:lock:{seen.epoch.hex()}", b"1", px=round(LOCK_SECONDS * 1000))
    started = time.monotonic()
    assert await pair[0].load(KEY, Source(b"one")) == b"one"
    assert 1.5 < time.monotonic() - started < 10
    assert await pair[1].load(KEY, Source(b"two")) == b"one"


async def test_next_one_takes_over_as_soon_as_the_lock_of_a_dead_holder_ends(
    pair: tuple[RedisCache, RedisCache], client: redis.asyncio.Redis
) -> None:
    await heard(*pair)
    seen = await pair[0]._store.look(KEY)
    assert seen is not None
    name = f"{NAME}:lock:{seen.epoch.hex()}"
    late = []
    for number in range(5):
        ends_at = time.monotonic() + 0.3
        await client.set(name, b"1", px=300)
        source = Source(b"%d" % number, gate=asyncio.Event())
        loads = [asyncio.ensure_future(c.load(KEY, source)) for c in pair for _ in range(100)]
        await source.started.wait()
        late.append(time.monotonic() - ends_at)
        assert source.gate is not None
        source.gate.set()
        assert set(await asyncio.gather(*loads)) == {source.value}
        assert source.runs == 1
        await pair[0].forget(KEY)
        seen = await pair[0]._store.look(KEY)
        assert seen is not None
        name = f"{NAME}:lock:{seen.epoch.hex()}"
    assert min(late) < 0.05, late
    assert sorted(late)[2] < LOCK_SECONDS / 4, late


async def test_failed_load_of_one_process_lets_the_other_try_at_once(
    pair: tuple[RedisCache, RedisCache],
) -> None:
    failing = Source(error=ArchiveTimeout("no answer", archive="north"), gate=asyncio.Event())
    first = asyncio.ensure_future(pair[0].load(KEY, failing))
    await failing.started.wait()
    second = asyncio.ensure_future(pair[1].load(KEY, Source(b"one")))
    assert failing.gate is not None
    failing.gate.set()
    with pytest.raises(ArchiveTimeout):
        await first
    async with asyncio.timeout(1):
        assert await second == b"one"


async def test_key_names_tell_nothing_of_what_they_are_for(
    pair: tuple[RedisCache, RedisCache], client: redis.asyncio.Redis
) -> None:
    await pair[0].load(KEY, Source())
    await pair[0].forget(KEY)
    await pair[0].load(KEY, Source())
    names = [name.decode() async for name in client.scan_iter("*")]
    assert names
    assert all(name.startswith("gw:3:{") and "1.2.3" not in name for name in names)
    assert all([await client.pttl(name) > 0 for name in names])


GARBAGE = {
    "empty": b"",
    "text": b"hello",
    "json": b'{"value": 1}',
    "magic alone": b"GW",
    "zeros": bytes(64),
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07garbage\x94.",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_in_redis_is_a_miss_and_replaced(
    garbage: bytes, pair: tuple[RedisCache, RedisCache], client: redis.asyncio.Redis
) -> None:
    await client.set(NAME, garbage, px=60_000)
    assert await pair[0].load(KEY, Source(b"one")) == b"one"
    assert await pair[1].load(KEY, Source(b"two")) == b"one"


def _envelope(name: str = NAME, value: bytes = b"planted") -> bytes:
    envelope = Envelope(value=value, is_absent=False, life_ms=60_000, epoch=NO_EPOCH)
    return Envelopes().sealed(name, envelope)


TAMPERED = {
    "cut off": _envelope()[:-1],
    "longer": _envelope() + b"!",
    "bit flipped": _envelope()[:-1] + b"D",
    "of another key": _envelope(name=NAMES.value(key("other"))),
    "of another layout": b"GW\x01" + _envelope()[3:],
}


@pytest.mark.parametrize("raw", TAMPERED.values(), ids=TAMPERED)
async def test_tampered_value_is_a_miss(
    raw: bytes, pair: tuple[RedisCache, RedisCache], client: redis.asyncio.Redis
) -> None:
    await client.set(NAME, raw, px=60_000)
    assert await pair[0].load(KEY, Source(b"one")) == b"one"


async def test_value_that_would_never_expire_is_a_miss(
    pair: tuple[RedisCache, RedisCache], client: redis.asyncio.Redis
) -> None:
    await client.set(NAME, _envelope())
    assert await pair[0].load(KEY, Source(b"one")) == b"one"


async def test_wrong_redis_types_are_misses_and_replaced(
    pair: tuple[RedisCache, RedisCache], client: redis.asyncio.Redis
) -> None:
    for name in (NAME, *MARKS):
        await client.hset(name, "a", "b")
    assert await pair[0].load(KEY, Source(b"one")) == b"one"
    assert await pair[1].load(KEY, Source(b"two")) == b"one"
    await pair[0].forget(KEY)
    assert await pair[0].load(KEY, Source(b"three")) == b"three"


async def test_redis_that_is_not_there_costs_nothing_but_sharing(clock: Clock) -> None:
    cache = shared(clock, f"redis://127.0.0.1:{NOBODY.number}/0", limits=BRIEF)
    source = Source()
    started = time.monotonic()
    for number in range(200):
        assert await cache.load(key(number), source) == b"one"
        assert await cache.load(key(number), source) == b"one"
    await cache.forget(key("0"))
    await cache.load(key("0"), source)
    assert source.runs == 201
    assert time.monotonic() - started < 10
    await cache.close()


async def test_redis_that_never_answers_is_left_alone_after_a_moment(clock: Clock) -> None:
    connections = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with contextlib.suppress(asyncio.CancelledError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cache = shared(clock, f"redis://127.0.0.1:{port}/0", limits=BRIEF)
    started = time.monotonic()
    for number in range(200):
        assert await cache.load(key(number), Source()) == b"one"
    assert time.monotonic() - started < 5
    assert 1 <= len(connections) <= 7  # a few of them for notices, one for builds
    await cache.close()
    server.close()


async def test_frozen_redis_makes_a_hundred_callers_wait_only_once(
    redis_server: RedisServer, clock: Clock
) -> None:
    cache = shared(clock, redis_server.url, limits=BRIEF)
    await cache.load(key("warm"), Source())
    redis_server.freeze()
    started = time.monotonic()
    values = await asyncio.gather(*(cache.load(key(n), Source()) for n in range(100)))
    assert set(values) == {b"one"}
    assert time.monotonic() - started < 4
    redis_server.thaw()
    await cache.close()


async def test_killed_redis_fails_no_load_and_is_used_again_when_it_is_back(
    redis_server: RedisServer, clock: Clock
) -> None:
    telemetry = Telemetry()
    cache = shared(clock, redis_server.url, limits=PATIENT, telemetry=telemetry)
    other = shared(clock, redis_server.url)
    numbers = itertools.count()
    for _ in range(5):
        stop = asyncio.Event()

        async def load_until(stop: asyncio.Event) -> None:
            while not stop.is_set():
                number = next(numbers)
                assert await cache.load(key(f"study-{number}"), Source(b"%d" % number))

        async with asyncio.TaskGroup() as group:
            loads = [group.create_task(load_until(stop)) for _ in range(5)]
            await asyncio.to_thread(redis_server.kill)
            await asyncio.to_thread(redis_server.start)
            stop.set()
        assert all(load.exception() is None for load in loads)
        clock.seconds += PATIENT.pause_seconds
        last = key(f"study-{next(numbers)}")
        await cache.load(last, Source(b"shared"))
        assert await other.load(last, Source(b"own")) == b"shared"
    for each in (cache, other):
        await each.close()


async def test_what_was_forgotten_while_redis_was_away_stays_forgotten(
    redis_server: RedisServer, pair: tuple[RedisCache, RedisCache], clock: Clock
) -> None:
    away = shared(clock, redis_server.url, limits=BRIEF)
    await pair[0].load(KEY, Source(b"old"))
    await away.load(KEY, Source(b"none"))
    redis_server.freeze()
    await away.forget(KEY)
    redis_server.thaw()
    assert await away.load(KEY, Source(b"new")) == b"new"
    clock.seconds += 10
    assert await away.load(key("another"), Source()) == b"one"
    assert await pair[1].load(KEY, Source(b"newer")) in {b"new", b"newer"}
    await away.close()


async def test_stale_value_that_redis_lost_is_rebuilt_rather_than_revalidated(
    redis_server: RedisServer, pair: tuple[RedisCache, RedisCache], clock: Clock
) -> None:
    await pair[0].load(KEY, Source(b"old"))
    clock.seconds += 61
    redis_server.clear()
    silent = Source(error=ArchiveTimeout("no answer", archive="north"))
    assert await pair[0].load(KEY, silent) == b"old"
    source = Source(b"new")
    assert await pair[0].load(KEY, source) == b"new"
    assert source.given == [None]


async def test_value_is_believed_without_a_look_while_notices_are_heard(
    redis_server: RedisServer, pair: tuple[RedisCache, RedisCache], clock: Clock
) -> None:
    await heard(pair[0])
    await pair[0].load(KEY, Source(b"one"))
    clock.seconds += 30
    redis_server.clear()
    assert await pair[0].load(KEY, Source(b"two")) == b"one"


async def test_value_that_redis_lost_as_it_ended_serves_only_if_nothing_newer_can_be_had(
    redis_server: RedisServer, pair: tuple[RedisCache, RedisCache], clock: Clock
) -> None:
    """Nobody knows what was forgotten meanwhile."""
    await heard(pair[0])
    await pair[0].load(KEY, Source(b"one"))
    session = pair[0]._notices.session
    await asyncio.to_thread(redis_server.restart)
    while pair[0]._notices.session in {None, session}:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    clock.seconds += PATIENT.pause_seconds
    silent = Source(error=ArchiveTimeout("no answer", archive="north"))
    assert await pair[0].load(KEY, silent) == b"one"
    assert silent.runs == 1
    assert await pair[0].load(KEY, Source(b"two")) == b"two"


async def test_full_redis_still_serves_and_takes_writes_again_later(
    client: redis.asyncio.Redis, pair: tuple[RedisCache, RedisCache], clock: Clock
) -> None:
    await pair[0].load(KEY, Source(b"one"))
    await client.config_set("maxmemory", 1)
    try:
        assert await pair[1].load(KEY, Source(b"two")) == b"one"
        started = time.monotonic()
        for number in range(20):
            assert await pair[0].load(key(number), Source()) == b"one"
        assert time.monotonic() - started < PATIENT.operation_seconds
    finally:
        await client.config_set("maxmemory", 0)
    clock.seconds += PATIENT.full_pause_seconds
    await pair[0].load(key("later"), Source(b"shared"))
    assert await pair[1].load(key("later"), Source(b"own")) == b"shared"


async def test_wrong_password_is_never_an_error(
    client: redis.asyncio.Redis, redis_server: RedisServer, clock: Clock
) -> None:
    url = redis_server.url.replace("redis://", "redis://:wrong@")
    await client.config_set("requirepass", "right")
    try:
        cache = shared(clock, url, limits=BRIEF)
        for number in range(20):
            assert await cache.load(key(number), Source()) == b"one"
        await cache.close()
    finally:
        await client.config_set("requirepass", "")


async def test_read_only_replica_is_read_and_not_written(
    client: redis.asyncio.Redis, pair: tuple[RedisCache, RedisCache]
) -> None:
    await pair[0].load(KEY, Source(b"one"))
    await client.replicaof("127.0.0.1", str(NOBODY.number))
    try:
        started = time.monotonic()
        for number in range(20):
            assert await pair[1].load(key(number), Source()) == b"one"
        assert time.monotonic() - started < PATIENT.operation_seconds
        assert await pair[1].load(KEY, Source(b"two")) == b"one"
    finally:
        await client.replicaof("NO", "ONE")


async def test_what_one_process_remembers_another_recalls_after_a_restart(
    pair: tuple[RedisCache, RedisCache], clock: Clock, redis_server: RedisServer
) -> None:
    await pair[0].remember(KEY, b"one")
    assert await pair[1].recall(KEY) == (b"one",)
    await pair[1].remember(KEY, b"two")
    assert await pair[0].recall(KEY) == (b"one", b"two")
    restarted = shared(clock, redis_server.url)
    assert await restarted.recall(KEY) == (b"two",)
    await restarted.close()


async def test_what_is_remembered_survives_in_the_process_while_redis_is_away(
    redis_server: RedisServer, clock: Clock, client: redis.asyncio.Redis
) -> None:
    away = shared(clock, redis_server.url, limits=BRIEF)
    redis_server.freeze()
    await away.remember(KEY, b"one")
    assert await away.recall(KEY) == (b"one",)
    redis_server.thaw()
    clock.seconds += BRIEF.pause_seconds
    await client.flushall()
    assert await away.recall(KEY) == (b"one",)
    await away.close()


async def test_garbage_is_not_recalled(
    pair: tuple[RedisCache, RedisCache], client: redis.asyncio.Redis
) -> None:
    await pair[0].remember(KEY, b"one")
    (name,) = [name async for name in client.scan_iter("*")]
    for garbage in GARBAGE.values():
        await client.set(name, garbage)
        assert await pair[1].recall(KEY) == ()
    await client.delete(name)
    await client.hset(name.decode(), "a", "b")
    assert await pair[1].recall(KEY) == ()
    await pair[1].remember(KEY, b"two")
    assert set(await pair[0].recall(KEY)) == {b"one", b"two"}


async def test_cancelled_callers_never_get_another_ones_value(
    redis_server: RedisServer, clock: Clock
) -> None:
    cache = shared(clock, redis_server.url)
    for number in range(50):
        await cache.load(key(f"study-{number}"), Source(b"%d" % number))
    for round_number in range(20):
        clock.seconds += LOOK_SECONDS
        loads = [
            asyncio.ensure_future(cache.load(key(f"study-{number}"), Source(b"lost")))
            for number in range(50)
        ]
        for _ in range(round_number % 7):
            await asyncio.sleep(0)
        for load in loads[::2]:
            load.cancel()
        results = await asyncio.gather(*loads, return_exceptions=True)
        assert results[1::2] == [b"%d" % number for number in range(1, 50, 2)]
    await cache.close()


HOLDER = """
import asyncio, sys, os, signal
from tests.adapters.caches import Clock, Source, shared, KEY

async def main():
    source = Source(gate=asyncio.Event())
    load = asyncio.ensure_future(shared(Clock(), sys.argv[1]).load(KEY, source))
    await source.started.wait()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_process_killed_while_it_loads_delays_the_others_by_two_seconds(
    redis_server: RedisServer, clock: Clock
) -> None:
    root = Path(__file__).parents[2]
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", HOLDER, redis_server.url], cwd=root, check=False
    )
    cache = shared(clock, redis_server.url)
    started = time.monotonic()
    assert await cache.load(KEY, Source(b"one")) == b"one"
    assert 1.5 < time.monotonic() - started < 10
    await cache.close()


async def test_outcomes_are_counted_by_layer(redis_server: RedisServer, clock: Clock) -> None:
    telemetry = Telemetry()
    cache = shared(clock, redis_server.url, telemetry=telemetry)
    await cache.load(KEY, Source())
    clock.seconds += LOOK_SECONDS
    await cache.load(KEY, Source())
    text = telemetry.exposition()[0].decode()
    assert 'gateway_cache_reads_total{layer="redis",outcome="miss"} 1.0' in text
    assert 'gateway_cache_reads_total{layer="redis",outcome="hit"} 1.0' in text
    await cache.close()


def troubles(telemetry: Telemetry) -> set[str]:
    """What went wrong with Redis, by the metric."""
    text = telemetry.exposition()[0].decode()
    return set(re.findall(r'gateway_cache_troubles_total\{cause="([^"]+)"\}', text))


async def spend(cache: RedisCache, loads: int = 100) -> float:
    """The seconds that so many loads of keys of their own take; none of them fails."""
    started = time.monotonic()
    for number in range(loads):
        assert await cache.load(key(f"{number} {started}"), Source()) == b"one"
    return time.monotonic() - started


@pytest.mark.parametrize(
    ("seconds", "loads", "most"),
    [(0.2, 4, 7 * LOAD_SECONDS), (5.0, 100, 2)],
    ids=["slow", "hanging"],
)
async def test_slow_redis_is_left_alone_and_counted(
    seconds: float, loads: int, most: float, redis_server: RedisServer, clock: Clock
) -> None:
    telemetry = Telemetry()
    async with DelayingProxy(redis_server.port, seconds) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        cache = shared(clock, url, limits=BRIEF, telemetry=telemetry)
        assert await spend(cache, loads) < most
        assert troubles(telemetry) == {"late"}
        await cache.close()


async def test_redis_that_is_only_a_little_slow_is_used(
    redis_server: RedisServer, clock: Clock
) -> None:
    async with DelayingProxy(redis_server.port, 0.005) as proxy:
        limits = Limits(connect_seconds=2, operation_seconds=1)
        caches = [
            shared(clock, f"redis://127.0.0.1:{port}/0", limits=limits)
            for port in (proxy.port, redis_server.port)
        ]
        await heard(*caches)
        await caches[0].load(KEY, Source(b"one"))
        assert await caches[1].load(KEY, Source(b"two")) == b"one"
        for cache in caches:
            await cache.close()


async def looked(client: redis.asyncio.Redis, times: int) -> None:
    """Waits until Redis was looked into so many times more."""

    async def looks() -> int:
        return int((await client.info("commandstats"))["cmdstat_mget"]["calls"])

    end = await looks() + times
    async with asyncio.timeout(20):
        while await looks() < end:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seconds", [0.08, 0.15])
async def test_that_redis_that_is_late_still_keeps_processes_from_loading_the_same(
    seconds: float, redis_server: RedisServer, clock: Clock, client: redis.asyncio.Redis
) -> None:
    async with DelayingProxy(redis_server.port, seconds) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        caches = [shared(clock, url, limits=Limits()) for _ in range(2)]
        async with asyncio.timeout(20):
            for cache in caches:  # until there are connections: they take several answers
                await cache.load(key("first"), Source())
                await cache._loads.stored()
                while not cache._builds.takes_writes:
                    clock.seconds += Limits().pause_seconds
                    await cache.load(key(clock.seconds), Source())
                    await cache._loads.stored()
        source = Source(gate=asyncio.Event())
        loads = [asyncio.ensure_future(cache.load(KEY, source)) for cache in caches]
        await source.started.wait()
        await looked(client, 12)  # by the one who waits, for longer than reads are waited for
        assert source.runs == 1
        assert source.gate is not None
        source.gate.set()
        assert await asyncio.gather(*loads) == [b"one", b"one"]
        assert source.runs == 1
        for cache in caches:
            await cache.close()


async def test_that_redis_that_hangs_costs_one_who_loads_no_more_than_patience(
    redis_server: RedisServer, clock: Clock
) -> None:
    limits = Limits()
    caches = [shared(clock, redis_server.url, limits=limits) for _ in range(2)]
    await heard(*caches)
    gate = asyncio.Event()
    for cache in caches:
        await cache.load(key("before"), Source())
    source = Source(gate=gate)
    loads = [asyncio.ensure_future(cache.load(KEY, source)) for cache in caches]
    await source.started.wait()
    redis_server.freeze()
    started = time.monotonic()
    while source.runs < 2:  # whoever waits goes on alone
        source.started.clear()
        await source.started.wait()
    assert time.monotonic() - started < 2 * LOAD_SECONDS
    gate.set()
    assert await asyncio.gather(*loads) == [b"one", b"one"]
    started = time.monotonic()
    for number in range(100):
        assert await caches[0].load(key(f"{number} {started}"), Source()) == b"one"
    assert time.monotonic() - started < 2 * LOAD_SECONDS
    redis_server.thaw()
    for cache in caches:
        await cache.close()


class SlowlyLoading(RedisServer):
    """Redis with data on disk that it takes long to load."""

    key_load_delay = "0"

    def command(self) -> Sequence[str]:
        slowly = ["--key-load-delay", self.key_load_delay]
        return [*super().command(), *slowly, "--loading-process-events-interval-bytes", "1024"]


async def test_redis_that_loads_its_data_is_away(tmp_path: Path, clock: Clock) -> None:
    telemetry = Telemetry()
    with SlowlyLoading(tmp_path) as server:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.mset({f"key {number}": bytes(100) for number in range(5000)})
            await client.save()
        await asyncio.to_thread(server.kill)
        server.key_load_delay = "2000"
        await asyncio.to_thread(server.start)
        cache = shared(clock, server.url, telemetry=telemetry)
        assert await spend(cache) < 2
        assert troubles(telemetry) == {"loading"}
        await cache.close()


async def test_wrong_password_is_an_error_once_a_minute(
    client: redis.asyncio.Redis, redis_server: RedisServer, clock: Clock
) -> None:
    telemetry = Telemetry()
    url = redis_server.url.replace("redis://", "redis://:wrong@")
    await client.config_set("requirepass", "right")
    try:
        cache = shared(clock, url, limits=BRIEF, telemetry=telemetry)
        with capture_logs() as logs:
            for _ in range(70):
                await spend(cache, 3)
                clock.seconds += 1
        await cache.close()
    finally:
        await client.config_set("requirepass", "")
    assert [log["log_level"] for log in logs] == ["error", "error"]
    assert troubles(telemetry) == {"refused"}


async def test_full_and_read_only_redis_are_counted(
    client: redis.asyncio.Redis, redis_server: RedisServer, clock: Clock
) -> None:
    telemetry = Telemetry()
    cache = shared(clock, redis_server.url, telemetry=telemetry)
    await client.config_set("maxmemory", 1)
    try:
        assert await spend(cache) < 2
    finally:
        await client.config_set("maxmemory", 0)
    assert troubles(telemetry) == {"full"}
    clock.seconds += PATIENT.full_pause_seconds
    await client.replicaof("127.0.0.1", str(NOBODY.number))
    try:
        assert await spend(cache) < 2
    finally:
        await client.replicaof("NO", "ONE")
    assert troubles(telemetry) == {"full", "read-only"}
    await cache.close()


SECRET = b"sixteen characters"


async def test_sealed_values_are_shared_by_those_who_have_the_secret(
    redis_server: RedisServer, client: redis.asyncio.Redis, clock: Clock
) -> None:
    secrets = (SECRET, SECRET, b"another secret of some length", b"")
    caches = [shared(clock, redis_server.url, secret=secret) for secret in secrets]
    for number, cache in enumerate(caches):
        assert await cache.load(KEY, Source(b"DOE^JANE %d" % number)) == (
            b"DOE^JANE 0" if number < 2 else b"DOE^JANE %d" % number
        )
    mine = NAMES_SEALED.value(KEY)
    assert {mine, NAMES.value(KEY)} <= {name.decode() async for name in client.scan_iter("*")}
    raw = await client.get(mine)
    assert raw is not None
    assert b"DOE" not in raw
    for cache in caches:
        await cache.close()


@pytest.mark.parametrize("harm", ["swapped", "cut off", "flipped", "unsealed"])
async def test_harmed_sealed_value_is_a_miss_and_counted(
    harm: str, redis_server: RedisServer, client: redis.asyncio.Redis, clock: Clock
) -> None:
    first = shared(clock, redis_server.url, secret=SECRET)
    name, other = NAMES_SEALED.value(KEY), NAMES_SEALED.value(key("other"))
    await first.load(KEY, Source(b"one"))
    await first.load(key("other"), Source(b"another patient's"))
    raw = await client.get(name)
    assert isinstance(raw, bytes)
    harmed = {
        "swapped": await client.get(other),
        "cut off": raw[:-1],
        "flipped": raw[:-1] + bytes([raw[-1] ^ 1]),
        "unsealed": _envelope(name),
    }[harm]
    assert harmed is not None
    await client.set(name, harmed, px=60_000)
    telemetry = Telemetry()
    second = shared(clock, redis_server.url, secret=SECRET, telemetry=telemetry)
    assert await second.load(KEY, Source(b"loaded anew")) == b"loaded anew"
    assert telemetry.cache_reads()["redis garbage"] == 1
    for cache in (first, second):
        await cache.close()

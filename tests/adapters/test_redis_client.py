"""The Redis that a URL names, reached for real: by TLS, behind Sentinel, as a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway.adapters.cache_admin import CacheAdmin
from gateway.adapters.cache_names import Group, Key, Names
from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.redis_client import Limits, connect
from tests.adapters.caches import KEY, PATIENT, Source, dropped, heard, key, shared
from tests.adapters.redis_clusters import (
    Certificates,
    Cluster,
    Configured,
    Encrypted,
    Sentinel,
    cluster,
    until,
)
from tests.servers import NOBODY, HeldPort, RedisServer

LIMITS = Limits(connect_seconds=0.5, operation_seconds=0.3, pause_seconds=0.3)
NAMES = Names()
ACL = (
    "user gateway on >s3cret/pw ~gw:* resetchannels &gw:* -@all +mget +set +del +pttl"
    " +pexpire +publish +subscribe +unsubscribe +ping +info +select +scan +memory|usage"
)
ACL_OF_CLUSTER = "+cluster|slots +cluster|shards +command"
KEYS = tuple(key(number) for number in range(60))


@asynccontextmanager
async def two(url: str) -> AsyncIterator[tuple[RedisCache, RedisCache]]:
    """The caches of two processes that hear each other."""
    caches = tuple(shared(time.monotonic, url, limits=LIMITS) for _ in range(2))
    first, second = caches
    try:
        await heard(*caches)
        yield first, second
    finally:
        for each in caches:
            await each.close()


async def check_sharing(url: str) -> None:
    """One load for two processes; what one of them forgets, both load anew."""
    async with two(url) as (first, second):
        source = Source(gate=asyncio.Event())
        loads = [asyncio.ensure_future(each.load(KEY, source)) for each in (first, second)]
        await source.started.wait()
        assert source.gate is not None
        source.gate.set()
        assert await asyncio.gather(*loads) == [b"one", b"one"]
        assert source.runs == 1
        for what in (KEY, Group(study_uid=KEY.study_uid), Group(archive="north"), Group()):
            drops = second._memory.drops.now
            assert await first.forget(what)
            await dropped(second, drops)
            source = Source(b"%d" % drops)
            assert [await each.load(KEY, source) for each in (second, first)] == 2 * [source.value]
            assert source.runs == 1


async def load_all(cache: RedisCache, value: bytes, keys: tuple[Key, ...] = KEYS) -> list[bytes]:
    return [await cache.load(one, Source(value)) for one in keys]


@dataclass
class Reads:
    """What caches read again and again while something happens."""

    rounds: list[int]
    """How often each of them has read every key."""
    longest: float = 0.0

    def go_round(self) -> None:
        """Waits, in another thread, until each has begun and ended a round of its own."""
        before = list(self.rounds)
        until(lambda: all(now >= then + 2 for now, then in zip(self.rounds, before, strict=True)))


async def while_it_happens(
    caches: tuple[RedisCache, RedisCache], what: Callable[[Reads], None]
) -> float:
    """The longest that a load took meanwhile; none failed."""
    done, reads = asyncio.Event(), Reads([0 for _ in caches])

    async def load_until(number: int) -> None:
        while not done.is_set():
            for one in KEYS:
                began = time.monotonic()
                await caches[number].load(one, Source(b"one"))
                reads.longest = max(reads.longest, time.monotonic() - began)
                await asyncio.sleep(0)
            reads.rounds[number] += 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(len(caches)):
            tasks.create_task(load_until(number))
        await asyncio.to_thread(what, reads)
        done.set()
    return reads.longest


async def until_shared(first: RedisCache, second: RedisCache, one: Key) -> None:
    """Until what one process loads is found by the other: Redis is used again."""

    async def is_shared() -> bool:
        await first.forget(one)
        await first.load(one, Source(b"mine"))
        return await second.load(one, Source(b"theirs")) == b"mine"

    await eventually(is_shared)


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await is_so():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


async def test_cluster_is_shared_by_two_processes(three: Cluster) -> None:
    await check_sharing(three.url)


async def test_values_are_spread_over_a_cluster_counted_and_purged(three: Cluster) -> None:
    async with two(three.url) as (first, second):
        assert set(await load_all(first, b"old")) == {b"old"}
        assert set(await load_all(second, b"none")) == {b"old"}
        holders = {three.holder(NAMES.value(one)) for one in KEYS}
        assert len(holders) == 3
        admin = CacheAdmin(three.url, names=NAMES, secret=b"", longest_seconds=3600)
        found = await admin.stats()
        assert found.values >= len(KEYS)
        assert len(found.processes) == 2
        drops = second._memory.drops.now
        assert (await admin.purge(Group())).processes == 2
        await dropped(second, drops)
        assert set(await load_all(second, b"new")) == {b"new"}
        assert set(await load_all(first, b"none")) == {b"new"}
        await admin.close()


async def test_user_of_a_cluster_may_little(three: Cluster) -> None:
    for node in three.masters:
        node.told("ACL", "SETUSER", *ACL.split()[1:], *ACL_OF_CLUSTER.split())
    host = three.url.removeprefix("redis+cluster://")
    await check_sharing(f"redis+cluster://gateway:s3cret%2Fpw@{host}")


async def test_slot_that_moves_costs_no_load_its_value(three: Cluster) -> None:
    async with two(three.url) as caches:
        first, second = caches
        await load_all(first, b"one")
        name = NAMES.value(KEYS[0])
        slot, source = three.slot(name), three.holder(name)
        target = next(node for node in three.masters if node is not source)
        try:
            await while_it_happens(
                caches, lambda reads: three.move(slot, source, target, reads.go_round)
            )
            await until_shared(first, second, KEYS[0])
            drops = second._memory.drops.now
            await first.forget(KEYS[0])
            await dropped(second, drops)
            assert await second.load(KEYS[0], Source(b"new")) == b"new"
        finally:
            await asyncio.to_thread(three.move, slot, target, source, lambda: None)


@pytest.mark.parametrize("of", ["value", "marks and notices"])
async def test_master_that_is_gone_takes_its_values_only(three: Cluster, of: str) -> None:
    name = NAMES.value(KEYS[0]) if of == "value" else NAMES.channel
    lost = three.holder(name)
    async with two(three.url) as caches:
        first, second = caches
        await load_all(first, b"one")

        def kill(_: Reads) -> None:
            lost.kill()
            until(
                lambda: b"fail" in three.masters[lost is three.masters[0]].told("CLUSTER", "NODES")
            )

        try:
            assert await while_it_happens(caches, kill) < 5
            for number in range(3):
                assert await load_all(first, b"%d" % number)
        finally:
            await asyncio.to_thread(lost.start)
            await asyncio.to_thread(
                until,
                lambda: all(
                    b"cluster_slots_ok:16384" in n.told("CLUSTER", "INFO") for n in three.masters
                ),
            )
        await heard(first, second)
        for one in KEYS[:5]:
            await until_shared(first, second, one)


async def test_replica_takes_the_place_of_its_master(tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=3) as six:
        async with two(six.url) as caches:
            first, second = caches
            await load_all(first, b"one")
            lost = six.holder(NAMES.channel)
            replica = six.replicas[six.masters.index(lost)]

            def fail_over(_: Reads) -> None:
                lost.kill()
                until(lambda: replica.is_master)

            assert await while_it_happens(caches, fail_over) < 5
            await heard(first, second)
            for one in KEYS[:5]:
                await until_shared(first, second, one)
            drops = second._memory.drops.now
            assert await first.forget(KEYS[0])
            await dropped(second, drops)


async def test_callers_who_leave_a_cluster_get_nobody_elses_value(three: Cluster) -> None:
    async with two(three.url) as (first, second):
        await first.forget(Group())
        for number, one in enumerate(KEYS):
            await first.load(one, Source(b"%d" % number))
        for turns in range(10):
            loads = [asyncio.ensure_future(second.load(one, Source(b"lost"))) for one in KEYS]
            for _ in range(turns):
                await asyncio.sleep(0)
            for load in loads[::2]:
                load.cancel()
            results = await asyncio.gather(*loads, return_exceptions=True)
            assert set(results[1::2]) <= {b"%d" % n for n in range(1, 60, 2)} | {b"lost"}
            assert all(r in {b"%d" % n, b"lost"} for n, r in enumerate(results) if n % 2)
            for one in KEYS:
                second._memory.drop(one)
                second._looked.pop(one, None)


async def test_sentinel_names_the_redis_that_is_shared(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with Sentinel(tmp_path, redis_server.port) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{NOBODY.number},127.0.0.1:{sentinel.port}/mymaster/1"
        await check_sharing(url)


SENTINELS = {
    "password": ("requirepass s3cret/&+pw", "sentinel_password=s3cret%2F%26+pw"),
    "user": (
        "user gateway on >s3cret allchannels +@all",
        "sentinel_username=gateway&sentinel_password=s3cret",
    ),
}


@pytest.mark.parametrize(("setting", "query"), SENTINELS.values(), ids=SENTINELS)
async def test_sentinel_that_asks_for_a_password_of_its_own(
    setting: str, query: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    settings = (setting, "requirepass another") if "user" in setting else (setting,)
    with Sentinel(tmp_path, redis_server.port, *settings) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        await check_sharing(f"{url}?{query}")
        alone = shared(time.monotonic, url, limits=LIMITS)
        assert await alone.load(KEY, Source(b"own")) == b"own"
        await alone.close()


async def test_sentinel_makes_a_replica_master_and_caches_follow(tmp_path: Path) -> None:
    with Configured(tmp_path / "master") as master:
        to = ("--replicaof", f"127.0.0.1 {master.port}")
        with Configured(tmp_path / "replica", *to) as replica:
            until(lambda: replica.is_in_step)
            with Sentinel(tmp_path / "sentinel", master.port) as sentinel:
                until(lambda: sentinel.replicas == 1)
                url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
                async with two(url) as caches:
                    first, second = caches
                    await load_all(first, b"one")

                    def fail_over(_: Reads) -> None:
                        master.kill()
                        until(lambda: sentinel.master_port == replica.port)

                    assert await while_it_happens(caches, fail_over) < 5
                    await heard(first, second)
                    await until_shared(first, second, KEYS[0])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


async def test_tls_with_a_client_certificate_and_a_user_who_may_little(
    tmp_path: Path, certificates: Certificates
) -> None:
    with Encrypted(tmp_path, certificates) as server:
        server.told("ACL", "SETUSER", *ACL.split()[1:])
        user = f"gateway:{quote('s3cret/pw', safe='')}"
        url = f"rediss://{user}@127.0.0.1:{server.tls_port}/0?{certificates.query}"
        await check_sharing(url)
        admin = CacheAdmin(url, names=NAMES, secret=b"", longest_seconds=3600)
        assert (await admin.stats()).values == 1
        await admin.close()
        plain = url.replace(certificates.query, f"ssl_ca_certs={certificates.authority}")
        alone = shared(time.monotonic, plain, limits=LIMITS)
        assert await alone.load(KEY, Source(b"own")) == b"own"
        await alone.close()


async def test_sentinel_and_redis_by_tls(tmp_path: Path, certificates: Certificates) -> None:
    with Encrypted(tmp_path / "redis", certificates) as server:
        watcher = Sentinel(tmp_path / "sentinel", server.tls_port)
        certificate, key_file = certificates.of("server")
        tls = HeldPort()
        more = (
            f"tls-port {tls.number}\ntls-replication yes\ntls-cert-file {certificate}\n"
            f"tls-key-file {key_file}\ntls-ca-cert-file {certificates.authority}\n"
        )
        plain = watcher.command

        def command() -> list[str]:
            words = list(plain())
            with Path(words[1]).open("a") as file:
                file.write(more)
            return words

        watcher.command = command  # type: ignore[method-assign]  # a sentinel that speaks TLS too
        with watcher:
            url = f"rediss+sentinel://127.0.0.1:{tls.number}/mymaster?{certificates.query}"
            await check_sharing(url)


@pytest.mark.parametrize(
    "url", ["redis+sentinel://127.0.0.1:26379", "redis+cluster://,127.0.0.1", "redis+cluster://"]
)
def test_incomplete_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="needs"):
        connect(url, PATIENT)

"""The Redis that a URL names, reached for real: alone, behind Sentinel, as a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from gateway.adapters.redis_client import connect
from tests.adapters.caches import KEY, PATIENT, Clock, Source, shared
from tests.servers import RedisServer, free_port, program


class ClusterNode(RedisServer):
    """A cluster of one node that holds all slots."""

    def command(self) -> Sequence[str]:
        return [*super().command(), "--cluster-enabled", "yes", "--cluster-port", str(free_port())]

    def form(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
                pass

    def clear(self) -> None:
        """Nothing to do: the test uses it once."""


class SentinelServer(RedisServer):
    """A Sentinel that watches one Redis under the name `mymaster`."""

    def __init__(self, folder: Path, watched_port: int) -> None:
        super().__init__(folder)
        self.watched_port = watched_port

    def command(self) -> Sequence[str]:
        path = self.folder / "sentinel.conf"
        path.write_text(
            f"port {self.port}\nbind 127.0.0.1\n"
            f"sentinel monitor mymaster 127.0.0.1 {self.watched_port} 1\n"
        )
        return [program("redis-server"), str(path), "--sentinel"]


async def test_cluster_is_shared_by_two_processes(tmp_path: Path) -> None:
    with ClusterNode(tmp_path) as server:
        await asyncio.to_thread(server.form)
        url = f"redis+cluster://127.0.0.1:{server.port}"
        await check_sharing(url)


async def test_sentinel_names_the_redis_that_is_shared(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with SentinelServer(tmp_path, redis_server.port) as sentinel:
        nobody = free_port()
        url = f"redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{sentinel.port}/mymaster/1"
        await check_sharing(url)


async def check_sharing(url: str) -> None:
    first, second = shared(Clock(), url), shared(Clock(), url)
    source = Source(gate=asyncio.Event())
    loads = [asyncio.ensure_future(each.load(KEY, source)) for each in (first, second)]
    await source.started.wait()
    assert source.gate is not None
    source.gate.set()
    assert await asyncio.gather(*loads) == [b"one", b"one"]
    assert source.runs == 1
    await first.forget(KEY)
    assert await first.load(KEY, Source(b"two")) == b"two"
    for each in (first, second):
        await each.close()


@pytest.mark.parametrize(
    "url", ["redis+sentinel://127.0.0.1:26379", "redis+cluster://,127.0.0.1", "redis+cluster://"]
)
def test_incomplete_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="needs"):
        connect(url, PATIENT)

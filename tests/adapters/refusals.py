"""A Redis that is read and refuses to be written, in each way in which it does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from tests.servers import NOBODY, RedisServer

KINDS = ("full", "read-only", "cannot save", "without replicas", "not permitted")
WAIT_SECONDS = 20


@contextmanager
def refusing(server: RedisServer, kind: str) -> Iterator[None]:
    """While it takes no writes."""
    with redis.Redis.from_url(server.url) as client:
        try:
            _refuse(client, server, kind)
            yield
        finally:
            _relent(client, server)


def _refuse(client: redis.Redis, server: RedisServer, kind: str) -> None:
    if kind == "full":
        client.config_set("maxmemory", 1)
    elif kind == "read-only":
        client.replicaof("127.0.0.1", str(NOBODY.number))
    elif kind == "without replicas":
        client.config_set("min-replicas-to-write", 1)
    elif kind == "not permitted":
        client.acl_setuser("default", enabled=True, commands=["-set", "-del", "-pexpire"])
    else:
        (server.folder / "dump.rdb").mkdir()
        client.config_set("save", "1 1")
        client.bgsave()
        deadline = time.monotonic() + WAIT_SECONDS
        while client.info("persistence")["rdb_last_bgsave_status"] != "err":
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _relent(client: redis.Redis, server: RedisServer) -> None:
    client.acl_setuser("default", enabled=True, commands=["+@all"])
    client.replicaof("NO", "ONE")
    for option, value in (("maxmemory", 0), ("min-replicas-to-write", 0), ("save", "")):
        client.config_set(option, value)
    with suppress(FileNotFoundError):
        (server.folder / "dump.rdb").rmdir()

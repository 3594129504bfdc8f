"""A client for the Redis that a URL names, with limits fit for a cache: give up at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

UNHURRIED_SECONDS = 2.0
DEFAULT_PORTS = {"sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long Redis may take, and how long it is left alone after it failed."""

    connect_seconds: float = 0.1
    operation_seconds: float = 0.05
    max_connections: int = 64
    max_failures: int = 3
    pause_seconds: float = 2.0
    full_pause_seconds: float = 5.0
    log_pause_seconds: float = 60.0

    @property
    def total_seconds(self) -> float:
        """The most that one call may take: a connection, its greeting, a few round trips."""
        return self.connect_seconds + 4 * self.operation_seconds

    @property
    def unhurried(self) -> Limits:
        """Those of connections that are not given up because one answer is late."""
        return replace(self, connect_seconds=UNHURRIED_SECONDS, operation_seconds=UNHURRIED_SECONDS)


DEFAULT_LIMITS = Limits()


def connect(url: str, limits: Limits) -> Redis | RedisCluster:
    """A client for `url`; no connection is made yet. ValueError if the URL is incomplete.

    `redis://` and `rediss://` as redis-py reads them;
    `redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/database]`;
    `redis+cluster://[user:password@]host[:port][,host[:port]…]`; `rediss+…` of both, with TLS.
    With Sentinels, `?sentinel_username=…&sentinel_password=…` is what they ask for themselves.
    What else may follow `?` is what `config_checks_redis` knows.
    """
    kind = urlsplit(url).scheme.partition("+")[2]
    if kind == "sentinel":
        return _sentinel(url, limits)
    if kind == "cluster":
        user, nodes = _hosts(url)
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in nodes],
            require_full_coverage=False,
            **user | _encryption(url) | _options(limits),
        )
    return Redis.from_url(url, **_options(limits))


async def publish(client: Redis | RedisCluster, channel: str, message: bytes) -> int:
    """Publish where subscribers are, and tell how many there are: in a cluster, on one node."""
    if isinstance(client, Redis):
        heard = await client.publish(channel, message)
    else:
        await client.initialize()
        node = client.get_node_from_key(channel)
        heard = await client.execute_command("PUBLISH", channel, message, target_nodes=node)
    return int(heard)


async def refresh(client: Redis | RedisCluster) -> None:
    """Ask the nodes of a cluster which of them holds what by now."""
    if isinstance(client, RedisCluster):
        await client.initialize()
        await client.nodes_manager.initialize()


async def disconnect(client: Redis | RedisCluster) -> None:
    """Close all connections of `client`, those to Sentinels too."""
    pool = client.connection_pool if isinstance(client, Redis) else None
    await client.aclose()
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _sentinel(url: str, limits: Limits) -> Redis:
    user, hosts = _hosts(url)
    service, _, database = urlsplit(url).path.strip("/").partition("/")
    if not service:
        raise ValueError("redis+sentinel:// needs the service's name: …/mymaster")
    options = _options(limits) | _encryption(url)
    sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        hosts, sentinel_kwargs=options | _of_sentinels(url), **user, **options
    )
    master: Redis = sentinel.master_for(unquote(service), db=int(database or 0))
    return master


def _of_sentinels(url: str) -> dict[str, str]:
    """What `url` says that Sentinels themselves ask for: their user and password."""
    said = (pair.partition("=") for pair in urlsplit(url).query.split("&"))
    found = {name: unquote(value) for name, _, value in said if value}
    words = {"username": "sentinel_username", "password": "sentinel_password"}
    return {word: found[name] for word, name in words.items() if name in found}


def _hosts(url: str) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """User and password of `url`, where it has them, and its hosts with their ports."""
    parts = urlsplit(url)
    credentials, _, listed = parts.netloc.rpartition("@")
    name, _, password = credentials.partition(":")
    user = {"username": unquote(name), "password": unquote(password)}
    hosts = []
    for item in listed.split(","):
        one = urlsplit(f"//{item}")
        if not one.hostname:
            raise ValueError(f"{parts.scheme}:// needs a host before each comma")
        hosts.append((one.hostname, one.port or DEFAULT_PORTS[parts.scheme.partition("+")[2]]))
    return {word: value for word, value in user.items() if value}, hosts


def _encryption(url: str) -> dict[str, Any]:
    """What a `rediss` URL says of TLS, as redis-py reads it."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("rediss"):
        return {}
    found = dict(parse_url(f"rediss://host?{parts.query}"))
    return {name: value for name, value in found.items() if name.startswith("ssl")} | {"ssl": True}


def _options(limits: Limits) -> dict[str, Any]:
    """What all clients are told: short limits, no retries, plain RESP2, no greeting."""
    return {
        "socket_connect_timeout": limits.connect_seconds,
        "socket_timeout": limits.operation_seconds,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": limits.max_connections,
        "protocol": 2,
        "driver_info": None,
    }

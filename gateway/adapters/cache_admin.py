"""The shared cache as its keeper sees it: how much it holds, who uses it, and how it is emptied."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisClusterException, RedisError

from gateway.adapters.cache_names import Group, Names
from gateway.adapters.redis_client import Limits, connect, publish
from gateway.adapters.redis_complaints import Complaints, reason
from gateway.adapters.redis_envelope import Envelopes
from gateway.adapters.redis_notices import ASKED, DROPPED, notice
from gateway.adapters.redis_store import RedisStore
from gateway.adapters.telemetry import Telemetry
from gateway.errors import Unavailable

LIMITS = Limits(connect_seconds=2, operation_seconds=2)
REPLY_SECONDS = 2.5
"""How long processes have to tell how they are."""
_WEIGHED = 2000
"""So many keys are weighed; of more, the size is estimated by these."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a process that uses the cache tells: what it holds, and its reads by layer, outcome.

    `tag`: of its secret; None: it is of an earlier version, which does not tell.
    """

    entries: int
    bytes: int
    reads: dict[str, int]
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What there is in Redis, and in the processes; `bytes` is estimated where `is_estimated`.

    `foreign`: keys of another secret; `foreign_processes`: those that run with one.
    """

    values: int = 0
    remembered: int = 0
    marks: int = 0
    locks: int = 0
    bytes: int = 0
    is_estimated: bool = False
    redis_used_bytes: int | None = None
    redis_max_bytes: int | None = None
    redis_evicted_keys: int | None = None
    processes: tuple[Process, ...] = field(default=())
    foreign: int = 0
    foreign_processes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How many running processes heard of a purge, and how many have another secret."""

    processes: int
    foreign_processes: int


_process = msgspec.json.Decoder(Process).decode


class CacheAdmin:
    """The Redis at `url`. Every method raises Unavailable where it does not answer."""

    def __init__(self, url: str, *, names: Names, secret: bytes, longest_seconds: float) -> None:
        """All as the gateway has them."""
        self._client = connect(url, LIMITS)
        self._names = names
        self._store = RedisStore(
            self._client,
            names=names,
            envelopes=Envelopes(secret),
            publish=self._publish,
            limits=LIMITS,
            longest_seconds=longest_seconds,
            clock=time.monotonic,
            complaints=Complaints(Telemetry(), LIMITS, time.monotonic),
        )

    async def check(self) -> None:
        """Whether it answers at all."""
        with _as_unavailable():
            await self._client.ping()

    async def purge(self, group: Group) -> Purged:
        """Forget a group of values, at once in every process that has the same secret."""
        if not await self._store.forgetting.forget(group):
            raise Unavailable("the shared cache does not answer, or takes no writes")
        try:
            found = await self._processes()
        except (RedisError, RedisClusterException, OSError, TimeoutError):
            found = ()  # it is forgotten, and may be forbidden to subscribe to answers
        mine, others = self._by_secret(found)
        return Purged(processes=len(mine), foreign_processes=len(others))

    async def stats(self) -> Stats:
        """What the cache holds; takes a while where that is millions of keys."""
        with _as_unavailable():
            pattern = f"{self._names.prefix}*"
            found = [name async for name in self._client.scan_iter(pattern, count=_AT_ONCE)]
            names = [name for name in found if name.startswith(f"{self._names.own}{{".encode())]
            weighed = await self._weight(names[:_WEIGHED])
            kinds = [self._kind(name) for name in names]
            memory, counters = await self._info("memory"), await self._info("stats")
            mine, others = self._by_secret(await self._processes())
            return Stats(
                **{kind: kinds.count(kind) for kind in ("values", "remembered", "marks", "locks")},
                bytes=round(weighed * max(1, len(names) / _WEIGHED)),
                is_estimated=len(names) > _WEIGHED,
                redis_used_bytes=memory.get("used_memory"),
                redis_max_bytes=memory.get("maxmemory") or None,
                redis_evicted_keys=counters.get("evicted_keys"),
                processes=mine,
                foreign=len(found) - len(names),
                foreign_processes=len(others),
            )

    async def close(self) -> None:
        """Close all connections."""
        await self._store.close()

    async def _publish(self, mark: str, word: bytes = DROPPED) -> None:
        await publish(self._client, self._names.channel, notice(b"admin", mark, word))

    def _by_secret(self, found: tuple[Process, ...]) -> tuple[tuple[Process, ...], ...]:
        """The processes that have the same secret, and the others."""
        mine = tuple(one for one in found if one.tag in {None, self._names.tag})
        return mine, tuple(one for one in found if one not in mine)

    def _kind(self, name: bytes) -> str:
        """Of what kind a key is, by its name."""
        words = name.removeprefix(self._names.own.encode()).split(b":")
        if words[0] == b"{marks}" or words[-1] == b"mark":
            return "marks"
        if words[-1] == b"lasting":
            return "remembered"
        return "locks" if b"lock" in words else "values"

    async def _weight(self, names: list[bytes]) -> int:
        weight = 0
        for start in range(0, len(names), _AT_ONCE):
            pipeline = self._client.pipeline(transaction=False)
            for name in names[start : start + _AT_ONCE]:
                pipeline.memory_usage(name)
            weight += sum(each or 0 for each in await pipeline.execute())
        return weight

    async def _info(self, section: str) -> dict[str, Any]:
        """A section of INFO; {} of a cluster, which has one for each node."""
        if not isinstance(self._client, Redis):
            return {}
        found: dict[str, Any] = await self._client.info(section)
        return found

    async def _processes(self) -> tuple[Process, ...]:
        """What the processes that hear notices answer in time."""
        reply = f"{self._names.prefix}reply:{secrets.token_hex(8)}"
        async with self._subscribed(reply) as replies:
            asked = b" ".join((ASKED, reply.encode()))
            expected = await publish(self._client, self._names.channel, asked)
            found: list[Process] = []
            deadline = time.monotonic() + REPLY_SECONDS
            while len(found) < expected and time.monotonic() < deadline:
                message = await replies.get_message(timeout=0.1)
                if message is not None and message["type"] == "message":
                    found.append(_process(message["data"]))
            return tuple(found)

    @asynccontextmanager
    async def _subscribed(self, channel: str) -> AsyncIterator[Any]:
        subscription = self._client.pubsub()
        try:
            await subscription.subscribe(channel)
            message = None
            async with asyncio.timeout(LIMITS.total_seconds):
                while message is None:
                    message = await subscription.get_message(timeout=0.1)
            yield subscription
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]  # redis-py's


@contextmanager
def _as_unavailable() -> Any:
    try:
        yield
    except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
        raise Unavailable(f"the shared cache does not answer: {reason(error)}") from error

"""What one process drops, all others hear of: a channel in Redis, and whether it can be relied on.

The subscription counts as unbroken only while Redis answers on it. Redis answers in order, so that
everything published before a question is heard before its answer; a connection that hangs is no
longer believed after `LIVE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from gateway.adapters.ended import ended
from gateway.adapters.redis_client import Limits, publish, refresh
from gateway.adapters.redis_complaints import Complaints

LOG: structlog.typing.FilteringBoundLogger = structlog.get_logger()
PING_SECONDS = 0.25
LIVE_SECONDS = 0.75
"""How old the last answer on the subscription may be at the most."""
LAST_WAIT_SECONDS = 0.02
"""What came while this process was busy is heard before it is called late."""
SUBSCRIBE_SECONDS = 2.0
"""How long it may take to subscribe, and to answer: Redis may be late."""
FIRST_PAUSE_SECONDS = 0.1
"""How long after a break the subscription is tried again; doubled up to `Limits.pause_seconds`."""
REFUSED_PING: dict[str, Any] = {"type": "pong"}
"""A Redis that cannot save refuses PING as it does writes; that it does is an answer, in order."""
DROPPED = b"dropped"
REFUSED = b"refused"
"""What bears a mark is forgotten, and Redis refuses to replace the mark."""
STILL_REFUSED = b"still-refused"
TOLD = b"told"
"""By now the mark is replaced."""
ASKED = b"asked"


class Publish(Protocol):
    """What tells all other processes of a mark."""

    async def __call__(self, mark: str, word: bytes = DROPPED) -> None:
        """Tell them that it was replaced, or what else `word` says of it."""


def notice(sender: bytes, mark: str, word: bytes = DROPPED) -> bytes:
    """What is published, which the process that is `sender` need not hear."""
    return b" ".join((word, sender, mark.encode()))


class Notices:
    """The notices of one process. Whoever makes it closes it."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        channel: str,
        dropped: Callable[[str], None],
        refused: Callable[[bytes, str], None],
        broken: Callable[[], None],
        told: Callable[[], bytes],
        standing: Callable[[], None],
        limits: Limits,
        complaints: Complaints,
    ) -> None:
        """`dropped` hears the marks that others replace, `standing` now and then that it can.

        `refused` hears of those that others may not replace: REFUSED, STILL_REFUSED or TOLD.
        `broken` hears that marks may have been replaced without a notice; `told` is what this
        process answers when all are asked how they are.
        """
        self._client = client
        self._channel = channel
        self._dropped = dropped
        self._refused = refused
        self._lost = broken
        self._told = told
        self._standing = standing
        self._limits = limits
        self._complaints = complaints
        self._me = secrets.token_hex(8).encode()
        self._task: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._number = 0
        self._answered_at = float("-inf")

    @property
    def session(self) -> int | None:
        """The number of the unbroken subscription; None: notices may be missing."""
        is_live = time.monotonic() - self._answered_at < LIVE_SECONDS
        return self._number if is_live else None

    def start(self) -> None:
        """Listen from now on, if it does not already."""
        if self._task is None:
            # Not a TaskGroup: it goes on beyond the request that started it, until `close`.
            self._task = asyncio.get_running_loop().create_task(self._listen(), name="notices")

    async def publish(self, mark: str, word: bytes = DROPPED) -> None:
        """Tell all other processes that `mark` was replaced, or what else `word` says of it."""
        await publish(self._client, self._channel, notice(self._me, mark, word))

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await ended([self._task])
        await ended(self._answering)

    async def _listen(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            before = self._number
            try:
                await self._hear_until_it_breaks()
            except Exception as error:  # whatever redis-py raises: it is tried again
                self._complaints.say(error)
            self._broken()
            if self._number > before + 1:
                pause_seconds = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause_seconds = min(2 * pause_seconds, self._limits.pause_seconds)

    def _broken(self) -> None:
        """What is published from now on is not heard, until a subscription stands."""
        if self._answered_at > float("-inf"):
            self._lost()
        self._number += 1
        self._answered_at = float("-inf")

    async def _hear_until_it_breaks(self) -> None:
        async with self._subscribed() as subscription:
            asked_at = heard_at = now = time.monotonic()
            is_answered, before = False, self._number
            await subscription.ping()
            while True:
                left_seconds = heard_at + LIVE_SECONDS - now
                wait_seconds = max(LAST_WAIT_SECONDS, min(PING_SECONDS, left_seconds))
                message = await _message(
                    subscription, wait_seconds, is_subscribed=self._number > before
                )
                now = time.monotonic()
                heard_at = heard_at if message is None else now
                if message is not None and message["type"] == "pong":
                    self._answered_at, is_answered = asked_at, True
                elif message is not None:
                    await self._hear(message)
                if is_answered and now - asked_at >= PING_SECONDS:
                    self._standing()
                    asked_at, is_answered = now, False
                    await subscription.ping()
                elif left_seconds <= 0 and message is None:
                    raise TimeoutError("the subscription is not answered")

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[PubSub]:
        async with asyncio.timeout(SUBSCRIBE_SECONDS):
            await refresh(self._client)
        subscription = self._client.pubsub()
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await subscription.subscribe(self._channel)
            yield subscription
        finally:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await subscription.aclose()  # type: ignore[no-untyped-call]  # redis-py's

    async def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._broken()  # what was published while there was no subscription is not known
            self._standing()
            return
        word, _, rest = bytes(message["data"]).partition(b" ")
        if word == ASKED:
            # Not a TaskGroup: what comes meanwhile is to be heard. Owned here until its end.
            task = asyncio.get_running_loop().create_task(self._answer(rest), name="notices")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            return
        sender, _, mark = rest.decode("ascii", "replace").partition(" ")
        if sender.encode() == self._me:
            return
        if word == DROPPED:
            self._dropped(mark)
        elif word in {REFUSED, STILL_REFUSED, TOLD}:
            self._refused(word, mark)

    async def _answer(self, channel: bytes) -> None:
        """Tell whoever asks how this process is."""
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await publish(self._client, channel.decode("ascii", "replace"), self._told())
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            self._complaints.say(error)


async def _message(
    subscription: PubSub, wait_seconds: float, *, is_subscribed: bool
) -> dict[str, Any] | None:
    """What comes next; None: nothing in that time."""
    try:
        message: dict[str, Any] | None = await subscription.get_message(timeout=wait_seconds)
    except ResponseError:
        if not is_subscribed:
            raise  # it is refused to subscribe
        return REFUSED_PING
    return message

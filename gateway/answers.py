"""Finished answers, kept as long as everything that they were made from is current.

An answer made from cached values alone is the same again while each of them is. What a request may
see is decided before, and is part of what an answer is kept by.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeGuard

from aiohttp import web
from multidict import CIMultiDict

from gateway import disclosures
from gateway.adapters.derived import Current, Derived, Kept
from gateway.adapters.reads import reads_noted
from gateway.adapters.telemetry import Telemetry
from gateway.disclosures import Disclosures
from gateway.http_server import CONSUMER
from gateway.model import Consumer

LAYER = "answers"
_OVERHEAD_BYTES = 2000
_MAX_KEY_BYTES = 4096
_IGNORED = frozenset(
    {
        "authorization", "connection", "cookie", "keep-alive", "origin", "referer", "traceparent",
        "tracestate", "user-agent", "x-api-key", "x-request-id",
    }
)  # fmt: skip
"""Request headers that no answer depends on, or only by the consumer; all others tell apart."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Key = tuple[Consumer, str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An answer as its handler gave it, and what it discloses; None where nobody wants to know."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    disclosed: Disclosures | None

    def response(self) -> web.Response:
        """The same answer once more."""
        return web.Response(status=self.status, headers=self.headers, body=self.body)


class Answers:
    """The answers kept by one process."""

    def __init__(self, cache: Current, *, max_bytes: int, telemetry: Telemetry) -> None:
        self._kept: Derived[_Key, Finished] = Derived(cache, max_bytes=max_bytes)
        self._telemetry = telemetry

    @property
    def bytes_held(self) -> int:
        """The size of all answers with their overhead."""
        return self._kept.bytes_held

    def is_good(self, kept: Kept[Finished]) -> bool:
        """Whether an answer that was found would be found now, too."""
        return self._kept.is_good(kept)

    async def answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """What `handler` answers, or answered before to the same question."""
        key = _key(request)
        kept = self._kept.kept(key)
        self._telemetry.cache_read(LAYER, "miss" if kept is None else "hit")
        if kept is not None and kept.thing is not None:
            request[FOUND] = kept
            disclosures.repeat(kept.thing.disclosed)
            return kept.thing.response()
        with reads_noted() as reads:
            response = await handler(request)
        key_bytes = len(key[2]) + sum(len(name) + len(value) for name, value in key[3])
        if _is_finished(response) and key_bytes <= _MAX_KEY_BYTES:
            body = response.body if isinstance(response.body, bytes) else b""
            headers = response.headers.copy()
            finished = Finished(
                status=response.status,
                headers=headers,
                body=body,
                disclosed=disclosures.copied(),
            )
            self._kept.keep(key, finished, len(body) + key_bytes + _OVERHEAD_BYTES, reads)
        return response


FOUND: web.RequestKey[Kept[Finished]] = web.RequestKey("found", Kept)
"""The answer that was found for a request, where one was."""
ANSWERS = web.AppKey("answers", Answers)


def kept(handler: _Handler) -> _Handler:
    """`handler`, whose answers depend on cached values, the request and the settings alone."""

    @wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        return await request.app[ANSWERS].answer(request, handler)

    return answered


def _key(request: web.Request) -> _Key:
    headers = tuple([(n, v) for n, v in request.headers.items() if n.lower() not in _IGNORED])
    return request[CONSUMER], request.method, request.raw_path, headers


def _is_finished(response: web.StreamResponse) -> TypeGuard[web.Response]:
    """Whether a response is whole bytes, as they go out, of which no archive's share is missing."""
    return (
        isinstance(response, web.Response)
        and response.status in {200, 304}
        and isinstance(response.body, bytes | None)
        and not response.compression
        and "Warning" not in response.headers
    )

"""Answers to requests that came before in the same words, given before anything else is looked at.

What an answer is was decided when its request came for the first time. It is given again while who
asked is known to be the same, and while all that it was made from is current. What each request
costs and leaves behind is the same: budgets, the audit trail, the log and the metrics.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from gateway.adapters.budgets import Budgets
from gateway.adapters.decisions import Decision
from gateway.adapters.derived import Kept
from gateway.adapters.telemetry import Kind, Telemetry
from gateway.answers import FOUND, LAYER, Answers, Finished
from gateway.disclosures import Disclosures
from gateway.errors import TooMany
from gateway.http_server import DECISION, audit_events, route_of, usable_id
from gateway.recording import Recorder
from gateway.rules.blanks import Blanks

MOST = 4096
"""Requests whose answers are at hand; after that, all are looked for anew."""
MAX_KEY_BYTES = 4096
_OF_EACH = frozenset({b"x-request-id", b"traceparent", b"tracestate"})
"""Header fields that are of one request, and make no difference to its answer."""
_UNUSUAL = ("Expect", "Upgrade")
_WORTH_COPYING_BYTES = 1 << 16
_IDS_AT_ONCE = 512
_Key = tuple[str, str, tuple[tuple[bytes, bytes], ...]]
_Ordinary = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An answer that is at hand, for whom, and what is told of it each time."""

    kept: Kept[Finished]
    decision: Decision
    head: Blanks
    has_body: bool
    events: tuple[Blanks, ...]
    told_as: Kind


class AnsweredBefore:
    """The answers at hand in one process."""

    def __init__(
        self, answers: Answers, budgets: Budgets, recorder: Recorder | None, telemetry: Telemetry
    ) -> None:
        self._answers = answers
        self._budgets = budgets
        self._recorder = recorder
        self._telemetry = telemetry
        self._ready: dict[_Key, Ready] = {}
        self._told = Told()
        self.given: Callable[[web.BaseRequest, Ready], None] = lambda request, ready: None
        """Called with a request whose answer is given."""

    def stand_before(self, runner: web.AppRunner) -> None:
        """Lets all requests to a runner come here first; what is not at hand is left to it."""
        server = runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        ordinary: _Ordinary = server.request_handler

        async def handled(request: web.BaseRequest) -> web.StreamResponse:
            key = _key(request)
            ready = self._ready.get(key)
            if ready is not None and request.version == HttpVersion11:
                given = usable_id(request.headers.get("X-Request-Id"))
                remote = request.remote
                address = None if remote is None else remote.encode()
                answer = self.again(ready, given, address)
                if answer is not None:
                    self.given(request, ready)
                    return _AtOnce(*answer)
                self._ready.pop(key, None)
            return await ordinary(request)

        server.request_handler = handled

    def again(
        self, ready: Ready, request_id: str | None, address: bytes | None
    ) -> tuple[bytes, bytes] | None:
        """The head and body of an answer that is given once more; None: it must be made anew."""
        finished, recorder = ready.kept.thing, self._recorder
        if finished is None or not ready.decision.is_good():
            return None
        if not self._answers.is_good(ready.kept) or address is None:
            return None
        if recorder is not None and recorder.forbids:
            return None
        try:
            self._budgets.check(ready.decision.consumer.account)
        except TooMany:
            return None
        values = self._told.values(request_id, address)
        if recorder is not None and ready.events:
            recorder.record_texts([event.filled(values) for event in ready.events])
        body = finished.body if ready.has_body else b""
        self._telemetry.repeated(ready.told_as, LAYER, values, len(body))
        return ready.head.filled(values), body

    def remember(self, request: web.Request, response: web.StreamResponse) -> None:
        """Takes up an answer that was found, and has all of its head."""
        kept = request.get(FOUND)
        if kept is None or not is_plain(request):
            return
        key = _key(request)
        if len(request.raw_path) + sum(len(n) + len(v) for n, v in key[2]) > MAX_KEY_BYTES:
            return
        if len(self._ready) >= MOST:
            self._ready.clear()
        self._ready[key] = self._made(request, response, kept)

    def _made(
        self, request: web.Request, response: web.StreamResponse, kept: Kept[Finished]
    ) -> Ready:
        marks = {name: secrets.token_hex(16) for name in _NAMES}
        disclosed = None if kept.thing is None else kept.thing.disclosed
        events = audit_events(
            request,
            response.status,
            disclosed or Disclosures(),
            marks["at"],
            marks["id"],
            marks["from"],
        )
        blank = {"Date": marks["date"], "X-Request-Id": marks["id"]}
        return Ready(
            kept=kept,
            decision=request[DECISION],
            head=blanks(head_of(response, blank), marks),
            has_body=request.method != "HEAD" and response.status == 200,
            events=tuple(blanks(orjson.dumps(e).decode(), marks) for e in events),
            told_as=self._telemetry.kind(route_of(request), request.method, response.status),
        )


_NAMES = ("id", "at", "date", "from")


class Told:
    """What is different each time: when it is, and the ids of requests that came without one."""

    def __init__(self) -> None:
        self._second = -1
        self._at = self._date = b""
        self._ids: list[bytes] = []

    def values(self, request_id: str | None, address: bytes) -> dict[bytes, bytes]:
        """The `id` of a request, `at` and `date`: now; the address it is `from`; `ms`: none."""
        milliseconds = time.time_ns() // 1_000_000
        second = milliseconds // 1000
        if second != self._second:
            self._second = second
            self._at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
            self._date = formatdate(second, usegmt=True).encode()
        return {
            b"id": self.drawn() if request_id is None else request_id.encode(),
            b"at": b"%b.%03dZ" % (self._at, milliseconds % 1000),
            b"date": self._date,
            b"ms": b"0.0",
            b"from": address,
        }

    def drawn(self) -> bytes:
        """Sixteen letters that nobody guesses."""
        if not self._ids:
            drawn = os.urandom(8 * _IDS_AT_ONCE).hex().encode()
            self._ids = [drawn[at : at + 16] for at in range(0, len(drawn), 16)]
        return self._ids.pop()


class _AtOnce(web.StreamResponse):
    """An answer that is there as it goes out."""

    def __init__(self, head: bytes, body: bytes) -> None:
        """Nothing of a response that is built: this one is not."""
        self._head, self._rest = head, body

    @property
    def keep_alive(self) -> bool:
        """Those who ask to close are answered in the ordinary way."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Sends all of it."""
        *before, last = pieces(self._head, self._rest)
        for piece in before:
            await request.writer.write(piece)
        await request.writer.write_eof(last)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """There is nothing left."""


def pieces(head: bytes, body: bytes) -> tuple[bytes, ...]:
    """An answer as it is best written: at once, where that is worth a copy."""
    return (head, body) if len(body) > _WORTH_COPYING_BYTES else (head + body,)


def head_of(response: web.StreamResponse, blank: Mapping[str, str]) -> str:
    """The head of an answer, with the marks of `blank` for the values of some fields."""
    lines = (f"{name}: {blank.get(name, value)}\r\n" for name, value in response.headers.items())
    return f"HTTP/1.1 {response.status} {response.reason}\r\n{''.join(lines)}\r\n"


def blanks(text: str, marks: Mapping[str, str]) -> Blanks:
    """A text in which the marks stand for the values of their names."""
    return Blanks(text.encode(), {name.encode(): mark.encode() for name, mark in marks.items()})


def _key(request: web.BaseRequest) -> _Key:
    """All that a request says, but for what is of it alone."""
    fields = request.raw_headers
    if "X-Request-Id" in request.headers or "traceparent" in request.headers:
        fields = tuple([pair for pair in fields if pair[0].lower() not in _OF_EACH])
    return request.method, request.raw_path, fields


def is_plain(request: web.Request) -> bool:
    """Whether nothing about a request asks for more than its answer."""
    return (
        request.version == HttpVersion11
        and request.keep_alive
        and not request.body_exists
        and not any(name in request.headers for name in _UNUSUAL)
    )


ANSWERED_BEFORE = web.AppKey("answered_before", AnsweredBefore)


async def remember(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare, after all that adds to the head of an answer."""
    if FOUND in request:
        request.app[ANSWERED_BEFORE].remember(request, response)

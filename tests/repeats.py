"""One gateway behind two ports, with and without short ways, and thousands of requests to both."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway import verbatim
from gateway.answered_before import ANSWERED_BEFORE
from gateway.app import build_app
from gateway.config import Settings
from gateway.http_server import RECORDER, TELEMETRY
from tests.samples import Sample

_ID = re.compile(rb"\r\nX-Request-Id: ([0-9a-f]{16})\r\n")
_DATE = re.compile(rb"\r\nDate: [^\r]*")
_OF_SUBSET = re.compile(rb"\r\n(?:Last-Modified|Content-Length): [^\r]*")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


KEY = b"X-API-Key: all"
"""Of a caller from whom nothing is hidden."""
CREDENTIALS = (KEY, KEY, b"Authorization: Bearer some", b"x-api-key: none", b"X-API-Key: no")


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes that are sent at once, or piece by piece, and the methods of what they ask for."""

    pieces: tuple[bytes, ...]
    methods: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A gateway at two ports: `plain` takes none of the short ways."""

    app: web.Application
    runner: web.AppRunner
    plain: int
    quick: int
    spool: Path

    async def events(self) -> list[dict[str, Any]]:
        """The audit events so far, without what is of each request alone."""
        recorder = self.app[RECORDER]
        assert recorder is not None
        await recorder._trail._flush()
        lines = [t for p in sorted(self.spool.glob("*.ndjson")) for t in p.read_text().splitlines()]
        return [_without_ids(json.loads(line)) for line in lines]

    def counted(self) -> dict[str, float]:
        """How many requests were answered, by all of their labels."""
        lines = self.app[TELEMETRY].exposition()[0].decode().splitlines()
        told = [one.rpartition(" ") for one in lines if one.startswith("gateway_requests_total")]
        return {labels: float(number) for labels, _, number in told}


def settings(folder: Path, spool: Path, **more: Any) -> Settings:
    """Callers who see all, some and none of the samples, and an audit trail in `spool`."""
    return Settings.model_validate(
        {
            "archives": {"samples": {"type": "folder", "path": str(folder)}},
            "server": {"cors_origins": ["https://viewer.example.org"]},
            "cache": {"fresh_seconds": 3600},
            "auth": {
                "mode": "required",
                "api_keys": {
                    "all": {"key": "all"},
                    "some": {"key": "some", "policy": "some"},
                    "none": {"key": "none", "policy": "none"},
                },
            },
            "policies": {
                "some": {"hide": [{"modality": "CT"}]},
                "none": {"hide": [{"archive": "samples"}]},
            },
            "audit": {"spool": str(spool)},
            **more,
        }
    )


def paths(samples: tuple[Sample, ...]) -> list[bytes]:
    """What to ask for: answers that are kept, six of them first, and others."""
    studies = sorted({s.study_uid for s in samples})[:3]
    series = f"/dicom-web/studies/{samples[0].study_uid}/series/{samples[0].series_uid}"
    found = [
        *(f"/fhir/{v}/ImagingStudy/{uid}" for uid in studies for v in ("r4", "r5")),
        *(f"/dicom-web/studies/{uid}/thumbnail" for uid in studies),
        f"{series}/thumbnail?viewport=64,64",
        f"/fhir/r5/ImagingStudy/{studies[0]}?_summary=true",
        "/fhir/r5/ImagingStudy/1.2.3.4",
        "/dicom-web/studies?limit=1",
        "/fhir/r4/metadata",
        "/nothing",
    ]
    return [path.encode() for path in found]


def ask(path: bytes, *fields: bytes) -> Step:
    """A good request."""
    lines = [b"GET %b HTTP/1.1" % path, b"Host: gateway", *fields, b"", b""]
    return Step((b"\r\n".join(lines),), (b"GET",))


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Served]:
    """A gateway at two ports, both of which ask the same caches and leave the same traces."""
    app = build_app(settings)
    runner = verbatim.runner(is_wanted=True)(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    assert runner.server is not None
    ordinary = web.Server(
        runner.server.request_handler,
        request_factory=runner.server.request_factory,
        handler_cancellation=True,
        access_log=None,
    )
    plain = web.ServerRunner(ordinary)
    await plain.setup()
    app[ANSWERED_BEFORE].stand_before(runner)
    for one in (runner, plain):
        await web.TCPSite(one, "127.0.0.1", 0).start()
    assert settings.audit.spool is not None
    try:
        yield Served(
            app=app,
            runner=runner,
            plain=plain.addresses[0][1],
            quick=runner.addresses[0][1],
            spool=settings.audit.spool,
        )
    finally:
        await plain.cleanup()
        await runner.cleanup()


async def replies(port: int, steps: Sequence[Step]) -> list[bytes]:
    """What comes back on one connection, without ids and dates; b"" where it was ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    came: list[bytes] = []
    try:
        for step in steps:
            for piece in step.pieces:
                writer.write(piece)
                for _ in range(5):  # lets the other side read it by itself
                    await asyncio.sleep(0)
            for method in step.methods:
                came.append(await _reply(reader, method))
    except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
        came.append(b"")  # RuntimeError is what uvloop says of a connection that was ended
    finally:
        writer.close()
    return [_without_date(one) for one in came]


async def settled(gateway: Served, samples: tuple[Sample, ...]) -> None:
    """Studies change while more and more of them comes to be known: until they do no more."""
    steps = [ask(path, key) for path in paths(samples) for key in CREDENTIALS]
    before: list[bytes] = []
    same = 0
    while same < 10:
        now = await replies(gateway.plain, steps)
        is_timed = all(_tells_time(*one) for one in zip(steps, now, strict=True))
        same = same + 1 if now == before and is_timed else 0
        before = now


async def timed(gateway: Served, path: bytes) -> None:
    """Asks in words of its own until the second is over in which the study was noticed."""
    step = ask(path, KEY, b"Accept-Language: en")
    async with asyncio.timeout(10):
        while True:
            (reply,) = await replies(gateway.plain, [step])
            if _tells_time(step, reply):
                return
            await asyncio.sleep(0.02)


def _tells_time(step: Step, reply: bytes) -> bool:
    """Whether a reply has the time of its study, if it is one that is to have it."""
    is_whole = reply.startswith(b"HTTP/1.1 200") and b"\r\nWarning: " not in reply
    is_read = b"/ImagingStudy/" in step.pieces[0].partition(b"\r\n")[0]
    return not (is_whole and is_read) or b"\r\nLast-Modified: " in reply


async def _reply(reader: asyncio.StreamReader, method: bytes) -> bytes:
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            return head + await _reply(reader, method)
        if method == b"HEAD" or head.split(b" ", 2)[1] in {b"204", b"304"}:
            return head
        length = _LENGTH.search(head)
        if length is None:
            return head + await reader.readuntil(b"\r\n0\r\n\r\n")
        return head + await reader.readexactly(int(length[1]))


def _without_date(reply: bytes) -> bytes:
    """A reply that can be compared; of one with a Warning, which is always made anew, the head."""
    own = _ID.search(reply)
    told = _DATE.sub(b"\r\nDate: -", reply if own is None else reply.replace(own[1], b"-" * 16))
    if b"\r\nWarning: " not in told:
        return told
    return _OF_SUBSET.sub(b"", told.partition(b"\r\n\r\n")[0])


def _without_ids(event: dict[str, Any]) -> dict[str, Any]:
    for entity in event["entity"]:
        identifier = entity.get("what", {}).get("identifier", {})
        if re.fullmatch(r"[0-9a-f]{16}", identifier.get("value", "")):
            identifier["value"] = "-"
    return {**event, "recorded": "-"}


OUTSIDE = (
    b"GET /nothing HTTP/1.1\r\nHost: a\r\nX-API-Key: all\r\nX-Rest: ",
    b"GET /nothing HTTP/1.1\r\nHost: a\r\nX-API-Key: all\r\nContent-Length: %d\r\n\r\n",
    b"POST /resolve HTTP/1.1\r\nHost: a\r\nX-API-Key: all\r\nContent-Length: %d\r\n\r\n",
)
"""Beginnings of requests of which the rest is to come."""


def inside(request: bytes, outside: bytes) -> Step:
    """A request as it stands as a part of another one, in a piece of its own."""
    head = outside.replace(b"%d", b"%d" % len(request))
    return Step((head, request), (outside.split()[0],))


class Asker:
    """Makes up requests, good ones again and again, and odd ones in between."""

    def __init__(self, seed: int, paths: Sequence[bytes], credentials: Sequence[bytes]) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._paths = paths
        self._credentials = credentials
        self._favourites = [self._request(b"GET", plain=True) for _ in range(12)]

    def connection(self) -> list[Step]:
        """All that is asked on one connection: nothing odd on every other one."""
        most = self._chance.choice([0.7, 1.0])
        return [self._step(most) for _ in range(self._chance.randint(1, 14))]

    def _step(self, favourites: float) -> Step:
        how = self._chance.random()
        if how < favourites:
            return Step((self._chance.choice(self._favourites),), (b"GET",))
        if how < 0.75:
            return inside(self._chance.choice(self._favourites), self._chance.choice(OUTSIDE))
        if how < 0.8:
            return self._pipelined()
        method = self._chance.choice([b"GET", b"GET", b"HEAD", b"OPTIONS", b"POST"])
        request = self._request(method, plain=how < 0.85)
        if how < 0.92:
            cut = sorted(self._chance.sample(range(1, len(request)), self._chance.randint(1, 3)))
            ends = zip([0, *cut], [*cut, len(request)], strict=True)
            return Step(tuple(request[a:b] for a, b in ends), (method,))
        if how < 0.94:
            return Step((self._broken(request),), (method,))
        return Step((request,), (method,))

    def _pipelined(self) -> Step:
        several = [self._chance.choice(self._favourites) for _ in range(self._chance.randint(2, 4))]
        return Step((b"".join(several),), (b"GET",) * len(several))

    def _request(self, method: bytes, *, plain: bool) -> bytes:
        lines = [
            b"%b %b HTTP/1.1" % (method, self._chance.choice(self._paths)),
            self._chance.choice([b"Host: gateway", b"host:   gateway"]),
            *self._some(b"Accept: application/json", b"Accept: */*", b"accept: image/jpeg"),
            *self._some(b"Accept-Encoding: gzip", b"Accept-Encoding: gzip, br", b"x-other: 1"),
            *self._some(*self._credentials, share=0.9),
            *self._some(b'If-None-Match: "x"', b"If-None-Match: *", share=0.2),
            *self._some(b"Origin: https://viewer.example.org", b"Origin: null", share=0.2),
        ]
        body = b""
        if not plain:
            lines += self._odd_fields()
            body = self._chance.choice([b"", b"", b"hello", b"GET / HTTP/1.1\r\n\r\n"])
            if body:
                lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*lines, b"", body])

    def _odd_fields(self) -> list[bytes]:
        return self._some(
            b"X-Request-Id: one-of-theirs",
            b"X-Request-Id: no good",
            b"traceparent: 00-%032x-%016x-01"
            % (self._chance.getrandbits(128), self._chance.getrandbits(64)),
            b"Connection: close",
            b"Connection: keep-alive",
            b"Expect: 100-continue",
            b"Cookie: a=%d" % self._chance.randint(1, 9),
            b"Upgrade: h2c\r\nConnection: upgrade",
            b"Range: bytes=0-9",
            share=0.9,
        )

    def _some(self, *choices: bytes, share: float = 0.6) -> list[bytes]:
        return [self._chance.choice(choices)] if self._chance.random() < share else []

    def _broken(self, request: bytes) -> bytes:
        """A request that is none, or not quite one."""
        return self._chance.choice(
            [
                request.replace(b"HTTP/1.1", b"HTTP/1.0", 1),
                request.replace(b"HTTP/1.1", b"HTTP/9.9", 1),
                request.replace(b"\r\n", b"\n"),
                request.replace(b": ", b" : ", 1),
                b"\r\n" + request,
                b"\x00\xff" + request,
            ]
        )

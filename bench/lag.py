"""How long cached reads wait while large studies are built: a gateway, an archive, two clients.

Run: .venv/bin/python bench/lag.py [rounds]. A study of a few instances is read from the cache every
few milliseconds, first with nothing else to do, then while studies of 5,000 instances are read one
after the other, each for the first time. Idle and loaded in turn, in one run. The archive answers
as Orthanc does, to one gateway in gzip and to another without.

A read's time counts from the moment when it was due: one that had to wait for the one before it is
late as well. Beside it stands how much CPU time the gateway's loop spent from one turn of a ticker
of 1 ms to the next. That is how long its own work keeps others waiting, however busy the machine is
with programs that are not measured.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from bench.build import SERIES_UIDS, STUDY, as_orthanc, row
from gateway import app, cli
from gateway.config import Settings
from gateway.rules import dicom_json as dj
from tests.gateways import Gateway, archive
from tests.servers import Process

ROUNDS = 5
BUILDS = 20
SMALL_INSTANCES, LARGE_INSTANCES = 8, 5000
TICK_SECONDS = 0.01
IDLE_SECONDS = 3.0
_JSON = "application/dicom+json"


def study_uid(number: int) -> str:
    """UIDs of studies, as long as that of the rows; the first is the small one's."""
    return f"{STUDY[:-5]}{number:05}"


class Archive(Process):
    """A stub archive as a process of its own; its studies have the same series and instances."""

    def __init__(self, folder: Path, encoding: str, studies: int) -> None:
        super().__init__(folder)
        self._words = (encoding, str(studies))

    def command(self) -> Sequence[str]:
        """The command line."""
        return [sys.executable, __file__, "serve", str(self.port), *self._words]

    def is_itself(self, pid: int) -> bool:
        """Whether it answers."""
        return self.asked() >= 0

    def asked(self) -> int:
        """How often it was asked for instances."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as one:
            one.request("GET", "/asked")
            return int(one.getresponse().read())


class Stub(ThreadingHTTPServer):
    """What the process of an `Archive` runs; in gzip, bodies are there before they are asked."""

    def __init__(self, port: int, encoding: str, studies: int) -> None:
        self.encoding = encoding
        self.asked = 0
        self._small, self._large = levels(SMALL_INSTANCES), levels(LARGE_INSTANCES)
        self._packed = {
            (number, level): self._body(number, level)
            for number in range(studies)
            for level in self._large
            if encoding == "gzip"
        }
        super().__init__(("127.0.0.1", port), Answer)

    def answer(self, path: str) -> bytes:
        """The body for a path."""
        if path == "/asked":
            return str(self.asked).encode()
        level = path.partition("?")[0].rsplit("/", 1)[-1]
        at = path.index(STUDY[:-5]) + len(STUDY) - 5
        number = int(path[at : at + 5])
        self.asked += level == "instances"
        return self._packed.get((number, level)) or self._body(number, level)

    def _body(self, number: int, level: str) -> bytes:
        template = (self._large if number else self._small)[level]
        body = template.replace(STUDY.encode(), study_uid(number).encode())
        return gzip.compress(body, 1) if self.encoding == "gzip" else body


class Answer(BaseHTTPRequestHandler):
    """One connection to the stub."""

    server: Stub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Any path."""
        body = self.server.answer(self.path)
        self.send_response(200)
        self.send_header("Content-Type", _JSON)
        self.send_header("Content-Length", str(len(body)))
        if body[:2] == b"\x1f\x8b":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


def levels(instances: int) -> dict[str, bytes]:
    """The rows of a study at each level, as bodies."""
    rows = [row(n) for n in range(instances)]
    size = len(SERIES_UIDS)
    counts = {
        dj.NUMBER_OF_STUDY_RELATED_SERIES: size,
        dj.NUMBER_OF_STUDY_RELATED_INSTANCES: instances,
    }
    counted = {tag: {"Value": [count], "vr": "IS"} for tag, count in counts.items()}
    return {
        "studies": as_orthanc([rows[0] | counted]),
        "series": as_orthanc(rows[:size]),
        "instances": as_orthanc(rows),
    }


class Client:
    """Reads ImagingStudies of a gateway over one connection."""

    def __init__(self, gateway: Gateway) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)

    def read(self, number: int) -> int:
        """Reads a study; the size of what came."""
        headers = {"Accept-Encoding": "identity"}
        self._connection.request("GET", f"/fhir/r5/ImagingStudy/{study_uid(number)}", None, headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"{response.status}: {body[:500]!r}")
        return len(body)


class Watched(Gateway):
    """A gateway with a ticker on its loop. What that saw can be read when it has stopped."""

    def command(self) -> Sequence[str]:
        """The command line."""
        python, _, _, *words = super().command()
        return [python, __file__, "watched", str(self._ticks), *words]

    @property
    def _ticks(self) -> Path:
        return self.folder / "ticks.json"

    def stretches(self, spans: Sequence[tuple[float, float]]) -> list[list[float]]:
        """CPU milliseconds between two turns of the ticker, during each of the spans of time."""
        ticks = orjson.loads(self._ticks.read_bytes())
        return [[cpu for at, cpu in ticks if start <= at <= end] for start, end in spans]


def watched(ticks: Path) -> None:
    """What the process of a `Watched` runs: the command line of the gateway, and the ticker."""
    build_app = app.build_app

    def with_ticker(settings: Settings) -> web.Application:
        built = build_app(settings)
        built.cleanup_ctx.append(ticking)
        return built

    async def ticking(_: web.Application) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        found: list[tuple[float, float]] = []

        def tick(last: float) -> None:
            cpu = time.thread_time()
            found.append((time.perf_counter(), (cpu - last) * 1000))
            loop.call_later(0.001, tick, cpu)

        tick(time.thread_time())
        yield
        await asyncio.to_thread(ticks.write_bytes, orjson.dumps(found))

    app.build_app = with_ticker
    cli.main()


def reads(gateway: Gateway, until: threading.Event) -> list[float]:
    """Milliseconds from when a cached read was due until it was done, tick after tick."""
    client = Client(gateway)
    found = []
    due = time.perf_counter()
    while not until.is_set():
        due += TICK_SECONDS
        time.sleep(max(0.0, due - time.perf_counter()))
        client.read(0)
        found.append((time.perf_counter() - due) * 1000)
    return found


def while_idle(gateway: Gateway) -> list[float]:
    """Reads with nothing else to do."""
    until = threading.Event()
    threading.Timer(IDLE_SECONDS, until.set).start()
    return reads(gateway, until)


def while_building(gateway: Gateway, numbers: Sequence[int]) -> list[float]:
    """Reads while large studies are read for the first time."""
    until = threading.Event()

    def build() -> None:
        client = Client(gateway)
        try:
            for number in numbers:
                client.read(number)
        finally:
            until.set()

    builder = threading.Thread(target=build)
    builder.start()
    found = reads(gateway, until)
    builder.join()
    return found


def measured(name: str, gateway: Watched, upstream: Archive, rounds: int) -> None:
    """All rounds over one gateway, which is stopped, and their lines."""
    client = Client(gateway)
    client.read(0)
    client.read(1)
    asked = upstream.asked()
    times = [time.perf_counter()]
    late: list[list[float]] = []
    for at in range(rounds):
        late.append(while_idle(gateway))
        times.append(time.perf_counter())
        first = 2 + at * BUILDS
        late.append(while_building(gateway, range(first, first + BUILDS)))
        times.append(time.perf_counter())
    if upstream.asked() - asked != rounds * BUILDS:
        raise SystemExit("not every large study was read from the archive")
    gateway.stop()
    stretches = gateway.stretches(list(pairwise(times)))
    sys.stdout.write(f"archive in {name}: {rounds} rounds, {BUILDS} builds in each\n")
    report("late", late[::2], late[1::2])
    report("loop's CPU", stretches[::2], stretches[1::2])


def report(what: str, idle: Sequence[list[float]], building: Sequence[list[float]]) -> None:
    """Medians of the rounds, and of what the p99 is above that of the same round's idle time."""
    write = sys.stdout.write
    for when, each in {"idle": idle, "building": building}.items():
        p50 = statistics.median(statistics.median(e) for e in each)
        high, most = statistics.median(map(p99, each)), statistics.median(map(max, each))
        count = sum(map(len, each))
        write(
            f"  {what:11} {when:8} p50 {p50:5.1f}, p99 {high:5.1f}, max {most:5.1f} ms of {count}\n"
        )
    above = statistics.median(p99(b) - p99(i) for i, b in zip(idle, building, strict=True))
    write(f"  {what:11} p99 above idle: {above:.1f} ms\n")


def p99(found: Sequence[float]) -> float:
    """What 99 of 100 are not above."""
    return statistics.quantiles(found, n=100)[-1]


def main() -> None:
    """Prints the table, or is the archive."""
    if sys.argv[1:2] == ["serve"]:
        port, encoding, studies = sys.argv[2:]
        Stub(int(port), encoding, int(studies)).serve_forever()
        return
    if sys.argv[1:2] == ["watched"]:
        ticks = Path(sys.argv[2])
        del sys.argv[1:3]
        watched(ticks)
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for encoding in ("gzip", "identity"):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            upstream = stack.enter_context(
                Archive(folder / "archive", encoding, 2 + rounds * BUILDS)
            )
            base = f"http://127.0.0.1:{upstream.port}"
            gateway = stack.enter_context(Watched(folder / "gateway", {"archive": archive(base)}))
            measured(encoding, gateway, upstream, rounds)


if __name__ == "__main__":
    main()

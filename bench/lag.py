"""How long cached reads wait while large studies are built: a gateway, an archive, two clients.

Run: python -m bench.lag [rounds], or `make bench`. A study of a few instances is read from the
cache every few milliseconds, first with nothing else to do, then while studies of 5,000 instances
are read one after the other, each for the first time. Idle and loaded in turn, in one run. The
archive answers as Orthanc does, to one gateway in gzip and to another without.

A read's time counts from the moment when it was due: one that had to wait for the one before it is
late as well. Beside it stands how much CPU time the gateway's loop spent from one turn of a ticker
of 1 ms to the next. That is how long its own work keeps others waiting, however busy the machine is
with programs that are not measured.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import orjson
from aiohttp import web

from bench.ground.reader import Reader, percentile
from bench.ground.stub import Held, StubArchive, study_uid
from bench.ground.sums import Result, rounds_asked, tell
from gateway import app, cli
from gateway.config import Settings
from tests.gateways import Gateway, archive

ROUNDS = 5
BUILDS = 20
SMALL_INSTANCES, LARGE_INSTANCES = 8, 5000
TICK_SECONDS = 0.01
IDLE_SECONDS = 3.0
SWITCH_SECONDS = 0.0005
"""How soon the client that reads gets the interpreter from the one that builds."""


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
    client = Reader(gateway.port)
    found = []
    due = time.perf_counter()
    while not until.is_set():
        due += TICK_SECONDS
        time.sleep(max(0.0, due - time.perf_counter()))
        client.read(path_of(0))
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
        client = Reader(gateway.port)
        try:
            for number in numbers:
                client.read(path_of(number))
        finally:
            until.set()

    builder = threading.Thread(target=build)
    builder.start()
    found = reads(gateway, until)
    builder.join()
    return found


def measured(name: str, gateway: Watched, upstream: StubArchive, rounds: int) -> None:
    """All rounds over one gateway, which is stopped, and their lines."""
    client = Reader(gateway.port)
    client.read(path_of(0))
    client.read(path_of(1))
    asked = upstream.asked()["instances"]
    times = [time.perf_counter()]
    late: list[list[float]] = []
    for at in range(rounds):
        late.append(while_idle(gateway))
        times.append(time.perf_counter())
        first = 2 + at * BUILDS
        late.append(while_building(gateway, range(first, first + BUILDS)))
        times.append(time.perf_counter())
    if upstream.asked()["instances"] - asked != rounds * BUILDS:
        raise SystemExit("not every large study was read from the archive")
    gateway.stop()
    stretches = gateway.stretches(list(pairwise(times)))
    sys.stdout.write(f"archive in {name}: {rounds} rounds, {BUILDS} builds in each\n")
    report("cached reads are late", name, late[::2], late[1::2])
    report("CPU of the loop at a stretch", name, stretches[::2], stretches[1::2])


def report(
    what: str, name: str, idle: Sequence[list[float]], building: Sequence[list[float]]
) -> None:
    """The figures of all rounds together."""
    for when, each in {"idle": idle, "building": building}.items():
        found = [one for some in each for one in some]
        p50, p99 = statistics.median(found), percentile(found, 99)
        sys.stdout.write(
            f"  {what}, {when}: p50 {p50:.1f}, p99 {p99:.1f}, max {max(found):.1f} ms of "
            f"{len(found)}\n"
        )
    tell(
        Result(
            what=f"builds of {LARGE_INSTANCES:,} instances, {name}: {what}, p99",
            of="",
            ratio=p99,
            floor=15,
            goal=5,
            unit="ms",
        )
    )


def path_of(number: int) -> str:
    """Where the gateway has a study."""
    return f"/fhir/r5/ImagingStudy/{study_uid(number)}"


def main() -> None:
    """Prints the table, or is the gateway."""
    if sys.argv[1:2] == ["watched"]:
        ticks = Path(sys.argv[2])
        del sys.argv[1:3]
        watched(ticks)
        return
    sys.setswitchinterval(SWITCH_SECONDS)
    rounds = rounds_asked(ROUNDS)
    for encoding in ("gzip", "identity"):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            held = Held(
                studies=2 + rounds * BUILDS,
                instances=LARGE_INSTANCES,
                first=SMALL_INSTANCES,
                encoding=encoding,
            )
            upstream = stack.enter_context(StubArchive(folder / "archive", held))
            sections = {"archive": archive(upstream.url)}
            gateway = stack.enter_context(Watched(folder / "gateway", sections))
            measured(encoding, gateway, upstream, rounds)


if __name__ == "__main__":
    main()

"""Many who ask two processes for the same study at once, which nobody knows yet: one build.

Run: python -m bench.single_flight [repeats], or `make bench`. Two gateways share a Redis; the
archive takes 0.3 s for the instances and counts. Once more with the process that builds killed
while it does: the other must answer all of its callers after one more build. And with an archive
that takes 4 s, as some do for a thousand instances.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.ground.load import ask, get
from bench.ground.reader import percentile
from bench.ground.stub import Held, StubArchive, study_uid
from bench.ground.sums import Result, rounds_asked, tell
from tests.gateways import Gateway, archive
from tests.servers import RedisServer

REPEATS = 50
KILLS = 5
AT_ONCE = 200
UPSTREAM_SECONDS = 0.3
SLOW, SLOW_SECONDS = 3, 4.0
PATIENCE_SECONDS = 40
"""Of the archive's client: as long as a lock may live, and more."""


class Asked(threading.Thread):
    """A hundred callers of one process; `seconds` each until all are answered."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__()
        self._port = port
        self._request = get(f"/fhir/r5/ImagingStudy/{study_uid(number)}")
        self.seconds = 0.0
        self.failure: Exception | None = None

    def run(self) -> None:
        """Asks."""
        started = time.perf_counter()
        try:
            ask(self._port, self._request, AT_ONCE // 2, AT_ONCE // 2)
        except (OSError, EOFError, ValueError) as error:
            self.failure = error
        self.seconds = time.perf_counter() - started


def all_at_once(gateways: Sequence[Gateway], number: int) -> list[Asked]:
    """Callers of every process, who have begun."""
    asking = [Asked(one.port, number) for one in gateways]
    for one in asking:
        one.start()
    return asking


def repeat(gateways: Sequence[Gateway], upstream: StubArchive, number: int) -> tuple[int, float]:
    """How many builds it took, and how long until everybody was answered."""
    before = upstream.asked()["instances"]
    asking = all_at_once(gateways, number)
    for one in asking:
        one.join()
        if one.failure is not None:
            raise SystemExit(f"a caller was not answered: {one.failure}")
    return upstream.asked()["instances"] - before, max(one.seconds for one in asking)


def killed(gateways: Sequence[Gateway], upstream: StubArchive, number: int) -> tuple[int, float]:
    """How many builds were begun beyond the one that is lost, and how long that took."""
    before = upstream.asked()
    builder = Asked(gateways[0].port, number)
    builder.start()
    _until(lambda: upstream.asked()["instances"] > before["instances"])
    waiting = Asked(gateways[1].port, number)
    waiting.start()
    _until(lambda: _heard_of(gateways[1]))
    gateways[0].kill()
    killed_at = time.perf_counter()
    waiting.join()
    took = time.perf_counter() - killed_at
    builder.join()
    gateways[0].start()
    if builder.failure is None or waiting.failure is not None:
        raise SystemExit(f"the wrong one was answered: {waiting.failure}")
    return upstream.asked()["instances"] - before["instances"] - 1, took


def _heard_of(gateway: Gateway) -> bool:
    """Whether requests had the time to come in: they ask Redis, and wait."""
    del gateway
    time.sleep(0.05)
    return True


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit("it did not happen in time")
        time.sleep(0.005)


def report(what: str, found: Sequence[tuple[int, float]]) -> None:
    """The figures of one kind of repeats."""
    builds = Counter(count for count, _ in found)
    seconds = [took for _, took in found]
    sys.stdout.write(f"{what}: builds {dict(builds)}, slowest answer {max(seconds):.2f} s\n")
    most = max(builds)
    tell(
        Result(
            what=f"{AT_ONCE} at once{what}: builds, most of {len(found)} repeats",
            of="",
            ratio=most if min(builds) else 0,
            floor=1,
            goal=1,
            unit="builds",
        )
    )


@contextmanager
def sharing(folder: Path, held: Held) -> Iterator[tuple[list[Gateway], StubArchive]]:
    """Two processes over one archive and one Redis, who know their way already."""
    of_both: dict[str, Any] = {"server": {"public_url": "http://gateway.example"}}
    with ExitStack() as stack:
        upstream = stack.enter_context(StubArchive(folder / "archive", held))
        shared = stack.enter_context(RedisServer(folder / "redis"))
        of_both["cache"] = {"redis_url": shared.url}
        gateways = [
            stack.enter_context(
                Gateway(folder / name, {"archive": archive(upstream.url)}, **of_both)
            )
            for name in ("one", "other")
        ]
        repeat(gateways, upstream, 0)
        yield gateways, upstream


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(REPEATS)
    with tempfile.TemporaryDirectory() as folder:
        held = Held(studies=count + KILLS + 1, instances=32, seconds=UPSTREAM_SECONDS)
        with sharing(Path(folder) / "quick", held) as (gateways, upstream):
            plain = [repeat(gateways, upstream, 1 + n) for n in range(count)]
            report("", plain)
            took = percentile([seconds for _, seconds in plain], 99) / UPSTREAM_SECONDS
            what = f"{AT_ONCE} at once: all answered, p99"
            tell(Result(what=what, of="the archive alone", ratio=took, goal=1.3))
            kills = [killed(gateways, upstream, 1 + count + n) for n in range(KILLS)]
            report(", builder killed", kills)
        held = Held(studies=SLOW + 1, instances=32, seconds=SLOW_SECONDS)
        with sharing(Path(folder) / "slow", held) as (gateways, upstream):
            slow = [repeat(gateways, upstream, 1 + n) for n in range(SLOW)]
            report(f", archive takes {SLOW_SECONDS:.0f} s", slow)


if __name__ == "__main__":
    main()

"""What is known, read while its archive hangs: against the same of an archive that is well.

Run: python -m bench.hung [rounds], or `make bench`. Two gateways, each with an archive of its own;
one archive is frozen, the other is not. Reads go to both in turn, every few milliseconds, while
others ask both for studies that nobody knows. Once with what is young enough to be served as it is,
and once with what should be looked at again.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.ground.reader import Reader, percentile
from bench.ground.stub import Held, StubArchive, study_uid
from bench.ground.sums import Result, rounds_asked, tell
from tests.gateways import Gateway, archive

ROUNDS = 4
READS = 400
PAUSE_SECONDS = 0.002
STRANGERS_SECONDS = 0.1
"""How often somebody asks for a study that is not known."""
STUDIES = 1000
INSTANCES = 32
KNOWN = f"/fhir/r5/ImagingStudy/{study_uid(0)}"
TIMEOUT_SECONDS = 5
SETTLING_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A gateway and its archive."""

    gateway: Gateway
    upstream: StubArchive


class Strangers(threading.Thread):
    """Asks for one study after the other that is not known, and waits for no answer."""

    def __init__(self, sides: Sequence[Side]) -> None:
        super().__init__()
        self._sides = sides
        self._end = threading.Event()
        self._number = 0

    def run(self) -> None:
        """Until the end."""
        with ExitStack() as stack:
            while not self._end.wait(STRANGERS_SECONDS):
                self._number = self._number % (STUDIES - 1) + 1
                for side in self._sides:
                    one = http.client.HTTPConnection("127.0.0.1", side.gateway.port, timeout=30)
                    stack.callback(one.close)
                    path = f"/fhir/r5/ImagingStudy/{study_uid(self._number)}"
                    with contextlib.suppress(OSError):
                        one.request("GET", path)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While something is measured."""
        self.start()
        try:
            yield
        finally:
            self._end.set()
            self.join()


def reads(sides: Sequence[Side]) -> list[list[float]]:
    """Seconds of reads of what is known, of each side, in turn."""
    readers = [Reader(side.gateway.port) for side in sides]
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(READS):
        for reader, seconds in zip(readers, found, strict=True):
            time.sleep(PAUSE_SECONDS)
            seconds.append(reader.seconds(KNOWN))
    for reader in readers:
        reader.close()
    return found


def answers(side: Side) -> bool:
    """Whether a gateway gets an answer out of its archive."""
    one = http.client.HTTPConnection("127.0.0.1", side.gateway.port, timeout=1)
    with contextlib.closing(one):
        try:
            one.request("GET", f"/fhir/r5/ImagingStudy/{study_uid(STUDIES)}")
            return one.getresponse().status == 200
        except TimeoutError:
            return False


def measured(well: Side, ill: Side, count: int) -> list[tuple[list[float], list[float]]]:
    """Seconds of reads over a healthy archive and over one that hangs, round by round."""
    ill.upstream.freeze()
    with Strangers((well, ill)).asking():
        time.sleep(SETTLING_SECONDS)
        if not answers(well) or answers(ill):
            raise SystemExit("the wrong archive hangs")
        found = []
        for _ in range(count):
            of_well, of_ill = reads((well, ill))
            found.append((of_well, of_ill))
        return found


def report(what: str, found: Sequence[tuple[list[float], list[float]]]) -> None:
    """The figures of one kind of reads."""
    for name, at in (("healthy", 0), ("hung", 1)):
        every = [seconds for one in found for seconds in one[at]]
        p50, p99 = statistics.median(every) * 1e3, percentile(every, 99) * 1e3
        sys.stdout.write(f"{what}, {name}: p50 {p50:.2f}, p99 {p99:.2f} ms of {len(every)}\n")
    ratios = [percentile(ill, 99) / percentile(well, 99) for well, ill in found]
    tell(
        Result(
            what=f"archive hangs, {what}: p99",
            of="archive healthy",
            ratio=statistics.median(ratios),
            floor=1.5,
            goal=1.1,
        )
    )


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    for what, fresh_seconds in (("cached read", 3600), ("read of what is out of date", 0.5)):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            held = Held(studies=STUDIES + 1, instances=INSTANCES)
            sides = []
            for name in ("one", "other"):
                upstream = stack.enter_context(StubArchive(folder / f"{name}-archive", held))
                section = archive(upstream.url, timeout_seconds=TIMEOUT_SECONDS)
                cache = {"fresh_seconds": fresh_seconds}
                one = Gateway(folder / name, {"archive": section}, cache=cache)
                stack.enter_context(one)
                Reader(one.port).read(KNOWN)
                sides.append(Side(gateway=one, upstream=upstream))
            well, ill = sides
            report(what, measured(well, ill, count))


if __name__ == "__main__":
    main()

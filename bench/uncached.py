"""Studies that nobody asked for before: whole and down to the series, and the same once known.

Run: python -m bench.uncached [rounds], or `make bench`. Needs Orthanc. What the gateway asks the
archive for is noted on the way, and asked again without the gateway: the slowest of it is the
yardstick. Wall time, cold and plain in turn; before each cold read the study is forgotten. "One
call" is the same with `study_level: series`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.ground.orthanc import BASE, SERIES, Noting, holding, study_of
from bench.ground.reader import Reader
from bench.ground.sums import Result, median, ratio, rounds, rounds_asked, tell
from tests.gateways import Gateway, archive

ROUNDS = 15
WHOLE = 1000
SMALL, LARGE = 20, 5000
PAGE = 10
OTHERS = range(2, PAGE + 2)
"""Instances of studies that are there for a page of a search."""
WARM_READS = 200
COLD, WARM, PLAIN = "cold", "warm", "the slowest upstream call"


class Cold:
    """Reads of a gateway that knows nothing of what it is asked for."""

    def __init__(self, gateway: Gateway, upstream: Noting, instances: int) -> None:
        self._study = study_of(instances)
        self._reader = Reader(gateway.port)
        self._upstream = upstream
        self._plain = Reader(upstream.port)
        self._largest = f"{BASE}/studies"

    def asked_for(self, path: str) -> list[str]:
        """What the archive is asked for, for one cold answer."""
        self._reader.forget(self._study)
        before = len(self._upstream.asked())
        self._reader.read(path)
        return self._upstream.asked()[before:]

    def seconds(self, path: str) -> float:
        """How long a cold answer takes."""
        self._reader.forget(self._study)
        return self._reader.seconds(path)

    def warm_seconds(self, path: str) -> float:
        """How long the same answer takes when it is known."""
        return self._reader.median_seconds(path, WARM_READS)

    def slowest_seconds(self, asked: list[str]) -> float:
        """How long the slowest of these requests takes without a gateway."""
        return max(self._plain.seconds(one) for one in asked)


def whole(gateway: Gateway, upstream: Noting, count: int) -> None:
    """The whole of a study of many instances."""
    cold = Cold(gateway, upstream, WHOLE)
    path = f"/fhir/r5/ImagingStudy/{study_of(WHOLE)}"
    asked = cold.asked_for(path)
    candidates = {
        PLAIN: partial(cold.slowest_seconds, asked),
        COLD: partial(cold.seconds, path),
        WARM: partial(cold.warm_seconds, path),
    }
    before = len(upstream.asked())
    done = rounds(count, candidates)
    if len(upstream.asked()) - before != 2 * count * len(asked):
        raise SystemExit("a warm read asked the archive, or a cold one did not")
    shown = ", ".join(f"{name} {median(done, name) * 1e3:.2f}" for name in candidates)
    sys.stdout.write(f"{WHOLE} instances, ms: {shown}\n")
    what = f"uncached read, {WHOLE:,} instances"
    times = ratio(done, COLD, PLAIN)
    tell(Result(what=f"{what}: time", of=PLAIN, ratio=times, floor=1.3, goal=1.12))
    tell(Result(what=f"{what}: upstream", of="", ratio=len(asked), floor=3, goal=3, unit="calls"))
    tell(
        Result(
            what=f"cached read, {WHOLE:,} instances: times as fast",
            of="the uncached read",
            ratio=ratio(done, COLD, WARM),
            floor=500,
            goal=2000,
            is_more_better=True,
        )
    )


def page(gateway: Gateway, upstream: Noting) -> None:
    """A page of a search, of whose studies nobody knows anything."""
    reader = Reader(gateway.port)
    for instances in (SMALL, WHOLE, LARGE, *OTHERS):
        reader.forget(study_of(instances))
    before = len(upstream.asked())
    found = json.loads(reader.read(f"/fhir/r5/ImagingStudy?_count={PAGE}&_summary=true"))
    shown = sum(entry["search"]["mode"] == "match" for entry in found["entry"])
    asked = len(upstream.asked()) - before
    if shown != PAGE:
        raise SystemExit(f"a page of {shown} studies")
    what = f"page of {PAGE} unknown studies: upstream"
    most = PAGE + 1
    tell(Result(what=what, of="", ratio=asked, floor=most, goal=most, unit="calls"))


def down_to_series(gateway: Gateway, upstream: Noting, count: int, *, how: str = "") -> None:
    """Answers for which no instances are needed, of studies of few and of many.

    `how`: what is told of an archive whose series tell their study, so that one call is enough.
    """
    for what, form in {
        "uncached _summary": "/fhir/r5/ImagingStudy/{}?_summary=true",
        "uncached search with _summary": "/fhir/r5/ImagingStudy?_id={}&_summary=true",
    }.items():
        for instances in (SMALL, LARGE):
            study = study_of(instances)
            cold = Cold(gateway, upstream, instances)
            path = form.format(study)
            asked = cold.asked_for(path)
            if any("/instances" in one for one in asked):
                raise SystemExit(f"{what}: instances were asked for")
            if len(asked) != (1 if how else 2):
                raise SystemExit(f"{what}: {len(asked)} calls")
            series = [one for one in asked if f"{study}/series" in one]
            done = rounds(
                count * 4,
                {PLAIN: partial(cold.slowest_seconds, series), COLD: partial(cold.seconds, path)},
            )
            sys.stdout.write(
                f"{what}, {instances}{how}: {median(done, COLD) * 1e3:.2f} ms, "
                f"series call {median(done, PLAIN) * 1e3:.2f} ms, {len(asked)} calls\n"
            )
            tell(
                Result(
                    what=f"{what}, {instances:,} instances{how}: time",
                    of="one QIDO-RS series call",
                    ratio=ratio(done, COLD, PLAIN),
                    floor=2,
                    goal=1.3,
                )
            )


def one_by_one(gateway: Gateway, upstream: Noting) -> None:
    """The instances of a series, each asked for by itself, as viewers do."""
    study = study_of(WHOLE)
    series = f"{study}.0"
    reader = Reader(gateway.port)
    reader.forget(study)
    before = len(upstream.asked())
    numbers = range(0, WHOLE, SERIES)
    for number in numbers:
        reader.read(f"{BASE}/studies/{study}/series/{series}/instances/{series}.{number}")
    asked = [one.partition("?")[0] for one in upstream.asked()[before:]]
    retrieved = len([one for one in asked if "/instances/" in one])
    if retrieved != len(numbers):
        raise SystemExit(f"{retrieved} instances were retrieved of {len(numbers)}")
    tell(
        Result(
            what=f"{len(numbers)} cold instances of a series one by one: searches for them",
            of="",
            ratio=len(asked) - retrieved,
            goal=20,
            unit="calls",
        )
    )


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(holding(folder, SMALL, WHOLE, LARGE, *OTHERS))
        base = f"http://127.0.0.1:{upstream.port}{BASE}"
        cache = {"fresh_seconds": 3600}
        plain, brief = archive(base), archive(base, study_level="series")
        gateway = Gateway(folder / "gateway", {"archive": plain}, cache=cache)
        stack.enter_context(gateway)
        whole(gateway, upstream, count)
        page(gateway, upstream)
        down_to_series(gateway, upstream, count)
        one_by_one(gateway, upstream)
        other = Gateway(folder / "brief", {"archive": brief}, cache=cache)
        stack.enter_context(other)
        Reader(other.port).read(f"{BASE}/studies")  # a longer answer than those for series
        down_to_series(other, upstream, count, how=", one call")


if __name__ == "__main__":
    main()

"""A search that finds 50 studies which are known already: the Bundle, against decoding the same.

Run: python -m bench.bundle [rounds], or `make bench`. The yardstick decodes 50 ImagingStudies from
their bytes and writes the Bundle, as whoever caches JSON by study does it. Of the gateway it is the
CPU of the whole request that counts, less that of the same search by QIDO-RS: what is left is what
the Bundle costs. The archive is asked for the matches each time, and for nothing else; its answer to
that, and reading it, is in both.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import orjson

from bench.ground.load import ask, cpu_per_request, get
from bench.ground.stub import Held, StubArchive
from bench.ground.sums import Result, median, ratio, rounds, rounds_asked, tell
from tests.gateways import Gateway, archive

ROUNDS = 9
STUDIES = 50
INSTANCES = 32
REQUESTS = 60
PLAIN_RUNS = 40
WHOLE, ROWS, BUNDLE, PLAIN = "whole request", "rows only", "the Bundle", "parse and dump"
SEARCH = f"/fhir/r5/ImagingStudy?_count={STUDIES}"
QIDO = f"/dicom-web/studies?limit={STUDIES}"


def plain(resources: list[bytes]) -> float:
    """CPU seconds of decoding the resources and writing them as one Bundle."""
    gc.collect()
    started = time.process_time()
    for _ in range(PLAIN_RUNS):
        entries = [{"resource": orjson.loads(one)} for one in resources]
        orjson.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries})
    return (time.process_time() - started) / PLAIN_RUNS


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        held = Held(studies=STUDIES + 10, instances=INSTANCES)
        upstream = stack.enter_context(StubArchive(folder / "archive", held))
        one = Gateway(
            folder / "gateway", {"archive": archive(upstream.url)}, cache={"fresh_seconds": 3600}
        )
        stack.enter_context(one)
        found = orjson.loads(ask(one.port, get(SEARCH), 3).body)
        resources = [orjson.dumps(entry["resource"]) for entry in found["entry"]]
        if len(resources) != STUDIES or any(b'"instance"' not in r for r in resources):
            raise SystemExit("not all studies were found, with their instances")
        before = upstream.asked()
        done = rounds(
            count,
            {
                WHOLE: lambda: cpu_per_request(one.pid, one.port, get(SEARCH), REQUESTS),
                ROWS: lambda: cpu_per_request(one.pid, one.port, get(QIDO), REQUESTS),
                PLAIN: lambda: plain(resources),
            },
        )
        asked = upstream.asked() - before
        if asked["instances"] or asked["series"] or asked["studies"] != 2 * count * REQUESTS:
            raise SystemExit(f"the archive was asked for something else than the matches: {asked}")
    report(done, sum(map(len, resources)))


def report(done: list[dict[str, float]], size: int) -> None:
    """The figures."""
    with_bundle = [one | {BUNDLE: one[WHOLE] - one[ROWS]} for one in done]
    names = (WHOLE, ROWS, BUNDLE, PLAIN)
    shown = ", ".join(f"{name} {median(with_bundle, name) * 1e3:.2f}" for name in names)
    sys.stdout.write(f"{STUDIES} studies of {size // STUDIES} bytes, CPU ms: {shown}\n")
    what = f"search Bundle of {STUDIES} cached studies"
    times = ratio(with_bundle, BUNDLE, PLAIN)
    tell(
        Result(
            what=f"{what}: CPU", of=f"{PLAIN} of the same", ratio=times, floor=1 / 8, goal=1 / 20
        )
    )
    times = ratio(with_bundle, WHOLE, PLAIN)
    tell(Result(what=f"{what}: CPU with the search", of=f"{PLAIN} of the same", ratio=times))


if __name__ == "__main__":
    main()

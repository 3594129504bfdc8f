"""A search that finds 50 studies which are known already: the Bundle, against decoding the same.

Run: python -m bench.bundle [rounds], or `make bench`. The yardstick decodes 50 ImagingStudies from
their bytes and writes the Bundle, as whoever caches JSON by study does it. Ours is what the gateway
does from the moment when it knows which studies match until the bytes are there, in this process.
Beside it stands what the whole request takes of a gateway, the archive's answer and reading that
included. The archive is asked for the matches each time, and for nothing else.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

import orjson
from aiohttp import web

from bench.ground.load import ask, cpu_per_request, get
from bench.ground.stub import Held, StubArchive
from bench.ground.sums import Result, median, ratio, rounds_asked, tell
from gateway.app import build_app
from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.http_server import CATALOG, SETTINGS
from gateway.model import Consumer, Found, Level, Loaded, Study
from gateway.routes.fhir_entries import ENTRIES
from gateway.routes.fhir_http import PATIENT_IDS
from gateway.routes.fhir_resources import Resources
from gateway.routes.fhir_search import ImagingStudySearch
from gateway.rules import fhir_dates
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_results import Wanted
from gateway.rules.fhir_versions import VERSIONS
from gateway.rules.qido import Query
from tests.gateways import Gateway, archive

ROUNDS = 9
STUDIES = 50
INSTANCES = 32
REQUESTS = 60
RUNS = 40
WHOLE, BUNDLE, PLAIN = "whole request", "the Bundle", "parse and dump"
SEARCH = f"/fhir/r5/ImagingStudy?_count={STUDIES}"
CACHE = {"fresh_seconds": 3600}


class Searched:
    """A catalog that has searched already."""

    def __init__(self, catalog: Catalog, found: Found[Study]) -> None:
        self._catalog = catalog
        self._found = found

    async def studies(self, consumer: Consumer, query: Query) -> Found[Study]:
        """What was found."""
        return self._found

    async def study(self, consumer: Consumer, study_uid: str, level: Level) -> Loaded:
        """As ever."""
        return await self._catalog.study(consumer, study_uid, level)


class Bundles:
    """Bundles of what was found once."""

    def __init__(self, app: web.Application, found: Found[Study]) -> None:
        self._app = app
        self._catalog = cast(Catalog, Searched(app[CATALOG], found))
        self._resources = Resources(
            settings=app[SETTINGS],
            patients=app[PATIENT_IDS],
            consumer=Consumer(id="bench"),
            version=VERSIONS["r5"],
        )

    async def bundle(self) -> bytes:
        """One Bundle, as it goes out."""
        search = ImagingStudySearch(
            catalog=self._catalog,
            resources=self._resources,
            base="http://gateway.example/fhir/r5",
            search=Search(criteria=(), wanted=Wanted(count=STUDIES), used=()),
            now=fhir_dates.instant(datetime.now(UTC)),
            entries=self._app[ENTRIES],
        )
        return orjson.dumps(await search.bundle())

    async def seconds(self) -> float:
        """CPU seconds of one."""
        gc.collect()
        started = time.process_time()
        for _ in range(RUNS):
            await self.bundle()
        return (time.process_time() - started) / RUNS


def plain(resources: list[bytes]) -> float:
    """CPU seconds of decoding the resources and writing them as one Bundle."""
    gc.collect()
    started = time.process_time()
    for _ in range(RUNS):
        entries = [{"resource": orjson.loads(one)} for one in resources]
        orjson.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries})
    return (time.process_time() - started) / RUNS


@asynccontextmanager
async def bundles(upstream: StubArchive) -> AsyncIterator[Bundles]:
    """A gateway in this process."""
    sections = {"archives": {"archive": archive(upstream.url)}, "cache": CACHE}
    app = build_app(Settings.model_validate(sections))
    runner = web.AppRunner(app)
    await runner.setup()
    query = Query(level=Level.STUDY, limit=STUDIES)
    try:
        yield Bundles(app, await app[CATALOG].studies(Consumer(id="bench"), query))
    finally:
        await runner.cleanup()


async def measured(count: int, upstream: StubArchive, one: Gateway) -> list[dict[str, float]]:
    """CPU of the Bundle, of decoding and writing it, and of the whole request."""
    async with bundles(upstream) as ours:
        found = orjson.loads(await ours.bundle())
        resources = [orjson.dumps(entry["resource"]) for entry in found["entry"]]
        if len(resources) != STUDIES or any(b'"instance"' not in r for r in resources):
            raise SystemExit("not all studies were found, with their instances")
        whole = partial(cpu_per_request, one.pid, one.port, get(SEARCH), REQUESTS)
        done = []
        before = upstream.asked()
        for _ in range(count):
            in_turn = {BUNDLE: await ours.seconds(), PLAIN: plain(resources)}
            done.append(in_turn | {WHOLE: await asyncio.to_thread(whole)})
        asked = upstream.asked() - before
        if asked["instances"] or asked["series"] or asked["studies"] != count * REQUESTS:
            raise SystemExit(f"the archive was asked for something else than matches: {asked}")
        return done


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        held = Held(studies=STUDIES + 10, instances=INSTANCES)
        upstream = stack.enter_context(StubArchive(folder / "archive", held))
        one = Gateway(folder / "gateway", {"archive": archive(upstream.url)}, cache=CACHE)
        stack.enter_context(one)
        ask(one.port, get(SEARCH), 3)
        report(asyncio.run(measured(count, upstream, one)))


def report(done: list[dict[str, float]]) -> None:
    """The figures."""
    shown = ", ".join(f"{n} {median(done, n) * 1e3:.2f}" for n in (WHOLE, BUNDLE, PLAIN))
    sys.stdout.write(f"{STUDIES} studies, CPU ms: {shown}\n")
    what, of = f"Bundle of {STUDIES} cached studies", f"{PLAIN} of the same"
    times = ratio(done, BUNDLE, PLAIN)
    tell(Result(what=f"{what}: CPU", of=of, ratio=times, floor=1 / 8, goal=1 / 20))
    times = ratio(done, WHOLE, PLAIN)
    tell(Result(what=f"{what}: CPU with the search for them", of=of, ratio=times))


if __name__ == "__main__":
    main()

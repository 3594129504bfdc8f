"""Two replicas over one archive and one Redis, asked in turn: one cache, and one load for many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from gateway.adapters.redis_locks import LOCK_SECONDS
from tests.doubles import Double, Held
from tests.fault_archive import Answer, FaultArchive, Seen
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.servers import RedisServer

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1")
C = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2")
READ = "/fhir/r5/ImagingStudy/1.2.3"
STAFF, HIE = {"X-API-Key": "staff-key-0123456789"}, {"X-API-Key": "hie-key-0123456789"}
AUTH = {
    "mode": "required",
    "api_keys": {
        "staff": {"key": STAFF["X-API-Key"]},
        "hie": {"key": HIE["X-API-Key"], "policy": "hie"},
    },
}


@dataclass
class Replicas:
    """The gateways, and the archive behind them."""

    double: Double
    gateways: list[Gateway]
    session: aiohttp.ClientSession
    turns: int = field(default=0)

    async def get(self, path: str, which: int | None = None, **headers: str) -> bytes:
        """The answer of one replica, or of each in its turn; it is a good one."""
        self.turns += 1
        base = self.gateways[self.turns % 2 if which is None else which].url
        async with self.session.get(base + path, headers={**STAFF, **headers}) as answer:
            body = await answer.read()
            assert answer.status in {200, 204}, body
            return body

    async def instances(self, which: int) -> int:
        """How many instances a replica tells of the study."""
        self.turns += 1
        base = self.gateways[which].url
        async with self.session.get(base + READ, headers=STAFF) as answer:
            return int((await answer.json(content_type=None))["numberOfInstances"])


@pytest.fixture
async def replicas(
    fault_archive: FaultArchive,
    redis_server: RedisServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Replicas]:
    more = getattr(request, "param", {})
    cache = {"redis_url": redis_server.url, "fresh_seconds": 3600, **more}
    one = archive(fault_archive.url, patient_system="urn:oid:1.2.3", max_concurrency=64)
    sections = {
        "server": {"public_url": "http://gateway.example"},
        "auth": AUTH,
        "cache": cache,
        "policies": {"hie": {"hide": [{"modality": ["SR"]}]}},
    }
    double = Double(fault_archive, [A])
    with ExitStack() as stack:
        gateways: list[Gateway] = [
            ForkedGateway(tmp_path / name, {"north": one}, **sections) for name in ("one", "two")
        ]
        for each in gateways:
            await asyncio.to_thread(stack.enter_context, each)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            made = Replicas(double, gateways, session)
            await _hearing(made)
            yield made


async def _hearing(replicas: Replicas) -> None:
    """Waits until what one replica drops is heard by the other one."""
    async with asyncio.timeout(20):
        while True:
            for which in (0, 1):
                await replicas.get(READ, which)
            replicas.double.held.append(B)
            assert (await _told(replicas, 0)) == 204
            numbers = [await replicas.instances(which) for which in (0, 1)]
            replicas.double.held.remove(B)
            await _told(replicas, 0)
            if numbers == [2, 2]:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0)


async def _told(replicas: Replicas, which: int) -> int:
    url = f"{replicas.gateways[which].url}/hooks/studies/1.2.3"
    async with replicas.session.post(url, headers=STAFF) as answer:
        return answer.status


SEARCHES = {
    "studies": ("/dicom-web/studies", STAFF),
    "studies by a key": ("/dicom-web/studies?PatientID=P1&limit=5", STAFF),
    "series": ("/dicom-web/series", STAFF),
    "series of the study": ("/dicom-web/studies/1.2.3/series", STAFF),
    "ImagingStudy": ("/fhir/r4/ImagingStudy?modality=CT", STAFF),
    "ImagingStudy of a patient": ("/fhir/r5/ImagingStudy?patient=Patient/P1", STAFF),
    "Patient": ("/fhir/r5/Patient?identifier=P1", STAFF),
    "restricted studies": ("/dicom-web/studies", HIE),
    "restricted series": ("/dicom-web/studies/1.2.3/series", HIE),
    "restricted ImagingStudy": ("/fhir/r4/ImagingStudy?modality=CT", HIE),
}


async def _known_within_a_second(replicas: Replicas, which: int, since: float) -> None:
    """Nobody who asks a second later, or after that, is told of one instance only."""
    asked_at = time.monotonic()
    while await replicas.instances(which) != 2:
        assert asked_at - since < 1
        asked_at = time.monotonic()


@pytest.mark.parametrize("which", [0, 1], ids=["same replica", "other replica"])
async def test_changed_count_in_any_row_is_known_to_every_replica(
    replicas: Replicas, which: int
) -> None:
    for name, (path, caller) in SEARCHES.items():
        replicas.double.held = [A]
        await _told(replicas, 0)
        assert await replicas.instances(0) == 1, name
        replicas.double.held = [A, C]
        assert await replicas.instances(0) == 1, name
        await replicas.get(path, which, **caller)
        searched_at = time.monotonic()
        for each in (0, 1):
            await _known_within_a_second(replicas, each, searched_at)


async def test_instance_of_a_series_that_nobody_knew_is_known_to_every_replica(
    replicas: Replicas,
) -> None:
    assert await replicas.instances(0) == 1
    replicas.double.held.append(B)
    await replicas.get("/dicom-web/studies/1.2.3/instances", 1)
    await _known_within_a_second(replicas, 0, time.monotonic())


@pytest.mark.parametrize("replicas", [{"fresh_seconds": 0.5, "stale_seconds": 3600}], indirect=True)
async def test_old_record_costs_one_small_search_for_all_replicas(replicas: Replicas) -> None:
    for _ in range(4):
        await replicas.get(READ)
    await asyncio.sleep(0.8)  # as old as that
    seen = len(replicas.double.server.requests)
    bodies = await asyncio.gather(*(replicas.get(READ) for _ in range(40)))
    await replicas.double.server.wait_for(seen + 1)
    await asyncio.sleep(0.3)  # in which no more of them come
    assert len(set(bodies)) == 1
    new = [s.path for s in replicas.double.server.requests[seen:]]
    assert [path.partition("?")[0] for path in new] == ["/studies"], new
    assert "StudyInstanceUID=1.2.3" in new[0]


async def test_two_hundred_who_ask_two_replicas_cost_one_load(replicas: Replicas) -> None:
    await _told(replicas, 0)
    before = len(replicas.double.server.requests)
    bodies = await asyncio.gather(*(replicas.get(READ) for _ in range(200)))
    assert len(set(bodies)) == 1
    loads = [s.route for s in replicas.double.server.requests[before:]]
    assert sorted(loads) == sorted(set(loads)), loads


def _stalling(double: Double) -> list[Seen]:
    """From now on the archive does not answer; those who asked it."""
    stalled: list[Seen] = []

    def stall(seen: Seen) -> Answer:
        stalled.append(seen)
        return Answer(stall=True)

    double.server.on("*", stall)
    return stalled


async def _until_asked(stalled: list[Seen]) -> None:
    async with asyncio.timeout(10):
        while not stalled:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)


async def test_another_takes_over_from_a_replica_that_was_killed(replicas: Replicas) -> None:
    await _told(replicas, 0)
    stalled = _stalling(replicas.double)
    lost = [asyncio.ensure_future(replicas.get(READ, 0)) for _ in range(100)]
    await _until_asked(stalled)
    left = [asyncio.ensure_future(replicas.get(READ, 1)) for _ in range(100)]
    await asyncio.sleep(1)
    asked, before = len(stalled), len(replicas.double.server.requests)
    replicas.double.server.on("*", replicas.double.answer)
    killed_at = time.monotonic()
    await asyncio.to_thread(replicas.gateways[0].kill)
    bodies = await asyncio.gather(*left)
    assert time.monotonic() - killed_at < 2 * LOCK_SECONDS + 1
    assert len(set(bodies)) == 1
    assert asked == len(stalled)
    loads = [s.route for s in replicas.double.server.requests[before:]]
    assert sorted(loads) == ["/studies", "/studies/1.2.3/instances", "/studies/1.2.3/series"], loads
    await asyncio.gather(*lost, return_exceptions=True)


async def test_archive_is_left_once_the_last_caller_has_left(replicas: Replicas) -> None:
    await _told(replicas, 0)
    stalled = _stalling(replicas.double)
    calls = [asyncio.ensure_future(replicas.get(READ, 0)) for _ in range(20)]
    await _until_asked(stalled)
    await asyncio.sleep(0.3)
    for call in calls[1:]:
        call.cancel()
    await asyncio.sleep(0.3)
    assert all(seen.ending is None for seen in stalled)
    calls[0].cancel()
    for seen in stalled:
        await asyncio.wait_for(seen.ended.wait(), 10)
    assert {seen.ending for seen in stalled} == {"left"}
    await asyncio.gather(*calls, return_exceptions=True)
    replicas.double.server.on("*", replicas.double.answer)
    assert await replicas.instances(1) == 1


async def test_slow_load_is_not_begun_a_second_time(replicas: Replicas) -> None:
    """Longer than a lock lives that is not renewed."""
    await _told(replicas, 0)
    before = len(replicas.double.server.requests)
    stalled = _stalling(replicas.double)
    calls = [asyncio.ensure_future(replicas.get(READ)) for _ in range(20)]
    await _until_asked(stalled)
    await asyncio.sleep(LOCK_SECONDS + 1)
    replicas.double.server.on("*", replicas.double.answer)
    loads = [s.route for s in replicas.double.server.requests[before:]]
    assert sorted(loads) == sorted(set(loads)), loads
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_answers_are_kept_as_they_are_sent(replicas: Replicas) -> None:
    replicas.double.held.extend(
        Held(study="1.2.3", series="1.2.3.1", instance=f"1.2.3.1.{n}") for n in range(10, 300)
    )
    await _told(replicas, 0)
    url = replicas.gateways[0].url
    async with aiohttp.ClientSession(auto_decompress=False) as plain:
        sizes = []
        kept = 0
        async with asyncio.timeout(20):
            while kept < 3:  # answers are kept once they tell their time: a second and more later
                headers = {**STAFF, "Accept-Encoding": "gzip"}
                async with plain.get(url + READ, headers=headers) as answer:
                    assert answer.headers["Content-Encoding"] == "gzip"
                    sizes.append(len(await answer.read()))
                    kept += "Last-Modified" in answer.headers
    assert len(set(sizes)) == 1
    assert sizes[0] < 20_000
    metrics = (await replicas.get("/metrics", 0)).decode()
    assert 'gateway_cache_reads_total{layer="answers",outcome="hit"}' in metrics

"""Entries that are written once are given again only while what they were made from is current."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import pytest

from gateway import disclosures
from gateway.adapters.cache import MemoryCache
from gateway.disclosures import Disclosures
from gateway.model import Consumer, Identifier
from gateway.routes.fhir_entries import Entries, Entry, kind, written
from gateway.routes.fhir_resources import Resources
from gateway.rules import patient_ids
from gateway.rules.fhir_results import Wanted
from gateway.rules.fhir_versions import VERSIONS
from gateway.rules.patient_ids import OfServer
from tests import study_records
from tests.adapters.caches import KEY, LIVES, Clock, Source, memory
from tests.routes.test_fhir_scan import SETTINGS

KIND = "a kind"
UID = "1.2.3"
WHO = Identifier(value="P1")
Make = Callable[[], Awaitable[Entry | None]]


class Bench:
    """Entries over a cache, and how often one was made."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cache: MemoryCache = memory(self.clock)
        self.entries = Entries(self.cache, max_bytes=1 << 20)
        self.made = 0

    async def make(self) -> Entry:
        self.made += 1
        await self.cache.load(KEY, Source(str(self.made).encode()))
        return Entry(
            uid=UID,
            body=orjson.Fragment(b"{}"),
            size=2,
            oddities=(),
            endpoints=(),
            patient_id=None,
            is_shared=False,
            disclosed=Disclosures({UID: WHO}),
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_entry_that_was_made_is_found_and_disclosed(bench: Bench) -> None:
    made = await bench.entries.made(KIND, UID, bench.make)
    token = disclosures.CURRENT.set(Disclosures())
    try:
        assert bench.entries.found(KIND, UID) is made
        noted = disclosures.copied()
        assert noted is not None
        assert noted.shown == {UID: WHO}
    finally:
        disclosures.CURRENT.reset(token)


async def test_entry_of_another_kind_is_another(bench: Bench) -> None:
    await bench.entries.made(KIND, UID, bench.make)
    assert bench.entries.found("another kind", UID) is None


async def test_entry_ends_with_what_it_was_made_from(bench: Bench) -> None:
    await bench.entries.made(KIND, UID, bench.make)
    await bench.cache.forget(KEY)
    assert bench.entries.found(KIND, UID) is None
    await bench.entries.made(KIND, UID, bench.make)
    bench.clock.seconds += LIVES.fresh_seconds
    assert bench.entries.found(KIND, UID) is None


async def test_entry_that_no_cached_value_vouches_for_is_not_kept(bench: Bench) -> None:
    async def make() -> Entry:
        made = await bench.make()
        await bench.cache.forget(KEY)
        return made

    await bench.entries.made(KIND, UID, make)
    assert bench.entries.found(KIND, UID) is None


def test_kinds_differ_by_version_caller_base_and_what_is_wanted() -> None:
    def resources(version: str = "r5", caller: str = "a") -> Resources:
        return Resources(
            settings=SETTINGS,
            patients=patient_ids.of(SETTINGS),
            consumer=Consumer(id=caller),
            version=VERSIONS[version],
        )

    kinds = [
        kind(resources(), "base", Wanted()),
        kind(resources("r4"), "base", Wanted()),
        kind(resources(caller="b"), "base", Wanted()),
        kind(resources(), "other", Wanted()),
        kind(resources(), "base", Wanted(summary="true")),
        kind(resources(), "base", Wanted(elements=frozenset({"status"}))),
    ]
    assert len(set(kinds)) == len(kinds)
    assert kind(resources(), "base", Wanted(count=5)) == kinds[0]


def test_kinds_differ_by_the_patients_that_a_server_told_of() -> None:
    def of(known: dict[str, tuple[Identifier, ...]]) -> str:
        resources = Resources(
            settings=SETTINGS,
            patients=OfServer(known=known),
            consumer=Consumer(id="a"),
            version=VERSIONS["r5"],
        )
        return kind(resources, "base", Wanted())

    kinds = {of({}), of({"p": (WHO,)}), of({"q": (WHO,)}), of({"p": (Identifier(value="P2"),)})}
    assert len(kinds) == 4


def test_entry_says_what_the_resource_is_and_where() -> None:
    resources = Resources(
        settings=SETTINGS,
        patients=patient_ids.of(SETTINGS),
        consumer=Consumer(id="a"),
        version=VERSIONS["r5"],
    )
    study = study_records.WHOLE
    entry = written(study, resources, "http://x/fhir/r5", Wanted())
    body = orjson.loads(orjson.dumps(entry.body))
    assert body["fullUrl"] == f"http://x/fhir/r5/ImagingStudy/{study.uid}"
    assert body["resource"] == resources.served(resources.imaging_study(study))
    assert entry.uid == study.uid

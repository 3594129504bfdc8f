from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.telemetry import Telemetry
from gateway.archives import Archives
from gateway.catalog import Catalog
from gateway.errors import NotFound, NotSupported
from gateway.model import Consumer, Identifier, Level, Policy, Rule, Study
from gateway.rules import dicom_json as dj
from gateway.rules import policy, qido
from gateway.rules.attributes import UID_OF
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.routes.test_fhir_scan import CT, SR, studies
from tests.study_archive import StudyArchive, StudyFacts

ANYONE = Consumer(id="anyone")
_some_rules = st.lists(
    st.one_of(
        st.sampled_from(["CT", "SR", "MR"]).map(lambda m: Rule(name="r", modalities=(m,))),
        st.sampled_from([CT, SR]).map(lambda c: Rule(name="r", sop_classes=(c,))),
        st.sampled_from(["north", "south"]).map(lambda a: Rule(name="r", archives=(a,))),
        st.just(Rule(name="r", patients=(Identifier(value="P1"),))),
        st.just(Rule(name="r", study_date_from="2020-06-01")),
    ),
    max_size=2,
).map(tuple)
consumers = st.builds(
    Consumer,
    id=st.just("hie"),
    policy=st.builds(Policy, name=st.just("p"), hide=_some_rules, allow=_some_rules),
    patients=st.sampled_from(
        [
            None,
            None,
            (),
            (Identifier(value="P1", system="urn:oid:2.999.1"),),
            (
                Identifier(value="P1", system="urn:oid:2.999.3"),
                Identifier(value="P2", system="urn:oid:2.999.1"),
            ),
        ]
    ),
)


def catalog_over(held: Sequence[StudyFacts]) -> Catalog:
    lives = Lives(fresh_seconds=60, stale_seconds=60, absent_seconds=60)
    cache = MemoryCache(lives=lives, max_bytes=1 << 24, telemetry=Telemetry())
    return Catalog(Archives([StudyArchive(name, held) for name in ("north", "south")], cache))


async def visible_studies(
    catalog: Catalog, held: Sequence[StudyFacts], consumer: Consumer
) -> dict[str, Study]:
    """What exists for `consumer`, from whole records and the predicate alone."""
    whole = [(await catalog.study(ANYONE, f.uid, Level.INSTANCE)).study for f in held]
    shown = [policy.visible(consumer, one) for one in whole]
    return {one.uid: one for one in shown if one is not None}


def uids(shown: dict[str, Study], level: Level) -> set[str]:
    series = [s for one in shown.values() for s in one.series or ()]
    if level is Level.STUDY:
        return set(shown)
    if level is Level.SERIES:
        return {s.uid for s in series}
    return {i.uid for s in series for i in s.instances or ()}


@settings(max_examples=60)
@given(held=studies, consumer=consumers)
def test_rows_are_those_of_what_exists(held: tuple[StudyFacts, ...], consumer: Consumer) -> None:
    async def check() -> None:
        catalog = catalog_over(held)
        shown = await visible_studies(catalog, held, consumer)
        for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
            found = await catalog.search(consumer, Query(level=level, include=None))
            told = [dj.text(row, UID_OF[level]) for row in found.items]
            assert sorted(filter(None, told)) == sorted(uids(shown, level))
        for row in (await catalog.search(consumer, Query(level=Level.STUDY))).items:
            one = shown[dj.text(row, dj.STUDY_INSTANCE_UID) or ""]
            series = one.series or ()
            counted = dj.values(row, dj.NUMBER_OF_STUDY_RELATED_SERIES)
            assert counted == [len(series)]
            assert set(dj.texts(row, dj.MODALITIES_IN_STUDY)) == {
                s.modality for s in series if s.modality
            }
        records = await catalog.studies(consumer, Query(level=Level.STUDY))
        assert {one.uid for one in records.items} == set(shown)

    asyncio.run(check())


@settings(max_examples=40)
@given(held=studies, consumer=consumers, size=st.integers(1, 3))
def test_pages_of_what_exists_add_up(
    held: tuple[StudyFacts, ...], consumer: Consumer, size: int
) -> None:
    async def check() -> None:
        catalog = catalog_over(held)
        whole = (await catalog.search(consumer, Query(level=Level.STUDY))).items
        paged: list[Dataset] = []
        for offset in range(0, len(whole) + 1, size):
            query = Query(level=Level.STUDY, limit=size, offset=offset)
            page = await catalog.search(consumer, query)
            assert page.has_more is (offset + size < len(whole))
            paged += page.items
        assert paged == list(whole)

    asyncio.run(check())


@settings(max_examples=40)
@given(held=studies, consumer=consumers, modality=st.sampled_from(["CT", "SR", "MR"]))
def test_nothing_is_found_by_what_is_hidden(
    held: tuple[StudyFacts, ...], consumer: Consumer, modality: str
) -> None:
    async def check() -> None:
        catalog = catalog_over(held)
        shown = await visible_studies(catalog, held, consumer)
        key = qido.key(dj.MODALITIES_IN_STUDY, modality)
        found = await catalog.search(consumer, Query(level=Level.STUDY, keys=(key,)))
        expected = {
            uid for uid, one in shown.items() if modality in {s.modality for s in one.series or ()}
        }
        assert {dj.text(row, dj.STUDY_INSTANCE_UID) for row in found.items} == expected

    asyncio.run(check())


@settings(max_examples=30)
@given(held=studies, consumer=consumers)
def test_what_is_hidden_is_not_located(held: tuple[StudyFacts, ...], consumer: Consumer) -> None:
    async def check() -> None:
        catalog = catalog_over(held)
        shown = await visible_studies(catalog, held, consumer)
        for facts in held:
            if facts.uid in shown:
                loaded = await catalog.study(consumer, facts.uid, Level.STUDY)
                series = {s.uid for s in loaded.study.series or ()}
                assert series == {s.uid for s in shown[facts.uid].series or ()}
                continue
            with pytest.raises(NotFound):
                await catalog.study(consumer, facts.uid, Level.STUDY)

    asyncio.run(check())


async def test_a_key_of_a_lower_level_is_refused_where_something_is_hidden() -> None:
    hie = Consumer(id="hie", policy=Policy(name="p", hide=(Rule(name="r", modalities=("SR",)),)))
    query = Query(level=Level.STUDY, keys=(qido.key("00080070", "ACME"),))

    with pytest.raises(NotSupported):
        await catalog_over(()).search(hie, query)

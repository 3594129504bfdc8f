"""Searches for patients against an oracle: for any studies and any query, the obvious answer.

The oracle groups the studies by who they are about, writes each patient from the latest study that
names them, and keeps those of which each criterion is true.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import TooCostly, Unavailable
from gateway.model import Level
from gateway.routes.fhir_patient_search import PatientSearch
from gateway.rules import fhir_patient, fhir_requests, fhir_results, fhir_search
from gateway.rules.fhir_requests import Sizes
from gateway.rules.fhir_search import Reading
from tests.routes.test_fhir_scan import (
    BASE,
    CONSUMER,
    CT,
    NAMES,
    ROOT,
    SHARED,
    WHOLE_NAME,
    Asked,
    Deaf,
    Gateway,
    Pairs,
    Subject,
    begins,
    configured,
    criteria,
    dates,
    identified,
    ids,
    lists,
    matches,
    missing,
    names_of,
    of_ward,
    studies,
    versions,
    without,
)
from tests.rules.test_fhir_search import NOW
from tests.study_archive import SeriesFacts, StudyFacts

by_identifier = criteria(
    ["identifier"],
    lists("P1", "P?", "urn:oid:2.999.1|P1", "urn:oid:2.999.3|P1", "|P2", "urn:oid:2.999.3|"),
    lambda s, v: identified(s.patient["identifier"], v),
)
ANY_CRITERION = st.one_of(
    by_identifier,
    by_identifier.map(without),
    criteria(
        ["_id"], lists("P1", "P2", of_ward("P1"), "none", "P*"), lambda s, v: s.patient["id"] == v
    ),
    criteria(["name"], NAMES, lambda s, v: begins(v, names_of([s.patient], *WHOLE_NAME))),
    criteria(["family"], NAMES, lambda s, v: begins(v, names_of([s.patient], "family"))),
    criteria(["given"], NAMES, lambda s, v: begins(v, names_of([s.patient], "given"))),
    criteria(
        ["family:exact"],
        lists("Curie", "curie", "Müller"),
        lambda s, v: v in names_of([s.patient], "family"),
    ),
    dates("birthdate", lambda s: s.patient.get("birthDate"), "1970", "1970-01-31"),
    criteria(
        ["gender"],
        lists("male", "female", "other", "http://x|male"),
        lambda s, v: s.patient.get("gender") == v,
    ),
    missing("gender", lambda s: "gender" in s.patient),
    missing("family", lambda s: bool(names_of([s.patient], "family"))),
    criteria(["_tag:not"], lists("x"), lambda s, v: True),
    criteria(["_tag"], lists("x"), lambda s, v: False),
)


class Patients(Gateway):
    """The gateway, searched for patients."""

    async def search(self, pairs: Pairs, *, strict: bool = False) -> dict[str, Any]:
        search = fhir_requests.read(
            pairs,
            fhir_search.by_name(fhir_patient.PARAMETERS, self.version.absent),
            fhir_results.PATIENTS,
            Reading(base="^x/", now=NOW, strict=strict),
            Sizes(usual=100, largest=100),
        )
        found = PatientSearch(
            catalog=self.catalog,
            resources=self.resources,
            base=BASE,
            search=search,
            now=NOW,
        )
        return await found.bundle()

    async def subjects(self) -> list[Subject]:
        """Each patient with the study that tells them: what the oracle looks at."""
        latest: dict[str, tuple[tuple[bool, str, str, str], Subject]] = {}
        for facts in self.held:
            study = (await self.catalog.study(CONSUMER, facts.uid, Level.INSTANCE)).study
            resource = self.resources.imaging_study(study)
            reference = resource["subject"].get("reference")
            if reference is None:
                continue
            called = reference.removeprefix("Patient/")
            order = (study.patient.name is not None, study.date or "", study.time or "", study.uid)
            subject = Subject(resource, fhir_patient.patient(study.patient, called))
            if called not in latest or latest[called][0] < order:
                latest[called] = (order, subject)
        return [subject for _, subject in latest.values()]


@given(held=studies, asked=st.lists(ANY_CRITERION, max_size=8), version=versions)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_search_finds_what_an_obvious_filter_over_all_patients_finds(
    held: tuple[StudyFacts, ...], asked: list[Asked], version: str
) -> None:
    """Each criterion alone, and neighbours together."""

    async def compare() -> None:
        gateway = Patients(held, version)
        subjects = await gateway.subjects()
        whole = {s.patient["id"]: s.patient for s in subjects}
        for some in [*([one] for one in asked), *map(list, itertools.pairwise(asked)), asked[:3]]:
            expected = {s.patient["id"] for s in subjects if all(one.is_true(s) for one in some)}
            query = tuple((one.name, one.text) for one in some)
            bundle = await gateway.search(query)
            assert set(ids(bundle)) == expected, query
            assert bundle["total"] == len(expected)
            for called, resource in matches(bundle).items():
                assert {k: v for k, v in resource.items() if k != "meta"} == whole[called]

    asyncio.run(compare())


@given(
    held=studies,
    asked=st.lists(ANY_CRITERION, max_size=2),
    count=st.integers(1, 3),
    most=st.sampled_from([1, 3, 1000]),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_pages_hold_every_patient_at_most_once(
    held: tuple[StudyFacts, ...], asked: list[Asked], count: int, most: int
) -> None:
    async def compare() -> None:
        pairs = tuple((one.name, one.text) for one in asked)
        expected = ids(await Patients(held).search(pairs))
        limited = Patients(held, settings=configured(max_candidates=most))
        pages = await limited.pages((*pairs, ("_count", str(count))))
        found = [called for page in pages for called in page]
        assert len(found) == len(set(found))
        assert all(len(page) <= count for page in pages)
        if most == 1000:
            assert found == expected

    asyncio.run(compare())


SERIES = (SeriesFacts(number=1, archives=("north",), modality="CT", sop_classes=(CT,)),)
CURIE: dict[str, str | None] = {"Alphabetic": "Curie^Marie"}
MUELLER: dict[str, str | None] = {"Alphabetic": "Müller^Anna"}
OLD = StudyFacts(
    uid=f"{ROOT}.1",
    series=SERIES,
    patient_id="P1",
    date="20200101",
    patient_name=CURIE,
    birth_date="19700131",
    sex="F",
)
NEW = replace(OLD, uid=f"{ROOT}.2", date="20211231", patient_name=MUELLER, sex=None)
UNNAMED = replace(OLD, uid=f"{ROOT}.3", date="20220101", patient_name=None, birth_date=None)


@pytest.mark.parametrize("held", list(itertools.permutations((OLD, NEW, UNNAMED))))
async def test_patient_is_who_the_latest_study_with_a_name_says(
    held: Sequence[StudyFacts],
) -> None:
    gateway = Patients(held)
    (patient,) = matches(await gateway.search((("_id", "P1"),))).values()
    assert [name["family"] for name in patient["name"]] == ["Müller"]
    assert patient["birthDate"] == "1970-01-31"
    assert "gender" not in patient
    assert ids(await gateway.search((("family", "Curie"),))) == []
    assert ids(await gateway.search((("family", "Müll"),))) == ["P1"]


async def test_studies_of_the_patients_are_included_whole() -> None:
    gateway = Patients((OLD, NEW, replace(NEW, uid=f"{ROOT}.4", patient_id="P2")))
    bundle = await gateway.search((("_id", "P1"), ("_revinclude", "ImagingStudy:patient")))
    modes = [(e["search"]["mode"], e["resource"]["id"]) for e in bundle["entry"]]
    assert modes == [("match", "P1"), ("include", OLD.uid), ("include", NEW.uid)]
    assert bundle["total"] == 1
    whole = {s.study["id"]: s.study for s in await gateway.everything()}
    for entry in bundle["entry"][1:]:
        assert entry["fullUrl"] == f"{BASE}/ImagingStudy/{entry['resource']['id']}"
        version = entry["resource"]["meta"].pop("versionId")
        assert entry["resource"] == whole[entry["resource"]["id"]]
        assert version


@pytest.mark.parametrize("strict", [False, True])
async def test_too_many_studies_to_include_are_said(*, strict: bool) -> None:
    held = [replace(OLD, uid=f"{ROOT}.{n}") for n in range(1, 6)]
    gateway = Patients(held, settings=configured(max_count=3))
    query = (("_id", "P1"), ("_revinclude", "*"))
    if strict:
        with pytest.raises(TooCostly):
            await gateway.search(query, strict=True)
        return
    bundle = await gateway.search(query)
    modes = [e["search"]["mode"] for e in bundle["entry"]]
    assert modes == ["match", "include", "include", "include", "outcome"]
    (issue,) = bundle["entry"][-1]["resource"]["issue"]
    assert issue["diagnostics"] == "2 studies were too many to include"


async def test_patient_that_only_one_archive_takes_a_study_for_is_none() -> None:
    gateway = Patients((replace(SHARED, patient_id="P1", patient_id_in_south="P2"),))
    assert ids(await gateway.search((("_id", "P1"),))) == ["P1"]
    assert ids(await gateway.search((("_id", "P2"),))) == []
    assert ids(await gateway.search(())) == ["P1"]


async def test_name_that_only_the_second_archive_has_is_not_the_patient_s() -> None:
    facts = replace(SHARED, patient_id="P1", patient_name=CURIE, name_in_south=MUELLER)
    gateway = Patients((facts,))
    assert ids(await gateway.search((("family", "Curie"),))) == ["P1"]
    assert ids(await gateway.search((("family", "Müller"),))) == []


async def test_archive_that_fails_over_a_study_is_named() -> None:
    gateway = Patients((replace(SHARED, patient_id="P1"),), south=Deaf)
    query = (("_id", "P1"), ("_revinclude", "ImagingStudy:subject"))
    bundle = await gateway.search(query)
    (outcome,) = (e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "outcome")
    assert [i["diagnostics"] for i in outcome["issue"]] == ["archive south did not answer"]
    assert "total" not in bundle
    with pytest.raises(Unavailable):
        await gateway.search(query, strict=True)


async def test_patient_id_is_asked_for_once_and_then_the_other_archive_by_uid() -> None:
    gateway = Patients((OLD, NEW))
    assert ids(await gateway.search((("identifier", "P1"),))) == ["P1"]
    assert [one.searches for one in gateway.archives] == [2, 2]


@pytest.mark.parametrize(
    ("query", "searches"),
    [((), 1), ((("gender:not", "male"),), 1), ((("family", "Curie"), ("_count", "2")), 5)],
)
async def test_what_all_studies_tell_is_not_asked_for_patient_by_patient(
    query: Pairs, searches: int
) -> None:
    held = [replace(OLD, uid=f"{ROOT}.{n}", patient_id=f"P{n % 5}") for n in range(1, 20)]
    gateway = Patients(held)
    assert ids(await gateway.search(query))
    assert [one.searches for one in gateway.archives] == [searches, searches]


@pytest.mark.parametrize("strict", [False, True])
async def test_patients_beyond_the_candidates_are_said_to_be_missing(*, strict: bool) -> None:
    held = [replace(OLD, uid=f"{ROOT}.{n}", patient_id=f"P{n}") for n in range(1, 6)]
    gateway = Patients(held, settings=configured(max_candidates=3))
    if strict:
        with pytest.raises(TooCostly):
            await gateway.search((), strict=True)
        return
    bundle = await gateway.search(())
    assert len(ids(bundle)) == 3
    assert "total" not in bundle
    (issue,) = bundle["entry"][-1]["resource"]["issue"]
    assert issue["code"] == "too-costly"


def links(bundle: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    return {one["relation"]: parse_qsl(urlsplit(one["url"]).query) for one in bundle["link"]}


async def test_links_repeat_the_search_and_lead_on() -> None:
    gateway = Patients((OLD, replace(NEW, patient_id="P2")))
    first = await gateway.search((("_count", "1"), ("colour", "red")))
    assert links(first)["self"] == [("_count", "1")]
    second = await gateway.search(tuple(links(first)["next"]))
    assert ids(first) + ids(second) == ["P1", "P2"]
    assert "next" not in links(second)

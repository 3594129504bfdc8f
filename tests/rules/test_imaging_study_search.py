"""What archives are asked when studies are searched for."""

from __future__ import annotations

import pytest

from gateway.model import Level
from gateway.rules import imaging_study_search, qido_upstream
from gateway.rules.imaging_study_keys import Options
from gateway.rules.imaging_study_search import Plan
from tests.rules.test_fhir_search import NOW, criterion


def plan(*pairs: tuple[str, str]) -> Plan:
    return imaging_study_search.plan([criterion(*pair) for pair in pairs], NOW)


def asked(found: Plan) -> list[dict[str, str]]:
    return [dict(qido_upstream.parameters(query)) for query in found.queries]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("_id", "1.2.3", [{"StudyInstanceUID": "1.2.3"}]),
        ("_id", "1.2.3,x,1.2.4", [{"StudyInstanceUID": "1.2.3,1.2.4"}]),
        ("_id", "x", []),
        ("identifier", "urn:dicom:uid|urn:oid:1.2.3", [{"StudyInstanceUID": "1.2.3"}]),
        (
            "identifier",
            "urn:oid:1.2.3",
            [{"StudyInstanceUID": "1.2.3"}, {"StudyID": "urn:oid:1.2.3"}],
        ),
        ("identifier", "|S1", [{"StudyID": "S1"}]),
        ("identifier", "*", [{"StudyID": "?"}]),
        ("identifier", "http://other|S1", []),
        ("patient.identifier", "urn:oid:1.2|P1", [{"PatientID": "P1"}]),
        ("patient.identifier", "P*1", [{"PatientID": "P?1"}]),
        ("patient.identifier", "P1,P2", [{"PatientID": "P1"}, {"PatientID": "P2"}]),
        ("patient.identifier", "P\\\\1", []),
        ("patient.identifier", "P\x001", []),
        ("patient", "Patient/1", []),
        ("modality", "ct,MR", [{"ModalitiesInStudy": "CT\\MR"}]),
        ("modality", "http://other|CT", []),
        ("modality", "*", []),
        ("started", "2020", [{"StudyDate": "20200101-20201231"}]),
        (
            "started",
            "2020,2022",
            [{"StudyDate": "20200101-20201231"}, {"StudyDate": "20220101-20221231"}],
        ),
        ("status", "cancelled", []),
        ("basedon:identifier", "s|A-1", [{"AccessionNumber": "A-1"}]),
        ("referrer", "Practitioner/1", []),
        ("patient.name", "Curie Marie", [{"PatientName": "curie marie", "fuzzymatching": "true"}]),
        (
            "subject:Patient.family",
            "M\u00fcller",
            [{"PatientName": "muller", "fuzzymatching": "true"}],
        ),
        ("patient.family", "\u5c71\u7530", [{"PatientName": "*\u5c71\u7530*"}]),
        ("patient.birthdate", "1970-01", [{"PatientBirthDate": "19700101-19700131"}]),
        ("patient.gender", "male,other", [{"PatientSex": "M,O"}]),
        ("patient.gender", "http://other|male", []),
        ("referrer.name", "Cur*", [{"ReferringPhysicianName": "cur", "fuzzymatching": "true"}]),
        ("_tag", "x|y", []),
        ("_profile", "http://example.org/p", []),
        ("body-structure", "BodyStructure/1", []),
    ],
)
def test_archives_are_asked_for_a_superset(
    name: str, text: str, expected: list[dict[str, str]]
) -> None:
    found = plan((name, text))
    written = [
        {k: v.replace(",", "\\") if k == "ModalitiesInStudy" else v for k, v in q.items()}
        for q in asked(found)
    ]
    assert written == expected


@pytest.mark.parametrize(
    ("name", "text", "level", "expected"),
    [
        ("series", "1.2,1.3", Level.SERIES, {"SeriesInstanceUID": "1.2,1.3"}),
        ("instance", "urn:oid:1.2", Level.INSTANCE, {"SOPInstanceUID": "1.2"}),
        ("dicom-class", "urn:oid:1.2", Level.INSTANCE, {"SOPClassUID": "1.2"}),
    ],
)
def test_what_studies_do_not_tell_is_probed_below(
    name: str, text: str, level: Level, expected: dict[str, str]
) -> None:
    ((query,),) = plan((name, text)).probes
    assert query.level is level
    assert dict(qido_upstream.parameters(query)) == expected


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        (("status", "available"),),
        (("modality:not", "CT"),),
        (("started:missing", "true"),),
        (("started", "ne2020"),),
        (("endpoint", "Endpoint/x"),),
        (("body-site", "72696002"),),
        (("encounter:identifier", "V-9"),),
        (("referrer:identifier", "4711"),),
        (("performer.name", "Curie"),),
        (("patient.name:contains", "urie"),),
        (("patient.name", "\u0416\u0443\u043a\u043e\u0432"),),
        (("patient.identifier", ",".join(map(str, range(17)))),),
    ],
    ids=[
        "nothing",
        "status",
        "not",
        "missing",
        "ne",
        "endpoint",
        *map(str, range(6)),
        "too many values",
    ],
)
def test_search_that_archives_cannot_narrow_is_told(pairs: tuple[tuple[str, str], ...]) -> None:
    found = plan(*pairs)
    assert not found.probes
    assert [query.keys for query in found.queries] == [()]


def test_accession_of_a_series_is_found_beside_its_patient() -> None:
    found = plan(("patient.identifier", "P1"), ("based-on:identifier", "A-1"))
    assert asked(found) == [{"PatientID": "P1"}]
    assert asked(plan(("series", "1.2"), ("based-on:identifier", "A-1"))) == [{}]
    everywhere = plan(("dicom-class", "1.2"), ("based-on:identifier", "A-1"))
    assert asked(everywhere) == [{"AccessionNumber": "A-1"}]


def test_archives_that_match_inside_sequences_are_asked_there() -> None:
    options = Options(series_accessions=True)
    found = imaging_study_search.plan([criterion("based-on:identifier", "A-1")], NOW, options)
    assert [[dict(qido_upstream.parameters(q)) for q in probe] for probe in found.probes] == [
        [{"AccessionNumber": "A-1"}, {"RequestAttributesSequence.AccessionNumber": "A-1"}],
    ]


def test_endpoint_that_no_study_carries_finds_nothing() -> None:
    options = Options(endpoints=frozenset({"gateway-dicom-wado-rs"}))
    for name, queries in (("gateway-dicom-wado-rs", 1), ("other", 0)):
        found = imaging_study_search.plan([criterion("endpoint", name)], NOW, options)
        assert len(found.queries) == queries


def test_criteria_are_asked_together() -> None:
    found = plan(("patient.identifier", "P1"), ("modality", "CT"), ("status", "available"))
    assert asked(found) == [{"PatientID": "P1", "ModalitiesInStudy": "CT"}]


def test_dates_are_asked_as_one_range() -> None:
    assert asked(plan(("started", "ge2020-01-01"), ("started", "lt2020-02-01"))) == [
        {"StudyDate": "20200101-20200131"}
    ]
    assert asked(plan(("started", "ge2020"), ("started", "ge2021"))) == [{"StudyDate": "20210101-"}]


@pytest.mark.parametrize(
    "pairs",
    [
        (("started", "ge2021"), ("started", "lt2020")),
        (("_id", "1.2.3"), ("identifier", "urn:dicom:uid|urn:oid:1.2.4")),
    ],
    ids=["dates", "uids"],
)
def test_criteria_that_exclude_each_other_ask_nothing(pairs: tuple[tuple[str, str], ...]) -> None:
    assert plan(*pairs).queries == ()


def test_alternatives_that_would_be_too_many_queries_are_left_to_the_resource() -> None:
    many = ",".join(f"P{n}" for n in range(9))
    found = plan(("patient.identifier", many), ("started", "2020,2021"))
    assert asked(found) == [
        {"StudyDate": "20200101-20201231"},
        {"StudyDate": "20210101-20211231"},
    ]


def test_studies_found_below_are_asked_for_by_uid() -> None:
    found = plan(("series", "1.2"), ("started", "2020"))
    uids = [f"1.2.{n}" for n in range(60)]
    queries = imaging_study_search.bound(found.queries, uids)
    listed = [dict(qido_upstream.parameters(q))["StudyInstanceUID"].split(",") for q in queries]
    assert [uid for some in listed for uid in some] == uids
    assert max(map(len, listed)) <= 50
    assert imaging_study_search.bound(found.queries, []) == ()


@pytest.mark.parametrize(
    ("pairs", "uid"),
    [
        ([("_id", "1.2.3")], "1.2.3"),
        ([("identifier", "urn:dicom:uid|urn:oid:1.2.3"), ("modality", "CT")], "1.2.3"),
        ([("_id", "1.2.3,1.2.4")], None),
        ([("_id", "1.2.3"), ("series", "1.2.5")], None),
        ([("identifier", "urn:oid:1.2.3")], None),
        ([("_id", "x")], None),
        ([("modality", "CT")], None),
    ],
)
def test_search_that_names_its_only_study_is_known(
    pairs: list[tuple[str, str]], uid: str | None
) -> None:
    assert imaging_study_search.one_study(plan(*pairs)) == uid

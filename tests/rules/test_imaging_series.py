"""Series and instances, element by element."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model import Code, Instance, Person, PersonName, Series
from gateway.rules import imaging_series
from gateway.rules.fhir_elements import NUMBER_OF_FRAMES, UNKNOWN
from gateway.rules.fhir_shapes import R4, R5, R6, Scope, Shape
from tests.study_records import WHOLE

SERIES = Series(uid="1.2.3", archives=("north",), modality="CT")


def scope() -> Scope:
    return Scope({"type": "Patient", "display": "Jane Doe"})


@pytest.mark.parametrize(
    ("shape", "expected"),
    [(R4, UNKNOWN), (R5, {"text": "Unknown"}), (R6, {"text": "Unknown"})],
    ids=["r4", "r5", "r6"],
)
def test_modality_that_nobody_tells_is_said_to_be_unknown(
    shape: Shape, expected: dict[str, str]
) -> None:
    assert imaging_series.modality(replace(SERIES, modality=None), shape) == expected


@pytest.mark.parametrize(
    ("of_series", "of_instances", "expected"),
    [
        ("L", [None], "7771000"),
        ("R", ["L"], "24028007"),
        (None, ["B", "B"], "51440002"),
        (None, ["R", None], "24028007"),
        (None, ["R", "L"], None),
        (None, ["U"], None),
        (None, [], None),
        ("x", [], None),
    ],
)
def test_side_is_that_of_the_series_or_the_one_its_instances_agree_on(
    of_series: str | None, of_instances: list[str | None], expected: str | None
) -> None:
    found = imaging_series.laterality(
        replace(
            SERIES,
            laterality=of_series,
            instances=tuple(
                Instance(uid=f"1.{n}", image_laterality=one) for n, one in enumerate(of_instances)
            ),
        )
    )
    assert (found and found["coding"][0]["code"]) == expected


def test_coded_region_wins_over_the_body_part() -> None:
    series = replace(
        SERIES,
        body_part="CHEST",
        anatomic_region=Code(value="39607008", scheme="SCT", meaning="Lung"),
    )
    found = imaging_series.body_site(series, scope())
    assert found is not None
    assert found["text"] == "Lung"
    assert imaging_series.body_site(replace(series, anatomic_region=None), scope()) != found


def test_performers_have_their_functions_and_are_contained() -> None:
    assert WHOLE.series is not None
    shared = scope()
    found = imaging_series.performer(WHOLE.series[0], R4, shared)
    told = [(p["function"]["coding"][0]["code"], p["actor"].get("display")) for p in found]
    assert told == [
        ("PRF", "Dr Marie Salomea Curie MD"),
        ("SPRF", "Roentgen"),
        ("DEV", "ACME Scanner 3000"),
        ("LOC", "Metro Hospital"),
    ]
    contained = [one["resourceType"] for one in shared.contained]
    assert contained == ["Practitioner", "Practitioner", "Device", "Organization"]


def test_person_without_name_and_identifier_is_nobody() -> None:
    nobody = Person(name=PersonName(alphabetic="^^^^"), codes=(Code(meaning="only words"),))
    assert imaging_series.practitioner(nobody, scope()) is None


def test_person_known_by_code_alone_is_shown_by_its_meaning() -> None:
    person = Person(codes=(Code(value="7", scheme="99HOSP", meaning="Dr Curie"),))
    found = imaging_series.practitioner(person, scope())
    assert found is not None
    assert found["display"] == "Dr Curie"
    assert found["identifier"]["value"] == "7"


def test_station_name_is_the_device_s_name_for_people() -> None:
    series = replace(SERIES, station_name="CT-1")
    for shape, element in ((R4, "deviceName"), (R5, "name"), (R6, "name")):
        shared = scope()
        found = imaging_series.device(series, shape, shared)
        assert found is not None
        assert found["display"] == "CT-1"
        assert element in shared.contained[0]


def test_instances_keep_their_order_number_and_title() -> None:
    assert WHOLE.series is not None
    found = imaging_series.instance(WHOLE.series[1], R5)
    assert [(i["uid"], i["number"], i["title"]) for i in found] == [
        ("1.2.826.1.2.1", 1, "Radiology Report")
    ]


def test_r6_titles_documents_alone() -> None:
    report = Instance(uid="1.2.3.1", title="Radiology Report")
    document = Instance(uid="1.2.3.2", title="Letter", document_title="To the GP")
    series = replace(SERIES, instances=(report, document))
    titles = [[i.get("title") for i in imaging_series.instance(series, s)] for s in (R4, R6)]
    assert titles == [["Radiology Report", "To the GP"], [None, "To the GP"]]


@pytest.mark.parametrize("shape", [R4, R5, R6])
def test_frames_are_told_where_there_are_several(shape: Shape) -> None:
    series = replace(
        SERIES,
        instances=tuple(Instance(uid=f"1.2.3.{n}", number_of_frames=n) for n in (0, 1, 30)),
    )
    found = imaging_series.instance(series, shape)
    assert [i.get("extension") for i in found] == [
        None,
        None,
        [{"url": NUMBER_OF_FRAMES, "valueInteger": 30}],
    ]

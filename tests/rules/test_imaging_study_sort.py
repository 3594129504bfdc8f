"""The order of studies."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.rules.fhir_results import Sort
from gateway.rules.imaging_study_sort import ordered


def study(uid: str, started: str | None, *modalities: str) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "id": uid,
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
        "series": [{"modality": {"coding": [{"code": m}]}} for m in modalities],
    }
    return resource | ({"started": started} if started else {})


STUDIES = [
    study("3", None, "MR"),
    study("1", "2020-05-14T00:30:00+02:00", "CT", "AU"),
    study("2", "2020-05-13T23:00:00Z", "DX"),
]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Sort(name="started"), ["1", "2", "3"]),
        (Sort(name="started", is_descending=True), ["2", "1", "3"]),
        (Sort(name="_id", is_descending=True), ["3", "2", "1"]),
        (Sort(name="identifier"), ["1", "2", "3"]),
        (Sort(name="modality"), ["1", "2", "3"]),
    ],
)
def test_studies_without_the_element_come_last(key: Sort, expected: list[str]) -> None:
    assert [one["id"] for one in ordered(STUDIES, [key])] == expected


def test_studies_are_in_the_order_in_which_they_changed() -> None:
    times = {"1": "2024-05-14T10:00:00.001Z", "2": "2024-05-14T10:00:00.000Z", "3": None}
    studies = [s | {"meta": {"lastUpdated": times[s["id"]]}} for s in STUDIES]
    assert [s["id"] for s in ordered(studies, [Sort(name="_lastUpdated")])] == ["2", "1", "3"]


def test_ties_are_broken_by_the_next_key() -> None:
    studies = [study("1", "2020", "MR"), study("2", "2020", "CT"), study("3", "2019", "XA")]
    keys = [Sort(name="started"), Sort(name="modality")]
    assert [one["id"] for one in ordered(studies, keys)] == ["3", "2", "1"]

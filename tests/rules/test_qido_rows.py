from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Level
from gateway.rules import attributes, qido_rows
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.rules.rows import odd_rows, row

OWN = "https://images.example.org/dicom-web/studies/1.2"
ARCHIVE = "http://10.0.0.7:8042"
STUDIES = Query(level=Level.STUDY)


def merged(*rows: Dataset) -> Dataset:
    (found,) = qido_rows.merged([[r | row(STUDY_INSTANCE_UID="1.2")] for r in rows], Level.STUDY)
    return found


def test_rows_keep_the_order_of_the_archives_and_theirs() -> None:
    def rows(*uids: str | None) -> list[Dataset]:
        return [row(STUDY_INSTANCE_UID=uid) for uid in uids]

    found = qido_rows.merged([rows("3", "1", None), rows("2", "1\0", "x"), rows("3")], Level.STUDY)
    assert [dj.text(r, dj.STUDY_INSTANCE_UID) for r in found] == ["3", "1", "2"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(
            row(MODALITIES_IN_STUDY=["CT", None]),
            row(MODALITIES_IN_STUDY=["SR", "CT"]),
            {dj.MODALITIES_IN_STUDY: {"vr": "CS", "Value": ["CT", "SR"]}},
            id="lists are united",
        ),
        pytest.param(
            row(MODALITIES_IN_STUDY=[{}, ["MR"]]),
            row(MODALITIES_IN_STUDY="SR"),
            {dj.MODALITIES_IN_STUDY: {"vr": "CS", "Value": ["SR"]}},
            id="odd lists too",
        ),
        pytest.param(
            row(PATIENT_ID="7"), row(PATIENT_ID="8"), row(PATIENT_ID="7"), id="the first decides"
        ),
        pytest.param(
            {dj.PATIENT_ID: {"vr": "LO"}},
            row(PATIENT_ID="8"),
            row(PATIENT_ID="8"),
            id="if it knows",
        ),
        pytest.param({}, row(STUDY_ID="S"), row(STUDY_ID="S"), id="what only the second has"),
        pytest.param(
            row(NUMBER_OF_STUDY_RELATED_SERIES=2),
            row(NUMBER_OF_STUDY_RELATED_SERIES=3),
            row(NUMBER_OF_STUDY_RELATED_SERIES=3),
            id="the larger count",
        ),
        pytest.param(
            row(NUMBER_OF_STUDY_RELATED_SERIES="9"),
            row(NUMBER_OF_STUDY_RELATED_SERIES="10"),
            row(NUMBER_OF_STUDY_RELATED_SERIES="10"),
            id="the larger count, as texts",
        ),
        pytest.param(
            row(NUMBER_OF_STUDY_RELATED_SERIES="x"),
            row(NUMBER_OF_STUDY_RELATED_SERIES=1),
            row(NUMBER_OF_STUDY_RELATED_SERIES=1),
            id="the count that is one",
        ),
    ],
)
def test_two_rows_of_a_study_become_one(first: Dataset, second: Dataset, expected: Dataset) -> None:
    assert merged(first, second) == expected | row(STUDY_INSTANCE_UID="1.2")


@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.INSTANCE])
def test_row_has_every_required_attribute_in_the_order_of_tags(level: Level) -> None:
    found = qido_rows.completed({}, Query(level=level), OWN)
    assert list(found) == sorted(attributes.ATTRIBUTES[level])
    assert found[dj.SPECIFIC_CHARACTER_SET] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found[dj.RETRIEVE_URL] == {"vr": "UR", "Value": [OWN]}


def test_row_names_its_parents_where_the_archive_does_not() -> None:
    query = Query(level=Level.INSTANCE, study_uid="1.2", series_uid="1.2.1")
    found = qido_rows.completed(row(SOP_INSTANCE_UID="1.2.1.1"), query, OWN)
    assert dj.text(found, dj.STUDY_INSTANCE_UID) == "1.2"
    assert dj.text(found, dj.SERIES_INSTANCE_UID) == "1.2.1"


@pytest.mark.parametrize("value", [[], [None], [""]])
def test_empty_values_are_left_out(value: list[Any]) -> None:
    given_ = {dj.STUDY_ID: {"vr": "SH", "Value": value}, dj.STUDY_DESCRIPTION: {"Value": value}}
    found = qido_rows.completed(given_, STUDIES, OWN)
    assert found[dj.STUDY_ID] == {"vr": "SH"}
    assert found[dj.STUDY_DESCRIPTION] == {}


def test_tags_go_out_in_upper_case() -> None:
    found = qido_rows.completed({"0008103e": {"vr": "LO", "Value": ["x"]}}, STUDIES, OWN)
    assert found[dj.SERIES_DESCRIPTION]["Value"] == ["x"]
    assert "0008103e" not in found


def test_no_address_of_the_archive_is_left_in_a_row() -> None:
    icon = {
        "00880200": {
            "vr": "SQ",
            "Value": [{dj.PIXEL_DATA: {"vr": "OW", "BulkDataURI": f"{ARCHIVE}/1"}}],
        },
        **row(RETRIEVE_URL=ARCHIVE, PIXEL_DATA_PROVIDER_URL=ARCHIVE, RETRIEVE_URI=ARCHIVE),
    }
    of_study = qido_rows.completed(icon, STUDIES, OWN)
    assert ARCHIVE not in str(of_study)
    of_instance = qido_rows.completed(icon, Query(level=Level.INSTANCE), OWN)
    assert ARCHIVE not in str(of_instance)
    assert f"{OWN}/bulkdata/00880200/0/7FE00010" in str(of_instance)


@given(st.lists(odd_rows, max_size=3), odd_rows)
def test_odd_rows_never_fail(rows: list[Dataset], dataset: Dataset) -> None:
    known = row(STUDY_INSTANCE_UID="1.2")
    for found in qido_rows.merged([[r | known for r in rows], [dataset | known]], Level.STUDY):
        whole = qido_rows.completed(found, STUDIES, OWN)
        assert set(attributes.STUDY_ATTRIBUTES) <= set(whole)

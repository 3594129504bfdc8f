"""What rows of series tell of their study, and when they bear out a row of it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.rules import attributes, study_rows
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from tests.dicom import row

ABOVE: dict[str, Any] = {
    "PatientID": "P1",
    "IssuerOfPatientID": "HOSP",
    "PatientName": "Doe^Jane",
    "StudyDate": "20240119",
    "AccessionNumber": "A1",
}
NO_PATIENT = {"PatientID": None, "IssuerOfPatientID": None}


def study(**changes: Any) -> Dataset:
    told = ABOVE | {
        "ModalitiesInStudy": ["CT", "SR"],
        "NumberOfStudyRelatedSeries": 2,
        "NumberOfStudyRelatedInstances": 5,
    }
    return _row(told | {"StudyInstanceUID": "1.2.3"} | changes)


def series(number: int, **changes: Any) -> Dataset:
    told = ABOVE | {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": f"1.2.3.{number}",
        "Modality": "CT" if number == 1 else "SR",
        "NumberOfSeriesRelatedInstances": 4 if number == 1 else 1,
    }
    return _row(told | changes)


def _row(told: dict[str, Any]) -> Dataset:
    """A row; None: an attribute without a value, ...: one that is not told."""
    return row(**{name: value for name, value in told.items() if value is not ...})


BOTH = (series(1), series(2))


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [
        pytest.param(study(), BOTH, True, id="all agree"),
        pytest.param(study(ModalitiesInStudy=...), BOTH, True, id="modalities not told"),
        pytest.param(
            study(**NO_PATIENT), [series(n, **NO_PATIENT) for n in (1, 2)], True, id="nobody known"
        ),
        pytest.param(study(), (), False, id="no series"),
        pytest.param(study(), BOTH[:1], False, id="series missing"),
        pytest.param(study(), (*BOTH, series(3)), False, id="more series"),
        pytest.param(study(NumberOfStudyRelatedSeries=...), BOTH, False, id="series not counted"),
        pytest.param(
            study(NumberOfStudyRelatedInstances=...), BOTH, False, id="instances not counted"
        ),
        pytest.param(study(NumberOfStudyRelatedInstances=6), BOTH, False, id="more instances"),
        pytest.param(
            study(),
            (series(1), series(2, NumberOfSeriesRelatedInstances=...)),
            False,
            id="no count",
        ),
        pytest.param(
            study(NumberOfStudyRelatedSeries=1, NumberOfStudyRelatedInstances=4),
            BOTH,
            False,
            id="of one patient's part",
        ),
        pytest.param(study(), (series(1), series(2, PatientID="P2")), False, id="two patients"),
        pytest.param(study(), (series(1), series(2, PatientID=None)), False, id="or one unknown"),
        pytest.param(study(), (series(1), series(2, PatientID=...)), False, id="or one not told"),
        pytest.param(
            study(), (series(1), series(2, IssuerOfPatientID="X")), False, id="two issuers"
        ),
        pytest.param(
            study(**NO_PATIENT), [series(n, PatientID=...) for n in (1, 2)], False, id="untold"
        ),
        pytest.param(study(), (series(1), series(2, StudyDate="20240120")), False, id="two dates"),
        pytest.param(
            study(ModalitiesInStudy=["CT"]), BOTH, False, id="only the modality asked for"
        ),
        pytest.param(study(), (series(1), series(1)), False, id="a series twice"),
        pytest.param(study(), (series(1), series(2, SeriesInstanceUID=None)), False, id="no UID"),
    ],
)
def test_a_row_is_borne_out_by_all_that_series_count_and_tell(
    above: Dataset, below: tuple[Dataset, ...], *, expected: bool
) -> None:
    assert study_rows.agrees(above, below) is expected


def test_series_that_agree_tell_their_study() -> None:
    found = study_rows.of_series("1.2.3", BOTH)
    assert found == study()


def test_modalities_are_listed_each_once_in_one_order() -> None:
    below = [series(1, Modality="SR"), series(2, Modality="CT"), series(3, Modality="SR")]
    assert dj.texts(study_rows.of_series("1.2.3", below) or {}, dj.MODALITIES_IN_STUDY) == [
        "CT",
        "SR",
    ]


@pytest.mark.parametrize(
    "below",
    [
        pytest.param((), id="none"),
        pytest.param((series(1), series(2, PatientID="P2")), id="two patients"),
        pytest.param((series(1), series(2, PatientID=...)), id="patient not told"),
        pytest.param((series(1), series(2, AccessionNumber="A2")), id="two accessions"),
        pytest.param((series(1), series(2, AccessionNumber=...)), id="an accession not told"),
        pytest.param((series(1), series(2, StudyID="7")), id="one tells more"),
        pytest.param((series(1), series(2, NumberOfSeriesRelatedInstances=...)), id="no count"),
        pytest.param((series(1), series(2, StudyInstanceUID="1.2.4")), id="another study"),
        pytest.param((series(1), series(2, StudyInstanceUID=...)), id="no study"),
        pytest.param((series(1), series(1)), id="a series twice"),
    ],
)
def test_series_that_do_not_tell_their_study_clearly_tell_none(below: tuple[Dataset, ...]) -> None:
    assert study_rows.of_series("1.2.3", below) is None


def test_what_no_series_tells_of_its_study_is_known() -> None:
    above = study(StudyDescription="Chest", StudyID=None, AccessionNumber="A2")
    assert study_rows.untold(above, BOTH) == (dj.STUDY_DESCRIPTION,)
    one = (series(1), series(2, StudyDescription="Chest"))
    assert study_rows.untold(above, one) == ()


def test_all_that_records_of_studies_are_made_of_is_asked_for() -> None:
    asked = attributes.SERIES_FIELDS | study_rows.TOLD_BELOW
    needed = attributes.STUDY_FIELDS | set(attributes.STUDY_ATTRIBUTES)
    computed = {*attributes.COUNTED, dj.STUDY_INSTANCE_UID}
    assert needed - asked - computed == {dj.RETRIEVE_URL, dj.SPECIFIC_CHARACTER_SET}

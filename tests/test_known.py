from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway import known
from gateway.adapters.drops import Since
from gateway.known import Known
from gateway.model import Identifier, Level, Patient, Series, Study
from tests.dicom import row

NOW = Since(0, ())
STUDY = Study(
    uid="1.2.3",
    archives=("north",),
    number_of_series=2,
    number_of_instances=5,
    series=(
        Series(uid="1", archives=("north",), number_of_instances=5),
        Series(uid="2", archives=("north",)),
    ),
)


def series(uid: str, instances: int | None = None) -> dict[str, Any]:
    told = {} if instances is None else {"NumberOfSeriesRelatedInstances": instances}
    return row(SeriesInstanceUID=uid, **told)


def counts(series: int, instances: int) -> dict[str, Any]:
    return row(NumberOfStudyRelatedSeries=series, NumberOfStudyRelatedInstances=instances)


@pytest.mark.parametrize(
    ("noted", "said", "level", "expected"),
    [
        pytest.param(STUDY, counts(2, 5), Level.STUDY, False, id="the same"),
        pytest.param(STUDY, counts(2, 6), Level.STUDY, True, id="more"),
        pytest.param(STUDY, row(PatientID="P"), Level.STUDY, False, id="no counts"),
        pytest.param(STUDY, counts(2, 6), Level.SERIES, True, id="more, by a row of a series"),
        pytest.param(STUDY, counts(2, 6), Level.INSTANCE, True, id="more, by a row of an instance"),
        pytest.param(STUDY, series("1", 5), Level.SERIES, False, id="the same in a series"),
        pytest.param(STUDY, series("1", 6), Level.SERIES, True, id="more in a series"),
        pytest.param(STUDY, series("2", 6), Level.SERIES, False, id="not known of a series"),
        pytest.param(STUDY, series("1"), Level.SERIES, False, id="no counts of a series"),
        pytest.param(STUDY, series("9"), Level.SERIES, True, id="another series"),
        pytest.param(STUDY, series("9"), Level.INSTANCE, True, id="an instance of another series"),
        pytest.param(STUDY, series("1"), Level.INSTANCE, False, id="an instance of a series"),
        pytest.param(None, counts(2, 5), Level.STUDY, True, id="there, where none was"),
        pytest.param(None, row(Modality="CT"), Level.SERIES, True, id="a series of it"),
    ],
)
def test_rows_contradict_by_their_counts(
    noted: Study | None, said: dict[str, Any], level: Level, *, expected: bool
) -> None:
    records = Known()
    assert not records.is_contradicted("north", "1.2.3", said, level)
    records.note("north", "1.2.3", noted, "m", NOW)
    assert records.is_contradicted("north", "1.2.3", said, level) is expected
    assert records.mark("north", "1.2.3") == (None if expected else "m")
    assert not records.is_contradicted("south", "1.2.3", said, level)


def test_only_the_latest_are_known() -> None:
    records = Known()
    for number in range(known.MOST_KNOWN):
        records.note("north", str(number), STUDY, "m", NOW)
    records.note("north", "0", STUDY, "n", NOW)
    records.note("north", "new", STUDY, "m", NOW)
    assert records.mark("north", "0") == "n"
    assert records.mark("north", "1") is None


def test_studies_of_many_series_make_room_sooner() -> None:
    records = Known()
    many = replace(
        STUDY,
        series=tuple(
            Series(uid=f"1.2.3.{n}", archives=("north",)) for n in range(known.MOST_SERIES)
        ),
    )
    fitting = known.MOST_SERIES_KNOWN // known.MOST_SERIES
    for number in [*range(fitting), 0]:  # what is noted again takes no more
        records.note("north", str(number), many, "m", NOW)
    assert records.mark("north", "1") == "m"
    records.note("north", "new", many, "m", NOW)
    assert records.mark("north", "1") is None
    assert records.mark("north", "0") == "m"


def test_a_mark_is_good_until_something_of_its_study_is_dropped() -> None:
    quiet = {NOW}
    records = Known(quiet.__contains__)
    records.note("north", "1.2.3", STUDY, "m", NOW)
    assert records.mark("north", "1.2.3") == "m"
    quiet.clear()
    assert records.mark("north", "1.2.3") is None
    records.note_nothing("north", "1.2.3", NOW)
    quiet.add(NOW)
    assert records.mark("north", "1.2.3") is None


def test_a_study_is_counted_if_all_its_counts_are_told() -> None:
    records = Known()
    assert not records.is_counted("north", "1.2.3")
    for study, expected in ((STUDY, True), (replace(STUDY, number_of_series=None), False)):
        records.note("north", "1.2.3", study, "m", NOW)
        assert records.is_counted("north", "1.2.3") is expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (row(), True),
        (row(PatientID="P1", PatientName="", StudyDescription="Head"), True),
        (row(PatientID="P2"), False),
        (row(PatientName="Doe^Jane"), False),
        (row(StudyDescription="Neck"), False),
        (row(AccessionNumber="A1"), False),
        (row(NumberOfStudyRelatedInstances=6), False),
    ],
)
def test_a_study_is_unchanged_if_its_row_says_what_is_known(
    more: dict[str, Any], *, expected: bool
) -> None:
    study = replace(
        STUDY, patient=Patient(id=Identifier(value="P1", system="urn:x")), description="Head"
    )
    said = row(StudyInstanceUID="1.2.3") | counts(2, 5) | more
    assert known.is_unchanged(study, said) is expected
    assert not known.is_unchanged(study, row(StudyInstanceUID="1.2.3"))

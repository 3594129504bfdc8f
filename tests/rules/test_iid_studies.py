from __future__ import annotations

import pytest

from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.model import Identifier, Study
from gateway.rules import iid, iid_studies
from gateway.rules.iid import Launch
from tests.rules.test_iid import SETTINGS, STUDY, asked, study


def fitting(launch: Launch, *studies: Study) -> list[str]:
    return [s.uid for s in iid_studies.fitting(launch, studies, SETTINGS)]


@pytest.mark.parametrize(
    ("request_id", "known", "is_theirs"),
    [
        ("7", Identifier(value="7", system="urn:oid:1.2.5"), True),
        ("8", Identifier(value="7", system="urn:oid:1.2.5"), False),
        ("7^^^HOSP-A", Identifier(value="7", system="urn:oid:1.2.5"), True),
        ("7^^^HOSP-A", Identifier(value="7", system="urn:oid:1.2.3"), False),
        ("7^^^HOSP-B", Identifier(value="7", assigner="HOSP-B"), True),
        ("7^^^HOSP-B", Identifier(value="7", assigner="HOSP-C"), False),
        ("7^^^HOSP-B", Identifier(value="7", system="urn:oid:1.2.5"), False),
        ("7^^^&1.2.5&ISO", Identifier(value="7", system="urn:oid:1.2.5"), True),
        ("7^^^&1.2.6&ISO", Identifier(value="7", system="urn:oid:1.2.5"), False),
        ("7^^^HOSP-B", Identifier(value="7"), True),
        ("7^^^HOSP-A", Identifier(value="7"), False),
        ("7^^^&1.2.3&ISO", Identifier(value="7"), False),
        ("7", None, False),
    ],
)
def test_a_patient_is_known_by_id_and_authority(
    *, request_id: str, known: Identifier | None, is_theirs: bool
) -> None:
    found = study(patient=known)

    assert iid_studies.is_patient(iid.patient_id(request_id), found, SETTINGS) is is_theirs


def test_studies_keep_the_order_they_were_asked_in() -> None:
    launch = iid.parse([*STUDY, ("studyUID", "1.3,1.2")])

    assert fitting(launch, study("1.2"), study("1.3"), study("1.9")) == ["1.3", "1.2"]


def test_an_unknown_study_among_known_ones_is_not_passed_over() -> None:
    launch = iid.parse([*STUDY, ("studyUID", "1.2,1.3")])

    with pytest.raises(NotFound):
        fitting(launch, study("1.2"))
    with pytest.raises(Unavailable):
        iid_studies.fitting(launch, [study("1.2")], SETTINGS, ("south",))


def test_accession_numbers_are_matched_exactly() -> None:
    launch = iid.parse([*STUDY, ("accessionNumber", "A1,A2")])
    one, two, other = (study(f"1.{n}", accession=a) for n, a in enumerate(("A2", "A1", "a1")))

    assert fitting(launch, one, two, other) == ["1.1", "1.0"]
    with pytest.raises(NotFound):
        fitting(launch, one, other)


def test_studies_of_several_patients_are_refused() -> None:
    launch = iid.parse([*STUDY, ("studyUID", "1.2,1.3")])

    with pytest.raises(BadRequest):
        fitting(launch, study("1.2"), study("1.3", patient=Identifier(value="8")))
    with pytest.raises(BadRequest):
        fitting(launch, study("1.2", born="1970-01-01"), study("1.3", born="1970-01-02"))


def test_one_number_at_two_hospitals_is_two_patients() -> None:
    launch = iid.parse([("requestType", "PATIENT"), ("patientID", "7")])
    elsewhere = study("1.3", patient=Identifier(value="7", system="urn:oid:9.9"))

    with pytest.raises(BadRequest):
        fitting(launch, study("1.2"), elsewhere)


def test_a_patient_s_studies_come_newest_first_and_limited() -> None:
    days = [study(f"1.{n}", date=f"2024-0{n}-01") for n in (1, 3, 2)]

    assert fitting(asked(), *days) == ["1.3", "1.2", "1.1"]
    assert fitting(asked(("mostRecentResults", "2")), *days) == ["1.3", "1.2"]


def test_any_of_the_modalities_is_enough() -> None:
    ct, sr = study("1.1", modalities=("CT", "SR")), study("1.2", modalities=("SR",))

    assert fitting(asked(("modalitiesInStudy", "CT,MR")), ct, sr) == ["1.1"]


def test_another_birth_date_is_another_person() -> None:
    known, unknown = study("1.1", born="1970-01-01"), study("1.2")

    launch = asked(("patientBirthDate", "1971-01-01"))

    assert fitting(launch, known, unknown) == ["1.2"]


@pytest.mark.parametrize(
    ("lower", "upper", "is_in"),
    [
        ("2024-05-31T10:00:00", "2024-05-31T10:00:00", True),
        ("2024-05-31T10:00:01", None, False),
        (None, "2024-05-31T09:59:59", False),
        ("2024-05-31T08:00:00Z", "2024-05-31T08:00:00Z", True),
        ("2024-05-31T08:00:01Z", None, False),
        ("2024-05-31T08:00:01 00:00", None, False),
        (None, "2024-05-31", True),
        ("2024-06-01", None, False),
    ],
)
def test_a_study_is_between_the_bounds(
    *, lower: str | None, upper: str | None, is_in: bool
) -> None:
    taken = study(date="2024-05-31", time="10:00:00", utc_offset="+02:00")
    bounds = {"lowerDateTime": lower, "upperDateTime": upper}
    launch = asked(*((name, value) for name, value in bounds.items() if value is not None))

    if is_in:
        assert fitting(launch, taken) == ["1.2.3"]
    else:
        with pytest.raises(NotFound):
            fitting(launch, taken)


def test_a_study_without_a_time_counts_for_its_whole_day() -> None:
    assert fitting(asked(("lowerDateTime", "2024-05-31T23:00:00")), study(date="2024-05-31"))
    with pytest.raises(NotFound):
        fitting(asked(("lowerDateTime", "2024-05-31T23:00:00")), study())


def test_the_search_is_a_day_wider_than_the_bounds() -> None:
    launch = asked(("lowerDateTime", "2024-03-01"), ("upperDateTime", "2024-03-01"))

    (query,) = iid_studies.queries(launch)

    assert [key.value for key in query.keys] == ["7", "20240229-20240302"]


@pytest.mark.parametrize("bound", ["0001-01-01", "9999-12-31", "0042-05-05"])
def test_bounds_at_the_ends_of_the_calendar_are_survived(bound: str) -> None:
    for name in ("lowerDateTime", "upperDateTime"):
        assert iid_studies.queries(asked((name, bound)))

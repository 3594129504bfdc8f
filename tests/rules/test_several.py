from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model import Identifier, Origin, Patient, Series, Study
from gateway.rules import dicom_json as dj
from gateway.rules import merging, records, several
from gateway.rules.dicom_json import Dataset
from tests.rules.rows import row

NORTH = Origin(
    archive="north", patient_system="urn:oid:1.9", issuer_systems=(("HOSP-A", "urn:oid:1.1"),)
)
UIDS = {"STUDY_INSTANCE_UID": "1.2", "SERIES_INSTANCE_UID": "1.2.1"}


def of(patient: str | None, issuer: str | None = None, **more: str) -> Dataset:
    told = {"PATIENT_ID": patient, "ISSUER_OF_PATIENT_ID": issuer, **UIDS, **more}
    return row(**{name: value for name, value in told.items() if value is not None})


@pytest.mark.parametrize(
    ("again", "below", "values"),
    [
        pytest.param([], [of("P1"), of("P1", "HOSP-A"), of(None)], (), id="one"),
        pytest.param([of("P2", "HOSP-A")], [], ("P1", "P2"), id="two rows of the study"),
        pytest.param([of("P1", "HOSP-B")], [], ("P1", "P1"), id="two issuers, one not known"),
        pytest.param([of("P1")], [], ("P1", "P1"), id="the archive's own, and an issuer's"),
        pytest.param([of(None)], [], (), id="a row that names nobody"),
        pytest.param([], [of("P1"), of("P2")], ("P1", "P2"), id="two series"),
    ],
)
def test_rows_of_one_archive_tell_whether_a_study_is_of_several_patients(
    again: list[Dataset], below: list[Dataset], values: tuple[str, ...]
) -> None:
    found = records.study(NORTH, of("P1", "HOSP-A"), below, again)

    assert found is not None
    assert found.is_of_several_patients is bool(values)
    assert tuple(i.value for i in found.patient_ids) == values
    assert bool(found.warnings) is bool(values)


def test_one_patient_without_an_issuer_below_is_not_named_twice() -> None:
    found = several.patients_told(NORTH, [of("P1", "HOSP-A"), of("P2", "HOSP-A")], [of("P2")])
    assert found == (
        Identifier(value="P1", system="urn:oid:1.1"),
        Identifier(value="P2", system="urn:oid:1.1"),
    )


def test_an_issuer_that_is_told_on_both_levels_is_the_same_on_both() -> None:
    named = of("P1", "HOSP-Z")  # of no known system: that of the archive's patients
    assert several.patients_told(NORTH, [named], [named, of("P1")]) == ()
    assert len(several.patients_told(NORTH, [named], [of("P1", "HOSP-A")])) == 2
    study = records.study(NORTH, named)
    assert study is not None
    assert several.named(NORTH, [named]) == (study.patient.id,)


def test_a_study_is_of_all_patients_that_its_parts_are_of() -> None:
    first = Study(uid="1.2", archives=("north",), patient=Patient(id=Identifier(value="P1")))
    both = replace(
        first,
        archives=("south",),
        is_of_several_patients=True,
        patient_ids=(Identifier(value="P2"), Identifier(value="P1")),
    )
    merged = merging.merge((first, both))
    assert merged.is_of_several_patients
    assert {i.value for i in merged.patient_ids} == {"P1", "P2"}
    assert not merging.merge((first, replace(first, archives=("south",)))).patient_ids


def test_what_copies_tell_besides_the_first_is_kept() -> None:
    north = Series(uid="1.2.1", archives=("north",), modality="CT", description="plain")
    south = replace(north, archives=("south",), modality="SR", description=None)
    parts = [
        Study(uid="1.2", archives=("north",), date="2024-01-01", series=(north,)),
        Study(uid="1.2", archives=("south",), date="2019-01-01", series=(south,)),
    ]
    merged = merging.merge(parts)
    (series,) = merged.series or ()
    assert (merged.date, merged.other_dates) == ("2024-01-01", ("2019-01-01",))
    assert (series.modality, series.other_modalities) == ("CT", ("SR",))
    assert series.other_descriptions == ()
    assert merging.merge([merged, parts[1]]).other_dates == ("2019-01-01",)


def test_rows_of_one_series_are_one_record_that_knows_what_they_all_tell() -> None:
    rows = [
        of("P1", MODALITY="CT", SERIES_DESCRIPTION="plain"),
        of("P1", MODALITY="SR", SERIES_DESCRIPTION="other"),
    ]
    found = records.study(NORTH, of("P1"), rows, [of("P1", STUDY_DATE="20190101")])
    assert found is not None
    (series,) = found.series or ()
    assert (series.other_modalities, series.other_descriptions) == (("SR",), ("other",))
    assert (found.date, found.other_dates) == (None, ())


def test_only_what_decides_makes_a_row_another_one() -> None:
    known = of("P1", "HOSP-A")
    assert not several.is_other(known | {dj.PATIENT_NAME: {"vr": "PN"}}, known)
    assert several.is_other(of("P2", "HOSP-A"), known)
    assert several.is_other(of("P1", "HOSP-B"), known)

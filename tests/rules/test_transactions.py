from __future__ import annotations

import pytest

from gateway.rules import transactions
from gateway.rules.transactions import TRANSACTIONS, Transaction


def one(name: str) -> Transaction:
    return next(t for t in TRANSACTIONS if t.name == name)


def test_names_and_paths_are_each_of_one_transaction() -> None:
    assert len({t.name for t in TRANSACTIONS}) == len(TRANSACTIONS)
    assert len({t.path for t in TRANSACTIONS}) == len(TRANSACTIONS)


@pytest.mark.parametrize(
    ("name", "default", "also"),
    [
        ("SearchForStudies", "application/dicom+json", "application/dicom+xml"),
        ("RetrieveInstance", "application/dicom", "application/dicom"),
        ("RetrieveInstanceMetadata", "application/dicom+json", "application/dicom+xml"),
        ("RetrieveFrames", "application/octet-stream", "application/octet-stream"),
        ("RetrieveRenderedStudy", "image/jpeg", "image/gif"),
    ],
)
def test_media_types_begin_with_the_default(name: str, default: str, also: str) -> None:
    kinds = transactions.media_types(one(name))
    assert default in kinds[0]
    assert also in kinds[-1]


def test_a_single_part_is_offered_for_an_instance_only() -> None:
    assert "application/dicom" in transactions.media_types(one("RetrieveInstance"))
    assert "application/dicom" not in transactions.media_types(one("RetrieveSeries"))
    assert "application/dicom+xml" not in transactions.media_types(one("RetrieveSeriesMetadata"))


def test_parameters_are_those_of_the_level_and_above() -> None:
    study = transactions.parameters(one("SearchForStudies"))
    assert {"PatientID", "limit", "includefield", "accept"} <= set(study)
    assert not {"SeriesNumber", "RetrieveURL", "NumberOfStudyRelatedSeries"} & set(study)
    assert {"PatientID", "SeriesNumber"} <= set(transactions.parameters(one("SearchForSeries")))
    assert set(transactions.parameters(one("RetrieveStudy"))) == {"accept", "charset"}
    assert "window" in transactions.parameters(one("RetrieveRenderedFrames"))

"""The instances of a study, whatever the archive caps and does not count."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.adapters.archive_dicomweb import DicomwebArchive
from gateway.model import Contents, Series, Study
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from tests.adapters.clients import archive as made_archive
from tests.adapters.clients import paged
from tests.dicom import row
from tests.fault_archive import FaultArchive

INSTANCES = "/studies/1.2.3/instances"
ODD: Dataset = {dj.ROWS: {"vr": "US", "Value": ["16"]}}
"""A number in quotes is understood by the tolerant reading only."""


@pytest.fixture
async def archive(fault_archive: FaultArchive) -> AsyncIterator[DicomwebArchive]:
    one = made_archive(fault_archive.url)
    yield one
    await one.close()


def study(*, counted: int | None = None, in_series: int | None = None) -> Study:
    """The record of study 1.2.3 with one series."""
    series = Series(uid="1.2.3.1", archives=("north",), number_of_instances=in_series)
    return Study(uid="1.2.3", archives=("north",), number_of_instances=counted, series=(series,))


def rows(count: int) -> list[Dataset]:
    told = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1"}
    return [row(SOPInstanceUID=f"1.2.3.1.{n}", **told) for n in range(count)]


def held(found: Contents) -> int:
    return sum(map(len, found.instances.values()))


@pytest.mark.parametrize("warns", [False, True])
@pytest.mark.parametrize("cap", [1, 4, 9, None])
@pytest.mark.parametrize("more", [{}, ODD], ids=["plain", "odd"])
async def test_instances_that_nobody_counts_are_paged_to_the_end(
    archive: DicomwebArchive,
    fault_archive: FaultArchive,
    cap: int | None,
    more: Dataset,
    *,
    warns: bool,
) -> None:
    fault_archive.on(INSTANCES, paged([r | more for r in rows(9)], cap=cap, warns=warns))
    found = await archive.instances(study())
    assert held(found) == 9
    assert found.is_complete


async def test_they_cost_one_call_once_a_longer_answer_has_come(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    requests = fault_archive.requests
    fault_archive.on(INSTANCES, paged(rows(9)))
    assert held(await archive.instances(study())) == 9
    assert len(requests) == 2
    fault_archive.on(INSTANCES, paged(rows(8)))
    assert held(await archive.instances(study())) == 8
    assert len(requests) == 3


@pytest.mark.parametrize("known", [study(counted=9), study(in_series=9)], ids=["study", "series"])
async def test_instances_that_are_counted_cost_one_call(
    archive: DicomwebArchive, fault_archive: FaultArchive, known: Study
) -> None:
    fault_archive.on(INSTANCES, paged(rows(9)))
    assert held(await archive.instances(known)) == 9
    assert len(fault_archive.requests) == 1


@pytest.mark.parametrize("known", [study(counted=9), study(in_series=9)], ids=["study", "series"])
async def test_fewer_than_counted_are_not_said_to_be_all(
    archive: DicomwebArchive, fault_archive: FaultArchive, known: Study
) -> None:
    """They are not remembered as if they were."""
    fault_archive.on(INSTANCES, paged(rows(9), cap=5, ignores=("offset",)))
    found = await archive.instances(known)
    assert held(found) == 5
    assert not found.is_complete
    assert len(fault_archive.requests) == 2

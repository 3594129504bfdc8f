"""The record of a study, told by as few calls as tell it for certain."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable, Sequence
from typing import Any

import pydicom
import pytest

from gateway.adapters.archive_dicomweb import DicomwebArchive
from gateway.errors import ArchiveBadAnswer
from gateway.known import is_unchanged
from gateway.model import Level, Study
from gateway.rules import attributes, qido
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.adapters.clients import Made, paged
from tests.dicom import part10_file, row
from tests.fault_archive import Answer, FaultArchive
from tests.samples import TwoArchives
from tests.servers import Orthanc

P1: dict[str, Any] = {"PatientID": "P1", "PatientName": "Anna^A", "StudyDate": "20240119"}
P2: dict[str, Any] = {"PatientID": "P2", "PatientName": "Cleo^C", "StudyDate": "20240119"}
ABOVE, BELOW = "/studies", "/studies/1.2.3/series"


def study_row(count: int, **changes: Any) -> Dataset:
    """The row of study 1.2.3 with so many series of one instance."""
    told = P1 | {
        "StudyInstanceUID": "1.2.3",
        "ModalitiesInStudy": "CT",
        "NumberOfStudyRelatedSeries": count,
        "NumberOfStudyRelatedInstances": count,
    }
    return row(**(told | changes))


def series_row(number: int, **changes: Any) -> Dataset:
    told = P1 | {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": f"1.2.3.{number}",
        "Modality": "CT",
        "NumberOfSeriesRelatedInstances": 1,
    }
    return row(**(told | changes))


def holds(
    server: FaultArchive, above: Sequence[Dataset], below: Sequence[Dataset], cap: int | None = None
) -> None:
    """The server tells of study 1.2.3 so, in answers of at most `cap` rows."""
    server.on("/studies", paged(above, cap=cap))
    server.on("/studies/1.2.3/series", paged(below, cap=cap))


def asked(server: FaultArchive) -> list[str]:
    """What was asked for since the last time."""
    routes = [seen.route for seen in server.requests]
    server.requests.clear()
    return sorted(routes)


async def show_a_long_answer(archive: DicomwebArchive, server: FaultArchive) -> None:
    """Lets the archive be one that does not cap its answers at fewer than 30 rows."""
    server.on("/studies", paged([row(StudyInstanceUID=f"1.2.{n}") for n in range(30)]))
    await archive.search(Query(level=Level.STUDY), 30)
    asked(server)


async def test_a_row_that_series_bear_out_spares_the_search_for_it(
    make: Made, fault_archive: FaultArchive
) -> None:
    holds(fault_archive, [study_row(2)], [series_row(1), series_row(2)])
    archive = make(fault_archive.url)
    known = await archive.study("1.2.3", study_row(2))
    assert asked(fault_archive) == [BELOW]
    assert known == await archive.study("1.2.3")
    assert asked(fault_archive) == [ABOVE, BELOW]


@pytest.mark.parametrize(
    ("given", "above", "below"),
    [
        pytest.param(
            study_row(1), [study_row(1)], [series_row(1), series_row(2, **P2)], id="other series"
        ),
        pytest.param(
            study_row(2),
            [study_row(2), study_row(2, **P2)],
            [series_row(1), series_row(2, **P2)],
            id="counts of both, patients below",
        ),
        pytest.param(
            study_row(2),
            [study_row(2), study_row(2, **P2)],
            [series_row(n, PatientID=None) for n in (1, 2)],
            id="counts of both, nobody below",
        ),
        pytest.param(
            study_row(1),
            [study_row(1), study_row(1, **P2)],
            [series_row(1), series_row(2)],
            id="counts of its own part",
        ),
    ],
)
async def test_a_study_of_two_patients_is_known_for_one_whatever_row_was_found_first(
    make: Made,
    fault_archive: FaultArchive,
    given: Dataset,
    above: list[Dataset],
    below: list[Dataset],
) -> None:
    holds(fault_archive, above, below)
    archive = make(fault_archive.url)
    study = await archive.study("1.2.3", given)
    assert study is not None
    assert study.is_of_several_patients
    assert asked(fault_archive) == [ABOVE, BELOW]
    assert study == await archive.study("1.2.3")


async def test_an_archive_whose_series_bear_out_nothing_is_asked_for_both_at_once(
    make: Made, fault_archive: FaultArchive
) -> None:
    silent = [dict(series_row(1)) for _ in range(1)]
    del silent[0][dj.PATIENT_ID]
    holds(fault_archive, [study_row(1)], silent)
    archive = make(fault_archive.url)
    for _ in range(2):
        assert await archive.study("1.2.3", study_row(1))
        assert asked(fault_archive) == [ABOVE, BELOW]
    fault_archive.on("/studies", Answer(stall=True))
    fault_archive.on("/studies/1.2.3/series", Answer(stall=True))
    asking = asyncio.ensure_future(archive.study("1.2.3", study_row(1)))
    await fault_archive.wait_for(2)
    asking.cancel()
    holds(fault_archive, [study_row(1)], [series_row(1)])
    asked(fault_archive)
    assert await archive.study("1.2.3", study_row(1))
    assert asked(fault_archive) == [ABOVE, BELOW]
    assert await archive.study("1.2.3", study_row(1))
    assert asked(fault_archive) == [BELOW]  # they do now


async def test_a_row_that_counts_nothing_is_not_gone_by(
    make: Made, fault_archive: FaultArchive
) -> None:
    holds(fault_archive, [study_row(1)], [series_row(1)])
    uncounted = row(StudyInstanceUID="1.2.3", PatientID="P1")
    assert await make(fault_archive.url).study("1.2.3", uncounted)
    assert asked(fault_archive) == [ABOVE, BELOW]


async def test_series_that_an_archive_cuts_off_are_asked_for_until_all_are_there(
    make: Made, fault_archive: FaultArchive
) -> None:
    holds(fault_archive, [study_row(5)], [series_row(n) for n in range(5)], cap=2)
    study = await make(fault_archive.url).study("1.2.3", study_row(5))
    assert study is not None
    assert len(study.series or ()) == 5


@pytest.mark.parametrize("told", ["search", "series"])
@pytest.mark.parametrize("cap", [2, 5, None])
async def test_series_of_a_study_that_nobody_counts_are_asked_for_until_all_are_there(
    make: Made, fault_archive: FaultArchive, told: str, cap: int | None
) -> None:
    uncounted = row(StudyInstanceUID="1.2.3", PatientID="P1")
    below = [series_row(n, NumberOfSeriesRelatedInstances=None) for n in range(5)]
    holds(fault_archive, [uncounted], below, cap)
    study = await make(fault_archive.url, study_level=told).study("1.2.3")
    assert study is not None
    assert len(study.series or ()) == 5


async def test_a_study_that_nobody_counts_costs_two_calls_once_a_longer_answer_has_come(
    make: Made, fault_archive: FaultArchive
) -> None:
    archive = make(fault_archive.url)
    holds(fault_archive, [row(StudyInstanceUID="1.2.3")], [series_row(1)])
    assert await archive.study("1.2.3")
    assert asked(fault_archive) == [ABOVE, BELOW, BELOW]
    await show_a_long_answer(archive, fault_archive)
    holds(fault_archive, [row(StudyInstanceUID="1.2.3")], [series_row(1)])
    assert await archive.study("1.2.3")
    assert asked(fault_archive) == [ABOVE, BELOW]


async def test_a_study_that_is_gone_since_the_search_is_none(
    make: Made, fault_archive: FaultArchive
) -> None:
    holds(fault_archive, [], [])
    assert await make(fault_archive.url).study("1.2.3", study_row(1)) is None


async def test_series_that_tell_their_study_are_the_only_call(
    make: Made, fault_archive: FaultArchive
) -> None:
    below = [series_row(n, AccessionNumber="A1", StudyID="7") for n in (1, 2)]
    archive = make(fault_archive.url, study_level="series")
    await show_a_long_answer(archive, fault_archive)
    holds(fault_archive, [study_row(2, AccessionNumber="A1", StudyID="7")], below)
    study = await archive.study("1.2.3")
    assert asked(fault_archive) == [BELOW]
    assert study == await make(fault_archive.url).study("1.2.3")
    assert study is not None
    assert study.accession is not None
    assert (study.number_of_series, study.number_of_instances) == (2, 2)


@pytest.mark.parametrize(
    ("below", "cap"),
    [
        pytest.param([], None, id="none"),
        pytest.param([series_row(1), series_row(2, **P2)], None, id="two patients"),
        pytest.param([series_row(1), series_row(2, StudyID="7")], None, id="one tells more"),
        pytest.param([series_row(n) for n in range(30)], None, id="as many as ever came"),
        pytest.param([series_row(n) for n in range(40)], 30, id="cut off"),
        pytest.param(
            [series_row(1), series_row(2, NumberOfSeriesRelatedInstances=None)], None, id="no count"
        ),
        pytest.param(
            [series_row(1), series_row(2, StudyInstanceUID="1.2.4")], None, id="another study"
        ),
    ],
)
async def test_a_study_that_its_series_do_not_tell_clearly_is_searched_for(
    make: Made, fault_archive: FaultArchive, below: list[Dataset], cap: int | None
) -> None:
    archive = make(fault_archive.url, study_level="series")
    await show_a_long_answer(archive, fault_archive)
    above = [study_row(len(below), AccessionNumber="A1")] if below else []
    holds(fault_archive, above, below, cap)
    study = await archive.study("1.2.3")
    assert ABOVE in asked(fault_archive)
    assert study == await make(fault_archive.url).study("1.2.3")
    assert (study is None) == (not below)


async def test_rows_that_may_be_cut_off_are_not_believed_to_be_all(
    make: Made, fault_archive: FaultArchive
) -> None:
    """Nothing has shown yet that the archive gives more than so many."""
    holds(fault_archive, [study_row(9)], [series_row(n) for n in range(9)], cap=4)
    study = await make(fault_archive.url, study_level="series").study("1.2.3")
    assert study is not None
    assert len(study.series or ()) == 9


async def test_a_row_that_tells_more_than_its_series_disproves_the_configuration(
    make: Made, fault_archive: FaultArchive, log: io.StringIO
) -> None:
    """It goes before what they tell, and they are not asked alone any more."""
    archive = make(fault_archive.url, study_level="series")
    await show_a_long_answer(archive, fault_archive)
    holds(fault_archive, [study_row(1)], [series_row(1)])
    study = await archive.study("1.2.3", study_row(1, StudyDescription="Chest"))
    assert study is not None
    assert study.description == "Chest"
    assert asked(fault_archive) == [BELOW]
    assert "00081030" in log.getvalue()
    assert await archive.study("1.2.3")
    assert asked(fault_archive) == [ABOVE, BELOW]


async def test_a_study_that_has_to_be_searched_for_shows_whether_its_series_tell_all(
    make: Made, fault_archive: FaultArchive, log: io.StringIO
) -> None:
    archive = make(fault_archive.url, study_level="series")
    holds(fault_archive, [study_row(1, AccessionNumber="A1")], [series_row(1)])
    assert await archive.study("1.2.3")  # no longer answer has come so far
    await show_a_long_answer(archive, fault_archive)
    holds(fault_archive, [study_row(1, AccessionNumber="A1")], [series_row(1)])
    study = await archive.study("1.2.3")
    assert study is not None
    assert study.accession is not None
    assert log.getvalue().count("00080050") == 1


async def test_series_that_fail_are_a_failure_of_the_archive(
    make: Made, fault_archive: FaultArchive
) -> None:
    holds(fault_archive, [study_row(1)], [])
    fault_archive.on("/studies/1.2.3/series", Answer(status=500))
    for level, known in (("search", study_row(1)), ("series", None), ("search", None)):
        with pytest.raises(ArchiveBadAnswer):
            await make(fault_archive.url, study_level=level).study("1.2.3", known)


async def test_a_real_archive_tells_the_same_whichever_way_it_is_asked(
    make: Made, two_archives: TwoArchives, log: io.StringIO
) -> None:
    for orthanc, studies in (
        (two_archives.north, two_archives.north_studies | {two_archives.shared_study}),
        (two_archives.south, two_archives.south_studies | {two_archives.split_study}),
    ):
        plain, brief = make(orthanc.dicom_web), make(orthanc.dicom_web, study_level="series")
        found = await plain.search(Query(level=Level.STUDY, include=attributes.STUDY_FIELDS), None)
        await brief.search(Query(level=Level.SERIES), None)  # one long answer
        rows = {dj.text(one, dj.STUDY_INSTANCE_UID): one for one in found.items}
        for uid in studies:
            expected = await plain.study(uid)
            assert expected is not None
            assert await plain.study(uid, rows[uid]) == expected
            assert await brief.study(uid) == expected
            assert await brief.study(uid, rows[uid]) == expected
    assert log.getvalue() == ""


def stored(orthanc: Orthanc, instances: Iterable[tuple[int, dict[str, Any]]]) -> None:
    """Study 1.2.3 with an instance in each of these series."""
    for number, told in instances:
        file = part10_file(f"1.2.3.{number}.1", series_uid=f"1.2.3.{number}")
        dataset = pydicom.dcmread(io.BytesIO(file))
        dataset.Modality = "CT"
        for keyword, value in told.items():
            setattr(dataset, keyword, value)
        content = io.BytesIO()
        pydicom.dcmwrite(content, dataset)
        orthanc.upload(content.getvalue())


@pytest.mark.parametrize("study_level", ["search", "series"])
@pytest.mark.parametrize("number", [1, 2])
async def test_a_real_study_of_two_patients_is_known_for_one(
    make: Made, empty_orthanc: Orthanc, study_level: str, number: int
) -> None:
    """A search by one Patient ID brings one of its two rows, whether their series differ or not."""
    stored(empty_orthanc, [(1, P1), (1, P1 | {"SOPInstanceUID": "1.2.3.1.2"}), (number, P2)])
    archive = make(empty_orthanc.dicom_web, study_level=study_level)
    for patient in (P1, P2):
        key = qido.key(dj.PATIENT_ID, patient["PatientID"])
        found = await archive.search(
            Query(level=Level.STUDY, keys=(key,), include=attributes.STUDY_FIELDS), 10
        )
        [given] = found.items
        study = await archive.study("1.2.3", given)
        assert study is not None
        assert study.is_of_several_patients
        assert {one.value for one in study.patient_ids} == {"P1", "P2"}


async def test_a_real_archive_tells_of_a_study_in_its_series_what_its_study_rows_tell(
    make: Made, empty_orthanc: Orthanc
) -> None:
    issuer = _item(LocalNamespaceEntityID="HOSP")
    person = _item(InstitutionName="Clinic")
    person.PersonIdentificationCodeSequence = [_item(CodeValue="7", CodingSchemeDesignator="99")]
    code = _item(CodeValue="77477000", CodingSchemeDesignator="SCT", CodeMeaning="CT")
    told = P1 | {
        "IssuerOfPatientID": "HOSP",
        "IssuerOfPatientIDQualifiersSequence": [_item(UniversalEntityID="1.2.9")],
        "PatientBirthDate": "19610308",
        "PatientSex": "F",
        "StudyTime": "091405",
        "TimezoneOffsetFromUTC": "+0100",
        "AccessionNumber": "A1",
        "IssuerOfAccessionNumberSequence": [issuer],
        "StudyID": "7",
        "StudyDescription": "Chest",
        "ReferringPhysicianName": "Sato^Keiko",
        "ReferringPhysicianIdentificationSequence": [person],
        "NameOfPhysiciansReadingStudy": "Abe^Jun",
        "PhysiciansReadingStudyIdentificationSequence": [person],
        "ProcedureCodeSequence": [code],
        "AdmissionID": "V1",
        "IssuerOfAdmissionIDSequence": [issuer],
        "PlacerOrderNumberImagingServiceRequest": "P9",
        "FillerOrderNumberImagingServiceRequest": "F9",
    }
    stored(empty_orthanc, [(1, told), (2, told)])
    stored(empty_orthanc, [(9, P2 | {"StudyInstanceUID": "1.2.4"})])
    plain, brief = (
        make(empty_orthanc.dicom_web, study_level=level) for level in ("search", "series")
    )
    assert len((await brief.search(Query(level=Level.SERIES), 10)).items) == 3  # a longer answer
    expected = await plain.study("1.2.3")
    assert expected == await brief.study("1.2.3")
    assert expected is not None
    assert (expected.study_id, expected.description) == ("7", "Chest")
    assert expected.accession is not None


def _item(**told: Any) -> pydicom.Dataset:
    item = pydicom.Dataset()
    for keyword, value in told.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize("differing", [{"StudyDate": "20240120"}, {"PatientID": "P2"}])
async def test_a_record_by_its_series_is_held_against_later_counts(
    make: Made, empty_orthanc: Orthanc, differing: dict[str, Any]
) -> None:
    stored(empty_orthanc, [(1, P1), (2, P1)])
    archive = make(empty_orthanc.dicom_web, study_level="series")
    known = await archive.study("1.2.3")
    assert known is not None
    assert await _is_unchanged(archive, known)
    stored(empty_orthanc, [(3, P1 | differing)])
    assert not await _is_unchanged(archive, known)


async def _is_unchanged(archive: DicomwebArchive, known: Study) -> bool:
    """As records that are too old are looked at."""
    key = qido.key(dj.STUDY_INSTANCE_UID, known.uid)
    found = await archive.search(Query(level=Level.STUDY, keys=(key,)), 1)
    return not found.again and is_unchanged(known, found.items[0])

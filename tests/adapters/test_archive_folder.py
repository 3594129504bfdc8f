"""A folder as an archive: what a caller finds, gets byte for byte, and is refused by name."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from gateway import config, demo
from gateway.adapters.archive_folder import FolderArchive
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveUnreachable,
    NotAcceptable,
    NotFound,
    NotSupported,
    RangeNotSatisfiable,
)
from gateway.model import ByteRange, Contents, Level, Origin, Rung, Span, Study, Target
from gateway.rules import attributes, qido
from gateway.rules import dicom_json as dj

FILES = Path(pydicom.__file__).parent / "data/test_files"
ROOT = demo.UID_ROOT
CT = Target(study_uid=f"{ROOT}.1", series_uid=f"{ROOT}.1.2", instance_uid=f"{ROOT}.1.2.3")
LOOP = Target(study_uid=f"{ROOT}.4", series_uid=f"{ROOT}.4.1", instance_uid=f"{ROOT}.4.1.1")
BIG_ENDIAN = Target(study_uid=f"{ROOT}.3", series_uid=f"{ROOT}.3.3", instance_uid=f"{ROOT}.3.3.1")
SEGMENTATION = Target(
    study_uid=f"{ROOT}.1", series_uid=f"{ROOT}.1.90", instance_uid=f"{ROOT}.1.90.1"
)
REPORT = Target(study_uid=f"{ROOT}.1", series_uid=f"{ROOT}.1.91", instance_uid=f"{ROOT}.1.91.1")


@pytest.fixture(scope="module")
def archive(sample_folder: Path) -> Iterator[FolderArchive]:
    """The sample files, which nobody changes."""
    made = of(sample_folder)
    yield made
    asyncio.run(made.close())


@pytest.fixture
def folder(sample_folder: Path, tmp_path: Path) -> Path:
    """A copy of the sample files that the test may change."""
    return Path(shutil.copytree(sample_folder, tmp_path / "dicom"))


@pytest.fixture
async def changing(folder: Path) -> AsyncIterator[FolderArchive]:
    """The archive of `folder`."""
    made = of(folder)
    yield made
    await made.close()


def of(folder: Path) -> FolderArchive:
    settings = config.FolderArchive(type="folder", path=folder, rescan_seconds=0)
    return FolderArchive(settings, Origin(archive="samples", timezone="Europe/Paris"))


async def found(
    archive: FolderArchive, level: Level = Level.STUDY, keys: tuple[tuple[str, str], ...] = ()
) -> list[str]:
    answer = await archive.search(qido.parse(level, keys), None)
    return [dj.text(row, attributes.UID_OF[level]) or "" for row in answer.items]


def references(row: dj.Dataset, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every element whose value is elsewhere."""
    for tag, element in row.items():
        if "BulkDataURI" in element:
            yield (*path, tag)
        for number, item in enumerate(element.get("Value", ()) if element["vr"] == "SQ" else ()):
            yield from references(item, (*path, tag, str(number)))


async def bodies(
    archive: FolderArchive, target: Target, transfer_syntax: str = "*"
) -> list[tuple[str, bytes]]:
    got = []
    async with archive.retrieve(target, transfer_syntax) as parts:
        async for part in parts:
            content = b"".join([chunk async for chunk in part.chunks])
            assert len(content) == part.length
            got.append((part.content_type, content))
    return got


async def test_newest_study_comes_first(archive: FolderArchive) -> None:
    assert await found(archive) == [f"{ROOT}.{n}" for n in (2, 6, 1, 7, 4, 3, 5, 8, 9)]


@pytest.mark.parametrize(
    ("key", "value", "studies"),
    [
        ("PatientName", "Yamada*", {1, 2}),
        ("PatientName", "山田*", {1, 2}),
        ("PatientName", "müller*", {3, 4}),
        ("PatientID", "US/5 5", {5}),
        ("StudyDate", "20240101-20240331", {1, 4, 7}),
        ("ModalitiesInStudy", "RTDOSE", {6}),
        ("AccessionNumber", "A24-10001", {1}),
        ("StudyDescription", "*abdomen*", {1, 8}),
        ("StudyInstanceUID", f"{ROOT}.1,{ROOT}.9", {1, 9}),
        ("PatientID", "nobody", set()),
    ],
)
async def test_studies_are_found_by(
    archive: FolderArchive, key: str, value: str, studies: set[int]
) -> None:
    assert set(await found(archive, keys=((key, value),))) == {f"{ROOT}.{n}" for n in studies}


async def test_counts_and_modalities_are_those_of_the_files(archive: FolderArchive) -> None:
    query = qido.parse(Level.STUDY, [("StudyInstanceUID", f"{ROOT}.1")])

    (row,) = (await archive.search(query, None)).items

    assert dj.values(row, dj.NUMBER_OF_STUDY_RELATED_SERIES) == [7]
    assert dj.values(row, dj.NUMBER_OF_STUDY_RELATED_INSTANCES) == [18]
    assert dj.values(row, dj.MODALITIES_IN_STUDY) == ["CT", "SEG", "SR", "KO", "DOC"]


async def test_names_arrive_in_unicode_with_all_their_groups(archive: FolderArchive) -> None:
    query = qido.parse(Level.STUDY, [("StudyInstanceUID", f"{ROOT}.1")])

    (row,) = (await archive.search(query, None)).items

    assert dj.values(row, dj.SPECIFIC_CHARACTER_SET) == ["ISO_IR 192"]
    assert dj.values(row, dj.PATIENT_NAME) == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]


async def test_further_attributes_come_when_included(archive: FolderArchive) -> None:
    plain = qido.parse(Level.STUDY, [])
    described = qido.parse(Level.STUDY, [("includefield", "StudyDescription")])
    everything = qido.parse(Level.STUDY, [("includefield", "all")])

    for query, is_there in ((plain, False), (described, True), (everything, True)):
        (row,) = (await archive.search(query, 1)).items
        assert (dj.STUDY_DESCRIPTION in row) is is_there


async def test_series_of_all_studies_carry_their_study(archive: FolderArchive) -> None:
    query = qido.parse(Level.SERIES, [("Modality", "SR")])

    (row,) = (await archive.search(query, None)).items

    assert dj.text(row, dj.PATIENT_ID) == "JP-0417"
    assert dj.text(row, dj.STUDY_INSTANCE_UID) == f"{ROOT}.1"


async def test_instances_are_in_the_order_of_their_numbers(archive: FolderArchive) -> None:
    query = qido.parse(Level.INSTANCE, [], study_uid=f"{ROOT}.1", series_uid=f"{ROOT}.1.3")

    rows = (await archive.search(query, None)).items

    assert [dj.values(row, dj.INSTANCE_NUMBER) for row in rows] == [[n] for n in range(1, 9)]


async def test_no_more_rows_than_wanted_and_it_says_that_there_are(archive: FolderArchive) -> None:
    some = await archive.search(qido.parse(Level.STUDY, []), 3)
    exactly = await archive.search(qido.parse(Level.STUDY, []), 9)

    assert (len(some.items), some.has_more) == (3, True)
    assert (len(exactly.items), exactly.has_more) == (9, False)


async def test_record_has_every_series(archive: FolderArchive) -> None:
    study = await archive.study(f"{ROOT}.3")

    assert study is not None
    assert study.series is not None
    assert [series.number for series in study.series] == [1, 2, 3, 4, 5, 6]
    assert study.series[0].laterality == "R"
    assert study.utc_offset == "+01:00"
    assert await archive.study("1.2.3") is None


async def test_instances_of_a_study_are_known_by_series(archive: FolderArchive) -> None:
    found = await archive.instances(Study(uid=f"{ROOT}.1", archives=("samples",)))
    by_series = found.instances

    assert len(by_series) == 7
    assert [instance.number for instance in by_series[f"{ROOT}.1.2"]] == [1, 2, 3, 4, 5]
    titles = {
        series: (found[0].title, found[0].document_title) for series, found in by_series.items()
    }
    assert titles[f"{ROOT}.1.92"] == ("Of Interest", None)
    assert titles[f"{ROOT}.1.91"] == ("Diagnostic Imaging Report", None)
    assert ("Diagnostic Imaging Report", "Imaging report") in titles.values()
    nothing = await archive.instances(Study(uid="1.2.3", archives=("samples",)))
    assert nothing == Contents(instances={})


async def test_retrieved_instance_is_the_stored_file(
    archive: FolderArchive, sample_folder: Path
) -> None:
    for path in sorted(sample_folder.rglob("*.dcm")):  # noqa: ASYNC240  nobody else runs
        stored = pydicom.dcmread(path, stop_before_pixels=True)
        target = Target(
            study_uid=stored.StudyInstanceUID,
            series_uid=stored.SeriesInstanceUID,
            instance_uid=stored.SOPInstanceUID,
        )

        ((content_type, content),) = await bodies(archive, target)

        assert hashlib.sha256(content).digest() == hashlib.sha256(path.read_bytes()).digest()
        syntax = stored.file_meta.TransferSyntaxUID
        assert content_type == f"application/dicom; transfer-syntax={syntax}"


async def test_whole_study_is_one_part_an_instance(archive: FolderArchive) -> None:
    assert len(await bodies(archive, Target(study_uid=f"{ROOT}.1"))) == 18


@pytest.mark.parametrize("series", [2, 3])
async def test_other_native_encodings_become_explicit_little_endian(
    archive: FolderArchive, series: int
) -> None:
    target = Target(
        study_uid=f"{ROOT}.3", series_uid=f"{ROOT}.3.{series}", instance_uid=f"{ROOT}.3.{series}.1"
    )

    ((_, content),) = await bodies(archive, target, ExplicitVRLittleEndian)

    converted = pydicom.dcmread(io.BytesIO(content))
    original = pydicom.dcmread(FILES / "MR_small.dcm")
    assert converted.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (converted.pixel_array == original.pixel_array).all()
    assert str(converted.PatientName) == "Müller^Jürgen"


async def test_compressed_pixels_are_not_decoded_for_a_caller(archive: FolderArchive) -> None:
    with pytest.raises(NotAcceptable, match=r"1\.2\.840\.10008\.1\.2\.1 cannot be made"):
        await bodies(archive, LOOP, ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    "target",
    [
        Target(study_uid="1.2.3"),
        replace(CT, study_uid=f"{ROOT}.2"),
        replace(CT, series_uid=f"{ROOT}.1.3"),
        replace(CT, instance_uid="1.2.3"),
    ],
    ids=["study", "instance of another study", "instance of another series", "instance"],
)
async def test_absent_is_not_found(archive: FolderArchive, target: Target) -> None:
    with pytest.raises(NotFound):
        await bodies(archive, target)
    with pytest.raises(NotFound):
        await archive.metadata(target)


async def test_frames_come_in_the_order_asked(archive: FolderArchive) -> None:
    one, two = (
        await bodies(archive, replace(LOOP, frames=(30,))),
        await bodies(archive, replace(LOOP, frames=(1,))),
    )

    both = await bodies(archive, replace(LOOP, frames=(30, 1)))

    assert both == one + two
    assert both[0][0] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
    assert both[0][1].startswith(b"\xff\xd8")


async def test_native_frame_has_exactly_its_pixels_in_little_endian(
    archive: FolderArchive,
) -> None:
    ((content_type, content),) = await bodies(archive, replace(BIG_ENDIAN, frames=(1,)))

    assert content_type == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert content == pydicom.dcmread(FILES / "MR_small.dcm").PixelData[: 64 * 64 * 2]


@pytest.mark.parametrize("frame", [0, 31])
async def test_frame_that_is_not_there_is_named(archive: FolderArchive, frame: int) -> None:
    with pytest.raises(NotFound, match=f"frame {frame} "):
        await bodies(archive, replace(LOOP, frames=(1, frame)))


async def test_report_has_no_frames(archive: FolderArchive) -> None:
    with pytest.raises(NotFound, match="frame 1 "):
        await bodies(archive, replace(REPORT, frames=(1,)))


async def test_metadata_refer_to_bulk_data(archive: FolderArchive) -> None:
    (written,) = await archive.metadata(LOOP)

    row = json.loads(written)

    assert dj.text(row, dj.SOP_INSTANCE_UID) == LOOP.instance_uid
    assert dj.PIXEL_DATA not in row  # compressed frames are retrieved as frames only
    (plain,) = await archive.metadata(BIG_ENDIAN)
    assert set(json.loads(plain)[dj.PIXEL_DATA]) == {"vr", "BulkDataURI"}
    assert dj.values(row, dj.SPECIFIC_CHARACTER_SET) == ["ISO_IR 192"]
    assert "00020010" not in row


async def test_metadata_of_a_series_are_one_object_an_instance(archive: FolderArchive) -> None:
    assert len(await archive.metadata(replace(CT, instance_uid=None))) == 5


async def test_every_bulk_data_reference_opens(archive: FolderArchive) -> None:
    for target in (CT, SEGMENTATION, BIG_ENDIAN, REPORT):
        (written,) = await archive.metadata(target)
        for path in references(json.loads(written)):
            async with archive.bulk_data(target, path) as parts:
                async for part in parts:
                    content = b"".join([chunk async for chunk in part.chunks])
                    assert len(content) == part.length


async def test_bulk_data_are_the_bytes_of_the_element(archive: FolderArchive) -> None:
    async with archive.bulk_data(BIG_ENDIAN, (dj.PIXEL_DATA,)) as parts:
        contents = [b"".join([chunk async for chunk in part.chunks]) async for part in parts]

    assert contents[0] == pydicom.dcmread(FILES / "MR_small.dcm").PixelData


async def test_bulk_data_that_are_not_there_are_not_found(archive: FolderArchive) -> None:
    for path in (("00420011",), ("00081199", "0", "00081155"), (dj.PATIENT_NAME, "0", "7FE00010")):
        with pytest.raises(NotFound):
            async with archive.bulk_data(CT, path):
                pass


async def test_several_compressed_frames_are_no_bulk_data(archive: FolderArchive) -> None:
    with pytest.raises(NotAcceptable, match="by frame"):
        async with archive.bulk_data(LOOP, (dj.PIXEL_DATA,)):
            pass


async def test_file_that_vanished_is_not_found_and_soon_not_listed(
    changing: FolderArchive, folder: Path
) -> None:
    assert len(await found(changing, Level.INSTANCE)) == 50
    (folder / "study-1/02-ct-03.dcm").unlink()

    with pytest.raises(NotFound):
        await bodies(changing, CT)

    assert len(await found(changing, Level.INSTANCE)) == 49


async def test_file_that_became_another_instance_is_not_served_under_the_old_name(
    changing: FolderArchive, folder: Path
) -> None:
    await found(changing)
    shutil.copyfile(folder / "study-4/01-us-01.dcm", folder / "study-1/02-ct-03.dcm")

    with pytest.raises(NotFound):
        await bodies(changing, CT)


async def test_file_that_changes_while_it_is_read_never_looks_complete(
    changing: FolderArchive, folder: Path
) -> None:
    async def read() -> None:
        async with changing.retrieve(CT) as parts:
            async for part in parts:
                (folder / "study-1/02-ct-03.dcm").write_bytes(b"")
                assert [chunk async for chunk in part.chunks]

    with pytest.raises(ArchiveBadAnswer):
        await read()


async def test_new_file_is_found_at_the_next_scan(changing: FolderArchive, folder: Path) -> None:
    before = await found(changing, Level.INSTANCE)
    shutil.copyfile(FILES / "CT_small.dcm", folder / "new")

    await changing.rescan()

    new = set(await found(changing, Level.INSTANCE)) - set(before)
    assert new == {pydicom.dcmread(FILES / "CT_small.dcm").SOPInstanceUID}


async def test_file_without_meta_information_is_served_with_it(
    changing: FolderArchive, folder: Path
) -> None:
    shutil.copyfile(FILES / "rtstruct.dcm", folder / "bare.dcm")
    await changing.rescan()
    bare = pydicom.dcmread(FILES / "rtstruct.dcm", force=True)
    target = Target(
        study_uid=bare.StudyInstanceUID,
        series_uid=bare.SeriesInstanceUID,
        instance_uid=bare.SOPInstanceUID,
    )

    ((_, content),) = await bodies(changing, target)

    assert content.endswith((FILES / "rtstruct.dcm").read_bytes()[-1000:])
    assert pydicom.dcmread(io.BytesIO(content)).ROIContourSequence == bare.ROIContourSequence


async def test_folder_that_is_not_there_is_said_to_be_unreachable(tmp_path: Path) -> None:
    archive = of(tmp_path / "nowhere")

    with pytest.raises(ArchiveUnreachable, match="samples"):
        await archive.study("1.2.3")

    await archive.close()


async def test_folder_draws_nothing_by_itself(archive: FolderArchive) -> None:
    for rung in Rung:
        with pytest.raises(NotSupported):
            await archive.picture(CT, rung, 128, 128, "image/jpeg")


async def test_archive_that_was_never_asked_closes(tmp_path: Path) -> None:
    await of(tmp_path).close()


def without_front(folder: Path) -> Target:
    """An instance whose file begins with its meta group."""
    bare = next(folder.rglob("*.dcm"))
    named = pydicom.dcmread(bare)
    bare.write_bytes(bare.read_bytes()[132:])
    return Target(
        study_uid=named.StudyInstanceUID,
        series_uid=named.SeriesInstanceUID,
        instance_uid=named.SOPInstanceUID,
    )


@pytest.mark.parametrize("first", [0, 1, 131, 132, 1000])
async def test_ranges_are_cut_out_of_files(
    archive: FolderArchive, first: int, folder: Path, changing: FolderArchive
) -> None:
    """Also of files that lack the front that a DICOM file has to have."""
    lacking = without_front(folder)
    for source, wanted in (
        (archive, CT),
        (archive, replace(LOOP, frames=(2,))),
        (changing, lacking),
    ):
        [(kind, whole)] = await bodies(source, wanted)
        for last in (first, first + 40, 10**9):
            asked = ByteRange(first=first, last=last)
            async with source.retrieve(wanted, "*", asked) as parts:
                part = await anext(parts)
                content = b"".join([chunk async for chunk in part.chunks])
            assert content == whole[first : last + 1]
            assert part.content_type == kind
            assert part.takes_ranges
            assert part.length == len(content)
            assert part.span == Span(first=first, last=first + len(content) - 1, total=len(whole))


async def test_ranges_are_cut_out_of_bulk_data(archive: FolderArchive) -> None:
    for target, path in ((CT, ("7FE00010",)), (BIG_ENDIAN, ("7FE00010",))):
        async with archive.bulk_data(target, path) as parts:
            whole = b"".join([chunk async for chunk in (await anext(parts)).chunks])
        async with archive.bulk_data(target, path, ByteRange(first=None, last=9)) as parts:
            part = await anext(parts)
            assert b"".join([chunk async for chunk in part.chunks]) == whole[-9:]
        with pytest.raises(RangeNotSatisfiable):
            async with archive.bulk_data(target, path, ByteRange(first=len(whole), last=None)):
                pass

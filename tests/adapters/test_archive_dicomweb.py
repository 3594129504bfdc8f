"""One DICOMweb archive behind our words: a real one, and one that does everything wrong."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pydicom
import pytest
from PIL import Image

from gateway.adapters.archive_dicomweb import DicomwebArchive
from gateway.errors import ArchiveBadAnswer, ArchiveError, NotAcceptable, NotFound, NotSupported
from gateway.model import Contents, Level, Part, Rung, Series, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.qido import Query
from tests.adapters.clients import Made, paged
from tests.dicom import part10_file, row
from tests.fault_archive import (
    Answer,
    FaultArchive,
    Framing,
    json_answer,
    multipart_answer,
    redirect,
)
from tests.samples import Sample, TwoArchives
from tests.servers import Orthanc

STUDY = Target(study_uid="1.2.3")
ONE = Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1")
FRAMES = Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1", frames=(2, 1))
INSTANCE_PATH = "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
PIXELS = "7FE00010"
JPEG_LS = "1.2.840.10008.1.2.4.80"


@pytest.fixture
def archive(make: Made, fault_archive: FaultArchive) -> DicomwebArchive:
    return make(f"{fault_archive.url}/web")


async def read(parts: AsyncIterator[Part]) -> list[tuple[str, bytes]]:
    return [(p.content_type, b"".join([c async for c in p.chunks])) async for p in parts]


async def retrieved(
    archive: DicomwebArchive, target: Target, syntax: str = "*"
) -> list[tuple[str, bytes]]:
    async with archive.retrieve(target, syntax) as parts:
        return await read(parts)


def metadata(uri: object, tag: str = PIXELS) -> dict[str, Any]:
    found = row(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", SOPInstanceUID="1.2.3.4.1")
    return found | {tag: {"vr": "OW", "BulkDataURI": uri}}


def target(sample: Sample, *frames: int) -> Target:
    return Target(
        study_uid=sample.study_uid,
        series_uid=sample.series_uid,
        instance_uid=sample.instance_uid,
        frames=frames,
    )


async def test_every_stored_object_comes_byte_for_byte_with_its_transfer_syntax(
    make: Made, orthanc_north: Orthanc, two_archives: Any
) -> None:
    one = make(orthanc_north.dicom_web)
    for sample in two_archives.in_north:
        [(kind, content)] = await retrieved(one, target(sample))
        assert kind == f"application/dicom; transfer-syntax={sample.transfer_syntax}"
        assert content == sample.path.read_bytes()


async def test_a_real_study_is_told_with_all_series_and_instances(
    make: Made, orthanc_north: Orthanc, two_archives: Any
) -> None:
    one = make(orthanc_north.dicom_web)
    study = await one.study(two_archives.shared_study)
    assert study is not None
    held = [s for s in two_archives.in_north if s.study_uid == study.uid]
    assert study.number_of_instances == len(held)
    assert {s.uid for s in study.series or ()} == {s.series_uid for s in held}
    found = await one.instances(study)
    assert {i.uid for each in found.instances.values() for i in each} == {
        s.instance_uid for s in held
    }
    assert await one.study("1.2.3.4.5.6.7") is None


async def test_a_real_archive_tells_the_same_instances_by_metadata_and_titles_either_way(
    two_archives: TwoArchives, make: Made
) -> None:
    titles: set[str | None] = set()
    for server, held in (
        (two_archives.north, two_archives.in_north),
        (two_archives.south, two_archives.in_south),
    ):
        searched = make(server.dicom_web)
        whole = make(server.dicom_web, instance_level="metadata")
        for uid in sorted({s.study_uid for s in held}):
            study = await searched.study(uid)
            assert study is not None
            one, other = await searched.instances(study), await whole.instances(study)
            assert one.is_complete
            assert _named(one) == _named(other)
            titles |= {title for _, title in _named(one)}
    assert {"Of Interest", "Diagnostic Imaging Report", "Imaging report"} <= titles


def _named(found: Contents) -> list[tuple[str, str | None]]:
    each = (i for of_series in found.instances.values() for i in of_series)
    return sorted((i.uid, i.document_title or i.title) for i in each)


async def test_frames_that_the_archive_cannot_cut_are_converted(
    make: Made, orthanc_north: Orthanc, orthanc_south: Orthanc, samples: tuple[Sample, ...]
) -> None:
    big_endian = next(s for s in samples if s.transfer_syntax == "1.2.840.10008.1.2.2")
    holder = orthanc_north if big_endian.instance_uid in orthanc_north.uids() else orthanc_south
    dataset = pydicom.dcmread(big_endian.path)
    [(_, frame)] = await retrieved(make(holder.dicom_web), target(big_endian, 1))
    pixels = dataset.pixel_array
    assert frame == pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


async def test_a_frame_beyond_the_last_is_not_found(
    make: Made, orthanc_north: Orthanc, two_archives: Any
) -> None:
    ct = next(s for s in two_archives.in_north if s.modality == "CT")
    with pytest.raises(NotFound):
        await retrieved(make(orthanc_north.dicom_web), target(ct, 999))


async def test_objects_are_asked_for_as_they_are_stored(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/web/studies/1.2.3", multipart_answer([part10_file("1.2.3.4.1")]))
    await retrieved(archive, STUDY)
    [seen] = fault_archive.requests
    assert seen.header("Accept") == (
        'multipart/related; type="application/dicom"; transfer-syntax=*'
    )
    assert seen.header("Accept-Encoding") == "identity"


async def test_another_transfer_syntax_than_stored_is_refused_before_the_first_part(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(f"/web{INSTANCE_PATH}", multipart_answer([part10_file("1.2.3.4.1")]))
    with pytest.raises(NotAcceptable):
        await retrieved(archive, ONE, JPEG_LS)
    assert "transfer-syntax=*" in (fault_archive.requests[0].header("Accept") or "")


async def test_a_later_part_in_another_transfer_syntax_breaks_the_answer(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    files = [part10_file("1.2.3.4.1", JPEG_LS), part10_file("1.2.3.4.2")]
    fault_archive.on("/web/studies/1.2.3", multipart_answer(files))
    with pytest.raises(NotAcceptable):
        await retrieved(archive, STUDY, JPEG_LS)


async def test_conversion_that_fails_is_not_acceptable(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(f"/web{INSTANCE_PATH}", Answer(status=500))
    with pytest.raises(NotAcceptable):
        await retrieved(archive, ONE, "1.2.840.10008.1.2.1")
    with pytest.raises(ArchiveBadAnswer):
        await retrieved(archive, ONE)


async def test_an_instance_of_another_study_is_never_given(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    foreign = multipart_answer([part10_file("1.9.9.9")])
    fault_archive.on("*", foreign)
    with pytest.raises(ArchiveBadAnswer):
        await retrieved(archive, ONE)
    fault_archive.on("*/metadata", json_answer([metadata("x") | row(StudyInstanceUID="1.9")]))
    assert await archive.metadata(ONE) == []
    assert await archive.metadata(STUDY) == []


@pytest.mark.parametrize("framing", ["close", "length", "chunked"])
@pytest.mark.parametrize("where", [0.001, 0.4, 0.6, 0.999])
async def test_a_cut_answer_never_ends_well(
    archive: DicomwebArchive, fault_archive: FaultArchive, framing: str, where: float
) -> None:
    files = [part10_file(f"1.2.3.4.{n}", padding=20_000) for n in (1, 2)]
    whole = multipart_answer(files)
    cut = multipart_answer(files, framing=framing, cut_after=int(len(whole.body) * where))
    fault_archive.on("/web/studies/1.2.3", cut)
    with pytest.raises(ArchiveError):
        await retrieved(archive, STUDY)


async def test_a_missing_last_boundary_never_ends_well(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    unclosed = multipart_answer([part10_file("1.2.3.4.1")], closed=False)
    fault_archive.on("/web/studies/1.2.3", unclosed)
    with pytest.raises(ArchiveError):
        await retrieved(archive, STUDY)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Answer(body=b"<html>login", content_type="text/html"),
        Answer(body=b"x", content_type="multipart/related"),
        Answer(body=b"not dicom" * 100, content_type="application/dicom"),
        Answer(body=part10_file("1.2.3.4.1"), content_type="application/dicom", framing="close"),
        multipart_answer([b"<html>" * 100]),
        multipart_answer([b"<html>" * 100], part_type="text/html"),
    ],
    ids=[
        "redirect",
        "login page",
        "no boundary",
        "no DICOM",
        "no end",
        "part is no DICOM",
        "part is a page",
    ],
)
async def test_an_answer_that_is_no_object_is_a_bad_answer(
    archive: DicomwebArchive, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on(f"/web{INSTANCE_PATH}", answer)
    with pytest.raises(ArchiveBadAnswer):
        await retrieved(archive, ONE)


async def test_a_single_part_is_taken_for_the_only_instance(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    content = part10_file("1.2.3.4.1")
    fault_archive.on(f"/web{INSTANCE_PATH}", Answer(body=content, content_type="application/dicom"))
    assert [c for _, c in await retrieved(archive, ONE)] == [content]


async def test_multipart_without_parts_is_nothing(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(f"/web{INSTANCE_PATH}", multipart_answer([]))
    with pytest.raises(NotFound):
        await retrieved(archive, ONE)


async def test_frames_come_in_the_order_asked_with_their_own_media_type(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(
        f"/web{INSTANCE_PATH}/frames/2,1", multipart_answer([b"two", b"one"], part_type="image/jls")
    )
    assert await retrieved(archive, FRAMES) == [("image/jls", b"two"), ("image/jls", b"one")]


@pytest.mark.parametrize("size", [0, 1, 8192, 65_000, 66_000, 3_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_frame_of_any_size_is_asked_for_once(
    archive: DicomwebArchive, fault_archive: FaultArchive, framing: Framing, size: int
) -> None:
    frame = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    kind = "application/octet-stream"
    fault_archive.on("*", multipart_answer([frame, b"two"], part_type=kind, framing=framing))
    assert await retrieved(archive, FRAMES) == [(kind, frame), (kind, b"two")]
    assert len(fault_archive.requests) == 1


@pytest.mark.parametrize("frames", [(1,), (1, 2)])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
async def test_other_frames_than_asked_for_are_no_answer(
    archive: DicomwebArchive, fault_archive: FaultArchive, frames: tuple[int, ...], count: int
) -> None:
    kind = "application/octet-stream"
    fault_archive.on("*", multipart_answer([b"x"] * count, part_type=kind))
    wanted = replace(FRAMES, frames=frames)
    if count == len(frames):
        assert len(await retrieved(archive, wanted)) == count
        return
    with pytest.raises(ArchiveBadAnswer if count else NotFound):
        await retrieved(archive, wanted)


async def test_small_frames_wait_for_their_reader_without_a_turn(
    make: Made, fault_archive: FaultArchive
) -> None:
    kind = "application/octet-stream"
    fault_archive.on("*", multipart_answer([b"one", b"two"], part_type=kind))
    archive = make(f"{fault_archive.url}/web", max_concurrency=1, queue_seconds=0.2)
    async with archive.retrieve(FRAMES) as parts:
        assert await retrieved(archive, FRAMES) == await read(parts)


@pytest.mark.parametrize(("status", "error"), [(400, NotFound), (404, NotFound)])
async def test_what_archives_say_of_a_missing_frame_is_not_found(
    archive: DicomwebArchive, fault_archive: FaultArchive, status: int, error: type[Exception]
) -> None:
    fault_archive.on("*", Answer(status=status))
    with pytest.raises(error):
        await retrieved(archive, FRAMES)


@pytest.mark.parametrize(
    "uri",
    [
        "http://pacs.internal:8042/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1/bulk/7fe0",
        "https://169.254.169.254/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1/bulk/7fe0",
        "/elsewhere/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1/bulk/7fe0",
        "bulk/7fe0",
        "./bulk/7fe0",
    ],
)
async def test_bulk_data_comes_from_the_configured_archive_wherever_its_uri_leads(
    archive: DicomwebArchive, fault_archive: FaultArchive, uri: str
) -> None:
    fault_archive.on(f"/web{INSTANCE_PATH}/metadata", json_answer([metadata(uri)]))
    pixels = Answer(body=b"pixels", content_type="image/jls")
    fault_archive.on(f"/web{INSTANCE_PATH}/bulk/7fe0", pixels)
    async with archive.bulk_data(ONE, (PIXELS,)) as parts:
        assert await read(parts) == [("image/jls", b"pixels")]


async def test_bulk_data_uri_keeps_its_query(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    uri = f"http://pacs{INSTANCE_PATH}/bulk?offset=10&length=20"
    fault_archive.on(f"/web{INSTANCE_PATH}/metadata", json_answer([metadata(uri)]))
    fault_archive.on(f"/web{INSTANCE_PATH}/bulk", Answer(body=b"x", content_type="a/b"))
    async with archive.bulk_data(ONE, (PIXELS,)) as parts:
        await read(parts)
    assert fault_archive.requests[-1].path == f"/web{INSTANCE_PATH}/bulk?offset=10&length=20"


@pytest.mark.parametrize(
    "uri",
    [
        "../../../../../../../../system",
        "http://pacs/studies/../../system",
        "http://pacs/studies/%2e%2e/system",
        "http://pacs/studies/1.2.3/..%2f..%2fsystem",
        "http://pacs/studies/a\\b",
        "http://[pacs/studies/1",
        "http://pacs/",
        "http://pacs/web/studies?PatientID=*",
        "http://pacs/web/instances?x=y",
        "http://pacs/web/series/1.2.9/instances/1.2.9.1/bulk/1",
        "http://pacs/web/studies/1.2.9/series/1.2.9.1/instances/1.2.9.1.1/bulk/1",
        "http://pacs/web/studies/1.2.3",
        "/elsewhere/studies/1.2.9/series/1.2.9.1",
        "../../../../../studies/1.2.9/metadata",
        "",
        None,
        7,
        ["http://pacs/studies/1"],
    ],
)
async def test_a_bulk_data_uri_that_leads_out_of_the_archive_is_not_followed(
    archive: DicomwebArchive, fault_archive: FaultArchive, uri: object
) -> None:
    fault_archive.on("*", Answer(body=b"secret", content_type="application/octet-stream"))
    fault_archive.on(f"/web{INSTANCE_PATH}/metadata", json_answer([metadata(uri)]))
    with pytest.raises((ArchiveBadAnswer, NotFound)):
        async with archive.bulk_data(ONE, (PIXELS,)) as parts:
            await read(parts)
    assert all(r.path.startswith("/web/") for r in fault_archive.requests)


async def test_bulk_data_within_a_sequence_is_found_by_its_path(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    inner = {"5400100a": {"vr": "OW", "BulkDataURI": f"http://pacs{INSTANCE_PATH}/b"}}
    whole = metadata("x") | {"54000100": {"vr": "SQ", "Value": [{}, inner]}}
    fault_archive.on(f"/web{INSTANCE_PATH}/metadata", json_answer([whole]))
    fault_archive.on(f"/web{INSTANCE_PATH}/b", Answer(body=b"wave", content_type="a/b"))
    async with archive.bulk_data(ONE, ("54000100", "1", "5400100A")) as parts:
        assert await read(parts) == [("a/b", b"wave")]
    for path in (("54000100", "2", "5400100A"), ("54000100", "0", "5400100A"), ("00100010",)):
        with pytest.raises(NotFound):
            async with archive.bulk_data(ONE, path):
                pass


def jpeg(width: int = 16, height: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), 99).save(buffer, "JPEG")
    return buffer.getvalue()


async def test_each_way_to_a_picture_is_asked_for_the_box(
    make: Made, fault_archive: FaultArchive
) -> None:
    archive = make(f"{fault_archive.url}/web", wado_uri=f"{fault_archive.url}/wado")
    fault_archive.on("*", Answer(body=jpeg(), content_type="image/png"))  # as Orthanc labels it

    for rung in Rung:
        assert await archive.picture(ONE, rung, 64, 32, "image/jpeg") == jpeg()

    asked = [r.path.removeprefix(f"/web{INSTANCE_PATH}") for r in fault_archive.requests]
    assert asked[:2] == ["/thumbnail?viewport=64,32", "/rendered?viewport=64,32"]
    for parameter in (f"objectUID={ONE.instance_uid}", "contentType=image/jpeg", "rows=32"):
        assert parameter in asked[2]


async def test_an_archive_without_wado_uri_gives_no_picture_that_way(
    archive: DicomwebArchive,
) -> None:
    with pytest.raises(NotSupported):
        await archive.picture(ONE, Rung.WADO_URI, 64, 32, "image/jpeg")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=400),
        Answer(status=406),
        Answer(status=500),
        Answer(body=b"<html>", content_type="text/html"),
        Answer(body=jpeg()[:-20], content_type="image/jpeg", framing="close"),
        Answer(body=b"\xff\xd8" + b"x" * 65536, framing="chunked", endless=True),
        Answer(status=204),
        redirect("http://127.0.0.1:1/"),
    ],
    ids=["400", "406", "500", "page", "cut", "endless", "204", "redirect"],
)
async def test_what_is_no_picture_is_refused(
    archive: DicomwebArchive, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("*", answer)
    with pytest.raises((ArchiveBadAnswer, NotAcceptable)):
        await archive.picture(ONE, Rung.RENDERED, 64, 64, "image/jpeg")


async def test_a_study_of_a_capping_archive_is_whole(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    counts = {
        dj.NUMBER_OF_STUDY_RELATED_SERIES: {"vr": "IS", "Value": [5]},
        dj.NUMBER_OF_STUDY_RELATED_INSTANCES: {"vr": "IS", "Value": [9]},
    }
    fault_archive.on("/web/studies", json_answer([row(StudyInstanceUID="1.2.3") | counts]))
    series = [row(StudyInstanceUID="1.2.3", SeriesInstanceUID=f"1.2.3.{n}") for n in range(5)]
    fault_archive.on("/web/studies/1.2.3/series", paged(series, cap=2))
    instances = [
        row(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1", SOPInstanceUID=f"1.2.3.1.{n}")
        for n in range(9)
    ]
    fault_archive.on("/web/studies/1.2.3/instances", paged(instances, cap=4))

    study = await archive.study("1.2.3")

    assert study is not None
    assert len(study.series or ()) == 5
    assert len((await archive.instances(study)).instances["1.2.3.1"]) == 9


def held(**series: str) -> Study:
    """The record of study 1.2.3 with series of these modalities: `held(s1="CT")` is 1.2.3.1."""
    return Study(
        uid="1.2.3",
        archives=("north",),
        number_of_instances=len(series),
        series=tuple(
            Series(uid=f"1.2.3.{name[1:]}", archives=("north",), modality=modality)
            for name, modality in series.items()
        ),
    )


def told(series: int, **more: Any) -> dict[str, Any]:
    """What an archive tells of the one instance of a series."""
    return row(
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID=f"1.2.3.{series}",
        SOPInstanceUID=f"1.2.3.{series}.1",
        **more,
    )


KEYS = {"0040A043": {"vr": "SQ", "Value": [row(CodeValue="113000", CodeMeaning="Of Interest")]}}
INSTANCES, METADATA = "/web/studies/1.2.3/instances", "/web/studies/1.2.3/metadata"


async def test_documents_get_their_titles_from_metadata_where_rows_have_none(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(INSTANCES, json_answer([told(1), told(2), told(3, DocumentTitle="Letter")]))
    fault_archive.on("/web/studies/1.2.3/series/1.2.3.2/metadata", json_answer([told(2) | KEYS]))
    found = await archive.instances(held(s1="CT", s2="KO", s3="DOC"))
    assert found.is_complete
    assert {u: (i.title, i.document_title) for u, (i,) in found.instances.items()} == {
        "1.2.3.1": (None, None),
        "1.2.3.2": ("Of Interest", None),
        "1.2.3.3": (None, "Letter"),
    }
    assert len(fault_archive.requests) == 2


async def test_rows_that_tell_titles_are_believed(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(INSTANCES, json_answer([told(1), told(2) | KEYS]))
    found = await archive.instances(held(s1="CT", s2="KO"))
    assert [i.title for i in found.instances["1.2.3.2"]] == ["Of Interest"]
    [request] = fault_archive.requests
    assert "0040A043" in request.path


async def test_images_alone_are_one_request_without_titles(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(INSTANCES, json_answer([told(1)]))
    await archive.instances(held(s1="CT"))
    [request] = fault_archive.requests
    assert "0040A043" not in request.path


async def test_documents_that_cannot_be_read_have_no_titles(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(INSTANCES, json_answer([told(2)]))
    fault_archive.on("/web/studies/1.2.3/series/*", Answer(status=500))
    found = await archive.instances(held(s2="KO"))
    assert [i.title for i in found.instances["1.2.3.2"]] == [None]
    assert not found.is_complete


FRAMES_OF_KNEE = {
    "52009229": {
        "vr": "SQ",
        "Value": [{"00209071": {"vr": "SQ", "Value": [row(FrameLaterality="R")]}}],
    }
}


async def test_instances_by_metadata_are_one_request_that_tells_more(
    make: Made, fault_archive: FaultArchive
) -> None:
    archive = make(f"{fault_archive.url}/web", instance_level="metadata")
    whole = [told(1, InstanceNumber=1) | FRAMES_OF_KNEE, told(2) | KEYS]
    fault_archive.on(METADATA, json_answer(whole))
    found = await archive.instances(held(s1="MR", s2="KO"))
    assert len(fault_archive.requests) == 1
    assert [i.title for i in found.instances["1.2.3.2"]] == ["Of Interest"]
    assert {s.uid: s.laterality for s in found.series} == {"1.2.3.1": "R", "1.2.3.2": None}
    odd = [one | row(InstanceNumber=-1) for one in whole]
    fault_archive.on(METADATA, json_answer(odd))
    tolerant = await archive.instances(held(s1="MR", s2="KO"))
    assert tolerant.series == found.series
    assert tolerant.warnings


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(status=500), id="fails"),
        pytest.param(Answer(status=404), id="knows no metadata"),
        pytest.param(json_answer([told(1)]), id="not all of it"),
        pytest.param(Answer(body=b"<html>"), id="not JSON"),
        pytest.param(Answer(body=b"[" + b" " * 20_000 + b"]"), id="more than is read"),
    ],
)
async def test_instances_are_searched_for_where_metadata_do_not_serve(
    make: Made, fault_archive: FaultArchive, answer: Answer
) -> None:
    archive = make(f"{fault_archive.url}/web", instance_level="metadata", max_json_bytes=10_000)
    fault_archive.on(METADATA, answer)
    fault_archive.on(INSTANCES, json_answer([told(1), told(2)]))
    found = await archive.instances(held(s1="CT", s2="CT"))
    assert set(found.instances) == {"1.2.3.1", "1.2.3.2"}


async def test_a_study_costs_two_requests(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/web/studies", json_answer([row(StudyInstanceUID="1.2.3")]))
    fault_archive.on(
        "/studies/1.2.3/series",
        json_answer([row(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1")]),
    )
    assert await archive.study("1.2.3")
    assert len(fault_archive.requests) == 2


async def test_a_study_that_half_fails_is_a_failure_of_the_archive(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/web/studies", json_answer([row(StudyInstanceUID="1.2.3")]))
    fault_archive.on("/web/studies/1.2.3/series", Answer(status=500))
    with pytest.raises(ArchiveBadAnswer):
        await archive.study("1.2.3")


async def test_406_to_the_gateway_s_own_questions_is_a_failure_of_the_archive(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    """It would otherwise be told to callers, and end what others answer."""
    fault_archive.on("*", Answer(status=406))
    questions = (
        archive.search(Query(level=Level.STUDY)),
        archive.study("1.2.3"),
        archive.instances(held(s1="CT")),
        archive.metadata(ONE),
    )
    for question in questions:
        with pytest.raises(ArchiveBadAnswer):
            await question


async def test_the_answer_for_another_study_is_no_answer(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/web/studies", json_answer([row(StudyInstanceUID="1.9.9")]))
    assert await archive.study("1.2.3") is None
    query = Query(level=Level.STUDY, keys=(qido.key(dj.STUDY_INSTANCE_UID, "1.2.3"),))
    assert (await archive.search(query)).items == ()

"""The npm package dicomweb-client, run by node, against the gateway over two real archives."""

from __future__ import annotations

import base64
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom.filebase import DicomBytesIO

from tests.e2e.browser_clients import dicomweb_client
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.samples import Sample, TwoArchives
from tests.servers import Orthanc, program

BYTES = "base64"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
OURS = {"BulkDataURI", "00081190", "00080005"}
"""What the gateway writes itself: addresses, and the character set that JSON has."""


@pytest.fixture
def gateway(two_archives: TwoArchives, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway over both archives; nothing is remembered between requests."""
    archives = {
        "north": archive(two_archives.north.dicom_web),
        "south": archive(two_archives.south.dicom_web),
    }
    cache = {"fresh_seconds": 0, "stale_seconds": 0, "absent_seconds": 0}
    with ForkedGateway(tmp_path, archives, cache=cache) as one:
        yield one


def calls(gateway: Gateway, *wanted: tuple[str, Mapping[str, Any]]) -> list[Any]:
    """What the client's methods give, each called with its options."""
    done = subprocess.run(  # noqa: S603 - a program of ours
        [program("node"), str(dicomweb_client()), gateway.dicom_web],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    assert len(results) == len(wanted)
    return results


def content(result: Mapping[str, str]) -> bytes:
    assert set(result) == {BYTES}, result
    return base64.b64decode(result[BYTES])


def held(archives: TwoArchives) -> dict[str, Sample]:
    """The samples that any of the archives holds, by SOPInstanceUID."""
    return {s.instance_uid: s for s in (*archives.in_north, *archives.in_south)}


def split(archives: TwoArchives) -> list[Sample]:
    """The instances of the study whose series are in two archives."""
    found = [s for s in held(archives).values() if s.study_uid == archives.split_study]
    for series in (archives.north_series, archives.south_series):
        assert series & {s.series_uid for s in found}
    return found


def holder(archives: TwoArchives, sample: Sample) -> Orthanc:
    """An archive that holds `sample`."""
    return archives.north if sample in archives.in_north else archives.south


def named(sample: Sample) -> dict[str, str]:
    """`sample` in the words of the client."""
    return {
        "studyInstanceUID": sample.study_uid,
        "seriesInstanceUID": sample.series_uid,
        "sopInstanceUID": sample.instance_uid,
    }


def path(sample: Sample) -> str:
    return f"studies/{sample.study_uid}/series/{sample.series_uid}/instances/{sample.instance_uid}"


def stored(orthanc: Orthanc) -> dict[str, bytes]:
    """The stored files by SOPInstanceUID, as the archive's own REST interface gives them."""
    rows = requests.get(f"{orthanc.url}/instances?expand", timeout=30).json()
    return {r["MainDicomTags"]["SOPInstanceUID"]: orthanc.file(r["ID"]) for r in rows}


def instance_uid(part10: bytes) -> str:
    return str(pydicom.dcmread(DicomBytesIO(part10), stop_before_pixels=True).SOPInstanceUID)


def value(row: Mapping[str, Any], tag: str) -> Any:
    return row[tag]["Value"][0]


def theirs_alone(element: Any) -> Any:
    """Metadata without what is the gateway's own."""
    if isinstance(element, dict):
        kept = {k: v for k, v in element.items() if k not in OURS}
        return {k: theirs_alone(v) for k, v in kept.items()}
    return [theirs_alone(e) for e in element] if isinstance(element, list) else element


def test_the_client_finds_every_study_series_and_instance_once(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    everything = held(two_archives).values()
    study = {"studyInstanceUID": two_archives.split_study}
    mine = split(two_archives)
    largest = Counter(s.series_uid for s in mine).most_common(1)[0][0]
    studies, named_studies, series, instances, in_series = calls(
        gateway,
        ("searchForStudies", {}),
        ("searchForStudies", {"queryParams": {"PatientName": "yamada*", "limit": 1}}),
        ("searchForSeries", study),
        ("searchForInstances", study),
        ("searchForInstances", {**study, "seriesInstanceUID": largest}),
    )
    assert Counter(value(r, "0020000D") for r in studies) == Counter(
        {s.study_uid for s in everything}
    )
    assert len(named_studies) == 1
    assert Counter(value(r, "0020000E") for r in series) == Counter({s.series_uid for s in mine})
    assert Counter(value(r, "00080018") for r in instances) == Counter(s.instance_uid for s in mine)
    assert {value(r, "00080018") for r in in_series} == {
        s.instance_uid for s in mine if s.series_uid == largest
    }


def test_the_client_retrieves_every_object_as_an_archive_stores_it(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    originals = stored(two_archives.north) | stored(two_archives.south)
    samples = list(held(two_archives).values())
    results = calls(gateway, *(("retrieveInstance", named(s)) for s in samples))
    assert {s.instance_uid: content(r) for s, r in zip(samples, results, strict=True)} == originals


def test_the_client_retrieves_a_split_study_whole(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    originals = stored(two_archives.north) | stored(two_archives.south)
    mine = {s.instance_uid for s in split(two_archives)}
    study = {"studyInstanceUID": two_archives.split_study}
    [found] = calls(gateway, ("retrieveStudy", study))
    files = [content(one) for one in found]
    assert Counter(instance_uid(f) for f in files) == Counter(mine)
    assert {instance_uid(f): f for f in files} == {uid: originals[uid] for uid in mine}


def test_the_client_retrieves_the_metadata_of_both_archives(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    samples = split(two_archives)
    whole, *each = calls(
        gateway,
        ("retrieveStudyMetadata", {"studyInstanceUID": two_archives.split_study}),
        *(("retrieveInstanceMetadata", named(s)) for s in samples),
    )
    theirs = {}
    for sample in samples:
        base = holder(two_archives, sample).dicom_web
        [theirs[sample.instance_uid]] = requests.get(
            f"{base}/{path(sample)}/metadata", timeout=30
        ).json()
    assert {value(m, "00080005") for m in whole} == {"ISO_IR 192"}
    expected = {uid: theirs_alone(one) for uid, one in theirs.items()}
    assert {value(m, "00080018"): theirs_alone(m) for m in whole} == expected
    assert {value(m, "00080018"): theirs_alone(m) for [m] in each} == expected


def test_the_client_retrieves_frames_as_they_are_stored(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    checked = 0
    native = [s for s in held(two_archives).values() if is_native(s)]
    wanted = [("retrieveInstanceFrames", {**named(s), "frameNumbers": [1]}) for s in native]
    for sample, frames in zip(native, calls(gateway, *wanted), strict=True):
        dataset = pydicom.dcmread(sample.path)
        pixels = bytes(dataset.PixelData)
        [frame] = [content(one) for one in frames]
        size = len(pixels) // int(dataset.get("NumberOfFrames") or 1)
        assert frame == pixels[: len(frame)]
        assert size - 1 <= len(frame) <= size  # an odd number of bytes is padded in the object
        checked += 1
    assert {s.study_uid for s in native} & two_archives.north_studies
    assert {s.study_uid for s in native} & two_archives.south_studies
    assert checked > 10


def is_native(sample: Sample) -> bool:
    """Whether the sample has uncompressed pixels, a whole number of bytes each."""
    if sample.transfer_syntax != EXPLICIT_VR_LITTLE_ENDIAN:
        return False
    header = pydicom.dcmread(sample.path)
    return "PixelData" in header and header.BitsAllocated >= 8


def test_the_client_retrieves_frames_in_the_order_asked(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    loop = next(
        s
        for s in held(two_archives).values()
        if int(pydicom.dcmread(s.path, stop_before_pixels=True).get("NumberOfFrames") or 1) > 2
    )
    options = [{**named(loop), "frameNumbers": n} for n in ([1], [2], [3], [3, 1])]
    results = calls(gateway, *(("retrieveInstanceFrames", o) for o in options))
    first, second, third, both = ([content(f) for f in frames] for frames in results)
    assert both == [*third, *first]
    assert len({*first, *second, *third}) == 3
    theirs = requests.get(
        f"{holder(two_archives, loop).dicom_web}/{path(loop)}/frames/1",
        headers={"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'},
        timeout=30,
    )
    assert first[0] in theirs.content


def test_the_client_retrieves_bulk_data_by_the_address_in_the_metadata(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    samples = {uid: s for uid, s in held(two_archives).items() if s.modality != "KO"}
    studies = {s.study_uid for s in samples.values()}
    metadata = calls(
        gateway, *(("retrieveStudyMetadata", {"studyInstanceUID": u}) for u in studies)
    )
    uris = {
        (value(dataset, "00080018"), tag): element["BulkDataURI"]
        for datasets in metadata
        for dataset in datasets
        for tag, element in dataset.items()
        if "BulkDataURI" in element
    }
    results = calls(gateway, *(("retrieveBulkData", {"BulkDataURI": u}) for u in uris.values()))
    compared = 0
    for (uid, tag), result in zip(uris, results, strict=True):
        assert uris[uid, tag].startswith(f"{gateway.dicom_web}/studies/")
        [found] = [content(one) for one in parts_of(result)]
        sample = samples[uid]
        element = pydicom.dcmread(sample.path).get(int(tag, 16))
        if sample.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN and isinstance(element.value, bytes):
            assert found.rstrip(b"\0") == element.value.rstrip(b"\0")
            compared += 1
    assert compared > 10


def parts_of(result: Any) -> Sequence[Mapping[str, str]]:
    """The client gives a list for a multipart answer and for an array buffer."""
    return result if isinstance(result, list) else [result]


def test_the_client_is_told_by_a_status_what_it_cannot_have(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    sample = split(two_archives)[0]
    absent = {**named(sample), "sopInstanceUID": "1.2.3"}
    results = calls(
        gateway,
        ("retrieveInstance", absent),
        ("retrieveInstanceFrames", {**named(sample), "frameNumbers": [99]}),
        ("searchForStudies", {"queryParams": {"NoSuchAttribute": "1"}}),
        ("searchForStudies", {"queryParams": {"PatientID": "nobody"}}),
    )
    assert results == [{"status": 404}, {"status": 404}, {"status": 400}, []]

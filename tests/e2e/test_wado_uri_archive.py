"""A real archive of which only QIDO-RS and WADO-URI are used, against its own WADO-RS."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import orjson
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image

from gateway.adapters import dicom_files
from gateway.rules import dicom_json as dj
from tests.e2e.test_two_archives import parts, stored, uid_of
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.samples import Sample, TwoArchives
from tests.servers import Orthanc

BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
def gateway(orthanc_north: Orthanc, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway over the archive, which never hears of WADO-RS."""
    own = archive(orthanc_north.dicom_web, wado_rs=None, wado_uri=orthanc_north.wado_uri)
    with ForkedGateway(tmp_path, {"north": own}) as one:
        yield one


def path(sample: Sample) -> str:
    return f"/studies/{sample.study_uid}/series/{sample.series_uid}/instances/{sample.instance_uid}"


def get(url: str, accept: str = "*/*") -> requests.Response:
    return requests.get(url, headers={"Accept": accept}, timeout=60)


def test_instances_series_and_studies_come_byte_for_byte_as_by_wado_rs(
    gateway: Gateway, two_archives: TwoArchives, orthanc_north: Orthanc
) -> None:
    originals = stored(orthanc_north)
    held = two_archives.in_north
    for sample in held:
        [(head, body)] = parts(get(f"{gateway.dicom_web}{path(sample)}"))
        assert body == originals[sample.instance_uid]
        syntax = f"application/dicom; transfer-syntax={sample.transfer_syntax}"
        assert head["content-type"] == syntax
    for study in {s.study_uid for s in held}:
        answer = get(f"{gateway.dicom_web}/studies/{study}")
        wanted = {s.instance_uid for s in held if s.study_uid == study}
        assert {uid_of(b): b for _, b in parts(answer)} == {u: originals[u] for u in wanted}
    first = held[0]
    series = f"{gateway.dicom_web}/studies/{first.study_uid}/series/{first.series_uid}"
    wanted = {s.instance_uid for s in held if s.series_uid == first.series_uid}
    assert {uid_of(b) for _, b in parts(get(series))} == wanted


def test_the_client_gets_the_same_instances_from_both(
    gateway: Gateway, two_archives: TwoArchives, orthanc_north: Orthanc
) -> None:
    mine, theirs = DICOMwebClient(gateway.dicom_web), DICOMwebClient(orthanc_north.dicom_web)
    anything = (("application/dicom", "*"),)
    for sample in two_archives.in_north:
        uids = (sample.study_uid, sample.series_uid, sample.instance_uid)
        one = mine.retrieve_instance(*uids, media_types=anything)
        other = theirs.retrieve_instance(*uids, media_types=anything)
        assert one.to_json_dict() == other.to_json_dict()


def test_frames_are_those_that_wado_rs_gives(
    gateway: Gateway, two_archives: TwoArchives, orthanc_north: Orthanc
) -> None:
    """All but those in big endian, which Orthanc cannot cut."""
    accept = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
    compared = 0
    for sample in two_archives.in_north:
        header = pydicom.dcmread(sample.path, stop_before_pixels=True)
        if "Rows" not in header or sample.transfer_syntax == BIG_ENDIAN:
            continue
        count = int(header.get("NumberOfFrames") or 1)
        numbers = "1" if count == 1 else f"{count},1"
        theirs = get(f"{orthanc_north.dicom_web}{path(sample)}/frames/{numbers}", accept)
        if theirs.status_code != 200:
            continue
        mine = get(f"{gateway.dicom_web}{path(sample)}/frames/{numbers}", accept)
        assert [b for _, b in parts(mine)] == [b for _, b in parts(theirs)], sample
        compared += 1
        assert get(f"{gateway.dicom_web}{path(sample)}/frames/{count + 1}").status_code == 404
    assert compared > 5


def test_metadata_are_those_of_the_stored_files_with_bulk_data_here(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    held = two_archives.in_north
    fetched = 0
    for study in {s.study_uid for s in held}:
        found = get(f"{gateway.dicom_web}/studies/{study}/metadata", "application/json").json()
        mine = {s.instance_uid: s for s in held if s.study_uid == study}
        assert {dj.text(row, dj.SOP_INSTANCE_UID) for row in found} == set(mine)
        for row in found:
            sample = mine[row[dj.SOP_INSTANCE_UID]["Value"][0]]
            with sample.path.open("rb") as stream:
                opened = dicom_files.open_dicom(stream, is_named_dicom=True)
                stored_row = dicom_files.metadata(opened)
            own = f"{gateway.dicom_web}{path(sample)}"
            as_sent = dj.with_own_urls(orjson.dumps(stored_row), gateway.dicom_web)
            assert row == json.loads(as_sent)
            for element in row.values():
                if "BulkDataURI" in element:
                    assert element["BulkDataURI"].startswith(own)
                    assert get(element["BulkDataURI"]).status_code == 200
                    fetched += 1
    assert fetched


def test_pictures_are_drawn_of_whatever_it_gives(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    ct = next(s for s in two_archives.in_north if s.modality == "CT")
    for place in (f"/studies/{ct.study_uid}", path(ct), f"{path(ct)}/frames/1"):
        thumbnail = get(f"{gateway.dicom_web}{place}/thumbnail?viewport=64,64")
        with Image.open(io.BytesIO(thumbnail.content)) as picture:
            assert max(picture.size) <= 64
        rendered = get(f"{gateway.dicom_web}{place}/rendered?viewport=64,64", "image/png")
        assert rendered.headers["Content-Type"] == "image/png"


def test_a_transfer_syntax_is_made_of_native_ones_or_refused_by_name(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    asked = 'multipart/related; type="application/dicom"; transfer-syntax='
    for sample in two_archives.in_north:
        answer = get(f"{gateway.dicom_web}{path(sample)}", f"{asked}{EXPLICIT}")
        if sample.transfer_syntax in {EXPLICIT, IMPLICIT, BIG_ENDIAN}:
            [(_, body)] = parts(answer)
            made = pydicom.dcmread(io.BytesIO(body))
            assert made.file_meta.TransferSyntaxUID == EXPLICIT
        elif answer.status_code != 200:
            assert answer.status_code == 406
            assert EXPLICIT in answer.json()["detail"]
    refused = get(f"{gateway.dicom_web}{path(sample)}", f"{asked}1.2.840.10008.1.2.4.203")
    assert refused.status_code == 406


def test_what_is_not_there_is_not_found(gateway: Gateway, two_archives: TwoArchives) -> None:
    sample = two_archives.in_north[0]
    for wrong in (
        "/studies/1.2.3.4.5",
        f"/studies/{sample.study_uid}/series/1.2.3.4.5",
        f"/studies/{sample.study_uid}/series/{sample.series_uid}/instances/1.2.3",
        f"{path(sample)}/bulkdata/00091099",
    ):
        assert get(f"{gateway.dicom_web}{wrong}").status_code == 404

"""Two real archives as one, through the real program, by the DICOMweb client that people use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.native_dicom import parsed
from tests.samples import Sample, TwoArchives, hold
from tests.servers import Orthanc

CT = "CT"


@pytest.fixture
def gateway(two_archives: TwoArchives, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway over both archives; nothing is remembered between requests."""
    with serving(tmp_path, two_archives.north, two_archives.south) as one:
        yield one


@pytest.fixture
def client(gateway: Gateway) -> DICOMwebClient:
    return DICOMwebClient(gateway.dicom_web)


@pytest.fixture
def remembering(two_archives: TwoArchives, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway over both archives as it is usually: it remembers what they hold."""
    archives = {
        "north": archive(two_archives.north.dicom_web),
        "south": archive(two_archives.south.dicom_web),
    }
    with ForkedGateway(tmp_path, archives) as one:
        yield one


def serving(folder: Path, north: Orthanc, south: Orthanc, **more: Any) -> Gateway:
    """A gateway over two archives that looks anew at every request."""
    archives = {
        "north": archive(north.dicom_web, **more),
        "south": archive(south.dicom_web, **more),
    }
    cache = {"fresh_seconds": 0, "stale_seconds": 0, "absent_seconds": 0}
    return ForkedGateway(folder, archives, cache=cache)


def everything(archives: TwoArchives) -> dict[str, Sample]:
    """The samples that any of the archives holds, by SOPInstanceUID."""
    return {s.instance_uid: s for s in (*archives.in_north, *archives.in_south)}


def stored(orthanc: Orthanc) -> dict[str, bytes]:
    """The stored files by SOPInstanceUID, as the archive's own REST interface gives them."""
    rows = requests.get(f"{orthanc.url}/instances?expand", timeout=30).json()
    return {r["MainDicomTags"]["SOPInstanceUID"]: orthanc.file(r["ID"]) for r in rows}


def parts(answer: requests.Response) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart answer with their header fields; AssertionError if it is cut."""
    boundary = answer.headers["Content-Type"].rpartition("boundary=")[2].strip('"').encode()
    pieces = answer.content.split(b"--" + boundary)
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    found = []
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode().strip().split("\r\n"))
        found.append(({n.lower(): v for n, _, v in lines}, body[:-2]))
    return found


def uid_of(content: bytes) -> str:
    return str(pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)).SOPInstanceUID)


def value(row: dict[str, Any], tag: str) -> Any:
    return row[tag]["Value"][0]


def test_every_study_is_found_once_with_its_counts(
    client: DICOMwebClient, two_archives: TwoArchives
) -> None:
    rows = client.search_for_studies()
    held = everything(two_archives).values()
    assert Counter(value(r, "0020000D") for r in rows) == Counter({s.study_uid for s in held})
    for row in rows:
        mine = [s for s in held if s.study_uid == value(row, "0020000D")]
        assert value(row, "00201208") == len(mine)
        assert value(row, "00201206") == len({s.series_uid for s in mine})
        assert set(row["00080061"]["Value"]) == {s.modality for s in mine}


def test_every_series_and_instance_of_every_study_is_found_once(
    client: DICOMwebClient, two_archives: TwoArchives
) -> None:
    held = everything(two_archives).values()
    for study in {s.study_uid for s in held}:
        mine = [s for s in held if s.study_uid == study]
        series = client.search_for_series(study)
        assert Counter(value(r, "0020000E") for r in series) == Counter(
            {s.series_uid for s in mine}
        )
        for row in series:
            count = sum(s.series_uid == value(row, "0020000E") for s in mine)
            assert value(row, "00201209") == count
        instances = client.search_for_instances(study)
        assert Counter(value(r, "00080018") for r in instances) == Counter(
            s.instance_uid for s in mine
        )


def test_every_object_is_retrieved_byte_for_byte_as_an_archive_stores_it(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    originals = stored(two_archives.north) | stored(two_archives.south)
    held = everything(two_archives)
    assert set(originals) == set(held)
    for uid, sample in held.items():
        path = f"studies/{sample.study_uid}/series/{sample.series_uid}/instances/{uid}"
        [(head, body)] = parts(requests.get(f"{gateway.dicom_web}/{path}", timeout=30))
        assert body == originals[uid]
        assert head["content-type"] == (
            f"application/dicom; transfer-syntax={sample.transfer_syntax}"
        )


def test_whole_studies_come_as_one_answer_each_instance_once(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    originals = stored(two_archives.north) | stored(two_archives.south)
    held = everything(two_archives).values()
    for study in {s.study_uid for s in held}:
        answer = requests.get(f"{gateway.dicom_web}/studies/{study}", timeout=30)
        assert answer.status_code == 200
        bodies = [body for _, body in parts(answer)]
        wanted = {s.instance_uid for s in held if s.study_uid == study}
        assert Counter(uid_of(b) for b in bodies) == Counter(wanted)
        assert {uid_of(b): b for b in bodies} == {u: originals[u] for u in wanted}


def test_the_client_retrieves_what_was_stored(
    client: DICOMwebClient, two_archives: TwoArchives
) -> None:
    for study in (two_archives.split_study, two_archives.shared_study):
        mine = {u for u, s in everything(two_archives).items() if s.study_uid == study}
        found = client.retrieve_study(study, media_types=(("application/dicom", "*"),))
        assert {str(d.SOPInstanceUID) for d in found} == mine
        assert len(found) == len(mine)


def test_metadata_names_bulk_data_of_the_gateway_and_it_opens(
    remembering: Gateway, two_archives: TwoArchives
) -> None:
    client = DICOMwebClient(remembering.dicom_web)
    opened = 0
    for study in {s.study_uid for s in everything(two_archives).values()}:
        for dataset in client.retrieve_study_metadata(study):
            for tag, element in dataset.items():
                if "BulkDataURI" not in element:
                    continue
                uri = element["BulkDataURI"]
                assert uri.startswith(f"{remembering.dicom_web}/studies/{study}/series/")
                assert uri.endswith(f"/bulkdata/{tag}")
                content = b"".join(client.retrieve_bulkdata(uri))
                answer = requests.get(uri, headers={"Accept": "*/*"}, timeout=30)
                assert [body for _, body in parts(answer)] == [content]
                assert content
                opened += 1
    assert opened


def test_metadata_is_that_of_the_archives(
    client: DICOMwebClient, two_archives: TwoArchives
) -> None:
    for orthanc, samples in (
        (two_archives.north, two_archives.in_north),
        (two_archives.south, two_archives.in_south),
    ):
        for sample in samples:
            uids = (sample.study_uid, sample.series_uid, sample.instance_uid)
            path = "studies/{}/series/{}/instances/{}/metadata".format(*uids)
            theirs = requests.get(f"{orthanc.dicom_web}/{path}", timeout=30).json()
            ours = client.retrieve_instance_metadata(*uids)
            assert without_uris(ours) == without_uris(theirs[0])
            assert ours.get("00080005", {"Value": ["ISO_IR 192"]})["Value"] == ["ISO_IR 192"]


def without_uris(element: Any) -> Any:
    if isinstance(element, dict):
        kept = {k: without_uris(v) for k, v in element.items() if k not in {"00081190", "00080005"}}
        return {k: v for k, v in kept.items() if k != "BulkDataURI"}
    return [without_uris(e) for e in element] if isinstance(element, list) else element


def frames_of(sample: Sample) -> int:
    header = pydicom.dcmread(sample.path, stop_before_pixels=True)
    return int(header.get("NumberOfFrames") or 1) if "Rows" in header else 0


def test_real_metadata_say_the_same_as_xml(gateway: Gateway, two_archives: TwoArchives) -> None:
    xml = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    for study in {s.study_uid for s in everything(two_archives).values()}:
        for resource in ("metadata", "series", "instances"):
            url = f"{gateway.dicom_web}/studies/{study}/{resource}"
            answer = requests.get(url, headers=xml, timeout=60)
            assert answer.status_code == 200
            documents = [parsed(body) for _, body in parts(answer)]
            assert plain(documents) == plain(requests.get(url, timeout=60).json())


def plain(value: Any) -> Any:
    """Data sets without what says nothing: empty values alone, trailing carets, ints."""
    if isinstance(value, dict):
        kept = {name: plain(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one not in ([], "")} or None
    if isinstance(value, list):
        values = [plain(one) for one in value]
        return [] if values in ([None], [""]) else values
    if isinstance(value, str):
        return value.rstrip("^")
    return float(value) if isinstance(value, int) else value


def test_frames_are_those_of_the_archive(gateway: Gateway, two_archives: TwoArchives) -> None:
    accept = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'}
    asked = 0
    for orthanc, samples in (
        (two_archives.north, two_archives.in_north),
        (two_archives.south, two_archives.in_south),
    ):
        for sample in samples:
            path = (
                f"studies/{sample.study_uid}/series/{sample.series_uid}"
                f"/instances/{sample.instance_uid}/frames/{min(frames_of(sample), 2)}"
            )
            theirs = requests.get(f"{orthanc.dicom_web}/{path}", headers=accept, timeout=30)
            if not frames_of(sample) or theirs.status_code != 200:
                continue
            ours = requests.get(f"{gateway.dicom_web}/{path}", headers=accept, timeout=30)
            assert [b for _, b in parts(ours)] == [b for _, b in orthanc_parts(theirs)]
            asked += 1
    assert asked > 10


def orthanc_parts(answer: requests.Response) -> list[tuple[str, bytes]]:
    boundary = answer.headers["Content-Type"].rpartition("boundary=")[2].strip('"').encode()
    pieces = answer.content.split(b"--" + boundary)[1:-1]
    return [("", piece.partition(b"\r\n\r\n")[2][:-2]) for piece in pieces]


def test_several_frames_come_in_the_order_asked(
    client: DICOMwebClient, two_archives: TwoArchives
) -> None:
    loop = next(s for s in everything(two_archives).values() if frames_of(s) > 2)
    uids = (loop.study_uid, loop.series_uid, loop.instance_uid)
    each = [client.retrieve_instance_frames(*uids, frame_numbers=[n])[0] for n in (1, 2, 3)]
    both = client.retrieve_instance_frames(*uids, frame_numbers=[3, 1])
    assert both == [each[2], each[0]]
    assert each[0] != each[2]


def walk(base: str, archives: TwoArchives) -> Iterator[requests.Response]:
    """Every kind of answer for every instance of the split study, good and bad."""
    study = archives.split_study
    yield from (
        get(base, path)
        for path in (
            "studies",
            "series",
            "instances",
            f"studies?StudyInstanceUID={study}&includefield=all",
            f"studies/{study}",
            f"studies/{study}/series?includefield=all",
            f"studies/{study}/instances?includefield=all",
            f"studies/{study}/metadata",
            f"studies/{study}/thumbnail",
            f"studies/{study}/series/1.2.3",
            "studies/1.2.3/series/1.2.3/metadata",
        )
    )
    for sample in everything(archives).values():
        if sample.study_uid == study:
            path = f"studies/{study}/series/{sample.series_uid}/instances/{sample.instance_uid}"
            yield from (
                get(base, f"{path}{more}")
                for more in ("", "/metadata", "/frames/1", "/frames/99", "/rendered", "/thumbnail")
            )


def get(base: str, path: str) -> requests.Response:
    return requests.get(f"{base}/{path}", timeout=60)


def test_no_answer_tells_where_an_archive_is(
    remembering: Gateway, two_archives: TwoArchives
) -> None:
    addresses = [f":{o.port}".encode() for o in (two_archives.north, two_archives.south)]
    names = [o.name.encode() for o in (two_archives.north, two_archives.south)]
    for answer in walk(remembering.dicom_web, two_archives):
        told = json.dumps(dict(answer.headers)).encode() + answer.content
        assert not [word for word in addresses + names if word in told], answer.url
        assert "Orthanc" not in json.dumps(dict(answer.headers))


@pytest.fixture
def thirds(
    two_archives: TwoArchives, empty_orthanc: Orthanc, tmp_path: Path
) -> Iterator[tuple[Gateway, list[Sample]]]:
    """A series split by instances: some in one archive only, some in the other, one in both."""
    held = everything(two_archives).values()
    largest = Counter(s.series_uid for s in held).most_common(1)[0][0]
    series = [s for s in held if s.series_uid == largest]
    assert len(series) > 3
    hold(two_archives.north, series[: len(series) // 2 + 1])
    hold(empty_orthanc, series[len(series) // 2 :])
    with serving(tmp_path, two_archives.north, empty_orthanc) as gateway:
        yield gateway, series


def test_a_series_split_by_instances_is_whole(thirds: tuple[Gateway, Sequence[Sample]]) -> None:
    gateway, series = thirds
    client = DICOMwebClient(gateway.dicom_web)
    uids = Counter(s.instance_uid for s in series)
    study, one = series[0].study_uid, series[0].series_uid

    [found] = client.search_for_studies(search_filters={"StudyInstanceUID": study})
    assert value(found, "00201208") == len(series)
    [row] = client.search_for_series(study)
    assert value(row, "00201209") == len(series)
    rows = client.search_for_instances(study, one)
    assert Counter(value(r, "00080018") for r in rows) == uids
    for path in (f"studies/{study}", f"studies/{study}/series/{one}"):
        bodies = [body for _, body in parts(get(gateway.dicom_web, path))]
        assert Counter(uid_of(b) for b in bodies) == uids
        metadata = get(gateway.dicom_web, f"{path}/metadata").json()
        assert Counter(value(m, "00080018") for m in metadata) == uids


def test_a_series_split_evenly_is_counted_whole(
    two_archives: TwoArchives, empty_orthanc: Orthanc, tmp_path: Path
) -> None:
    held = everything(two_archives).values()
    largest = Counter(s.series_uid for s in held).most_common(1)[0][0]
    series = [s for s in held if s.series_uid == largest][:4]
    hold(two_archives.north, series[:2])
    hold(empty_orthanc, series[2:])
    with serving(tmp_path, two_archives.north, empty_orthanc) as gateway:
        client = DICOMwebClient(gateway.dicom_web)
        [row] = client.search_for_studies()
        assert value(row, "00201208") == 4
        [row] = client.search_for_series(series[0].study_uid)
        assert value(row, "00201209") == 4


def test_filters_see_the_whole_of_a_split_study(
    client: DICOMwebClient, two_archives: TwoArchives
) -> None:
    held = [s for s in everything(two_archives).values() if s.study_uid == two_archives.split_study]
    for modality in {s.modality for s in held}:
        rows = client.search_for_studies(search_filters={"ModalitiesInStudy": modality})
        [row] = [r for r in rows if value(r, "0020000D") == two_archives.split_study]
        assert set(row["00080061"]["Value"]) == {s.modality for s in held}
        assert value(row, "00201208") == len(held)


def test_pages_of_any_size_add_up_to_the_whole_list(client: DICOMwebClient) -> None:
    for filters in ({}, {"ModalitiesInStudy": CT}, {"PatientName": "*a*"}):
        whole = [value(r, "0020000D") for r in client.search_for_studies(search_filters=filters)]
        for size in (1, 2, 3, 5, 100):
            pages: list[str] = []
            while page := client.search_for_studies(
                limit=size, offset=len(pages), search_filters=filters
            ):
                assert len(page) <= size
                pages += [value(r, "0020000D") for r in page]
            assert pages == whole


def patiently(base: str, path: str) -> requests.Response:
    """The answer to a client who comes back when told to: an archive that failed is left alone."""
    with requests.Session() as session:
        retries = Retry(total=3, status_forcelist=[503], respect_retry_after_header=True)
        session.mount(base, HTTPAdapter(max_retries=retries))
        return session.get(f"{base}/{path}", timeout=60)


def test_an_archive_that_is_down_is_said_and_the_rest_is_served(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    two_archives.south.kill()
    base = gateway.dicom_web

    rows = get(base, "studies")
    assert rows.status_code == 200
    assert "archive south did not answer" in rows.headers["Warning"]
    in_north = {s.study_uid for s in two_archives.in_north}
    assert {value(r, "0020000D") for r in rows.json()} == in_north

    part = get(base, f"studies/{two_archives.split_study}")
    assert part.status_code == 206
    assert "archive south did not answer" in part.headers["Warning"]
    mine = [s for s in two_archives.in_north if s.study_uid == two_archives.split_study]
    assert {uid_of(b) for _, b in parts(part)} == {s.instance_uid for s in mine}

    metadata = get(base, f"studies/{two_archives.split_study}/metadata")
    assert metadata.status_code == 206
    whole = mine[0]
    path = f"studies/{whole.study_uid}/series/{whole.series_uid}/instances/{whole.instance_uid}"
    assert get(base, path).status_code == 200
    assert "Warning" not in get(base, path).headers

    lost = next(s for s in two_archives.in_south if s.study_uid in two_archives.south_studies)
    for path in (
        f"studies/{lost.study_uid}",
        f"studies/{lost.study_uid}/metadata",
        f"studies/{lost.study_uid}/series/{lost.series_uid}/instances/{lost.instance_uid}",
        f"studies/{two_archives.split_study}/series/{next(iter(two_archives.south_series))}",
    ):
        answer = get(base, path)
        assert answer.status_code == 503, path
        assert int(answer.headers["Retry-After"]) > 0
        assert "south" in answer.json()["detail"]

    two_archives.south.start()
    assert patiently(base, f"studies/{lost.study_uid}").status_code == 200
    assert "Warning" not in get(base, "studies").headers


def test_what_both_hold_is_given_by_the_one_that_answers(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    shared = next(s for s in two_archives.in_south if s.study_uid == two_archives.shared_study)
    path = f"studies/{shared.study_uid}/series/{shared.series_uid}/instances/{shared.instance_uid}"
    two_archives.north.kill()
    [(_, body)] = parts(get(gateway.dicom_web, path))
    assert body == shared.path.read_bytes()


def test_all_archives_down_is_said_and_not_an_empty_list(
    gateway: Gateway, two_archives: TwoArchives
) -> None:
    two_archives.north.kill()
    two_archives.south.kill()
    for path in ("studies", f"studies/{two_archives.split_study}", "studies/1.2.3/metadata"):
        answer = get(gateway.dicom_web, path)
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0


def test_an_archive_that_never_answers_costs_its_part_and_no_more_than_its_time(
    two_archives: TwoArchives, tmp_path: Path
) -> None:
    with serving(tmp_path, two_archives.north, two_archives.south, timeout_seconds=0.7) as gateway:
        two_archives.south.freeze()
        rows = get(gateway.dicom_web, "studies")
        assert rows.status_code == 200
        assert "archive south did not answer" in rows.headers["Warning"]
        assert rows.elapsed.total_seconds() < 10

        two_archives.north.freeze()
        late = get(gateway.dicom_web, "studies")
        assert late.status_code == 504
        assert late.elapsed.total_seconds() < 10


def test_an_archive_that_died_since_the_study_was_remembered_is_said(
    two_archives: TwoArchives, tmp_path: Path
) -> None:
    archives = {
        "north": archive(two_archives.north.dicom_web),
        "south": archive(two_archives.south.dicom_web),
    }
    with ForkedGateway(tmp_path, archives) as gateway:
        base, study = gateway.dicom_web, two_archives.split_study
        whole = get(base, f"studies/{study}")
        assert whole.status_code == 200
        two_archives.south.stop()
        part = get(base, f"studies/{study}")
        assert part.status_code == 206
        assert "archive south did not answer" in part.headers["Warning"]
        mine = {s.instance_uid for s in two_archives.in_north if s.study_uid == study}
        assert {uid_of(b) for _, b in parts(part)} == mine


@pytest.mark.parametrize("name", ["Müller*", "müller^jürgen"])
def test_name_beyond_ascii_is_found_in_an_orthanc_that_does_not_decode(
    gateway: Gateway, name: str
) -> None:
    query = {"PatientName": name, "limit": "10"}
    answer = requests.get(f"{gateway.dicom_web}/studies", params=query, timeout=30)
    assert answer.status_code == 200
    assert answer.json()

"""`/dicom-web` against archives that misbehave and callers that mean harm."""

from __future__ import annotations

import asyncio
import fnmatch
import json
from typing import Any

import aiohttp
import pytest
from pytest_aiohttp import AiohttpClient

from gateway.app import build_app
from gateway.config import Settings
from gateway.routes import dicomweb
from tests import wire
from tests.dicom import row
from tests.doubles import FRAME, Double, Held
from tests.fault_archive import (
    Answer,
    FaultArchive,
    Seen,
    gzip_bomb,
    json_answer,
    multipart_answer,
)
from tests.native_dicom import parsed
from tests.standing import Client

PUBLIC = "https://gw.example.org/images"
ORIGIN = "https://viewer.example.org"
HELD = (
    Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1"),
    Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2"),
    Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="SR"),
    Held(study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1"),
)
ONE = f"/dicom-web{HELD[0].path}"


def settings(base: str, **more: Any) -> Settings:
    cache = {"fresh_seconds": 0, "stale_seconds": 0, "absent_seconds": 0}
    archive = {"type": "dicomweb", "qido_rs": base, "timeout_seconds": 2} | more
    server = {"public_url": PUBLIC, "cors_origins": [ORIGIN]}
    return Settings.model_validate(
        {"server": server, "archives": {"north": archive}, "cache": cache}
    )


@pytest.fixture
async def gateway(aiohttp_client: AiohttpClient, fault_archive: FaultArchive) -> Client:
    return await aiohttp_client(build_app(settings(fault_archive.url)))


@pytest.fixture
def double(fault_archive: FaultArchive) -> Double:
    return Double(fault_archive, HELD)


BAD_UIDS = {
    "traversal": b"..%2f..%2fsystem",
    "encoded twice": b"..%252f..%252fsystem",
    "dots": b"%2e%2e",
    "backslash": b"..%5c..%5csystem",
    "slash in the middle": b"1.2%2f3",
    "null": b"1.2.3%00",
    "line end": b"1.2.3%0d%0aX-Evil:%201",
    "newline": b"1.2.3%0a",
    "query": b"1.2.3%3fx=1",
    "fragment": b"1.2.3%23x",
    "semicolon": b"1.2.3;x=1",
    "space": b"1.2.3%20",
    "plus": b"+1.2.3",
    "65 characters": b"1." * 32 + b"1",
    "arabic digits": b"1.2.%D9%A3",
    "fullwidth digits": b"1.2.%EF%BC%93",
    "no utf-8": b"1.2.%ff",
    "wildcard": b"1.2.*",
    "list": b"1.2.3,1.2.4",
    "letters": b"abc",
    "dot at the end": b"1.2.3.",
    "two dots": b"1..2",
    "dot at the start": b".1.2",
}


@pytest.mark.parametrize("uid", BAD_UIDS.values(), ids=BAD_UIDS)
@pytest.mark.parametrize(
    ("template", "parameter"),
    [
        (b"/dicom-web/studies/%b", "study"),
        (b"/dicom-web/studies/%b/series", "study"),
        (b"/dicom-web/studies/%b/thumbnail", "study"),
        (b"/dicom-web/studies/1.2.3/series/%b/metadata", "series"),
        (b"/dicom-web/studies/1.2.3/series/1.2/instances/%b", "instance"),
        (b"/dicom-web/studies/1.2.3/series/1.2/instances/%b/bulkdata/7FE00010", "instance"),
    ],
)
async def test_what_is_no_uid_never_reaches_an_archive(
    gateway: Client, fault_archive: FaultArchive, uid: bytes, template: bytes, parameter: str
) -> None:
    reply = await wire.get(gateway.make_url("/"), template % uid)
    assert reply.status == 400
    assert b"application/problem+json" in reply.head
    problem = json.loads(reply.body)
    assert problem["parameter"] == parameter
    assert b"X-Evil" not in reply.head
    assert fault_archive.requests == []


@pytest.mark.parametrize(
    "target",
    [
        b"/dicom-web/studies/../../system",
        b"/dicom-web/studies/1.2.3/../1.2.4",
        b"/dicom-web//studies/1.2.3",
        b"/dicom-web/studies/",
        b"/dicom-web/studies/1.2.3/",
        b"/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1/bulkdata",
        b"/dicom-web/system",
        b"/dicom-web%2fstudies",
        b"/system",
        b"http://evil.example.org/dicom-web/studies",
        b"//evil.example.org/dicom-web/studies",
        b"*",
        b"dicom-web/studies",
        b"/dicom-web/studies/\xd9\xa3",
        b"/dicom-web/studies?\xff\xfe=1",
    ],
)
async def test_paths_that_mean_something_else_are_refused(
    gateway: Client, fault_archive: FaultArchive, target: bytes
) -> None:
    reply = await wire.get(gateway.make_url("/"), target)
    assert reply.status in {400, 404}
    assert fault_archive.requests == []


@pytest.mark.parametrize(
    "frames",
    ["0", "-1", "1,0", "a", "1,,2", "1-3", "%D9%A1", "1e3", "9" * 10, ",".join("1" * 20_000)],
)
async def test_frames_are_numbers_from_one(
    gateway: Client, fault_archive: FaultArchive, frames: str
) -> None:
    answer = await gateway.get(f"{ONE}/frames/{frames}")
    assert answer.status == 400
    assert fault_archive.requests == []


@pytest.mark.parametrize(
    "path", ["x", "7FE0001", "7FE00010/", "7FE00010/0", "../../metadata", "..%2f"]
)
async def test_bulk_data_is_named_by_an_attribute(
    gateway: Client, fault_archive: FaultArchive, path: str
) -> None:
    reply = await wire.get(gateway.make_url("/"), f"{ONE}/bulkdata/{path}".encode())
    assert reply.status in {400, 404}
    assert fault_archive.requests == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("StudyInstanceUID=1.2&StudyInstanceUID=1.3", "StudyInstanceUID"),
        ("StudyInstanceUID=1.2&0020000D=1.3", "0020000D"),
        ("0020000d=1.2&0020000D=1.3", "0020000D"),
        ("studyinstanceuid=1.2", "studyinstanceuid"),
        ("StudyInstanceUID=..%2f..%2fsystem", "StudyInstanceUID"),
        ("StudyInstanceUID=*", "StudyInstanceUID"),
        ("StudyInstanceUID=1.2,", None),
        ("StudyInstanceUID=" + "1" * 65, "StudyInstanceUID"),
        ("NoSuchAttribute=1", "NoSuchAttribute"),
        ("99999999=1", "99999999"),
        ("PatientName=a%00b", "PatientName"),
        ("PatientName=a%0d%0aX-Evil:1", "PatientName"),
        ("PatientName=a%0ab", "PatientName"),
        ("PatientName=" + "a" * 7000, None),
        ("StudyDate=yesterday", "StudyDate"),
        ("StudyDate=%D9%A2%D9%A0%D9%A2%D9%A4%D9%A0%D9%A1%D9%A0%D9%A1", "StudyDate"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=%D9%A1", "limit"),
        ("offset=-1", "offset"),
        ("offset=1.5", "offset"),
        ("fuzzymatching=yes", "fuzzymatching"),
        ("includefield=NoSuchAttribute", "includefield"),
        ("includefield=..%2f..%2fsystem", "includefield"),
        ("SOPInstanceUID=1.2", "SOPInstanceUID"),
        ("_method=DELETE", "_method"),
        ("PatientName[$ne]=x", "PatientName[$ne]"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused_by_name(
    gateway: Client, fault_archive: FaultArchive, query: str, parameter: str | None
) -> None:
    reply = await wire.get(gateway.make_url("/"), f"/dicom-web/studies?{query}".encode())
    if parameter is None:
        assert reply.status in {200, 204, 400}
        return
    assert reply.status == 400
    assert json.loads(reply.body)["parameter"] == parameter
    assert b"X-Evil" not in reply.head
    assert fault_archive.requests == []


async def test_an_archive_sees_the_query_in_our_words_only(gateway: Client, double: Double) -> None:
    await gateway.get(
        "/dicom-web/studies?0020000D=1.2.3&00100020=P1&limit=5&accept=application/json"
    )
    [seen] = double.server.requests
    assert seen.path == (
        "/studies?StudyInstanceUID=1.2.3&PatientID=P1&includefield=00100020,0020000D&limit=10"
    )


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/dicom-web/studies", "text/html"),
        ("/dicom-web/studies", 'multipart/related; type="application/dicom+json"'),
        ("/dicom-web/studies/1.2.3/metadata", "application/dicom+xml"),
        ("/dicom-web/studies/1.2.3", "application/zip"),
        ("/dicom-web/studies/1.2.3", "application/dicom"),
        ("/dicom-web/studies/1.2.3", 'multipart/related; type="image/jls"'),
        ("/dicom-web/studies/1.2.3", "nonsense"),
        ("/dicom-web/studies/1.2.3", 'multipart/related; type="application/dicom"; q=0'),
        ("/dicom-web/studies/1.2.3/metadata", "image/png"),
        (ONE, 'multipart/related; type="application/dicom"; transfer-syntax=../x'),
        (f"{ONE}/frames/1,2", "application/octet-stream"),
        (f"{ONE}/frames/1", "application/dicom"),
        (f"{ONE}/thumbnail", "application/dicom"),
        (f"{ONE}/rendered", "image/webp"),
    ],
)
async def test_what_cannot_be_given_is_not_acceptable_before_an_archive_is_asked(
    gateway: Client, fault_archive: FaultArchive, path: str, accept: str
) -> None:
    answer = await gateway.get(path, headers={"Accept": accept})
    assert answer.status == 406
    assert answer.content_type == "application/problem+json"
    assert fault_archive.requests == []


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "multipart/related",
        'multipart/related; type="application/dicom"',
        "multipart/related; type=application/dicom; transfer-syntax=*",
        'multipart/related; type="application/dicom"; transfer-syntax="*"',
        'text/html, multipart/related; type="application/dicom"; q=0.1',
    ],
)
async def test_accept_is_read_tolerantly(
    gateway: Client, double: Double, accept: str | None
) -> None:
    answer = await gateway.get(ONE, headers={} if accept is None else {"Accept": accept})
    assert answer.status == 200
    assert HELD[0].file in await answer.read()
    assert double.server.requests


XML = 'multipart/related; type="application/dicom+xml"'
DATA_SETS = [
    "/dicom-web/studies",
    "/dicom-web/series",
    "/dicom-web/instances",
    "/dicom-web/studies/1.2.3/series",
    "/dicom-web/studies/1.2.3/instances",
    "/dicom-web/studies/1.2.3/series/1.2.3.1/instances",
    "/dicom-web/studies/1.2.3/metadata",
    "/dicom-web/studies/1.2.3/series/1.2.3.1/metadata",
    f"{ONE}/metadata",
]


@pytest.mark.parametrize("path", DATA_SETS)
async def test_xml_says_what_json_says(gateway: Client, double: Double, path: str) -> None:
    expected = await (await gateway.get(path)).json(content_type="application/dicom+json")
    answer = await gateway.get(path, headers={"Accept": XML})
    assert answer.status == 200
    assert answer.content_type == "multipart/related"
    assert 'type="application/dicom+xml"' in answer.headers["Content-Type"]
    bodies = []
    async for part in aiohttp.MultipartReader.from_response(answer):
        assert isinstance(part, aiohttp.BodyPartReader)
        assert part.headers["Content-Type"] == "application/dicom+xml"
        bodies.append(await part.read())
    assert [parsed(bytes(body)) for body in bodies] == expected
    by_parameter = await gateway.get(path, params={"accept": XML})
    assert by_parameter.content_type == "multipart/related"
    head = await gateway.head(path, headers={"Accept": XML})
    assert head.status == 200
    assert head.content_type == "multipart/related"


@pytest.mark.parametrize("path", [f"{ONE}/metadata", "/dicom-web/studies?StudyInstanceUID=1.2.4"])
async def test_one_result_comes_as_plain_xml_if_asked_so(
    gateway: Client, double: Double, path: str
) -> None:
    answer = await gateway.get(path, headers={"Accept": "application/dicom+xml"})
    assert answer.content_type == "application/dicom+xml"
    [expected] = await (await gateway.get(path)).json(content_type="application/dicom+json")
    assert parsed(await answer.read()) == expected


async def test_several_results_are_no_single_xml_part(gateway: Client, double: Double) -> None:
    plain = {"Accept": "application/dicom+xml"}
    assert (await gateway.get("/dicom-web/studies", headers=plain)).status == 406
    none = await gateway.get("/dicom-web/studies?PatientID=nobody", headers=plain)
    assert none.status == 204
    both = {"Accept": "application/dicom+xml, */*;q=0.1"}
    answer = await gateway.get("/dicom-web/studies", headers=both)
    assert answer.content_type == "application/dicom+json"


async def test_one_instance_comes_without_multipart_if_asked_so(
    gateway: Client, double: Double
) -> None:
    answer = await gateway.get(ONE, headers={"Accept": "application/dicom"})
    assert await answer.read() == HELD[0].file
    assert answer.headers["Content-Type"].startswith("application/dicom; transfer-syntax=")
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


FOREIGN = [
    "/dicom-web/studies/1.2.3/series/1.2.4.1",
    "/dicom-web/studies/1.2.3/series/1.2.4.1/metadata",
    "/dicom-web/studies/1.2.3/series/1.2.4.1/thumbnail",
    "/dicom-web/studies/1.2.3/series/1.2.4.1/instances/1.2.4.1.1",
    "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.4.1.1",
    "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.4.1.1/metadata",
    "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.4.1.1/frames/1",
    "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.4.1.1/rendered",
    "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.4.1.1/thumbnail",
    "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.4.1.1/bulkdata/7FE00010",
    "/dicom-web/studies/1.2.3/series/1.2.3.2/instances/1.2.3.1.1",
]


@pytest.mark.parametrize("path", FOREIGN)
@pytest.mark.parametrize("ignores_parents", [False, True])
async def test_what_is_not_in_the_study_is_not_found_whatever_the_archive_thinks(
    gateway: Client,
    fault_archive: FaultArchive,
    path: str,
    ignores_parents: bool,  # noqa: FBT001
) -> None:
    Double(fault_archive, HELD, ignores_parents=ignores_parents)
    answer = await gateway.get(path)
    assert answer.status == 404
    assert HELD[3].instance.encode() not in await answer.read()


async def test_rows_of_other_studies_are_not_listed(
    gateway: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("*", json_answer([Double(fault_archive, HELD).series_row(HELD[3])]))
    assert (await gateway.get("/dicom-web/studies/1.2.3/series")).status == 204


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, 502),
        (401, 502),
        (403, 502),
        (429, 503),
        (500, 502),
        (502, 502),
        (503, 503),
        (302, 502),
    ],
)
async def test_an_archives_failure_over_a_known_object_is_told_by_its_name(
    gateway: Client, double: Double, status: int, expected: int
) -> None:
    double.server.on(HELD[0].path, Answer(status=status, headers={"Retry-After": "7"}))
    answer = await gateway.get(ONE)
    assert answer.status == expected
    problem = await answer.json(content_type="application/problem+json")
    assert problem["archive"] == "north"
    assert "WWW-Authenticate" not in answer.headers
    if expected == 503:
        assert answer.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    "answer",
    [Answer(status=204, content_type=None), json_answer([]), Answer(status=404), Answer()],
    ids=["204", "[]", "404", "empty"],
)
async def test_no_match_is_204_however_the_archive_says_it(
    gateway: Client, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("*", answer)
    found = await gateway.get("/dicom-web/studies?PatientID=nobody")
    assert (found.status, await found.read()) == (204, b"")
    assert (await gateway.get("/dicom-web/studies/1.2.3")).status == 404


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>login"),
        Answer(body=b"[{"),
        Answer(body=b"[{}]", cut_after=2),
        gzip_bomb(200),
        Answer(raw=b"x\r\n\r\n"),
    ],
)
async def test_an_archive_that_talks_nonsense_is_a_silent_one(
    gateway: Client, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("*", answer)
    found = await gateway.get("/dicom-web/studies")
    assert found.status == 503
    assert "north" in (await found.json(content_type="application/problem+json"))["detail"]


@pytest.mark.parametrize("framing", ["close", "length", "chunked"])
async def test_a_study_cut_by_the_archive_never_looks_complete(
    gateway: Client, double: Double, framing: str
) -> None:
    whole = multipart_answer([HELD[0].file, HELD[1].file], framing=framing)
    cut = len(whole.body) - 40
    double.server.on(
        "/studies/1.2.3/series/1.2.3.1",
        multipart_answer([HELD[0].file, HELD[1].file], framing=framing, cut_after=cut),
    )
    answer = await gateway.get("/dicom-web/studies/1.2.3/series/1.2.3.1")
    assert answer.status == 200
    with pytest.raises(aiohttp.ClientError):
        await answer.read()


async def test_a_cut_answer_is_a_reset_for_those_who_cannot_tell_otherwise(
    gateway: Client, double: Double
) -> None:
    """HTTP/1.0 ends a body by ending the connection: only a reset says that it was not the end."""
    large = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
    body = large.file + bytes(300_000)
    double.server.on(HELD[0].path, multipart_answer([body], cut_after=200_000))
    reply = await wire.get(
        gateway.make_url("/"), ONE.encode(), b"Accept: application/dicom", version=b"1.0"
    )
    assert reply.is_reset


async def is_broken(gateway: Client, path: str, **fields: str) -> bool:
    """Whether the answer is an error, or breaks off."""
    try:
        answer = await gateway.get(path, headers=fields)
        await answer.read()
    except aiohttp.ClientError:
        return True
    return answer.status >= 400


async def test_a_part_that_lies_about_its_length_breaks_the_answer(
    gateway: Client, double: Double
) -> None:
    content = HELD[0].file
    head = b"--b\r\nContent-Type: application/dicom\r\nContent-Length: %d\r\n\r\n"
    for lie in (len(content) - 5, len(content) + 5):
        body = head % lie + content + b"\r\n--b--\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=b'
        double.server.on(HELD[0].path, Answer(body=body, content_type=kind))
        assert await is_broken(gateway, ONE, Accept="application/dicom")


async def test_an_archive_that_fails_after_its_head_is_told_by_a_status(
    gateway: Client, double: Double
) -> None:
    double.server.on(f"{HELD[0].path}/frames/1", multipart_answer([FRAME], cut_after=0))
    answer = await gateway.get(f"{ONE}/frames/1")
    assert answer.status == 502


async def test_metadata_that_fails_midway_is_cut_and_never_a_second_answer(
    aiohttp_client: AiohttpClient, fault_archive: FaultArchive
) -> None:
    """Compressed bytes may all be waiting when the failure comes: nothing has left, yet all has."""
    async with FaultArchive() as south:
        Double(fault_archive, HELD[:2])
        Double(south, HELD[2:3])
        south.on("*/metadata", Answer(status=500))
        one = settings(fault_archive.url)
        archives = dict(one.archives) | {"south": settings(south.url).archives["north"]}
        gateway = await aiohttp_client(build_app(one.model_copy(update={"archives": archives})))
        for coding in ("zstd", "gzip", "identity"):
            path = "/dicom-web/studies/1.2.3/metadata"
            assert await is_broken(gateway, path, **{"Accept-Encoding": coding})


async def test_metadata_names_bulk_data_of_ours(gateway: Client, double: Double) -> None:
    answer = await gateway.get(f"{ONE}/metadata")
    [found] = await answer.json(content_type="application/dicom+json")
    own = f"{PUBLIC}/dicom-web{HELD[0].path}/bulkdata/7FE00010"
    assert found["7FE00010"]["BulkDataURI"] == own
    assert "127.0.0.1" not in await answer.text()
    bulk = await gateway.get(f"{ONE}/bulkdata/7FE00010", headers={"Accept": "*/*"})
    assert b"bulk" in await bulk.read()
    single = {"Accept": "application/octet-stream"}
    alone = await gateway.get(f"{ONE}/bulkdata/7FE00010", headers=single)
    assert await alone.read() == b"bulk"
    wrong = {"Accept": 'multipart/related; type="image/jpeg"'}
    assert (await gateway.get(f"{ONE}/bulkdata/7FE00010", headers=wrong)).status == 406
    assert (await gateway.get(f"{ONE}/bulkdata/00100010")).status == 404


def paths() -> list[str]:
    """Every GET route of the surface, filled in with what is held."""
    named = {
        "study": "1.2.3",
        "series": "1.2.3.1",
        "instance": "1.2.3.1.1",
        "frames": "1",
        "path": "7FE00010",
    }
    return [
        route.path.replace("{path:.+}", "{path}").format(**named)
        for route in dicomweb.routes()
        if route.method == "GET"
    ]


@pytest.mark.parametrize("path", paths())
async def test_head_tells_what_get_would(gateway: Client, double: Double, path: str) -> None:
    got, head = await gateway.get(path), await gateway.head(path)
    assert head.status == got.status
    assert await head.read() == b""
    framing = {"Content-Length", "Transfer-Encoding", "Content-Encoding"}
    assert set(head.headers) - framing == set(got.headers) - framing
    assert head.content_type == got.content_type
    if {"Content-Length"} <= set(head.headers) & set(got.headers):
        assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert (await gateway.get(path)).status == got.status  # on the same connection


@pytest.mark.parametrize("path", [*paths(), "/dicom-web/nothing", "/dicom-web/studies/x"])
async def test_pages_of_listed_origins_may_read_every_answer(
    gateway: Client, double: Double, path: str
) -> None:
    answer = await gateway.get(path, headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Warning" in answer.headers["Access-Control-Expose-Headers"]
    assert "Origin" in ",".join(answer.headers.getall("Vary"))
    assert "Access-Control-Allow-Credentials" not in answer.headers
    other = await gateway.get(path, headers={"Origin": "https://evil.example.org"})
    assert "Access-Control-Allow-Origin" not in other.headers


async def test_preflight_is_answered_without_an_archive(
    gateway: Client, fault_archive: FaultArchive
) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = await gateway.options(ONE, headers=asked)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    plain = await gateway.options(ONE)
    assert plain.status == 204
    assert "GET" in plain.headers["Allow"]
    assert fault_archive.requests == []


@pytest.mark.parametrize("path", ["/dicom-web", "/dicom-web/"])
async def test_the_service_says_what_it_offers(
    gateway: Client, fault_archive: FaultArchive, path: str
) -> None:
    wadl = await gateway.options(path)
    assert wadl.status == 200
    assert wadl.content_type == "application/vnd.sun.wadl+xml"
    assert f'<resources base="{PUBLIC}/dicom-web">' in await wadl.text()
    told = await gateway.options(path, headers={"Accept": "application/json"})
    described = await told.json()
    assert described["application"]["resources"]["base"] == f"{PUBLIC}/dicom-web"
    assert (await gateway.options(path, headers={"Accept": "text/html"})).status == 406
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    assert (await gateway.options(path, headers=preflight)).status == 204
    assert (await gateway.get(path)).status == 405
    assert fault_archive.requests == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_nothing_can_be_written(
    gateway: Client, fault_archive: FaultArchive, method: str
) -> None:
    for path in ("/dicom-web/studies", "/dicom-web/studies/1.2.3"):
        answer = await gateway.request(method, path, data=b"x")
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"]
        assert answer.content_type == "application/problem+json"
    assert fault_archive.requests == []


async def test_no_header_of_a_caller_reaches_an_archive_and_none_of_its_a_caller(
    gateway: Client, double: Double
) -> None:
    sent = {
        "Authorization": "Bearer canary",
        "Cookie": "canary=1",
        "Forwarded": "host=canary",
        "X-Forwarded-Host": "canary",
        "X-Forwarded-For": "canary",
        "Host": "canary.example.org",
        "Referer": "http://canary/",
        "Origin": "https://canary",
        "Range": "bytes=0-9",
        "If-None-Match": "canary",
        "X-Api-Key": "canary",
        "Accept-Language": "canary",
        "User-Agent": "canary",
        "X-Request-Id": "canary-canary",
    }
    told = {
        "Server": "Orthanc canary",
        "Set-Cookie": "canary=1",
        "Access-Control-Allow-Origin": "*",
        "X-Powered-By": "canary",
        "WWW-Authenticate": "Basic realm=canary",
        "Content-Location": "http://canary/",
        "Location": "http://canary/",
        "Via": "canary",
        "Warning": "299 canary",
    }
    double.server.on(HELD[0].path, multipart_answer([HELD[0].file], headers=told))
    answer = await gateway.get(ONE, headers=sent)
    assert answer.status == 200
    assert answer.headers["X-Request-Id"] == "canary-canary"
    said = {n: v for n, v in answer.headers.items() if n.lower() != "x-request-id"}
    assert "canary" not in json.dumps(said)
    for seen in double.server.requests:
        assert "canary" not in str(seen.headers)
        assert seen.header("Range") is None


async def test_a_full_list_says_that_there_is_more_only_if_there_is(
    gateway: Client, double: Double
) -> None:
    more = await gateway.get("/dicom-web/studies?limit=1")
    assert "additional results" in more.headers["Warning"]
    exact = await gateway.get("/dicom-web/studies?limit=2")
    assert "Warning" not in exact.headers
    assert len(await exact.json(content_type=None)) == 2


async def test_an_offset_that_would_hold_everything_is_refused(
    gateway: Client, fault_archive: FaultArchive
) -> None:
    answer = await gateway.get("/dicom-web/studies?offset=100001")
    assert answer.status == 403
    assert fault_archive.requests == []


async def test_thumbnails_are_validated_by_their_tag(gateway: Client, double: Double) -> None:
    first = await gateway.get(f"{ONE}/thumbnail")
    assert first.status == 200
    assert first.content_type == "image/jpeg"
    for given in (first.headers["ETag"], f'"x", W/{first.headers["ETag"]}', "*"):
        again = await gateway.get(f"{ONE}/thumbnail", headers={"If-None-Match": given})
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    other = await gateway.get(f"{ONE}/thumbnail", headers={"If-None-Match": '"other"'})
    assert other.status == 200


async def test_a_thumbnail_that_stands_for_a_failure_is_asked_for_again(
    gateway: Client, double: Double
) -> None:
    for path in ("*/thumbnail", "*/rendered", HELD[0].path):
        double.server.on(path, Answer(status=503))
    icon = await gateway.get(f"{ONE}/thumbnail")
    assert (icon.status, icon.headers["Cache-Control"]) == (200, "private, no-cache")
    again = await gateway.get(f"{ONE}/thumbnail", headers={"If-None-Match": icon.headers["ETag"]})
    assert (again.status, again.headers["Cache-Control"]) == (304, "private, no-cache")


@pytest.mark.parametrize("resource", ["rendered", "thumbnail"])
@pytest.mark.parametrize("frames", ["1,2", "1,99", "1,1"])
async def test_pictures_are_of_one_frame(
    gateway: Client, fault_archive: FaultArchive, resource: str, frames: str
) -> None:
    answer = await gateway.get(f"{ONE}/frames/{frames}/{resource}")
    assert answer.status == 400
    problem = await answer.json(content_type="application/problem+json")
    assert problem["parameter"] == "frames"
    assert fault_archive.requests == []


@pytest.mark.parametrize("resource", ["rendered", "thumbnail"])
async def test_a_frame_beyond_the_last_has_no_picture(
    gateway: Client, double: Double, resource: str
) -> None:
    one = HELD[0]
    told = row(
        StudyInstanceUID=one.study,
        SeriesInstanceUID=one.series,
        SOPInstanceUID=one.instance,
        SOPClassUID=one.sop_class,
        NumberOfFrames=1,
    )
    double.server.on("/studies/*/instances", json_answer([told]))
    assert (await gateway.get(f"{ONE}/frames/2/{resource}")).status == 404


async def test_thumbnails_are_private_and_have_heads(gateway: Client, double: Double) -> None:
    whole = await gateway.get(f"{ONE}/thumbnail?viewport=32,32")
    head = await gateway.head(f"{ONE}/thumbnail?viewport=32,32")
    assert (head.status, await head.read()) == (200, b"")
    for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Vary"):
        assert head.headers[name] == whole.headers[name]
    assert whole.headers["Cache-Control"] == "private, max-age=300"
    assert "Accept" in whole.headers["Vary"]


@pytest.mark.parametrize(
    "query",
    [
        "viewport=0,10",
        "viewport=10",
        "viewport=10,10,10",
        "viewport=a,b",
        "viewport=10,10&viewport=20,20",
        "nonsense=1",
    ],
)
async def test_a_thumbnail_takes_a_viewport_only(
    gateway: Client, fault_archive: FaultArchive, query: str
) -> None:
    answer = await gateway.get(f"{ONE}/thumbnail?{query}")
    assert answer.status == 400
    problem = await answer.json(content_type="application/problem+json")
    assert problem["parameter"] == query.split("=")[0]
    assert fault_archive.requests == []


async def test_the_accept_parameter_wins(gateway: Client, double: Double) -> None:
    answer = await gateway.get(
        f"{ONE}/thumbnail?accept=image/png", headers={"Accept": "text/html,image/avif,*/*;q=0.8"}
    )
    assert answer.content_type == "image/png"


async def test_a_caller_who_leaves_ends_the_archives_work(gateway: Client, double: Double) -> None:
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + HELD[0].file
    double.server.on(
        HELD[0].path,
        Answer(
            body=head + bytes(1 << 16),
            content_type="multipart/related; boundary=b",
            framing="chunked",
            endless=True,
        ),
    )
    answer = await gateway.get(ONE)
    await answer.content.readany()
    [seen] = [s for s in double.server.requests if s.route == HELD[0].path]
    assert not seen.ended.is_set()
    answer.close()
    await asyncio.wait_for(seen.ended.wait(), 10)
    assert seen.ending == "left"


@pytest.mark.parametrize("path", ["/studies", "/studies/*/series", HELD[0].path])
async def test_a_caller_who_leaves_before_the_first_byte_ends_the_archives_work(
    gateway: Client, double: Double, path: str
) -> None:
    double.server.on(path, Answer(stall=True))
    asking = asyncio.ensure_future(gateway.get(ONE))
    waiting: list[Seen] = []
    for count in range(1, 9):
        seen = await double.server.wait_for(count)
        waiting = [one for one in seen if fnmatch.fnmatchcase(one.route, path)]
        if waiting:
            break
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.wait_for(waiting[0].ended.wait(), 10)
    assert waiting[0].ending == "left"

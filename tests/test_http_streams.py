"""Bodies on their way out: whole or broken, in constant memory, no faster than they are read."""

from __future__ import annotations

import asyncio
import gzip
import re
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpClient

from gateway import http_streams
from gateway.app import build_app
from gateway.config import Settings
from gateway.errors import ArchiveUnreachable
from gateway.model import Part, Span
from gateway.rules.dicom_json import Dataset
from gateway.rules.media import Form
from tests import wire
from tests.doubles import Double, Held
from tests.fault_archive import Answer, FaultArchive
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.native_dicom import parsed
from tests.standing import Client

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20
UNPACKED: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    None: bytes,
}
LARGE = b"x" * 70_000
ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
ONE_PATH = f"/dicom-web{ONE.path}"
MULTIPART = Form(is_multipart=True, types=("application/dicom",))
SINGLE = Form(is_multipart=False, types=("application/dicom",))
Handler = Callable[[web.Request], Any]


async def chunks(*items: bytes | Exception) -> AsyncIterator[bytes]:
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


async def parts(*items: Part | Exception) -> AsyncIterator[Part]:
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


def part(*items: bytes | Exception, length: int | None = None) -> Part:
    return Part(content_type="application/dicom", chunks=chunks(*items), length=length)


BROKEN = ArchiveUnreachable("its answer broke off", archive="north")


@pytest.fixture
def serve(aiohttp_client: AiohttpClient) -> Callable[[Handler], Any]:
    """A client of the gateway's server whose only path of interest is `/x`."""

    async def one(handler: Handler) -> Client:
        app = build_app(Settings())
        app.router.add_get("/x", handler)
        return await aiohttp_client(app)

    return one


async def test_parts_are_framed_with_what_is_known_of_them(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        both = parts(part(b"ab", b"c", length=3), part())
        return await http_streams.stream_parts(request, both, MULTIPART)

    answer = await (await serve(handler)).get("/x")
    kind, boundary = answer.headers["Content-Type"].rsplit("; boundary=", 1)
    assert kind == 'multipart/related; type="application/dicom"'
    assert re.fullmatch(r"[0-9a-f]{32}", boundary)
    assert (
        await answer.read()
        == (
            f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: 3\r\n\r\nabc\r\n"
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n\r\n--{boundary}--\r\n"
        ).encode()
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_length_of_a_single_part_in_multipart_is_told(serve: Any, method: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        one = parts(part(b"ab", b"c" * 70_000, length=70_002))
        return await http_streams.stream_parts(request, one, MULTIPART, single=True)

    answer = await (await serve(handler)).request(method, "/x")
    boundary = answer.headers["Content-Type"].rsplit("=", 1)[1]
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: 70002\r\n\r\n"
    whole = head.encode() + b"ab" + b"c" * 70_000 + f"\r\n--{boundary}--\r\n".encode()
    assert int(answer.headers["Content-Length"]) == len(whole)
    assert await answer.read() == (whole if method == "GET" else b"")


@pytest.mark.parametrize(
    "make",
    [
        lambda: parts(part(LARGE, length=len(LARGE) + 1)),
        lambda: parts(part(LARGE, length=len(LARGE) - 1)),
        lambda: parts(part(LARGE, BROKEN, length=len(LARGE) + 1)),
        lambda: parts(part(LARGE, length=len(LARGE)), part(LARGE, length=len(LARGE))),
        lambda: parts(part(LARGE, length=len(LARGE)), BROKEN),
    ],
    ids=["too short", "too long", "broken", "another part", "broken behind it"],
)
async def test_a_broken_single_part_never_has_all_of_its_length(serve: Any, make: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await http_streams.stream_parts(request, make(), MULTIPART, single=True)

    client = await serve(handler)
    reply = await wire.get(client.make_url("/"), b"/x")
    announced = re.search(rb"Content-Length: (\d+)", reply.head)
    assert reply.is_reset
    assert announced is None or len(reply.body) < int(announced[1])
    assert not re.search(rb"--[0-9a-f]{32}--", reply.raw)


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: parts(part(b"xy", length=3)), 500),
        (lambda: parts(part(b"xy", length=1)), 500),
        (lambda: parts(part(b"x", BROKEN, length=3)), 502),
        (lambda: parts(part(b"xy", length=2), BROKEN), 502),
        (lambda: parts(part(b"xy", length=2), part()), 500),
    ],
    ids=["too short", "too long", "broken", "broken behind it", "another part"],
)
@pytest.mark.parametrize("form", [MULTIPART, SINGLE])
async def test_what_is_wrong_with_a_small_single_part_is_told_by_a_status(
    serve: Any, make: Any, status: int, form: Form
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await http_streams.stream_parts(request, make(), form, single=True)

    answer = await (await serve(handler)).get("/x")
    assert answer.status == status
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_small_single_part_is_framed_like_a_large_one(serve: Any, method: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        form = SINGLE if "alone" in request.query else MULTIPART
        one = parts(part(b"x", b"y", length=2))
        return await http_streams.stream_parts(request, one, form, single=True)

    client = await serve(handler)
    answer = await client.request(method, "/x")
    boundary = answer.headers["Content-Type"].rsplit("=", 1)[1]
    whole = (
        f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: 2\r\n\r\nxy"
        f"\r\n--{boundary}--\r\n"
    )
    assert int(answer.headers["Content-Length"]) == len(whole)
    assert await answer.read() == (whole.encode() if method == "GET" else b"")
    answer = await client.request(method, "/x?alone")
    assert answer.headers["Content-Type"] == "application/dicom"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["Content-Length"] == "2"
    assert await answer.read() == (b"xy" if method == "GET" else b"")


async def test_silence_is_a_206_that_names_it(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        silent = ("north", "south")
        return await http_streams.stream_parts(request, parts(part(b"x")), SINGLE, silent=silent)

    answer = await (await serve(handler)).get("/x")
    assert answer.status == 206
    assert [w.split('"')[1].split(" did")[0] for w in answer.headers.getall("Warning")] == [
        "archive north",
        "archive south",
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: parts(part(b"x" * 100, BROKEN)),
        lambda: parts(part(b"x" * 100), BROKEN),
        lambda: parts(part(b"x" * 100), part(BROKEN)),
        lambda: parts(part(b"x" * 100, length=101)),
        lambda: parts(part(b"x" * 100, length=99)),
        lambda: parts(part(b"x" * 100), part(b"y", KeyError("a bug"))),
    ],
    ids=["in a part", "between parts", "at a part's head", "too short", "too long", "a bug"],
)
async def test_a_broken_body_has_no_clean_end(serve: Any, make: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await http_streams.stream_parts(request, make(), MULTIPART)

    client = await serve(handler)
    for version in (b"1.1", b"1.0"):
        reply = await wire.get(client.make_url("/"), b"/x", version=version)
        assert reply.is_reset
        assert not re.search(rb"--[0-9a-f]{32}--", reply.raw)


@pytest.mark.parametrize("length", [99, 101])
async def test_a_single_part_of_another_length_never_shares_its_connection(
    serve: Any, length: int
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        wrong = parts(part(b"x" * 100, length=length))
        return await http_streams.stream_parts(request, wrong, SINGLE)

    client = await serve(handler)
    request = b"GET /x HTTP/1.1\r\nHost: gateway\r\n\r\n"
    reply = await wire.send(client.make_url("/"), request * 2)
    assert reply.is_reset
    assert reply.raw.count(b"HTTP/1.1") <= 1


async def test_what_fails_at_the_first_byte_is_told_by_a_status(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await http_streams.stream_parts(request, parts(part(BROKEN)), MULTIPART)

    answer = await (await serve(handler)).get("/x")
    assert answer.status == 502
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.1, gzip;q=0.5, *;q=0", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("batches", [[], [[]], [[b'{"a":1}', b"{}"], [b"{}"]]])
async def test_json_is_one_array_however_it_is_batched(
    serve: Any,
    accepted: str,
    coding: str | None,
    batches: list[list[bytes]],
) -> None:
    async def all_batches() -> AsyncIterator[list[bytes]]:
        for batch in batches:
            yield batch

    async def handler(request: web.Request) -> web.StreamResponse:
        return await http_streams.stream_json_array(request, all_batches(), "application/json")

    client = await serve(handler)
    raw = await wire.get(
        client.make_url("/"), b"/x", b"Accept-Encoding: " + accepted.encode(), version=b"1.0"
    )
    body = UNPACKED[coding](raw.body)
    assert (b"Content-Encoding: " in raw.head) is (coding is not None)
    assert f"Content-Encoding: {coding}".encode() in raw.head or coding is None
    assert b"Vary: Accept, Accept-Encoding" in raw.head
    assert orjson.loads(body) == [orjson.loads(o) for b in batches for o in b]


async def test_array_that_cannot_go_out_as_is_accepted_is_refused(serve: Any) -> None:
    async def none() -> AsyncIterator[list[bytes]]:
        yield []

    async def handler(request: web.Request) -> web.StreamResponse:
        return await http_streams.stream_json_array(request, none(), "application/json")

    answer = await (await serve(handler)).get("/x", headers={"Accept-Encoding": "identity;q=0"})
    assert answer.status == 406


async def test_a_long_array_leaves_time_for_others(serve: Any) -> None:
    async def endless() -> AsyncIterator[list[bytes]]:
        while True:
            yield [b"{}"] * 1000

    async def handler(request: web.Request) -> web.StreamResponse:
        return await http_streams.stream_json_array(request, endless(), "application/json")

    client = await serve(handler)
    answer = await client.get("/x", headers={"Accept-Encoding": "identity"})
    for _ in range(5):
        await answer.content.readany()
        async with asyncio.timeout(1):
            assert (await client.get("/health/live")).status == 200
    answer.close()


XML = Form(is_multipart=True, types=("application/dicom+xml",))
ROW = {"00100020": {"vr": "LO", "Value": ["7"]}}


async def rows(*batches: list[Dataset]) -> AsyncIterator[list[Dataset]]:
    for batch in batches:
        yield batch


@pytest.mark.parametrize(("accepted", "is_gzip"), [("gzip", True), ("identity", False)])
async def test_xml_is_one_part_a_data_set_however_they_are_batched(
    serve: Any,
    accepted: str,
    is_gzip: bool,  # noqa: FBT001
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        batches, warnings = rows([ROW, {}], [], [ROW]), ['299 gateway "more"']
        return await http_streams.stream_xml(request, batches, XML, warnings=warnings)

    client = await serve(handler)
    answer = await client.get("/x", headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("Content-Encoding") == "gzip") is is_gzip
    assert answer.headers["Warning"] == '299 gateway "more"'
    assert answer.status == 200
    body = await answer.read()
    boundary = answer.headers["Content-Type"].partition("boundary=")[2].encode()
    documents = [p.partition(b"\r\n\r\n")[2] for p in body.split(b"--" + boundary)[1:-1]]
    assert [parsed(d.strip()) for d in documents] == [ROW, {}, ROW]


@pytest.mark.parametrize("items", [0, 10_000], ids=["small ones", "large ones"])
async def test_endless_xml_leaves_time_for_others(serve: Any, items: int) -> None:
    large = {"00400275": {"vr": "SQ", "Value": [ROW] * items}}

    async def endless() -> AsyncIterator[list[Dataset]]:
        while True:
            yield [large] * 1000

    async def handler(request: web.Request) -> web.StreamResponse:
        return await http_streams.stream_xml(request, endless(), XML)

    client = await serve(handler)
    answer = await client.get("/x", headers={"Accept-Encoding": "identity"})
    for _ in range(5):
        await answer.content.readany()
        async with asyncio.timeout(1):
            assert (await client.get("/health/live")).status == 200
    answer.close()


async def test_a_range_of_the_only_part_is_said(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        span = Span(first=2, last=3, total=9)
        one = replace(part(b"cd", length=2), span=span, takes_ranges=True)
        return await http_streams.stream_parts(request, parts(one), SINGLE)

    client = await serve(handler)
    answer = await client.get("/x")
    assert answer.status == 206
    assert answer.headers["Content-Range"] == "bytes 2-3/9"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert await answer.read() == b"cd"


def memory_of(pid: int) -> int:
    """The largest resident size so far, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def large(size: int) -> Answer:
    """A DICOM file of that size in multipart, as an archive streams it."""
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + ONE.file + bytes(size) + b"\r\n--b--"
    return Answer(body=body, content_type="multipart/related; boundary=b", framing="close")


async def started(gateway: Gateway) -> Gateway:
    await asyncio.get_running_loop().run_in_executor(None, gateway.start)
    return gateway


@pytest.fixture
async def gateway(fault_archive: FaultArchive, tmp_path: Path) -> AsyncIterator[Gateway]:
    """The real program over a double, which answers in this process."""
    Double(fault_archive, [ONE])
    one = ForkedGateway(tmp_path, {"north": archive(fault_archive.url)})
    await started(one)
    yield one
    one.kill()


async def test_200_mib_pass_in_constant_memory(
    gateway: Gateway, fault_archive: FaultArchive
) -> None:
    async with aiohttp.ClientSession() as session:

        async def size() -> int:
            async with session.get(f"{gateway.url}{ONE_PATH}") as answer:
                return sum([len(c) async for c in answer.content.iter_any()])

        fault_archive.on(ONE.path, large(MIB))
        assert await size() > MIB
        before = memory_of(gateway.pid)
        fault_archive.on(ONE.path, large(200 * MIB))
        assert await size() > 200 * MIB
    assert memory_of(gateway.pid) - before < 32 * MIB


async def test_a_caller_who_waits_makes_the_archive_wait(
    gateway: Gateway, fault_archive: FaultArchive
) -> None:
    stream = large(MIB)
    fault_archive.on(
        ONE.path,
        Answer(
            body=stream.body[: len(ONE.file) + MIB],
            content_type=stream.content_type,
            framing="chunked",
            endless=True,
        ),
    )
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}{ONE_PATH}") as got:
        await got.content.readany()
        [seen] = [s for s in fault_archive.requests if s.route == ONE.path]
        taken = -1
        while taken != seen.sent:  # until nothing moves any more
            taken = seen.sent
            await asyncio.sleep(0.3)
        assert taken < 48 * MIB
        before = memory_of(gateway.pid)
        assert before < 400 * MIB
        got.close()
        await asyncio.wait_for(seen.ended.wait(), 10)
    assert seen.ending == "left"


async def test_callers_who_do_not_read_keep_nobody_from_searching(
    fault_archive: FaultArchive, tmp_path: Path
) -> None:
    Double(fault_archive, [ONE])
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + ONE.file
    fault_archive.on(
        ONE.path,
        Answer(
            body=head + bytes(MIB),
            content_type="multipart/related; boundary=b",
            framing="chunked",
            endless=True,
        ),
    )
    limits = {"max_concurrency": 4, "queue_seconds": 0.5}
    one = ForkedGateway(tmp_path, {"north": archive(fault_archive.url, **limits)})
    await started(one)
    try:
        async with aiohttp.ClientSession() as session:
            stalled = [await session.get(f"{one.url}{ONE_PATH}") for _ in range(3)]
            assert {answer.status for answer in stalled} == {200}
            async with session.get(f"{one.url}{ONE_PATH}") as full:
                assert full.status == 503
                assert int(full.headers["Retry-After"]) > 0
            async with session.get(f"{one.dicom_web}/studies") as rows:
                assert rows.status == 200
            for answer in stalled:
                answer.close()
    finally:
        one.kill()

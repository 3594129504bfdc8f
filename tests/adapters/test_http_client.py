"""Requests to one archive: bounds, deadlines, credentials, and what failures become."""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.adapters.http_client import ArchiveClient, Limits
from gateway.adapters.retries import AT_FIRST, COST
from gateway.adapters.telemetry import Telemetry
from gateway.config_servers import Auth, BasicAuth, BearerAuth, NoAuth
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveBusy,
    ArchiveError,
    ArchiveRefused,
    ArchiveTimeout,
    ArchiveUnreachable,
    NotAcceptable,
    NotFound,
)
from tests.fault_archive import Answer, FaultArchive, gzip_bomb, json_answer, redirect
from tests.servers import NOBODY

JSON = "application/dicom+json"
Client = Callable[..., ArchiveClient]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Makes clients, and closes them."""
    made: list[ArchiveClient] = []

    def make(auth: Auth | None = None, **changes: Any) -> ArchiveClient:
        limits = {
            "max_concurrency": 4,
            "queue_seconds": 5,
            "connect_timeout_seconds": 2,
            "timeout_seconds": 5,
            "max_json_bytes": 1 << 20,
        } | changes
        made.append(ArchiveClient("north", auth or NoAuth(), Limits(**limits), Telemetry()))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def body_of(client: ArchiveClient, base: str, *segments: str) -> bytes:
    async with client.get(base, segments, accept=JSON) as response:
        return bytes(await client.json(response))


@pytest.mark.parametrize(
    ("status", "error", "answered"),
    [
        (400, ArchiveBadAnswer, 502),
        (401, ArchiveRefused, 502),
        (403, ArchiveRefused, 502),
        (404, NotFound, 404),
        (406, ArchiveBadAnswer, 502),
        (410, NotFound, 404),
        (418, ArchiveBadAnswer, 502),
        (429, ArchiveBusy, 503),
        (500, ArchiveBadAnswer, 502),
        (501, ArchiveBadAnswer, 502),
        (502, ArchiveBadAnswer, 502),
        (503, ArchiveBusy, 503),
        (504, ArchiveTimeout, 504),
        (599, ArchiveBadAnswer, 502),
        (302, ArchiveBadAnswer, 502),
        (304, ArchiveBadAnswer, 502),
    ],
)
async def test_statuses_of_an_archive_become_errors_of_ours(
    client: Client,
    fault_archive: FaultArchive,
    status: int,
    error: type[Exception],
    answered: int,
) -> None:
    fault_archive.on("/studies", Answer(status=status))
    with pytest.raises(error) as raised:
        await body_of(client(), fault_archive.url, "studies")
    assert getattr(raised.value, "status", None) == answered
    assert "127.0.0.1" not in str(raised.value)
    assert len(fault_archive.requests) == 1


async def test_only_of_what_is_passed_on_is_it_the_caller_s_accept_that_is_refused(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", Answer(status=406))
    with pytest.raises(NotAcceptable):
        await client().opened(fault_archive.url, ("studies",), accept="image/jpeg", is_stream=True)


async def test_an_archive_that_says_when_to_come_back_is_believed_within_reason(
    client: Client, fault_archive: FaultArchive
) -> None:
    said = {"17": 17, "99999999": 3600, "Wed, 21 Oct 2026 07:28:00 GMT": 5, "-1": 5}
    for text, seconds in said.items():
        fault_archive.on("/studies", Answer(status=503, headers={"Retry-After": text}))
        with pytest.raises(ArchiveBusy) as raised:
            await body_of(client(), fault_archive.url, "studies")
        assert raised.value.retry_after_seconds == seconds


async def test_redirects_are_not_followed(client: Client, fault_archive: FaultArchive) -> None:
    fault_archive.on("/studies", redirect(f"{fault_archive.url}/elsewhere"))
    with pytest.raises(ArchiveBadAnswer):
        await body_of(client(), fault_archive.url, "studies")
    assert [r.path for r in fault_archive.requests] == ["/studies"]


async def test_a_part_of_a_body_that_nobody_asked_for_is_no_answer(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/x", Answer(status=206, body=b"abc"))
    north = client()
    with pytest.raises(ArchiveBadAnswer, match="a part"):
        async with north.get(fault_archive.url, ["x"], accept="*/*", is_stream=True):
            pass
    async with north.get(
        fault_archive.url, ["x"], accept="*/*", is_stream=True, byte_range="bytes=0-2"
    ) as response:
        assert response.status == 206


@pytest.mark.parametrize("coding", ["gzip", "Deflate", "br", "identity, gzip", "gzip, gzip"])
async def test_a_body_that_is_passed_on_must_not_be_compressed(
    client: Client, fault_archive: FaultArchive, coding: str
) -> None:
    zipped = Answer(body=gzip.compress(b"abc"), headers={"Content-Encoding": coding})
    fault_archive.on("/x", zipped)
    with pytest.raises(ArchiveBadAnswer, match="compressed"):
        async with client().get(fault_archive.url, ["x"], accept="*/*", is_stream=True):
            pass
    assert fault_archive.requests[0].header("Accept-Encoding") == "identity"


async def test_refused_connection_is_an_unreachable_archive(client: Client) -> None:
    with pytest.raises(ArchiveUnreachable, match="archive north: no connection"):
        await body_of(client(), f"http://127.0.0.1:{NOBODY.number}", "studies")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(raw=b""),
        Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
        Answer(raw=b"HTTP/1.1 two hundred\r\n\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
        Answer(body=b"[{}]", cut_after=2),
        Answer(body=b"[{}]", cut_after=2, framing="chunked"),
        Answer(body=b"[{}]", length=400, cut_after=4),
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n"),
    ],
    ids=[
        "nothing",
        "another protocol",
        "no status",
        "no length",
        "endless header",
        "cut, by length",
        "cut, by chunks",
        "shorter than said",
        "bad chunk",
    ],
)
async def test_broken_http_is_an_archive_error(
    client: Client, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("/studies", answer)
    with pytest.raises(ArchiveError):
        await body_of(client(), fault_archive.url, "studies")


async def test_a_pooled_connection_that_the_archive_closed_costs_nothing(
    client: Client, fault_archive: FaultArchive
) -> None:
    """Orthanc closes idle connections after a second: the next request finds a dead one."""
    fault_archive.on("/studies", json_answer([]), Answer(raw=b""), json_answer([{}]))
    one = client()
    await body_of(one, fault_archive.url, "studies")
    assert await body_of(one, fault_archive.url, "studies") == b"[{}]"


async def test_first_byte_that_does_not_come_is_a_timeout(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", Answer(stall=True))
    started = time.monotonic()
    with pytest.raises(ArchiveTimeout):
        await body_of(client(timeout_seconds=0.3), fault_archive.url, "studies")
    assert 0.2 < time.monotonic() - started < 10
    [seen] = fault_archive.requests
    await asyncio.wait_for(seen.ended.wait(), 10)
    assert seen.ending == "left"


async def test_json_that_trickles_is_a_timeout_in_the_end(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on(
        "/studies", Answer(body=b"[" + b" " * 10_000 + b"]", chunk_bytes=1, chunk_seconds=0.05)
    )
    started = time.monotonic()
    with pytest.raises(ArchiveTimeout):
        await body_of(client(timeout_seconds=0.2), fault_archive.url, "studies")
    assert 0.7 < time.monotonic() - started < 30


async def test_a_stream_that_trickles_is_none(client: Client, fault_archive: FaultArchive) -> None:
    fault_archive.on("/objects", Answer(body=b"x" * 30, chunk_bytes=1, chunk_seconds=0.04))
    one = client(timeout_seconds=0.25)
    async with one.get(fault_archive.url, ["objects"], accept="*/*", is_stream=True) as response:
        got = b"".join([chunk async for chunk in response])
    assert got == b"x" * 30


async def test_a_stream_that_stalls_is_a_timeout(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/objects", Answer(body=b"x" * 30, stall_after=10))
    one = client(timeout_seconds=0.2)
    async with one.get(fault_archive.url, ["objects"], accept="*/*", is_stream=True) as response:
        chunks = response
        assert await anext(chunks)
        with pytest.raises(ArchiveTimeout):
            await anext(chunks)


async def test_a_large_answer_is_inflated_whole(
    client: Client, fault_archive: FaultArchive
) -> None:
    body = b"[" + b" " * 900_000 + b"]"
    zipped = Answer(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    fault_archive.on("/studies", zipped)
    assert await body_of(client(), fault_archive.url, "studies") == body


async def test_gzip_is_asked_for_and_undone_within_the_bound(
    client: Client, fault_archive: FaultArchive
) -> None:
    zipped = Answer(body=gzip.compress(b'[{"a": 1}]'), headers={"Content-Encoding": "gzip"})
    fault_archive.on("/studies", zipped)
    assert await body_of(client(), fault_archive.url, "studies") == b'[{"a": 1}]'
    assert fault_archive.requests[0].header("Accept-Encoding") == "gzip"


@pytest.mark.parametrize(
    "answer",
    [
        gzip_bomb(300),
        gzip_bomb(300, framing="chunked"),
        gzip_bomb(2),
        Answer(body=b"[" + b" " * (2 << 20) + b"]"),
        Answer(body=b" " * 65536, framing="chunked", endless=True),
        Answer(body=gzip.compress(b" " * 65536), framing="chunked", endless=True),
        Answer(
            body=gzip.compress(gzip.compress(b"[]")), headers={"Content-Encoding": "gzip, gzip"}
        ),
        Answer(body=gzip.compress(b"[{}]")[:-9], headers={"Content-Encoding": "gzip"}),
        Answer(body=b"[{}]", headers={"Content-Encoding": "gzip"}),
        Answer(body=b"[{}]", headers={"Content-Encoding": "br"}),
    ],
    ids=[
        "300 MiB in little gzip",
        "the same in chunks",
        "just too large",
        "just too large, plain",
        "endless",
        "endless gzip",
        "twice gzip",
        "gzip cut",
        "not gzip",
        "brotli",
    ],
)
async def test_json_that_cannot_be_held_or_read_is_a_bad_answer(
    client: Client, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("/studies", answer)
    with pytest.raises(ArchiveBadAnswer):
        await body_of(client(), fault_archive.url, "studies")


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("body", [b"", b" \r\n"])
async def test_nothing_of_which_the_end_is_not_told_is_no_answer(
    client: Client, fault_archive: FaultArchive, coding: str, body: bytes
) -> None:
    sent = gzip.compress(body) if body and coding == "gzip" else body
    fault_archive.on(
        "/studies", Answer(body=sent, framing="close", headers={"Content-Encoding": coding})
    )
    with pytest.raises(ArchiveUnreachable, match="broke off"):
        await body_of(client(), fault_archive.url, "studies")


async def test_json_of_which_only_itself_tells_the_end_is_read(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", Answer(body=b"[]", framing="close"))
    assert await body_of(client(), fault_archive.url, "studies") == b"[]"


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_an_empty_answer_is_empty(
    client: Client, fault_archive: FaultArchive, coding: str
) -> None:
    fault_archive.on("/studies", Answer(headers={"Content-Encoding": coding}), Answer(status=204))
    one = client()
    assert await body_of(one, fault_archive.url, "studies") == b""
    assert await body_of(one, fault_archive.url, "studies") == b""


async def test_segments_and_values_are_encoded_once(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/*", json_answer([]))
    one = client()
    pairs = [("PatientName", "Müller & Söhne=a+b#c?d"), ("StudyInstanceUID", "1.2,1.3")]
    async with one.get(f"{fault_archive.url}/web", ["a/b", "ü?#"], pairs, accept=JSON):
        pass
    assert fault_archive.requests[0].path == (
        "/web/a%2Fb/%C3%BC%3F%23"
        "?PatientName=M%C3%BCller%20%26%20S%C3%B6hne%3Da%2Bb%23c?d&StudyInstanceUID=1.2,1.3"
    )


@pytest.mark.parametrize("segment", ["..", ".", ""])
async def test_no_segment_leads_out_of_the_base(
    client: Client, fault_archive: FaultArchive, segment: str
) -> None:
    with pytest.raises(ValueError, match="lead out"):
        await body_of(client(), f"{fault_archive.url}/dicom-web", segment, "system")
    assert fault_archive.requests == []


async def test_an_archive_sees_our_headers_only(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", json_answer([], headers={"Set-Cookie": "session=1; Path=/"}))
    one = client()
    await body_of(one, fault_archive.url, "studies")
    await body_of(one, fault_archive.url, "studies")
    names = {name.lower() for seen in fault_archive.requests for name, _ in seen.headers}
    assert names == {"host", "accept", "accept-encoding", "user-agent"}


@pytest.mark.parametrize(
    ("auth", "sent"),
    [
        (
            BasicAuth(type="basic", username="läb", password=SecretStr("pä:ss")),
            f"Basic {base64.b64encode('läb:pä:ss'.encode()).decode()}",
        ),
        (BearerAuth(type="bearer", token=SecretStr("abc.def")), "Bearer abc.def"),
    ],
    ids=["basic", "bearer"],
)
async def test_credentials_go_to_their_archive_only(
    client: Client, fault_archive: FaultArchive, auth: Auth, sent: str
) -> None:
    async with FaultArchive() as other:
        other.on("/studies", json_answer([]))
        fault_archive.on("/studies", json_answer([]), redirect(f"{other.url}/studies"))
        one = client(auth)
        await body_of(one, fault_archive.url, "studies")
        with pytest.raises(ArchiveBadAnswer):
            await body_of(one, fault_archive.url, "studies")
        assert other.requests == []
    assert [r.header("Authorization") for r in fault_archive.requests] == [sent, sent]
    assert sent not in repr(auth)


async def test_the_budget_bounds_what_is_under_way(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", json_answer([], stall=True))
    one = client(max_concurrency=3)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(body_of(one, fault_archive.url, "studies")) for _ in range(10)]
        await fault_archive.wait_for(3)
        assert fault_archive.connections == 3
        fault_archive.release()
    assert [task.result() for task in running] == [b"[]"] * 10
    assert fault_archive.connections <= 3


async def test_a_full_queue_is_a_busy_archive(client: Client, fault_archive: FaultArchive) -> None:
    fault_archive.on("/studies", json_answer([], stall=True))
    one = client(max_concurrency=1, queue_seconds=0.1)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(body_of(one, fault_archive.url, "studies"))
        await fault_archive.wait_for(1)
        with pytest.raises(ArchiveBusy):
            await body_of(one, fault_archive.url, "studies")
        fault_archive.release()
    assert first.result() == b"[]"


async def test_failures_give_their_turns_back(client: Client, fault_archive: FaultArchive) -> None:
    fault_archive.on("/bad", Answer(status=500))
    fault_archive.on("/cut", Answer(body=b"[]", cut_after=1))
    fault_archive.on("/slow", Answer(stall=True))
    fault_archive.on("/good", json_answer([]))
    one = client(max_concurrency=1, timeout_seconds=0.1)
    for path in ("bad", "cut", "slow", "absent") * 2:
        with pytest.raises((ArchiveError, NotFound)):
            await body_of(one, fault_archive.url, path)
    assert await body_of(one, fault_archive.url, "good") == b"[]"


async def test_a_caller_who_leaves_closes_the_connection(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/objects", Answer(body=b"x" * 65536, framing="chunked", endless=True))
    one = client()

    async def read() -> None:
        async with one.get(fault_archive.url, ["objects"], accept="*/*", is_stream=True) as answer:
            async for _ in answer:
                pass

    reading = asyncio.ensure_future(read())
    [seen] = await fault_archive.wait_for(1)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.wait_for(seen.ended.wait(), 10)
    assert seen.ending == "left"


async def test_a_reader_who_waits_makes_the_archive_wait(
    client: Client, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/objects", Answer(body=b"x" * 65536, framing="chunked", endless=True))
    one = client()
    async with one.get(fault_archive.url, ["objects"], accept="*/*", is_stream=True) as response:
        await anext(response)
        [seen] = fault_archive.requests
        taken = -1
        while taken != seen.sent:  # until nothing moves any more
            taken = seen.sent
            await asyncio.sleep(0.2)
    assert taken < 32 << 20


async def test_outcomes_are_counted_by_archive(client: Client, fault_archive: FaultArchive) -> None:
    telemetry = Telemetry()
    limits = Limits(
        max_concurrency=1,
        queue_seconds=1,
        connect_timeout_seconds=1,
        timeout_seconds=1,
        max_json_bytes=1000,
    )
    one = ArchiveClient("north", NoAuth(), limits, telemetry)
    fault_archive.on("/good", json_answer([]))
    fault_archive.on("/bad", Answer(status=500))
    await body_of(one, fault_archive.url, "good")
    for path in ("bad", "absent"):
        with pytest.raises((ArchiveError, NotFound)):
            await body_of(one, fault_archive.url, path)
    await one.close()
    text = telemetry.exposition()[0].decode()
    counted = dict(
        re.findall(r'gateway_archive_requests_total\{archive="north",outcome="(\w+)"\} (\S+)', text)
    )
    assert counted == {"ok": "2.0", "exception": "1.0"}


@pytest.mark.parametrize(
    "base", ["http://no-such-host.invalid", "http://[::1]:{port}"], ids=["name", "address"]
)
async def test_where_nobody_is_there_is_no_connection(
    client: Client, fault_archive: FaultArchive, base: str
) -> None:
    port = fault_archive.url.rpartition(":")[2]
    with pytest.raises(ArchiveUnreachable, match="archive north: no connection"):
        await body_of(client(), base.replace("{port}", port), "studies")
    assert fault_archive.requests == []


async def test_a_handshake_that_fails_is_an_archive_error(
    client: Client, fault_archive: FaultArchive
) -> None:
    """An archive that speaks plain HTTP where TLS is configured."""
    with pytest.raises(ArchiveError, match="archive north"):
        await body_of(
            client(connect_timeout_seconds=0.3),
            fault_archive.url.replace("http:", "https:"),
            "studies",
        )
    assert fault_archive.requests == []


async def test_archive_that_breaks_connections_is_asked_at_most_a_fifth_oftener(
    client: Client,
) -> None:
    asked, archive = 0, client()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += bool(await reader.readline())
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for number in range(1, 51):
        with pytest.raises(ArchiveUnreachable):
            await body_of(archive, base)
        assert asked <= 1.2 * number + AT_FIRST
    assert asked == 60 + AT_FIRST
    server.close()


async def test_kept_connections_that_end_cost_nothing_however_many(
    client: Client, fault_archive: FaultArchive
) -> None:
    archive, count = client(), 50
    fault_archive.on("/studies", *[json_answer([]), Answer(raw=b"")] * count)
    for _ in range(count):
        assert await body_of(archive, fault_archive.url, "studies") == b"[]"


async def test_question_that_a_broken_connection_lost_is_asked_once_more(
    client: Client, fault_archive: FaultArchive
) -> None:
    archive, answer = client(), Answer(status=204, headers={"Connection": "close"})
    fault_archive.on("/studies", *[answer] * COST, Answer(raw=b""), answer)
    for _ in range(COST + 1):
        assert await body_of(archive, fault_archive.url, "studies") == b""
    assert len(fault_archive.requests) == COST + 2


@pytest.mark.parametrize("answer", [Answer(status=500), Answer(status=503), Answer(stall=True)])
async def test_what_the_archive_failed_at_itself_is_not_asked_again(
    client: Client, fault_archive: FaultArchive, answer: Answer
) -> None:
    archive = client(timeout_seconds=0.1)
    fault_archive.on("/studies", answer)
    for number in range(1, COST + 3):
        with pytest.raises(ArchiveError):
            await body_of(archive, fault_archive.url, "studies")
        assert len(fault_archive.requests) == number

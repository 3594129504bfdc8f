"""What every request has in common: ids, errors in the right words, who may read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpClient
from yarl import URL

from gateway import http_server
from gateway.app import build_app
from gateway.config import Settings
from gateway.errors import ArchiveBusy, BadRequest, NotFound, Unauthorized
from gateway.http_server import not_modified, warnings_of
from tests import wire
from tests.standing import Client

ORIGIN = "https://viewer.example.org"


def settings(folder: Path, **more: Any) -> Settings:
    archives = {"samples": {"type": "folder", "path": str(folder)}}
    server = {"cors_origins": [ORIGIN]}
    return Settings.model_validate({"archives": archives, "server": server, **more})


async def fails(request: web.Request) -> web.Response:
    """Raises what the test asks for by name."""
    errors: dict[str, Exception] = {
        "bad": BadRequest("that is no good", parameter="limit"),
        "absent": NotFound("no such study"),
        "unknown": Unauthorized("the caller is not known"),
        "busy": ArchiveBusy("too many requests under way", archive="north"),
        "markup": NotFound("<script>alert(1)</script>"),
        "bug": KeyError("PatientName=DOE^JANE in /etc/secret"),
        "late": TimeoutError("in /etc/secret"),
        "group": ExceptionGroup("DOE^JANE", [KeyError("secret")]),
    }
    raise errors[request.query["how"]]


async def fails_halfway(request: web.Request) -> web.StreamResponse:
    """Breaks after the head, or after some of the body, with gzip or without."""
    response = web.StreamResponse()
    if "gzip" in request.query:
        response.enable_compression(web.ContentCoding.gzip)
    if "length" in request.query:
        response.content_length = 1000
    await response.prepare(request)
    if "body" in request.query:
        await response.write(b"x" * 500)
    raise {"foreseen": NotFound("gone"), "not": KeyError("x"), "late": TimeoutError()}[
        request.query["how"]
    ]


async def tagged(request: web.Request) -> web.Response:
    """Says whether the caller has `"a"` already."""
    return web.Response(text="the same" if not_modified(request, '"a"') else "another")


@pytest.fixture
async def gateway(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    """One that holds nothing, and has routes that fail."""
    app = build_app(settings(tmp_path))
    for prefix in ("/fails", "/fhir/fails"):
        app.router.add_get(prefix, fails)
    app.router.add_get("/halfway", fails_halfway)
    app.router.add_get("/tagged", tagged)
    return await aiohttp_client(app)


@pytest.mark.parametrize("how", ["bug", "late", "group"])
async def test_what_nobody_foresaw_is_told_without_a_word_of_it(gateway: Client, how: str) -> None:
    answer = await gateway.get(f"/fails?how={how}")
    assert answer.status == 500
    text = await answer.text()
    assert "DOE" not in text
    assert "secret" not in text
    assert "Traceback" not in text


async def test_pages_show_what_was_asked_as_text(gateway: Client) -> None:
    answer = await gateway.get("/iid?%3Cscript%3E=1")
    text = await answer.text()
    assert "<script>" not in text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("how", ["foreseen", "not", "late"])
@pytest.mark.parametrize("body", ["", "&body"])
@pytest.mark.parametrize("framing", ["", "&gzip", "&length"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_answer_that_fails_halfway_is_reset_and_no_second_one_follows(
    gateway: Client, how: str, body: str, framing: str, version: bytes
) -> None:
    target = f"/halfway?how={how}{body}{framing}".encode()
    reply = await wire.get(gateway.make_url("/"), target, version=version)
    assert reply.is_reset
    assert reply.raw.count(b"HTTP/1.") <= 1
    assert b"problem" not in reply.raw
    assert not reply.raw.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("abcdefgh", True),
        ("A1._-" * 12, True),
        ("short", False),
        ("x" * 65, False),
        ("with space", False),
        ("<script>", False),
        ("ümläut-id", False),
        ("", False),
    ],
)
async def test_a_request_id_is_kept_if_it_is_harmless(
    gateway: Client,
    given: str,
    is_kept: bool,  # noqa: FBT001
) -> None:
    answer = await gateway.get("/health/live", headers={"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"] == given) is is_kept
    assert len(answer.headers.getall("X-Request-Id")) == 1
    assert len(answer.headers["X-Request-Id"]) >= 8


async def test_each_request_has_an_id_of_its_own(gateway: Client) -> None:
    ids = {(await gateway.get("/health/live")).headers["X-Request-Id"] for _ in range(5)}
    assert len(ids) == 5


async def test_every_answer_carries_the_common_headers(gateway: Client) -> None:
    for path in ("/health/live", "/dicom-web/studies", "/nothing", "/fails?how=bug", "/"):
        answer = await gateway.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Cache-Control" in answer.headers
        assert "Server" not in answer.headers


async def test_where_callers_must_be_known_nobody_is_let_in_by_mistake(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    closed = await aiohttp_client(build_app(settings(sample_folder, auth={"mode": "required"})))
    for path in ("/dicom-web/studies", "/wado", "/fhir/r4/ImagingStudy", "/dicom-web/nothing"):
        answer = await closed.get(path, headers={"Authorization": "Bearer x", "X-API-Key": "y"})
        assert answer.status == 401, path


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET http://evil.example.org/dicom-web/studies HTTP/1.1",
        b"GET dicom-web/studies HTTP/1.1",
        b"GET /dicom-web/studies HTTP/0.9",
        b"GET /dicom-web/studies HTTP/2.0",
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT evil.example.org:443 HTTP/1.1",
        b"GET /dicom-web/\x00studies HTTP/1.1",
        b"GET",
        b"\x16\x03\x01\x02\x00",
    ],
)
async def test_request_lines_for_others_are_refused(gateway: Client, request_line: bytes) -> None:
    raw = request_line + b"\r\nHost: gateway\r\nConnection: close\r\n\r\n"
    reply = await wire.send(gateway.make_url("/"), raw)
    assert reply.status in {400, 404, 405}
    assert b"Traceback" not in reply.raw


@asynccontextmanager
async def serving(folder: Path, **limits: Any) -> AsyncIterator[URL]:
    """A gateway whose server has limits like the real one's, only quicker."""
    runner = web.AppRunner(build_app(settings(folder)), handler_cancellation=True, **limits)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield URL.build(scheme="http", host=host, port=port)
    await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/iid", "application/x-www-form-urlencoded"),
        ("/fhir/r4/ImagingStudy/_search", "application/x-www-form-urlencoded"),
        ("/fhir/r4/Patient/_search", "application/x-www-form-urlencoded"),
        ("/fhir/Endpoint/_search", "application/x-www-form-urlencoded"),
        ("/resolve", "application/json"),
        ("/hooks/studies/1.2.3", "application/json"),
    ],
)
async def test_a_body_that_does_not_come_is_not_waited_for(
    sample_folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.1)
    head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: {kind}\r\n"
    raw = f"{head}Content-Length: 1000\r\n\r\na".encode()
    async with serving(sample_folder, lingering_time=0.1) as base:
        reply = await wire.send(base, raw)  # which ends when the connection does
    assert reply.status == 408
    assert b"did not come in time" in reply.body


async def test_a_head_that_does_not_come_is_not_waited_for(sample_folder: Path) -> None:
    async with serving(sample_folder, keepalive_timeout=0.2) as base:
        reply = await wire.send(base, b"GET /health/live HTTP/1.1\r\nHost: gate")
    assert reply.status in {0, 400, 408}


async def test_no_header_changes_the_method_or_the_caller(demo_client: Client) -> None:
    tricks = {"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/metrics"}
    tricks |= {"X-Rewrite-URL": "/metrics", "X-Forwarded-Host": "evil.example.org"}
    plain = await demo_client.get("/dicom-web/studies")
    answer = await demo_client.get("/dicom-web/studies", headers=tricks)
    assert (answer.status, await answer.read()) == (200, await plain.read())
    assert (await demo_client.post("/dicom-web/studies", headers=tricks)).status == 405


async def test_answers_vary_by_caller_where_callers_are_told_apart(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    auth = {"mode": "required", "api_keys": {"a": {"key": "k"}}}
    closed = await aiohttp_client(build_app(settings(sample_folder, auth=auth)))
    for path in ("/dicom-web/studies", "/fhir/r4/ImagingStudy", "/", "/nothing"):
        for headers in ({}, {"X-API-Key": "k"}):
            answer = await closed.get(path, headers=headers)
            assert "Authorization, X-API-Key" in answer.headers.getall("Vary"), path
            assert "public" not in answer.headers["Cache-Control"]


async def test_metrics_name_routes_and_not_what_was_asked(gateway: Client) -> None:
    await gateway.get("/dicom-web/studies/1.2.840.99.1?x=DOE")
    await gateway.get("/secret/path/DOE")
    text = await (await gateway.get("/metrics")).text()
    assert "1.2.840.99.1" not in text
    assert "DOE" not in text
    assert 'route="/dicom-web/studies/{study}"' in text
    assert 'route="unmatched"' in text


@pytest.mark.parametrize(
    ("given", "is_same"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ("", False),
        (None, False),
    ],
)
async def test_entity_tags_are_compared_weakly(
    gateway: Client,
    given: str | None,
    is_same: bool,  # noqa: FBT001
) -> None:
    headers = {} if given is None else {"If-None-Match": given}
    answer = await gateway.get("/tagged", headers=headers)
    assert (await answer.text() == "the same") is is_same


def test_silence_is_told_in_warnings() -> None:
    assert warnings_of(("north",), "there is more") == [
        '299 gateway "archive north did not answer; the result may be incomplete"',
        '299 gateway "there is more"',
    ]


async def test_the_next_request_of_a_caller_waits_until_an_answer_begins(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    entered: list[str] = []
    inside, begin, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        entered.append(request.query["n"])
        inside.set()
        await begin.wait()
        response = web.StreamResponse()
        await response.prepare(request)
        await end.wait()
        return response

    app = build_app(settings(sample_folder, limits={"requests_at_once": 1}))
    app.router.add_get("/slow", slow)
    client = await aiohttp_client(app)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.get("/slow?n=1"))
        await inside.wait()
        second = tasks.create_task(client.get("/slow?n=2"))
        assert (await client.get("/health/live")).status == 200, "it is nobody's"
        assert entered == ["1"]
        begin.set()
        await asyncio.wait([first, second])  # both have begun, and neither is over
        assert entered == ["1", "2"]
        end.set()

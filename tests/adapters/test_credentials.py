"""How the gateway proves itself: OAuth 2 tokens from a real token server, fetched once for all."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from gateway.adapters.http_client import ArchiveClient, Limits
from gateway.adapters.telemetry import Telemetry
from gateway.config_servers import OAuth2Auth
from gateway.errors import ArchiveError, ArchiveRefused, ArchiveTimeout
from tests.fault_archive import Answer, FaultArchive, Seen, json_answer, redirect

TIMEOUT_SECONDS = 0.5


class TokenServer:
    """Hands out numbered tokens; the archive beside it takes the one it was told to."""

    def __init__(self, server: FaultArchive, archive: FaultArchive) -> None:
        self.server = server
        self.archive = archive
        self.handed_out = 0
        self.good = {"token-1"}
        server.on("/token", self._token)
        archive.on("/studies", self._studies)

    @property
    def auth(self) -> OAuth2Auth:
        return OAuth2Auth(
            type="oauth2",
            token_url=f"{self.server.url}/token",
            client_id="gate:way",
            client_secret=SecretStr("s&cret"),
            scope="read write",
        )

    def _token(self, seen: Seen) -> Answer:
        self.handed_out += 1
        return json_answer({"access_token": f"token-{self.handed_out}", "expires_in": 3600})

    def _studies(self, seen: Seen) -> Answer:
        token = (seen.header("Authorization") or "").removeprefix("Bearer ")
        return json_answer([]) if token in self.good else Answer(status=401)


@pytest.fixture
async def tokens(fault_archive: FaultArchive) -> AsyncIterator[TokenServer]:
    async with FaultArchive() as server:
        yield TokenServer(server, fault_archive)


@pytest.fixture
async def client(tokens: TokenServer) -> AsyncIterator[ArchiveClient]:
    limits = Limits(
        max_concurrency=8,
        queue_seconds=5,
        connect_timeout_seconds=1,
        timeout_seconds=TIMEOUT_SECONDS,
        max_json_bytes=1 << 20,
    )
    made = ArchiveClient("north", tokens.auth, limits, Telemetry())
    yield made
    await made.close()


async def ask(client: ArchiveClient, tokens: TokenServer) -> bytes:
    async with client.get(tokens.archive.url, ["studies"], accept="*/*") as response:
        return bytes(await client.json(response))


async def test_one_token_serves_many_requests(client: ArchiveClient, tokens: TokenServer) -> None:
    answers = await asyncio.gather(*(ask(client, tokens) for _ in range(20)))

    assert answers == [b"[]"] * 20
    [asked] = tokens.server.requests
    assert asked.method == "POST"
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["read write"],
    }
    pair = base64.b64encode(b"gate%3Away:s%26cret").decode()
    assert asked.header("Authorization") == f"Basic {pair}"


async def test_neither_server_learns_the_others_secret(
    client: ArchiveClient, tokens: TokenServer
) -> None:
    await ask(client, tokens)
    assert [r.header("Authorization") for r in tokens.archive.requests] == ["Bearer token-1"]
    assert "token-1" not in str(tokens.server.requests[0].headers)


async def test_a_refused_token_is_renewed_once(client: ArchiveClient, tokens: TokenServer) -> None:
    await ask(client, tokens)
    tokens.good = {"token-2"}

    answers = await asyncio.gather(*(ask(client, tokens) for _ in range(8)))

    assert answers == [b"[]"] * 8
    assert tokens.handed_out == 2


async def test_a_token_that_stays_refused_is_not_tried_for_ever(
    client: ArchiveClient, tokens: TokenServer
) -> None:
    tokens.good = set()
    with pytest.raises(ArchiveRefused):
        await ask(client, tokens)
    assert len(tokens.archive.requests) == 2
    assert tokens.handed_out == 2


async def test_an_expired_token_is_renewed_before_it_is_used(
    client: ArchiveClient, tokens: TokenServer
) -> None:
    short = json_answer({"access_token": "token-1", "expires_in": 20})
    tokens.server.on("/token", short, json_answer({"access_token": "token-2"}))
    tokens.good = {"token-1", "token-2"}
    await ask(client, tokens)
    await ask(client, tokens)
    sent = [r.header("Authorization") for r in tokens.archive.requests]
    assert sent == ["Bearer token-1", "Bearer token-2"]


async def test_a_token_in_several_packets_is_whole(
    client: ArchiveClient, tokens: TokenServer
) -> None:
    tokens.server.on(
        "/token", json_answer({"access_token": "token-1"}, chunk_bytes=5, chunk_seconds=0.01)
    )
    assert await ask(client, tokens) == b"[]"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=400),
        Answer(status=500),
        redirect("http://127.0.0.1:1/elsewhere"),
        Answer(body=b"<html>"),
        Answer(body=b"[]"),
        json_answer({}),
        json_answer({"access_token": None}),
        json_answer({"access_token": "a\r\nX-Evil: 1"}),
        json_answer({"access_token": "a", "expires_in": "soon"}),
        Answer(body=b" " * 65536, framing="chunked", endless=True),
        Answer(body=b"{", cut_after=1, length=100),
        Answer(raw=b"nothing of HTTP\r\n\r\n"),
    ],
    ids=range(12),
)
async def test_without_a_token_the_archive_is_not_asked(
    client: ArchiveClient, tokens: TokenServer, answer: Answer
) -> None:
    tokens.server.on("/token", answer)
    with pytest.raises(ArchiveError, match="archive north"):
        await ask(client, tokens)
    assert tokens.archive.requests == []


async def test_a_token_server_that_hangs_is_waited_for_once(
    client: ArchiveClient, tokens: TokenServer
) -> None:
    tokens.server.on("/token", Answer(stall=True))
    started = time.monotonic()

    failures = await asyncio.gather(
        *(ask(client, tokens) for _ in range(8)), return_exceptions=True
    )

    assert all(isinstance(f, ArchiveTimeout) for f in failures)
    assert time.monotonic() - started < 8 * TIMEOUT_SECONDS
    assert len(tokens.server.requests) == 1
    tokens.server.on("/token", json_answer({"access_token": "token-1"}))
    assert await ask(client, tokens) == b"[]"


async def test_a_caller_who_leaves_while_the_token_is_fetched_holds_up_nobody(
    client: ArchiveClient, tokens: TokenServer
) -> None:
    tokens.server.on("/token", Answer(stall=True), json_answer({"access_token": "token-1"}))
    first = asyncio.ensure_future(ask(client, tokens))
    await tokens.server.wait_for(1)
    second = asyncio.ensure_future(ask(client, tokens))
    first.cancel()
    assert await second == b"[]"
    await asyncio.gather(first, return_exceptions=True)

"""What a token server says, and what it is that it fails with; more is in `test_credentials`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.adapters.archive_tokens import TokenServer
from gateway.config_servers import NoAuth
from gateway.errors import ArchiveError, ArchiveRefused, ArchiveTimeout, ArchiveUnreachable
from tests.fault_archive import Answer, FaultArchive, redirect


@pytest_asyncio.fixture
async def server() -> AsyncIterator[TokenServer]:
    made = TokenServer("north", NoAuth(), connect_seconds=0.2, answer_seconds=0.2)
    yield made
    await made.close()


async def test_an_answer_is_given_whatever_its_status(
    server: TokenServer, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/token", Answer(status=400, body=b"no"), redirect("/elsewhere"))
    url = f"{fault_archive.url}/token"
    assert await server.answer(url, {"a": "b c"}, "Basic x") == (400, b"no")
    assert (await server.answer(url, {}, "Basic x"))[0] == 302
    first, _ = fault_archive.requests
    assert (first.method, first.body, first.header("Authorization")) == (
        "POST",
        b"a=b+c",
        "Basic x",
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(body=b"x" * 100_000), ArchiveRefused),
        (Answer(body=b"x", cut_after=0), ArchiveUnreachable),
        (Answer(stall=True), ArchiveTimeout),
    ],
    ids=["too long", "cut", "late"],
)
async def test_what_is_no_answer_is_an_error_of_the_archive(
    server: TokenServer, fault_archive: FaultArchive, answer: Answer, error: type[ArchiveError]
) -> None:
    fault_archive.on("/token", answer)
    with pytest.raises(error):
        async with asyncio.timeout(5):
            await server.answer(f"{fault_archive.url}/token", {}, "Basic x")

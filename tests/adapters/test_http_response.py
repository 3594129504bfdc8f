from __future__ import annotations

import pytest

from gateway.adapters.http_client import ArchiveClient
from gateway.adapters.http_response import SMALL_BYTES, Response
from gateway.errors import ArchiveTimeout, ArchiveUnreachable
from tests.adapters.clients import client
from tests.fault_archive import Answer, FaultArchive, Framing


async def opened(one: ArchiveClient, archive: FaultArchive) -> Response:
    return await one.opened(archive.url, ["x"], accept="*/*", is_stream=True)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_small_body_gives_its_turn_back_before_anyone_reads_it(
    fault_archive: FaultArchive, framing: Framing
) -> None:
    body = b"x" * SMALL_BYTES
    fault_archive.on("/x", Answer(body=body, framing=framing))
    one = client(max_concurrency=1, queue_seconds=0.2)
    first, second = await opened(one, fault_archive), None
    assert await first.small() == body
    second = await opened(one, fault_archive)
    assert await second.small() == body
    first.let_go()
    await one.close()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_large_body_goes_on_streaming_from_the_same_answer(
    fault_archive: FaultArchive, framing: Framing
) -> None:
    body = b"x" * SMALL_BYTES + b"y" * 3_000_000
    fault_archive.on("/x", Answer(body=body, framing=framing))
    one = client()
    async with await opened(one, fault_archive) as response:
        assert await response.small() is None
        assert b"".join([chunk async for chunk in response]) == body
    assert len(fault_archive.requests) == 1
    await one.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(body=b"abc", cut_after=2), ArchiveUnreachable),
        (Answer(body=b"abc", cut_after=2, framing="chunked"), ArchiveUnreachable),
        (Answer(body=b"abc", stall_after=2), ArchiveTimeout),
    ],
)
async def test_a_small_body_that_does_not_come_gives_its_turn_back(
    fault_archive: FaultArchive, answer: Answer, error: type[Exception]
) -> None:
    fault_archive.on("/x", answer)
    one = client(max_concurrency=1, timeout_seconds=0.2, queue_seconds=0.2)
    for _ in range(2):
        with pytest.raises(error):
            await (await opened(one, fault_archive)).small()
    await one.close()

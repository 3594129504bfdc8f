"""What one process lays on the desk, the other one sees, however often and however much."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from gateway.adapters.desk import KEPT_BYTES, Chunks, Desk, View


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


async def test_contents_are_seen_one_by_one(desk: Desk) -> None:
    view = View(desk.descriptor)
    for contents in ((b"metadata", bytearray(b"frame")), (b"a" * 100_000,), (b"short",)):
        await desk.lay(contents)
        found = view.contents([len(c) for c in contents])
        assert [bytes(f) for f in found] == [bytes(c) for c in contents]


async def test_memory_of_large_contents_is_given_back(desk: Desk) -> None:
    large = b"x" * (KEPT_BYTES + 1)
    view = View(desk.descriptor)
    for content in (large, b"small", large):
        await desk.lay((content,))
        assert bytes(view.contents([len(content)])[0]) == content
        desk.clear()
        assert os.fstat(desk.descriptor).st_blocks * 512 <= KEPT_BYTES


async def test_what_comes_after_is_seen_whether_its_pages_were_there_or_not(desk: Desk) -> None:
    view = View(desk.descriptor)
    for size in (10, 100_000, 50_000, 3 * 2**20, KEPT_BYTES, KEPT_BYTES + 5, 7):
        content = os.urandom(size)
        await desk.lay((content[:3], content[3:]))
        assert bytes(view.contents([size])[0]) == content
        desk.clear()


async def test_the_other_process_cannot_cut_what_is_written_as_memory(desk: Desk) -> None:
    await desk.lay((b"x" * 100_000,))
    with pytest.raises(PermissionError):
        os.ftruncate(desk.descriptor, 0)


async def test_caller_who_leaves_waits_until_nothing_is_written_any_more(desk: Desk) -> None:
    laying = asyncio.ensure_future(desk.lay((b"x" * (64 * 2**20),)))
    await asyncio.sleep(0)
    laying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await laying
    assert os.fstat(desk.descriptor).st_size == 64 * 2**20


async def test_nothing_is_not_mapped(desk: Desk) -> None:
    with pytest.raises(EOFError):
        View(desk.descriptor).contents([0])


@pytest.mark.parametrize("count", [0, 1, 3, 2000])
async def test_content_in_pieces_is_seen_as_one(desk: Desk, count: int) -> None:
    chunks = Chunks()
    for number in range(count):
        chunks.append(b"%d," % number)
    await desk.lay((b"before", chunks, b"after"))
    whole = b"".join(b"%d," % number for number in range(count))
    found = View(desk.descriptor).contents([6, len(chunks), 5])
    assert [bytes(f) for f in found] == [b"before", whole, b"after"]

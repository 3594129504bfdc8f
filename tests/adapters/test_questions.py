"""What one request asks in several places at once is asked once; what others ask is not."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters.questions import Questions, asked_together
from gateway.errors import ArchiveTimeout


class Archive:
    """Answers when it may, and counts."""

    def __init__(self) -> None:
        self.questions: Questions[int] = Questions()
        self.may_answer = asyncio.Event()
        self.is_asked = asyncio.Event()
        self.asked = 0
        self.is_lost = False

    async def answer(self, question: str) -> int:
        return await self.questions.answer(question, self._answered)

    async def _answered(self) -> int:
        self.asked += 1
        mine = self.asked
        self.is_asked.set()
        await self.may_answer.wait()
        if self.is_lost:
            raise ArchiveTimeout("no answer", archive="north")
        return mine


async def test_that_one_request_asks_once() -> None:
    archive = Archive()
    archive.may_answer.set()
    with asked_together():
        answers = await asyncio.gather(*(archive.answer(q) for q in ("a", "a", "b")))
        assert await archive.answer("a") == 3  # what was answered before is asked anew
    assert answers == [1, 1, 2]


async def test_that_requests_share_nothing() -> None:
    archive = Archive()
    archive.may_answer.set()

    async def one_request() -> int:
        with asked_together():
            return await archive.answer("a")

    asking = (one_request(), one_request(), archive.answer("a"))
    assert sorted(await asyncio.gather(*asking)) == [1, 2, 3]


async def test_that_whoever_leaves_takes_the_answer_from_nobody() -> None:
    archive = Archive()
    with asked_together():
        leaving = asyncio.ensure_future(archive.answer("a"))
        staying = asyncio.ensure_future(archive.answer("a"))
    await archive.is_asked.wait()
    leaving.cancel()
    archive.may_answer.set()
    assert await staying == 1


async def test_that_all_hear_of_a_failure() -> None:
    archive = Archive()
    archive.is_lost = True
    archive.may_answer.set()
    with asked_together():
        asking = [asyncio.ensure_future(archive.answer("a")) for _ in range(2)]
    for one in asking:
        with pytest.raises(ArchiveTimeout):
            await one
    assert archive.asked == 1


async def test_that_nothing_is_under_way_after_the_end() -> None:
    archive = Archive()
    with asked_together():
        asking = asyncio.ensure_future(archive.answer("a"))
    await archive.is_asked.wait()
    await archive.questions.close()
    with pytest.raises(Exception, match="stopping"):
        await asking

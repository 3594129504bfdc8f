"""What one request asks in several places at once is asked once; what others ask is not."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref

import pytest

from gateway.adapters.questions import Questions, asked_together, asker
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
        assert archive.questions.told("a") == 1
        assert archive.questions.told("c") is None
        assert await archive.answer("a") == 3  # who wants it as it is now
    assert answers == [1, 1, 2]
    assert archive.questions.told("a") is None


async def test_that_what_was_told_is_let_go_with_the_request() -> None:
    """Connections hold the context in which they were opened, and with it what is in there."""
    archive = Archive()
    archive.may_answer.set()
    with asked_together():
        assert await archive.answer("a") == 1
        meanwhile = contextvars.copy_context()
        told = weakref.ref(asker())
        assert meanwhile.run(archive.questions.told, "a") == 1
    gc.collect()
    assert told() is None
    assert meanwhile.run(archive.questions.told, "a") is None


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
        assert archive.questions.told("a") is None
    assert archive.asked == 1


async def test_that_nothing_is_under_way_after_the_end() -> None:
    archive = Archive()
    with asked_together():
        asking = asyncio.ensure_future(archive.answer("a"))
        await archive.is_asked.wait()
        await archive.questions.close()
        with pytest.raises(Exception, match="stopping"):
            await asking

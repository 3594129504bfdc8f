from __future__ import annotations

import pytest

from gateway.adapters.http_answer import READ_BYTES, Answer, BrokenOff, NotHttp


class Source:
    """A connection from which nothing comes but what a test adds."""

    def __init__(self) -> None:
        self.resumed = self.ended = 0

    async def next(self, seconds: float) -> None:
        raise TimeoutError

    def resume(self) -> None:
        self.resumed += 1

    def done(self, answer: Answer) -> None:
        self.ended += 1


def begun(*fields: tuple[str, bytes], status: int = 200) -> Answer:
    answer = Answer(Source())
    for name, value in fields:
        answer.field(name, value)
    answer.begin(status)
    return answer


@pytest.mark.parametrize(
    ("fields", "length", "has_end"),
    [
        ([], None, False),
        ([("Content-Length", b"12")], 12, True),
        ([("Transfer-Encoding", b" Chunked ")], None, True),
    ],
)
def test_the_head_tells_where_the_body_ends(
    fields: list[tuple[str, bytes]], length: int | None, *, has_end: bool
) -> None:
    answer = begun(*fields)
    assert (answer.status, answer.length, answer.has_end) == (200, length, has_end)


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity"])
def test_a_body_in_another_transfer_coding_is_refused(coding: bytes) -> None:
    with pytest.raises(NotHttp):
        begun(("Transfer-Encoding", coding))


def test_nothing_of_an_interim_head_or_of_a_trailer_is_believed() -> None:
    answer = begun(("Content-Type", b"early"), status=103)
    assert (answer.status, answer.headers) == (0, {})
    answer.begin(200)
    answer.field("Content-Type", b"late")
    assert answer.headers == {}


async def test_what_came_is_read_before_the_error_that_ended_it() -> None:
    answer = begun()
    answer.add(b"ab")
    answer.add(b"c")
    answer.fail(BrokenOff("first"))
    answer.fail(NotHttp("second"))
    assert [await answer.chunk(1), await answer.chunk(1)] == [b"ab", b"c"]
    for _ in range(2):
        with pytest.raises(BrokenOff, match="first"):
            await answer.chunk(1)


async def test_what_nobody_waits_for_any_more_does_not_come() -> None:
    source = Source()
    answer = Answer(source)
    answer.begin(200)
    answer.let_go()
    answer.let_go()
    assert source.ended == 1
    with pytest.raises(BrokenOff):
        await answer.chunk(1)


async def test_more_is_read_once_less_waits_than_may() -> None:
    source = Source()
    answer = Answer(source)
    answer.begin(200)
    assert not answer.add(bytes(READ_BYTES))
    assert answer.add(b"x")
    await answer.chunk(1)
    assert source.resumed == 1


async def test_a_length_beyond_the_bound_is_not_waited_for() -> None:
    answer = begun(("Content-Length", b"11"))
    assert await answer.whole(10, 1) is None
    with pytest.raises(TimeoutError):
        await answer.whole(11, 1)

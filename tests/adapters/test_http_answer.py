from __future__ import annotations

import random

import pytest

from gateway.adapters.http_answer import READ_BYTES, Answer, BrokenOff, NotHttp
from gateway.adapters.http_connection import Connection


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


WHOLE = (
    b"HTTP/1.1 200 OK\r\nServer: some/1.2 (x)\r\nContent-Type: multipart/related;  boundary=a\r\n"
    b"Connection: keep-alive\r\nCache-Control: no-store\r\nContent-Length: 5\r\n"
    b'ETag: "1-2"\r\nX-Empty: \r\n\r\n'
)


def parsed(data: bytes) -> tuple[object, ...] | None:
    """What a connection makes of bytes by its parser; None: they are no whole answer to go on."""
    ended: list[Connection] = []
    connection = Connection(ended.append, ended.append)
    answer = Answer(connection)
    connection._answer, connection._is_new = answer, False
    connection.data_received(data)
    if not answer.is_whole or connection._is_spoilt or answer.error is not None:
        return None
    return told(answer)


def told(answer: Answer) -> tuple[object, ...]:
    """All of an answer."""
    headers = sorted(answer.headers.items())
    return answer.status, headers, answer.length, answer.has_end, answer.peeked(READ_BYTES)


async def test_a_plain_answer_is_taken_without_a_parser() -> None:
    answer = Answer(Source())
    assert answer.take_plain(WHOLE + b"abcde")
    assert told(answer) == parsed(WHOLE + b"abcde")
    assert [await answer.chunk(1), await answer.chunk(1)] == [b"abcde", b""]


@pytest.mark.parametrize(
    ("of", "by"),
    [
        (b"ETag", b"Content-Length"),
        (b"ETag", b"content-length"),
        (b"ETag", b"Content-Type"),
        (b'ETag: "1-2"', b"Transfer-Encoding: chunked"),
        (b'ETag: "1-2"', b"tRANSFER-eNCODING: identity"),
        (b"ETag", b"Content-Encoding"),
        (b"ETag", b"CONTENT-RANGE"),
        (b"ETag", b"Proxy-Connection"),
        (b"ETag", b"Upgrade"),
        (b"ETag", b"Retry-After"),
        (b"ETag", b"Warning"),
        (b"ETag", b"wARNING"),
        (b"ETag: ", b"ETag:"),
        (b"ETag: ", b"ETag : "),
        (b"ETag", b"E_Tag"),
        (b"ETag", b" ETag"),
        (b"keep-alive", b"close"),
        (b"keep-alive", b"keep-alive, upgrade"),
        (b"Content-Length: 5", b"Content-Length: 05"),
        (b"Content-Length: 5", b"Content-Length: 4"),
        (b"Content-Length: 5", b"Content-Length: 6"),
        (b"Content-Length: 5", b"Content-Length: +5"),
        (b"Content-Length: 5", b"Content-Length: 5 "),
        (b"Content-Length: 5\r\n", b""),
        (b"HTTP/1.1 200", b"HTTP/1.0 200"),
        (b"HTTP/1.1 200", b"HTTP/1.1 206"),
        (b"HTTP/1.1 200", b"HTTP/1.1 100"),
        (b"no-store\r\n", b"no-store\n"),
        (b"no-store", b"no\tstore"),
        (b"no-store", b"no\x00store"),
        (b"no-store", b"no\xffstore"),
    ],
)
def test_whatever_leaves_a_choice_takes_a_parser(of: bytes, by: bytes) -> None:
    assert of in WHOLE
    answer = Answer(Source())
    assert not answer.take_plain(WHOLE.replace(of, by) + b"abcde")
    assert (answer.status, answer.headers, answer.peeked(9)) == (0, {}, b"")


async def test_what_is_taken_without_a_parser_is_what_a_parser_reads() -> None:
    made = random.Random(7)  # noqa: S311 - nobody is to guess it
    pieces = [*WHOLE.split(b"\r\n"), b"content-length: 5", b"content-type: a/b", b"Age: 1", b"X:"]
    bits = [b"\r", b"\n", b" ", b":", b"\t", b"5", b"", b"close", b"c", b"\x80", b"chunked"]
    taken = 0
    for _ in range(20_000):
        lines = [WHOLE[:15], *made.choices(pieces, k=made.randint(1, 6)), b"", b"abcde"]
        data = b"\r\n".join(lines[:-1]) + b"\r\n" + lines[-1]
        for _ in range(made.choice((0, 0, 1, 2))):
            at = made.randrange(len(data))
            data = data[:at] + made.choice(bits) + data[at + made.choice((0, 1)) :]
        answer = Answer(Source())
        if answer.take_plain(data):
            taken += 1
            assert told(answer) == parsed(data), data
    assert taken > 500


async def test_what_came_is_read_before_the_error_that_ended_it() -> None:
    answer = begun()
    answer.add(b"ab")
    answer.add(b"c")
    answer.fail(BrokenOff("first"))
    answer.fail(NotHttp("second"))
    assert await answer.chunk(1) == b"abc"
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

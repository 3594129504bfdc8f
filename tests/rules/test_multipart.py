from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.rules.multipart import Data, End, Event, Head, MultipartError, Splitter, only_part

Parts = list[tuple[dict[str, str], bytes]]


def split(body: bytes, cuts: Iterable[int] = (), boundary: str = "b") -> Parts:
    """The parts of a body fed in pieces; MultipartError when it is cut off."""
    splitter = Splitter(boundary)
    bounds = [0, *sorted(cuts), len(body)]
    events: list[Event] = []
    for start, end in pairwise(bounds):
        events += splitter.feed(body[start:end])
    return _parts(events + splitter.finish())


def _parts(events: Sequence[Event]) -> Parts:
    parts: Parts = []
    is_open = False
    for event in events:
        if isinstance(event, Head):
            assert not is_open
            parts.append((event.fields, b""))
            is_open = True
        elif isinstance(event, Data):
            assert is_open
            assert event.chunk
            parts[-1] = (parts[-1][0], parts[-1][1] + event.chunk)
        elif isinstance(event, End):
            assert is_open
            is_open = False
    assert not is_open
    return parts


def body(*parts: bytes, boundary: str = "b", line_end: bytes = b"\r\n") -> bytes:
    """A body as servers write it, each part with one header field."""
    mark = b"--" + boundary.encode()
    written = b"".join(
        mark + line_end + b"Content-Type: a/b" + line_end * 2 + part + line_end for part in parts
    )
    return written + mark + b"--" + line_end


FIELDS = {"content-type": "a/b"}

ODD_BODIES = [
    pytest.param(b"--b\r\nA: 1\r\n\r\nxy\r\n--b--\r\n", [({"a": "1"}, b"xy")], id="ordinary"),
    pytest.param(b"--b\r\nA: 1\r\n\r\nxy\r\n--b--", [({"a": "1"}, b"xy")], id="no last line end"),
    pytest.param(b"--b\r\nA: 1\r\n\r\nxy\r\n--b--\r", [({"a": "1"}, b"xy")], id="half of it"),
    pytest.param(b"--b\nA: 1\n\nxy\n--b--\n", [({"a": "1"}, b"xy")], id="LF"),
    pytest.param(b"--b\nA: 1\n\nxy\r\n--b--\n", [({"a": "1"}, b"xy\r")], id="LF, data ends in CR"),
    pytest.param(b"--b\r\nA: 1\n\nxy\r\n--b--", [({"a": "1"}, b"xy")], id="both line ends"),
    pytest.param(b"\r\n--b\r\n\r\nxy\r\n--b--", [({}, b"xy")], id="line end in front"),
    pytest.param(b"hello\r\nyou\r\n--b\r\n\r\nxy\r\n--b--", [({}, b"xy")], id="preamble"),
    pytest.param(b"x --b\r\n--b\r\n\r\nxy\r\n--b--", [({}, b"xy")], id="boundary in the preamble"),
    pytest.param(
        b"--b\r\n\r\nxy\r\n--b--\r\nbye\r\n--b\r\n\r\nzz", [({}, b"xy")], id="epilogue with a part"
    ),
    pytest.param(b"--b \t\r\n\r\nxy\r\n--b--  \r\n", [({}, b"xy")], id="padding"),
    pytest.param(b"--b\r\n\r\n\r\n--b\r\n\r\n\r\n--b--", [({}, b"")] * 2, id="empty parts"),
    pytest.param(b"--b\r\n\r\n--b--", [({}, b"")], id="empty part without its line end"),
    pytest.param(b"--b--\r\n", [], id="no parts"),
    pytest.param(
        b"--b\r\nContent-Type: a/b;\r\n\tc=d\r\nX:1\r\n\r\nxy\r\n--b--",
        [({"content-type": "a/b; c=d", "x": "1"}, b"xy")],
        id="folded header",
    ),
    pytest.param(
        b"--b\r\nX: \xc3\x85\x85\x1c\r\nnonsense\r\n\r\nxy\r\n--b--",
        [({"x": "\xc3\x85\x85\x1c".strip()}, b"xy")],
        id="odd characters in a header",
    ),
    pytest.param(
        b"--b\r\n\r\n--c\r\n\r\nin\r\n--c--\r\n\r\n--b--",
        [({}, b"--c\r\n\r\nin\r\n--c--\r\n")],
        id="nested",
    ),
    pytest.param(
        b"--b\r\n\r\n\r\n--bb\r\n--b-\r\n--b--x\r\n-b\r\n--bx--\r\n x --b\r\n--b--",
        [({}, b"\r\n--bb\r\n--b-\r\n--b--x\r\n-b\r\n--bx--\r\n x --b")],
        id="data like boundaries",
    ),
    pytest.param(
        b"--b\r\n\r\n\r\r\n\n\r\r\n--b\r\n\r\n\n\r\n--b--",
        [({}, b"\r\r\n\n\r"), ({}, b"\n")],
        id="data of line ends",
    ),
]


@pytest.mark.parametrize(("given_", "expected"), ODD_BODIES)
def test_odd_bodies_are_read_whole_and_byte_by_byte(given_: bytes, expected: Parts) -> None:
    assert split(given_) == expected
    assert split(given_, range(len(given_))) == expected


@pytest.mark.parametrize(
    "given_",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>502 Bad Gateway</html>", id="a page"),
        pytest.param(b"--c\r\n\r\nxy\r\n--c--\r\n", id="another boundary"),
        pytest.param(b"--b\r\n\r\nxy\r\n--b\r\n", id="no end"),
        pytest.param(b"--b\r\n\r\nxy\r\n--b-", id="half an end"),
        pytest.param(b"--b\r\n\r\nxy--b--", id="end within a line"),
        pytest.param(b"--b\r\n\r\nxy\r\n --b--", id="end indented"),
        pytest.param(b"--b\r\nA: 1", id="cut in a header"),
        pytest.param(b"--b\r\nA: " + b"x" * 20000 + b"\r\n\r\nxy\r\n--b--", id="endless header"),
        pytest.param(b"--b\r\n\r\nxy\r\n--b" + b" " * 300 + b"\r\n--b", id="endless padding"),
    ],
)
def test_what_is_cut_off_or_no_multipart_is_an_error(given_: bytes) -> None:
    with pytest.raises(MultipartError):
        split(given_)
    with pytest.raises(MultipartError):
        split(given_, range(len(given_)))


_data = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--b", b"b", b" ", b"x", b"\r\n--", b"--B", b"--bb"]),
    max_size=12,
).map(b"".join)


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes], str]:
    """A body, what its parts hold, and its boundary."""
    boundary = draw(st.sampled_from(["b", "b-b", "--", "a b'()+_,-./:=?c", "0" * 70, "Ä"]))
    mark = b"\n--" + boundary.encode()
    contents = draw(st.lists(_data.filter(lambda d: mark not in b"\n" + d), max_size=4))
    preamble = draw(st.sampled_from([b"", b"\r\n", b"preamble\r\n"]))
    epilogue = draw(st.sampled_from([b"", b"\r\n", b"epilogue\r\n--b\r\n"]))
    return preamble + body(*contents, boundary=boundary) + epilogue, contents, boundary


@given(_bodies(), st.lists(st.integers(0, 600), max_size=30))
def test_any_body_cut_into_any_chunks_gives_the_same_parts(
    made: tuple[bytes, list[bytes], str], cuts: list[int]
) -> None:
    given_, contents, boundary = made
    expected = [(FIELDS, content) for content in contents]
    assert split(given_, boundary=boundary) == expected
    assert split(given_, [c for c in cuts if c < len(given_)], boundary) == expected


LONG = "0123456789abcdef-as-archives-write-it"
_near = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"-",
        b"\r\n--",
        LONG.encode(),
        b"\n--" + LONG[:-1].encode(),
        b"x" * 999,
    ]
)


@given(
    st.lists(
        st.tuples(st.integers(4000, 9000), st.lists(_near, max_size=9).map(b"".join)), max_size=3
    ).filter(lambda parts: all(f"\n--{LONG}".encode() not in b"\n" + near for _, near in parts)),
    st.lists(st.tuples(st.integers(0, 3), st.integers(-80, 80)), max_size=9),
    st.sampled_from([b"\r\n", b"\n"]),
)
def test_large_pieces_may_end_anywhere_near_a_delimiter(
    made: list[tuple[int, bytes]], cuts: list[tuple[int, int]], line_end: bytes
) -> None:
    contents = [b"\xff" * size + near for size, near in made]
    given_ = body(*contents, boundary=LONG, line_end=line_end)
    ends = [m.start() for m in re.finditer(f"--{LONG}".encode(), given_)]
    bounds = {min(max(ends[n % len(ends)] + off, 0), len(given_)) for n, off in cuts}
    expected = [(FIELDS, content) for content in contents]
    assert split(given_, boundary=LONG) == split(given_, bounds, LONG) == expected
    closing = given_.rindex(f"--{LONG}--".encode()) + len(LONG) + 3
    with pytest.raises(MultipartError):
        split(given_[:closing], [c for c in bounds if c < closing], LONG)


@given(st.lists(_data.filter(lambda d: b"\n--b" not in b"\n" + d), max_size=3), st.data())
def test_body_of_bare_line_feeds_keeps_every_byte(parts: list[bytes], data: st.DataObject) -> None:
    given_ = body(*parts, line_end=b"\n")
    cuts = data.draw(st.lists(st.integers(0, len(given_)), max_size=20))
    assert split(given_, cuts) == [(FIELDS, part) for part in parts]


@given(_bodies(), st.data())
def test_any_prefix_without_the_closing_delimiter_is_cut_off(
    made: tuple[bytes, list[bytes], str], data: st.DataObject
) -> None:
    given_, _, boundary = made
    closing = given_.index(f"--{boundary}--\r\n".encode())
    end = data.draw(st.integers(0, closing + len(boundary.encode()) + 3))
    if boundary == "--":  # its delimiter looks like the closing one, two bytes earlier
        end = min(end, closing)
    cuts = data.draw(st.lists(st.integers(0, end), max_size=5))
    with pytest.raises(MultipartError):
        split(given_[:end], cuts, boundary)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
@example(b"--b\r\n--b\r\n\r\n\r\n--b--", [5])
def test_any_bytes_in_any_chunks_do_the_same(given_: bytes, cuts: list[int]) -> None:
    bounded = [c for c in cuts if c < len(given_)]
    for text in (given_, b"--b\r\n" + given_ + b"\r\n--b--"):
        assert _outcome(text, ()) == _outcome(text, bounded) == _outcome(text, range(len(text)))


def _outcome(given_: bytes, cuts: Iterable[int]) -> Parts | None:
    try:
        return split(given_, cuts)
    except MultipartError:
        return None


def sized(
    *parts: bytes, boundary: str = "b", line_end: bytes = b"\r\n", said: int | None = None
) -> bytes:
    """A body whose parts say how long they are, or that they are `said` bytes long."""
    mark = b"--" + boundary.encode()
    written = b"".join(
        mark + line_end + b"Content-Length: %d" % (len(p) if said is None else said)
        + line_end * 2 + p + line_end
        for p in parts
    )  # fmt: skip
    return written + mark + b"--" + line_end


@given(
    st.lists(_data, max_size=4),
    st.sampled_from([b"\r\n", b"\n"]),
    st.lists(st.integers(0, 600), max_size=30),
)
@example([b"\r\n--b--\r\n"], b"\r\n", [])
@example([b"", b"\r", b"\n", b"\r\n"], b"\n", [])
def test_nothing_in_a_part_that_says_its_length_is_a_delimiter(
    contents: list[bytes], line_end: bytes, cuts: list[int]
) -> None:
    given_ = sized(*contents, line_end=line_end)
    expected = [({"content-length": str(len(c))}, c) for c in contents]
    assert split(given_) == expected
    assert split(given_, [c for c in cuts if c < len(given_)]) == expected


@given(_data.filter(lambda d: b"--b" not in d), st.integers(-3, 30), st.data())
@example(b"abc", 1, None)  # the length of the data with the CR behind it
@example(b"", 1, None)
def test_a_part_of_another_length_than_it_says_is_an_error(
    content: bytes, off: int, data: st.DataObject | None
) -> None:
    said = len(content) + off
    if off == 0 or said < 0:
        return
    given_ = sized(content, said=said)
    cuts = data.draw(st.lists(st.integers(0, len(given_)), max_size=9)) if data else ()
    with pytest.raises(MultipartError):
        split(given_, cuts)


@given(st.lists(_data, min_size=1, max_size=3), st.data())
def test_a_cut_part_that_says_its_length_is_an_error(
    contents: list[bytes], data: st.DataObject
) -> None:
    given_ = sized(*contents)
    end = data.draw(st.integers(0, len(given_) - len(b"-\r\n")))
    with pytest.raises(MultipartError):
        split(given_[:end], data.draw(st.lists(st.integers(0, end), max_size=5)))


def at_once(given_: bytes, boundary: str = "b") -> Parts | None:
    """The only part of a whole body; None where that cannot be told at once."""
    only = only_part(given_, boundary)
    return None if only is None else [(only[0].fields, only[1])]


@given(_bodies(), st.booleans())
def test_the_only_part_of_a_whole_body_is_the_one_that_splitting_gives(
    made: tuple[bytes, list[bytes], str],
    says_length: bool,  # noqa: FBT001 - given drawn
) -> None:
    given_, contents, boundary = made
    if says_length:
        given_ = sized(*contents, boundary=boundary)
    assert at_once(given_, boundary) in (None, split(given_, boundary=boundary))


@given(st.binary(max_size=300) | _data.map(lambda d: b"--b\r\n" + d + b"\r\n--b--\r\n"))
def test_what_splitting_refuses_has_no_only_part(given_: bytes) -> None:
    assert at_once(given_) in (None, _outcome(given_, ()))


@pytest.mark.parametrize("content", [b"x", b"", b"\r\n", b"\r\n--", b"a\n--a"])
def test_an_ordinary_only_part_is_told_at_once(content: bytes) -> None:
    assert at_once(body(content)) == [(FIELDS, content)]
    length = {"content-length": str(len(content))}
    assert at_once(sized(content)) == at_once(sized(content)[:-2]) == [(length, content)]


@pytest.mark.parametrize(
    "given_",
    [
        body(b"x", b"y"),
        body(b"x", line_end=b"\n"),
        body(b"x") + b"epilogue",
        b"\r\n" + body(b"x"),
        sized(b"xy", said=1),
        sized(b"xy", said=3),
        sized(b"xy", said=3000),
        body(b"x")[:-4],
        body(b"a\n--b\nb"),
    ],
)
def test_what_is_not_ordinary_is_left_to_splitting(given_: bytes) -> None:
    assert at_once(given_) is None


@pytest.mark.parametrize("text", ["", "-1", "+1", "1_0", "0x1", "1, 1", "²", "1" * 30])
def test_what_is_no_length_says_nothing(text: str) -> None:
    given_ = f"--b\r\nContent-Length: {text}\r\n\r\nxy\r\n--b--".encode("latin-1")
    assert [data for _, data in split(given_)] == [b"xy"]


def test_an_empty_part_without_its_line_end_may_say_its_length() -> None:
    assert split(b"--b\r\nContent-Length: 0\r\n\r\n--b--") == [({"content-length": "0"}, b"")]


def test_data_comes_as_soon_as_it_cannot_be_a_delimiter() -> None:
    splitter = Splitter("b")
    splitter.feed(b"--b\r\n\r\n")
    events = splitter.feed(b"x" * 1000)
    assert sum(len(e.chunk) for e in events if isinstance(e, Data)) > 990


def test_nothing_is_read_behind_the_end() -> None:
    splitter = Splitter("b")
    states = []
    for chunk in (b"--b\r\n\r\nx", b"\r\n--b--", b"\r\n"):
        splitter.feed(chunk)
        states.append(splitter.is_closed)
    assert states == [False, False, True]
    assert splitter.feed(b"--b\r\n\r\nx" * 1000) == []
    assert splitter.finish() == []


@pytest.mark.parametrize(
    "given_",
    [
        body(b"\r\n--bx" * 200_000),
        b"--b\r\n\r\n" + b"\r\n--b" + b" " * 1_000_000,
        b"--b\r\n\r\nx\r\n" * 20_000,
        b"\n" * 1_000_000,
    ],
    ids=["false boundaries", "padding", "many parts", "line ends"],
)
def test_hostile_bodies_are_split_at_once(given_: bytes) -> None:
    began = time.process_time()
    _outcome(given_, range(0, len(given_), 65536))
    assert time.process_time() - began < 3

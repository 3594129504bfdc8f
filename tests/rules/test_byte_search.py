"""Bytes found in many more bytes, as Python's own search finds them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.byte_search import find

TEXT = b"\n--0123456789abcdef"
MUCH = bytes(range(256)) * 64


@given(
    st.binary(min_size=1, max_size=80) | st.just(TEXT),
    st.lists(st.binary(max_size=9) | st.sampled_from([MUCH, TEXT, TEXT[:-1], b"\n--"]), max_size=6),
    st.integers(0, 3) | st.integers(0, 40_000),
)
def test_bytes_are_found_where_they_are(text: bytes, among: list[bytes], start: int) -> None:
    data = b"".join(among)
    for one in (data, data + text, data + text + data):
        assert find(one, text, start) == one.find(text, start)


@pytest.mark.parametrize("at", [0, 1, 4_096, 262_144 - len(TEXT)])
def test_bytes_are_found_at_either_end_of_a_piece(at: int) -> None:
    piece = bytes(at) + TEXT + bytes(262_144 - at - len(TEXT))
    assert find(piece, TEXT, 0) == at
    assert find(piece[:-1] if at == 262_144 - len(TEXT) else bytes(262_144), TEXT, 0) == -1


@pytest.mark.parametrize(
    ("text", "among"),
    [
        (b"\n--" + b"a" * 200, b"a"),
        (b"\n--" + b"a" * 200, b"\n--" + b"a" * 199),
        (b"\n--" + b"ab" * 100, b"b" + b"ab" * 99),
    ],
    ids=["the same over and over", "all but the end", "all but the beginning"],
)
def test_what_is_much_like_it_takes_little_longer(text: bytes, among: bytes) -> None:
    data = among * (10_000_000 // len(among))
    began = time.process_time()
    find(data, text, 0)
    assert time.process_time() - began < 3

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RangeNotSatisfiable
from gateway.model import ByteRange, Span
from gateway.rules import byte_ranges

BODY = bytes(range(100))


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-9", BODY[:10]),
        ("bytes=90-", BODY[90:]),
        ("bytes=-7", BODY[-7:]),
        ("bytes=-1000", BODY),
        ("bytes=95-1000", BODY[95:]),
        ("bytes=99-99", BODY[99:]),
        (" Bytes = 1 - 2 ", BODY[1:3]),
    ],
)
def test_one_range_is_understood(field: str, expected: bytes) -> None:
    wanted = byte_ranges.asked("GET", field, None)
    assert wanted is not None
    span = byte_ranges.span(wanted, len(BODY))
    assert BODY[span.first : span.last + 1] == expected
    assert span.length == len(expected)
    assert byte_ranges.asked("GET", byte_ranges.field(wanted), None) == wanted
    assert byte_ranges.given(byte_ranges.content_range(span), wanted) == span


@pytest.mark.parametrize(
    ("method", "field", "if_range"),
    [
        ("GET", None, None),
        ("GET", "bytes=0-9,20-29", None),
        ("GET", "bytes=-", None),
        ("GET", "bytes=9-0", None),
        ("GET", "bytes=a-b", None),
        ("GET", "bytes=0x1-2", None),
        ("GET", "bytes=\N{ARABIC-INDIC DIGIT ONE}-", None),
        ("GET", "items=0-9", None),
        ("GET", "bytes=" + "9" * 30 + "-", None),
        ("HEAD", "bytes=0-9", None),
        ("GET", "bytes=0-9", '"tag"'),
    ],
)
def test_anything_else_asks_for_everything(
    method: str, field: str | None, if_range: str | None
) -> None:
    assert byte_ranges.asked(method, field, if_range) is None


@pytest.mark.parametrize("field", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_what_is_outside_is_not_satisfiable(field: str) -> None:
    wanted = byte_ranges.asked("GET", field, None)
    assert wanted is not None
    with pytest.raises(RangeNotSatisfiable) as caught:
        byte_ranges.span(wanted, 100)
    assert caught.value.total == 100
    with pytest.raises(RangeNotSatisfiable):
        byte_ranges.span(wanted, 0)


@pytest.mark.parametrize(
    "told",
    [None, "", "bytes 0-9", "bytes 0-9/*", "bytes 1-10/100", "bytes 0-8/100", "bytes */100",
     "items 0-9/100", "bytes 0-9/5", "bytes 9-0/100"],
)  # fmt: skip
def test_another_range_than_asked_for_is_none(told: str | None) -> None:
    assert byte_ranges.given(told, ByteRange(first=0, last=9)) is None


@given(st.text(max_size=30), st.integers(0, 1000))
def test_any_field_is_ignored_or_names_bytes_of_the_body(field: str, total: int) -> None:
    wanted = byte_ranges.asked("GET", field, None)
    if wanted is None:
        return
    try:
        span = byte_ranges.span(wanted, total)
    except RangeNotSatisfiable:
        return
    assert 0 <= span.first <= span.last < total
    assert byte_ranges.given(f"bytes {span.first}-{span.last}/{total}", wanted) == Span(
        first=span.first, last=span.last, total=total
    )

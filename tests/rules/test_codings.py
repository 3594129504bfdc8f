"""Accept-Encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NotAcceptable
from gateway.rules.codings import Coding, coding

ZSTD, GZIP, IDENTITY = Coding.ZSTD, Coding.GZIP, Coding.IDENTITY


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip, deflate, br, zstd", ZSTD),
        ("gzip", GZIP),
        ("x-gzip", GZIP),
        ("GZIP ; Q=0.5", GZIP),
        ("zstd;q=0.5, gzip", GZIP),
        ("zstd;q=0, gzip;q=0.1", GZIP),
        ("zstd", ZSTD),
        ("*", GZIP),
        ("*;q=0, zstd", ZSTD),
        ("deflate, gzip;q=0.5, *;q=0", GZIP),
        ("identity, gzip;q=0.5", IDENTITY),
        ("identity;q=0.5, gzip", GZIP),
        ("identity;q=0, gzip;q=0.001", GZIP),
        ("gzip;q=0", IDENTITY),
        ("gzip;q=0, *", IDENTITY),
        ("br", IDENTITY),
        ("", IDENTITY),
        (", ,gzip", GZIP),
        ("gzip;q=nonsense", IDENTITY),
    ],
)
def test_coding_is_the_one_that_is_liked_best(accepted: str, expected: Coding) -> None:
    assert coding([accepted]) is expected


def test_fields_are_one_list_and_none_asks_for_nothing() -> None:
    assert coding(["br", "zstd"]) is ZSTD
    assert coding([]) is IDENTITY


@pytest.mark.parametrize("accepted", ["identity;q=0", "*;q=0", "br, *;q=0", "identity;q=0, br"])
def test_nothing_that_is_accepted_is_not_acceptable(accepted: str) -> None:
    with pytest.raises(NotAcceptable):
        coding([accepted])


@given(fields=st.lists(st.text()))
def test_any_field_is_read_or_refused(fields: list[str]) -> None:
    try:
        assert coding(fields) in Coding
    except NotAcceptable:
        assert "0" in "".join(fields)

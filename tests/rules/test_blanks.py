"""What is filled in stands where its mark was, and all else as it was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.blanks import Blanks

MARKS = {b"id": b"<<id>>", b"at": b"<<at>>"}


@given(st.lists(st.sampled_from([b"%", b"%s", b"%%(id)b", b"x", b"<<", *MARKS.values()])))
def test_only_marks_are_replaced(parts: list[bytes]) -> None:
    text, values = b"|".join(parts), {b"id": b"100%", b"at": b"%(id)b"}
    expected = text.replace(MARKS[b"id"], b"\0").replace(MARKS[b"at"], values[b"at"])
    assert Blanks(text, MARKS).filled(values) == expected.replace(b"\0", values[b"id"])

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.rules import qido_values

VRS = ["UI", "CS", "DA", "TM", "DT", "IS", "DS", "US", "LO", "SH", "PN", "SQ", "OB", "UN", "NONE"]


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DA", "20240229"),
        ("DA", "20240101-20241231"),
        ("DA", "20240101-"),
        ("DA", "-20241231"),
        ("TM", "10"),
        ("TM", "1015"),
        ("TM", "101530.123456"),
        ("TM", "10:15:30-11:00"),
        ("TM", "-235960"),
        ("DT", "2024"),
        ("DT", "20240101101530.5-20240102"),
        ("UI", "1.2.3"),
        ("UI", "1.2.3,1.2.4"),
        ("UI", "1.2.3\\1.2.4"),
        ("CS", "CT,MR"),
        ("CS", "C?"),
        ("IS", "-7"),
        ("IS", "+007"),
        ("DS", "1.5E-3"),
        ("DS", ".5"),
        ("PN", "Müller^*"),
        ("LO", "a,b\\c"),
        ("LO", "' OR 1=1 --"),
        ("LO", "x" * 16384),
    ],
)
def test_value_that_fits_its_vr_passes(vr: str, value: str) -> None:
    qido_values.check(vr, value, "name")


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DA", "*"),
        ("DA", "2024"),
        ("DA", "20230230"),
        ("DA", "20241301"),
        ("DA", "00000101"),
        ("DA", "2024.01.01"),
        ("DA", "2024-01-01"),
        ("DA", "20240101-20240102-20240103"),
        ("DA", "20240101--20240102"),
        ("DA", "-"),
        ("DA", "20240101,20240102"),
        ("DA", "today"),
        ("DA", "२०२४०१०१"),
        ("TM", "24"),
        ("TM", "1"),
        ("TM", "106000"),
        ("TM", "10:15 AM"),
        ("TM", "10*"),
        ("DT", "20240101-0500"),
        ("DT", "x"),
        ("UI", "1.2.*"),
        ("UI", "*"),
        ("UI", "1.2.3,../../system"),
        ("UI", ","),
        ("UI", "9" * 65),
        ("CS", ",\\"),
        ("IS", "1.5"),
        ("IS", "1A"),
        ("IS", "1-5"),
        ("IS", "٣"),
        ("DS", "1,5"),
        ("DS", "1e9999"),
        ("DS", "nan"),
        ("FD", "1_0"),
        ("SQ", "x"),
        ("OB", "x"),
        ("AT", "00100020"),
        ("NONE", "x"),
        ("LO", "a\0b"),
        ("LO", "a\r\nHost: x"),
        ("LO", "a\x7f"),
        ("PN", "\udc80"),
        ("LO", "x" * 16385),
    ],
)  # fmt: skip
def test_value_that_does_not_fit_is_refused_by_name(vr: str, value: str) -> None:
    with pytest.raises(BadRequest, match="InQuestion") as caught:
        qido_values.check(vr, value, "InQuestion")
    assert caught.value.parameter == "InQuestion"


@pytest.mark.parametrize("vr", VRS)
def test_empty_value_matches_everything_in_any_vr(vr: str) -> None:
    qido_values.check(vr, "", "name")


@pytest.mark.parametrize(
    ("vr", "value", "alternatives"),
    [
        ("UI", "1.2, 1.3\\1.4", ["1.2", "1.3", "1.4"]),
        ("CS", "CT,,MR", ["CT", "MR"]),
        ("LO", "a,b", ["a,b"]),
        ("UI", ",", []),
    ],
)
def test_only_uids_and_code_strings_are_lists(vr: str, value: str, alternatives: list[str]) -> None:
    assert qido_values.alternatives(vr, value) == alternatives


@given(st.sampled_from(VRS), st.text(max_size=30) | st.text("0123456789.-+eE,\\*?:", max_size=20))
def test_any_text_passes_or_is_refused(vr: str, value: str) -> None:
    refused = "name"
    try:
        qido_values.check(vr, value, "name")
    except BadRequest as error:
        refused = error.parameter or ""
    assert refused == "name"

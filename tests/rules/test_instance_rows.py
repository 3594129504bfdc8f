from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import dicom_json as dj
from gateway.rules import instance_rows, records

STUDY = "1.2.840.1"

uids = st.sampled_from([f"{STUDY}.{n}" for n in range(5)])
plain = {
    dj.STUDY_INSTANCE_UID: st.sampled_from([[STUDY], [STUDY], [STUDY], ["1.9"]]),
    dj.SERIES_INSTANCE_UID: uids.map(lambda u: [u]),
    dj.SOP_INSTANCE_UID: uids.map(lambda u: [f"{u}.7"]),
    dj.SOP_CLASS_UID: st.sampled_from([["1.2.840.10008.5.1.4.1.1.2"], []]),
    dj.INSTANCE_NUMBER: st.lists(st.integers(0, 2147483647), max_size=1),
    dj.NUMBER_OF_FRAMES: st.lists(st.integers(1, 100), max_size=1),
    dj.ROWS: st.just([512]),
    dj.IMAGE_LATERALITY: st.sampled_from([["L"], []]),
    dj.DOCUMENT_TITLE: st.sampled_from([["Report"], []]),
    dj.PATIENT_NAME: st.just([{"Alphabetic": "Doe^Jane"}]),
}
odd_values = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.integers(-(2**63), 2**63 - 1),
    st.just([]),
    st.just([None]),
    st.just(["1A"]),
    st.just(["1", "2"]),
    st.just([-1]),
    st.just([2147483648]),
    st.just([{"Alphabetic": "x"}]),
    st.just([" 1.2 "]),
)


def row(values: dict[str, Any]) -> dict[str, Any]:
    return {tag: {"vr": "UN", "Value": value} for tag, value in values.items()}


def read(body: bytes) -> dict[str, Any]:
    whole, stepwise = instance_rows.Reading(STUDY), instance_rows.Reading(STUDY)
    whole.add(body)
    for step in instance_rows.steps(body):
        stepwise.add(step)
    assert stepwise.instances() == whole.instances()
    return whole.instances()


def read_slowly(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return records.instances(r for r in rows if dj.text(r, dj.STUDY_INSTANCE_UID) == STUDY)


@given(st.lists(st.fixed_dictionaries(plain), max_size=8))
def test_plain_rows_are_read_as_the_tolerant_way_reads_them(values: list[dict[str, Any]]) -> None:
    rows = [row(v) for v in values]
    try:
        found = read(orjson.dumps(rows))
    except instance_rows.Odd:
        assert any(not v[dj.SOP_CLASS_UID] for v in values)
        return
    assert found == read_slowly(rows)


@given(st.fixed_dictionaries(plain), st.sampled_from(sorted(plain)), odd_values)
def test_odd_rows_are_read_rightly_or_left_to_the_tolerant_way(
    values: dict[str, Any], tag: str, odd: Any
) -> None:
    rows = [row(values | {tag: odd})]
    try:
        found = read(orjson.dumps(rows))
    except instance_rows.Odd:
        return
    assert found == read_slowly(rows)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b"[", b"null", b"[" * 5000], ids=lambda b: repr(b[:8])
)
def test_what_is_no_array_of_rows_is_odd(body: bytes) -> None:
    with pytest.raises(instance_rows.Odd):
        read(body)

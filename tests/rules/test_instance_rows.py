from __future__ import annotations

from itertools import pairwise
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
    dj.SOP_CLASS_UID: st.sampled_from(
        [["1.2.840.10008.5.1.4.1.1.2"], ["1.2.840.10008.5.1.4.1.1.11.1"], []]
    ),
    dj.INSTANCE_NUMBER: st.lists(st.integers(0, 2147483647), max_size=1),
    dj.NUMBER_OF_FRAMES: st.lists(st.integers(1, 100), max_size=1),
    dj.ROWS: st.just([512]),
    dj.IMAGE_TYPE: st.sampled_from([["ORIGINAL", "LOCALIZER"], ["A ", "B"], [""], []]),
    dj.IMAGE_LATERALITY: st.sampled_from([["L"], ["L"], []]),
    dj.DOCUMENT_TITLE: st.sampled_from([["Report"], []]),
    dj.CONTENT_LABEL: st.sampled_from([["LABEL"], [" X "], []]),
    dj.CONCEPT_NAME_CODE_SEQUENCE: st.sampled_from(
        [
            [],
            [{dj.CODE_MEANING: {"vr": "LO", "Value": ["Of Interest"]}}] * 2,
            [{dj.CODE_MEANING: {"vr": "LO", "Value": ["},{"]}}],
        ]
    ),
    dj.PATIENT_NAME: st.just([{"Alphabetic": "Doe^Jane"}]),
}
odd_values = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.integers(-(2**63), 2**63 - 1),
    st.just([]),
    st.just([None]),
    st.just([""]),
    st.just(["1A"]),
    st.just(["1", "2"]),
    st.just([-1]),
    st.just([2147483648]),
    st.just([{"Alphabetic": "x"}]),
    st.just([" 1.2 "]),
    st.just(["L\n"]),
)


def row(values: dict[str, Any]) -> dict[str, Any]:
    return {tag: {"vr": "UN", "Value": value} for tag, value in values.items()}


def read(body: bytes) -> dict[str, Any]:
    whole = instance_rows.Reading(STUDY)
    whole.add(body)
    for step_bytes in (0, 60, 700):
        stepwise = instance_rows.Reading(STUDY, step_bytes)
        stepwise.add(body)
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
        assert any(v[dj.IMAGE_TYPE] in (["A ", "B"], [""]) for v in values)
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


def test_a_large_body_is_read_in_many_small_steps() -> None:
    rows = [
        row({dj.STUDY_INSTANCE_UID: [STUDY], dj.SERIES_INSTANCE_UID: ["1.1"]})
        | row({dj.SOP_INSTANCE_UID: [f"1.1.{n}"], dj.PATIENT_NAME: [{}, {}, "},{"]})
        for n in range(2000)
    ]
    body = orjson.dumps(rows)
    reading = instance_rows.Reading(STUDY)
    counts = [sum(map(len, reading.instances().values())) for _ in reading.steps(body)]
    steps = [after - before for before, after in pairwise([0, *counts])]
    assert counts[-1] == 2000
    assert max(steps) < 2 * 2000 * instance_rows.STEP_BYTES / len(body)


def test_tags_in_lower_case_are_left_to_the_tolerant_way() -> None:
    rows = [row({dj.STUDY_INSTANCE_UID.lower(): [STUDY], dj.SOP_INSTANCE_UID: ["1.1.1"]})]
    with pytest.raises(instance_rows.Odd):
        read(orjson.dumps(rows))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b"[", b"null", b"[" * 5000], ids=lambda b: repr(b[:8])
)
def test_what_is_no_array_of_rows_is_odd(body: bytes) -> None:
    with pytest.raises(instance_rows.Odd):
        read(body)

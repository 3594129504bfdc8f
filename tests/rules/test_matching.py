from __future__ import annotations

import fnmatch
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import matching, qido
from gateway.rules.qido import Key, Query
from tests.rules.rows import element, name, odd_rows, row

DATE_TIME = "0008002A"  # AcquisitionDateTime
YAMADA = name("Yamada^Tarou", Ideographic="山田^太郎", Phonetic="やまだ^たろう")


def is_found(tag: str, wanted: str, *values: Any, fuzzy: bool = False) -> bool:
    query = Query(level=Level.STUDY, keys=(qido.key(tag, wanted),), fuzzy=fuzzy)
    return matching.matches(query, {tag: element(tag, *values)})


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("Thorax", "Thorax", True),
        ("thorax", "THORAX", True),
        ("Thorax", "Thorax lat", False),
        ("Tho*", "Thorax lat", True),
        ("*lat", "Thorax lat", True),
        ("*rax*", "Thorax lat", True),
        ("T?orax", "Thorax", True),
        ("T?orax", "Torax", False),
        ("Thorax?", "Thorax", False),
        ("Thorax*", "Thorax", True),
        ("*a*a*", "Thorax lat", True),
        ("*a*a*a*", "Thorax lat", False),
        ("a*a", "a", False),
        ("T.orax", "Thorax", False),
        ("[T]horax", "Thorax", False),
        ("a\\?", "a\\b", True),
        ("Th*\nx", "Thorax", False),
        ("Z?rich", "Zu\u0308rich", True),
        ("Zürich", "ZU\u0308RICH", True),
        ("Stra?e", "Straße", True),
        (" Thorax", "Thorax", False),
        ("Thorax", " Thorax ", True),
    ],
)
def test_wildcards_in_text(wanted: str, value: str, *, expected: bool) -> None:
    assert is_found(dj.STUDY_DESCRIPTION, wanted, value) is expected


@pytest.mark.parametrize(
    ("tag", "wanted", "value", "expected"),
    [
        pytest.param(dj.PATIENT_ID, "a1", "A1", False, id="patient IDs in their case"),
        pytest.param(dj.ACCESSION_NUMBER, "a1", "A1", False, id="accession numbers in their case"),
        pytest.param(dj.PATIENT_ID, "A*", "A1", True, id="patient IDs by wildcard"),
        pytest.param(dj.PATIENT_ID, "A,B", "A", False, id="text is no list"),
        pytest.param(dj.PATIENT_ID, "A,B", "A,B", True, id="text with a comma"),
        pytest.param(dj.MODALITIES_IN_STUDY, "CT,MR", "MR", True, id="list of codes"),
        pytest.param(dj.MODALITIES_IN_STUDY, "CT\\MR", "MR ", True, id="list by backslash"),
        pytest.param(dj.MODALITIES_IN_STUDY, "ct", "CT", False, id="codes in their case"),
        pytest.param(dj.MODALITIES_IN_STUDY, "C?", "CT", True, id="code by wildcard"),
        pytest.param(dj.STUDY_INSTANCE_UID, "1.2,1.3", "1.3\0", True, id="list of UIDs"),
        pytest.param(dj.STUDY_INSTANCE_UID, "1.2", "1.20", False, id="UIDs are whole"),
        pytest.param(dj.SERIES_NUMBER, "7", "007", True, id="numbers by value"),
        pytest.param(dj.SERIES_NUMBER, "7", 7, True, id="JSON number"),
        pytest.param(dj.SERIES_NUMBER, "7", "A12", False, id="no number"),
        pytest.param(dj.SERIES_NUMBER, "7", [7], False, id="a list in a value"),
        pytest.param("00180050", "1.5E0", "1.50", True, id="decimals by value"),
    ],
)
def test_values_match_by_their_kind(tag: str, wanted: str, value: Any, *, expected: bool) -> None:
    assert is_found(tag, wanted, value) is expected


def test_any_of_several_values_matches() -> None:
    assert is_found(dj.MODALITIES_IN_STUDY, "SR", None, "CT", "SR")
    assert not is_found(dj.MODALITIES_IN_STUDY, "MR", None, "CT", "SR")


@pytest.mark.parametrize(
    ("tag", "wanted", "value", "expected"),
    [
        (dj.STUDY_DATE, "20240115", "20240115", True),
        (dj.STUDY_DATE, "20240115", "2024.01.15", True),
        (dj.STUDY_DATE, "20240115", "20240116", False),
        (dj.STUDY_DATE, "20240101-20240131", "20240101", True),
        (dj.STUDY_DATE, "20240101-20240131", "20240131", True),
        (dj.STUDY_DATE, "20240101-20240131", "20240201", False),
        (dj.STUDY_DATE, "20240101-20240131", "20231231", False),
        (dj.STUDY_DATE, "20240101-", "99991231", True),
        (dj.STUDY_DATE, "20240101-", "20231231", False),
        (dj.STUDY_DATE, "-20240131", "18950101", True),
        (dj.STUDY_DATE, "-20240131", "unknown", False),
        (dj.STUDY_DATE, "-20240131", "", False),
        (dj.STUDY_DATE, "20240201-20240101", "20240115", False),
        (dj.STUDY_TIME, "1015", "101530.5", True),
        (dj.STUDY_TIME, "10", "105959.999999", True),
        (dj.STUDY_TIME, "10", "110000", False),
        (dj.STUDY_TIME, "101530", "101530.25", True),
        (dj.STUDY_TIME, "101530.25", "101530.250000", True),
        (dj.STUDY_TIME, "1015-1016", "101659.999", True),
        (dj.STUDY_TIME, "1015-1016", "101700", False),
        (dj.STUDY_TIME, "10:15-10:16", "10:16:30", True),
        (dj.STUDY_TIME, "-10", "105959", True),
        (dj.STUDY_TIME, "1015-", "1015", True),
        (dj.STUDY_TIME, "1015-", "101459", False),
        (dj.STUDY_TIME, "1015-", "noon", False),
        (DATE_TIME, "2024", "20240115101530.5+0100", True),
        (DATE_TIME, "202401-202402", "20240229235959", True),
        (DATE_TIME, "202401-202402", "20240301", False),
        (DATE_TIME, "20240115-", "20240114", False),
    ],
)
def test_ranges_of_dates_and_times(tag: str, wanted: str, value: str, *, expected: bool) -> None:
    assert is_found(tag, wanted, value) is expected


@given(*[st.dates().map("{:%Y%m%d}".format).filter(lambda d: len(d) == 8)] * 3)
def test_date_is_in_a_range_when_it_is_between_its_bounds(low: str, at: str, high: str) -> None:
    assert is_found(dj.STUDY_DATE, f"{low}-{high}", at) is (low <= at <= high)
    assert is_found(dj.STUDY_DATE, f"{low}-", at) is (low <= at)
    assert is_found(dj.STUDY_DATE, f"-{high}", at) is (at <= high)


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("Yamada^Tarou", YAMADA, True),
        ("yamada^tarou", YAMADA, True),
        ("YAMADA*", YAMADA, True),
        ("山田^太郎", YAMADA, True),
        ("山田*", YAMADA, True),
        ("やまだ^たろう", YAMADA, True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", YAMADA, True),
        ("Yamada^Tarou=山田*", YAMADA, True),
        ("Yamada", YAMADA, False),
        ("Tarou*", YAMADA, False),
        ("Yamada^Tarou^^", YAMADA, True),
        ("Doe^Jane", name("Doe^Jane^^^"), True),
        ("Doe^Jane", "Doe^Jane", True),
        ("Doe^J?ne", "DOE^JANE", True),
        ("Müller", name("Mu\u0308ller"), True),
        ("Muller", name("Müller"), False),
        ("Doe", {"Alphabetic": None}, False),
        ("Doe", 7, False),
    ],
)
def test_names_are_found_by_any_group_in_any_case(
    wanted: str, value: Any, *, expected: bool
) -> None:
    assert is_found(dj.PATIENT_NAME, wanted, value) is expected


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("page012", name("Page012^Test"), True),
        ("muller", name("Müller^Änne"), True),
        ("MÜLLER", name("Mu\u0308ller"), True),
        ("anne mull", name("Müller^Änne"), True),
        ("anne mayer", name("Müller^Änne"), False),
        ("strasse", name("Straße"), True),
        ("山", YAMADA, True),
        ("tar yam", YAMADA, True),
        ("amada", YAMADA, False),
        ("*amada*", YAMADA, True),
        ("Y?mada^*", YAMADA, True),
        ("?", YAMADA, False),
        (",", name("Doe"), False),
    ],
)
def test_fuzzy_names_are_found_by_the_beginnings_of_their_words(
    wanted: str, value: Any, *, expected: bool
) -> None:
    assert is_found(dj.PATIENT_NAME, wanted, value, fuzzy=True) is expected


def test_fuzzy_matching_is_for_names_alone() -> None:
    assert not is_found(dj.STUDY_DESCRIPTION, "Tho", "Thorax", fuzzy=True)


def test_row_without_the_attribute_matches_no_key() -> None:
    query = Query(level=Level.STUDY, keys=(qido.key(dj.PATIENT_ID, "7"),))
    assert not matching.matches(query, {})
    assert not matching.matches(query, {dj.PATIENT_ID: {"vr": "LO"}})
    assert not matching.matches(query, row(PATIENT_ID=[None, ""]))
    assert matching.matches(Query(level=Level.STUDY), {})


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({}, True),
        ({dj.PATIENT_NAME: {"vr": "PN"}}, True),
        (row(PATIENT_NAME=[None, ""]), True),
        ({dj.PATIENT_NAME: {"vr": "PN", "Value": [{"Alphabetic": ""}]}}, True),
        ({dj.PATIENT_NAME: {"vr": "PN", "Value": ["  "]}}, True),
        (row(PATIENT_NAME=name("Doe^Jane")), False),
    ],
)
def test_empty_values_are_found_where_they_are_asked_for(
    dataset: dj.Dataset, *, expected: bool
) -> None:
    key = Key(tag=dj.PATIENT_NAME, vr="PN", value='""', is_empty=True)
    assert matching.matches(Query(level=Level.STUDY, keys=(key,)), dataset) is expected


def test_every_one_of_several_values_must_match() -> None:
    keys = tuple(qido.key(dj.MODALITIES_IN_STUDY, one) for one in ("CT", "PT"))
    query = Query(level=Level.STUDY, keys=keys)
    assert matching.matches(query, row(MODALITIES_IN_STUDY=["PT", "SR", "CT"]))
    assert not matching.matches(query, row(MODALITIES_IN_STUDY=["CT", "SR"]))


def test_key_without_a_value_never_opens_a_search() -> None:
    assert not is_found(dj.PATIENT_ID, "", "7")


def test_all_keys_must_match() -> None:
    keys = (qido.key(dj.PATIENT_ID, "7"), qido.key(dj.STUDY_ID, "S1"))
    query = Query(level=Level.STUDY, keys=keys)
    assert matching.matches(query, row(PATIENT_ID="7", STUDY_ID="S1"))
    assert not matching.matches(query, row(PATIENT_ID="7", STUDY_ID="S2"))


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (row(STUDY_INSTANCE_UID="1.2", SERIES_INSTANCE_UID="1.2.1"), True),
        (row(STUDY_INSTANCE_UID="1.3", SERIES_INSTANCE_UID="1.2.1"), False),
        (row(STUDY_INSTANCE_UID="1.2", SERIES_INSTANCE_UID="1.2.2"), False),
        (row(SERIES_INSTANCE_UID="1.2.1"), True),
        ({}, True),
    ],
)
def test_rows_of_another_parent_than_the_path_names_are_dropped(
    dataset: dj.Dataset, *, expected: bool
) -> None:
    query = Query(level=Level.INSTANCE, study_uid="1.2", series_uid="1.2.1")
    assert matching.matches(query, dataset) is expected


def test_key_in_a_sequence_matches_in_whichever_item_it_is() -> None:
    key = qido.key(f"{dj.REQUEST_ATTRIBUTES_SEQUENCE}.{dj.ACCESSION_NUMBER}", "A2")
    query = Query(level=Level.SERIES, keys=(key,))
    items = [None, row(ACCESSION_NUMBER="A1"), "odd", row(ACCESSION_NUMBER=["A2"])]
    assert matching.matches(query, row(REQUEST_ATTRIBUTES_SEQUENCE=items))
    assert not matching.matches(query, row(REQUEST_ATTRIBUTES_SEQUENCE=items[:2]))
    assert not matching.matches(query, row(ACCESSION_NUMBER="A2"))


@pytest.mark.parametrize(
    "pattern",
    [
        "a*" * 4000 + "b",
        "*" * 8000 + "b",
        "*a?" * 3000 + "*b",
        "?*" * 4000 + "b",
        "*" + "a" * 4000 + "?*b",
    ],
    ids=["a*a*", "***", "*a?*", "?*?*", "*aaa"],
)
def test_hostile_patterns_are_answered_at_once(pattern: str) -> None:
    began = time.process_time()
    assert not is_found(dj.STUDY_DESCRIPTION, pattern, "a" * 10000)
    assert time.process_time() - began < 2


@given(st.text("ab*?", min_size=1, max_size=8), st.text("ab", max_size=10))
def test_wildcards_mean_what_they_mean_in_a_shell(pattern: str, text: str) -> None:
    expected = re.fullmatch(fnmatch.translate(pattern), text) is not None
    assert is_found(dj.STUDY_DESCRIPTION, pattern, text) is (expected and text != "")


_keys = st.sampled_from(
    [
        (dj.PATIENT_ID, "7"), (dj.PATIENT_NAME, "Doe*"), (dj.STUDY_DATE, "20240101-"),
        (dj.STUDY_TIME, "-1015"), (DATE_TIME, "2024"), (dj.SERIES_NUMBER, "1"),
        (dj.STUDY_INSTANCE_UID, "1.2.3"), (dj.MODALITIES_IN_STUDY, "C*,MR"),
        (f"{dj.REQUEST_ATTRIBUTES_SEQUENCE}.{dj.ACCESSION_NUMBER}", "A?"),
    ]
)  # fmt: skip


@pytest.mark.parametrize("fuzzy", [True, False])
@given(pair=_keys, dataset=odd_rows)
def test_odd_rows_never_fail(pair: tuple[str, str], dataset: dj.Dataset, *, fuzzy: bool) -> None:
    query = Query(level=Level.STUDY, study_uid="1.2", keys=(qido.key(*pair),), fuzzy=fuzzy)
    matching.matches(query, dataset)
    path = pair[0].split(".")
    values = [value for element in dataset.values() for value in dj.values({"x": element}, "x")]
    matching.matches(query, {path[0]: {"Value": values}})

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Code, Identifier, Origin, Person, PersonName
from gateway.rules import dicom_json as dj
from gateway.rules import values
from tests.rules.rows import name, row, scalars

ORIGIN = Origin(
    archive="north", issuer_systems=(("HOSP-A", "urn:oid:1.2.5"), ("a.example.org", "urn:oid:1.9"))
)
FHIR_OFFSET = re.compile(r"[+-]((0\d|1[0-3]):[0-5]\d|14:00)", re.ASCII)


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("20240229", "2024-02-29"),
        ("2024.02.29", "2024-02-29"),
        (" 20240229 ", "2024-02-29"),
        (20240229, "2024-02-29"),
        ("20230229", None),
        ("20230230", None),
        ("20231301", None),
        ("00000101", None),
        ("2023", None),
        ("202302", None),
        ("20.2302.01", None),
        ("2023.0201", None),
        ("20230201x", None),
        ("२०२३०२०१", None),
        ("", None),
        (None, None),
    ],
)
def test_date_is_one_of_the_calendar(written: Any, date: str | None) -> None:
    assert values.date(written) == date


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("101530", "10:15:30"),
        ("101530.5", "10:15:30.5"),
        ("101530.123456", "10:15:30.123456"),
        ("1015", "10:15:00"),
        ("10:15:30", "10:15:30"),
        ("235960", "23:59:60"),
        ("10", None),
        ("24", None),
        ("240000", None),
        ("2400", None),
        ("106000", None),
        ("101561", None),
        ("10153", None),
        ("101530.", None),
        ("101530.1234567", None),
        ("1015.5", None),
        ("noon", None),
        ("", None),
    ],
)
def test_time_has_minutes_and_seconds(written: str, time: str | None) -> None:
    assert values.time(written) == time


@pytest.mark.parametrize(
    ("written", "offset"),
    [
        ("+0100", "+01:00"),
        ("-0500", "-05:00"),
        ("+0530", "+05:30"),
        ("+1400", "+14:00"),
        ("-1200", "-12:00"),
        ("+0000", "+00:00"),
        ("-0000", None),
        ("+1401", None),
        ("-1201", None),
        ("+0160", None),
        ("0100", None),
        ("+01:00", None),
        ("+1", None),
        ("Z", None),
        ("", None),
    ],
)
def test_offset_is_in_the_range_of_zones(written: str, offset: str | None) -> None:
    assert values.offset(written) == offset


@pytest.mark.parametrize(
    ("zone", "day", "clock", "offset"),
    [
        pytest.param("Europe/Paris", "2024-01-15", "10:00:00", "+01:00", id="winter"),
        pytest.param("Europe/Paris", "2024-07-15", "10:00:00", "+02:00", id="summer"),
        pytest.param("Europe/Paris", "2024-10-27", "02:30:00", "+02:00", id="the first of two"),
        pytest.param("Europe/Paris", "2024-03-31", "02:30:00", "+01:00", id="in the gap"),
        pytest.param("Europe/Paris", "2024-03-31", "03:00:00", "+02:00", id="after the gap"),
        pytest.param("America/St_Johns", "2024-01-15", "10:00:00", "-03:30", id="half an hour"),
        pytest.param("UTC", "2024-01-15", "23:59:60.5", "+00:00", id="leap second"),
        pytest.param("America/Juneau", "1850-01-01", "10:00:00", None, id="before zones"),
    ],
)
def test_zone_gives_the_offset_of_the_day(
    zone: str, day: str, clock: str, offset: str | None
) -> None:
    assert values.offset_in_zone(zone, day, clock) == offset


@given(
    st.sampled_from(
        ["Europe/Paris", "America/Juneau", "Asia/Manila", "Pacific/Kiritimati", "Etc/GMT+12"]
    ),
    st.dates(),
    st.times(),
)
def test_offsets_of_zones_are_legal_on_any_day(zone: str, day: Any, clock: Any) -> None:
    found = values.offset_in_zone(zone, day.isoformat(), clock.isoformat())
    assert found is None or FHIR_OFFSET.fullmatch(found)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7),
        (0, 0),
        ("7", 7),
        (" +007 ", 7),
        (2147483647, 2147483647),
        (2147483648, None),
        (-1, None),
        ("1A", None),
        ("A12", None),
        ("1.0", None),
        (1.5, None),
        (True, None),
        ("1_0", None),
        ("٣", None),
        ([1], None),
        ({"x": 1}, None),
        ("", None),
        (None, None),
    ],
)
def test_number_is_a_fhir_unsigned_int_or_nothing(value: Any, number: int | None) -> None:
    assert values.unsigned_int(row(SERIES_NUMBER=[value]), dj.SERIES_NUMBER) == number


@pytest.mark.parametrize("element", [{"vr": "IS"}, {"vr": "IS", "Value": []}, {}, None])
def test_number_that_is_not_there_is_none(element: Any) -> None:
    assert values.unsigned_int({dj.SERIES_NUMBER: element}, dj.SERIES_NUMBER) is None


JAPANESE = PersonName(alphabetic="Yamada^Tarou", ideographic="山田^太郎", phonetic="やまだ^たろう")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(name("Doe^Jane"), PersonName(alphabetic="Doe^Jane"), id="object"),
        pytest.param("Doe^Jane", PersonName(alphabetic="Doe^Jane"), id="bare string"),
        pytest.param(
            name("Yamada^Tarou", Ideographic="山田^太郎", Phonetic="やまだ^たろう"),
            JAPANESE,
            id="three groups",
        ),
        pytest.param("Yamada^Tarou=山田^太郎=やまだ^たろう", JAPANESE, id="three groups, bare"),
        pytest.param(name("Yamada^Tarou=山田^太郎=やまだ^たろう"), JAPANESE, id="all in one group"),
        pytest.param(
            {"Ideographic": "山田"}, PersonName(ideographic="山田"), id="ideographic alone"
        ),
        pytest.param(name(None, Phonetic="や"), PersonName(phonetic="や"), id="null group"),
        pytest.param(name("^^^^"), None, id="empty components"),
        pytest.param(name("  "), None, id="blank"),
        pytest.param({}, None, id="empty object"),
        pytest.param("", None, id="empty string"),
        pytest.param(name("^^", Ideographic="山田"), PersonName(ideographic="山田"), id="one left"),
        pytest.param(5, None, id="a number"),
        pytest.param(None, None, id="null"),
        pytest.param({"Alphabetic": {"x": 1}}, None, id="an odd group"),
    ],
)
def test_person_name_keeps_its_groups(value: Any, expected: PersonName | None) -> None:
    assert values.person_name(value) == expected


def coded(value: str) -> dict[str, Any]:
    return row(CODE_VALUE=value, CODING_SCHEME_DESIGNATOR="99L", CODE_MEANING=f"Dr. {value}")


def test_people_and_their_codes_pair_by_position_also_past_empty_ones() -> None:
    dataset = row(
        OPERATORS_NAME=[None, name("Beta")],
        OPERATOR_IDENTIFICATION=[
            row(PERSON_IDENTIFICATION_CODES=[coded("A")]),
            row(PERSON_IDENTIFICATION_CODES=[coded("B")]),
        ],
    )
    found = values.people(dataset, dj.OPERATORS_NAME, dj.OPERATOR_IDENTIFICATION)
    assert found == (
        Person(codes=(Code(value="A", scheme="99L", meaning="Dr. A"),)),
        Person(
            name=PersonName(alphabetic="Beta"),
            codes=(Code(value="B", scheme="99L", meaning="Dr. B"),),
        ),
    )


def test_person_named_twice_is_one() -> None:
    dataset = row(OPERATORS_NAME=[name("Beta"), name("Beta"), name("^")])
    found = values.people(dataset, dj.OPERATORS_NAME, dj.OPERATOR_IDENTIFICATION)
    assert found == (Person(name=PersonName(alphabetic="Beta")),)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (row(CODE_VALUE="1", CODE_MEANING="x"), Code(value="1", meaning="x")),
        (row(LONG_CODE_VALUE="long"), Code(value="long")),
        (row(URN_CODE_VALUE="urn:x"), Code(value="urn:x")),
        (row(CODE_VALUE="1", LONG_CODE_VALUE="long"), Code(value="1")),
        (row(CODE_MEANING="only words"), Code(meaning="only words")),
        (row(CODING_SCHEME_DESIGNATOR="SCT"), None),
        (row(CODE_VALUE=" "), None),
        ({}, None),
        ("odd", None),
    ],
)
def test_code_is_value_or_meaning(item: Any, expected: Code | None) -> None:
    assert values.code(item) == expected


def issuer(entity: str | None, kind: str | None, local: str | None = None) -> list[Any]:
    return [
        row(
            UNIVERSAL_ENTITY_ID=entity,
            UNIVERSAL_ENTITY_ID_TYPE=kind,
            LOCAL_NAMESPACE_ENTITY_ID=local,
        )
    ]


UUID = "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"


@pytest.mark.parametrize(
    ("local", "qualifiers", "system", "assigner"),
    [
        pytest.param(None, [], "urn:oid:1.2.3", None, id="nobody: the archive's default"),
        pytest.param(None, issuer("1.9.8", "ISO"), "urn:oid:1.9.8", None, id="ISO"),
        pytest.param(None, issuer(UUID, "UUID"), f"urn:uuid:{UUID.lower()}", None, id="UUID"),
        pytest.param(None, issuer("http://a.org/x", "URI"), "http://a.org/x", None, id="URI"),
        pytest.param(None, issuer("a.example.org", "DNS"), "urn:oid:1.9", None, id="DNS, known"),
        pytest.param(None, issuer("b.org", "DNS"), "urn:oid:1.2.3", "b.org", id="DNS, unknown"),
        pytest.param("HOSP-A", [], "urn:oid:1.2.5", None, id="known namespace"),
        pytest.param("HOSP-B", [], "urn:oid:1.2.3", "HOSP-B", id="unknown namespace"),
        pytest.param(
            None, issuer(None, None, "HOSP-A"), "urn:oid:1.2.5", None, id="namespace in the item"
        ),
        pytest.param(
            "HOSP-A", issuer("1.9.8", "ISO"), "urn:oid:1.9.8", None, id="universal before local"
        ),
        pytest.param("HOSP-A", issuer("x y", "URI"), "urn:oid:1.2.5", None, id="no URI at all"),
        pytest.param("HOSP-A", issuer("1.x", "ISO"), "urn:oid:1.2.5", None, id="no OID at all"),
        pytest.param("HOSP-A", issuer("1", "UUID"), "urn:oid:1.2.5", None, id="no UUID at all"),
        pytest.param(None, "odd", "urn:oid:1.2.3", None, id="odd qualifiers"),
        pytest.param(None, [None, "x", {}], "urn:oid:1.2.3", None, id="odd items"),
    ],
)
def test_issuer_becomes_a_system_and_never_an_invented_one(
    local: str | None, qualifiers: Any, system: str | None, assigner: str | None
) -> None:
    found = values.identifier(
        "7", ORIGIN, local=local, qualifiers=qualifiers, default_system="urn:oid:1.2.3"
    )
    assert found == Identifier(value="7", system=system, assigner=assigner)


def test_no_value_is_no_identifier() -> None:
    found = values.identifier(None, ORIGIN, local="X", qualifiers=[], default_system="urn:oid:1")
    assert found is None


@given(scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(), scalars, max_size=2))
def test_single_values_never_fail(value: Any) -> None:
    day, clock, offset = values.date(value), values.time(value), values.offset(value)
    assert day is None or re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    assert clock is None or re.fullmatch(r"\d\d:\d\d:\d\d(\.\d{1,6})?", clock)
    assert offset is None or FHIR_OFFSET.fullmatch(offset)
    values.person_name(value)
    values.code(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20240701102030.25+0200", ("2024-07-01", "10:20:30.25", "+02:00")),
        ("202407011020", ("2024-07-01", "10:20:00", None)),
        ("20240701", ("2024-07-01", None, None)),
        ("2024070110", ("2024-07-01", None, None)),
        ("202407", (None, None, None)),
        ("20240230101010", (None, None, None)),
        ("soon", (None, None, None)),
        (None, (None, None, None)),
    ],
)
def test_moment_is_as_much_as_is_said(
    value: str | None, expected: tuple[str | None, str | None, str | None]
) -> None:
    assert values.moment(value) == expected


@pytest.mark.parametrize(
    ("value", "is_one"),
    [("10", True), ("1020", True), ("10:20:30.5", True), ("24", False), ("99", False), ("", False)],
)
def test_hour_alone_is_a_time_that_can_be_understood(value: str, is_one: bool) -> None:  # noqa: FBT001
    assert values.is_time(value) is is_one

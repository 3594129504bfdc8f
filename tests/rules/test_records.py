from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import (
    Code,
    Identifier,
    Instance,
    Order,
    Organization,
    Origin,
    Patient,
    PersonName,
    Series,
    Specimen,
    Study,
)
from gateway.rules import dicom_json as dj
from gateway.rules import records
from gateway.rules.dicom_json import Dataset
from tests.rules.rows import name, odd_rows, row

NORTH = Origin(archive="north")
PARIS = Origin(archive="north", timezone="Europe/Paris")
UID = row(STUDY_INSTANCE_UID="1.2")
LEGAL = {
    "date": re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"),
    "birth_date": re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"),
    "time": re.compile(r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,6})?"),
    "utc_offset": re.compile(r"[+-]((0\d|1[0-3]):[0-5]\d|14:00)"),
}


def study(dataset: Dataset, series: list[Dataset] | None = None, origin: Origin = NORTH) -> Study:
    found = records.study(origin, UID | dataset, series)
    assert found is not None
    return found


def one_series(dataset: Dataset, origin: Origin = NORTH) -> Series:
    found = study({}, [row(SERIES_INSTANCE_UID="1.2.1") | dataset], origin)
    assert found.series is not None
    return found.series[0]


def test_specimens_and_the_kind_of_department_are_read() -> None:
    issuer = row(UNIVERSAL_ENTITY_ID="1.2.9", UNIVERSAL_ENTITY_ID_TYPE="ISO")
    items = [
        row(
            SPECIMEN_IDENTIFIER="S20-1-A",
            SPECIMEN_UID="1.2.3.9",
            ISSUER_OF_SPECIMEN_IDENTIFIER=issuer,
        ),
        row(SPECIMEN_UID="no uid"),
        {},
    ]
    kind = row(CODE_VALUE="225728007", CODING_SCHEME_DESIGNATOR="SCT")
    series = one_series(row(SPECIMEN_DESCRIPTION_SEQUENCE=items, DEPARTMENT_TYPE_SEQUENCE=kind))
    known = Identifier(value="S20-1-A", system="urn:oid:1.2.9")
    assert series.specimens == (Specimen(id=known, uid="1.2.3.9"),)
    assert series.department_type == Code(value="225728007", scheme="SCT")


def test_study_row_becomes_a_record() -> None:
    dataset = row(
        PATIENT_ID="7",
        PATIENT_NAME=name("Doe^Jane"),
        PATIENT_BIRTH_DATE="19700101",
        PATIENT_SEX="F",
        STUDY_ID="S1",
        ACCESSION_NUMBER="A1",
        STUDY_DATE="20240115",
        STUDY_TIME="101530.25",
        TIMEZONE_OFFSET="-0500",
        STUDY_DESCRIPTION=" Thorax ",
        MODALITIES_IN_STUDY=["CT", "SR"],
        INSTANCE_AVAILABILITY="ONLINE",
        NUMBER_OF_STUDY_RELATED_SERIES="2",
        NUMBER_OF_STUDY_RELATED_INSTANCES=30,
    )
    assert study(dataset) == Study(
        uid="1.2",
        archives=("north",),
        patient=Patient(
            id=Identifier(value="7"),
            name=PersonName(alphabetic="Doe^Jane"),
            birth_date="1970-01-01",
            sex="F",
        ),
        study_id="S1",
        accession=Identifier(value="A1"),
        date="2024-01-15",
        time="10:15:30.25",
        utc_offset="-05:00",
        description="Thorax",
        modalities=("CT", "SR"),
        availability="ONLINE",
        number_of_series=2,
        number_of_instances=30,
    )


@pytest.mark.parametrize("uid", [None, "", "1.2.", "../../system", "9" * 65, 5.5])
def test_row_that_nothing_could_name_is_no_study(uid: Any) -> None:
    found = records.study(NORTH, row(STUDY_INSTANCE_UID=uid))
    assert found is None or found.uid == "5.5"


def test_series_not_asked_for_and_no_series_are_two_things() -> None:
    assert study({}).series is None
    assert study({}, []).series == ()


def test_series_come_in_order_and_once_and_the_nameless_are_counted() -> None:
    rows = [
        row(SERIES_INSTANCE_UID="1.2.9"),
        row(SERIES_INSTANCE_UID="1.2.2", SERIES_NUMBER=10),
        row(SERIES_INSTANCE_UID="1.2.1", SERIES_NUMBER=2),
        row(SERIES_INSTANCE_UID="1.2.4", SERIES_NUMBER=-1),
        row(SERIES_INSTANCE_UID="1.2.5", SERIES_NUMBER=0),
        row(SERIES_INSTANCE_UID="1.2.3", SERIES_NUMBER="A12"),
        row(SERIES_INSTANCE_UID="1.2.1", SERIES_NUMBER=99),
        row(SERIES_INSTANCE_UID="x"),
        row(SERIES_NUMBER=1),
    ]
    found = study({}, rows)
    assert [s.uid for s in found.series or ()] == [
        "1.2.4",
        "1.2.5",
        "1.2.1",
        "1.2.2",
        "1.2.3",
        "1.2.9",
    ]
    assert found.warnings == ("2 series without a legal UID left out",)


@pytest.mark.parametrize(
    ("dataset", "modalities"),
    [
        ({dj.MODALITIES_IN_STUDY: {"vr": "CS", "Value": [None, "CT"]}}, ("CT",)),
        ({dj.MODALITIES_IN_STUDY: {"vr": "CS", "Value": []}}, ()),
        ({dj.MODALITIES_IN_STUDY: {"vr": "CS"}}, ()),
        ({dj.MODALITIES_IN_STUDY: {"vr": "CS", "Value": ["  ", "CT ", "CT", {}, ["MR"]]}}, ("CT",)),
    ],
)
def test_modalities_are_those_that_are_said(dataset: Dataset, modalities: tuple[str, ...]) -> None:
    assert study(dataset).modalities == modalities


@pytest.mark.parametrize(
    ("modality", "expected", "warnings"),
    [
        (["CT"], "CT", ()),
        ([" "], None, ()),
        ([None], None, ()),
        (["SR", "CT", "CT"], "CT", ("several modalities in one series",)),
    ],
)
def test_series_has_its_most_frequent_modality(
    modality: list[Any], expected: str | None, warnings: tuple[str, ...]
) -> None:
    found = one_series(row(MODALITY=modality))
    assert (found.modality, found.warnings) == (expected, warnings)


@pytest.mark.parametrize(
    "number", [{"Value": []}, {"Value": ["1A"]}, {"Value": [2147483648]}, {"Value": [-1]}, {}]
)
def test_bad_number_costs_the_number_and_not_the_record(number: dict[str, Any]) -> None:
    dataset = {
        dj.INSTANCE_NUMBER: number,
        **row(SERIES_INSTANCE_UID="1.2.1", SOP_INSTANCE_UID="1.2.1.1"),
    }
    assert records.instances([dataset]) == {"1.2.1": (Instance(uid="1.2.1.1"),)}
    assert one_series({dj.SERIES_NUMBER: number}).number in {None, -1}
    assert study({dj.NUMBER_OF_STUDY_RELATED_SERIES: number}).number_of_series is None


JANUARY = row(STUDY_DATE="20240115", STUDY_TIME="101500")
JULY = row(STUDY_DATE="20240715", STUDY_TIME="101500")
SAYS_TOKYO = row(SERIES_INSTANCE_UID="1.2.1", TIMEZONE_OFFSET="+0900")
SAYS_DELHI = row(SERIES_INSTANCE_UID="1.2.2", TIMEZONE_OFFSET="+0530")
SAYS_NOTHING = row(SERIES_INSTANCE_UID="1.2.3")


@pytest.mark.parametrize(
    ("dataset", "series", "origin", "offset"),
    [
        pytest.param(
            JANUARY | row(TIMEZONE_OFFSET="-0500"), [SAYS_TOKYO], PARIS, "-05:00", id="its own"
        ),
        pytest.param(JANUARY, [SAYS_TOKYO, SAYS_TOKYO], PARIS, "+09:00", id="what its series say"),
        pytest.param(
            JANUARY, [SAYS_TOKYO, SAYS_NOTHING], PARIS, "+09:00", id="what some of them say"
        ),
        pytest.param(
            JANUARY, [SAYS_TOKYO, SAYS_DELHI], PARIS, "+01:00", id="the archive's: they disagree"
        ),
        pytest.param(JANUARY, None, PARIS, "+01:00", id="the archive's in winter"),
        pytest.param(JULY, None, PARIS, "+02:00", id="the archive's in summer"),
        pytest.param(
            JULY | row(TIMEZONE_OFFSET="+9900"), None, PARIS, "+02:00", id="its own is none"
        ),
        pytest.param(
            row(STUDY_DATE="20241027", STUDY_TIME="0230"),
            None,
            PARIS,
            "+02:00",
            id="the hour twice",
        ),
        pytest.param(
            row(STUDY_DATE="20240331", STUDY_TIME="0230"), None, PARIS, "+01:00", id="the gap"
        ),
        pytest.param(JULY, None, NORTH, None, id="nobody's"),
        pytest.param(row(STUDY_DATE="20240715"), None, PARIS, None, id="no time to have one"),
        pytest.param(
            row(STUDY_DATE="20240715", STUDY_TIME="10"), None, PARIS, None, id="hours only"
        ),
        pytest.param(row(STUDY_TIME="1015"), None, PARIS, None, id="no date to have one"),
    ],
)
def test_offset_comes_from_the_nearest_that_knows(
    dataset: Dataset, series: list[Dataset] | None, origin: Origin, offset: str | None
) -> None:
    assert study(dataset, series, origin).utc_offset == offset


@pytest.mark.parametrize(
    ("dataset", "moment"),
    [
        (row(SERIES_DATE="20240115", SERIES_TIME="1015"), ("2024-01-15", "10:15:00", "+01:00")),
        (
            row(
                SERIES_DATE="20230230",
                SERIES_TIME="1015",
                PERFORMED_START_DATE="20240116",
                PERFORMED_START_TIME="0900",
            ),
            ("2024-01-16", "09:00:00", "+01:00"),
        ),
        (row(SERIES_DATE="20240115", PERFORMED_START_TIME="0900"), ("2024-01-15", None, None)),
        (row(SERIES_TIME="1015"), (None, None, None)),
    ],
)
def test_series_started_when_it_says_else_when_its_step_did(
    dataset: Dataset, moment: tuple[str | None, ...]
) -> None:
    found = one_series(dataset, PARIS)
    assert (found.date, found.time, found.utc_offset) == moment


def test_series_knows_the_requests_it_answers_each_once() -> None:
    reason = row(CODE_VALUE="R1", CODE_MEANING="Cough")
    item = row(ACCESSION_NUMBER="A1", REASON_CODE_SEQUENCE=reason) | row(
        REASON_FOR_REQUESTED_PROCEDURE="cough"
    )
    found = one_series(
        row(REQUEST_ATTRIBUTES_SEQUENCE=[item, item, row(ACCESSION_NUMBER="A2"), None, "odd"]),
        Origin(archive="north", accession_system="urn:oid:1.2.4"),
    )
    assert found.accessions == (
        Identifier(value="A1", system="urn:oid:1.2.4"),
        Identifier(value="A2", system="urn:oid:1.2.4"),
    )
    assert found.reason_codes == (Code(value="R1", meaning="Cough"),)
    assert found.reason_texts == ("cough",)


def test_patient_is_called_by_the_first_name_that_is_one() -> None:
    found = study(row(PATIENT_NAME=[name("^^"), name("Doe")]))
    assert found.patient.name == PersonName(alphabetic="Doe")


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (row(STUDY_DATE="20230230"), ["Study Date (0008,0020)"]),
        (row(STUDY_DATE="20230228", STUDY_TIME="2500"), ["Study Time (0008,0030)"]),
        (row(STUDY_DATE="20230228", STUDY_TIME="23"), []),
        (row(TIMEZONE_OFFSET="+1500"), ["Timezone Offset From UTC (0008,0201)"]),
        (
            row(NUMBER_OF_STUDY_RELATED_INSTANCES="many"),
            ["Number of Study Related Instances (0020,1208)"],
        ),
        (row(STUDY_DATE="", STUDY_TIME=None), []),
    ],
    ids=["no such day", "no such hour", "hour alone", "offset", "number", "empty"],
)
def test_what_cannot_be_read_is_said(dataset: Dataset, told: list[str]) -> None:
    assert study(dataset).warnings == tuple(f"{name} {records.LEFT_OUT}" for name in told)


def test_what_cannot_be_read_of_a_series_is_said() -> None:
    found = one_series(row(SERIES_NUMBER="1A", SERIES_DATE="x", SERIES_TIME="99"))
    assert found.warnings == (
        f"Series Date (0008,0021) {records.LEFT_OUT}",
        f"Series Time (0008,0031) {records.LEFT_OUT}",
        f"Series Number (0020,0011) {records.LEFT_OUT}",
    )


def test_orders_are_known_by_their_numbers_and_issuers() -> None:
    issuer = row(UNIVERSAL_ENTITY_ID="1.2.9", UNIVERSAL_ENTITY_ID_TYPE="ISO")
    numbers = row(
        PLACER_ORDER_NUMBER="P1",
        ORDER_PLACER_ISSUER=issuer,
        FILLER_ORDER_NUMBER="F1",
        ORDER_FILLER_ISSUER=row(LOCAL_NAMESPACE_ENTITY_ID="RIS"),
    )
    order = Order(
        placer=Identifier(value="P1", system="urn:oid:1.2.9"),
        filler=Identifier(value="F1", assigner="RIS"),
    )
    assert study(numbers).orders == (order,)
    request = numbers | row(ACCESSION_NUMBER="A1")
    of_series = one_series(row(REQUEST_ATTRIBUTES_SEQUENCE=[request, row(STUDY_ID="x")])).orders
    assert [(o.accession and o.accession.value, o.placer) for o in of_series] == [
        ("A1", order.placer)
    ]


def test_series_is_described_by_its_code_where_it_has_no_words() -> None:
    code = row(CODE_VALUE="1", CODE_MEANING="Axial")
    assert one_series(row(SERIES_DESCRIPTION_CODE_SEQUENCE=code)).description == "Axial"
    both = row(SERIES_DESCRIPTION_CODE_SEQUENCE=code, SERIES_DESCRIPTION="ax 5")
    assert one_series(both).description == "ax 5"


def test_series_belongs_to_the_archives_custodian() -> None:
    custodian = Organization(name="Regional Archive")
    origin = Origin(archive="north", custodian=custodian)
    assert one_series(row(MODALITY="CT"), origin).custodians == (custodian,)


@pytest.mark.parametrize(
    ("dataset", "title"),
    [
        (row(DOCUMENT_TITLE="Report", CONTENT_LABEL="X"), "X"),
        (row(CONCEPT_NAME_CODE_SEQUENCE=row(CODE_VALUE="1", CODE_MEANING="Keys")), "Keys"),
        (row(CONCEPT_NAME_CODE_SEQUENCE=row(CODE_VALUE="1"), CONTENT_LABEL="X"), "X"),
        (row(CONTENT_DESCRIPTION="Lesion"), "Lesion"),
        (row(CONTENT_LABEL="X", SOP_CLASS_UID="1.2.840.10008.5.1.4.1.1.11.1"), "X"),
        (row(CONTENT_LABEL="X", SOP_CLASS_UID="1.2.840.10008.5.1.4.1.1.66.4"), None),
        ({}, None),
    ],
)  # fmt: skip
def test_instance_is_titled_by_what_it_is(dataset: Dataset, title: str | None) -> None:
    uids = row(SERIES_INSTANCE_UID="1.2.1", SOP_INSTANCE_UID="1.2.1.1")
    found = records.instances([uids | dataset])["1.2.1"][0]
    assert found.title == title
    assert found.document_title == dj.text(dataset, dj.DOCUMENT_TITLE)


def test_instances_come_in_order_and_once_by_series() -> None:
    rows = [
        row(SERIES_INSTANCE_UID=series, SOP_INSTANCE_UID=uid, INSTANCE_NUMBER=number)
        for series, uid, number in (
            ("1.2.1", "1.9", None), ("1.2.1", "1.8", 10), ("1.2.1", "1.7", 9), ("1.2.2", "1.6", 1),
            ("1.2.1", "1.8", 1), ("1.2.1", "x", 1), ("y", "1.5", 1), (None, "1.5", 1),
        )
    ]  # fmt: skip
    found = records.instances(rows)
    assert {s: [i.uid for i in of] for s, of in found.items()} == {
        "1.2.1": ["1.7", "1.8", "1.9"],
        "1.2.2": ["1.6"],
    }


@given(
    odd_rows,
    st.none() | st.lists(odd_rows, max_size=3),
    st.sampled_from([NORTH, PARIS, Origin(archive="old", timezone="America/Juneau")]),
)
def test_odd_rows_never_fail_and_all_that_comes_of_them_is_legal(
    study_row: Dataset, series_rows: list[Dataset] | None, origin: Origin
) -> None:
    of_series = (
        None
        if series_rows is None
        else [r | row(SERIES_INSTANCE_UID=f"1.2.{n}") for n, r in enumerate(series_rows)]
    )
    found = records.study(origin, study_row | UID, of_series)
    assert found is not None
    records.study(origin, study_row, series_rows)
    for field, value in _fields(found):
        assert value != "", field
        if field in LEGAL and value is not None:
            assert LEGAL[field].fullmatch(value), field


@given(st.lists(odd_rows, max_size=4))
def test_odd_instance_rows_never_fail(rows: list[Dataset]) -> None:
    named = [
        r | row(SERIES_INSTANCE_UID="1.2.1", SOP_INSTANCE_UID=f"1.{n}") for n, r in enumerate(rows)
    ]
    found = records.instances(named + rows)
    assert len(found.get("1.2.1", ())) >= len(rows)
    for instance in found.get("1.2.1", ()):
        assert all(value != "" for _, value in _fields(instance))


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    """Every field of a record and of the records in it, by name."""
    for field in type(record).__annotations__:
        value = getattr(record, field)
        for each in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(each):
                yield from _fields(each)
            else:
                yield field, each


def test_instances_that_cannot_be_named_are_left_out_and_told() -> None:
    good = row(SERIES_INSTANCE_UID="1.3", SOP_INSTANCE_UID="1.3.1")
    rows = [
        good,
        good | row(SOP_INSTANCE_UID="1." + "2" * 63),
        good | row(SOP_INSTANCE_UID="not a uid"),
        row(SOP_INSTANCE_UID="1.3.2"),
        good | row(SOP_INSTANCE_UID="1.3.3", INSTANCE_NUMBER="many"),
    ]
    assert [i.uid for i in records.instances(rows)["1.3"]] == ["1.3.1", "1.3.3"]
    told = records.instance_warnings(rows)
    assert told[-1] == "3 instances without a legal UID left out"
    assert len(told) == 2
    assert records.instance_warnings([good]) == ()

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import (
    Code,
    Contents,
    Identifier,
    Instance,
    Order,
    Origin,
    Series,
    Specimen,
    Study,
)
from gateway.rules import dicom_json as dj
from gateway.rules import instance_details, instance_rows
from gateway.rules.dicom_json import Dataset
from tests.rules.rows import odd_rows, row

NORTH = Origin(archive="north", timezone="Europe/Paris")
KNEE = row(CODE_VALUE="72696002", CODING_SCHEME_DESIGNATOR="SCT", CODE_MEANING="Knee")


def instance(number: int, **more: Any) -> Dataset:
    return row(
        STUDY_INSTANCE_UID="1.2", SERIES_INSTANCE_UID="1.2.1", SOP_INSTANCE_UID=f"1.2.1.{number}"
    ) | row(**more)


def groups(*anatomies: Dataset) -> list[Dataset]:
    return [row(FRAME_ANATOMY_SEQUENCE=one) for one in anatomies]


def told(*rows: Dataset) -> Series:
    """What the rows tell of their one series, read in both ways."""
    details = instance_details.Details(NORTH)
    details.add(orjson.dumps(rows))
    [series] = instance_details.contents(NORTH, rows).series
    assert details.series() == (series,)
    return series


def test_frames_tell_region_and_side() -> None:
    left = row(ANATOMIC_REGION_SEQUENCE=KNEE, FRAME_LATERALITY="L")
    found = told(instance(1, SHARED_FUNCTIONAL_GROUPS=groups(left)))
    assert found.anatomic_region == Code(value="72696002", scheme="SCT", meaning="Knee")
    assert found.laterality == "L"


def test_sides_that_disagree_are_none() -> None:
    left, right = (row(ANATOMIC_REGION_SEQUENCE=KNEE, FRAME_LATERALITY=s) for s in "LR")
    of_frames = told(instance(1, PER_FRAME_FUNCTIONAL_GROUPS=groups(left, right)))
    assert (of_frames.laterality, of_frames.anatomic_region is not None) == (None, True)
    both = (instance(n, SHARED_FUNCTIONAL_GROUPS=groups(g)) for n, g in enumerate((left, right)))
    assert told(*both).laterality is None


def test_specimens_and_requests_of_all_instances_are_united() -> None:
    rows = [
        instance(
            number,
            SPECIMEN_DESCRIPTION_SEQUENCE=row(SPECIMEN_IDENTIFIER=f"S{number % 2}"),
            REFERENCED_REQUEST_SEQUENCE=row(PLACER_ORDER_NUMBER="P"),
        )
        for number in range(4)
    ]
    found = told(*rows)
    assert {s.id for s in found.specimens} == {Identifier(value="S0"), Identifier(value="S1")}
    assert len(found.specimens) == 2
    assert isinstance(found.specimens[0], Specimen)
    assert found.orders == (Order(placer=Identifier(value="P")),)


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        pytest.param(
            [{"ACQUISITION_DATE": "20240701", "ACQUISITION_TIME": f"10{m}00"} for m in (30, 20)],
            ("2024-07-01", "10:20:00", "+02:00"),
            id="earliest",
        ),
        pytest.param(
            [{"ACQUISITION_DATE_TIME": "20240701102000.5-0300"}],
            ("2024-07-01", "10:20:00.5", "-03:00"),
            id="with its own offset",
        ),
        pytest.param(
            [{"SERIES_DATE": "20240630", "ACQUISITION_DATE": "20240101"}],
            ("2024-06-30", None, None),
            id="the series says it",
        ),
        pytest.param([{"ACQUISITION_TIME": "1020"}], (None, None, None), id="no day"),
    ],
)
def test_series_without_a_date_began_with_its_first_acquisition(
    moments: list[dict[str, str]], expected: tuple[str | None, ...]
) -> None:
    found = told(*(instance(n, **m) for n, m in enumerate(moments)))
    assert (found.date, found.time, found.utc_offset) == expected


def test_numbers_that_cannot_be_read_are_told() -> None:
    found = instance_details.contents(NORTH, [instance(1, INSTANCE_NUMBER="1A"), instance(2)])
    assert found.warnings == ("Instance Number (0020,0013) cannot be read and is left out",)


def test_body_that_is_odd_is_refused_and_its_rows_are_passed_over() -> None:
    odd = instance(1) | {dj.SHARED_FUNCTIONAL_GROUPS: {"vr": "SQ", "Value": "x"}}
    with pytest.raises(instance_rows.Odd):
        instance_details.Details(NORTH).add(orjson.dumps([odd]))
    assert instance_details.contents(NORTH, [odd, instance(2)]).series[0].uid == "1.2.1"


@given(st.lists(odd_rows, max_size=4))
def test_odd_rows_never_fail(rows: list[Dataset]) -> None:
    named = [r | instance(n) for n, r in enumerate(rows)]
    found = instance_details.contents(NORTH, named)
    assert {s.uid for s in found.series} <= {"1.2.1"}


def documents(*titles: str | None, modality: str = "KO") -> tuple[Study, Contents]:
    instances = tuple(Instance(uid=f"1.2.1.{n}", title=t) for n, t in enumerate(titles))
    series = Series(uid="1.2.1", archives=("north",), modality=modality)
    study = Study(uid="1.2", archives=("north",), series=(series,))
    return study, Contents(instances={"1.2.1": instances})


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param(documents(None), ("1.2.1",), id="untitled"),
        pytest.param(documents("Keys", None), ("1.2.1",), id="one untitled"),
        pytest.param(documents("Keys"), (), id="titled"),
        pytest.param(documents(None, modality="CT"), (), id="images"),
        pytest.param(documents(), (), id="empty"),
        pytest.param(documents(*[None] * 51), (), id="too many"),
    ],
)
def test_only_small_series_of_documents_are_looked_into(
    held: tuple[Study, Contents], expected: tuple[str, ...]
) -> None:
    assert instance_details.untitled_documents(*held) == expected


def test_titles_are_filled_in_and_what_could_not_be_read_makes_it_incomplete() -> None:
    _, found = documents(None, "Own")
    read = Contents(instances={"1.2.1": (Instance(uid="1.2.1.0", title="Of Interest"),)})
    whole = instance_details.titled(found, [read])
    assert [i.title for i in whole.instances["1.2.1"]] == ["Of Interest", "Own"]
    assert whole.is_complete
    assert not instance_details.titled(found, [read, None]).is_complete

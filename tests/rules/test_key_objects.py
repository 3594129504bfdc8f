from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Code, Consumer, Instance, Series, Study, Target
from gateway.rules import key_objects, policy
from gateway.rules.dicom_json import Dataset
from gateway.rules.key_objects import KeyObject, Reference
from tests.rules.rows import odd_rows, row

STUDY = "1.2"


def selection(code: str | None = "113000", scheme: str = "DCM", **more: Any) -> Dataset:
    title = row(CODE_VALUE=code, CODING_SCHEME_DESIGNATOR=scheme)
    return row(
        STUDY_INSTANCE_UID=STUDY,
        SERIES_INSTANCE_UID="1.2.9",
        SOP_INSTANCE_UID="1.2.9.1",
        SOP_CLASS_UID=key_objects.SOP_CLASS,
        CONCEPT_NAME_CODE_SEQUENCE=title,
        **more,
    )


def evidence(study: str, series: str, *instances: str) -> Dataset:
    items = [row(REFERENCED_SOP_INSTANCE_UID=i) for i in instances]
    of_series = row(SERIES_INSTANCE_UID=series, REFERENCED_SOP_SEQUENCE=items)
    return row(STUDY_INSTANCE_UID=study, REFERENCED_SERIES_SEQUENCE=of_series)


def image(uid: str, *frames: int) -> Dataset:
    item = row(REFERENCED_SOP_INSTANCE_UID=uid)
    item |= row(REFERENCED_FRAME_NUMBER=list(frames)) if frames else {}
    return row(REFERENCED_SOP_SEQUENCE=item)


def one(dataset: Dataset) -> KeyObject:
    [found] = key_objects.key_objects(STUDY, [dataset])
    return found


def test_selection_points_at_instances_of_its_study_and_their_frames() -> None:
    found = one(
        selection(
            EVIDENCE_SEQUENCE=[
                evidence(STUDY, "1.2.1", "1.2.1.1", "1.2.1.2"),
                evidence("1.7", "1.7.1", "1.7.1.1"),
            ],
            CONTENT_SEQUENCE=[image("1.2.1.2", 3, 5), image("1.7.1.1"), row(STUDY_ID="x")],
        )
    )
    assert found.title == Code(value="113000", scheme="DCM")
    assert not found.is_rejection
    assert set(found.references) == {
        Reference(series_uid="1.2.1", instance_uid="1.2.1.2", frames=(3, 5)),
        Reference(series_uid="1.2.1", instance_uid="1.2.1.1"),
    }


def test_content_deep_in_the_tree_is_found_and_endless_trees_end() -> None:
    tree = image("1.2.1.1")
    for _ in range(5):
        tree = row(CONTENT_SEQUENCE=tree)
    assert [r.instance_uid for r in one(selection() | tree).references] == ["1.2.1.1"]
    for _ in range(50):
        tree = row(CONTENT_SEQUENCE=tree)
    assert one(selection() | tree).references == ()


@pytest.mark.parametrize("code", ["113001", "113037", "113038", "113039"])
def test_rejection_takes_what_it_points_at_and_itself(code: str) -> None:
    note = one(selection(code, EVIDENCE_SEQUENCE=evidence(STUDY, "1.2.1", "1.2.1.1")))
    assert note.is_rejection
    assert key_objects.rejections([note]) == {"1.2.1.1": (code,), "1.2.9.1": (code,)}


@pytest.mark.parametrize(
    "dataset",
    [
        pytest.param(selection("113000"), id="of interest"),
        pytest.param(selection("113001", "99DCM"), id="another scheme"),
        pytest.param(selection(None), id="no code"),
    ],
)
def test_other_titles_reject_nothing(dataset: Dataset) -> None:
    assert key_objects.rejections(key_objects.key_objects(STUDY, [dataset])) == {}


def test_what_is_no_selection_is_passed_over() -> None:
    image_object = selection() | row(SOP_CLASS_UID="1.2.840.10008.5.1.4.1.1.2")
    assert key_objects.key_objects(STUDY, [image_object, {}, selection()]) == (one(selection()),)


@given(st.lists(odd_rows, max_size=3))
def test_odd_objects_never_fail(rows: list[Dataset]) -> None:
    key_objects.key_objects(STUDY, [selection() | r for r in rows])


def test_flagged_images_are_those_of_selections_that_are_neither_lists_nor_rejections() -> None:
    content: dict[str, Any] = {
        "EVIDENCE_SEQUENCE": evidence(STUDY, "1.2.1", "1.2.1.1", "1.2.1.2"),
        "CONTENT_SEQUENCE": [image("1.2.1.2", 4)],
    }
    found = [one(selection(code, **content)) for code in ("113000", "113030", "113001")]
    assert key_objects.flagged(STUDY, found) == (
        Target(study_uid=STUDY, series_uid="1.2.1", instance_uid="1.2.1.2", frames=(4,)),
        Target(study_uid=STUDY, series_uid="1.2.1", instance_uid="1.2.1.1"),
    )
    assert key_objects.flagged(STUDY, found[1:]) == ()


def series(uid: str, *instances: str, modality: str = "CT") -> Series:
    return Series(
        uid=uid,
        archives=("north",),
        modality=modality,
        number_of_instances=len(instances),
        instances=tuple(Instance(uid=i) for i in instances),
    )


WHOLE = Study(
    uid=STUDY,
    archives=("north",),
    modalities=("CT", "KO", "MR"),
    number_of_series=3,
    number_of_instances=4,
    series=(
        series("1.2.1", "1.2.1.1", "1.2.1.2"),
        series("1.2.2", "1.2.2.1", modality="MR"),
        series("1.2.9", "1.2.9.1", modality="KO"),
    ),
)


def without(*rejected: str) -> Study | None:
    """What is left for anyone when these are rejected."""
    marked = key_objects.marked(WHOLE, dict.fromkeys(rejected, ("113001",)), frozenset(rejected))
    return policy.visible(Consumer(id="anyone"), marked)


def test_what_is_left_is_counted_anew() -> None:
    left = without("1.2.1.1", "1.2.9.1")
    assert left is not None
    assert not left.is_subset, "nobody misses what exists for nobody"
    assert (left.number_of_series, left.number_of_instances) == (2, 2)
    assert left.modalities == ("CT", "MR")
    assert left.is_partial
    assert [(s.uid, s.number_of_instances, s.is_partial) for s in left.series or ()] == [
        ("1.2.1", 1, True),
        ("1.2.2", 1, False),
    ]
    assert [s.instances for s in key_objects.down_to_series(left).series or ()] == [None, None]


def test_nothing_hidden_leaves_the_record_as_it_is_and_everything_leaves_none() -> None:
    left = without("1.9")
    assert left is not None
    assert replace(left, knows_rejections=False) == WHOLE
    assert without("1.2.1.1", "1.2.1.2", "1.2.2.1", "1.2.9.1") is None


def test_instances_are_marked_by_all_notes_that_refer_to_them() -> None:
    titles = {"1.2.1.1": ("113001", "113037"), "1.2.2.1": ("113039",)}
    marked = key_objects.marked(WHOLE, titles, frozenset({"1.2.1.1"}))
    told = {
        i.uid: (i.rejections, i.is_rejected) for s in marked.series or () for i in s.instances or ()
    }
    assert told == {
        "1.2.1.1": (("113001", "113037"), True),
        "1.2.1.2": ((), False),
        "1.2.2.1": (("113039",), False),
        "1.2.9.1": ((), False),
    }
    assert marked.knows_rejections


def test_titles_are_told_of_instances_that_several_notes_refer_to() -> None:
    first, second = (
        one(selection(code, EVIDENCE_SEQUENCE=evidence(STUDY, "1.2.1", "1.2.1.1")))
        for code in ("113037", "113001")
    )
    other = replace(second, uid="1.2.9.2")
    assert key_objects.rejections([first, other]) == {
        "1.2.1.1": ("113001", "113037"),
        "1.2.9.1": ("113037",),
        "1.2.9.2": ("113001",),
    }

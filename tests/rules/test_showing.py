"""Which instance stands for a series or a study."""

from __future__ import annotations

import pytest

from gateway.model import Instance, Series, Study, Target
from gateway.rules import showing
from gateway.rules.showing import Worth

STORAGE = "1.2.840.10008.5.1.4.1.1."
CT, MR, CAPTURE, SLIDE = (f"{STORAGE}{arc}" for arc in ("2", "4", "7", "77.1.6"))
PDF, REPORT, SEGMENTATION = (f"{STORAGE}{arc}" for arc in ("104.1", "88.11", "66.4"))
PRIVATE = "1.3.12.2.1107.5.9.1"


@pytest.mark.parametrize(
    ("instance", "modality", "frames", "shown"),
    [
        (Instance(uid="1.1.1", number_of_frames=3), "CT", (9, 2, 3, 0), (2, 3)),
        (Instance(uid="1.1.1", number_of_frames=3), "CT", (9,), None),
        (Instance(uid="1.1.1", number_of_frames=3), "CT", (), ()),
        (Instance(uid="1.1.1", rows=8), "CT", (2,), None),
        (Instance(uid="1.1.1"), "CT", (2,), ()),
        (Instance(uid="1.1.1"), "PR", (), None),
        (Instance(uid="1.1.1", sop_class_uid=REPORT), "CT", (), None),
        (Instance(uid="1.1.1", sop_class_uid=PRIVATE), "MR", (), None),
        (Instance(uid="1.1.1", sop_class_uid=PRIVATE, rows=8), "MR", (), ()),
        (Instance(uid="1.1.2"), "CT", (), None),
    ],
)
def test_what_is_flagged_is_shown_where_it_is_an_image_and_exists(
    instance: Instance, modality: str, frames: tuple[int, ...], shown: tuple[int, ...] | None
) -> None:
    series = Series(uid="1.1", archives=("a",), modality=modality, instances=(instance,))
    study = Study(uid="1", archives=("a",), series=(series,))
    flagged = Target(study_uid="1", series_uid="1.1", instance_uid="1.1.1", frames=frames)
    found = showing.image_named(study, flagged)
    assert (found.frames if found else None) == shown


def series(uid: str, modality: str | None, number: int | None = 1) -> Series:
    return Series(uid=uid, archives=("a",), modality=modality, number_of_instances=number)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([], None),
        ([series("1", "SR")], "1"),
        ([series("1", "SR"), series("2", "CT"), series("3", "MR")], "2"),
        ([series("1", "CT", 0), series("2", "MR", None)], "2"),
        ([series("1", "KO"), series("2", None)], "2"),
        ([series("1", "PR"), series("2", "SEG")], "2"),
        ([series("1", "PR"), series("2", "SR")], "1"),
    ],
)
def test_first_series_with_images_stands_for_its_study(
    given_: list[Series], expected: str | None
) -> None:
    found = showing.representatives(given_)
    assert (found[0].uid if found else None) == expected


@pytest.mark.parametrize(
    ("description", "modality", "is_last"),
    [
        ("3-plane Localizer", "MR", True),
        ("AAHScout_MPR", "MR", True),
        ("Topogram  0.6  T20f", "CT", True),
        ("LOC", "MR", True),
        ("localized lesion", "MR", False),
        ("Scout view", "US", False),
        (None, "CT", False),
    ],
)
def test_series_that_planned_others_come_last(
    description: str | None, modality: str, *, is_last: bool
) -> None:
    first = Series(uid="1", archives=("a",), modality=modality, description=description)
    found = showing.representatives([first, series("2", modality)])
    assert [s.uid for s in found] == (["2", "1"] if is_last else ["1", "2"])


def test_localizer_stands_for_nothing_else() -> None:
    planned = ("ORIGINAL", "PRIMARY", "LOCALIZER")
    some = [Instance(uid=str(n), image_type=planned if n else ("ORIGINAL",)) for n in range(5)]
    assert showing.representative_instance(some) == some[0]
    assert showing.representative_instance(some[1:]) == some[3]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([], None),
        ([CT], 0),
        ([CT, CT, CT], 1),
        ([CT, CT], 1),
        ([None], 0),
        ([REPORT, CT, PDF], 1),
        ([REPORT, REPORT, REPORT], 1),
    ],
)
def test_middle_image_stands_for_its_series(
    classes: list[str | None], expected: int | None
) -> None:
    instances = [Instance(uid=str(n), sop_class_uid=c) for n, c in enumerate(classes)]
    found = showing.representative_instance(instances)
    assert (found and int(found.uid)) == expected


@pytest.mark.parametrize(
    ("instance", "modality", "expected"),
    [
        (Instance(uid="1"), "CT", Worth.IMAGE),
        (Instance(uid="1", sop_class_uid=CT), "CT", Worth.IMAGE),
        (Instance(uid="1", sop_class_uid=PRIVATE, rows=64), "MR", Worth.IMAGE),
        (Instance(uid="1", sop_class_uid=PRIVATE), "MR", Worth.UNKNOWN),
        (Instance(uid="1", sop_class_uid=f"{STORAGE}66"), "MR", Worth.OTHER),
        (Instance(uid="1", sop_class_uid=f"{STORAGE}4.2", rows=16), "MR", Worth.OTHER),
        (Instance(uid="1", sop_class_uid=f"{STORAGE}4.3"), "MR", Worth.IMAGE),
        (Instance(uid="1", sop_class_uid=PDF), "OT", Worth.OTHER),
        (Instance(uid="1", sop_class_uid=SEGMENTATION), "SEG", Worth.MASK),
        (Instance(uid="1", sop_class_uid=f"{STORAGE}77.1.1.1"), "ES", Worth.VIDEO),
        (Instance(uid="1", sop_class_uid=f"{STORAGE}77.1.1"), "ES", Worth.IMAGE),
        (Instance(uid="1", sop_class_uid=CAPTURE), "CT", Worth.CAPTURE),
        (Instance(uid="1", sop_class_uid=CAPTURE), "US", Worth.IMAGE),
    ],
)
def test_an_image_is_worth_more_than_what_only_may_be_one(
    instance: Instance, modality: str, expected: Worth
) -> None:
    assert showing.worth(instance, modality) is expected


def slide(kind: str) -> Instance:
    return Instance(uid=kind, sop_class_uid=SLIDE, image_type=("ORIGINAL", "PRIMARY", kind, "NONE"))


def test_the_label_of_a_slide_stands_for_nothing_else() -> None:
    label, tiles, overview, small = map(slide, ("LABEL", "VOLUME", "OVERVIEW", "THUMBNAIL"))
    assert showing.representative_instance([tiles, tiles, label, overview, small]) == small
    assert showing.representative_instance([tiles, label, overview]) == overview
    assert showing.representative_instance([label, label, tiles]) == tiles
    assert showing.representative_instance([label, Instance(uid="1", sop_class_uid=PDF)]) != label
    assert showing.is_label(label)
    assert not showing.is_label(overview)


def test_series_of_many_instances_come_first_once_others_were_in_vain() -> None:
    some = [series("1", "CT", 1), series("2", "SR", 99), series("3", "CT", 9), series("4", "SEG")]
    assert [s.uid for s in showing.most_first(some)] == ["3", "1", "4", "2"]


@pytest.mark.parametrize(
    ("modality", "number", "expected"),
    [
        ("CT", 32, False),
        ("CT", 40, True),
        ("US", 40, False),
        ("MR", 500, False),
        ("CT", None, False),
    ],
)
def test_image_type_decides_where_a_series_may_be_localizers(
    modality: str, number: int | None, *, expected: bool
) -> None:
    assert showing.may_be_localizers(series("1", modality, number)) == expected

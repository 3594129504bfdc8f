from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Code, Contents, Identifier, Instance, Patient, PersonName, Series, Study
from gateway.rules import dicom_json as dj
from gateway.rules import merging

JANE = Patient(id=Identifier(value="7"), name=PersonName(alphabetic="Doe^Jane"))


def study(archive: str, *series: Series, **more: object) -> Study:
    made = Study(uid="1.2", archives=(archive,), series=series)
    return replace(made, **more)  # type: ignore[arg-type]  # what a test says of it


def series(archive: str, uid: str, *instances: str, **more: object) -> Series:
    listed = tuple(Instance(uid=i) for i in instances) or None
    made = Series(
        uid=uid,
        archives=(archive,),
        number_of_instances=len(instances) if instances else None,
        instances=listed,
    )
    return replace(made, **more)  # type: ignore[arg-type]  # what a test says of it


def test_study_of_one_archive_stays_as_it_is() -> None:
    only = study("north", series("north", "1"))
    assert merging.merge([only]) is only


def test_study_has_been_as_it_is_since_its_last_part_changed() -> None:
    times = ["2024-05-14T10:00:00.000Z", None, "2024-05-14T09:00:00.000Z"]
    parts = [study("north", last_updated=time) for time in times]
    assert {merging.merge(p).last_updated for p in permutations(parts)} == {times[0]}


def test_study_split_over_archives_is_one() -> None:
    found = merging.merge(
        [
            study("north", series("north", "1.1", number=2), modalities=("CT",)),
            study("south", series("south", "1.2", number=1), modalities=("SR", "CT")),
        ]
    )
    assert found.archives == ("north", "south")
    assert found.modalities == ("CT", "SR")
    assert [(s.uid, s.archives) for s in found.series or ()] == [
        ("1.2", ("south",)),
        ("1.1", ("north",)),
    ]


def test_study_held_twice_lists_everything_once() -> None:
    found = merging.merge(
        [study(a, series(a, "1.1", "1", "2"), number_of_instances=2) for a in ("north", "south")]
    )
    assert found.series == (
        Series(
            uid="1.1",
            archives=("north", "south"),
            number_of_instances=2,
            instances=(Instance(uid="1"), Instance(uid="2")),
        ),
    )


def test_instances_that_one_archive_misses_name_those_that_have_them() -> None:
    found = merging.merge(
        [
            study("north", series("north", "1.1", "1", "2")),
            study("south", series("south", "1.1", "2", "3", "4")),
        ]
    )
    (one,) = found.series or ()
    assert one.is_uneven
    assert one.number_of_instances == 4
    assert {i.uid: i.archives for i in one.instances or ()} == {
        "1": ("north",),
        "2": (),
        "3": ("south",),
        "4": ("south",),
    }


@pytest.mark.parametrize(
    ("numbers", "is_uneven", "largest"),
    [((5, 5), False, 5), ((5, 6), True, 6), ((5, None), True, 5), ((None, None), False, None)],
)
def test_unequal_counts_are_told(
    numbers: tuple[int | None, ...], *, is_uneven: bool, largest: int | None
) -> None:
    found = merging.merge(
        [
            study(a, series(a, "1", number_of_instances=n))
            for a, n in zip(("north", "south"), numbers, strict=True)
        ]
    )
    (one,) = found.series or ()
    assert (one.is_uneven, one.number_of_instances) == (is_uneven, largest)


def test_what_the_first_archive_does_not_know_the_next_one_tells() -> None:
    region = Code(value="51185008", scheme="SCT")
    found = merging.merge(
        [
            study("north", series("north", "1.1", number=0, laterality="L")),
            study(
                "south",
                series(
                    "south", "1.1", number=5, laterality="R", body_part="CHEST",
                    anatomic_region=region, modality="CT",
                ),
                description="Thorax",
                accession=Identifier(value="A1"),
                procedure_codes=(region,),
            ),
        ]
    )  # fmt: skip
    assert found.description == "Thorax"
    assert found.accession == Identifier(value="A1")
    assert found.procedure_codes == (region,)
    (one,) = found.series or ()
    assert (one.number, one.laterality, one.body_part) == (0, "L", "CHEST")
    assert (one.modality, one.anatomic_region) == ("CT", region)


def test_instance_is_told_by_all_that_hold_it() -> None:
    north = replace(series("north", "1.1"), instances=(Instance(uid="1", rows=0),))
    south = replace(
        series("south", "1.1"), instances=(Instance(uid="1", rows=512, number=3, title="T"),)
    )
    (one,) = merging.merge([study("north", north), study("south", south)]).series or ()
    assert one.instances == (Instance(uid="1", rows=0, number=3, title="T"),)


def test_instances_told_differently_are_each_told_once_and_name_their_archives() -> None:
    north = replace(
        series("north", "1.1"), instances=(Instance(uid="1", number=1), Instance(uid="2", number=2))
    )
    south = replace(
        series("south", "1.1"), instances=(Instance(uid="1", number=1), Instance(uid="3", rows=8))
    )
    parts = [study("north", north), study("south", south)]
    (one,) = merging.merge(parts).series or ()
    assert one.instances == (
        Instance(uid="1", number=1),
        Instance(uid="2", number=2, archives=("north",)),
        Instance(uid="3", rows=8, archives=("south",)),
    )
    east = study("east", replace(north, archives=("east",)))
    (again,) = merging.merge([merging.merge(parts), east]).series or ()
    assert [i.archives for i in again.instances or ()] == [(), ("north", "east"), ("south",)]


def test_date_time_and_offset_come_from_one_archive() -> None:
    found = merging.merge(
        [
            study("north", time="10:00:00", utc_offset="+09:00"),
            study("south", date="2024-01-15"),
            study("west", date="2024-01-16", time="11:00:00", utc_offset="+01:00"),
        ]
    )
    assert (found.date, found.time, found.utc_offset) == ("2024-01-15", None, None)


@pytest.mark.parametrize(
    ("patients", "expected", "is_said"),
    [
        pytest.param((JANE, JANE), JANE, False, id="the same"),
        pytest.param((Patient(), JANE), JANE, False, id="one knows none"),
        pytest.param((Patient(sex="F"), JANE), JANE, False, id="one knows no ID"),
        pytest.param((Patient(), Patient(sex="F")), Patient(sex="F"), False, id="no IDs"),
        pytest.param(
            (Patient(id=Identifier(value="7")), replace(JANE, id=Identifier(value="8"))),
            Patient(id=Identifier(value="7")),
            True,
            id="two",
        ),
    ],
)
def test_patients_are_never_mixed(
    patients: tuple[Patient, ...], expected: Patient, *, is_said: bool
) -> None:
    found = merging.merge(
        [study(a, patient=p) for a, p in zip(("north", "south"), patients, strict=True)]
    )
    assert found.patient == expected
    assert bool(found.warnings) == is_said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("UNAVAILABLE", "ONLINE"), "ONLINE"),
        (("OFFLINE", "NEARLINE"), "NEARLINE"),
        (("UNAVAILABLE", None), None),
        ((None, "ONLINE"), "ONLINE"),
        (("UNAVAILABLE", "UNAVAILABLE"), "UNAVAILABLE"),
        (("PARTLY", "UNAVAILABLE"), "PARTLY"),
    ],
)
def test_study_is_as_available_as_its_best_copy(
    said: tuple[str | None, ...], expected: str | None
) -> None:
    for order in permutations(said):
        found = merging.merge([study(f"a{n}", availability=a) for n, a in enumerate(order)])
        assert found.availability == expected


def test_archive_that_was_only_asked_for_the_study_hides_no_series_of_the_others() -> None:
    found = merging.merge([study("north", series=None), study("south", series("south", "1"))])
    assert [s.uid for s in found.series or ()] == ["1"]
    assert merging.merge([study("north", series=None), study("south", series=None)]).series is None


def test_instances_of_a_series_that_no_search_listed_are_kept() -> None:
    known = study("north", series("north", "1.1"), series("north", "1.2"))
    listed: dict[str, tuple[Instance, ...]] = {
        "1.1": (Instance(uid="1"),),
        "1.9": (Instance(uid="9"),),
    }
    found = merging.with_instances(known, Contents(instances=listed))
    assert {s.uid: [i.uid for i in s.instances or ()] for s in found.series or ()} == {
        "1.1": ["1"],
        "1.2": [],
        "1.9": ["9"],
    }


def test_what_instances_tell_of_their_series_fills_in_what_its_row_does_not() -> None:
    known = study("north", replace(series("north", "1.1"), body_part="KNEE"))
    told = Series(
        uid="1.1", archives=("north",), body_part="HIP", laterality="L", date="2020-02-02"
    )
    contents = Contents(instances={"1.1": (Instance(uid="1"),)}, series=(told,), warnings=("odd",))
    found = merging.with_instances(known, contents)
    one = (found.series or ())[0]
    assert (one.body_part, one.laterality, one.date) == ("KNEE", "L", "2020-02-02")
    assert found.warnings == ("odd",)


@pytest.mark.parametrize(
    ("listed", "modalities", "number_of_instances"),
    [
        pytest.param((), [], 0, id="none"),
        pytest.param(
            (
                series("n", "1", modality="CT", number_of_instances=2),
                series("n", "2", modality="SR", number_of_instances=1),
                series("n", "3", modality="CT", number_of_instances=0),
            ),
            ["CT", "SR"],
            3,
            id="all known",
        ),
        pytest.param(
            (series("n", "1", "1", "2", number_of_instances=None), series("n", "2", "3")),
            [],
            3,
            id="counted from the list",
        ),
        pytest.param((series("n", "1", "1"), series("n", "2")), [], None, id="one not known"),
    ],
)
def test_counts_are_of_what_is_listed(
    listed: tuple[Series, ...], modalities: list[str], number_of_instances: int | None
) -> None:
    found = merging.counts(study("north", *listed))
    assert found[dj.MODALITIES_IN_STUDY]["Value"] == modalities
    assert found[dj.NUMBER_OF_STUDY_RELATED_SERIES]["Value"] == [len(listed)]
    total = found.get(dj.NUMBER_OF_STUDY_RELATED_INSTANCES, {}).get("Value", [None])
    assert total == [number_of_instances]


@st.composite
def _holdings(draw: st.DrawFn) -> dict[str, dict[str, set[str]]]:
    """Which archive holds which instances of which series."""
    archives = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True))
    uids = st.sets(st.sampled_from(["1", "2", "3", "4"]), min_size=1)
    of_series = st.dictionaries(st.sampled_from(["1.1", "1.2"]), uids, max_size=2)
    return {archive: draw(of_series) for archive in archives}


@given(_holdings())
def test_every_instance_is_there_once_and_names_exactly_those_that_hold_it(
    holdings: dict[str, dict[str, set[str]]],
) -> None:
    parts = [
        study(
            a,
            *(
                series(a, uid, *(f"{uid}.{i}" for i in sorted(held)))
                for uid, held in sorted(held_series.items())
            ),
        )
        for a, held_series in holdings.items()
    ]
    found = merging.merge(parts)
    seen = [
        (s.uid, i.uid, tuple(i.archives or s.archives))
        for s in found.series or ()
        for i in s.instances or ()
    ]
    expected = {
        (uid, f"{uid}.{i}"): tuple(a for a, of in holdings.items() if i in of.get(uid, set()))
        for of_series in holdings.values()
        for uid, held in of_series.items()
        for i in held
    }
    assert len(seen) == len(expected)
    assert {(s, i): holders for s, i, holders in seen} == expected
    for one in found.series or ():
        assert one.number_of_instances == len(one.instances or ())

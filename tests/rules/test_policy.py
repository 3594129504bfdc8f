from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.model import (
    Consumer,
    Identifier,
    Instance,
    Level,
    Patient,
    Policy,
    Rule,
    Series,
    Study,
)
from gateway.rules import merging, policy
from tests.study_records import WHOLE, studies

ANYONE = Consumer(id="anyone")
MODALITIES = ("CT", "SR", "PR", "KO")
CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3")


def hides(*rules: Rule, allow: tuple[Rule, ...] = ()) -> Consumer:
    return Consumer(id="hie", policy=Policy(name="hie", hide=rules, allow=allow))


def test_everything_exists_for_whom_nothing_is_hidden_from() -> None:
    assert policy.visible(ANYONE, WHOLE) == WHOLE
    assert policy.needs(ANYONE) is Level.STUDY
    assert not policy.is_restricted(ANYONE)


def test_images_are_shared_without_their_measurements() -> None:
    shown = policy.visible(hides(Rule(name="r", modalities=("SR",))), WHOLE)

    assert shown is not None
    assert [s.modality for s in shown.series or ()] == ["CT"]
    assert (shown.modalities, shown.number_of_series, shown.number_of_instances) == (("CT",), 1, 2)
    assert shown.is_subset


def test_a_study_without_anything_left_does_not_exist() -> None:
    assert policy.visible(hides(Rule(name="r", modalities=("SR", "CT"))), WHOLE) is None
    assert policy.visible(hides(allow=(Rule(name="r", modalities=("MR",)),)), WHOLE) is None


def test_a_class_hides_its_instances_and_the_rest_of_the_series_stays() -> None:
    mixed = series("CT", instance("1.1", CLASSES[0]), instance("1.2", CLASSES[1]))
    consumer = hides(Rule(name="r", sop_classes=("1.2.840.10008.5.1.4.1.1.88.*",)))

    shown = policy.visible(consumer, study(mixed))

    assert policy.needs(consumer) is Level.INSTANCE
    assert shown is not None
    only = (shown.series or ())[0]
    assert [i.uid for i in only.instances or ()] == ["1.1"]
    assert (only.number_of_instances, only.is_subset) == (1, True)
    assert policy.shows(shown, "north", only.uid, "1.1")
    assert not policy.shows(shown, "north", only.uid, "1.2")


def test_what_is_not_known_is_hidden() -> None:
    unknown = study(series(None, instance("1.1", None)))

    assert policy.visible(hides(Rule(name="r", modalities=("SR",))), unknown) is None
    assert policy.visible(hides(Rule(name="r", sop_classes=("1.2.3",))), unknown) is None
    allowing = hides(allow=(Rule(name="r", modalities=("CT",)),))
    assert policy.visible(allowing, unknown) is None
    not_loaded = replace(unknown, series=None)
    assert policy.visible(hides(Rule(name="r", modalities=("SR",))), not_loaded) is None


def test_a_copy_in_another_archive_stays() -> None:
    shared = replace(series("CT", instance("1.1", CLASSES[0])), archives=("north", "south"))

    shown = policy.visible(hides(Rule(name="r", archives=("north",))), study(shared))

    assert shown is not None
    assert (shown.series or ())[0].archives == ("south",)
    assert not policy.shows(shown, "north", shared.uid, None)
    assert policy.shows(shown, "south", shared.uid, "1.1")


@pytest.mark.parametrize(
    ("rule", "is_hidden"),
    [
        (Rule(name="r", study_date_from="2020-05-14", study_date_to="2020-05-14"), True),
        (Rule(name="r", study_date_to="2020-05-13"), False),
        (Rule(name="r", study_date_from="2020-05-15"), False),
        (Rule(name="r", patients=(Identifier(value="P-1", system="urn:oid:1.2.3.4"),)), True),
        (Rule(name="r", patients=(Identifier(value="P-1"),)), True),
        (Rule(name="r", patients=(Identifier(value="P-1", system="urn:oid:9"),)), False),
        (Rule(name="r", series_descriptions=("*5 MM",), modalities=("CT",)), False),
        (Rule(name="r", modalities=("CT", "SR"), study_date_from="2020-01-01"), True),
    ],
)
def test_rules_look_at_the_study_too(rule: Rule, *, is_hidden: bool) -> None:
    shown = policy.visible(hides(rule), WHOLE)
    assert (shown is None) is is_hidden


def test_descriptions_have_wildcards_and_no_other_magic() -> None:
    described = replace(WHOLE, series=(replace((WHOLE.series or ())[0], description="a.b[1]"),))

    assert policy.visible(hides(Rule(name="r", series_descriptions=("A?B[1]",))), described) is None
    assert policy.visible(hides(Rule(name="r", series_descriptions=("a.b1",))), described)
    assert policy.visible(hides(Rule(name="r", series_descriptions=("a",))), described)


def test_a_bound_consumer_sees_one_patient_by_system_and_value() -> None:
    def sees(*patients: Identifier, of: Study = WHOLE) -> bool:
        return policy.visible(Consumer(id="app", patients=patients), of) is not None

    assert sees(Identifier(value="P-1", system="urn:oid:1.2.3.4"))
    assert not sees(Identifier(value="P-1", system="urn:oid:1.2.3.5"))
    assert not sees(Identifier(value="P-1"))
    assert not sees()
    unnamed = replace(WHOLE, patient=Patient(id=Identifier(value="P-1")))
    assert not sees(Identifier(value="P-1"), of=unnamed)
    of_two = replace(WHOLE, is_of_several_patients=True)
    assert not sees(Identifier(value="P-1", system="urn:oid:1.2.3.4"), of=of_two)


def test_the_first_rule_that_decides_is_told() -> None:
    consumer = hides(
        Rule(name="hide[0]", modalities=("SR",)), allow=(Rule(name="allow[0]", modalities=("CT",)),)
    )

    told = [(v.is_visible, v.why) for v in policy.explained(consumer, WHOLE)]

    assert told == [(True, "policy hie, allow[0]"), (False, "policy hie, hide[0]")]
    assert [v.why for v in policy.explained(ANYONE, WHOLE)] == ["there is no policy"] * 2
    bound = Consumer(id="x", patients=())
    assert [v.is_visible for v in policy.explained(bound, WHOLE)] == [False]


def instance(uid: str, sop_class: str | None, *archives: str) -> Instance:
    return Instance(uid=uid, sop_class_uid=sop_class, archives=archives)


def series(modality: str | None, *instances: Instance, uid: str = "1.9") -> Series:
    return Series(
        uid=uid,
        archives=("north",),
        modality=modality,
        instances=instances,
        number_of_instances=len(instances),
    )


def study(*of: Series) -> Study:
    archives = tuple(dict.fromkeys(a for s in of for a in s.archives))
    return Study(uid="1.2", archives=archives, series=of)


_some = st.lists(st.sampled_from(MODALITIES), max_size=2, unique=True).map(tuple)
_rules = st.lists(
    st.builds(
        Rule,
        name=st.just("r"),
        modalities=_some,
        sop_classes=st.lists(st.sampled_from((*CLASSES, "1.2.840.*", "*.2")), max_size=1).map(
            tuple
        ),
        archives=st.lists(st.sampled_from(("north", "south")), max_size=1).map(tuple),
        patients=st.lists(
            st.sampled_from((Identifier(value="A"), Identifier(value="B", system="s"))), max_size=1
        ).map(tuple),
        study_date_from=st.none() | st.just("2020-06-01"),
        rejections=st.lists(st.sampled_from((None, "113001", "113037")), max_size=2).map(tuple),
    ).filter(lambda r: r != Rule(name="r")),
    max_size=2,
).map(tuple)
_instances = st.lists(
    st.builds(
        Instance,
        uid=st.integers(1, 99).map(lambda n: f"1.{n}"),
        sop_class_uid=st.none() | st.sampled_from(CLASSES),
        archives=st.sampled_from(((), ("north",), ("north", "south"))),
        rejections=st.sampled_from(((), ("113001",), ("113037",), ("113001", "113037"))),
        is_rejected=st.booleans(),
    ),
    max_size=4,
    unique_by=lambda i: i.uid,
).map(tuple)


def _unmarked(of: Series) -> Series:
    """A series of whose instances nobody knows what rejects them."""
    instances = of.instances or ()
    plain = (structs.replace(i, rejections=(), is_rejected=False) for i in instances)
    return replace(of, instances=tuple(plain))


_series = st.lists(
    st.builds(
        lambda n, modality, archives, instances: Series(
            uid=f"2.{n}",
            archives=archives,
            modality=modality,
            instances=tuple(
                structs.replace(
                    i,
                    archives=tuple(a for a in i.archives if a in archives),
                    is_rejected=i.is_rejected and bool(i.rejections),
                )
                for i in instances
            ),
            number_of_instances=len(instances),
        ),
        n=st.integers(1, 9),
        modality=st.none() | st.sampled_from(MODALITIES),
        archives=st.sampled_from((("north",), ("north", "south"))),
        instances=_instances,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda s: s.uid,
).map(tuple)
_studies = st.builds(
    lambda of, day, patient, knows: Study(
        uid="1.2",
        archives=("north", "south"),
        series=of if knows else tuple(_unmarked(s) for s in of),
        date=day,
        patient=Patient(id=patient),
        warnings=("hidden words",),
        knows_rejections=knows,
    ),
    of=_series,
    day=st.none() | st.sampled_from(("2020-01-01", "2020-12-31")),
    patient=st.none() | st.sampled_from((Identifier(value="A"), Identifier(value="B", system="s"))),
    knows=st.booleans(),
)


def obvious(made: Policy, of: Study, in_series: Series, archive: str, one: Instance) -> bool:
    """Whether a copy of an instance exists: the slow and plain way."""

    def fits(rule: Rule, *, unknown: bool) -> bool:
        asked: list[bool] = []
        if rule.rejections:
            noted = [title in rule.rejections for title in one.rejections or (None,)]
            is_meant = any(noted) if unknown else all(noted)
            asked.append(is_meant if of.knows_rejections else unknown)
        if rule.modalities:
            asked.append(
                unknown if in_series.modality is None else in_series.modality in rule.modalities
            )
        if rule.sop_classes:
            found = one.sop_class_uid
            asked.append(
                unknown
                if found is None
                else any(fnmatch.fnmatchcase(found, p) for p in rule.sop_classes)
            )
        if rule.archives:
            asked.append(archive in rule.archives)
        if rule.patients:
            whose = of.patient.id
            asked.append(
                unknown
                if whose is None
                else any(
                    p.value == whose.value and (p.system is None or p.system == whose.system)
                    for p in rule.patients
                )
            )
        if rule.study_date_from:
            asked.append(unknown if of.date is None else of.date >= rule.study_date_from)
        return all(asked)

    if any(fits(rule, unknown=True) for rule in made.hide):
        return False
    if one.is_rejected:
        return any(rule.rejections and fits(rule, unknown=False) for rule in made.allow)
    return not made.allow or any(fits(rule, unknown=False) for rule in made.allow)


@given(of=_studies, hide=_rules, allow=_rules)
def test_what_remains_is_what_the_plain_way_finds(
    of: Study, hide: tuple[Rule, ...], allow: tuple[Rule, ...]
) -> None:
    consumer = hides(*hide, allow=allow)
    assert consumer.policy is not None

    shown = policy.visible(consumer, of)

    expected = {
        (s.uid, i.uid, archive)
        for s in of.series or ()
        for i in s.instances or ()
        for archive in i.archives or s.archives
        if obvious(consumer.policy, of, s, archive, i)
    }
    remains = {
        (s.uid, i.uid, archive)
        for s in (shown.series if shown else None) or ()
        for i in s.instances or ()
        for archive in i.archives or s.archives
    }
    assert remains == expected
    if shown is not None and shown != of:
        allows = replace(consumer.policy, hide=())
        assert shown.is_subset is bool(_uids(of) - _uids(shown) - _unmissed(allows, of))
        assert shown.number_of_series == len(shown.series or ())
        assert set(shown.modalities) == {s.modality for s in shown.series or () if s.modality}
        assert shown.number_of_instances == sum(len(s.instances or ()) for s in shown.series or ())
        assert not shown.warnings


def _unmissed(allows: Policy, of: Study) -> set[str]:
    """What nobody misses: instances that are rejected, and not allowed; series of nothing else."""
    unmissed = set()
    for one in of.series or ():
        mine = {
            i.uid
            for i in one.instances or ()
            if i.is_rejected
            and not any(obvious(allows, of, one, a, i) for a in i.archives or one.archives)
        }
        unmissed |= mine | ({one.uid} if mine and len(mine) == len(one.instances or ()) else set())
    return unmissed


def _uids(of: Study) -> set[str]:
    found = of.series or ()
    return {s.uid for s in found} | {i.uid for s in found for i in s.instances or ()}


def test_a_copy_that_is_hidden_makes_no_subset_and_says_nothing() -> None:
    images = series("CT", instance("1.1", None))
    north = Study(uid="1.2", archives=("north",), series=(images,))
    told = replace(images, archives=("south",), description="SECRET", body_part="SECRET")
    south = replace(north, archives=("south",), description="SECRET", series=(told,))
    merged = merging.merge([north, south])
    assert merged.description == "SECRET"

    shown = policy.visible(hides(Rule(name="r", archives=("south",))), merged, (north, south))

    assert shown is not None
    assert "SECRET" not in repr(shown)
    assert (shown.archives, shown.is_subset) == (("north",), False)


def test_a_study_of_several_patients_is_hidden_with_any_of_them() -> None:
    of = replace(WHOLE, patient=Patient(id=Identifier(value="A")), is_of_several_patients=True)
    hidden = Rule(name="r", patients=(Identifier(value="B"),))
    assert policy.visible(hides(hidden), of) is None
    assert policy.visible(hides(allow=(hidden,)), of) is None


def test_of_several_patients_any_hides_and_all_have_to_be_allowed() -> None:
    a, b, c = (Identifier(value=value, system="s") for value in "ABC")
    of = replace(WHOLE, patient=Patient(id=a), is_of_several_patients=True, patient_ids=(a, b))
    for one in (a, b):
        assert policy.visible(hides(Rule(name="r", patients=(one,))), of) is None
        assert policy.visible(hides(allow=(Rule(name="r", patients=(one,)),)), of) is None
    assert policy.visible(hides(Rule(name="r", patients=(c,))), of) == of
    assert policy.visible(hides(allow=(Rule(name="r", patients=(a, b)),)), of) == of
    unissued = replace(of, patient_ids=(a, Identifier(value="C")))
    assert policy.visible(hides(Rule(name="r", patients=(c,))), unissued) is None


@pytest.mark.parametrize(
    ("hidden", "seen"),
    [
        ({"modalities": ("SR",)}, {"modalities": ("CT", "SR")}),
        ({"series_descriptions": ("SECRET*",)}, {"series_descriptions": ("SECRET*", "plain")}),
        ({"study_date_to": "2019-12-31"}, {"study_date_from": "2019-01-01"}),
    ],
)
def test_what_some_copy_says_hides_and_is_not_allowed(
    hidden: dict[str, Any], seen: dict[str, Any]
) -> None:
    one = replace(
        series("CT", instance("1.1", CLASSES[0])),
        description="plain",
        other_modalities=("SR",),
        other_descriptions=("SECRET",),
    )
    of = replace(study(one), date="2024-01-01", other_dates=("2019-01-01",))
    assert policy.visible(hides(Rule(name="r", **hidden)), of) is None
    assert policy.visible(hides(allow=(Rule(name="r", **hidden),)), of) is None
    assert policy.visible(hides(allow=(Rule(name="r", **seen),)), of) == of


@given(of=studies)
def test_any_study_can_be_looked_at(of: Study) -> None:
    for level_policy in (
        hides(Rule(name="r", modalities=("SR",))),
        hides(Rule(name="r", sop_classes=("1.*",))),
        Consumer(id="x", patients=(Identifier(value="1", system="s"),)),
    ):
        policy.visible(level_policy, of)
        policy.explained(level_policy, of)

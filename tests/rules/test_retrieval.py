from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Consumer, Instance, Series, Study, Target
from gateway.rules import key_objects, merging, policy, retrieval
from gateway.rules.retrieval import Fetch

WHOLE = Target(study_uid="1")
ARCHIVES = ("a", "b", "c")

Holdings = dict[str, dict[str, set[str]]]
"""Instances of series of archives."""


def loaded(holdings: Holdings, *, instances: bool = True) -> Study:
    """The merged record of a study, as deep as asked."""
    parts = [
        Study(
            uid="1",
            archives=(archive,),
            series=tuple(
                Series(
                    uid=uid,
                    archives=(archive,),
                    number_of_instances=len(held),
                    instances=tuple(Instance(uid=i) for i in sorted(held)) if instances else None,
                )
                for uid, held in sorted(of_series.items())
            ),
        )
        for archive, of_series in holdings.items()
    ]
    return merging.merge(parts)


def sent(fetch: Fetch, archive: str, holdings: Holdings) -> list[tuple[str, str]]:
    """What an archive sends for a fetch: of what was asked for, all that it has."""
    target = fetch.target
    return [
        (series, instance)
        for series, held in holdings[archive].items()
        for instance in held
        if target.series_uid in {None, series} and target.instance_uid in {None, instance}
    ]


@st.composite
def _holdings(draw: st.DrawFn) -> Holdings:
    archives = draw(st.lists(st.sampled_from(ARCHIVES), min_size=1, max_size=3, unique=True))
    series = draw(st.lists(st.sampled_from(["1.1", "1.2", "1.3"]), min_size=1, unique=True))
    holdings: Holdings = {a: {} for a in archives}
    for uid in series:
        instances = [f"{uid}.{n}" for n in range(draw(st.integers(1, 4)))]
        for instance in instances:
            for a in draw(st.sets(st.sampled_from(archives), min_size=1)):
                holdings[a].setdefault(uid, set()).add(instance)
    return {a: of for a, of in holdings.items() if of}


@given(_holdings(), st.data())
def test_every_instance_comes_exactly_once_whichever_archive_answers(
    holdings: Holdings, data: st.DataObject
) -> None:
    study = loaded(holdings)
    series = [s.uid for s in study.series or ()]
    target = data.draw(
        st.sampled_from([WHOLE, *(Target(study_uid="1", series_uid=uid) for uid in series)])
    )
    got: Counter[tuple[str, str]] = Counter()
    for fetch in data.draw(st.sampled_from([retrieval.plan(study, target), _apart(study, target)])):
        assert fetch.archives
        got.update(sent(fetch, data.draw(st.sampled_from(fetch.archives)), holdings))
    wanted = {
        (uid, instance)
        for of_series in holdings.values()
        for uid, held in of_series.items()
        for instance in held
        if target.series_uid in {None, uid}
    }
    assert got == dict.fromkeys(wanted, 1)


@given(_holdings(), st.data())
def test_what_is_hidden_never_comes_and_the_rest_comes_once(
    holdings: Holdings, data: st.DataObject
) -> None:
    whole = loaded(holdings)
    every = sorted({(s, i) for of in holdings.values() for s, held in of.items() for i in held})
    hidden = data.draw(st.sets(st.sampled_from(every)))
    rejected = frozenset(i for _, i in hidden)
    marked = key_objects.marked(whole, dict.fromkeys(rejected, ("113001",)), rejected)
    study = policy.visible(Consumer(id="anyone"), marked)
    if study is None:
        return
    target = data.draw(
        st.sampled_from(
            [WHOLE, *(Target(study_uid="1", series_uid=s.uid) for s in study.series or ())]
        )
    )
    ways = (retrieval.plan(study, target), _apart(study, target))
    for fetches in (*ways, retrieval.for_metadata(study, target)):
        got: Counter[tuple[str, str]] = Counter()
        for fetch in fetches:
            come = sent(fetch, data.draw(st.sampled_from(fetch.archives)), holdings)
            got.update(one for one in come if fetch.only is None or one[1] in fetch.only)
        left = [one for one in every if one not in hidden and target.series_uid in {None, one[0]}]
        assert got == dict.fromkeys(left, 1)


def _apart(study: Study, target: Target) -> tuple[Fetch, ...]:
    return retrieval.by_series(study, retrieval.plan(study, target))


@given(_holdings(), st.data())
def test_instance_comes_from_an_archive_that_holds_it(
    holdings: Holdings, data: st.DataObject
) -> None:
    study = loaded(holdings)
    every = sorted({(s, i) for of in holdings.values() for s, held in of.items() for i in held})
    series, instance = data.draw(st.sampled_from(every))
    frames = data.draw(st.sampled_from([(), (3, 1)]))
    target = Target(study_uid="1", series_uid=series, instance_uid=instance, frames=frames)
    holders = tuple(a for a, of in holdings.items() if instance in of.get(series, set()))
    assert retrieval.plan(study, target) == (Fetch(target=target, archives=holders),)


@given(_holdings())
def test_archive_that_has_all_is_asked_once(holdings: Holdings) -> None:
    study = loaded(holdings)
    every = {i for of in holdings.values() for held in of.values() for i in held}
    whole = tuple(a for a, of in holdings.items() if set().union(*of.values()) == every)
    if whole:
        assert retrieval.plan(study, WHOLE) == (Fetch(target=WHOLE, archives=whole),)


@given(_holdings())
def test_series_level_is_enough_where_no_series_is_shared(holdings: Holdings) -> None:
    shallow = loaded(holdings, instances=False)
    if not retrieval.needs_instances(shallow, WHOLE):
        got: Counter[tuple[str, str]] = Counter()
        for fetch in retrieval.plan(shallow, WHOLE):
            for archive in fetch.archives[:1]:
                got.update(sent(fetch, archive, holdings))
        assert set(got.values()) == {1}
        assert len(got) == sum(len(held) for of in holdings.values() for held in of.values())


def test_equal_counts_do_not_mean_equal_instances() -> None:
    shallow = loaded({"a": {"1.1": {"x"}}, "b": {"1.1": {"y"}}}, instances=False)
    assert retrieval.needs_instances(shallow, WHOLE)
    assert not retrieval.needs_instances(
        shallow, Target(study_uid="1", series_uid="1.1", instance_uid="x")
    )
    assert not retrieval.needs_instances(shallow, Target(study_uid="1", series_uid="1.2"))


@pytest.mark.parametrize(
    "target",
    [
        Target(study_uid="1", series_uid="9"),
        Target(study_uid="1", series_uid="1.1", instance_uid="9"),
        Target(study_uid="1", series_uid="1.2", instance_uid="x"),
    ],
)
def test_what_the_study_does_not_hold_is_fetched_from_nobody(target: Target) -> None:
    assert retrieval.plan(loaded({"a": {"1.1": {"x"}}}), target) == ()


def test_study_without_series_is_fetched_from_nobody() -> None:
    assert retrieval.plan(Study(uid="1", archives=("a",), series=()), WHOLE) == ()
    assert retrieval.plan(Study(uid="1", archives=("a",)), WHOLE) == ()


@pytest.mark.parametrize(
    ("sop_class", "shows"),
    [(None, True), ("1.2.840.10008.5.1.4.1.1.2", True), ("1.2.840.10008.5.1.4.1.1.88.11", False)],
)
def test_what_holds_no_frames_shows_no_pixels(sop_class: str | None, *, shows: bool) -> None:
    assert retrieval.shows_pixels(Instance(uid="1", sop_class_uid=sop_class)) == shows


CT = "1.2.840.10008.5.1.4.1.1.2"
NO_IMAGES = {
    "SR": "1.2.840.10008.5.1.4.1.1.88.11",
    "KO": "1.2.840.10008.5.1.4.1.1.88.59",
    "PR": "1.2.840.10008.5.1.4.1.1.11.1",
    "ECG": "1.2.840.10008.5.1.4.1.1.9.1.1",
    "PDF": "1.2.840.10008.5.1.4.1.1.104.1",
    "raw data": "1.2.840.10008.5.1.4.1.1.66",
    "RT plan": "1.2.840.10008.5.1.4.1.1.481.5",
    "spectra": "1.2.840.10008.5.1.4.1.1.4.2",
    "annotations": "1.2.840.10008.5.1.4.1.1.91.1",
    "hanging protocol": "1.2.840.10008.5.1.4.38.1",
}


@pytest.mark.parametrize("sop_class", NO_IMAGES.values(), ids=NO_IMAGES)
def test_what_is_no_image_has_no_frames_unless_it_says_so(sop_class: str) -> None:
    assert not retrieval.has_frames(Instance(uid="1", sop_class_uid=sop_class))
    assert retrieval.has_frames(Instance(uid="1", sop_class_uid=sop_class, rows=512))


@pytest.mark.parametrize(
    "sop_class",
    [
        CT,
        None,
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.66.4",
        "1.2.840.10008.5.1.4.1.1.481.1",
        "1.2.840.10008.5.1.4.1.1.481.2",
        "1.2.840.10008.5.1.4.1.1.77.1.4.1",
        "1.2.3.4.5",
    ],
    ids=["CT", "unknown", "SC", "SEG", "RT image", "RT dose", "video", "private"],
)
def test_what_may_have_frames_is_asked_for_them(sop_class: str | None) -> None:
    assert retrieval.has_frames(Instance(uid="1", sop_class_uid=sop_class))


def test_of_series_only_what_is_known_is_taken() -> None:
    one = Target(study_uid="1.2", series_uid="1.2.1")
    instance = Target(study_uid="1.2", series_uid="1.2.1", instance_uid="1.2.1.1")
    series = Series(uid="1.2.1", archives=("a",), instances=(Instance(uid="1.2.1.1"),))
    study = Study(uid="1.2", archives=("a",), series=(series,))
    fetches = (Fetch(target=one, archives=("a",)), Fetch(target=instance, archives=("a",)))

    known = retrieval.only_known(study, fetches)

    assert [f.only for f in known] == [frozenset({"1.2.1.1"}), None]
    in_series = retrieval.plan(study, Target(study_uid="1.2"), in_series=True)
    assert [f.target for f in in_series] == [one]

"""Which archive is asked for what, so that every instance of a target comes exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.model import Instance, Level, Series, Study, Target

_OTHER_CLASSES = tuple(
    f"1.2.840.10008.5.1.4.{arc}."
    for arc in (
        *(f"1.1.{n}" for n in ("4.2", 9, 11, 66, 67, 68, "77.1.5.3", 78, 79, 80, 88, 90, 91)),
        *(f"1.1.{n}" for n in (104, 131, 200, 481)),
        *(34, 38, 39, 43, 44, 45),
    )
)
"""Roots of SOP classes that are no images: spectra, waveforms, presentations, reports, plans."""

WITH_FRAMES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{n}." for n in ("66.4", "66.7", "66.8", "481.1", "481.2")
)
"""Among those, the ones that hold frames: segmentations, height maps, RT images and doses."""


MOST_LOCALIZERS = 32
"""Instances of a series that may consist of localizers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One request: `target` from any of `archives`, in the order of preference.

    `only`: the instances that are taken of what comes; None: all.
    """

    target: Target
    archives: tuple[str, ...]
    only: frozenset[str] | None = None


def whole(fetch: Fetch) -> Fetch:
    """The instance that is fetched, whichever of its frames are meant."""
    if not fetch.target.frames:
        return fetch
    return replace(fetch, target=replace(fetch.target, frames=()))


def needs_instances(study: Study, target: Target) -> bool:
    """Whether only the instance level tells who holds all of `target`.

    Equal counts in two archives do not say that they count the same instances. Of a series that is
    partly shown, only its instances tell which part.
    """
    series = _series_of(study, target)
    is_shared = any(len(s.archives) > 1 for s in series)
    return (is_shared and target.instance_uid is None) or any(s.is_partial for s in series)


def plan(study: Study, target: Target, *, in_series: bool = False) -> tuple[Fetch, ...]:
    """The requests that together give `target`; () when the study does not hold it.

    `study` is loaded to the level of `target`, and to the instances where `needs_instances`.
    `in_series`: no study is asked for as a whole, which may have more series by now.
    """
    if target.instance_uid is not None:
        found = instance_in(study, target)
        if found is None:
            return ()
        return (Fetch(target=target, archives=found[1].archives or found[0].archives),)
    series = _series_of(study, target)
    if target.level is Level.STUDY and series and not (study.is_partial or in_series):
        whole = [a for a in study.archives if all(a in _full(s) for s in series)]
        if whole:
            return (Fetch(target=target, archives=tuple(whole)),)
    return tuple(f for s in series for f in _series_fetches(study, s))


def instance_in(study: Study, target: Target) -> tuple[Series, Instance] | None:
    """The series and the instance that `target` names in a study that is loaded so deep."""
    for series in study.series or ():
        if series.uid == target.series_uid or target.series_uid is None:
            for instance in series.instances or ():
                if instance.uid == target.instance_uid:
                    return series, instance
    return None


def for_metadata(study: Study, target: Target, *, in_series: bool = False) -> tuple[Fetch, ...]:
    """The requests for the metadata of `target`: as `plan`, but series that are partly shown whole.

    Their metadata are small enough to leave out of them what does not exist.
    """
    series = _series_of(study, target)
    if target.instance_uid is not None or not any(s.is_partial for s in series):
        return plan(study, target, in_series=in_series)
    return tuple(
        fetch
        for one in series
        for fetch in (_cut if one.is_partial else _series_fetches)(study, one)
    )


def _cut(study: Study, series: Series) -> list[Fetch]:
    """A series from one archive that holds all that is left of it; else instance by instance."""
    one_by_one = _series_fetches(study, series)
    holders = [a for a in series.archives if all(a in f.archives for f in one_by_one)]
    if not holders:
        return one_by_one
    target = Target(study_uid=study.uid, series_uid=series.uid)
    left = frozenset(i.uid for i in series.instances or ())
    return [Fetch(target=target, archives=tuple(holders), only=left)]


def only_known(study: Study, fetches: Sequence[Fetch]) -> tuple[Fetch, ...]:
    """The same fetches, of series only the instances that `study` tells of.

    An archive may have more of a series by the time that it is asked for.
    """
    known = {s.uid: frozenset(i.uid for i in s.instances or ()) for s in study.series or ()}
    return tuple(
        f if f.target.instance_uid else replace(f, only=known[f.target.series_uid or ""])
        for f in fetches
    )


def by_series(study: Study, fetches: Sequence[Fetch]) -> tuple[Fetch, ...]:
    """The same fetches with whole studies taken apart into their series."""
    return tuple(
        one
        for fetch in fetches
        for one in (
            [f for s in study.series or () for f in _series_fetches(study, s)]
            if fetch.target.level is Level.STUDY
            else [fetch]
        )
    )


def permitted(study: Study, target: Target) -> tuple[str, ...]:
    """The UIDs that may be asked for one level below a study or series, each as a whole."""
    series = _series_of(study, target)
    if target.level is Level.STUDY:
        return tuple(s.uid for s in series)
    return tuple(i.uid for s in series for i in s.instances or ())


def _series_of(study: Study, target: Target) -> list[Series]:
    return [s for s in study.series or () if target.series_uid in {None, s.uid}]


def _full(series: Series) -> tuple[str, ...]:
    """The archives that hold all of a series and no more than may be seen of it."""
    if series.is_partial:
        return ()
    if len(series.archives) < 2 or series.instances is None:
        return series.archives
    return tuple(
        a for a in series.archives if all(a in (i.archives or (a,)) for i in series.instances)
    )


def _series_fetches(study: Study, series: Series) -> list[Fetch]:
    """A series from one archive, or, where none has all of it, the rest one by one."""
    target = Target(study_uid=study.uid, series_uid=series.uid)
    if full := _full(series):
        return [Fetch(target=target, archives=full)]
    return [
        Fetch(target=replace(target, instance_uid=i.uid), archives=i.archives or series.archives)
        for i in series.instances or ()
    ]


def last_frame(instance: Instance) -> int | None:
    """How many frames it has, as far as is known: an image of which no number is told has one."""
    return instance.number_of_frames or (None if instance.rows is None else 1)


def may_have_frames(study: Study, target: Target) -> bool:
    """Whether frames can be asked of the instance that `target` names."""
    found = instance_in(study, target)
    return found is None or has_frames(found[1])


def shows_pixels(instance: Instance) -> bool:
    """Whether an archive may have a picture of it: what is known to hold no frames has none."""
    return instance.sop_class_uid is None or has_frames(instance)


def has_frames(instance: Instance) -> bool:
    """Whether frames can be asked of an instance; where nothing tells, they can."""
    return bool(instance.rows) or is_image(instance) or is_of(instance, WITH_FRAMES)


def is_image(instance: Instance) -> bool:
    """Whether its class is not known to be none."""
    return not is_of(instance, _OTHER_CLASSES)


def is_of(instance: Instance, roots: tuple[str, ...]) -> bool:
    """Whether its class is, or is below, one of `roots`, which end with a dot."""
    return f"{instance.sop_class_uid}.".startswith(roots)


def is_subset(study: Study, target: Target) -> bool:
    """Whether something of a study or series that is asked for does not exist for the consumer."""
    if target.level is Level.STUDY:
        return study.is_subset
    if target.level is Level.SERIES:
        return any(s.is_subset for s in study.series or () if s.uid == target.series_uid)
    return False

"""One record out of what several archives have of a study, and what it counts.

The first archive that knows a value decides on it; what belongs together is taken from one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from msgspec import structs

from gateway.model import Contents, Instance, Patient, Series, Study
from gateway.rules import dicom_json as dj
from gateway.rules import several
from gateway.rules.dicom_json import Dataset
from gateway.rules.last_updated import latest
from gateway.rules.records import in_order

_Record = TypeVar("_Record", Study, Series, Instance)
_Dated = TypeVar("_Dated", Study, Series)

_AVAILABILITIES = ("ONLINE", "NEARLINE", "OFFLINE", None, "UNAVAILABLE")
"""Instance Availability (0008,0056), the best first; None is what archives do not say."""


def merge(parts: Sequence[Study]) -> Study:
    """One study out of what each archive has of it: union by UID, in the order of `parts`.

    Patients are never mixed: the first that has an ID is the study's.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    warnings = [w for p in parts for w in p.warnings]
    patients = several.patients_of(parts)
    if patients:
        warnings.append("archives name different patients for this study; the first is shown")
    return replace(
        filled(parts),
        **_moment(parts),
        archives=_united(p.archives for p in parts),
        patient=_patient(parts),
        modalities=_united(p.modalities for p in parts),
        availability=min((p.availability for p in parts), key=_rank),
        number_of_series=_largest(p.number_of_series for p in parts),
        number_of_instances=_largest(p.number_of_instances for p in parts),
        series=_merged_series(parts),
        warnings=tuple(dict.fromkeys(warnings)),
        last_updated=latest(p.last_updated for p in parts),
        is_of_several_patients=bool(patients),
        patient_ids=patients,
        other_dates=several.dates(parts),
    )


def with_instances(study: Study, found: Contents) -> Study:
    """`study` with its instances. Series that are only seen in the instance rows are added.

    What instances tell of their series fills in what the series' own rows do not, and the offset
    that they all tell is the study's.
    """
    told = {s.uid: s for s in found.series}
    known = {s.uid: s for s in study.series or ()}
    for uid in found.instances:
        known.setdefault(uid, told.get(uid) or Series(uid=uid, archives=study.archives))
    whole = (
        replace(_completed(s, told.get(s.uid)), instances=found.instances.get(s.uid, ()))
        for s in known.values()
    )
    zones = {s.utc_offset for s in told.values()}
    named = study.patient_ids or (study.patient.id,)
    patients = several.in_one_archive((*named, *found.patient_ids))
    return replace(
        study,
        is_of_several_patients=bool(patients),
        patient_ids=patients,
        series=tuple(sorted(whole, key=in_order)),
        utc_offset=study.utc_offset or (zones.pop() if len(zones) == 1 else None),
        warnings=tuple(dict.fromkeys((*study.warnings, *found.warnings))),
    )


def _completed(series: Series, told: Series | None) -> Series:
    if told is None or told is series:
        return series
    both = (series, told)
    when = _moment(both)
    when["utc_offset"] = when["utc_offset"] or told.utc_offset
    others = several.of_series(both)
    return replace(filled(both), **when, **others, warnings=series.warnings)


def series_of(parts: Sequence[Study], series_uid: str, archives: Collection[str]) -> Series | None:
    """A series as some of the archives tell it that `parts` are of; None: none of them does."""
    found = [
        s
        for p in parts
        if not set(p.archives).isdisjoint(archives)
        for s in p.series or ()
        if s.uid == series_uid
    ]
    return _one_series(found) if found else None


def counts(study: Study) -> Dataset:
    """The elements of a study row that count its series, as loaded and merged."""
    series = study.series or ()
    numbers = [_number_of_instances(s) for s in series]
    modalities = [s.modality for s in series if s.modality]
    known: Dataset = {
        dj.MODALITIES_IN_STUDY: {"vr": "CS", "Value": list(dict.fromkeys(modalities))},
        dj.NUMBER_OF_STUDY_RELATED_SERIES: {"vr": "IS", "Value": [len(series)]},
    }
    if None not in numbers:
        total = sum(n for n in numbers if n is not None)
        known[dj.NUMBER_OF_STUDY_RELATED_INSTANCES] = {"vr": "IS", "Value": [total]}
    return known


def _number_of_instances(series: Series) -> int | None:
    if series.number_of_instances is None and series.instances is not None:
        return len(series.instances)
    return series.number_of_instances


def filled(found: Sequence[_Dated]) -> _Dated:
    """The first record, what it does not know taken from the first that does."""
    return replace(found[0], **_told_by_others(found))


def _told_by_others(found: Sequence[_Record]) -> dict[str, Any]:
    """What the first record does not know, from the first that does."""
    first, *others = found
    missing = [n for n in type(first).__annotations__ if getattr(first, n) in (None, ())]
    known: dict[str, Any] = {}
    for name in missing:
        others_say = (getattr(o, name) for o in others)
        known[name] = next((v for v in others_say if v not in (None, ())), getattr(first, name))
    return known


def _moment(found: Sequence[_Dated]) -> dict[str, Any]:
    """Date, time and offset of the first record that has a date; they belong together."""
    one = next((r for r in found if r.date is not None), found[0])
    return {"date": one.date, "time": one.time, "utc_offset": one.utc_offset}


def _patient(parts: Sequence[Study]) -> Patient:
    patients = [p.patient for p in parts]
    identified = (p for p in patients if p.id)
    return next(identified, next((p for p in patients if p != Patient()), patients[0]))


def _rank(availability: str | None) -> int:
    known = availability in _AVAILABILITIES
    return _AVAILABILITIES.index(availability if known else None)


def _united(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for each in lists for item in each))


def _largest(numbers: Iterable[int | None]) -> int | None:
    return max((n for n in numbers if n is not None), default=None)


def _merged_series(parts: Sequence[Study]) -> tuple[Series, ...] | None:
    if all(p.series is None for p in parts):
        return None
    by_uid: dict[str, list[Series]] = {}
    for part in parts:
        for series in part.series or ():
            by_uid.setdefault(series.uid, []).append(series)
    return tuple(sorted((_one_series(s) for s in by_uid.values()), key=in_order))


def _one_series(found: Sequence[Series]) -> Series:
    if len(found) == 1:
        return found[0]
    instances = _merged_instances(found)
    numbers = {s.number_of_instances for s in found}
    return replace(
        filled(found),
        **_moment(found),
        archives=_united(s.archives for s in found),
        number_of_instances=_largest(numbers) if instances is None else len(instances),
        instances=instances,
        is_uneven=len(numbers) > 1 or any(s.is_uneven for s in found),
        **several.of_series(found),
        warnings=_united(s.warnings for s in found),
    )


def _merged_instances(found: Sequence[Series]) -> tuple[Instance, ...] | None:
    """Every instance once; those that not all archives of the series hold name theirs."""
    listed = [s.instances for s in found if s.instances is not None]
    if len(listed) < len(found):
        return None
    if all(one == listed[0] for one in listed) and not any(i.archives for i in listed[0]):
        return listed[0]  # the archives are mirrors
    everywhere = _united(s.archives for s in found)
    by_uid: dict[str, list[tuple[Instance, tuple[str, ...]]]] = {}
    for series in found:
        for one in series.instances or ():
            by_uid.setdefault(one.uid, []).append((one, one.archives or series.archives))
    united = cache(_united)  # of few combinations
    merged = []
    for same in by_uid.values():
        holders = united(tuple(archives for _, archives in same))
        named = () if holders == everywhere else holders
        merged.append(one_instance([one for one, _ in same], named))
    return tuple(sorted(merged, key=in_order))


def one_instance(same: Sequence[Instance], archives: tuple[str, ...]) -> Instance:
    """What the archives together say of an instance; `archives` are those to be named."""
    first = same[0]
    if all(one == first for one in same):
        return first if archives == first.archives else structs.replace(first, archives=archives)
    return structs.replace(first, **_told_by_others(same) | {"archives": archives})

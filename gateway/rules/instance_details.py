"""What only instances tell of their series: anatomy, sides, specimens, requests, who was there.

Read from the metadata of instances, or from rows that hold as much. Series have thousands of
instances that say the same: each combination of what they say is understood once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import msgspec
import orjson

from gateway.model import Contents, Instance, Origin, Series, Study
from gateway.rules import dicom_json as dj
from gateway.rules import several
from gateway.rules.attributes import DOCUMENTS
from gateway.rules.dicom_json import Dataset
from gateway.rules.instance_rows import Odd
from gateway.rules.merging import filled, one_instance
from gateway.rules.records import instance_warnings, instances, local_offset, one_series
from gateway.rules.values import codes, date, moment, time

TOLD = (
    dj.SPECIFIC_CHARACTER_SET,
    dj.SERIES_DATE,
    dj.SERIES_TIME,
    dj.MODALITY,
    dj.MANUFACTURER,
    dj.INSTITUTION_NAME,
    dj.INSTITUTION_CODE_SEQUENCE,
    dj.TIMEZONE_OFFSET,
    dj.STATION_NAME,
    dj.SERIES_DESCRIPTION,
    dj.SERIES_DESCRIPTION_CODE_SEQUENCE,
    dj.DEPARTMENT_NAME,
    dj.DEPARTMENT_TYPE_SEQUENCE,
    dj.PERFORMING_PHYSICIAN_NAME,
    dj.PERFORMING_PHYSICIAN_IDENTIFICATION,
    dj.OPERATORS_NAME,
    dj.OPERATOR_IDENTIFICATION,
    dj.MANUFACTURER_MODEL_NAME,
    dj.ANATOMIC_REGION_SEQUENCE,
    dj.BODY_PART_EXAMINED,
    dj.DEVICE_SERIAL_NUMBER,
    dj.SERIES_INSTANCE_UID,
    dj.SERIES_NUMBER,
    dj.LATERALITY,
    dj.PERFORMED_LOCATION,
    dj.PERFORMED_START_DATE,
    dj.PERFORMED_START_TIME,
    dj.REQUEST_ATTRIBUTES_SEQUENCE,
    dj.SPECIMEN_DESCRIPTION_SEQUENCE,
    dj.REFERENCED_REQUEST_SEQUENCE,
)
"""Attributes that a Series is made of, wherever an instance says them."""

_LOOKED_AT = frozenset(
    {
        *TOLD,
        dj.FRAME_ANATOMY_SEQUENCE,
        dj.SHARED_FUNCTIONAL_GROUPS,
        dj.PER_FRAME_FUNCTIONAL_GROUPS,
        dj.ACQUISITION_DATE,
        dj.ACQUISITION_TIME,
        dj.ACQUISITION_DATE_TIME,
    }
)
_LISTS = (
    "performing_physicians",
    "operators",
    "accessions",
    "reason_codes",
    "reason_texts",
    "specimens",
    "orders",
)
_MOST_DOCUMENTS = 50
_MOST_DOCUMENT_SERIES = 10
_MOST_COMBINATIONS = 2000
"""So many different things are looked at; what comes after says no more of the series."""


_NOTHING = msgspec.Raw()


class _Group(msgspec.Struct):
    """A functional group, of which the anatomy alone is decoded."""

    anatomy: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.FRAME_ANATOMY_SEQUENCE)


class _Groups(msgspec.Struct):
    values: tuple[_Group, ...] = msgspec.field(default=(), name="Value")


class _Grouped(msgspec.Struct, omit_defaults=True):
    """An instance whose functional groups, which may be megabytes, are looked into once."""

    anatomy: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.FRAME_ANATOMY_SEQUENCE)
    shared: _Groups | None = msgspec.field(default=None, name=dj.SHARED_FUNCTIONAL_GROUPS)
    per_frame: _Groups | None = msgspec.field(default=None, name=dj.PER_FRAME_FUNCTIONAL_GROUPS)
    date: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.ACQUISITION_DATE)
    time: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.ACQUISITION_TIME)
    moment: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.ACQUISITION_DATE_TIME)


@dataclass(slots=True)
class _Said:
    """What instances that say the same of their series differ in: anatomy of frames, and time."""

    anatomies: set[bytes] = field(default_factory=set)
    moments: set[tuple[bytes, ...]] = field(default_factory=set)


_Told = msgspec.defstruct(
    "_Told",
    [(f"t{tag}", msgspec.Raw, msgspec.field(default=_NOTHING, name=tag)) for tag in TOLD],
    bases=(_Grouped,),
    omit_defaults=True,
)
_decode: Any = msgspec.json.Decoder(list[_Told]).decode  # type: ignore[valid-type]  # made above
_encode = msgspec.json.Encoder().encode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_STEP_OBJECTS = 50


class Details:
    """What the instances of a study tell of their series, out of one or several bodies."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._said: dict[bytes, _Said] = {}

    def add(self, body: bytes) -> None:
        """Takes in an array of metadata objects; Odd when they are not as they should be."""
        try:
            found: list[_Grouped] = _decode(body)
        except (ValueError, RecursionError) as error:
            raise Odd from error
        for one in found:
            self._take(one)

    def add_rows(self, rows: Iterable[Dataset]) -> None:
        """Takes in rows that are decoded already; those that are odd tell nothing."""
        for row in rows:
            with suppress(Odd, TypeError):
                named = {t.upper(): e for t, e in row.items()}
                self.add(orjson.dumps([{t: e for t, e in named.items() if t in _LOOKED_AT}]))

    def series(self) -> tuple[Series, ...]:
        """A record for each series, of nothing but what its instances say."""
        by_uid: dict[str, list[Series]] = {}
        for said, more in sorted(self._said.items(), key=itemgetter(0)):
            row: Dataset = orjson.loads(said)
            uid = dj.text(row, dj.SERIES_INSTANCE_UID)
            if uid is not None and dj.is_uid(uid):
                by_uid.setdefault(uid, []).append(_with_frames(self._origin, uid, row, more))
        return tuple(_agreed(found) for found in by_uid.values())

    def _take(self, one: _Grouped) -> None:
        groups = [
            *(one.shared.values if one.shared else ()),
            *(one.per_frame.values if one.per_frame else ()),
        ]
        anatomies = {bytes(a) for a in (one.anatomy, *(g.anatomy for g in groups)) if a}
        times = (one.date, one.time, one.moment)
        one.shared = one.per_frame = None
        one.anatomy = one.date = one.time = one.moment = _NOTHING
        said = _encode(one)
        if said not in self._said and len(self._said) >= _MOST_COMBINATIONS:
            return
        known = self._said.setdefault(said, _Said())
        known.anatomies |= anatomies
        known.moments.add(tuple(bytes(t) if t else b"{}" for t in times))


def _with_frames(origin: Origin, uid: str, row: Dataset, more: _Said) -> Series:
    """The series as one combination tells it, its frames and its time of acquisition included."""
    series = one_series(origin, uid, row)
    items = [i for raw in sorted(more.anatomies) for i in _items(orjson.loads(raw))]
    regions = (c for i in items for c in codes(i, dj.ANATOMIC_REGION_SEQUENCE))
    sides = {side for i in items if (side := dj.text(i, dj.FRAME_LATERALITY))}
    found = replace(
        series,
        anatomic_region=series.anatomic_region or next(regions, None),
        laterality=series.laterality or (sides.pop() if len(sides) == 1 else None),
    )
    return found if found.date else replace(found, **_earliest(origin, found, more))


def _items(element: Any) -> list[Dataset]:
    return [i for i in dj.values({"": element}, "") if isinstance(i, dict)]


def _earliest(origin: Origin, series: Series, more: _Said) -> dict[str, Any]:
    """When acquisition began, by (0008,002A), else by (0008,0022) and (0008,0032)."""
    found = []
    for raws in more.moments:
        day, clock, whole = (dj.text({"": orjson.loads(r)}, "") for r in raws)
        told = moment(whole)
        found.append(told if told[0] else (date(day), time(clock), None))
    dated = sorted((d, t or "", o or "") for d, t, o in found if d)
    if not dated:
        return {}
    day, clock, zone = dated[0]
    said = zone or series.utc_offset
    return {
        "date": day,
        "time": clock or None,
        "utc_offset": local_offset(origin, day, clock or None, said),
    }


def _agreed(found: Sequence[Series]) -> Series:
    """One record out of what differs between instances: lists united, sides only if all agree."""
    sides = {s.laterality for s in found}
    earliest = min(found, key=lambda s: (s.date is None, s.date or "", s.time or ""))
    lists: dict[str, Any] = {n: _united(getattr(s, n) for s in found) for n in _LISTS}
    return replace(
        filled(found),
        **lists,
        **several.of_series(found),
        laterality=sides.pop() if len(sides) == 1 else None,
        date=earliest.date,
        time=earliest.time,
        utc_offset=earliest.utc_offset,
    )


def _united(lists: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(item for each in lists for item in each))


def untitled_documents(study: Study, found: Contents) -> tuple[str, ...]:
    """The few small series of documents whose titles the archive did not tell when searched."""
    documents = (s.uid for s in study.series or () if s.modality in DOCUMENTS)
    sizes = {uid: found.instances.get(uid, ()) for uid in documents}
    untitled = [
        uid
        for uid, of_series in sizes.items()
        if 0 < len(of_series) <= _MOST_DOCUMENTS
        and not all(i.title or i.document_title for i in of_series)
    ]
    return tuple(untitled[:_MOST_DOCUMENT_SERIES])


def titled(found: Contents, read: Sequence[Contents | None]) -> Contents:
    """`found` with what the metadata of some series tell; None stands for metadata not had."""
    known = [one for one in read if one is not None]
    told = {i.uid: i for one in known for of in one.instances.values() for i in of}
    return replace(
        found,
        instances={
            uid: tuple(_with_titles(i, told.get(i.uid)) for i in of_series)
            for uid, of_series in found.instances.items()
        },
        series=(*found.series, *(s for one in known for s in one.series)),
        is_complete=len(known) == len(read),
    )


def _with_titles(one: Instance, told: Instance | None) -> Instance:
    return one if told is None else one_instance((one, told), one.archives)


def steps(body: bytes | bytearray) -> Iterator[bytes]:
    """An array of metadata objects as several smaller ones; Odd when it is none.

    Between them others can have their turn.
    """
    try:
        objects = _split(body)
    except (ValueError, RecursionError) as error:
        raise Odd from error
    for at in range(0, len(objects), _STEP_OBJECTS):
        yield b"[" + b",".join(objects[at : at + _STEP_OBJECTS]) + b"]"


def contents(origin: Origin, rows: Sequence[Dataset]) -> Contents:
    """All that the rows or metadata objects of instances tell, read value by value."""
    details = Details(origin)
    details.add_rows(rows)
    return Contents(
        instances=instances(rows),
        series=details.series(),
        warnings=instance_warnings(rows),
        patient_ids=several.named(origin, rows),
    )

"""Records out of QIDO rows of one archive.

Nothing here fails a study: a value that cannot be understood is left out, a row that nothing could
name is left out, and `warnings` tell of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gateway.model import (
    Identifier,
    Instance,
    Order,
    Origin,
    Patient,
    Series,
    Specimen,
    Study,
)
from gateway.rules import dicom_json as dj
from gateway.rules import several
from gateway.rules.dicom_json import Dataset
from gateway.rules.values import (
    codes,
    date,
    identifier,
    is_time,
    offset,
    offset_in_zone,
    people,
    person_name,
    signed_int,
    time,
    unsigned_int,
)

_T = TypeVar("_T")
_Readers = Mapping[str, tuple[str, Callable[[Any], object]]]


def _number(value: Any) -> object:
    return unsigned_int({"": {"Value": [value]}}, "") is not None


_STUDY_READERS: _Readers = {
    dj.STUDY_DATE: ("Study Date (0008,0020)", date),
    dj.STUDY_TIME: ("Study Time (0008,0030)", is_time),
    dj.TIMEZONE_OFFSET: ("Timezone Offset From UTC (0008,0201)", offset),
    dj.PATIENT_BIRTH_DATE: ("Patient's Birth Date (0010,0030)", date),
    dj.NUMBER_OF_STUDY_RELATED_SERIES: ("Number of Study Related Series (0020,1206)", _number),
    dj.NUMBER_OF_STUDY_RELATED_INSTANCES: (
        "Number of Study Related Instances (0020,1208)",
        _number,
    ),
}
_SERIES_READERS: _Readers = {
    dj.SERIES_DATE: ("Series Date (0008,0021)", date),
    dj.SERIES_TIME: ("Series Time (0008,0031)", is_time),
    dj.TIMEZONE_OFFSET: ("Timezone Offset From UTC (0008,0201)", offset),
    dj.SERIES_NUMBER: ("Series Number (0020,0011)", _number),
    dj.NUMBER_OF_SERIES_RELATED_INSTANCES: (
        "Number of Series Related Instances (0020,1209)",
        _number,
    ),
}
_INSTANCE_READERS: _Readers = {
    dj.INSTANCE_NUMBER: ("Instance Number (0020,0013)", _number),
    dj.NUMBER_OF_FRAMES: ("Number of Frames (0028,0008)", _number),
}
"""What can be left out because it cannot be read, and how it is read."""


_PRESENTATION_STATES = "1.2.840.10008.5.1.4.1.1.11."
"""Root of their SOP classes (PS3.4 §B.5)."""
_SEVERAL = ("an archive names different patients for this study; the first is shown",)
LEFT_OUT = "cannot be read and is left out"
_NUMBERED = frozenset({dj.PLACER_ORDER_NUMBER, dj.FILLER_ORDER_NUMBER})


SeriesTold = tuple[tuple[Series, ...], tuple[str, ...]]
"""The series of a study, and what was left out of them."""


def unreadable(row: Dataset, readers: _Readers) -> tuple[str, ...]:
    """Which attributes of a row say something that cannot be understood, in words for people."""
    return tuple(
        f"{name} {LEFT_OUT}"
        for tag, (name, read) in readers.items()
        if (said := dj.text(row, tag)) is not None and not read(said)
    )


def study(
    origin: Origin,
    row: Dataset,
    series_rows: Sequence[Dataset] | None = None,
    again: Sequence[Dataset] = (),
    told: SeriesTold | None = None,
) -> Study | None:
    """The record of a study as one archive has it; None without a usable StudyInstanceUID.

    `again`: other rows of the same study, which must not tell another patient or date. `told`: what
    `all_series` read in the rows of series, where that was done before.
    """
    uid = dj.text(row, dj.STUDY_INSTANCE_UID)
    if uid is None or not dj.is_uid(uid):
        return None
    if told is None and series_rows is not None:
        told = all_series(origin, series_rows)
    series, dropped = told or (None, ())
    day, clock = date(dj.text(row, dj.STUDY_DATE)), time(dj.text(row, dj.STUDY_TIME))
    said = offset(dj.text(row, dj.TIMEZONE_OFFSET)) or _agreed_offset(series_rows or ())
    referring = people(row, dj.REFERRING_PHYSICIAN_NAME, dj.REFERRING_PHYSICIAN_IDENTIFICATION)
    patients = several.patients_told(origin, (row, *again), series_rows or ())
    return Study(
        uid=uid,
        archives=(origin.archive,),
        patient=_patient(origin, row),
        study_id=dj.text(row, dj.STUDY_ID),
        accession=_accession(origin, row),
        date=day,
        time=clock,
        utc_offset=local_offset(origin, day, clock, said),
        description=dj.text(row, dj.STUDY_DESCRIPTION),
        modalities=tuple(dict.fromkeys(dj.texts(row, dj.MODALITIES_IN_STUDY))),
        referring_physician=referring[0] if referring else None,
        physicians_reading=people(
            row, dj.PHYSICIANS_READING_NAME, dj.PHYSICIANS_READING_IDENTIFICATION
        ),
        procedure_codes=codes(row, dj.PROCEDURE_CODE_SEQUENCE),
        admission=_admission(origin, row),
        availability=dj.text(row, dj.INSTANCE_AVAILABILITY),
        number_of_series=unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_SERIES),
        number_of_instances=unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_INSTANCES),
        series=series,
        warnings=(*unreadable(row, _STUDY_READERS), *dropped, *(_SEVERAL if patients else ())),
        orders=_orders(origin, [row]),
        is_of_several_patients=bool(patients),
        patient_ids=patients,
        other_dates=several.others((day, *(date(dj.text(r, dj.STUDY_DATE)) for r in again))),
    )


def _patient(origin: Origin, row: Dataset) -> Patient:
    names = (person_name(v) for v in dj.values(row, dj.PATIENT_NAME))
    return Patient(
        id=several.patient_id(origin, row, origin.patient_system),
        name=next((n for n in names if n), None),
        birth_date=date(dj.text(row, dj.PATIENT_BIRTH_DATE)),
        sex=dj.text(row, dj.PATIENT_SEX),
    )


def _accession(origin: Origin, row: Dataset) -> Identifier | None:
    return _issued(
        origin,
        row,
        dj.ACCESSION_NUMBER,
        dj.ISSUER_OF_ACCESSION_NUMBER,
        origin.accession_system,
    )


def _admission(origin: Origin, row: Dataset) -> Identifier | None:
    return _issued(origin, row, dj.ADMISSION_ID, dj.ISSUER_OF_ADMISSION_ID)


def _issued(
    origin: Origin, row: Dataset, tag: str, issuer: str, default_system: str | None = None
) -> Identifier | None:
    """An identifier whose issuer is told by a sequence beside it."""
    number = dj.text(row, tag)
    if number is None:
        return None
    return identifier(
        number,
        origin,
        local=None,
        qualifiers=dj.values(row, issuer),
        default_system=default_system,
    )


def _orders(origin: Origin, items: Iterable[Dataset]) -> tuple[Order, ...]:
    """The requests that placer or filler have numbered, each once."""
    found = (
        Order(
            accession=_accession(origin, item),
            placer=_issued(origin, item, dj.PLACER_ORDER_NUMBER, dj.ORDER_PLACER_ISSUER),
            filler=_issued(origin, item, dj.FILLER_ORDER_NUMBER, dj.ORDER_FILLER_ISSUER),
        )
        for item in items
        if item.keys() & _NUMBERED
    )
    return tuple(dict.fromkeys(o for o in found if o.placer or o.filler))


def _agreed_offset(rows: Iterable[Dataset]) -> str | None:
    """The offset that all rows of a lower level agree on, as far as they name one."""
    said = {offset(dj.text(r, dj.TIMEZONE_OFFSET)) for r in rows} - {None}
    return said.pop() if len(said) == 1 else None


def local_offset(
    origin: Origin, day: str | None, clock: str | None, said: str | None
) -> str | None:
    """The UTC offset that is `said`, else that of the archive's zone at that time."""
    if said is not None or day is None or clock is None or origin.timezone is None:
        return said
    return offset_in_zone(origin.timezone, day, clock)


def all_series(origin: Origin, rows: Sequence[Dataset]) -> SeriesTold:
    """The series of the rows, each once in SeriesNumber order, and warnings of what is left out."""
    by_uid: dict[str, Series] = {}
    dropped = 0
    for row in rows:
        uid = dj.text(row, dj.SERIES_INSTANCE_UID)
        if uid is None or not dj.is_uid(uid):
            dropped += 1
        else:
            found = one_series(origin, uid, row)
            first = by_uid.setdefault(uid, found)
            by_uid[uid] = first if first is found else _told_again(first, found)
    warnings = (f"{dropped} series without a legal UID left out",) if dropped else ()
    return tuple(sorted(by_uid.values(), key=in_order)), warnings


def _told_again(first: Series, again: Series) -> Series:
    return replace(first, **several.of_series((first, again)))


def one_series(origin: Origin, uid: str, row: Dataset) -> Series:
    """The record of a series, as far as a row, or the metadata of an instance, tells it."""
    modalities = _most_frequent(dj.texts(row, dj.MODALITY))
    day, clock = _series_moment(row)
    described = (c.meaning for c in codes(row, dj.SERIES_DESCRIPTION_CODE_SEQUENCE))
    requests = _requests(row)
    return Series(
        uid=uid,
        archives=(origin.archive,),
        modality=modalities[0] if modalities else None,
        number=signed_int(row, dj.SERIES_NUMBER),
        description=dj.text(row, dj.SERIES_DESCRIPTION) or next((d for d in described if d), None),
        number_of_instances=unsigned_int(row, dj.NUMBER_OF_SERIES_RELATED_INSTANCES),
        date=day,
        time=clock,
        utc_offset=local_offset(origin, day, clock, offset(dj.text(row, dj.TIMEZONE_OFFSET))),
        body_part=dj.text(row, dj.BODY_PART_EXAMINED),
        anatomic_region=next(iter(codes(row, dj.ANATOMIC_REGION_SEQUENCE)), None),
        laterality=dj.text(row, dj.LATERALITY),
        performing_physicians=people(
            row, dj.PERFORMING_PHYSICIAN_NAME, dj.PERFORMING_PHYSICIAN_IDENTIFICATION
        ),
        operators=people(row, dj.OPERATORS_NAME, dj.OPERATOR_IDENTIFICATION),
        manufacturer=dj.text(row, dj.MANUFACTURER),
        manufacturer_model_name=dj.text(row, dj.MANUFACTURER_MODEL_NAME),
        device_serial_number=dj.text(row, dj.DEVICE_SERIAL_NUMBER),
        station_name=dj.text(row, dj.STATION_NAME),
        institution_name=dj.text(row, dj.INSTITUTION_NAME),
        department_name=dj.text(row, dj.DEPARTMENT_NAME),
        accessions=_distinct(_accession(origin, r) for r in requests),
        reason_codes=_distinct(c for r in requests for c in codes(r, dj.REASON_CODE_SEQUENCE)),
        reason_texts=_distinct(dj.text(r, dj.REASON_FOR_REQUESTED_PROCEDURE) for r in requests),
        warnings=(
            *(("several modalities in one series",) if len(modalities) > 1 else ()),
            *unreadable(row, _SERIES_READERS),
        ),
        department_type=next(iter(codes(row, dj.DEPARTMENT_TYPE_SEQUENCE)), None),
        specimens=_specimens(origin, row),
        orders=_orders(origin, requests),
        institution=next(iter(codes(row, dj.INSTITUTION_CODE_SEQUENCE)), None),
        performed_location=dj.text(row, dj.PERFORMED_LOCATION),
        custodians=(origin.custodian,) if origin.custodian else (),
        other_modalities=modalities[1:],
    )


def _most_frequent(told: Sequence[str]) -> tuple[str, ...]:
    """What is told, each once, what is told most often first."""
    return tuple(told) if len(told) < 2 else tuple(one for one, _ in Counter(told).most_common())


def _specimens(origin: Origin, row: Dataset) -> tuple[Specimen, ...]:
    """The specimens of Specimen Description (0040,0560) that anything names, each once."""
    items = [i for i in dj.values(row, dj.SPECIMEN_DESCRIPTION_SEQUENCE) if isinstance(i, dict)]
    found = (
        Specimen(
            id=_issued(origin, item, dj.SPECIMEN_IDENTIFIER, dj.ISSUER_OF_SPECIMEN_IDENTIFIER),
            uid=uid if (uid := dj.text(item, dj.SPECIMEN_UID)) and dj.is_uid(uid) else None,
        )
        for item in items
    )
    return tuple(dict.fromkeys(one for one in found if one != Specimen()))


def _requests(row: Dataset) -> list[Dataset]:
    """The requests of Request Attributes (0040,0275), and of documents (0040,A370)."""
    tags = (dj.REQUEST_ATTRIBUTES_SEQUENCE, dj.REFERENCED_REQUEST_SEQUENCE)
    return [i for tag in tags for i in dj.values(row, tag) if isinstance(i, dict)]


def _distinct(found: Iterable[_T | None]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _series_moment(row: Dataset) -> tuple[str | None, str | None]:
    """Series Date and Time, else those of the performed procedure step."""
    for day, clock in (
        (dj.SERIES_DATE, dj.SERIES_TIME),
        (dj.PERFORMED_START_DATE, dj.PERFORMED_START_TIME),
    ):
        if (found := date(dj.text(row, day))) is not None:
            return found, time(dj.text(row, clock))
    return None, None


def instances(rows: Iterable[Dataset]) -> dict[str, tuple[Instance, ...]]:
    """The instances of the rows by SeriesInstanceUID, each once and in InstanceNumber order.

    Rows without a legal UID are left out: nothing could name them.
    """
    by_series: dict[str, dict[str, Instance]] = {}
    for row in rows:
        named = _uids(row)
        if named is None:
            continue
        series_uid, uid = named
        of_series = by_series.setdefault(series_uid, {})
        if uid not in of_series:
            of_series[uid] = _instance(uid, row)
    return {
        s: tuple(sorted(of_series.values(), key=in_order)) for s, of_series in by_series.items()
    }


def instance_warnings(rows: Iterable[Dataset]) -> tuple[str, ...]:
    """What is odd about the rows of instances: what cannot be understood, and what is left out."""
    unread: set[str] = set()
    nameless = 0
    for row in rows:
        unread.update(unreadable(row, _INSTANCE_READERS))
        nameless += _uids(row) is None
    left_out = (f"{nameless} instances without a legal UID left out",) if nameless else ()
    return (*sorted(unread), *left_out)


def _uids(row: Dataset) -> tuple[str, str] | None:
    """The UIDs of the series and the instance that a row is about; None where one is no UID."""
    series_uid, uid = dj.text(row, dj.SERIES_INSTANCE_UID), dj.text(row, dj.SOP_INSTANCE_UID)
    if series_uid is None or uid is None or not (dj.is_uid(uid) and dj.is_uid(series_uid)):
        return None
    return series_uid, uid


def _instance(uid: str, row: Dataset) -> Instance:
    sop_class = dj.text(row, dj.SOP_CLASS_UID)
    return Instance(
        uid=uid,
        sop_class_uid=sop_class if sop_class and dj.is_uid(sop_class) else None,
        number=unsigned_int(row, dj.INSTANCE_NUMBER),
        number_of_frames=unsigned_int(row, dj.NUMBER_OF_FRAMES),
        rows=unsigned_int(row, dj.ROWS),
        columns=unsigned_int(row, dj.COLUMNS),
        image_laterality=dj.text(row, dj.IMAGE_LATERALITY),
        title=title(row),
        image_type=tuple(dj.texts(row, dj.IMAGE_TYPE)),
        document_title=dj.text(row, dj.DOCUMENT_TITLE),
    )


def title(row: Dataset) -> str | None:
    """What names an instance besides Document Title: a report's concept, a presentation's label.

    Segmentations and the like have labels as well, which are no titles.
    """
    concepts = (c.meaning for c in codes(row, dj.CONCEPT_NAME_CODE_SEQUENCE))
    named = next((m for m in concepts if m), None)
    sop_class = dj.text(row, dj.SOP_CLASS_UID)
    if named is not None or not (sop_class is None or sop_class.startswith(_PRESENTATION_STATES)):
        return named
    return dj.text(row, dj.CONTENT_LABEL) or dj.text(row, dj.CONTENT_DESCRIPTION)


def in_order(record: Series | Instance) -> tuple[bool, int, str]:
    """By number, those without one last; the UID makes the order the same everywhere."""
    return record.number is None, record.number or 0, record.uid

"""Records out of QIDO rows, and one record out of what several archives said of one study.

Nothing here fails a study: a value that cannot be understood is left out and named in `warnings`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from gateway.model import (
    Code,
    Identifier,
    Instance,
    Origin,
    Patient,
    Person,
    PersonName,
    Series,
    Study,
)
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset

_LARGEST_UNSIGNED_INT = 2147483647
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d", re.ASCII)
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?", re.ASCII)

_Record = TypeVar("_Record", Study, Series, Instance)

STUDY_FIELDS = frozenset(
    {
        dj.STUDY_DESCRIPTION,
        dj.PROCEDURE_CODE_SEQUENCE,
        dj.ISSUER_OF_ACCESSION_NUMBER,
        dj.ISSUER_OF_PATIENT_ID,
        dj.ISSUER_OF_PATIENT_ID_QUALIFIERS,
        dj.REFERRING_PHYSICIAN_IDENTIFICATION,
        dj.PHYSICIANS_READING_NAME,
        dj.PHYSICIANS_READING_IDENTIFICATION,
        dj.ADMISSION_ID,
        dj.ISSUER_OF_ADMISSION_ID,
        dj.TIMEZONE_OFFSET,
        dj.PATIENT_BIRTH_DATE,
        dj.PATIENT_SEX,
        dj.MODALITIES_IN_STUDY,
        dj.INSTANCE_AVAILABILITY,
    }
)
"""What a study-level `includefield` asks for beyond the default, to fill a Study."""

SERIES_FIELDS = frozenset(
    {
        dj.SERIES_DATE,
        dj.SERIES_TIME,
        dj.BODY_PART_EXAMINED,
        dj.ANATOMIC_REGION_SEQUENCE,
        dj.LATERALITY,
        dj.SERIES_DESCRIPTION,
        dj.PERFORMING_PHYSICIAN_NAME,
        dj.PERFORMING_PHYSICIAN_IDENTIFICATION,
        dj.OPERATORS_NAME,
        dj.OPERATOR_IDENTIFICATION,
        dj.MANUFACTURER,
        dj.MANUFACTURER_MODEL_NAME,
        dj.DEVICE_SERIAL_NUMBER,
        dj.STATION_NAME,
        dj.INSTITUTION_NAME,
        dj.DEPARTMENT_NAME,
        dj.REQUEST_ATTRIBUTES_SEQUENCE,
        dj.PERFORMED_START_DATE,
        dj.PERFORMED_START_TIME,
        dj.TIMEZONE_OFFSET,
    }
)
"""What a series-level `includefield` asks for, to fill a Series."""

INSTANCE_FIELDS = frozenset({dj.NUMBER_OF_FRAMES, dj.IMAGE_LATERALITY})
"""What an instance-level `includefield` asks for, to fill an Instance."""


def date(value: Any) -> str | None:
    """A DICOM DA (also the legacy `YYYY.MM.DD`) as `YYYY-MM-DD`; None when no such day exists."""
    digits = str(value or "").strip().replace(".", "").replace("-", "")
    if not re.fullmatch(r"\d{8}", digits, re.ASCII):
        return None
    try:
        return datetime.strptime(f"{digits}+0000", "%Y%m%d%z").date().isoformat()
    except ValueError:
        return None


def time(value: Any) -> str | None:
    """A DICOM TM as `HH:MM:SS[.ffffff]`, seconds zero-filled; None when invalid or hours only."""
    found = _TIME.fullmatch(str(value or "").strip())
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    if minute is None or int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        return None
    return f"{hour}:{minute}:{second or '00'}" + (f".{fraction}" if fraction else "")


def offset(value: Any) -> str | None:
    """Timezone Offset From UTC (0008,0201) `+HHMM` as `+HH:MM`; None when it is out of range."""
    text = str(value or "").strip()
    if not _OFFSET.fullmatch(text):
        return None
    minutes = int(text[1:3]) * 60 + int(text[3:])
    if (text[0] == "-" and minutes > 720) or minutes > 840:
        return None
    return f"{text[:3]}:{text[3:]}"


def offset_in_zone(zone: str, day: str, clock: str) -> str:
    """The UTC offset that the IANA `zone` had at that local time (PEP 495: the first of two)."""
    local = datetime.fromisoformat(f"{day}T{clock[:8].replace(':60', ':59')}")
    at = local.replace(tzinfo=ZoneInfo(zone)).utcoffset() or timedelta()
    sign = "-" if at < timedelta() else "+"
    minutes = abs(at) // timedelta(minutes=1)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"


def unsigned_int(dataset: Dataset, tag: str) -> int | None:
    """The first value as a FHIR unsignedInt; None for anything else (`1A`, -1, 2147483648)."""
    value = dj.text(dataset, tag)
    if value is None or not re.fullmatch(r"\+?\d{1,12}", value, re.ASCII):
        return None
    number = int(value)
    return number if number <= _LARGEST_UNSIGNED_INT else None


def person_name(value: Any) -> PersonName | None:
    """A PN item (an object by PS3.18 §F.2.2; a bare string is tolerated); None when all empty."""
    if isinstance(value, dict):
        groups: list[Any] = [value.get(k) for k in ("Alphabetic", "Ideographic", "Phonetic")]
    else:
        groups = list(str(value).split("="))[:3]
    kept = [str(g).strip() if g else "" for g in groups] + ["", "", ""]
    named = [g if g.strip("^ ") else None for g in kept[:3]]
    if not any(named):
        return None
    return PersonName(alphabetic=named[0], ideographic=named[1], phonetic=named[2])


def code(item: Any) -> Code | None:
    """An item of a code sequence; None when it says neither value nor meaning."""
    if not isinstance(item, dict):
        return None
    found = [dj.text(item, t) for t in (dj.CODE_VALUE, dj.LONG_CODE_VALUE, dj.URN_CODE_VALUE)]
    value = next((v for v in found if v), None)
    meaning = dj.text(item, dj.CODE_MEANING)
    if value is None and meaning is None:
        return None
    return Code(
        value=value,
        scheme=dj.text(item, dj.CODING_SCHEME_DESIGNATOR),
        scheme_uid=dj.text(item, dj.CODING_SCHEME_UID),
        meaning=meaning,
    )


def codes(dataset: Dataset, tag: str) -> tuple[Code, ...]:
    """The codes of a sequence, each once."""
    return tuple(dict.fromkeys(c for i in dj.values(dataset, tag) if (c := code(i))))


def people(dataset: Dataset, names: str, identification: str) -> tuple[Person, ...]:
    """Persons by name and, paired by position, by the codes of their Identification Sequence."""
    named = [person_name(v) for v in dj.values(dataset, names)]
    coded = [
        codes(i, dj.PERSON_IDENTIFICATION_CODES) if isinstance(i, dict) else ()
        for i in dj.values(dataset, identification)
    ]
    size = max(len(named), len(coded))
    named += [None] * (size - len(named))
    coded += [()] * (size - len(coded))
    paired = (Person(name=n, codes=c) for n, c in zip(named, coded, strict=True) if n or c)
    return tuple(dict.fromkeys(paired))


def identifier(
    value: str | None,
    origin: Origin,
    *,
    local: str | None,
    qualifiers: Any,
    default_system: str | None,
) -> Identifier | None:
    """A value with its issuer's system: universal id, else configured namespace, else default.

    A system is never invented: an issuer that only names itself becomes the `assigner`.
    """
    if value is None:
        return None
    items = [i for i in qualifiers if isinstance(i, dict)] if isinstance(qualifiers, list) else []
    issuer: Dataset = items[0] if items else {}
    universal = _universal_system(issuer)
    namespace = local or dj.text(issuer, dj.LOCAL_NAMESPACE_ENTITY_ID)
    if universal:
        return Identifier(value=value, system=universal)
    known = dict(origin.issuer_systems)
    if namespace in known:
        return Identifier(value=value, system=known[namespace])
    if namespace:
        return Identifier(value=value, assigner=namespace)
    return Identifier(value=value, system=default_system)


def _universal_system(issuer: Dataset) -> str | None:
    entity = dj.text(issuer, dj.UNIVERSAL_ENTITY_ID)
    kind = dj.text(issuer, dj.UNIVERSAL_ENTITY_ID_TYPE)
    if entity is None or (kind == "ISO" and not dj.is_uid(entity)):
        return None
    return {"ISO": f"urn:oid:{entity}", "UUID": f"urn:uuid:{entity.lower()}", "URI": entity}.get(
        kind or ""
    )


def study(
    origin: Origin, row: Dataset, series_rows: Sequence[Dataset] | None = None
) -> Study | None:
    """The record of a study as one archive has it; None without a usable StudyInstanceUID."""
    uid = dj.text(row, dj.STUDY_INSTANCE_UID)
    if uid is None or not dj.is_uid(uid):
        return None
    series, warnings = (None, ()) if series_rows is None else _all_series(origin, series_rows)
    day, clock = date(dj.text(row, dj.STUDY_DATE)), time(dj.text(row, dj.STUDY_TIME))
    said = offset(dj.text(row, dj.TIMEZONE_OFFSET)) or _agreed_offset(series_rows or ())
    referring = people(row, dj.REFERRING_PHYSICIAN_NAME, dj.REFERRING_PHYSICIAN_IDENTIFICATION)
    return Study(
        uid=uid,
        archives=(origin.archive,),
        patient=_patient(origin, row),
        study_id=dj.text(row, dj.STUDY_ID),
        accession=_accession(origin, row),
        date=day,
        time=clock,
        utc_offset=_offset(origin, day, clock, said),
        description=dj.text(row, dj.STUDY_DESCRIPTION),
        modalities=tuple(
            dict.fromkeys(str(v).strip() for v in dj.values(row, dj.MODALITIES_IN_STUDY))
        ),
        referring_physician=referring[0] if referring else None,
        physicians_reading=people(
            row, dj.PHYSICIANS_READING_NAME, dj.PHYSICIANS_READING_IDENTIFICATION
        ),
        procedure_codes=codes(row, dj.PROCEDURE_CODE_SEQUENCE),
        admission=identifier(
            dj.text(row, dj.ADMISSION_ID),
            origin,
            local=None,
            qualifiers=dj.values(row, dj.ISSUER_OF_ADMISSION_ID),
            default_system=None,
        ),
        availability=dj.text(row, dj.INSTANCE_AVAILABILITY),
        number_of_series=unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_SERIES),
        number_of_instances=unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_INSTANCES),
        series=series,
        warnings=warnings,
    )


def _patient(origin: Origin, row: Dataset) -> Patient:
    names = [person_name(v) for v in dj.values(row, dj.PATIENT_NAME)]
    return Patient(
        id=identifier(
            dj.text(row, dj.PATIENT_ID),
            origin,
            local=dj.text(row, dj.ISSUER_OF_PATIENT_ID),
            qualifiers=dj.values(row, dj.ISSUER_OF_PATIENT_ID_QUALIFIERS),
            default_system=origin.patient_system,
        ),
        name=names[0] if names else None,
        birth_date=date(dj.text(row, dj.PATIENT_BIRTH_DATE)),
        sex=dj.text(row, dj.PATIENT_SEX),
    )


def _accession(origin: Origin, row: Dataset) -> Identifier | None:
    return identifier(
        dj.text(row, dj.ACCESSION_NUMBER),
        origin,
        local=None,
        qualifiers=dj.values(row, dj.ISSUER_OF_ACCESSION_NUMBER),
        default_system=origin.accession_system,
    )


def _agreed_offset(rows: Sequence[Dataset]) -> str | None:
    """The offset that all rows of a lower level agree on."""
    said = {offset(dj.text(r, dj.TIMEZONE_OFFSET)) for r in rows}
    return said.pop() if len(said) == 1 else None


def _offset(origin: Origin, day: str | None, clock: str | None, said: str | None) -> str | None:
    if said is not None or day is None or clock is None or origin.timezone is None:
        return said
    return offset_in_zone(origin.timezone, day, clock)


def _all_series(
    origin: Origin, rows: Sequence[Dataset]
) -> tuple[tuple[Series, ...], tuple[str, ...]]:
    """The series of the rows, each once in SeriesNumber order, and warnings of what is left out."""
    by_uid: dict[str, Series] = {}
    dropped = 0
    for row in rows:
        uid = dj.text(row, dj.SERIES_INSTANCE_UID)
        if uid is None or not dj.is_uid(uid):
            dropped += 1
        elif uid not in by_uid:
            by_uid[uid] = _series(origin, uid, row)
    warnings = (f"{dropped} series without a legal UID left out",) if dropped else ()
    return tuple(sorted(by_uid.values(), key=_in_order)), warnings


def _series(origin: Origin, uid: str, row: Dataset) -> Series:
    modalities = Counter(str(v).strip() for v in dj.values(row, dj.MODALITY))
    day, clock = _series_moment(row)
    requests = [i for i in dj.values(row, dj.REQUEST_ATTRIBUTES_SEQUENCE) if isinstance(i, dict)]
    accessions = (_accession(origin, i) for i in requests)
    return Series(
        uid=uid,
        archives=(origin.archive,),
        modality=modalities.most_common(1)[0][0] if modalities else None,
        number=unsigned_int(row, dj.SERIES_NUMBER),
        description=dj.text(row, dj.SERIES_DESCRIPTION),
        number_of_instances=unsigned_int(row, dj.NUMBER_OF_SERIES_RELATED_INSTANCES),
        date=day,
        time=clock,
        utc_offset=_offset(origin, day, clock, offset(dj.text(row, dj.TIMEZONE_OFFSET))),
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
        accessions=tuple(dict.fromkeys(a for a in accessions if a)),
        reason_codes=tuple(
            dict.fromkeys(c for i in requests for c in codes(i, dj.REASON_CODE_SEQUENCE))
        ),
        reason_texts=tuple(
            dict.fromkeys(
                t for i in requests if (t := dj.text(i, dj.REASON_FOR_REQUESTED_PROCEDURE))
            )
        ),
        warnings=("several modalities in one series",) if len(modalities) > 1 else (),
    )


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
        series_uid = dj.text(row, dj.SERIES_INSTANCE_UID)
        uid = dj.text(row, dj.SOP_INSTANCE_UID)
        if series_uid is None or uid is None or not (dj.is_uid(uid) and dj.is_uid(series_uid)):
            continue
        by_series.setdefault(series_uid, {}).setdefault(uid, _instance(uid, row))
    return {
        s: tuple(sorted(of_series.values(), key=_in_order)) for s, of_series in by_series.items()
    }


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
        title=_title(row),
    )


def _title(row: Dataset) -> str | None:
    """instance.title: Document Title, else the concept name of SR and KO, else the PR's label."""
    concept = next((c for c in codes(row, dj.CONCEPT_NAME_CODE_SEQUENCE)), Code())
    return (
        dj.text(row, dj.DOCUMENT_TITLE)
        or concept.meaning
        or dj.text(row, dj.CONTENT_LABEL)
        or dj.text(row, dj.CONTENT_DESCRIPTION)
    )


def _in_order(record: Series | Instance) -> tuple[bool, int, str]:
    """By number, those without one last; the UID makes the order the same everywhere."""
    return record.number is None, record.number or 0, record.uid


def counts(study: Study) -> Dataset:
    """The elements of a study row that count its series, as loaded and merged."""
    series = study.series or ()
    numbers = [s.number_of_instances for s in series]
    modalities = [s.modality for s in series if s.modality]
    known: Dataset = {
        dj.MODALITIES_IN_STUDY: {"vr": "CS", "Value": list(dict.fromkeys(modalities))},
        dj.NUMBER_OF_STUDY_RELATED_SERIES: {"vr": "IS", "Value": [len(series)]},
    }
    if None not in numbers:
        total = sum(n for n in numbers if n is not None)
        known[dj.NUMBER_OF_STUDY_RELATED_INSTANCES] = {"vr": "IS", "Value": [total]}
    return known


def with_instances(study: Study, found: dict[str, tuple[Instance, ...]]) -> Study:
    """`study` with its instances. Series that are only seen in the instance rows are added."""
    known = {s.uid: s for s in study.series or ()}
    for uid in found:
        known.setdefault(uid, Series(uid=uid, archives=study.archives))
    filled = (replace(s, instances=found.get(s.uid, ())) for s in known.values())
    return replace(study, series=tuple(sorted(filled, key=_in_order)))


def merge(parts: Sequence[Study]) -> Study:
    """One study out of what each archive has of it: union by UID, in the order of `parts`.

    Of single values the first archive that knows one decides; patients are never mixed.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    filled = {f: _first(parts, f) for f in _STUDY_SINGLE}
    warnings = [w for p in parts for w in p.warnings]
    ids = {p.patient.id.value for p in parts if p.patient.id}
    if len(ids) > 1:
        warnings.append("archives name different patients for this study; the first is shown")
    return replace(
        first,
        **filled,
        archives=_united(p.archives for p in parts),
        modalities=_united(p.modalities for p in parts),
        number_of_series=_largest(p.number_of_series for p in parts),
        number_of_instances=_largest(p.number_of_instances for p in parts),
        series=_merged_series(parts),
        warnings=tuple(dict.fromkeys(warnings)),
    )


_STUDY_SINGLE = (
    "study_id",
    "accession",
    "description",
    "referring_physician",
    "physicians_reading",
    "procedure_codes",
    "admission",
    "availability",
)


def _first(parts: Sequence[_Record], field: str) -> Any:
    return next((v for p in parts if (v := getattr(p, field))), getattr(parts[0], field))


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
    return tuple(sorted((_one_series(s) for s in by_uid.values()), key=_in_order))


def _one_series(found: Sequence[Series]) -> Series:
    first = found[0]
    if len(found) == 1:
        return first
    instances = _merged_instances(found)
    return replace(
        first,
        archives=_united(s.archives for s in found),
        modality=_first(found, "modality"),
        description=_first(found, "description"),
        number_of_instances=(
            len(instances)
            if instances is not None
            else _largest(s.number_of_instances for s in found)
        ),
        instances=instances,
        is_uneven=len({s.number_of_instances for s in found}) > 1,
    )


def _merged_instances(found: Sequence[Series]) -> tuple[Instance, ...] | None:
    """Every instance once; those that not all archives of the series hold name theirs."""
    if any(s.instances is None for s in found):
        return None
    holders: dict[str, list[str]] = {}
    by_uid: dict[str, Instance] = {}
    for series in found:
        for instance in series.instances or ():
            by_uid.setdefault(instance.uid, instance)
            holders.setdefault(instance.uid, []).extend(series.archives)
    everywhere = list(_united(s.archives for s in found))
    marked = (
        i if holders[i.uid] == everywhere else replace(i, archives=tuple(holders[i.uid]))
        for i in by_uid.values()
    )
    return tuple(sorted(marked, key=_in_order))

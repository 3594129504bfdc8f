"""Records out of QIDO rows of one archive.

Nothing here fails a study: a value that cannot be understood is left out, a row that nothing could
name is left out and counted in `warnings`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from gateway.model import Code, Identifier, Instance, Origin, Patient, Series, Specimen, Study
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.values import (
    codes,
    date,
    identifier,
    offset,
    offset_in_zone,
    people,
    person_name,
    time,
    unsigned_int,
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
        warnings=warnings,
    )


def _patient(origin: Origin, row: Dataset) -> Patient:
    names = (person_name(v) for v in dj.values(row, dj.PATIENT_NAME))
    return Patient(
        id=identifier(
            dj.text(row, dj.PATIENT_ID),
            origin,
            local=dj.text(row, dj.ISSUER_OF_PATIENT_ID),
            qualifiers=dj.values(row, dj.ISSUER_OF_PATIENT_ID_QUALIFIERS),
            default_system=origin.patient_system,
        ),
        name=next((n for n in names if n), None),
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


def _admission(origin: Origin, row: Dataset) -> Identifier | None:
    return identifier(
        dj.text(row, dj.ADMISSION_ID),
        origin,
        local=None,
        qualifiers=dj.values(row, dj.ISSUER_OF_ADMISSION_ID),
        default_system=None,
    )


def _agreed_offset(rows: Iterable[Dataset]) -> str | None:
    """The offset that all rows of a lower level agree on, as far as they name one."""
    said = {offset(dj.text(r, dj.TIMEZONE_OFFSET)) for r in rows} - {None}
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
    return tuple(sorted(by_uid.values(), key=in_order)), warnings


def _series(origin: Origin, uid: str, row: Dataset) -> Series:
    modalities = Counter(dj.texts(row, dj.MODALITY))
    day, clock = _series_moment(row)
    accessions, reason_codes, reason_texts = _requests(origin, row)
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
        accessions=accessions,
        reason_codes=reason_codes,
        reason_texts=reason_texts,
        warnings=("several modalities in one series",) if len(modalities) > 1 else (),
        department_type=next(iter(codes(row, dj.DEPARTMENT_TYPE_SEQUENCE)), None),
        specimens=_specimens(origin, row),
    )


def _specimens(origin: Origin, row: Dataset) -> tuple[Specimen, ...]:
    """The specimens of Specimen Description (0040,0560) that anything names, each once."""
    items = [i for i in dj.values(row, dj.SPECIMEN_DESCRIPTION_SEQUENCE) if isinstance(i, dict)]
    found = (
        Specimen(
            id=identifier(
                dj.text(item, dj.SPECIMEN_IDENTIFIER),
                origin,
                local=None,
                qualifiers=dj.values(item, dj.ISSUER_OF_SPECIMEN_IDENTIFIER),
                default_system=None,
            ),
            uid=uid if (uid := dj.text(item, dj.SPECIMEN_UID)) and dj.is_uid(uid) else None,
        )
        for item in items
    )
    return tuple(dict.fromkeys(one for one in found if one != Specimen()))


def _requests(
    origin: Origin, row: Dataset
) -> tuple[tuple[Identifier, ...], tuple[Code, ...], tuple[str, ...]]:
    """Accession numbers, reason codes and reason texts of Request Attributes, each once."""
    items = [i for i in dj.values(row, dj.REQUEST_ATTRIBUTES_SEQUENCE) if isinstance(i, dict)]
    accessions = (_accession(origin, i) for i in items)
    reasons = (c for i in items for c in codes(i, dj.REASON_CODE_SEQUENCE))
    texts = (dj.text(i, dj.REASON_FOR_REQUESTED_PROCEDURE) for i in items)
    return (
        tuple(dict.fromkeys(a for a in accessions if a)),
        tuple(dict.fromkeys(reasons)),
        tuple(dict.fromkeys(t for t in texts if t)),
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
        of_series = by_series.setdefault(series_uid, {})
        if uid not in of_series:
            of_series[uid] = _instance(uid, row)
    return {
        s: tuple(sorted(of_series.values(), key=in_order)) for s, of_series in by_series.items()
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
        title=title(row),
        image_type=tuple(dj.texts(row, dj.IMAGE_TYPE)),
    )


def title(row: Dataset) -> str | None:
    """instance.title: Document Title, else the concept name of SR and KO, else the PR's label."""
    concepts = (c.meaning for c in codes(row, dj.CONCEPT_NAME_CODE_SEQUENCE))
    return (
        dj.text(row, dj.DOCUMENT_TITLE)
        or next((m for m in concepts if m), None)
        or dj.text(row, dj.CONTENT_LABEL)
        or dj.text(row, dj.CONTENT_DESCRIPTION)
    )


def in_order(record: Series | Instance) -> tuple[bool, int, str]:
    """By number, those without one last; the UID makes the order the same everywhere."""
    return record.number is None, record.number or 0, record.uid

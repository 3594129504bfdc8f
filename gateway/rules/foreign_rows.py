"""QIDO-RS rows out of an ImagingStudy that somebody else wrote (R4 to R6).

What it says exactly becomes an attribute; names that are only shown, and references that lead out
of the answer, do not. So its studies are searched, merged and written by the rules of all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.rules import body_sites, several
from gateway.rules import dicom_json as dj
from gateway.rules import foreign_values as values
from gateway.rules.dicom_json import Dataset
from gateway.rules.fhir_elements import OID_PREFIX, SYSTEMS
from gateway.rules.foreign_values import Resource

_SCHEMES = {system: scheme for scheme, system in SYSTEMS.items()}
_SEXES = {"male": "M", "female": "F", "other": "O"}
_SIDES = {c.value: side for side, c in body_sites.LATERALITIES.items() if side in {"L", "R", "B"}}
_WITHDRAWN = {"entered-in-error", "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRows:
    """A series and its instances; `instances` None: the resource does not list them."""

    uid: str
    row: Dataset
    instances: tuple[Dataset, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRows:
    """A study, without what is counted, and its series; `again`: rows that tell another patient."""

    uid: str
    row: Dataset
    series: tuple[SeriesRows, ...]
    again: tuple[Dataset, ...] = ()


def is_withdrawn(resource: Resource) -> bool:
    """Whether an ImagingStudy says of itself that there is no such study."""
    return resource.get("status") in _WITHDRAWN


def study(
    resource: Resource, study_uid: str, patient: Resource | None, patient_system: str | None
) -> StudyRows:
    """The rows of an ImagingStudy; `patient` is its subject, where that is at hand."""
    day, clock, offset = values.moment(resource.get("started"))
    row = values.row_of(
        {
            dj.STUDY_INSTANCE_UID: study_uid,
            dj.STUDY_DATE: day,
            dj.STUDY_TIME: clock,
            dj.TIMEZONE_OFFSET: offset,
            dj.STUDY_DESCRIPTION: values.text(resource.get("description")),
            **_accession(resource),
            **_patient(resource, patient, patient_system),
        }
    )
    inside = {
        str(r.get("id")).removeprefix("#"): r for r in values.objects(resource.get("contained"))
    }
    items = [c for c in map(_code_item, _procedures(resource, inside)) if c]
    if items:
        row[dj.PROCEDURE_CODE_SEQUENCE] = {"vr": "SQ", "Value": items}
    series = (_series(one, study_uid, inside) for one in values.objects(resource.get("series")))
    return StudyRows(uid=study_uid, row=row, series=tuple(s for s in series if s is not None))


def counted(rows: StudyRows) -> Dataset:
    """The study's row with the counts and modalities of the series that it has here."""
    numbers = [_number(s) for s in rows.series]
    modalities = dict.fromkeys(m for s in rows.series for m in dj.texts(s.row, dj.MODALITY))
    counts: dict[str, Any] = {dj.NUMBER_OF_STUDY_RELATED_SERIES: len(rows.series)}
    if None not in numbers:
        counts[dj.NUMBER_OF_STUDY_RELATED_INSTANCES] = sum(n for n in numbers if n is not None)
    listed = {"vr": "CS", "Value": list(modalities)} if modalities else {"vr": "CS"}
    return rows.row | values.row_of(counts) | {dj.MODALITIES_IN_STUDY: listed}


def _number(series: SeriesRows) -> int | None:
    if series.instances is not None:
        return len(series.instances)
    found = dj.values(series.row, dj.NUMBER_OF_SERIES_RELATED_INSTANCES)
    return found[0] if found else None


def _series(
    resource: Resource, study_uid: str, inside: Mapping[str, Resource]
) -> SeriesRows | None:
    uid = values.uid(resource.get("uid"))
    if uid is None:
        return None
    day, clock, offset = values.moment(resource.get("started"))
    listed = values.objects(resource.get("instance"))
    instances = tuple(i for one in listed if (i := _instance(one, study_uid, uid)))
    site, laterality = _site(resource, inside)
    side = values.first_code(laterality)
    row = values.row_of(
        {
            dj.STUDY_INSTANCE_UID: study_uid,
            dj.SERIES_INSTANCE_UID: uid,
            dj.SERIES_NUMBER: values.whole(resource.get("number")),
            dj.MODALITY: values.first_code(resource.get("modality")),
            dj.SERIES_DESCRIPTION: values.text(resource.get("description")),
            dj.SERIES_DATE: day,
            dj.SERIES_TIME: clock,
            dj.TIMEZONE_OFFSET: offset,
            dj.LATERALITY: _SIDES.get(str(side)),
            dj.NUMBER_OF_SERIES_RELATED_INSTANCES: len(instances)
            if listed
            else values.whole(resource.get("numberOfInstances")),
        }
    )
    if region := _code_item(site):
        row[dj.ANATOMIC_REGION_SEQUENCE] = {"vr": "SQ", "Value": [region]}
    return SeriesRows(uid=uid, row=row, instances=instances if listed else None)


def _instance(resource: Resource, study_uid: str, series_uid: str) -> Dataset | None:
    uid = values.uid(resource.get("uid"))
    if uid is None:
        return None
    return values.row_of(
        {
            dj.SOP_CLASS_UID: values.uid(resource.get("sopClass"))
            or values.uid(values.first_code(resource.get("sopClass"))),
            dj.SOP_INSTANCE_UID: uid,
            dj.STUDY_INSTANCE_UID: study_uid,
            dj.SERIES_INSTANCE_UID: series_uid,
            dj.INSTANCE_NUMBER: values.whole(resource.get("number")),
            dj.DOCUMENT_TITLE: values.text(resource.get("title")),
        }
    )


def _accession(resource: Resource) -> dict[str, Any]:
    """Accession Number: an identifier of type ACSN, of the study or of what it is based on."""
    orders = [o.get("identifier") for o in values.objects(resource.get("basedOn"))]
    offered = [
        *values.objects(resource.get("identifier")),
        *(o for o in orders if isinstance(o, dict)),
    ]
    for one in offered:
        is_accession = any(c.get("code") == "ACSN" for c in values.codings(one.get("type")))
        if is_accession and (value := values.text(one.get("value"))):
            issuer = values.issuer(one.get("system"))
            return {dj.ACCESSION_NUMBER: value, dj.ISSUER_OF_ACCESSION_NUMBER: issuer}
    return {}


def _patient(
    resource: Resource, patient: Resource | None, patient_system: str | None
) -> dict[str, Any]:
    """The patient: the subject's resource, else what the reference itself says."""
    subject = resource.get("subject", resource.get("patient"))
    reference: Resource = subject if isinstance(subject, dict) else {}
    known: Resource = patient or {}
    logical = reference.get("identifier")
    offered = values.objects(known.get("identifier")) + values.objects(logical)
    chosen = _best([i for i in offered if values.text(i.get("value"))], patient_system)
    day, _, _ = values.moment(known.get("birthDate"))
    return {
        dj.PATIENT_ID: values.text(chosen.get("value")),
        dj.ISSUER_OF_PATIENT_ID_QUALIFIERS: values.issuer(chosen.get("system")),
        dj.PATIENT_NAME: _name(values.objects(known.get("name")))
        or _plain(reference.get("display")),
        dj.PATIENT_BIRTH_DATE: day,
        dj.PATIENT_SEX: _SEXES.get(str(known.get("gender"))),
    }


def _best(offered: Sequence[Resource], patient_system: str | None) -> Resource:
    """The identifier of the archive's own system, else a medical record number, else the first."""

    def rank(one: Resource) -> int:
        if patient_system is not None and one.get("system") == patient_system:
            return 0
        is_record = any(c.get("code") in {"MR", "PI"} for c in values.codings(one.get("type")))
        return 1 if is_record else 2

    return min(offered, key=rank, default={})


def _name(names: Sequence[Resource]) -> str | None:
    """A HumanName as PN components (PS3.5 §6.2.1.1); one of text alone is all family name."""
    for one in names:
        given = [_plain(g) or "" for g in values.items(one.get("given"))]
        parts = [
            _plain(one.get("family")) or "",
            given[0] if given else "",
            " ".join(given[1:]),
            " ".join(_plain(p) or "" for p in values.items(one.get("prefix"))),
            " ".join(_plain(s) or "" for s in values.items(one.get("suffix"))),
        ]
        if found := "^".join(parts).rstrip("^") or _plain(one.get("text")):
            return found
    return None


def _plain(value: object) -> str | None:
    """Text without the characters that divide a PN."""
    return re.sub(r"[\^=\\]+", " ", values.text(value) or "").strip() or None


def _procedures(resource: Resource, inside: Mapping[str, Resource]) -> list[object]:
    """What was done: codes in R4, concepts in R5, contained Procedures in R6."""
    named = values.objects(resource.get("procedure"))
    held = (inside.get(_local(one)) for one in named)
    codes = [one.get("code") for one in held if one is not None]
    return [*values.items(resource.get("procedureCode")), *named, *codes]


def _site(resource: Resource, inside: Mapping[str, Resource]) -> tuple[object, object]:
    """The bodySite and laterality of a series; in R6 a contained BodyStructure says both."""
    site = resource.get("bodySite")
    for one in values.objects(site):
        structure = inside.get(_local(one), {})
        for part in values.objects(structure.get("includedStructure"))[:1]:
            return part.get("structure"), part.get("laterality")
    return site, resource.get("laterality")


def _local(value: Resource) -> str:
    """The id of the contained resource that a Reference or CodeableReference names; "": none."""
    inner = value.get("reference")
    reference = inner.get("reference") if isinstance(inner, dict) else inner
    is_local = isinstance(reference, str) and reference.startswith("#")
    return str(reference)[1:] if is_local else ""


def _code_item(value: object) -> Dataset | None:
    """An item of a code sequence from whatever carries a code; None when nothing is coded."""
    for coding in values.codings(value):
        code, meaning = values.text(coding.get("code")), values.text(coding.get("display"))
        system = values.text(coding.get("system")) or ""
        scheme_uid = values.uid(system) if system.startswith(OID_PREFIX) else None
        if code and (system in _SCHEMES or scheme_uid):
            return values.row_of(
                {
                    dj.CODE_VALUE: code,
                    dj.CODING_SCHEME_DESIGNATOR: _SCHEMES.get(system),
                    dj.CODING_SCHEME_UID: scheme_uid,
                    dj.CODE_MEANING: meaning,
                }
            )
    return None


def united(found: Iterable[StudyRows]) -> list[StudyRows]:
    """Studies that several resources or servers tell of, each once and each series once."""
    by_uid: dict[str, StudyRows] = {}
    for one in found:
        if (known := by_uid.get(one.uid)) is None:
            by_uid[one.uid] = one
            continue
        seen = {s.uid for s in known.series}
        more = tuple(s for s in one.series if s.uid not in seen)
        by_uid[one.uid] = StudyRows(
            uid=one.uid,
            row=one.row | known.row,
            series=known.series + more,
            again=(*known.again, *((one.row,) if several.is_other(one.row, known.row) else ())),
        )
    return list(by_uid.values())

"""ImagingStudy from a Study record, in the shape of any FHIR version; one function per element.

Counts and modalities are computed from the series that are written, so that the invariants
ist-1 to ist-7 (official in R6) hold in every version by construction. The record comes filtered
by policy. Nothing is ever null or empty, and equal records give equal text.
"""

from __future__ import annotations

from itertools import chain

from gateway.config import Fhir
from gateway.model import Order, Patient, Study
from gateway.rules import imaging_series
from gateway.rules.endpoints import Carried
from gateway.rules.fhir_elements import (
    DCM,
    DICOM_UID,
    OID_PREFIX,
    UNKNOWN,
    Resource,
    code,
    coding,
    concepts,
    distinct,
    identifier,
    is_oid,
    logical_reference,
    members,
    person_name,
    text,
    unsigned_int,
)
from gateway.rules.fhir_shapes import Scope, Shape, words
from gateway.rules.imaging_series import endpoint, one_series, practitioner, started
from gateway.rules.patient_ids import NOBODY, PatientIds

BY_DEFAULT = Fhir()
"""Identifiers as DICOM tells them, and Accession Numbers in basedOn alone."""


def imaging_study(
    study: Study,
    shape: Shape,
    endpoints: Carried,
    options: Fhir = BY_DEFAULT,
    patients: PatientIds = NOBODY,
) -> Resource:
    """The ImagingStudy of a record as deep as it is loaded: series and instances may be missing.

    Of `meta` it has the time alone: who serves the resource knows its version. `options` are
    those of the configuration that say how identifiers are written; `patients` are those to
    refer to.
    """
    patient = subject(study.patient, options.patient_identifier_type, patients)
    scope = Scope(patient, options.code_systems)
    return members(
        resourceType="ImagingStudy",
        id=study.uid,
        meta=members(lastUpdated=study.last_updated),
        contained=scope.contained,
        identifier=[
            *study_identifier(study),
            *(accessions(study) if options.accession_as_identifier else ()),
        ],
        status=status(study, shape, options),
        modality=modality(study, shape),
        subject=scope.subject,
        encounter=logical_reference("Encounter", identifier(study.admission)),
        started=started(study),
        basedOn=based_on(study, scope),
        referrer=study.referring_physician and practitioner(study.referring_physician, scope),
        interpreter=interpreter(study, scope) if shape.interpreter else None,
        endpoint=endpoint(endpoints.study),
        numberOfSeries=number_of_series(study),
        numberOfInstances=number_of_instances(study, shape),
        **shape.procedure(concepts(study.procedure_codes, scope.systems), scope),
        location=location(study, shape, scope),
        **shape.reason(reason(study, scope)),
        description=text(study.description),
        series=series(study, shape, scope, endpoints),
    )


def series(study: Study, shape: Shape, scope: Scope, endpoints: Carried) -> list[Resource]:
    """ImagingStudy.series. Counts stand in all series or in none (ist-5)."""
    counts = _counts(study)
    return [
        one_series(one, shape, scope, endpoints.series.get(one.uid, ()), counts.get(one.uid))
        for one in study.series or ()
    ]


def _counts(study: Study) -> dict[str, int]:
    """The numberOfInstances of each series by UID; {} unless it is known of every one."""
    counts = {s.uid: imaging_series.number_of_instances(s) for s in study.series or ()}
    known = {uid: count for uid, count in counts.items() if count is not None}
    return known if len(known) == len(counts) else {}


def study_identifier(study: Study) -> list[Resource]:
    """The Study Instance UID, and Study ID (0020,0010), which is unique in no known system."""
    study_id = text(study.study_id)
    secondary = [{"use": "secondary", "value": study_id}] if study_id else []
    return [{"system": DICOM_UID, "value": OID_PREFIX + study.uid}, *secondary]


def status(study: Study, shape: Shape, options: Fhir = BY_DEFAULT) -> str:
    """Without instances `registered`, with one or more `available`, without a count `unknown`."""
    count = _instances_seen(study)
    if count == 0:
        return "registered"
    if (study.availability or "").strip().upper() == "UNAVAILABLE":
        return options.unavailable_status if shape.has_inactive else "unknown"
    seen = count or study.series or study.number_of_series
    return "available" if seen else "unknown"


def _instances_seen(study: Study) -> int | None:
    """How many instances are visible; None: not every count is known."""
    if study.series is None:
        return unsigned_int(study.number_of_instances)
    counts = _counts(study)
    return sum(counts.values()) if len(counts) == len(study.series) else None


def modality(study: Study, shape: Shape) -> list[Resource]:
    """The distinct modalities of the series (ist-7), or what archives said while not loaded."""
    if study.series is not None:
        found = [imaging_series.modality(s, shape) for s in study.series]
        return distinct([m for m in found if m is not UNKNOWN])
    if shape.counts_what_is_listed:
        return []
    known = filter(None, map(code, study.modalities))
    return distinct([shape.coded({"coding": [coding(DCM, one)]}) for one in known])


def subject(
    patient: Patient, identifier_type: str | None = None, patients: PatientIds = NOBODY
) -> Resource:
    """The patient by Patient ID (0010,0020) and name; by name alone; or said to be unknown.

    With a reference where the patient is a resource.
    """
    found = identifier(patient.id, identifier_type)
    known = logical_reference("Patient", found, person_name(patient.name)) or UNKNOWN
    resource_id = patients.id_of(patient)
    return known if resource_id is None else {"reference": f"Patient/{resource_id}"} | known


def accessions(study: Study) -> list[Resource]:
    """The Accession Numbers: the study's (0008,0050), else those of its series' requests."""
    own = [study.accession] if study.accession else []
    theirs = chain.from_iterable(s.accessions for s in study.series or ())
    found = (identifier(accession, "ACSN") for accession in own or theirs)
    return distinct([one for one in found if one is not None])


def based_on(study: Study, scope: Scope) -> list[Resource]:
    """The requests: by their Accession Numbers, and contained where their orders have numbers."""
    numbered = [_request(study, order, scope) for order in orders(study)]
    known = [one.get("identifier") for one in numbered]
    told = (one for one in accessions(study) if one not in known)
    requests = (logical_reference("ServiceRequest", one) for one in told)
    return distinct([*numbered, *(r for r in requests if r is not None)])


def orders(study: Study) -> list[Order]:
    """The requests with numbers of placer or filler, of the study and its series, each once."""
    theirs = chain.from_iterable(s.orders for s in study.series or ())
    return list(dict.fromkeys((*study.orders, *theirs)))


def _request(study: Study, order: Order, scope: Scope) -> Resource:
    """A Reference to a contained ServiceRequest; one that names no accession has the study's."""
    accession = identifier(order.accession or study.accession, "ACSN")
    numbers = [identifier(order.placer, "PLAC"), identifier(order.filler, "FILL")]
    known = [one for one in (accession, *numbers) if one is not None]
    content = members(identifier=known, status="unknown", intent="order", subject=scope.subject)
    first = known[0] if known else None
    return scope.reference("ServiceRequest", content, None, identifier=first)


def interpreter(study: Study, scope: Scope) -> list[Resource]:
    """Physicians Reading Study (0008,1060)."""
    found = (practitioner(person, scope) for person in study.physicians_reading)
    return distinct([p for p in found if p is not None])


def number_of_series(study: Study) -> int | None:
    """The series that are written (ist-3), or what the archives said while they are not loaded."""
    if study.series is None:
        return unsigned_int(study.number_of_series)
    return len(study.series)


def number_of_instances(study: Study, shape: Shape) -> int | None:
    """The sum over the series; beside instances only if they are all listed (ist-4).

    R6 allows it only beside the instances themselves.
    """
    count = unsigned_int(_instances_seen(study))
    if study.series is None:
        return count
    listed = sum(len(s.instances or ()) for s in study.series)
    if count != listed and (listed or shape.counts_what_is_listed):
        return None
    return count


def location(study: Study, shape: Shape, scope: Scope) -> Resource | None:
    """Institutional Department, when all series that tell one tell the same.

    By its name (0008,1040); where its type (0008,1041) is told as well, as a contained Location.
    R4 knows Performed Location (0040,0243) as well.
    """
    told = {
        (text(s.department_name), s.department_type)
        for s in study.series or ()
        if text(s.department_name) or s.department_type
    }
    if not told and shape.performed_location:
        places = {text(s.performed_location) for s in study.series or ()} - {None}
        told = {(place, None) for place in places}
    if len(told) != 1:
        return None
    name, department_type = told.pop()
    kinds = concepts((department_type,), scope.systems) if department_type else []
    if not kinds:
        return logical_reference("Location", None, name)
    return scope.reference("Location", members(name=name, type=kinds), name or words(kinds[0]))


def reason(study: Study, scope: Scope) -> list[Resource]:
    """Reason codes (0040,100A) of the series' requests, and reasons in words (0040,1002)."""
    coded = chain.from_iterable(concepts(s.reason_codes, scope.systems) for s in study.series or ())
    told = chain.from_iterable(s.reason_texts for s in study.series or ())
    worded = [{"text": words} for one in told if (words := text(one))]
    return distinct([*coded, *worded])


def oddities(study: Study) -> list[str]:
    """What is odd about a study or cannot be written as it is, in words for the caller."""
    series = study.series or ()
    instances = [i for s in series for i in s.instances or ()]
    classes = {i.sop_class_uid for i in instances if i.sop_class_uid is not None}
    uids = [study.uid, *(s.uid for s in series), *(i.uid for i in instances), *classes]
    counted = {
        "series without a modality": sum(code(s.modality) is None for s in series),
        "UIDs that are no OIDs, such as those with leading zeros": sum(
            not is_oid(uid) for uid in uids
        ),
    }
    found = [f"{count} {what}" for what, count in counted.items() if count]
    return list(dict.fromkeys([*study.warnings, *(w for s in series for w in s.warnings), *found]))

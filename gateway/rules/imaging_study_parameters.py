"""What an ImagingStudy can be searched by, and what a resource of any version has of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gateway.model import Level
from gateway.rules.fhir_elements import DICOM_UID, OID_PREFIX, URI, Resource
from gateway.rules.fhir_search import OF_ANY_RESOURCE, Criterion, Kind, Parameter
from gateway.rules.fhir_values import ReferenceValue, Token, coded, identified

_SLOW = "Archives cannot look for it: quicker beside another parameter."
_BY_IDENTIFIER = f"By {{name}}:identifier=system|value. {_SLOW}"
_BY_NAME = f"By {{name}}.name, or {{name}}:identifier=system|value. {_SLOW}"
_BY_PATIENT = (
    "By Patient, by {name}.identifier=system|value with the Patient ID, or by the patient's name, "
    "family, given, birthdate or gender: {name}.family=…"
)
_NONE_HELD = "No study refers to one: finds none, except by :missing."

IMAGING_STUDY_STATUS = "http://hl7.org/fhir/imagingstudy-status"
"""The code system of `status`, which a resource does not write."""

PRACTITIONERS = ("Practitioner", "PractitionerRole")
PERFORMERS = (
    *PRACTITIONERS,
    "Organization",
    "CareTeam",
    "Patient",
    "Device",
    "RelatedPerson",
    "HealthcareService",
)
REASONS = ("Condition", "Observation", "DiagnosticReport", "DocumentReference")
REQUESTS = ("CarePlan", "ServiceRequest", "Task", "Appointment", "AppointmentResponse")


def _series(resource: Resource) -> list[Resource]:
    return list(resource.get("series", ()))


def _instances(resource: Resource) -> Iterator[Resource]:
    return (one for series in _series(resource) for one in series.get("instance", ()))


def references(resource: Resource, element: str) -> list[Resource]:
    """The References of an element that may hold one or many."""
    found = resource.get(element, [])
    return found if isinstance(found, list) else [found]


def _uid(uid: str) -> Iterator[Token]:
    """A UID as clients write it: bare, or as a URI."""
    return (Token(code=form) for form in (uid, OID_PREFIX + uid))


def _identifiers(resource: Resource) -> Iterator[Token]:
    for found in identified(resource.get("identifier", ())):
        yield found
        if found.system == DICOM_UID and found.code:
            yield Token(system=DICOM_UID, code=found.code.removeprefix(OID_PREFIX))


def _modalities(resource: Resource) -> Iterator[Token]:
    """The modalities of the series, findable in lower case too."""
    for series in _series(resource):
        for found in coded(series["modality"]):
            yield found
            yield replace(found, code=(found.code or "").lower())


def _sop_classes(resource: Resource) -> Iterator[Token]:
    for one in _instances(resource):
        written = one.get("sopClass", {})
        code = written if isinstance(written, str) else written.get("code")
        if code is not None:
            yield Token(system=URI, code=code)
            yield Token(system=URI, code=code.removeprefix(OID_PREFIX))


def _body_sites(resource: Resource) -> Iterator[Token]:
    return (t for s in _series(resource) if "bodySite" in s for t in coded(s["bodySite"]))


def _body_structures(resource: Resource) -> Iterator[Resource]:
    """What bodySite refers to, which from R5 on is a CodeableReference."""
    sites = (s.get("bodySite", {}) for s in _series(resource))
    return (site["reference"] for site in sites if "reference" in site)


def _reasons(resource: Resource) -> Iterator[Token]:
    written = (*resource.get("reasonCode", ()), *resource.get("reason", ()))
    return (t for one in written for t in coded(one))


def _endpoints(resource: Resource) -> Iterator[Resource]:
    yield from resource.get("endpoint", ())
    yield from (one for s in _series(resource) for one in s.get("endpoint", ()))


def performers(resource: Resource) -> Iterator[Resource]:
    """The References to who performed the series."""
    return (p["actor"] for s in _series(resource) for p in s.get("performer", ()))


def _subjects(resource: Resource) -> list[Resource]:
    subject = resource["subject"]
    return [subject] if subject.keys() & {"reference", "identifier", "display"} else []


PARAMETERS = (
    *OF_ANY_RESOURCE,
    Parameter(
        name="_lastUpdated",
        kind=Kind.DATE,
        found=lambda r: filter(None, [r.get("meta", {}).get("lastUpdated")]),
        level=Level.SERIES,
        is_utc=True,
        documentation=f"When the present content was noticed. {_SLOW}",
    ),
    Parameter(
        name="based-on",
        kind=Kind.REFERENCE,
        found=lambda r: references(r, "basedOn"),
        level=Level.SERIES,
        targets=REQUESTS,
        aliases=("basedon",),
        documentation="By Accession Number: {name}:identifier=system|value.",
    ),
    Parameter(
        name="body-site",
        kind=Kind.TOKEN,
        found=_body_sites,
        level=Level.SERIES,
        aliases=("bodysite",),
        documentation=_SLOW,
    ),
    Parameter(
        name="body-structure",
        kind=Kind.REFERENCE,
        found=_body_structures,
        level=Level.SERIES,
        targets=("BodyStructure",),
        documentation=_NONE_HELD,
    ),
    Parameter(name="dicom-class", kind=Kind.TOKEN, found=_sop_classes, level=Level.INSTANCE),
    Parameter(
        name="encounter",
        kind=Kind.REFERENCE,
        found=lambda r: references(r, "encounter"),
        targets=("Encounter",),
        documentation=f"By Admission ID: {{name}}:identifier=system|value. {_SLOW}",
    ),
    Parameter(
        name="endpoint",
        kind=Kind.REFERENCE,
        found=_endpoints,
        level=Level.SERIES,
        targets=("Endpoint",),
        documentation=_SLOW,
    ),
    Parameter(name="identifier", kind=Kind.TOKEN, found=_identifiers),
    Parameter(
        name="instance",
        kind=Kind.TOKEN,
        found=lambda r: (t for one in _instances(r) for t in _uid(one["uid"])),
        level=Level.INSTANCE,
    ),
    Parameter(
        name="interpreter",
        kind=Kind.REFERENCE,
        found=lambda r: references(r, "interpreter"),
        targets=PRACTITIONERS,
        documentation=_BY_NAME,
    ),
    Parameter(name="modality", kind=Kind.TOKEN, found=_modalities, level=Level.SERIES),
    Parameter(
        name="patient",
        kind=Kind.REFERENCE,
        found=lambda r: [s for s in _subjects(r) if s.get("type", "Patient") == "Patient"],
        targets=("Patient",),
        documentation=_BY_PATIENT,
    ),
    Parameter(
        name="performer",
        kind=Kind.REFERENCE,
        found=performers,
        level=Level.SERIES,
        targets=PERFORMERS,
        documentation=_BY_NAME,
    ),
    Parameter(
        name="reason",
        kind=Kind.TOKEN,
        found=_reasons,
        level=Level.SERIES,
        aliases=("reason-concept",),
        documentation=_SLOW,
    ),
    Parameter(
        name="reason-reference",
        kind=Kind.REFERENCE,
        found=lambda r: (one["reference"] for one in r.get("reason", ()) if "reference" in one),
        level=Level.SERIES,
        targets=REASONS,
        documentation=_NONE_HELD,
    ),
    Parameter(
        name="referrer",
        kind=Kind.REFERENCE,
        found=lambda r: references(r, "referrer"),
        targets=PRACTITIONERS,
        documentation="By {name}.name, or {name}:identifier=system|value.",
    ),
    Parameter(
        name="series",
        kind=Kind.TOKEN,
        found=lambda r: (t for s in _series(r) for t in _uid(s["uid"])),
        level=Level.SERIES,
    ),
    Parameter(name="started", kind=Kind.DATE, found=lambda r: filter(None, [r.get("started")])),
    Parameter(
        name="status",
        kind=Kind.TOKEN,
        found=lambda r: [Token(system=IMAGING_STUDY_STATUS, code=r["status"])],
        level=Level.SERIES,
        documentation=_SLOW,
    ),
    Parameter(
        name="subject",
        kind=Kind.REFERENCE,
        found=_subjects,
        targets=("Patient", "Group", "Device"),
        documentation=_BY_PATIENT,
    ),
)
"""Every parameter of ImagingStudy that works here; their names by version: `fhir_versions`."""

PATIENT = next(one for one in PARAMETERS if one.name == "patient")
"""The patient that a study is about."""


def of_patient(resource_id: str) -> Criterion:
    """What holds for the studies in the compartment of a Patient (FHIR R5 §2.1.0.11)."""
    return Criterion(parameter=PATIENT, values=(ReferenceValue(type="Patient", id=resource_id),))

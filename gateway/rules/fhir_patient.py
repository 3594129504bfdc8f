"""FHIR's Patient out of what archives say of one, and what it can be searched by.

The same shape in every version. All of a Patient is what one study tells, so that a search for
studies by several of its elements finds that study.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.model import Patient, Study
from gateway.rules.fhir_elements import Resource, human_names, identifier, members
from gateway.rules.fhir_search import OF_ANY_RESOURCE, Kind, Parameter
from gateway.rules.fhir_values import Token, identified, name_parts, whole_names

ADMINISTRATIVE_GENDER = "http://hl7.org/fhir/administrative-gender"
GENDERS = {"M": "male", "F": "female", "O": "other", "U": "unknown"}
"""AdministrativeGender of each Patient's Sex (0010,0040); U is not DICOM's and yet written."""


def patient(found: Patient, resource_id: str, identifier_type: str | None = None) -> Resource:
    """The Patient resource of a patient; `identifier_type` is a code of v2-0203."""
    known = identifier(found.id, identifier_type)
    return members(
        resourceType="Patient",
        id=resource_id,
        identifier=[known] if known else [],
        name=human_names(found.name),
        gender=GENDERS.get(found.sex or ""),
        birthDate=found.birth_date,
    )


def telling(studies: Iterable[Study]) -> Study:
    """The study whose patient is written where studies of a patient disagree.

    The latest that has a name; of those at the same time the one with the greatest UID.
    """

    def order(study: Study) -> tuple[bool, str, str, str]:
        is_named = bool(human_names(study.patient.name))
        return is_named, study.date or "", study.time or "", study.uid

    return max(studies, key=order)


def _gender(resource: Resource) -> list[Token]:
    found = resource.get("gender")
    return [Token(system=ADMINISTRATIVE_GENDER, code=found)] if found else []


DEMOGRAPHICS = (
    Parameter(name="name", kind=Kind.STRING, found=lambda r: whole_names([r])),
    Parameter(name="family", kind=Kind.STRING, found=lambda r: name_parts([r], "family")),
    Parameter(name="given", kind=Kind.STRING, found=lambda r: name_parts([r], "given")),
    Parameter(name="birthdate", kind=Kind.DATE, found=lambda r: filter(None, [r.get("birthDate")])),
    Parameter(name="gender", kind=Kind.TOKEN, found=_gender),
)
"""What archives tell of a patient besides the Patient ID."""
PARAMETERS = (
    *OF_ANY_RESOURCE,
    Parameter(
        name="identifier", kind=Kind.TOKEN, found=lambda r: identified(r.get("identifier", ()))
    ),
    *DEMOGRAPHICS,
)
"""Every parameter of Patient that works here, by the same name in all versions."""

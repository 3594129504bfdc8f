"""FHIR's Patient out of what archives say of one: the same shape in every version."""

from __future__ import annotations

from gateway.model import Patient
from gateway.rules.fhir_elements import Resource, human_names, identifier, members

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

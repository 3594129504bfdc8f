"""The CapabilityStatement of a FHIR version, made from the tables that the code itself uses."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import __version__
from gateway.rules import fhir_endpoint, fhir_patient, imaging_study_parameters
from gateway.rules.fhir_elements import Resource, members
from gateway.rules.fhir_results import (
    ENDPOINTS,
    IMAGING_STUDIES,
    IMAGING_STUDIES_ALONE,
    PATIENTS,
    Offered,
)
from gateway.rules.fhir_search import Parameter
from gateway.rules.fhir_versions import MEDIA_TYPE, Version

NAME = "DICOMweb gateway"


Served = tuple[str, Sequence[Parameter], Offered]
"""A type that is served, what it can be searched by, and what of the result."""
ALONE: tuple[Served, ...] = (
    ("ImagingStudy", imaging_study_parameters.PARAMETERS, IMAGING_STUDIES_ALONE),
    ("Endpoint", fhir_endpoint.PARAMETERS, ENDPOINTS),
)
"""What is served where no patient is a resource."""
WITH_PATIENTS: tuple[Served, ...] = (
    ("ImagingStudy", imaging_study_parameters.PARAMETERS, IMAGING_STUDIES),
    ("Endpoint", fhir_endpoint.PARAMETERS, ENDPOINTS),
    ("Patient", fhir_patient.PARAMETERS, PATIENTS),
)
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_COMPARTMENT = "http://hl7.org/fhir/CompartmentDefinition/patient"


def capability_statement(
    version: Version,
    base: str,
    date: str,
    *,
    has_patients: bool = True,
    issuer: Resource | None = None,
) -> Resource:
    """What is served below `base` in `version`; `date` (FHIR dateTime): when that last changed.

    `issuer`: the SMART configuration, where there is one.
    """
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": NAME, "version": __version__},
        "implementation": {
            "description": "Imaging studies of DICOM archives, and where to get their images",
            "url": base,
        },
        "fhirVersion": version.release,
        "format": ["json", MEDIA_TYPE],
        "rest": [_rest(version, issuer, has_patients=has_patients)],
    }


def _rest(version: Version, issuer: Resource | None, *, has_patients: bool) -> Resource:
    served = WITH_PATIENTS if has_patients else ALONE
    return members(
        mode="server",
        security=_security(issuer) if issuer is not None else None,
        resource=[_resource(version, *one) for one in served],
        compartment=[_COMPARTMENT] if has_patients else [],
    )


def _security(issuer: Resource) -> Resource:
    """SMART's extension with the addresses, for apps that look here (SMART App Launch 1.0)."""
    addresses = (("authorize", "authorization_endpoint"), ("token", "token_endpoint"))
    service = {"system": f"{_TERMINOLOGY}/restful-security-service", "code": "SMART-on-FHIR"}
    return {
        "extension": [
            {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [
                    {"url": name, "valueUri": issuer[key]}
                    for name, key in addresses
                    if key in issuer
                ],
            }
        ],
        "service": [{"coding": [service]}],
    }


def _resource(
    version: Version, name: str, parameters: Sequence[Parameter], offered: Offered
) -> Resource:
    return members(
        type=name,
        interaction=[{"code": "read"}, {"code": "search-type"}],
        versioning="versioned",
        readHistory=False,
        conditionalRead=_CONDITIONAL_READ[name],
        searchInclude=sorted(offered.includes),
        searchRevInclude=sorted(offered.reverse_includes),
        searchParam=[
            _parameter(version, one) for one in parameters if one.name not in version.absent
        ],
    )


_CONDITIONAL_READ = {
    "ImagingStudy": "full-support",
    "Endpoint": "not-match",
    "Patient": "not-match",
}
"""By version, and by time where there is one: of others nobody knows when they last changed."""


def _parameter(version: Version, parameter: Parameter) -> Resource:
    name = version.name(parameter)
    return members(
        name=name,
        type=version.kind(parameter).value,
        documentation=parameter.documentation.format(name=name),
    )

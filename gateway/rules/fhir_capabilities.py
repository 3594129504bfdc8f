"""The CapabilityStatement of a FHIR version, made from the tables that the code itself uses."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import __version__
from gateway.rules.fhir_elements import Resource, members
from gateway.rules.fhir_results import ENDPOINTS, IMAGING_STUDIES, Offered
from gateway.rules.fhir_search import Parameter
from gateway.rules.fhir_versions import MEDIA_TYPE, Version

NAME = "DICOMweb gateway"


def capability_statement(
    version: Version, base: str, date: str, resources: Sequence[tuple[str, Sequence[Parameter]]]
) -> Resource:
    """What is served below `base` in `version`; `date` (FHIR dateTime): when that last changed.

    `resources` are the types with the parameters that they can be searched by.
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
        "rest": [
            {
                "mode": "server",
                "resource": [_resource(version, name, found) for name, found in resources],
            }
        ],
    }


_OFFERED: dict[str, Offered] = {"ImagingStudy": IMAGING_STUDIES, "Endpoint": ENDPOINTS}


def _resource(version: Version, name: str, parameters: Sequence[Parameter]) -> Resource:
    return members(
        type=name,
        interaction=[{"code": "read"}, {"code": "search-type"}],
        versioning="versioned",
        conditionalRead="not-match",
        searchInclude=sorted(_OFFERED[name].includes),
        searchParam=[
            _parameter(version, one) for one in parameters if one.name not in version.absent
        ],
    )


def _parameter(version: Version, parameter: Parameter) -> Resource:
    name = version.name(parameter)
    return members(
        name=name,
        type=version.kind(parameter).value,
        documentation=parameter.documentation.format(name=name),
    )

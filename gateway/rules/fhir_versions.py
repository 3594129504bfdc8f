"""The one table of FHIR versions: where each is served, and all in which they differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.model import Endpoint
from gateway.rules import fhir_shapes
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_endpoint import endpoint_r4, endpoint_r5
from gateway.rules.fhir_search import Kind, Parameter
from gateway.rules.fhir_shapes import Shape

MEDIA_TYPE = "application/fhir+json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Version:
    """A FHIR version. `id` stands in base paths, `number` in media types (`fhirVersion=4.0`)."""

    id: str
    number: str
    release: str
    """What CapabilityStatement.fhirVersion says."""
    shape: Shape
    """How its ImagingStudy is written."""
    endpoint: Callable[[Endpoint], Resource]
    """How its Endpoint is written."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Search parameters that it calls otherwise than R5."""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    """Search parameters that are of another type than in R5."""
    absent: frozenset[str] = frozenset()
    """Search parameters that it does not define."""

    @property
    def content_type(self) -> str:
        """The media type of its resources."""
        return f"{MEDIA_TYPE}; fhirVersion={self.number}"

    def name(self, parameter: Parameter) -> str:
        """What it calls a search parameter."""
        return self.names.get(parameter.name, parameter.name)

    def kind(self, parameter: Parameter) -> Kind:
        """Of which type it says that a search parameter is."""
        return self.kinds.get(parameter.name, parameter.kind)


_R4_NAMES = {"based-on": "basedon", "body-site": "bodysite"}
_R4_ABSENT = frozenset({"body-structure", "reason-reference"})

R4 = Version(
    id="r4",
    number="4.0",
    release="4.0.1",
    shape=fhir_shapes.R4,
    endpoint=endpoint_r4,
    names=_R4_NAMES,
    absent=_R4_ABSENT,
)
R4B = Version(
    id="r4b",
    number="4.3",
    release="4.3.0",
    shape=fhir_shapes.R4,
    endpoint=endpoint_r4,
    names=_R4_NAMES,
    absent=_R4_ABSENT,
)
R5 = Version(
    id="r5",
    number="5.0",
    release="5.0.0",
    shape=fhir_shapes.R5,
    endpoint=endpoint_r5,
    kinds={"_profile": Kind.REFERENCE},
    absent=frozenset({"interpreter", "reason-reference"}),
)
R6 = Version(
    id="r6",
    number="6.0",
    release="6.0.0-ballot2",
    shape=fhir_shapes.R6,
    endpoint=endpoint_r5,
    names={"reason": "reason-concept"},
    kinds={"_profile": Kind.REFERENCE, "dicom-class": Kind.URI},
    absent=frozenset({"interpreter"}),
)

VERSIONS: Mapping[str, Version] = {v.id: v for v in (R4, R4B, R5, R6)}
"""Every version that is served, by the name of its base path."""


def base_pattern(public_url: str) -> str:
    """A regular expression for the bases below which the gateway's own resources have URLs."""
    return f"^{re.escape(public_url)}/fhir/((?:{'|'.join(VERSIONS)})/)?"

"""FHIR's Endpoint in each version's shape, and what it can be searched by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import methodcaller

from gateway.model import ConnectionType, Endpoint
from gateway.rules.fhir_elements import Resource, members, text
from gateway.rules.fhir_results import Sort
from gateway.rules.fhir_search import OF_ANY_RESOURCE, Kind, Parameter
from gateway.rules.fhir_values import Token, coded

CONNECTION_TYPE = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
PAYLOAD_TYPE = "http://terminology.hl7.org/CodeSystem/endpoint-payload-type"
ENDPOINT_STATUS = "http://hl7.org/fhir/endpoint-status"

_DICOM: Resource = {"text": "DICOM"}
_NO_PAYLOAD: Resource = {"coding": [{"system": PAYLOAD_TYPE, "code": "none"}]}

PAYLOADS: dict[str, tuple[Resource, tuple[str, ...]]] = {
    ConnectionType.WADO_RS.value: (_DICOM, ("application/dicom",)),
    ConnectionType.WADO_URI.value: (_DICOM, ("application/dicom", "image/jpeg")),
    ConnectionType.QIDO_RS.value: (_DICOM, ("application/dicom+json",)),
    ConnectionType.IID.value: (_NO_PAYLOAD, ("text/html",)),
}
"""What comes back over a connection of each type: payload type and media types."""


def endpoint_r4(endpoint: Endpoint) -> Resource:
    """R4, R4B: one connection type as Coding, at least one payload type."""
    kind = endpoint.connection_types[0]
    payload, media_types = PAYLOADS.get(kind, (_NO_PAYLOAD, ()))
    return members(
        **_head(endpoint),
        connectionType=_connection_type(kind),
        name=text(endpoint.name),
        period=members(start=endpoint.period_start, end=endpoint.period_end),
        payloadType=[payload],
        payloadMimeType=list(media_types),
        address=endpoint.address,
    )


def endpoint_r5(endpoint: Endpoint) -> Resource:
    """R5, R6: connection types as concepts, payloads as pairs of types and media types."""
    payloads = [PAYLOADS[kind] for kind in endpoint.connection_types if kind in PAYLOADS]
    return members(
        **_head(endpoint),
        connectionType=[{"coding": [_connection_type(k)]} for k in endpoint.connection_types],
        name=text(endpoint.name),
        period=members(start=endpoint.period_start, end=endpoint.period_end),
        payload=[{"type": [kind], "mimeType": list(types)} for kind, types in payloads],
        address=endpoint.address,
    )


def _head(endpoint: Endpoint) -> Resource:
    status = endpoint.status or "active"
    return {"resourceType": "Endpoint", "id": endpoint.id, "status": status}


def _connection_type(code: str) -> Resource:
    return {"system": CONNECTION_TYPE, "code": code}


def _connection_types(resource: Resource) -> Iterator[Token]:
    written = resource["connectionType"]
    return (t for one in (written if isinstance(written, list) else [written]) for t in coded(one))


def _payload_types(resource: Resource) -> Iterator[Token]:
    nested = (kind for one in resource.get("payload", ()) for kind in one.get("type", ()))
    return (t for one in (*resource.get("payloadType", ()), *nested) for t in coded(one))


PARAMETERS = (
    *OF_ANY_RESOURCE,
    Parameter(name="connection-type", kind=Kind.TOKEN, found=_connection_types),
    Parameter(name="name", kind=Kind.STRING, found=lambda r: filter(None, [r.get("name")])),
    Parameter(name="payload-type", kind=Kind.TOKEN, found=_payload_types),
    Parameter(
        name="status",
        kind=Kind.TOKEN,
        found=lambda r: [Token(system=ENDPOINT_STATUS, code=r["status"])],
    ),
)
"""Every parameter of Endpoint that works here, by the same name in all versions."""


def ordered(resources: Sequence[Resource], sort: Sequence[Sort]) -> list[Resource]:
    """The resources by the keys of `_sort`, ties as they are; those without a name are first."""
    found = list(resources)
    for key in reversed(sort):
        value = methodcaller("get", key.name.removeprefix("_"), "")
        found.sort(key=value, reverse=key.is_descending)
    return found

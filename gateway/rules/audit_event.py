"""FHIR R4 AuditEvents by IHE's Basic Audit Log Patterns (BALP 1.1.3): one for each patient.

A read or query that disclosed something follows the profile for it. What was denied follows FHIR's
advice for denied access (FHIR R4 Security, Access Denied): the same shape, no profile, no success.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.model import Identifier
from gateway.rules.fhir_elements import Resource

_BALP = "https://profiles.ihe.net/ITI/BALP"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_SOURCE = {"coding": [{"system": _DCM, "code": "110153", "display": "Source Role ID"}]}
_DESTINATION = {"coding": [{"system": _DCM, "code": "110152", "display": "Destination Role ID"}]}
_USER = {
    "coding": [
        {
            "system": f"{_TERMINOLOGY}/v3-ParticipationType",
            "code": "IRCP",
            "display": "information recipient",
        }
    ]
}
_OBJECT = {"system": f"{_TERMINOLOGY}/audit-entity-type", "code": "2", "display": "System Object"}
_PERSON = {"system": f"{_TERMINOLOGY}/audit-entity-type", "code": "1", "display": "Person"}
_IS_PATIENT = {"system": f"{_TERMINOLOGY}/object-role", "code": "1", "display": "Patient"}
_IS_RESOURCE = {
    "system": f"{_TERMINOLOGY}/object-role",
    "code": "4",
    "display": "Domain Resource",
}
_IS_QUERY = {"system": f"{_TERMINOLOGY}/object-role", "code": "24", "display": "Query"}
_MOST_ASKED = 500
"""Characters of what somebody unknown asked that are worth keeping."""
_IS_REQUEST_ID = {"system": f"{_BALP}/CodeSystem/BasicAuditEntityType", "code": "XrequestId"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One request. `recorded` is a FHIR instant; `asked` the path and query as they came.

    `outcome`: "0" success, "4" denied, "8" failed (FHIR R4 audit-event-outcome). `refused_for`: why
    the caller is nobody known. `issuer`: whose token names consumer and user.
    """

    recorded: str
    request_id: str
    consumer: str | None
    user: str | None
    address: str | None
    server: str
    asked: str
    is_query: bool
    outcome: str = "0"
    refused_for: str = "the caller is not known"
    issuer: str | None = None


def events(
    access: Access,
    studies: Mapping[str, Identifier | None],
    several: Mapping[str, tuple[Identifier, ...]] | None = None,
) -> list[Resource]:
    """The AuditEvents of an access to `studies`, each with the identifier of its patient.

    `several`: the patients of those that are of more than one.
    """
    by_patient: dict[Identifier | None, list[str]] = {}
    for uid, patient in studies.items():
        for who in (several or {}).get(uid) or (patient,):
            by_patient.setdefault(who, []).append(uid)
    if not by_patient:
        return [_event(access, None, ())]
    return [_event(access, patient, uids) for patient, uids in by_patient.items()]


def refusal(access: Access, *, more: int = 0, last: str | None = None) -> Resource:
    """The AuditEvent of a caller who is nobody known (DCM 110114 User Authentication, CID 403).

    `more`: how many refusals of the same address it stands for, after this one and until `last`.
    """
    event: Resource = {
        "resourceType": "AuditEvent",
        "type": {"system": _DCM, "code": "110114", "display": "User Authentication"},
        "subtype": [{"system": _DCM, "code": "110122", "display": "Login"}],
        "action": "E",
        "recorded": last or access.recorded,
        "outcome": "4",
        "outcomeDesc": access.refused_for,
        "agent": _agents(replace(access, is_query=True)),
        "source": {"observer": {"display": access.server}},
        "entity": _entities(replace(access, asked=access.asked[:_MOST_ASKED]), None, ()),
    }
    if more:
        event["period"] = {"start": access.recorded, "end": last or access.recorded}
        counted = [{"type": "refusals", "valueString": str(more)}]
        event["entity"].append({"type": _OBJECT, "name": "more like it", "detail": counted})
    return event


def _event(access: Access, patient: Identifier | None, study_uids: Iterable[str]) -> Resource:
    verb = "search" if access.is_query else "read"
    event: Resource = {
        "resourceType": "AuditEvent",
        "type": {"system": f"{_TERMINOLOGY}/audit-event-type", "code": "rest"},
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": verb}],
        "action": "E" if access.is_query else "R",
        "recorded": access.recorded,
        "outcome": access.outcome,
        "agent": _agents(access),
        "source": {"observer": {"display": access.server}},
        "entity": _entities(access, patient, study_uids),
    }
    if access.outcome == "0":
        kind = f"{'Patient' if patient else ''}{'Query' if access.is_query else 'Read'}"
        profile = f"{_BALP}/StructureDefinition/IHE.BasicAudit.{kind}"
        event["meta"] = {"profile": [profile]}
    return event


def _agents(access: Access) -> list[Resource]:
    """The user if one is known, the client and the server; what flows goes the way BALP says."""
    client, server = (_SOURCE, _DESTINATION) if access.is_query else (_DESTINATION, _SOURCE)
    network = {"address": access.address, "type": "2"} if access.address else None
    agents: list[Resource] = [
        {
            "type": client,
            "who": _client(access),
            "requestor": access.user is None,
            **({"network": network} if network else {}),
        },
        {
            "type": server,
            "who": {"display": access.server},
            "requestor": False,
            "network": {"address": access.server, "type": "5"},
        },
    ]
    if access.user is not None:
        who = {"identifier": _issued(access.issuer, access.user)}
        agents.insert(0, {"type": _USER, "who": who, "requestor": True})
    return agents


def _client(access: Access) -> Resource:
    """The client by name; by issuer as well where a token names it."""
    who: Resource = {"display": access.consumer or "unknown"}
    if access.issuer is not None and access.consumer is not None:
        who["identifier"] = _issued(access.issuer, access.consumer)
    return who


def _issued(issuer: str | None, value: str) -> Resource:
    """An identifier in the name space of an issuer, whose name may be no URI."""
    if issuer is None:
        return {"value": value}
    is_uri = len(issuer.split()) == 1
    of = {"system": issuer} if is_uri else {"assigner": {"display": issuer}}
    return {**of, "value": value}


def _entities(
    access: Access, patient: Identifier | None, study_uids: Iterable[str]
) -> list[Resource]:
    entities: list[Resource] = [
        {"type": _IS_REQUEST_ID, "what": {"identifier": {"value": access.request_id}}}
    ]
    asked = base64.b64encode(access.asked.encode("utf-8", "replace")).decode()
    if access.is_query:
        entities.append({"type": _OBJECT, "role": _IS_QUERY, "query": asked})
    for uid in study_uids:
        identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}
        what = {"type": "ImagingStudy", "identifier": identifier}
        entities.append({"type": _OBJECT, "role": _IS_RESOURCE, "what": what})
    if not access.is_query and len(entities) == 1:
        entities.append({"type": _OBJECT, "role": _IS_RESOURCE, "what": {"display": access.asked}})
    if patient is not None:
        known = {"system": patient.system, "value": patient.value}
        identifier = {name: value for name, value in known.items() if value is not None}
        what = {"type": "Patient", "identifier": identifier}
        entities.append({"type": _PERSON, "role": _IS_PATIENT, "what": what})
    return entities

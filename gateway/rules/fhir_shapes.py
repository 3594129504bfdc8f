"""How each FHIR version writes the elements on which the versions do not agree.

A `Shape` is one version's column of that table; `imaging_study` and `imaging_series` write
everything else, the same in all of them. Shapes give members: elements to merge into their parent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.rules.fhir_elements import (
    OID_PREFIX,
    UNKNOWN,
    URI,
    Resource,
    Systems,
    is_oid,
    members,
)

NAME_TYPE = "http://hl7.org/fhir/device-nametype"
FRIENDLY_NAME = "user-friendly-name"


class Scope:
    """What one resource under construction shares: subject, code systems, what it contains.

    Equal resources are contained once; ids count in order of first use, so that the same record
    always gives the same text.
    """

    def __init__(self, subject: Resource, systems: Systems | None = None) -> None:
        self.subject = subject
        self.systems: Systems = systems or {}
        self.contained: list[Resource] = []
        self._ids: dict[bytes, str] = {}

    def contain(self, resource_type: str, content: Resource) -> str:
        """The local reference (`#practitioner-1`) to a contained resource of that content."""
        key = resource_type.encode() + orjson.dumps(content)
        if key not in self._ids:
            number = 1 + sum(r["resourceType"] == resource_type for r in self.contained)
            self._ids[key] = f"{resource_type.lower()}-{number}"
            head = {"resourceType": resource_type, "id": self._ids[key]}
            self.contained.append(head | content)
        return f"#{self._ids[key]}"

    def reference(
        self, resource_type: str, content: Resource, display: str | None, **more: Any
    ) -> Resource:
        """A Reference to a contained resource; `display` and `more` tell it without following."""
        local = self.contain(resource_type, content)
        return members(reference=local, type=resource_type, **more, display=display)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """One version's way with the elements that differ. Concepts come in as CodeableConcept."""

    coded: Callable[[Resource], Resource]
    """ImagingStudy.modality and series.modality: what stands for a concept."""
    unknown_modality: Resource
    """series.modality is mandatory: what stands for one that no archive tells."""
    sop_class: Callable[[str | None], Resource]
    """series.instance.sopClass."""
    procedure: Callable[[Sequence[Resource], Scope], Resource]
    """The performed procedures."""
    reason: Callable[[Sequence[Resource]], Resource]
    """Why the study was asked for."""
    interpreter: bool
    """Whether the study says who read it. From R5 on that is told by the report alone."""
    body_site: Callable[[Resource | None, Resource | None, Scope], Resource]
    """series.bodySite and series.laterality, from the two concepts."""
    device_name: Callable[[str], Resource]
    """A contained Device's name for people."""
    documents_alone_have_titles: bool
    """Whether series.instance.title is Document Title (0042,0010) and nothing else."""
    performed_location: bool
    """Whether Performed Location (0040,0243) may tell the location."""
    has_inactive: bool
    """Whether status has the code `inactive`."""
    counts_what_is_listed: bool
    """Whether a total may only stand beside what it counts (R6 ist-4, ist-7)."""


def as_coding(concept: Resource) -> Resource:
    """A concept as Coding: its code, else its words as display."""
    codings = concept.get("coding")
    return dict(codings[0]) if codings else members(display=concept.get("text"))


def as_concept(concept: Resource) -> Resource:
    """A concept as it is."""
    return concept


def sop_class_coding(uid: str | None) -> Resource:
    """R4, R5: a Coding of the URI system; unknown where the archive does not tell it."""
    value = {"system": URI, "code": OID_PREFIX + uid} if uid else UNKNOWN
    return {"sopClass": value}


def sop_class_oid(uid: str | None) -> Resource:
    """R6: an oid; a UID that is none (leading zeros) cannot be written and is unknown."""
    if uid is None or not is_oid(uid):
        return {"_sopClass": UNKNOWN}
    return {"sopClass": OID_PREFIX + uid}


def procedure_codes(concepts: Sequence[Resource], scope: Scope) -> Resource:
    """R4: procedureCode."""
    return members(procedureCode=list(concepts))


def procedure_concepts(concepts: Sequence[Resource], scope: Scope) -> Resource:
    """R5: procedure, a CodeableReference that only ever carries the concept."""
    return members(procedure=[{"concept": c} for c in concepts])


def procedure_references(concepts: Sequence[Resource], scope: Scope) -> Resource:
    """R6: procedure, references to contained Procedures; that they were done is not known."""
    return members(procedure=[_procedure(c, scope) for c in concepts])


def _procedure(concept: Resource, scope: Scope) -> Resource:
    content = {"status": "unknown", "code": concept, "subject": scope.subject}
    return scope.reference("Procedure", content, words(concept))


def words(concept: Resource) -> str | None:
    """A concept for people."""
    codings = concept.get("coding") or [{}]
    shown = concept.get("text") or codings[0].get("display") or codings[0].get("code")
    return str(shown) if shown else None


def reason_codes(concepts: Sequence[Resource]) -> Resource:
    """R4: reasonCode."""
    return members(reasonCode=list(concepts))


def reason_concepts(concepts: Sequence[Resource]) -> Resource:
    """R5, R6: reason, a CodeableReference that only ever carries the concept."""
    return members(reason=[{"concept": c} for c in concepts])


def body_site_codings(site: Resource | None, side: Resource | None, scope: Scope) -> Resource:
    """R4: bodySite and laterality as Codings."""
    return members(bodySite=site and as_coding(site), laterality=side and as_coding(side))


def body_site_concepts(site: Resource | None, side: Resource | None, scope: Scope) -> Resource:
    """R5: bodySite as CodeableReference, laterality as CodeableConcept."""
    return members(bodySite=members(concept=site), laterality=side)


def body_site_structure(site: Resource | None, side: Resource | None, scope: Scope) -> Resource:
    """R6: no laterality of its own; a side makes bodySite refer to a contained BodyStructure."""
    if side is None:
        return members(bodySite=members(concept=site))
    structure = {"structure": site or UNKNOWN, "laterality": side}
    content = {"includedStructure": [structure], "patient": scope.subject}
    shown = " ".join(filter(None, (words(c) for c in (side, site) if c)))
    reference = scope.reference("BodyStructure", content, shown)
    return {"bodySite": members(concept=site, reference=reference)}


def device_name_r4(name: str) -> Resource:
    """R4: deviceName."""
    return {"deviceName": [{"name": name, "type": FRIENDLY_NAME}]}


def device_name_r5(name: str) -> Resource:
    """R5: name, its type a code."""
    return {"name": [{"value": name, "type": FRIENDLY_NAME}]}


def device_name_r6(name: str) -> Resource:
    """R6: name, its type a concept."""
    kind = {"coding": [{"system": NAME_TYPE, "code": FRIENDLY_NAME}]}
    return {"name": [{"value": name, "type": kind}]}


R4 = Shape(
    coded=as_coding,
    unknown_modality=UNKNOWN,
    sop_class=sop_class_coding,
    procedure=procedure_codes,
    reason=reason_codes,
    interpreter=True,
    body_site=body_site_codings,
    device_name=device_name_r4,
    documents_alone_have_titles=False,
    performed_location=True,
    has_inactive=False,
    counts_what_is_listed=False,
)
R5 = Shape(
    coded=as_concept,
    unknown_modality={"text": "Unknown"},
    sop_class=sop_class_coding,
    procedure=procedure_concepts,
    reason=reason_concepts,
    interpreter=False,
    body_site=body_site_concepts,
    device_name=device_name_r5,
    documents_alone_have_titles=False,
    performed_location=False,
    has_inactive=False,
    counts_what_is_listed=False,
)
R6 = Shape(
    coded=as_concept,
    unknown_modality={"text": "Unknown"},
    sop_class=sop_class_oid,
    procedure=procedure_references,
    reason=reason_concepts,
    interpreter=False,
    body_site=body_site_structure,
    device_name=device_name_r6,
    documents_alone_have_titles=True,
    performed_location=False,
    has_inactive=True,
    counts_what_is_listed=True,
)

"""FHIR data types out of DICOM words: strings, codes, identifiers, names, references.

Nothing here is ever null or empty: what cannot be said is None, and `members` leaves it out.
What these functions give is shared between resources, so nobody changes it afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.model import Code, Identifier, PersonName
from gateway.rules.snomed_rt import SNOMED_CT_OF

Resource = dict[str, Any]
"""A FHIR JSON object: a resource or one of its elements."""

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED_CT = "http://snomed.info/sct"
DICOM_UID = "urn:dicom:uid"
URI = "urn:ietf:rfc:3986"
OID_PREFIX = "urn:oid:"
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
PARTICIPATION_TYPE = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
DATA_ABSENT_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
NUMBER_OF_FRAMES = "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoNumberOfFrames"
"""IHE RAD MADO 1.0: the frames of an instance, which no version before R6's last drafts has."""
NAME_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"

UNKNOWN: Resource = {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "unknown"}]}
"""An element that must be there although its value is not known."""

SYSTEMS = {
    "DCM": DCM,
    "SCT": SNOMED_CT,
    "LN": "http://loinc.org",
    "UCUM": "http://unitsofmeasure.org",
    "RADLEX": "http://www.radlex.org",
}
"""FHIR system of each DICOM coding scheme (PS3.16 §8) that has one."""

SNOMED_RT = frozenset({"SRT", "SNM3", "99SDM"})
"""Schemes of SNOMED-RT: their codes are not SNOMED CT's, whatever their scheme UID says."""

MAX_UNSIGNED_INT = 2**31 - 1
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+", re.ASCII)
_URI = re.compile(r"[^\s\x00-\x1f]+")
_NAME_GROUPS = (("alphabetic", "ABC"), ("ideographic", "IDE"), ("phonetic", "SYL"))


def members(**elements: Any) -> Resource:
    """An object of those elements that have a value; False and 0 are values."""
    return {name: value for name, value in elements.items() if value not in (None, [], {}, "")}


def text(value: str | None) -> str | None:
    """A FHIR string: without control characters and outer spaces; None when nothing is left."""
    if value is None:
        return None
    return _CONTROL.sub("", value).strip() or None


def code(value: str | None) -> str | None:
    """A FHIR code: single spaces inside, none outside; None when nothing is left."""
    return " ".join((text(value) or "").split()) or None


def unsigned_int(value: int | None) -> int | None:
    """`value` where FHIR's unsignedInt can hold it, else None."""
    return value if value is not None and 0 <= value <= MAX_UNSIGNED_INT else None


def is_oid(uid: str) -> bool:
    """Whether `urn:oid:` and this UID make a legal FHIR oid: first arc 0 to 2, no leading zeros."""
    return _OID.fullmatch(uid) is not None


def coding(system: str, value: str, display: str | None = None) -> Resource:
    """A Coding."""
    return members(system=system, code=value, display=display)


Systems = Mapping[str, str]
"""FHIR system of coding schemes by designator, as the configuration says."""


def scheme_system(item: Code, systems: Systems) -> str | None:
    """FHIR system of a DICOM coding scheme; None for one that can only be shown as text."""
    scheme, scheme_uid = item.scheme or "", item.scheme_uid
    if scheme in systems:
        return systems[scheme]
    if scheme in SNOMED_RT:
        return None
    known = SYSTEMS.get(scheme)
    if known is None and scheme_uid is not None and is_oid(scheme_uid):
        return OID_PREFIX + scheme_uid
    return known


def concept(item: Code, systems: Systems) -> Resource | None:
    """A CodeableConcept from an item of a code sequence (PS3.3 §8.8); None when it is empty.

    A code whose scheme has no FHIR system is told by its meaning alone. An old code of SNOMED-RT
    becomes the one that SNOMED CT has for the same, where that is known.
    """
    value, meaning = code(item.value), text(item.meaning)
    system = scheme_system(item, systems)
    if system is None and item.scheme in SNOMED_RT and value in SNOMED_CT_OF:
        value, system = SNOMED_CT_OF[value], SNOMED_CT
    if value is None or system is None:
        return members(text=meaning or value) or None
    return members(coding=[coding(system, value, meaning)], text=meaning)


def concepts(items: Sequence[Code], systems: Systems) -> list[Resource]:
    """The CodeableConcepts of a code sequence, equal ones once."""
    found = (concept(item, systems) for item in items)
    return distinct([c for c in found if c is not None])


def distinct(elements: list[Resource]) -> list[Resource]:
    """The elements without repetitions, in order of first occurrence."""
    kept: list[Resource] = []
    for element in elements:
        if element not in kept:
            kept.append(element)
    return kept


def identifier(found: Identifier | None, type_code: str | None = None) -> Resource | None:
    """An Identifier; `type_code` is of v2-0203.

    An issuer without a system, or whose system is no URI (with spaces), is the assigner.
    """
    value = text(found.value) if found else None
    if found is None or value is None:
        return None
    system = found.system if found.system and _URI.fullmatch(found.system) else None
    assigner = None if system else text(found.assigner or found.system)
    return members(
        type={"coding": [coding(IDENTIFIER_TYPE, type_code)]} if type_code else None,
        system=system,
        value=value,
        assigner=members(display=assigner),
    )


def logical_reference(
    target: str, found: Resource | None, display: str | None = None
) -> Resource | None:
    """A Reference to a `target` that is known by identifier or by name only; None: by neither."""
    if found is None and display is None:
        return None
    return members(type=target, identifier=found, display=display)


def person_name(name: PersonName | None) -> str | None:
    """A PN for people: prefix, given, middle, family, suffix of the first group that has any."""
    for group, _ in _NAME_GROUPS:
        family, given, middle, prefix, suffix = _components(name, group)
        words = (prefix, given, middle, family, suffix)
        shown = " ".join(word for word in words if word)
        if shown:
            return shown
    return None


def human_names(name: PersonName | None) -> list[Resource]:
    """One HumanName for each component group (PS3.5 §6.2.1.2), marked with the group's kind."""
    names = []
    for group, representation in _NAME_GROUPS:
        family, given, middle, prefix, suffix = _components(name, group)
        if not any((family, given, middle, prefix, suffix)):
            continue
        only_family = not any((given, middle, prefix, suffix))
        names.append(
            members(
                extension=[{"url": NAME_REPRESENTATION, "valueCode": representation}],
                text=family if only_family else None,
                family=family,
                given=[*given.split(), *middle.split()],
                prefix=prefix.split(),
                suffix=suffix.split(),
            )
        )
    return names


def _components(name: PersonName | None, group: str) -> tuple[str, str, str, str, str]:
    """Family, given, middle, prefix and suffix of one group, each "" where it is not told."""
    written = getattr(name, group) if name is not None else None
    parts = [(code(part) or "") for part in (written or "").split("^")] + [""] * 5
    return parts[0], parts[1], parts[2], parts[3], parts[4]


def code_identifiers(items: Sequence[Code], systems: Systems) -> list[Resource]:
    """Identifiers from codes that name somebody: a person (0040,1101), an institution."""
    found = [
        identifier(
            Identifier(value=item.value, system=scheme_system(item, systems), assigner=item.scheme)
        )
        for item in items
        if item.value is not None
    ]
    return distinct([i for i in found if i is not None])

"""What a FHIR search wants of its result: pages, subsets, order and what is included.

Parameters that begin with `_` and are not criteria (FHIR R5 Search §3.2.1.7). What the gateway
does not offer is refused where ignoring it would widen or change the result, else ignored, or
refused as well when handling is strict.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from gateway.errors import BadRequest, NotSupported
from gateway.model import Level

SUMMARIES = ("true", "text", "data", "count", "false")
TOTALS = ("none", "estimate", "accurate")
MANDATORY = {
    "ImagingStudy": frozenset({"resourceType", "id", "meta", "status", "subject"}),
    "Endpoint": frozenset(
        {"resourceType", "id", "meta", "status", "connectionType", "payloadType", "address"}
    ),
    "Patient": frozenset({"resourceType", "id", "meta"}),
}
"""Elements that every subset of a resource keeps: identity, and what must be there."""

ELEMENTS = frozenset(
    {
        "identifier",
        "modality",
        "encounter",
        "started",
        "basedOn",
        "referrer",
        "interpreter",
        "endpoint",
        "numberOfSeries",
        "numberOfInstances",
        "procedureCode",
        "procedure",
        "location",
        "reasonCode",
        "reason",
        "description",
        "series",
    }
)
"""Elements of an ImagingStudy that are written, in any version, besides the mandatory ones."""

_OF_ANY_RESOURCE = frozenset({"contained", "text", "extension", "implicitRules", "language"})
_NEVER_KNOWN = frozenset(
    {"note", "partOf", "procedureReference", "reasonReference", "modifierExtension"}
)
_NEVER_KNOWN_OF_PATIENTS = frozenset(
    {
        "active",
        "telecom",
        "deceased",
        "address",
        "maritalStatus",
        "multipleBirth",
        "photo",
        "contact",
        "communication",
        "generalPractitioner",
        "managingOrganization",
        "link",
        "modifierExtension",
    }
)
_NARROWING = frozenset({"_has", "_contained", "_containedType"})
_UNSUPPORTED = frozenset({"_filter", "_query", "_list"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """One key of the order that is asked for."""

    name: str
    is_descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a search wants of its result. `count` None: the server's own page size."""

    count: int | None = None
    summary: str = "false"
    elements: frozenset[str] = frozenset()
    includes: frozenset[str] = frozenset()
    reverse_includes: frozenset[str] = frozenset()
    sort: tuple[Sort, ...] = ()
    total: str | None = None
    page: str | None = None

    @property
    def only_total(self) -> bool:
        """Whether the number of matches is all that is wanted."""
        return self.count == 0 or self.summary == "count"

    @property
    def level(self) -> Level:
        """How deep records must be loaded before what is wanted of them can be written.

        SERIES at the least: status, which is always written, depends on what the series hold.
        """
        if self.elements:
            return Level.INSTANCE if "series" in self.elements else Level.SERIES
        return Level.SERIES if self.summary in {"true", "text"} else Level.INSTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What can be asked of the result of searches for one resource type.

    `includes` and `reverse_includes` bring resources; the `empty_` ones are understood and never
    find one: the references are logical or contained, and nothing here refers to a study.
    """

    includes: frozenset[str]
    sorts: frozenset[str]
    elements: frozenset[str]
    empty_includes: frozenset[str] = frozenset()
    reverse_includes: frozenset[str] = frozenset()
    empty_reverse_includes: frozenset[str] = frozenset()


def without(offered: Offered, resource_types: Collection[str]) -> Offered:
    """The same where resources of some types are not for the caller: includes bring none."""
    brought = {
        name for name in offered.includes if name in _TO_PATIENT and "Patient" in resource_types
    }
    reverse = {name for name in offered.reverse_includes if name.split(":")[0] in resource_types}
    return replace(
        offered,
        includes=offered.includes - brought,
        empty_includes=offered.empty_includes | brought,
        reverse_includes=offered.reverse_includes - reverse,
        empty_reverse_includes=offered.empty_reverse_includes | reverse,
    )


_REFERENCES = ("basedon", "based-on", "encounter", "interpreter", "performer", "referrer")
_TO_PATIENT = frozenset({"ImagingStudy:patient", "ImagingStudy:subject"})
IMAGING_STUDIES = Offered(
    includes=frozenset({"ImagingStudy:endpoint"}) | _TO_PATIENT,
    empty_includes=frozenset(f"ImagingStudy:{name}" for name in _REFERENCES),
    empty_reverse_includes=frozenset(
        {"DiagnosticReport:study", "ImagingSelection:derived-from", "Provenance:target"}
    ),
    sorts=frozenset({"_id", "_lastUpdated", "identifier", "modality", "started"}),
    elements=ELEMENTS | MANDATORY["ImagingStudy"] | _OF_ANY_RESOURCE | _NEVER_KNOWN,
)
IMAGING_STUDIES_ALONE = replace(
    IMAGING_STUDIES,
    includes=IMAGING_STUDIES.includes - _TO_PATIENT,
    empty_includes=IMAGING_STUDIES.empty_includes | _TO_PATIENT,
)
"""The same where no patient is a resource."""
PATIENTS = Offered(
    includes=frozenset(),
    reverse_includes=_TO_PATIENT,
    sorts=frozenset(),
    elements=MANDATORY["Patient"]
    | _OF_ANY_RESOURCE
    | {"identifier", "name", "gender", "birthDate"}
    | _NEVER_KNOWN_OF_PATIENTS,
)
ENDPOINTS = Offered(
    includes=frozenset(),
    sorts=frozenset({"_id", "name"}),
    elements=MANDATORY["Endpoint"]
    | _OF_ANY_RESOURCE
    | {"name", "period", "payload", "payloadMimeType"},
)


def understood(
    wanted: Wanted, name: str, text: str, offered: Offered, *, strict: bool
) -> Wanted | None:
    """`wanted` with what the parameter `name=text` adds; None: ignored, as it is not offered.

    BadRequest for malformed values, for what may not be ignored, and in strict handling for all
    that is not offered.
    """
    plain = name.partition(":")[0]
    if plain in _NARROWING and (name, text) != ("_contained", "false"):
        raise NotSupported(f"{name} is not supported", parameter=name)
    if plain == "_contained":
        return wanted
    changed = _changed(wanted, name, text, offered, strict=strict)
    if changed is None and strict:
        raise NotSupported(f"{name} does not support what is asked of it", parameter=name)
    return changed


def _changed(
    wanted: Wanted, name: str, text: str, offered: Offered, *, strict: bool
) -> Wanted | None:
    if name in _READERS:
        return _READERS[name](wanted, text)
    if name.partition(":")[0] in {"_include", "_revinclude"}:
        return _include(wanted, name, text, offered)
    if name == "_elements":
        return _elements(wanted, text, offered, strict=strict)
    return _sort(wanted, text, offered) if name == "_sort" else None


def is_known(name: str) -> bool:
    """Whether a parameter is about the result, offered or not; others are criteria or unknown."""
    plain = name.partition(":")[0]
    known = {"_include", "_revinclude", "_elements", "_sort", *_READERS}
    return plain in known or plain in _NARROWING or plain in _UNSUPPORTED


def _count(wanted: Wanted, text: str) -> Wanted:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise BadRequest("_count must be a whole number, 0 or more", parameter="_count")
    return replace(wanted, count=int(text))


def _summary(wanted: Wanted, text: str) -> Wanted:
    if text not in SUMMARIES:
        raise BadRequest(f"_summary must be one of {', '.join(SUMMARIES)}", parameter="_summary")
    return replace(wanted, summary=text)


def _total(wanted: Wanted, text: str) -> Wanted:
    if text not in TOTALS:
        raise BadRequest(f"_total must be one of {', '.join(TOTALS)}", parameter="_total")
    return replace(wanted, total=text)


def _page(wanted: Wanted, text: str) -> Wanted:
    return replace(wanted, page=text)


def _as_it_is(wanted: Wanted, text: str) -> Wanted:
    return wanted


_READERS = {
    "_count": _count,
    "_summary": _summary,
    "_total": _total,
    "_page": _page,
    "_format": _as_it_is,
    "_pretty": _as_it_is,
}


def _include(wanted: Wanted, name: str, text: str, offered: Offered) -> Wanted | None:
    """Includes by `Type:parameter`, the target's type behind it or not; `*`: all offered."""
    plain, _, modifier = name.partition(":")
    if modifier not in {"", "iterate"}:
        raise NotSupported(f"{name}: this modifier is not supported", parameter=name)
    named = ":".join(text.split(":")[:2])
    if plain == "_revinclude":
        found = _named(named, offered.reverse_includes, offered.empty_reverse_includes)
        if found is None:
            return None
        return replace(wanted, reverse_includes=wanted.reverse_includes | found)
    found = _named(named, offered.includes, offered.empty_includes)
    return None if found is None else replace(wanted, includes=wanted.includes | found)


def _named(name: str, bringing: frozenset[str], empty: frozenset[str]) -> frozenset[str] | None:
    """The includes that bring something under this name; None: it is not known."""
    if name == "*":
        return bringing
    return bringing & {name} if name in bringing | empty else None


def meant(name: str, text: str, offered: Offered) -> str:
    """The part of a value that counts: names of elements that are not known do not."""
    if name != "_elements" or offered.elements.issuperset(_names(text)):
        return text
    return ",".join(one for one in _names(text) if one in offered.elements)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _elements(wanted: Wanted, text: str, offered: Offered, *, strict: bool) -> Wanted | None:
    names = frozenset(_names(text))
    unknown = names - offered.elements
    if unknown and strict:
        raise BadRequest("_elements names an element that is not known", parameter="_elements")
    known = names - unknown
    return replace(wanted, elements=wanted.elements | known) if known else None


def _sort(wanted: Wanted, text: str, offered: Offered) -> Wanted | None:
    keys = [
        Sort(name=key.removeprefix("-"), is_descending=key.startswith("-"))
        for key in text.split(",")
        if key
    ]
    if not keys or any(key.name not in offered.sorts for key in keys):
        return None
    return replace(wanted, sort=tuple(keys))

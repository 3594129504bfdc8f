"""Values out of the elements of a FHIR resource that somebody else wrote, as DICOM JSON has them.

Any element may be of any type: what is not as it should be is treated as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.fhir_elements import OID_PREFIX
from gateway.rules.qido import vr_of

Resource = Mapping[str, object]

_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d))?", re.ASCII
)


def row_of(values: Mapping[str, Any]) -> Dataset:
    """A row of those attributes that have a value; a dict is the only item of its sequence."""
    return {
        tag: {"vr": vr_of(tag), "Value": [{"Alphabetic": value} if vr_of(tag) == "PN" else value]}
        for tag, value in values.items()
        if value is not None
    }


def moment(value: object) -> tuple[str | None, str | None, str | None]:
    """Date, time and offset of a FHIR dateTime, as DICOM writes them; None where it is partial."""
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None, None, None
    day = f"{found[1]}{found[2]}{found[3]}"
    if found[4] is None:
        return day, None, None
    offset = "+0000" if found[8] == "Z" else found[8].replace(":", "")
    return day, f"{found[4]}{found[5]}{found[6]}{found[7] or ''}", offset


def issuer(system: object) -> Dataset | None:
    """The item that says which system an identifier is unique in (PS3.3 §10.14)."""
    uri = text(system)
    if uri is None:
        return None
    kinds = (("urn:oid:", "ISO"), ("urn:uuid:", "UUID"))
    entity, kind = next(((uri[len(p) :], k) for p, k in kinds if uri.startswith(p)), (uri, "URI"))
    return row_of({dj.UNIVERSAL_ENTITY_ID: entity, dj.UNIVERSAL_ENTITY_ID_TYPE: kind})


def first_code(value: object) -> str | None:
    """The code of the first Coding of whatever carries one."""
    return next((c for one in codings(value) if (c := text(one.get("code")))), None)


def codings(value: object) -> list[Resource]:
    """The Codings of a Coding, a CodeableConcept or a CodeableReference."""
    found: list[Resource] = []
    for one in objects(value):
        concept = one.get("concept")
        inner: Resource = concept if isinstance(concept, dict) else one
        found += objects(inner.get("coding")) if "coding" in inner else [inner]
    return found


def objects(value: object) -> list[Resource]:
    """The objects of an array; a lone object counts as an array of one."""
    return [item for item in items(value) if isinstance(item, dict)]


def items(value: object) -> list[Any]:
    """The items of an array; anything else counts as an array of one, nothing of none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def text(value: object) -> str | None:
    """Text that is not blank, trimmed; else None."""
    return (value.strip() or None) if isinstance(value, str) else None


def whole(value: object) -> int | None:
    """A whole number; else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def uid(value: object) -> str | None:
    """A UID with or without `urn:oid:`, bare; None when it is none."""
    bare = (text(value) or "").removeprefix(OID_PREFIX)
    return bare if dj.is_uid(bare) else None

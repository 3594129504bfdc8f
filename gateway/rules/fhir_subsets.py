"""Resources as they are served: whole with their version, or in part and marked as such."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson

from gateway.rules.fhir_elements import Resource, members
from gateway.rules.fhir_results import MANDATORY, Wanted

SUBSETTED: Resource = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}


def served(resource: Resource, wanted: Wanted, fhir_version: str) -> Resource:
    """`resource` with its `meta`: a version when it is whole, SUBSETTED when it is not.

    The version is a digest of the content, another one in each FHIR version. `meta.lastUpdated`
    is no content, and stays in every part.
    """
    if wanted.elements or wanted.summary == "text":
        names = wanted.elements | MANDATORY[resource["resourceType"]]
        if "series" in names:
            names |= {"identifier"}  # the study's UID stays with its series: invariant ist-1
        return _with_meta(elements(resource, names), tag=[SUBSETTED])
    if wanted.summary == "true":
        return _with_meta(summary(resource), tag=[SUBSETTED])
    content = orjson.dumps({k: v for k, v in resource.items() if k != "meta"})
    digest = hashlib.blake2b(fhir_version.encode() + content, digest_size=12)
    return _with_meta(resource, versionId=digest.hexdigest())


def subsetted(resource: Resource) -> Resource:
    """`resource` marked as a part of what there is: the rest is hidden from the caller."""
    return _with_meta(resource, tag=[SUBSETTED])


def _with_meta(resource: Resource, **meta: Any) -> Resource:
    """`resource` with more in its `meta`, which belongs after the id."""
    head = {"resourceType": resource["resourceType"], "id": resource["id"]}
    return head | {"meta": meta} | resource | {"meta": meta | resource.get("meta", {})}


def summary(resource: Resource) -> Resource:
    """The summary elements: everything except instances, narrative and contained resources.

    References to contained resources keep what they say themselves.
    """
    has_local = "contained" in resource
    kept = {k: v for k, v in resource.items() if k not in {"contained", "text"}}
    if "series" in kept:
        kept["series"] = [{k: v for k, v in s.items() if k != "instance"} for s in kept["series"]]
    return _object_without_local_references(kept) if has_local else kept


def _object_without_local_references(element: Resource) -> Resource:
    return {k: _without_local_references(v) for k, v in element.items() if not _is_local(k, v)}


def _without_local_references(element: Any) -> Any:
    if isinstance(element, list):
        return [_without_local_references(one) for one in element]
    return _object_without_local_references(element) if isinstance(element, dict) else element


def _is_local(name: str, value: Any) -> bool:
    return name == "reference" and isinstance(value, str) and value.startswith("#")


def elements(resource: Resource, names: frozenset[str]) -> Resource:
    """The elements of these names, and what the resource contains as far as they refer to it."""
    kept = {k: v for k, v in resource.items() if k.removeprefix("_") in names}
    local = set(_local_references(kept))
    contained = [one for one in resource.get("contained", ()) if f"#{one['id']}" in local]
    return kept | members(contained=contained)


def _local_references(element: Any) -> Iterable[str]:
    if isinstance(element, list):
        for one in element:
            yield from _local_references(one)
    elif isinstance(element, dict):
        for name, value in element.items():
            if _is_local(name, value):
                yield value
            else:
                yield from _local_references(value)


def entity_tag(resource: Resource) -> str | None:
    """The weak ETag of a resource as it is served; None where it has no version."""
    version = resource.get("meta", {}).get("versionId")
    return None if version is None else f'W/"{version}"'

"""The order of ImagingStudy resources that `_sort` asks for (FHIR R5 Search §3.2.1.7.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.rules import fhir_dates
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_results import Sort
from gateway.rules.fhir_values import coded


def _started(resource: Resource) -> int | None:
    """The moment of started; a date alone is its first instant."""
    found = fhir_dates.moment(resource.get("started", ""))
    return None if found is None else found.absolute(0)[0]


def _modality(resource: Resource) -> str | None:
    """The first of the modalities in alphabetical order."""
    series = resource.get("series", ())
    return min((t.code or "" for s in series for t in coded(s["modality"])), default=None)


_KEYS: dict[str, Callable[[Resource], Any]] = {
    "_id": lambda resource: resource["id"],
    "_lastUpdated": lambda resource: resource.get("meta", {}).get("lastUpdated"),
    "identifier": lambda resource: resource["identifier"][0]["value"],
    "modality": _modality,
    "started": _started,
}


def ordered(resources: Sequence[Resource], sort: Sequence[Sort]) -> list[Resource]:
    """The resources by the keys; those without one come last in either direction.

    Ties are in order of id, so that pages never overlap.
    """
    found = sorted(resources, key=lambda resource: str(resource["id"]))
    for key in reversed(sort):
        value = _KEYS[key.name]
        present = [r for r in found if value(r) is not None]
        absent = [r for r in found if value(r) is None]
        found = sorted(present, key=value, reverse=key.is_descending) + absent
    return found

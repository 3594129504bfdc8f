"""What other people's definitions say of a FHIR resource: models, invariants, official schemas."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fhirpathpy
import jsonschema
from fhir.resources import get_fhir_model_class
from fhir.resources.R4B import get_fhir_model_class as get_r4b_model_class

DEFINITIONS = Path(__file__).parents[2] / "shared" / "fhir-defs"

INVARIANTS = {
    "ist-1": "series.exists() implies identifier.where(system = 'urn:dicom:uid').exists()",
    "ist-2": "identifier.where(system = 'urn:dicom:uid').count() < 2",
    "ist-3": "numberOfSeries.exists() and series.exists() implies numberOfSeries = series.count()",
    "ist-4": (
        "numberOfInstances.exists() and series.instance.exists() "
        "implies numberOfInstances = series.instance.count()"
    ),
    "ist-5": (
        "numberOfInstances.exists() and series.numberOfInstances.exists() implies "
        "numberOfInstances = series.numberOfInstances.aggregate($total + $this.toInteger(), 0)"
    ),
    "ist-6": (
        "series.where(numberOfInstances.empty() or instance.empty() "
        "or numberOfInstances = instance.count()).count() = series.count()"
    ),
}
"""Invariants of ImagingStudy. ist-4 is what its text says: beside instances, not beside series."""

STRICT_IST_4 = (
    "numberOfInstances.exists() and series.exists() "
    "implies numberOfInstances = series.instance.count()"
)
"""R6's ist-4 as its expression says: total and series together only when all is listed."""


def broken_invariants(resource: dict[str, Any], version: str) -> list[str]:
    """The invariants of ImagingStudy that `resource` breaks."""
    strict = {"ist-4": STRICT_IST_4} if version == "r6" else {}
    broken = [k for k, e in (INVARIANTS | strict).items() if _compiled(e)(resource, None) != [True]]
    is_listed = "series" in resource or version == "r6"
    if "modality" in resource and is_listed and not _has_same_modalities(resource):
        broken.append("ist-7")
    return broken


@cache
def _compiled(expression: str) -> Callable[[Mapping[str, Any], None], list[Any]]:
    return fhirpathpy.compile(expression)


def _has_same_modalities(resource: dict[str, Any]) -> bool:
    """Invariant ist-7 in Python: fhirpathpy finds `system&'|'&code` unequal to itself."""
    of_study = [_modality(one) for one in resource["modality"]]
    of_series = {_modality(one["modality"]) for one in resource.get("series", ())} - {None}
    return len(of_study) == len(set(of_study)) and set(of_study) == of_series


def _modality(element: dict[str, Any]) -> str | None:
    """A Coding's or CodeableConcept's code with its system, else its text."""
    coding = element.get("coding", [element])[0]
    return f"{coding['system']}|{coding['code']}" if "code" in coding else element.get("text")


def validate(resource: dict[str, Any], version: str) -> None:
    """ValidationError unless the models of fhir.resources take `resource`; R6 has none."""
    kind = resource["resourceType"]
    if version in {"r4", "r4b"}:
        get_r4b_model_class(kind).model_validate(resource)
    elif version == "r5":
        get_fhir_model_class(kind).model_validate(resource)


def has_official_schema() -> bool:
    """Whether the official JSON schemas are at hand."""
    return DEFINITIONS.is_dir()


def schema_errors(resource: dict[str, Any], version: str) -> list[str]:
    """What HL7's own JSON schema of the release finds wrong with `resource`."""
    kind = resource["resourceType"]
    validator = _validator(version.upper(), kind)
    return [f"{e.json_path}: {e.message[:200]}" for e in validator.iter_errors(resource)]


@cache
def _validator(release: str, kind: str) -> jsonschema.Draft6Validator:
    with zipfile.ZipFile(DEFINITIONS / f"schema-{release}.zip") as archive:
        schema = json.loads(archive.read("fhir.schema.json"))
    schema.pop("oneOf", None)
    schema.pop("discriminator", None)
    return jsonschema.Draft6Validator({**schema, "$ref": f"#/definitions/{kind}"})


def empties(element: Any, path: str = "") -> Iterator[str]:
    """The paths of nulls, empty strings, lists and objects: FHIR JSON has none."""
    if element is None or element in ("", [], {}):
        yield path
    elif isinstance(element, list):
        for number, one in enumerate(element):
            yield from empties(one, f"{path}[{number}]")
    elif isinstance(element, dict):
        for name, value in element.items():
            yield from empties(value, f"{path}.{name}")


def dangling(resource: dict[str, Any]) -> set[str]:
    """Local references without a contained resource, and contained ones nobody refers to."""
    contained = {f"#{one['id']}" for one in resource.get("contained", ())}
    referred = {r for r in _references(resource) if r.startswith("#")}
    return contained ^ referred


def _references(element: Any) -> Iterator[str]:
    if isinstance(element, list):
        for one in element:
            yield from _references(one)
    elif isinstance(element, dict):
        if isinstance(element.get("reference"), str):
            yield element["reference"]
        for value in element.values():
            yield from _references(value)


@cache
def search_parameters(version: str, resource_type: str) -> dict[str, str]:
    """The official search parameters of a resource type: types by name."""
    definitions = json.loads((DEFINITIONS / f"{version.upper()}.json").read_text())
    return {
        one["code"]: one["type"]
        for one in definitions["searchParameters"]
        if {resource_type, "Resource", "DomainResource"} & set(one["base"])
    }

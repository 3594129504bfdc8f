"""FHIR's StructureDefinitions against JSON: elements that exist, how often, and as array or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.fhir_oracles import DEFINITIONS

Elements = dict[str, dict[str, Any]]


def errors(resource: dict[str, Any], version: str) -> list[str]:
    """What the definitions of a release find wrong with a resource and all that is in it."""
    return list(_object(resource, resource["resourceType"], resource["resourceType"], version))


@cache
def _release(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEFINITIONS / f"{version.upper()}.json").read_text())
    for kind, variants in found.get("variants", {}).items():
        found["sds"][kind] = variants["seed"]
    return found


@cache
def _elements(version: str, kind: str) -> Elements:
    """The elements of a type by path."""
    definition = _release(version)["sds"][kind]
    return {e["path"]: e for e in definition["snapshot"]["element"]}


def _children(version: str, kind: str, path: str) -> Elements:
    """The elements right below a path, by name."""
    found = _elements(version, kind)
    return {p.rpartition(".")[2]: e for p, e in found.items() if p.rpartition(".")[0] == path}


def _object(value: dict[str, Any], kind: str, path: str, version: str) -> Iterator[str]:
    children = _children(version, kind, path)
    present: set[str] = set()
    for key, content in value.items():
        name = key.removeprefix("_")
        if key == "resourceType":
            continue
        defined = name if name in children else _choice(name, children)
        if defined is None:
            yield f"{path}.{name} is not defined"
            continue
        present.add(defined)
        yield from _element(content, children[defined], f"{path}.{name}", kind, version)
    yield from (
        f"{path}.{name} is missing"
        for name, element in children.items()
        if element["min"] and name not in present
    )


def _choice(name: str, children: Elements) -> str | None:
    """The `value[x]` that `valueCode` is one of."""
    return next((c for c in children if c.endswith("[x]") and name.startswith(c[:-3])), None)


def _element(
    content: Any, element: dict[str, Any], where: str, kind: str, version: str
) -> Iterator[str]:
    if isinstance(content, list) is (element["max"] == "1"):
        yield f"{where} is {'an array' if isinstance(content, list) else 'no array'}"
    for one in content if isinstance(content, list) else [content]:
        if isinstance(one, dict):
            yield from _object(one, *_target(one, element, where, kind, version), version)


def _target(
    value: dict[str, Any], element: dict[str, Any], where: str, kind: str, version: str
) -> tuple[str, str]:
    """The type of a value and the path of its elements in that type."""
    if "resourceType" in value:
        return value["resourceType"], value["resourceType"]
    if "contentReference" in element:
        return kind, element["contentReference"].rpartition("#")[2]
    codes = [t["code"] for t in element.get("type", ())]
    named = where.rpartition(".")[2]
    if element["path"].endswith("[x]"):
        suffix = named[len(element["path"].rpartition(".")[2]) - 3 :]
        codes = [c for c in codes if c[0].upper() + c[1:] == suffix]
    if codes[0] in {"BackboneElement", "Element"} and _children(version, kind, element["path"]):
        return kind, element["path"]
    return codes[0], codes[0]

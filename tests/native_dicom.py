"""The Native DICOM Model (PS3.19 §A.1) read back as DICOM JSON, by the stdlib's parser."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from gateway.rules.dicom_xml import NAMESPACE

_NUMBERS = frozenset({"DS", "IS", "FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"})
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"


def parsed(document: str | bytes) -> dict[str, Any]:
    """The data set of a document, every attribute checked for what it may hold."""
    root = ElementTree.fromstring(document)  # noqa: S314 - the gateway's own output
    assert root.tag == f"{{{NAMESPACE}}}NativeDicomModel"
    assert root.attrib == {_SPACE: "preserve"}
    return _dataset(root)


def _dataset(parent: ElementTree.Element) -> dict[str, Any]:
    assert not (parent.text or "").strip()
    found = [(one, _element(one)) for one in parent]
    blocks = {
        (one.attrib["tag"][:4], element["Value"][0].strip()): one.attrib["tag"][6:]
        for one, element in found
        if "privateCreator" not in one.attrib
        if int(one.attrib["tag"][:4], 16) % 2 and element["vr"] == "LO"
        if one.attrib["tag"][4:6] == "00" and element.get("Value")
    }
    return {_tag(one, blocks): element for one, element in found}


def _tag(one: ElementTree.Element, blocks: dict[tuple[str, str], str]) -> str:
    """The tag in the block that its creator has reserved in the data set."""
    tag = one.attrib["tag"]
    creator = one.attrib.get("privateCreator")
    return tag if creator is None else f"{tag[:4]}{blocks[tag[:4], creator]}{tag[6:]}"


def _element(one: ElementTree.Element) -> dict[str, Any]:
    assert one.tag == f"{{{NAMESPACE}}}DicomAttribute"
    vr = one.attrib["vr"]
    element: dict[str, Any] = {"vr": vr}
    values = []
    for child in one:
        name = child.tag.removeprefix(f"{{{NAMESPACE}}}")
        if name == "BulkData":
            element["BulkDataURI"] = child.attrib["uri"]
        elif name == "InlineBinary":
            element["InlineBinary"] = child.text
        else:
            assert name == {"SQ": "Item", "PN": "PersonName"}.get(vr, "Value")
            values.append(_value(vr, child))
            assert child.attrib == {"number": str(len(values))}
    return element | ({"Value": values} if values else {})


def _value(vr: str, child: ElementTree.Element) -> Any:
    if vr == "SQ":
        return _dataset(child)
    if vr == "PN":
        return {group.tag.split("}")[1]: _group(group) for group in child} or None
    if vr in _NUMBERS and child.text:
        return float(child.text)
    return child.text


def _group(group: ElementTree.Element) -> str:
    found = {part.tag.split("}")[1]: part.text or "" for part in group}
    assert set(found) <= set(_COMPONENTS)
    return "^".join(found.get(name, "") for name in _COMPONENTS).rstrip("^")

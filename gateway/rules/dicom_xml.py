"""DICOM XML: the Native DICOM Model (PS3.19 §A.1) of a data set that is DICOM JSON.

Nothing is lost on the way but what XML 1.0 cannot hold: control characters become U+FFFD. Nothing
is indented either: white space is preserved, and would be content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from gateway.rules import dictionary
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import vr_of

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" '
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_VR = re.compile(r"[A-Z]{2}", re.ASCII)
_TOLD = re.compile(r"[&<>\"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SPACES = str.maketrans({"\t": "&#9;", "\n": "&#10;"})
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def document(dataset: Dataset) -> Iterator[str]:
    """The XML document of one data set, in pieces."""
    yield f'{_HEAD}xml:space="preserve">'
    yield from _attributes(dataset)
    yield "</NativeDicomModel>"


def text(value: str) -> str:
    """`value` as character data, or inside quotes: what XML cannot hold is U+FFFD."""
    return _TOLD.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), value)


def quoted(value: str) -> str:
    """`value` as that of an XML attribute, in its quotes; white space is kept."""
    return f'"{text(value).translate(_SPACES)}"'


def _attributes(dataset: Dataset) -> Iterator[str]:
    """The DicomAttribute elements of a data set; group lengths are left out (PS3.19 §A.1.1)."""
    for tag, element in dataset.items():
        if isinstance(element, dict) and _TAG.fullmatch(tag) and tag[4:] != "0000":
            yield from _attribute(tag.upper(), element, dataset)


def _attribute(tag: str, element: dict[str, Any], dataset: Dataset) -> Iterator[str]:
    """One DicomAttribute; only that of a sequence comes in several pieces."""
    vr = element.get("vr")
    if not (isinstance(vr, str) and _VR.fullmatch(vr)):
        vr = _known_vr(tag)
    values = element.get("Value")
    values = values if isinstance(values, list) else []
    start = _start(tag, vr, _creator(tag, dataset))
    if vr != "SQ":
        yield f"{start}{_binary(element)}{_values(vr, values)}</DicomAttribute>"
        return
    yield start
    for number, item in enumerate(values, start=1):
        yield f'<Item number="{number}">'
        yield from _attributes(item if isinstance(item, dict) else {})
        yield "</Item>"
    yield "</DicomAttribute>"


def _start(tag: str, vr: str, creator: str | None) -> str:
    """The start tag. Which block the creator of a private attribute has is no part of the model."""
    if creator:
        shown = f"{tag[:4]}00{tag[6:]}"
        return f'<DicomAttribute tag="{shown}" vr="{vr}" privateCreator={quoted(creator)}>'
    keyword = _keyword(tag)
    named = f' keyword="{keyword}"' if keyword else ""
    return f'<DicomAttribute tag="{tag}" vr="{vr}"{named}>'


def _binary(element: dict[str, Any]) -> str:
    uri, inline = element.get("BulkDataURI"), element.get("InlineBinary")
    if isinstance(uri, str) and uri:
        return f"<BulkData uri={quoted(uri)}/>"
    if isinstance(inline, str) and inline:
        return f"<InlineBinary>{text(inline)}</InlineBinary>"
    return ""


def _values(vr: str, values: Sequence[Any]) -> str:
    name, written = ("PersonName", _person_name) if vr == "PN" else ("Value", _plain)
    return "".join(
        f'<{name} number="{number}">{written(value)}</{name}>'
        for number, value in enumerate(values, start=1)
    )


def _person_name(value: Any) -> str:
    """The component groups of a name, and the components in them (PS3.5 §6.2.1)."""
    if isinstance(value, str):
        value = dict(zip(_GROUPS, value.split("=", 2), strict=False))
    groups = value if isinstance(value, dict) else {}
    return "".join(
        f"<{name}>{components}</{name}>"
        for name in _GROUPS
        if isinstance(group := groups.get(name), str) and (components := _components(group))
    )


def _components(group: str) -> str:
    parts = zip(_COMPONENTS, group.split("^", len(_COMPONENTS) - 1), strict=False)
    return "".join(f"<{name}>{text(part)}</{name}>" for name, part in parts if part)


def _plain(value: Any) -> str:
    """A value as text; "" for one that is empty or that no attribute can have."""
    if isinstance(value, str):
        return text(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else ""


def _creator(tag: str, dataset: Dataset) -> str | None:
    """Who reserved the block of a private attribute (PS3.5 §7.8.1); None: nobody did."""
    if int(tag[3], 16) % 2 == 0 or tag[4:6] == "00":
        return None
    name = f"{tag[:4]}00{tag[4:6]}"
    element = dataset.get(name) or dataset.get(name.lower())
    values = element.get("Value") if isinstance(element, dict) else None
    first = values[0] if isinstance(values, list) and values else None
    return first.strip() if isinstance(first, str) else None


@lru_cache(maxsize=8192)
def _keyword(tag: str) -> str:
    return dictionary.keyword(int(tag, 16))


def _known_vr(tag: str) -> str:
    """The VR of a tag that comes without one."""
    return vr_of(tag) if _keyword(tag) else "UN"

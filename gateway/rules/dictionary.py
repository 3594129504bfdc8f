"""The data dictionary (PS3.6 §6): tags, keywords, VRs and VMs of the standard's attributes.

It is pydicom's table, read without pydicom, which brings its decoders and numpy along: searches
need no more of it than this.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

_TABLE = "_dicom_dict"
_Entry = tuple[str, str, str, str, str]
"""VR, VM, name, whether it is retired, keyword."""


def _read() -> Any:
    """The module of pydicom that is nothing but the table."""
    package = find_spec("pydicom")
    folders = None if package is None else package.submodule_search_locations
    inside = PathFinder.find_spec(_TABLE, folders)
    if inside is None or inside.loader is None:
        raise ImportError(f"pydicom has no {_TABLE}")
    module = module_from_spec(inside)
    inside.loader.exec_module(module)
    return module


_table = _read()
_ENTRIES: Mapping[int, _Entry] = _table.DicomDictionary
_REPEATING: Mapping[tuple[int, int], _Entry] = {
    (int(tag.replace("x", "0"), 16), int("".join("0" if c == "x" else "F" for c in tag), 16)): entry
    for tag, entry in _table.RepeatersDictionary.items()
}
"""Entries of groups that repeat (PS3.5 §7.6), by what a tag must be under a mask."""
_TAGS: Mapping[str, int] = {entry[4]: tag for tag, entry in _ENTRIES.items()}


def vr(tag: int) -> str:
    """The VR of an attribute, or several as "US or SS"; KeyError: it is not in PS3.6."""
    return _entry(tag)[0]


def vm(tag: int) -> str:
    """How many values an attribute may have; KeyError: it is not in PS3.6."""
    return _entry(tag)[1]


def keyword(tag: int) -> str:
    """The keyword of an attribute; "" where it has none, or is not in PS3.6."""
    try:
        return _entry(tag)[4]
    except KeyError:
        return ""


def tag_of(name: str) -> int | None:
    """The tag of the attribute with a keyword; None: there is none. Groups do not repeat here."""
    return _TAGS.get(name)


@lru_cache(maxsize=4096)
def _entry(tag: int) -> _Entry:
    if (found := _ENTRIES.get(tag)) is not None:
        return found
    for (value, mask), entry in _REPEATING.items() if not tag >> 16 & 1 else ():
        if tag & mask == value:
            return entry
    raise KeyError(f"{tag:08X}")

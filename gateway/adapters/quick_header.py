"""The header of an ordinary file read without more work than its picture needs.

Only little endian, only the attributes asked for, nothing of undefined length on the way: whatever
is not ordinary is left to pydicom, which takes several times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag, Tag

from gateway.adapters.dicom_files import Opened, Pixels

_PIXELS = 0x7FE00008
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR"}) | {
    b"UT",
    b"UV",
}
_SHORT_HEAD, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<I")
_IMPLICIT_HEAD = struct.Struct("<HHI")
_Element = tuple[int, str | None, int, int]


def header_and_pixels(
    content: bytes, opened: Opened, tags: AbstractSet[int]
) -> tuple[Dataset, Pixels] | None:
    """The attributes `tags` and where the pixel data are; None: it takes pydicom to tell.

    `content` is the file that `opened` reads.
    """
    if not opened.is_little_endian:
        return None
    found: dict[BaseTag, DataElement | RawDataElement] = {}
    at = opened.start
    head = _implicit if opened.is_implicit else _explicit
    try:
        while True:
            tag, vr, start, length = head(content, at)
            if tag >= _PIXELS:
                return _read(found, opened), _pixels(tag, vr, start, length)
            if length == _UNDEFINED or start + length > len(content):
                return None
            if tag in tags:
                key = Tag(tag)
                found[key] = _element(key, vr, content[start : start + length], opened)
            at = start + length
    except (struct.error, ValueError):
        return None


def _read(found: dict[BaseTag, DataElement | RawDataElement], opened: Opened) -> Dataset:
    header = Dataset(found)
    header.set_original_encoding(opened.is_implicit, opened.is_little_endian)
    return header


def _pixels(tag: int, vr: str | None, start: int, length: int) -> Pixels:
    return Pixels(
        tag=tag, vr=vr or "OW", offset=start, length=None if length == _UNDEFINED else length
    )


def _explicit(content: bytes, at: int) -> _Element:
    """Tag, VR, where the value starts and its length (PS3.5 §7.1.2)."""
    group, element, vr, length = _SHORT_HEAD.unpack_from(content, at)
    if vr in _LONG:
        (length,) = _LENGTH.unpack_from(content, at + 8)
        at += 4
    elif not vr.isalpha():
        raise ValueError
    return group << 16 | element, vr.decode(), at + 8, length


def _implicit(content: bytes, at: int) -> _Element:
    """The same, without a VR (PS3.5 §7.1.3)."""
    group, element, length = _IMPLICIT_HEAD.unpack_from(content, at)
    return group << 16 | element, None, at + 8, length


def _element(
    tag: BaseTag, vr: str | None, value: bytes, opened: Opened
) -> DataElement | RawDataElement:
    """An element with its value where that is simple, else as it stands for pydicom to read."""
    kind = vr or dictionary_VR(tag)
    simple: object = None
    if kind == "US" and len(value) == 2:
        simple = value[0] | value[1] << 8
    elif kind in {"DS", "IS"} and value:
        numbers = [float(n) for n in value.decode("ascii").strip("\0 ").split("\\")]
        simple = numbers[0] if len(numbers) == 1 else numbers
    elif kind in {"CS", "UI"} and b"\\" not in value:
        simple = value.decode("ascii").strip("\0 ")
    if simple is None:
        implicit, little = opened.is_implicit, opened.is_little_endian
        return RawDataElement(tag, vr, len(value), value, 0, implicit, little, True)
    return DataElement(tag, kind, simple, already_converted=True)

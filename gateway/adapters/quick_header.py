"""The header of an ordinary file read without more work than its picture needs.

Only little endian with its file meta information, only the attributes of `picture_header`: whatever
is not ordinary is left to pydicom, which takes several times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag, Tag

from gateway.adapters.dicom_files import BIG_ENDIAN, DEFLATED, DIRECTORY, IMPLICIT, Pixels
from gateway.adapters.picture_header import KEYWORDS, Header

Buffer = bytes | memoryview
_UNDEFINED = 0xFFFFFFFF
_DEEPEST = 16
_EXPLICIT, _IMPLICIT, _LENGTH = struct.Struct("<IHH"), struct.Struct("<II"), struct.Struct("<I")


def _word(tag: int) -> int:
    """A tag as the number that its four bytes make in little endian."""
    return (tag & 0xFFFF) << 16 | tag >> 16


def _codes(names: str) -> dict[int, str]:
    """VRs by the numbers that their two bytes make."""
    return {int.from_bytes(name.encode(), "little"): name for name in names.split()}


_SHORT = _codes("AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US")
_LONG = _codes("OB OD OF OL OV OW SQ SV UC UN UR UT UV")
_SEQUENCE = int.from_bytes(b"SQ", "little")
_PIXELS = {_word(tag): tag for tag in (0x7FE00008, 0x7FE00009, 0x7FE00010)}
_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE = (_word(t) for t in (0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD))
_WANTED = {_word(tag): tag for tag in KEYWORDS}
_META_GROUP = b"\2\0"
_TRANSFER_SYNTAX, _MEDIA_CLASS = _word(0x00020010), _word(0x00020002)
_TAGS = {name: tag for tag, name in KEYWORDS.items()}
_Head = Callable[[Buffer, int], tuple[int, int, int, int]]
_Values = dict[int, tuple[str | None, bytes]]


class _Unusual(Exception):
    """It takes pydicom to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """What was read: the header, where the pixel data are, and how the file is encoded."""

    header: Header
    pixels: Pixels
    transfer_syntax: str


def read(content: Buffer) -> Quick | None:
    """The header and the place of the pixel data of a file; None: it takes pydicom to tell."""
    try:
        syntax, start = _meta(content)
        is_implicit = syntax == IMPLICIT
        values, pixels = _data_set(content, start, _implicit if is_implicit else _explicit)
    except (struct.error, ValueError, _Unusual):
        return None
    header = _header(values, is_implicit=is_implicit)
    return Quick(header=header, pixels=pixels, transfer_syntax=syntax)


def _meta(content: Buffer) -> tuple[str, int]:
    """The transfer syntax, and where the data set starts (PS3.10 §7.1)."""
    if bytes(content[128:132]) != b"DICM":
        raise _Unusual
    at, syntax = 132, ""
    while content[at : at + 2] == _META_GROUP:
        word, _, start, length = _explicit(content, at)
        at = start + length
        if word in {_TRANSFER_SYNTAX, _MEDIA_CLASS}:
            value = bytes(content[start:at]).decode("ascii").strip("\0 ")
            if value == DIRECTORY:
                raise _Unusual
            syntax = value if word == _TRANSFER_SYNTAX else syntax
    if not syntax or syntax in DEFLATED or syntax == BIG_ENDIAN:
        raise _Unusual
    return syntax, at


def _data_set(content: Buffer, at: int, head: _Head) -> tuple[_Values, Pixels]:
    """The attributes that are wanted, and where the pixel data are, which end them."""
    found: _Values = {}
    short, wanted, unpack = _SHORT if head is _explicit else {}, _WANTED, _EXPLICIT.unpack_from
    while True:
        word, vr, length = unpack(content, at)
        start = at + 8
        if vr not in short:  # nearly all are
            word, vr, start, length = head(content, at)
            if word in _PIXELS:
                return found, _pixels(word, vr, start, length)
        at = start + length
        if length == _UNDEFINED:
            at = _past_sequence(content, start, vr, head)
            length = at - _IMPLICIT.size - start
        if word in wanted:
            name = _LONG.get(vr) or _SHORT.get(vr)
            found[wanted[word]] = name, bytes(content[start : start + length])


def _pixels(word: int, vr: int, start: int, length: int) -> Pixels:
    held = None if length == _UNDEFINED else length
    return Pixels(tag=_PIXELS[word], vr=_LONG.get(vr) or "OW", offset=start, length=held)


def _past_sequence(content: Buffer, at: int, vr: int, head: _Head, depth: int = 0) -> int:
    """Where an element of undefined length ends, which is a sequence."""
    if vr not in {0, _SEQUENCE}:
        raise _Unusual
    return _past_items(content, at, head, depth)


def _past_items(content: Buffer, at: int, head: _Head, depth: int) -> int:
    """Where a sequence of undefined length ends (PS3.5 §7.5.2)."""
    if depth > _DEEPEST:
        raise _Unusual
    while True:
        word, length = _IMPLICIT.unpack_from(content, at)
        at += _IMPLICIT.size
        if word == _END_OF_SEQUENCE:
            return at
        if word != _ITEM:
            raise _Unusual
        at = _past_item(content, at, head, depth) if length == _UNDEFINED else at + length


def _past_item(content: Buffer, at: int, head: _Head, depth: int) -> int:
    """Where an item of undefined length ends."""
    while _LENGTH.unpack_from(content, at)[0] != _END_OF_ITEM:
        _, vr, start, length = head(content, at)
        at = start + length
        if length == _UNDEFINED:
            at = _past_sequence(content, start, vr, head, depth + 1)
    return at + _IMPLICIT.size


def _explicit(content: Buffer, at: int) -> tuple[int, int, int, int]:
    """Tag, VR, where the value starts and its length (PS3.5 §7.1.2)."""
    word, vr, length = _EXPLICIT.unpack_from(content, at)
    if vr in _SHORT:
        return word, vr, at + 8, length
    if vr not in _LONG:
        raise _Unusual
    return word, vr, at + 12, _LENGTH.unpack_from(content, at + 8)[0]


def _implicit(content: Buffer, at: int) -> tuple[int, int, int, int]:
    """The same, without a VR (PS3.5 §7.1.3)."""
    word, length = _IMPLICIT.unpack_from(content, at)
    return word, 0, at + 8, length


def _header(values: _Values, *, is_implicit: bool) -> Header:
    """The header of what was found, which is understood when it is asked for."""

    def dataset() -> Dataset:
        elements: dict[BaseTag, DataElement | RawDataElement] = {}
        for number, (vr, value) in values.items():
            tag = Tag(number)
            element = RawDataElement(tag, vr, len(value), value, 0, is_implicit, True, True)
            elements[tag] = element
        made = Dataset(elements)
        made.set_original_encoding(is_implicit, True)
        return made

    def understood(keyword: str) -> Any:
        tag = _TAGS.get(keyword, 0)
        if tag not in values:
            return None
        vr, value = values[tag]
        try:
            simple = _simple(vr or dictionary_VR(tag), value)
        except ValueError:
            simple = None
        return header.dataset.get(keyword) if simple is None else simple

    header = Header(understood, dataset)
    return header


def _simple(vr: str, value: bytes) -> object:
    """A value where it is simple; None where pydicom is to read it."""
    if vr == "US" and len(value) == 2:
        return value[0] | value[1] << 8
    if vr in {"DS", "IS"} and value:
        numbers = [float(n) for n in value.decode("ascii").strip("\0 ").split("\\")]
        return numbers[0] if len(numbers) == 1 else numbers
    if vr in {"CS", "UI"} and b"\\" not in value:
        return value.decode("ascii").strip("\0 ")
    return None

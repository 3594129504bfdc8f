"""DICOM files that cost those who read them more than they are worth."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pydicom

from tests import odd_images

CT = Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm"
UNDEFINED = b"\xff\xff\xff\xff"
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_REQUESTS = b"\x40\x00\x75\x02SQ\0\0"
"""Request Attributes Sequence (0040,0275), which an index reads."""


def ordinary() -> bytes:
    return CT.read_bytes()


def before_group_40(element: bytes) -> bytes:
    """An ordinary file with one element more where it belongs."""
    whole = ordinary()
    at = whole.index(b"\xe0\x7f\x10\x00OW")
    return whole[:at] + element + whole[at:]


def many_items(count: int) -> bytes:
    """Empty items that take a while each."""
    return before_group_40(_REQUESTS + UNDEFINED + (_ITEM + b"\0\0\0\0") * count + _END)


def nested(depth: int) -> bytes:
    """Sequences within sequences, none of which ends."""
    return before_group_40((_REQUESTS + UNDEFINED + _ITEM + UNDEFINED) * depth)


def nested_and_closed(depth: int) -> bytes:
    """Sequences within sequences of known length, which are read no sooner than wanted."""
    inner = b""
    for _ in range(depth):
        item = _ITEM + struct.pack("<I", len(inner)) + inner
        inner = _REQUESTS + struct.pack("<I", len(item)) + item
    return before_group_40(inner)


def deflate_bomb(size: int = 90 << 20) -> bytes:
    """A small file that is large once it is inflated."""
    return odd_images.file(odd_images.DEFLATED, b"\0" * size)


def deflated_header(size: int = 300 << 20) -> bytes:
    """The same in an element of the header."""
    plain = odd_images.file(odd_images.DEFLATED, b"\0" * 64)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    element = b"\x08\x00\x30\x10UT\0\0" + struct.pack("<I", size)
    packed = deflater.compress(element)
    for _ in range(size >> 20):
        packed += deflater.compress(b"a" * (1 << 20))
    start = 132 + 12 + int.from_bytes(plain[140:144], "little")
    return plain[:start] + packed + deflater.flush()


def lying_length() -> bytes:
    """An element that says to be longer than any file."""
    return before_group_40(b"\x40\x00\x80\x02UT\0\0\xfe\xff\xff\x7f")

"""The bytes of one frame of an ordinary file, found without copying the others.

Whatever is not ordinary (bits that do not fill their bytes, frames without offsets that are in
several fragments, extended offsets) is left to pydicom.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

from gateway.adapters.dicom_files import Pixels
from gateway.adapters.picture_header import Header, samples_stored
from gateway.adapters.quick_header import Buffer

_ITEM, _END_OF_SEQUENCE = 0xE000FFFE, 0xE0DDFFFE
_HEAD = struct.Struct("<II")
_MOST_FRAGMENTS = 100_000
_Fragment = tuple[int, int]


def stored(
    content: Buffer, header: Header, pixels: Pixels, index: int, count: int
) -> Buffer | None:
    """Frame `index` (from 0) of `count` as it is stored; None: it takes pydicom to tell.

    A native one is a view of `content`.
    """
    try:
        if pixels.length is None:
            return _compressed(content, header, pixels.offset, index, count)
        return _native(content, header, pixels, index, count)
    except (TypeError, ValueError, struct.error):
        return None


def _native(
    content: Buffer, header: Header, pixels: Pixels, index: int, count: int
) -> Buffer | None:
    bits = _frame_bits(header, count, pixels.length or 0)
    first, last = index * bits // 8, (index + 1) * bits // 8
    is_whole = bits % 8 == 0 and last <= (pixels.length or 0)
    if not is_whole or pixels.offset + last > len(content):
        return None
    return content[pixels.offset + first : pixels.offset + last]


def _frame_bits(header: Header, count: int, length: int) -> int:
    bits = int(header.get("Rows")) * int(header.get("Columns")) * int(header.get("BitsAllocated"))
    return bits * samples_stored(header, count, length)


def _compressed(content: Buffer, header: Header, at: int, index: int, count: int) -> bytes | None:
    """A frame out of fragments (PS3.5 §A.4), the first of which has the frames' offsets."""
    if header.get("ExtendedOffsetTable") is not None:
        return None
    offsets, fragments = _offsets(content, at)
    own: Sequence[_Fragment] = ()
    if count == 1:
        own = fragments
    elif len(offsets) == count:
        own = _between(fragments, offsets, index)
    if not own and len(fragments) == count and not (offsets and any(offsets)):
        own = fragments[index : index + 1]
    return b"".join(content[start : start + length] for start, length in own) if own else None


def present(content: Buffer, header: Header, pixels: Pixels, told: int) -> int:
    """How many of the frames that the header tells are there; all where it takes more to tell."""
    try:
        if pixels.length is None:
            offsets, fragments = _offsets(content, pixels.offset)
            found = len(offsets if any(offsets) else fragments)
        else:
            bits = _frame_bits(header, told, pixels.length)
            found = pixels.length * 8 // bits
    except (ArithmeticError, TypeError, ValueError, struct.error):
        return told
    return min(told, found) or told


def _offsets(content: Buffer, at: int) -> tuple[tuple[int, ...], list[_Fragment]]:
    """The offsets of the frames, as far as they are told, and the fragments."""
    (start, length), *fragments = _fragments(content, at)
    return struct.unpack_from(f"<{length // 4}I", content, start), fragments


def _between(
    fragments: Sequence[_Fragment], offsets: Sequence[int], index: int
) -> Sequence[_Fragment]:
    """The fragments from one frame's offset up to the next one's; none where they do not fit."""
    if not fragments or any(first >= second for first, second in pairwise(offsets)):
        return ()
    base = fragments[0][0]
    first, *after = offsets[index : index + 2]
    starts = [start - base for start, _ in fragments]
    if first not in starts or any(a not in starts for a in after):
        return ()
    return fragments[starts.index(first) : starts.index(after[0]) if after else None]


def _fragments(content: Buffer, at: int) -> list[_Fragment]:
    """Where the items are, and how long; ValueError where they are not as they should be."""
    found: list[_Fragment] = []
    while len(found) < _MOST_FRAGMENTS:
        word, length = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        if word == _END_OF_SEQUENCE and found:
            return found
        if word != _ITEM or at + length > len(content):
            raise ValueError
        found.append((at, length))
        at += length
    raise ValueError

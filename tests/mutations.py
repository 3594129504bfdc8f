"""DICOM files gone wrong in every way that is easily thought of, the same ones for each number."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import UID

from tests import hostile_files, odd_images

_SMALLEST, _LARGEST = 200, 300_000
_ROWS, _COLUMNS = b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"
_LENGTHS = (0, 1, 0xFF, 0xFFFF, 0x7FFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF)
_Change = Callable[[random.Random, bytearray], bytearray]


@cache
def originals() -> Sequence[bytes]:
    """pydicom's files and one picture in each encoding, those of them that are small."""
    kinds = (_in_a_study(c) for files in odd_images.KINDS.values() for c in files().values())
    pydicoms = (path.read_bytes() for path in sorted(odd_images.FILES.glob("*.dcm")))
    return [content for content in (*kinds, *pydicoms) if len(content) < _LARGEST]


def _in_a_study(content: bytes) -> bytes:
    """A file with the UIDs that an archive needs, where it can be written anew."""
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4.5", "1.2.3.4.6"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.100000")
    written = io.BytesIO()
    try:
        dataset.save_as(written)
    except (ValueError, KeyError):
        return content
    return written.getvalue()


@cache
def bombs() -> Sequence[bytes]:
    """Files that are made to cost much."""
    picture = io.BytesIO()
    Image.fromarray(np.zeros((20_000, 20_000), np.uint8)).save(picture, "PNG", compress_level=1)
    return (
        hostile_files.deflate_bomb(),
        hostile_files.deflated_header(),
        hostile_files.nested(300),
        hostile_files.nested(20_000),
        hostile_files.nested_and_closed(300),
        hostile_files.lying_length(),
        hostile_files.many_items(100_000),
        odd_images.file(odd_images.EXPLICIT, b"\0" * 64, Rows=65535, Columns=65535),
        odd_images.compressed(odd_images.JPEG + "50", picture.getvalue()),
        b"",
    )


def mutated(number: int, every_bomb: int = 500) -> bytes:
    """File `number`, under a SOP Instance UID of its own where it has one that is long enough."""
    chance = random.Random(number)  # noqa: S311  any sequence will do
    if number % every_bomb == 0:
        content = bytearray(bombs()[number // every_bomb % len(bombs())])
    else:
        content = bytearray(chance.choice(originals()))
    content = _renumbered(content, number)
    if number % every_bomb:
        for _ in range(chance.choice((1, 1, 2, 3))):
            if len(content) > _SMALLEST:
                content = chance.choice(_CHANGES)(chance, content)
    return bytes(content)


def _renumbered(content: bytearray, number: int) -> bytearray:
    """All copies of the SOP Instance UID with other digits, as many as before."""
    at = content.find(b"\x08\x00\x18\x00UI")
    if at < 0:
        return content
    (size,) = struct.unpack_from("<H", content, at + 6)
    uid = bytes(content[at + 8 : at + 8 + size]).rstrip(b"\0")
    return content.replace(uid, f"1.2.{10 ** (len(uid) - 5) + number}".encode()[: len(uid)])


def _bytes_anywhere(chance: random.Random, content: bytearray) -> bytearray:
    for _ in range(chance.choice((1, 5, 50))):
        content[chance.randrange(min(132, len(content) - 1), len(content))] = chance.randrange(256)
    return content


def _bytes_of_the_header(chance: random.Random, content: bytearray) -> bytearray:
    for _ in range(chance.choice((1, 3, 10))):
        content[chance.randrange(132, min(len(content), 3000))] = chance.randrange(256)
    return content


def _bytes_of_the_pixels(chance: random.Random, content: bytearray) -> bytearray:
    at = max(content.find(b"\xe0\x7f\x10\x00"), 0) + 12
    for _ in range(chance.choice((1, 3, 30))):
        content[chance.randrange(min(at, len(content) - 1), len(content))] ^= 1 << chance.randrange(
            8
        )
    return content


def _cut(chance: random.Random, content: bytearray) -> bytearray:
    return content[: chance.randrange(140, len(content))]


def _doubled(chance: random.Random, content: bytearray) -> bytearray:
    at, size = chance.randrange(len(content)), chance.randrange(1, 4000)
    return content[: at + size] + content[at:]


def _left_out(chance: random.Random, content: bytearray) -> bytearray:
    at = chance.randrange(132, len(content))
    del content[at : at + chance.randrange(1, 40)]
    return content


def _other_length(chance: random.Random, content: bytearray) -> bytearray:
    at = chance.randrange(132, len(content) - 4)
    content[at : at + 4] = struct.pack("<I", chance.choice(_LENGTHS))
    return content


def _huge(chance: random.Random, content: bytearray) -> bytearray:
    for tag in (_ROWS, _COLUMNS):
        if (at := content.find(tag)) >= 0:
            size = chance.choice((0, 1, 4095, 8191, 32767, 65535))
            content[at + 8 : at + 10] = struct.pack("<H", size)
    return content


def _other_syntax(chance: random.Random, content: bytearray) -> bytearray:
    old, new = chance.choice(((b".4.50", b".4.80"), (b".4.90", b".4.70"), (b".2.5\0", b".2.2\0")))
    return content.replace(old, new, 1)


_CHANGES: Sequence[_Change] = (
    _bytes_anywhere,
    _bytes_of_the_header,
    _bytes_of_the_pixels,
    _cut,
    _doubled,
    _left_out,
    _other_length,
    _huge,
    _other_syntax,
)

"""What is cut out of a DICOM file: frames, bulk data, and the whole in another encoding."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import generate_fragments, get_frame
from pydicom.filereader import read_dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from gateway.adapters.dicom_files import (
    DEFLATED,
    EXPLICIT,
    NATIVE,
    PREAMBLE,
    Opened,
    Pixels,
    Unusable,
    pixel_element,
    read,
    unambiguous,
)
from gateway.adapters.picture_header import samples_stored
from gateway.errors import NotAcceptable, NotFound

MAX_CONVERTED_BYTES = 256 * 2**20
_PIXEL_DATA = 0x7FE00010
_T = TypeVar("_T")
_SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


class Frames:
    """The frames of one file, each read when asked for."""

    def __init__(self, opened: Opened, pixels: Pixels, header: Dataset | None = None) -> None:
        """`header`: the data set where it has been read already."""
        self._opened = opened
        self._pixels = pixels
        self._header = read(opened, _FRAME_TAGS) if header is None else header
        self.count = max(1, int(self._header.get("NumberOfFrames") or 1))

    def read(self, number: int) -> bytes:
        """Frame `number` (1-based): native ones in little endian, compressed ones as stored."""
        if self._pixels.length is None:
            return self._compressed(number)
        bits = self._frame_bits()
        first, last = (number - 1) * bits, number * bits
        if (last + 7) // 8 > self._pixels.length:
            raise Unusable("has fewer pixels than its header says")
        content = self._little_endian(first // 8, (last + 7) // 8)
        if bits % 8:
            shifted = int.from_bytes(content, "little") >> first % 8
            return (shifted & ((1 << bits) - 1)).to_bytes((bits + 7) // 8, "little")
        return content

    def _little_endian(self, first: int, last: int) -> bytes:
        """The bytes from `first` up to `last` of the pixel data, in little endian."""
        little = self._opened.is_little_endian
        word = 1 if little else pixel_word(self._header, self._pixels.vr)
        start = first - first % word
        self._opened.stream.seek(self._pixels.offset + start)
        content = _exactly(self._opened.stream, last + -last % word - start)
        return swapped(content, word)[first - start :][: last - first]

    def _frame_bits(self) -> int:
        header = self._header
        size = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated)
        return size * samples_stored(header, self.count, self._pixels.length or 0)

    def _compressed(self, number: int) -> bytes:
        self._opened.stream.seek(self._pixels.offset)
        offsets = self._header.get("ExtendedOffsetTable")
        lengths = self._header.get("ExtendedOffsetTableLengths")
        return get_frame(
            self._opened.stream,
            number - 1,
            extended_offsets=(offsets, lengths) if offsets and lengths else None,
            number_of_frames=self.count,
        )


def frames(opened: Opened) -> Frames | None:
    """The frames of a file; None when it has no pixel data."""
    pixels = pixel_element(opened)
    return None if pixels is None else Frames(opened, pixels)


_FRAME_TAGS = (
    0x00280002,
    0x00280004,
    0x00280008,
    0x00280010,
    0x00280011,
    0x00280100,
    0x7FE00001,
    0x7FE00002,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """A value: `content`, or, when that is None, `length` bytes of the file from `offset` on."""

    content: bytes | None
    offset: int = 0
    length: int = 0


def bulk(opened: Opened, path: Sequence[str]) -> Bulk:
    """The bytes of the element at `path` (tag, item, tag, …) in little endian.

    Compressed pixel data give the bit stream of a video or a single frame; of several frames they
    are NotAcceptable. NotFound: there is no such element.
    """
    pixels = pixel_element(opened) if len(path) == 1 else None
    if pixels is not None and path[0].upper() == f"{pixels.tag:08X}":
        return _bulk_pixels(opened, pixels)
    dataset = read(opened)
    for tag, number in zip(path[:-1:2], path[1::2], strict=True):
        element = dataset.get(int(tag, 16))
        items = element.value if element is not None and element.VR == "SQ" else ()
        if int(number) >= len(items):
            raise NotFound("bulk data not found")
        dataset = items[int(number)]
    last = int(path[-1], 16)
    if last not in dataset:
        raise NotFound("bulk data not found")
    return Bulk(content=_raw_value(dataset, last, is_little_endian=opened.is_little_endian))


def _bulk_pixels(opened: Opened, pixels: Pixels) -> Bulk:
    if pixels.length is None:
        if Frames(opened, pixels).count > 1 and not is_video(opened.transfer_syntax):
            raise NotAcceptable("compressed pixel data are retrieved by frame")
        opened.stream.seek(pixels.offset)
        _, *fragments = generate_fragments(opened.stream)
        return Bulk(content=b"".join(fragments))
    if opened.is_little_endian and opened.transfer_syntax not in DEFLATED:
        return Bulk(content=None, offset=pixels.offset, length=pixels.length)
    opened.stream.seek(pixels.offset)
    content = _exactly(opened.stream, pixels.length)
    if opened.is_little_endian:
        return Bulk(content=content)
    return Bulk(content=swapped(content, pixel_word(read(opened, _FRAME_TAGS), pixels.vr)))


def _raw_value(dataset: Dataset, tag: int, *, is_little_endian: bool) -> bytes:
    """An element's value as it is encoded in little endian."""
    element = dataset[tag]
    if isinstance(element.value, bytes):
        return swapped(element.value, 1 if is_little_endian else _SWAPPED.get(element.VR, 1))
    alone = Dataset()
    alone.add(unambiguous(dataset, tag, is_little_endian=is_little_endian))
    written = io.BytesIO()
    dcmwrite(written, alone, implicit_vr=True, little_endian=True)
    return written.getvalue()[8:]


def check_transfer_syntax(stored: str, wanted: str, *, is_frame: bool) -> None:
    """NotAcceptable unless what is `stored` so can be given in the transfer syntax `wanted`."""
    if is_frame and is_video(stored):
        raise NotAcceptable(f"frames cannot be cut out of the video {stored}")
    if wanted in {"*", stored} or (wanted == EXPLICIT and stored in NATIVE):
        return
    raise NotAcceptable(f"transfer syntax {wanted} cannot be made from the stored {stored}")


def is_video(transfer_syntax: str) -> bool:
    """Whether all frames are one bit stream (MPEG-2, MPEG-4, HEVC)."""
    return media_type(transfer_syntax).startswith("video/")


def as_explicit(opened: Opened) -> bytes:
    """A native file in Explicit VR Little Endian; Unusable when it is too large to convert."""
    if opened.stream.seek(0, io.SEEK_END) - opened.start > MAX_CONVERTED_BYTES:
        raise Unusable("is too large to convert")
    opened.stream.seek(opened.start)
    dataset = read_dataset(opened.stream, opened.is_implicit, opened.is_little_endian)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(EXPLICIT)
    if not opened.is_little_endian:
        _swap_all(dataset)
    whole = FileDataset(
        io.BytesIO(), dataset, PREAMBLE[:128], meta, opened.is_implicit, is_little_endian=True
    )
    written = io.BytesIO()
    dcmwrite(written, whole, enforce_file_format=True)
    return written.getvalue()


def _swap_all(dataset: Dataset) -> None:
    """Turn the words of binary values round: pydicom leaves them as they are in the file."""
    for element in dataset.iterall():
        if isinstance(element.value, bytes):
            word = _SWAPPED.get(element.VR, 1)
            if element.tag == _PIXEL_DATA:
                word = pixel_word(dataset, element.VR)
            element.value = swapped(element.value, word)


def pixel_word(header: Dataset, vr: str) -> int:
    """Bytes that big endian turns round in pixel data: a whole sample, and two at least in OW."""
    return max(int(header.get("BitsAllocated") or 8) // 8, _SWAPPED.get(vr, 1))


def swapped(content: bytes, size: int) -> bytes:
    """`content` with the bytes of each word of `size` turned round."""
    if size <= 1:
        return content
    turned = bytearray(content)
    for position in range(size):
        turned[position::size] = content[size - 1 - position :: size][: len(turned[position::size])]
    return bytes(turned)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    content = stream.read(length)
    if len(content) != length:
        raise EOFError("the file is shorter than it says")
    return content


_JPEG, _JLS, _JP2, _JPX = "image/jpeg", "image/jls", "image/jp2", "image/jpx"
_JPHC, _JXL, _MPEG, _MP4 = "image/jphc", "image/jxl", "video/mpeg", "video/mp4"


def _table(root: str, kinds: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {f"{root}.{arc}": kind for kinds_arcs, kind in kinds for arc in kinds_arcs.split()}


_MEDIA_TYPES = _table(
    "1.2.840.10008.1.2.4",
    (
        ("50 51 57 70", _JPEG),
        ("80 81", _JLS),
        ("90 91", _JP2),
        ("92 93", _JPX),
        ("201 202 203", _JPHC),
        ("110 111 112", _JXL),
        ("100 100.1 101 101.1", _MPEG),
        ("102 102.1 103 103.1 104 104.1 105 105.1 106 106.1 107 108", _MP4),
    ),
) | {"1.2.840.10008.1.2.5": "image/dicom-rle"}


def media_type(transfer_syntax: str) -> str:
    """The media type of frames stored in a transfer syntax (PS3.18 §8.7.3)."""
    return _MEDIA_TYPES.get(transfer_syntax, "application/octet-stream")


def bulk_type(transfer_syntax: str, path: Sequence[str]) -> str:
    """Content-Type of the element at `path`: what is compressed in it, else octets."""
    is_pixels = len(path) == 1 and path[0].upper() == "7FE00010"
    return media_type(transfer_syntax) if is_pixels else "application/octet-stream"


def frame_type(transfer_syntax: str) -> str:
    """Content-Type of a frame: native ones are answered in Explicit VR Little Endian."""
    shown = EXPLICIT if transfer_syntax in NATIVE else transfer_syntax
    return f"{media_type(transfer_syntax)}; transfer-syntax={shown}"

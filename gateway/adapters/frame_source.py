"""The one frame that is drawn: its header, its stored bytes, and how these are encoded.

It comes out of a whole DICOM file, or of the metadata and the frame that an archive gave apart.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from gateway.adapters import dicom_files, dicom_parts, quick_header
from gateway.adapters.dicom_files import Pixels

MAX_PIXELS = 64 * 2**20
"""Pixels of one frame, or of a picture, that are decoded at the most."""
NO_SUCH_FRAME = "there is no such frame"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_NATIVE_IN_FRAGMENTS = "1.2.840.10008.1.2.1.98"
_MAX_HEADER_DEPTH = 100

KEYWORDS = (
    "SOPClassUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelAspectRatio",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleIntercept",
    "RescaleSlope",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
TAGS = frozenset(tag for keyword in KEYWORDS if (tag := tag_for_keyword(keyword)) is not None)


class Undrawable(Exception):
    """There is nothing to draw, or it will not be tried; says why, without patient data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame as stored; `index` from 0, `word` the tag of the element that it was in.

    Native pixels are little endian, and in `syntax` None whatever the file's was.
    """

    header: Dataset
    index: int
    syntax: str | None
    content: bytes
    is_float: bool = False


def of_file(content: bytes | memoryview, wanted: int | None) -> Frame:
    """Frame `wanted` (1-based; None: the middle one) of a DICOM file. Undrawable."""
    content = bytes(content)
    opened = dicom_files.open_dicom(io.BytesIO(content), is_named_dicom=True)
    header, pixels = _header_and_pixels(content, opened)
    if dicom_parts.is_video(opened.transfer_syntax):
        raise Undrawable("a video is not drawn")
    if pixels is None:
        raise Undrawable("there are no pixel data")
    index = _index(header, wanted)
    check_size(header)
    found = dicom_parts.Frames(opened, pixels, _counted(header))
    try:
        stored = found.read(index + 1)
    except dicom_files.Unusable as error:
        raise Undrawable(f"the file {error}") from error
    syntax = opened.transfer_syntax if pixels.length is None else None
    is_float = pixels.tag != 0x7FE00010
    return _plain(Frame(header=header, index=index, syntax=syntax, content=stored), is_float)


def _header_and_pixels(content: bytes, opened: dicom_files.Opened) -> tuple[Dataset, Pixels | None]:
    """The header as far as it is needed, and where the pixels are."""
    found = None
    if opened.transfer_syntax not in dicom_files.DEFLATED:
        found = quick_header.header_and_pixels(content, opened, TAGS)
    if found is not None:
        return found
    return dicom_files.header_and_pixels(opened, tuple(TAGS))


def of_parts(metadata: bytes, frame: bytes, syntax: str, wanted: int) -> Frame:
    """Frame `wanted` (1-based) out of its instance's metadata and of the frame itself."""
    header = _from_json(orjson.loads(metadata))
    index = _index(header, wanted)
    check_size(header)
    is_native = syntax in dicom_files.NATIVE
    word = header.get("BitsAllocated")
    is_float = is_native and word in {32, 64} and "PixelRepresentation" not in header
    stored = None if is_native else syntax
    return _plain(Frame(header=header, index=index, syntax=stored, content=frame), is_float)


def _plain(frame: Frame, is_float: bool) -> Frame:  # noqa: FBT001 - one caller's word
    """The frame without an encapsulation that compresses nothing, or deflates."""
    syntax, content = frame.syntax, frame.content
    if syntax == DEFLATED_FRAMES:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(content, dicom_files.MAX_INFLATED_BYTES)
        syntax = None
    if syntax == _NATIVE_IN_FRAGMENTS:
        syntax = None
    return Frame(
        header=frame.header,
        index=frame.index,
        syntax=syntax,
        content=content,
        is_float=is_float,
    )


def number(dataset: Dataset, keyword: str, default: float) -> float:
    """The first value of an attribute as a finite number, else `default`."""
    value = dataset.get(keyword)
    if isinstance(value, list) or (hasattr(value, "__getitem__") and not isinstance(value, str)):
        value = value[0] if len(value) else None
    try:
        found = float(value) if value is not None else default
    except (TypeError, ValueError):
        return default
    return found if abs(found) < float("inf") else default


def whole(dataset: Dataset, keyword: str, default: int) -> int:
    """The first value of an attribute as a whole number, else `default`."""
    return int(number(dataset, keyword, default))


def group(frame: Frame, sequence: str, keyword: str) -> Dataset:
    """Where `keyword` is: the object, or the frame's or the shared functional group's item."""
    header = frame.header
    if keyword in header:
        return header
    frames = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for groups in (*frames[frame.index : frame.index + 1], *shared[:1]):
        items = groups.get(sequence) or ()
        if items and keyword in items[0]:
            found: Dataset = items[0]
            return found
    return header


def _counted(header: Dataset) -> Dataset:
    """The header with a number of frames that is one, where it has any."""
    if "NumberOfFrames" in header:
        header.NumberOfFrames = _count(header)
    return header


def _count(header: Dataset) -> int:
    return max(1, whole(header, "NumberOfFrames", 1))


def _index(header: Dataset, wanted: int | None) -> int:
    """The frame's index, from 0."""
    count = _count(header)
    if wanted is None:
        return count // 2
    if not 1 <= wanted <= count:
        raise Undrawable(NO_SUCH_FRAME)
    return wanted - 1


def check_size(header: Dataset) -> None:
    """Undrawable unless the header's dimensions are those of an image that can be held."""
    rows, columns = whole(header, "Rows", 0), whole(header, "Columns", 0)
    samples = whole(header, "SamplesPerPixel", 1)
    if rows < 1 or columns < 1 or samples not in {1, 3, 4}:
        raise Undrawable("the header's dimensions make no image")
    if rows * columns * samples > MAX_PIXELS:
        raise Undrawable("the image is too large")


def _from_json(row: Mapping[str, Any]) -> Dataset:
    """The header out of DICOM JSON; Undrawable where what is needed is not in it but apart."""
    wanted = {f"{tag:08X}" for tag in TAGS}
    kept = {tag.upper(): element for tag, element in row.items() if tag.upper() in wanted}
    _check_whole(kept, 0)
    return Dataset.from_json(kept)


def _check_whole(row: Mapping[str, Any], depth: int) -> None:
    if depth > _MAX_HEADER_DEPTH:
        raise Undrawable("its sequences are nested too deep")
    for element in row.values():
        if "BulkDataURI" in element:
            raise Undrawable("a table that it needs is not in its metadata")
        if element.get("vr") == "SQ":
            for item in element.get("Value") or ():
                _check_whole(item, depth + 1)

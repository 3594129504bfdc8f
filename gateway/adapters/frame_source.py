"""The one frame that is drawn: its header, its stored bytes, and how these are encoded.

It comes out of a whole DICOM file, or of the metadata and the frame that an archive gave apart.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import orjson
from pydicom import Dataset

from gateway.adapters import dicom_files, dicom_parts, quick_frame, quick_header
from gateway.adapters.picture_header import KEYWORDS, Attributes, Header
from gateway.adapters.quick_header import Buffer, Quick

MAX_PIXELS = 64 * 2**20
"""Pixels of one frame, or of a picture, that are decoded at the most."""
NO_SUCH_FRAME = "there is no such frame"
A_VIDEO = "a video is not drawn"
_PIXEL_DATA = 0x7FE00010
_SIMPLE_VRS, _NOT_SIMPLE = frozenset({"CS", "DS", "IS", "SS", "UI", "US"}), object()
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_NATIVE_IN_FRAGMENTS = "1.2.840.10008.1.2.1.98"
_MAX_HEADER_DEPTH = 100
_MOST_LOOKED_AT = 10_000
"""Frames that are looked at to find one that tells something."""


class Undrawable(Exception):
    """There is nothing to draw, or it will not be tried; says why, without patient data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame as stored; `index` from 0.

    Native pixels are little endian, and in `syntax` None whatever the file's was.
    """

    header: Header
    index: int
    syntax: str | None
    content: Buffer
    is_float: bool = False

    @property
    def encoded(self) -> bytes:
        """The content as decoders take it."""
        return bytes(self.content)


_Telling = Callable[[Frame], bool]
_Found = TypeVar("_Found", Frame, Frame | None)


def of_file(content: Buffer, wanted: int | None, is_telling: _Telling = lambda _: True) -> Frame:
    """Frame `wanted` (1-based) of a DICOM file. Undrawable.

    None: the one nearest to the middle that `is_telling`, else the middle one of those there are.
    """
    quick = quick_header.read(content)
    found = None if quick is None else _quickly(content, quick, wanted, is_telling)
    return _by_pydicom(bytes(content), wanted, is_telling) if found is None else found


def _quickly(
    content: Buffer, quick: Quick, wanted: int | None, is_telling: _Telling
) -> Frame | None:
    """The frame of an ordinary file; None: it is not one. Undrawable."""
    header, pixels = quick.header, quick.pixels
    _check(header, quick.transfer_syntax)
    count = count_of(header)
    if wanted is None and count > 1:
        count = quick_frame.present(content, header, pixels, count)
    syntax = quick.transfer_syntax if pixels.length is None else None

    def frame(index: int) -> Frame | None:
        stored = quick_frame.stored(content, header, pixels, index, count)
        if stored is None:
            return None
        made = Frame(header=header, index=index, syntax=syntax, content=stored)
        return _plain(made, pixels.tag != _PIXEL_DATA)

    return _first(count, wanted, frame, is_telling)


def _by_pydicom(content: bytes, wanted: int | None, is_telling: _Telling) -> Frame:
    opened = dicom_files.open_dicom(io.BytesIO(content), is_named_dicom=True)
    dataset, pixels = dicom_files.header_and_pixels(opened, tuple(KEYWORDS))
    header = Header.of(dataset)
    if pixels is None:
        raise Undrawable("there are no pixel data")
    _check(header, opened.transfer_syntax)
    count = count_of(header)
    if "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = count
    frames = dicom_parts.Frames(opened, pixels, dataset)
    if wanted is None and count > 1 and pixels.length is not None:
        count = quick_frame.present(b"", header, pixels, count)
    syntax = opened.transfer_syntax if pixels.length is None else None

    def frame(index: int) -> Frame:
        try:
            stored = frames.read(index + 1)
        except dicom_files.Unusable as error:
            raise Undrawable(f"the file {error}") from error
        made = Frame(header=header, index=index, syntax=syntax, content=stored)
        return _plain(made, pixels.tag != _PIXEL_DATA)

    return _first(count, wanted, frame, is_telling)


def _first(
    count: int, wanted: int | None, frame: Callable[[int], _Found], is_telling: _Telling
) -> _Found:
    """The frame `wanted` of `count`, else the first from the middle on that tells something."""
    middle = frame(_index(count, wanted))
    if middle is None or wanted is not None or is_telling(middle):
        return middle
    for index in islice(_outward(count), _MOST_LOOKED_AT):
        other = frame(index)
        if other is not None and is_telling(other):
            return other
    return middle


def _outward(count: int) -> Iterator[int]:
    """All indices but the middle one, the nearest to it first."""
    middle = count // 2
    for distance in range(1, middle + 1):
        if middle + distance < count:
            yield middle + distance
        yield middle - distance


def _check(header: Header, syntax: str) -> None:
    """Undrawable unless it can be drawn."""
    _check_still(syntax)
    check_size(header)


def _check_still(syntax: str) -> None:
    if dicom_parts.is_video(syntax):
        raise Undrawable(A_VIDEO)


def of_parts(metadata: Buffer, frame: Buffer, syntax: str, wanted: int) -> Frame:
    """Frame `wanted` (1-based) out of its instance's metadata and of the frame itself."""
    _check_still(syntax)
    header = _from_json(orjson.loads(metadata))
    index = _index(count_of(header), wanted)
    check_size(header)
    is_native = syntax in dicom_files.NATIVE
    word, sign = header.get("BitsAllocated"), header.get("PixelRepresentation")
    is_float = is_native and word in {32, 64} and sign is None
    stored, content = (None, frame) if is_native else (syntax, bytes(frame))
    return _plain(Frame(header=header, index=index, syntax=stored, content=content), is_float)


def _plain(frame: Frame, is_float: bool) -> Frame:  # noqa: FBT001 - one caller's word
    """The frame without an encapsulation that compresses nothing, or deflates."""
    if is_float:
        frame = replace(frame, is_float=True)
    if frame.syntax == DEFLATED_FRAMES:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(frame.content, dicom_files.MAX_INFLATED_BYTES)
        return replace(frame, syntax=None, content=content)
    return replace(frame, syntax=None) if frame.syntax == _NATIVE_IN_FRAGMENTS else frame


def number(attributes: Attributes, keyword: str, default: float) -> float:
    """The first value of an attribute as a finite number, else `default`."""
    value = attributes.get(keyword)
    if value is None:
        return default
    if isinstance(value, list) or (hasattr(value, "__getitem__") and not isinstance(value, str)):
        value = value[0] if len(value) else None
    try:
        found = float(value) if value is not None else default
    except (TypeError, ValueError):
        return default
    return found if abs(found) < float("inf") else default


def whole(attributes: Attributes, keyword: str, default: int) -> int:
    """The first value of an attribute as a whole number, else `default`."""
    value = attributes.get(keyword)
    return value if value.__class__ is int else int(number(attributes, keyword, default))


def group(frame: Frame, sequence: str, keyword: str) -> Attributes:
    """Where `keyword` is: the object, or the frame's or the shared functional group's item."""
    header = frame.header
    if header.get(keyword) is not None:
        return header
    frames = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for groups in (*frames[frame.index : frame.index + 1], *shared[:1]):
        items = groups.get(sequence) or ()
        if items and keyword in items[0]:
            found: Attributes = items[0]
            return found
    return header


def count_of(header: Header) -> int:
    """How many frames there are."""
    return max(1, whole(header, "NumberOfFrames", 1))


def _index(count: int, wanted: int | None) -> int:
    """The frame's index, from 0."""
    if wanted is None:
        return count // 2
    if not 1 <= wanted <= count:
        raise Undrawable(NO_SUCH_FRAME)
    return wanted - 1


def check_size(header: Header) -> None:
    """Undrawable unless the header's dimensions are those of an image that can be held."""
    rows, columns = whole(header, "Rows", 0), whole(header, "Columns", 0)
    samples = whole(header, "SamplesPerPixel", 1)
    if rows < 1 or columns < 1 or samples not in {1, 3, 4}:
        raise Undrawable("the header's dimensions make no image")
    if rows * columns * samples > MAX_PIXELS:
        raise Undrawable("the image is too large")


def _from_json(row: Mapping[str, Any]) -> Header:
    """The header out of DICOM JSON; Undrawable where what is needed is not in it but apart."""
    given = {tag.upper(): element for tag, element in row.items()}
    kept = {name: given[name] for tag in KEYWORDS if (name := f"{tag:08X}") in given}
    _check_whole(kept, 0)
    values = {KEYWORDS[int(tag, 16)]: _simple(element) for tag, element in kept.items()}

    def read(keyword: str) -> Any:
        found = values.get(keyword)
        return header.dataset.get(keyword) if found is _NOT_SIMPLE else found

    header = Header(read, lambda: Dataset.from_json(kept))
    return header


def _simple(element: Mapping[str, Any]) -> object:
    """The value of an element of DICOM JSON (PS3.18 §F.2.3) where it is numbers or a word."""
    if element.get("vr") not in _SIMPLE_VRS:
        return _NOT_SIMPLE
    values = element.get("Value") or [None]
    return values[0] if len(values) == 1 else values


def _check_whole(row: Mapping[str, Any], depth: int) -> None:
    if depth > _MAX_HEADER_DEPTH:
        raise Undrawable("its sequences are nested too deep")
    for element in row.values():
        if "BulkDataURI" in element:
            raise Undrawable("a table that it needs is not in its metadata")
        if element.get("vr") == "SQ":
            for item in element.get("Value") or ():
                _check_whole(item, depth + 1)

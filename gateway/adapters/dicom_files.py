"""What a DICOM file says: its encoding, its header, and its metadata as DICOM JSON.

Everything here blocks and reads bytes that nobody vouches for. Callers catch `UNREADABLE` around
it: pydicom raises whatever the broken value led to.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import correct_ambiguous_vr_element, write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID

from gateway.rules import dicom_json as dj
from gateway.rules import media

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"})
"""Syntaxes that deflate the whole data set (PS3.5 §A.5)."""
NATIVE = frozenset({IMPLICIT, EXPLICIT, BIG_ENDIAN, "1.2.840.10008.1.2.1.99"})

MAX_INFLATED_BYTES = 64 * 2**20
MAX_NESTING = 100
_MAX_INLINE_TEXT = 64 * 2**10
_MAX_INLINE_VALUE = 2**10

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom is known to raise on bytes that are not what they say."""

PREAMBLE = b"\0" * 128 + b"DICM"
DIRECTORY = "1.2.840.10008.1.3.10"
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW"})
_NUMBERS = frozenset({"DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_EXPLICIT_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_UNDEFINED = 0xFFFFFFFF


class NotDicom(Exception):
    """The file is something else, or a directory of DICOM files."""


class Unusable(Exception):
    """The file is DICOM but cannot be served; says why in words for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A DICOM file: `stream` holds its data set from `start` on, inflated where it was deflated.

    `prefix` is what the stored bytes lack at their front to be a file of PS3.10 §7.
    """

    stream: BinaryIO
    start: int
    transfer_syntax: str
    prefix: bytes = b""

    @property
    def is_implicit(self) -> bool:
        """Whether VRs are left out."""
        return self.transfer_syntax == IMPLICIT

    @property
    def is_little_endian(self) -> bool:
        """The byte order of numbers."""
        return self.transfer_syntax != BIG_ENDIAN


def hush() -> None:
    """Keep pydicom from writing values of patients to the log and to standard error."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom\b")


def open_dicom(stream: BinaryIO, *, is_named_dicom: bool) -> Opened:
    """The file as PS3.10 lays it out; or, if its name says DICOM, as a bare data set.

    NotDicom, Unusable, or one of `UNREADABLE`.
    """
    prefix = _before_meta(stream, is_named_dicom=is_named_dicom)
    meta_start = stream.tell()
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if not len(meta):
        stream.seek(meta_start)
        return _without_meta(stream, meta_start)
    if str(meta.get("MediaStorageSOPClassUID", "")) == DIRECTORY:
        raise NotDicom
    syntax = str(meta.get("TransferSyntaxUID") or "")
    if not dj.is_uid(syntax):
        raise Unusable("names no transfer syntax")
    if syntax in DEFLATED:
        return Opened(stream=_inflated(stream), start=0, transfer_syntax=syntax)
    return Opened(stream=stream, start=stream.tell(), transfer_syntax=syntax, prefix=prefix)


def _before_meta(stream: BinaryIO, *, is_named_dicom: bool) -> bytes:
    """What the file lacks before its meta information, where the stream is then. NotDicom."""
    stream.seek(0)
    head = stream.read(132)
    if head[128:] == b"DICM":
        return b""
    is_cut = head[:4] == b"DICM"  # by those who leave the preamble out
    if not (is_cut or is_named_dicom):
        raise NotDicom
    stream.seek(4 if is_cut else 0)
    return PREAMBLE[:128] if is_cut else PREAMBLE


def _without_meta(stream: BinaryIO, start: int) -> Opened:
    """A bare data set; its encoding is guessed from its first element."""
    first = stream.read(6)
    if len(first) < 6:
        raise NotDicom
    if not (first[4:6].isalpha() and first[4:6].isupper()):
        syntax = IMPLICIT
    else:
        syntax = EXPLICIT if first[0] else BIG_ENDIAN
    bare = Opened(stream=stream, start=start, transfer_syntax=syntax)
    uids = read(bare, (0x00080016, 0x00080018))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uids.get("SOPClassUID", "")
    meta.MediaStorageSOPInstanceUID = uids.get("SOPInstanceUID", "")
    if not (meta.MediaStorageSOPClassUID and meta.MediaStorageSOPInstanceUID):
        raise NotDicom
    meta.TransferSyntaxUID = UID(syntax)
    written = DicomBytesIO()
    write_file_meta_info(written, meta)
    prefix = written.getvalue() if start else PREAMBLE + written.getvalue()
    return Opened(stream=stream, start=start, transfer_syntax=syntax, prefix=prefix)


def _inflated(stream: BinaryIO) -> BinaryIO:
    """The rest of the stream, inflated; Unusable when it would not fit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(stream.read(MAX_INFLATED_BYTES), MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise Unusable("is larger inflated than is read")
    return io.BytesIO(content)


def read(opened: Opened, tags: Sequence[int] | None = None) -> Dataset:
    """The data set up to its pixel data: the elements `tags`, or all."""
    return header_and_pixels(opened, tags)[0]


def metadata(opened: Opened) -> dj.Dataset:
    """The whole data set as DICOM JSON in UTF-8, a BulkDataURI in place of what is bulky."""
    row = to_json(read(opened), is_little_endian=opened.is_little_endian, with_bulk=True)
    pixels = pixel_element(opened)
    if pixels is not None and not _is_many_streams(opened, pixels, row):
        tag = f"{pixels.tag:08X}"
        row[tag] = {"vr": pixels.vr, "BulkDataURI": f"bulkdata/{tag}"}
    row["00083002"] = {"vr": "UI", "Value": [opened.transfer_syntax]}
    row[dj.SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return dict(sorted(row.items()))


def _is_many_streams(opened: Opened, pixels: Pixels, row: dj.Dataset) -> bool:
    """Whether the pixel data are several compressed frames, which are retrieved as frames only."""
    frames = dj.values(row, dj.NUMBER_OF_FRAMES)
    is_video = media.FRAME_TYPES.get(opened.transfer_syntax, "").startswith("video/")
    return pixels.length is None and not is_video and any(f != 1 for f in frames)


def to_json(
    dataset: Dataset, *, is_little_endian: bool, with_bulk: bool, path: tuple[str, ...] = ()
) -> dj.Dataset:
    """DICOM JSON of a data set; an element that cannot be read has no value.

    `with_bulk`: bulky values become a BulkDataURI; else they are left out with their element.
    """
    if len(path) > 2 * MAX_NESTING:
        raise Unusable("has sequences that are nested too deep")
    row: dj.Dataset = {}
    for tag in sorted(dataset.keys()):
        if tag.element == 0:
            continue
        name = f"{tag:08X}"
        try:
            element = unambiguous(dataset, tag, is_little_endian=is_little_endian)
            made = _element(
                element, (*path, name), is_little_endian=is_little_endian, with_bulk=with_bulk
            )
        except UNREADABLE:
            made = {"vr": _vr(dataset, tag)}
        if made is not None:
            row[name] = made
    return row


def unambiguous(dataset: Dataset, tag: int, *, is_little_endian: bool) -> DataElement:
    """An element of the data set with its one VR where its tag allows several."""
    element = correct_ambiguous_vr_element(dataset[tag], dataset, is_little_endian)
    if not isinstance(element, DataElement):
        raise TypeError("not decoded")
    return element


def _vr(dataset: Dataset, tag: BaseTag) -> str:
    vr = str(getattr(dataset.get_item(tag), "VR", None) or "UN")
    return vr if len(vr) == 2 else "UN"


def _element(
    element: DataElement, path: tuple[str, ...], *, is_little_endian: bool, with_bulk: bool
) -> dict[str, Any] | None:
    """An element of DICOM JSON (PS3.18 §F.2.2); None for bulk that is left out."""
    vr = str(element.VR)
    if vr == "SQ":
        items = [
            to_json(item, is_little_endian=is_little_endian, with_bulk=with_bulk, path=nested)
            for number, item in enumerate(element.value)
            for nested in ((*path, str(number)),)
        ]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if _is_bulky(element):
        shown = vr if len(vr) == 2 else "OW"
        return {"vr": shown, "BulkDataURI": "bulkdata/" + "/".join(path)} if with_bulk else None
    made = element.to_json_dict(None, 0)
    if "Value" in made:
        made["Value"] = [_value(v) for v in made["Value"]]
        if all(v is None for v in made["Value"]):
            del made["Value"]
    return made


def _is_bulky(element: DataElement) -> bool:
    """Whether a value is fetched on its own: binary, many numbers, or very long text."""
    if element.is_empty:
        return False
    if element.VR in _BINARY:
        return True
    if element.VR in _NUMBERS:
        return element.VM * 8 > _MAX_INLINE_VALUE
    return isinstance(element.value, str) and len(element.value) > _MAX_INLINE_TEXT


def _value(value: Any) -> Any:
    """A value as JSON has it: null for an empty one, no empty groups in names."""
    if isinstance(value, dict):
        return {group: text for group, text in value.items() if text} or None
    return None if value == "" else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Where the pixel data element is: `offset` of its value, `length` None when encapsulated."""

    tag: int
    vr: str
    offset: int
    length: int | None


def pixel_element(opened: Opened) -> Pixels | None:
    """The pixel data element of the data set; None when it has none."""
    return header_and_pixels(opened, (0x00080005,))[1]


def header_and_pixels(
    opened: Opened, tags: Sequence[int] | None = None
) -> tuple[Dataset, Pixels | None]:
    """`read`, and where the pixel data element is that ends it, in one pass."""
    found: list[tuple[int, str | None, int]] = []

    def stop(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag in _PIXELS:
            found.append((int(tag), vr, length))
        return tag in _PIXELS

    opened.stream.seek(opened.start)
    header = read_dataset(
        opened.stream,
        opened.is_implicit,
        opened.is_little_endian,
        stop_when=stop,
        specific_tags=list(tags) if tags is not None else None,
    )
    if not found:
        return header, None
    tag, vr, length = found[-1]
    size = 12 if vr in _EXPLICIT_LONG else 8
    return header, Pixels(
        tag=tag,
        vr=vr or "OW",
        offset=opened.stream.tell() + size,
        length=None if length == _UNDEFINED else length,
    )

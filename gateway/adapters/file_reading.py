"""What is read of one DICOM file, by the kinds of orders; runs in a process of its own, and blocks.

The file is one that nobody vouches for. Each work takes the stream and the order, and gives what
is told and the bytes that go with it; what it raises is told as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import orjson
from pydicom import Dataset

from gateway.adapters import dicom_files, dicom_parts
from gateway.adapters.dicom_files import UNREADABLE, NotDicom, Opened, Unusable
from gateway.adapters.folder_snapshot import (
    GROUPS,
    INSTANCE,
    PATIENT_AND_STUDY,
    SERIES,
    TAGS,
    element,
)
from gateway.errors import NotAcceptable, NotFound
from gateway.rules import dicom_json as dj

MAX_ELEMENT_BYTES = 16 * 2**10
MAX_ROWS_BYTES = 128 * 2**10
"""The largest element that is kept in an index, and all that is kept there of one file.

What searches go through again and again must not be what somebody wrote to hold them up.
"""
Order = Mapping[str, Any]
Told = tuple[dict[str, Any], bytes]
_UIDS = (dj.STUDY_INSTANCE_UID, dj.SERIES_INSTANCE_UID, dj.SOP_INSTANCE_UID, dj.SOP_CLASS_UID)


class FileReading:
    """The works; the frames of the last file are kept for the next order that asks for them."""

    def __init__(self) -> None:
        self._same = ""
        self._frames: dicom_parts.Frames | None = None
        self._syntax = ""
        self._stream: BinaryIO | None = None

    def done(self, order: Order, stream: BinaryIO) -> Told:
        """The answer to one order; the stream is closed, now or with the next order."""
        try:
            work = getattr(self, _WORKS[order["work"]])
            found: Told = work(order, stream)
        except NotDicom:
            return {"error": "not DICOM"}, b""
        except (NotFound, NotAcceptable) as refusal:
            return {"error": type(refusal).__name__, "reason": str(refusal)}, b""
        except Unusable as unusable:
            return {"error": "unusable", "reason": str(unusable)}, b""
        except UNREADABLE as error:
            return {"error": "unreadable", "reason": type(error).__name__}, b""
        finally:
            if stream is not self._stream:
                stream.close()
        return found

    def _index(self, order: Order, stream: BinaryIO) -> Told:
        """The rows of a file at each level, its UIDs, and what it lacks at its front."""
        opened = dicom_files.open_dicom(stream, is_named_dicom=order["is_named_dicom"])
        header = dicom_files.to_json(
            _with_frame_anatomy(dicom_files.read(opened, TAGS)),
            is_little_endian=opened.is_little_endian,
            with_bulk=False,
        )
        uids = [dj.text(header, tag) or "" for tag in _UIDS]
        if not all(dj.is_uid(uid) for uid in uids):
            raise Unusable("lacks a legal UID")
        number = dj.values(header, dj.INSTANCE_NUMBER)
        own = _part(header, INSTANCE) | {"00083002": element("UI", opened.transfer_syntax)}
        rows = (_part(header, PATIENT_AND_STUDY), _part(header, SERIES), own)
        parts = [*(_written(row) for row in rows), opened.prefix]
        if sum(len(p) for p in parts) > MAX_ROWS_BYTES:
            raise Unusable("has too large a header")
        told = {
            "uids": uids,
            "transfer_syntax": opened.transfer_syntax,
            "number": number[0] if number and isinstance(number[0], int) else None,
            "sizes": [len(p) for p in parts],
        }
        return told, b"".join(parts)

    def _metadata(self, order: Order, stream: BinaryIO) -> Told:
        """DICOM JSON; `is_whole` False: None is told where the file ends before its pixels."""
        opened = _opened(stream)
        if not order["is_whole"] and dicom_files.pixel_element(opened) is None:
            return {"is_cut": True}, b""
        return {}, orjson.dumps(dicom_files.metadata(opened))

    def _frame(self, order: Order, stream: BinaryIO) -> Told:
        """A frame, of a file that is known to have all from `lowest` to `highest`."""
        frames = self._frames_of(order["same"], stream)
        for number in (order["lowest"], order["highest"]):
            if frames is None or not 1 <= number <= frames.count:
                raise NotFound(f"frame {number} not found")
        assert frames is not None  # noqa: S101 - said above, for the type checker
        return {"transfer_syntax": self._syntax}, frames.read(order["number"])

    def _frames_of(self, same: str, stream: BinaryIO) -> dicom_parts.Frames | None:
        """The frames of the stream; of the last one where that holds the `same`."""
        if same == self._same:
            return self._frames
        self._same, self._frames = "", None
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        opened = _opened(stream)
        self._frames, self._syntax = dicom_parts.frames(opened), opened.transfer_syntax
        self._same, self._stream = same, stream
        return self._frames

    def _bulk(self, order: Order, stream: BinaryIO) -> Told:
        """The bytes of one element, or where they are in the file."""
        opened = _opened(stream)
        found = dicom_parts.bulk(opened, order["path"])
        told: dict[str, Any] = {"transfer_syntax": opened.transfer_syntax}
        if found.content is None:
            return told | {"offset": found.offset, "length": found.length}, b""
        return told, found.content

    def _explicit(self, order: Order, stream: BinaryIO) -> Told:
        """A native file in Explicit VR Little Endian."""
        return {}, dicom_parts.as_explicit(_opened(stream))

    def _syntax_of(self, order: Order, stream: BinaryIO) -> Told:
        return {"transfer_syntax": _opened(stream).transfer_syntax}, b""


_WORKS: Mapping[str, str] = {
    "index": "_index",
    "metadata": "_metadata",
    "frame": "_frame",
    "bulk": "_bulk",
    "explicit": "_explicit",
    "transfer syntax": "_syntax_of",
}


def _opened(stream: BinaryIO) -> Opened:
    return dicom_files.open_dicom(stream, is_named_dicom=True)


def _part(header: dj.Dataset, tags: tuple[str, ...]) -> dj.Dataset:
    return {tag: header[tag] for tag in tags if tag in header}


def _written(row: dj.Dataset) -> bytes:
    """The row as JSON, without elements of a size that makes no sense there."""
    whole = orjson.dumps(row)
    if len(whole) <= MAX_ELEMENT_BYTES:
        return whole
    kept = {t: e for t, e in row.items() if len(orjson.dumps(e)) <= MAX_ELEMENT_BYTES}
    return orjson.dumps(kept)


def _with_frame_anatomy(header: Dataset) -> Dataset:
    """The header with Frame Anatomy (0020,9071), each once, in place of its functional groups."""
    found: dict[str, Dataset] = {}
    for tag in (int(g, 16) for g in GROUPS if int(g, 16) in header):
        with contextlib.suppress(*UNREADABLE):  # the instance is served without its anatomy
            for group in header[tag].value:
                for item in group.get("FrameAnatomySequence", ()):
                    found.setdefault(str(item), item)
        del header[tag]
    if found:
        header.FrameAnatomySequence = list(found.values())
    return header

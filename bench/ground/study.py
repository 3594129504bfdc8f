"""The study that the benchmarks' archive holds, as a DICOMweb archive answers about it."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from bench.ground.servers import File, FileArchive

BASE = "/dicom-web"
STUDY = "1.2.826.0.1.3680043.8.498.7"
SERIES = f"{STUDY}.1"
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
JSON = "application/dicom+json"
_BOUNDARY = "0123456789abcdef"
_MULTIPART = f'multipart/related; type="{{}}"; boundary={_BOUNDARY}'
_COLUMNS = 128
_PIXEL_DATA = b"\xe0\x7f\x10\x00OW\x00\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An instance with `size` bytes of pixel data, 0 for one that nobody retrieves.

    `says_length`: the head of its part tells how long it is. `chunk_bytes`: the HTTP chunks that
    it comes in; 0: the head of the answer tells how long all of it is.
    """

    number: int
    size: int
    says_length: bool = True
    chunk_bytes: int = 0

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return f"{SERIES}.{self.number}"

    @property
    def path(self) -> str:
        """Its WADO-RS path."""
        return f"{BASE}/studies/{STUDY}/series/{SERIES}/instances/{self.uid}"


def archive(folder: Path, instances: Iterable[Held], more: Mapping[str, File]) -> FileArchive:
    """An archive with one study of one series, and whatever else it is to answer."""
    files = folder / "files"
    files.mkdir(parents=True)
    answers = dict(more)
    held = list(instances)
    for one in (h for h in held if h.size):
        answers[one.path] = File(
            path=files / one.uid,
            content_type=_MULTIPART.format("application/dicom"),
            chunk_bytes=one.chunk_bytes,
        )
        _write_multipart(files / one.uid, one)
    for number, (path, rows) in enumerate(_searches(held).items()):
        answers[path] = File(path=files / f"rows-{number}", content_type=JSON)
        (files / f"rows-{number}").write_text(json.dumps(rows))
    return FileArchive(folder, answers)


def multipart_file(path: Path, content: bytes, kind: str) -> File:
    """An answer of one part."""
    path.write_bytes(_part_head(kind, len(content)) + content + f"\r\n--{_BOUNDARY}--\r\n".encode())
    return File(path=path, content_type=_MULTIPART.format(kind))


def noise(size: int) -> bytes:
    """Bytes that nobody can compress, the same in every run."""
    return random.Random(size).randbytes(size)  # noqa: S311 - nobody is to guess it


def picture() -> bytes:
    """A JPEG of about 8 KB."""
    buffer = io.BytesIO()
    Image.frombytes("L", (96, 96), noise(96 * 96)).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def _searches(held: list[Held]) -> dict[str, list[dict[str, Any]]]:
    """The rows that are found, by the path of the search."""
    study = {
        "0020000D": _ui(STUDY),
        "00201206": {"vr": "IS", "Value": [1]},
        "00201208": {"vr": "IS", "Value": [len(held)]},
    }
    series = {"0020000D": _ui(STUDY), "0020000E": _ui(SERIES), "00080060": _cs("CT")} | {
        "00201209": {"vr": "IS", "Value": [len(held)]}
    }
    rows = [series | {"00080016": _ui(CTImageStorage), "00080018": _ui(h.uid)} for h in held]
    of_study = f"{BASE}/studies/{STUDY}"
    return {
        f"{BASE}/studies": [study],
        f"{of_study}/series": [series],
        f"{of_study}/instances": rows,
        f"{of_study}/series/{SERIES}/instances": rows,
    }


def _ui(value: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [str(value)]}


def _cs(value: str) -> dict[str, Any]:
    return {"vr": "CS", "Value": [value]}


def _part_head(kind: str, length: int | None) -> bytes:
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\n{size}\r\n".encode()


def _write_multipart(path: Path, one: Held) -> None:
    """A multipart answer with one DICOM file, its pixels the same noise repeated."""
    head = _dicom_head(one)
    length = len(head) + one.size if one.says_length else None
    piece = noise(min(one.size, 10**6))
    with path.open("wb") as file:
        file.write(_part_head("application/dicom", length) + head)
        for _ in range(one.size // len(piece)):
            file.write(piece)
        file.write(f"\r\n--{_BOUNDARY}--\r\n".encode())


def _dicom_head(one: Held) -> bytes:
    """A DICOM file up to the first byte of its pixel data."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(one.uid)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, one.uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = min(one.size // _COLUMNS, 65535), _COLUMNS
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue() + _PIXEL_DATA + one.size.to_bytes(4, "little")

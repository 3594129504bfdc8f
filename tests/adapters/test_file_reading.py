"""What is told of a file by each kind of order, and what becomes of a file that cannot be read."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pydicom
import pytest

from gateway.adapters import dicom_files
from gateway.adapters.file_reading import FileReading
from tests import hostile_files

FILES = Path(pydicom.__file__).parent / "data/test_files"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    dicom_files.hush()


def test_the_rows_of_a_file_are_told_with_its_uids() -> None:
    dataset = pydicom.dcmread(FILES / "CT_small.dcm")
    order = {"work": "index", "is_named_dicom": False}

    told, body = FileReading().done(order, io.BytesIO(hostile_files.ordinary()))

    assert told["uids"][2] == dataset.SOPInstanceUID
    assert told["transfer_syntax"] == dataset.file_meta.TransferSyntaxUID
    assert sum(told["sizes"]) == len(body)
    study = orjson.loads(body[: told["sizes"][0]])
    assert study["0020000D"]["Value"] == [dataset.StudyInstanceUID]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "not DICOM"),
        (hostile_files.ordinary()[:300], "unusable"),
        (hostile_files.nested_and_closed(150), "unusable"),
    ],
    ids=["empty", "cut", "nested"],
)
def test_what_cannot_be_indexed_is_told_with_a_reason(content: bytes, error: str) -> None:
    stream = io.BytesIO(content)

    told, body = FileReading().done({"work": "index", "is_named_dicom": False}, stream)

    assert (told["error"], body) == (error, b"")
    assert stream.closed


def test_a_header_too_large_to_keep_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.adapters.file_reading.MAX_ROWS_BYTES", 1000)
    order = {"work": "index", "is_named_dicom": False}

    told, _ = FileReading().done(order, io.BytesIO(hostile_files.ordinary()))

    assert told == {"error": "unusable", "reason": "has too large a header"}


def test_an_element_too_large_to_search_is_left_out() -> None:
    content = hostile_files.many_items(10_000)
    order = {"work": "index", "is_named_dicom": False}

    told, body = FileReading().done(order, io.BytesIO(content))

    series = orjson.loads(body[told["sizes"][0] :][: told["sizes"][1]])
    assert "00400275" not in series
    assert series["00080060"]["Value"] == ["CT"]


def test_a_file_is_kept_open_for_its_next_frame_and_closed_for_another() -> None:
    reading, streams = FileReading(), [io.BytesIO(hostile_files.ordinary()) for _ in range(3)]
    order = {"work": "frame", "number": 1, "lowest": 1, "highest": 1}
    for same, stream in zip("aab", streams, strict=True):
        told, body = reading.done(order | {"same": same}, stream)
        assert (told["transfer_syntax"], len(body)) == ("1.2.840.10008.1.2.1", 128 * 128 * 2)

    assert [s.closed for s in streams] == [True, True, False]


def test_bulk_data_that_stand_in_the_file_are_told_by_place() -> None:
    content = hostile_files.ordinary()
    order = {"work": "bulk", "path": ["7FE00010"]}

    told, body = FileReading().done(order, io.BytesIO(content))

    assert (told["length"], body) == (128 * 128 * 2, b"")
    assert content[told["offset"] - 12 :][:6] == b"\xe0\x7f\x10\x00OW"

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID

from gateway.rules import part10
from gateway.rules.part10 import FileMeta

SYNTAX = "1.2.840.10008.1.2.4.70"


def written() -> bytes:
    """The head of a file as pydicom writes it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    meta.MediaStorageSOPInstanceUID = UID("1.2.1.1")
    meta.TransferSyntaxUID = UID(SYNTAX)
    buffer = BytesIO()
    one = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    one.PatientID = "7"
    one.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def element(number: int, vr: bytes, value: bytes) -> bytes:
    size = struct.pack("<xxI" if vr in {b"OB", b"UN"} else "<H", len(value))
    return struct.pack("<HH", 2, number) + vr + size + value


def head(*elements: bytes) -> bytes:
    return b"\0" * 128 + b"DICM" + b"".join(elements)


def test_file_tells_what_it_is() -> None:
    assert part10.file_meta(written()) == FileMeta(instance_uid="1.2.1.1", transfer_syntax=SYNTAX)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", None, id="empty"),
        pytest.param(b"<html>" * 100, None, id="a page"),
        pytest.param(b"\0" * 128 + b"DIC", None, id="cut in the prefix"),
        pytest.param(head(), FileMeta(), id="nothing behind the prefix"),
        pytest.param(
            head(
                element(1, b"OB", b"\0\1"),
                element(3, b"UI", b"1.2\0"),
                element(16, b"UI", b"1.9\0"),
            ),
            FileMeta(instance_uid="1.2", transfer_syntax="1.9"),
            id="padded values behind a long element",
        ),
        pytest.param(
            head(element(3, b"UI", b"1.2\0"), element(16, b"UI", b"1.2.840")[:-2]),
            FileMeta(instance_uid="1.2"),
            id="cut in a value",
        ),
        pytest.param(
            head(element(16, b"UI", b"1.2\r\nX-Evil: 1")), FileMeta(), id="a header in a value"
        ),
        pytest.param(
            head(element(258, b"OB", b"")[:-4] + b"\xff\xff\xff\xff", element(16, b"UI", b"1.2\0")),
            FileMeta(),
            id="undefined length",
        ),
        pytest.param(
            head(b"\x08\x00\x18\x00UI\x04\x001.2\0", element(16, b"UI", b"1.2\0")),
            FileMeta(),
            id="behind the group",
        ),
    ],
)  # fmt: skip
def test_head_is_read_as_far_as_it_makes_sense(data: bytes, expected: FileMeta | None) -> None:
    assert part10.file_meta(data) == expected


@given(st.integers(0, 500))
def test_no_prefix_of_a_file_fails_or_tells_something_else(size: int) -> None:
    found = part10.file_meta(written()[:size])
    assert found is None or found.instance_uid in {None, "1.2.1.1"}
    assert found is None or found.transfer_syntax in {None, SYNTAX}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_failing(data: bytes) -> None:
    part10.file_meta(data)
    part10.file_meta(head(data))

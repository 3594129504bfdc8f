"""Files that are not what they say: bounded, refused in words, never the end of the process."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import orjson
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters import dicom_files, dicom_parts
from gateway.adapters.dicom_files import UNREADABLE, NotDicom, Unusable, open_dicom
from gateway.rules import dicom_json as dj

FILES = Path(pydicom.__file__).parent / "data/test_files"
SMALL = ("MR_small_RLE", "rtplan", "reportsi", "rtdose_rle_1frame", "SC_rgb_small_odd", "badVR")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    dicom_files.hush()


def meta(transfer_syntax: str) -> bytes:
    """A preamble and the least of meta information."""
    value = transfer_syntax.encode() + b"\0" * (len(transfer_syntax) % 2)
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sH", 2, 16, b"UI", len(value)) + value


def read_all(content: bytes) -> dj.Dataset:
    return dicom_files.metadata(open_dicom(io.BytesIO(content), is_named_dicom=True))


@pytest.mark.parametrize("path", sorted(FILES.glob("*.dcm")), ids=lambda path: path.stem)
def test_metadata_of_every_file_are_json_without_bulk(path: Path) -> None:
    try:
        row = read_all(path.read_bytes())
    except (NotDicom, Unusable):
        return

    assert len(orjson.dumps(row)) < 200_000
    assert {len(element["vr"]) for element in row.values()} == {2}
    assert not any("InlineBinary" in element for element in row.values())


def test_several_values_and_empty_ones_are_told_apart() -> None:
    row = read_all((FILES / "CT_small.dcm").read_bytes())

    assert row["00080008"]["Value"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert row[dj.ACCESSION_NUMBER] == {"vr": "SH"}


@pytest.mark.parametrize("syntax", sorted(dicom_files.DEFLATED))
def test_deflate_bomb_is_refused(syntax: str) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(100 * 2**20)) + deflater.flush()

    with pytest.raises(Unusable, match="larger"):
        open_dicom(io.BytesIO(meta(syntax) + bomb), is_named_dicom=True)


@pytest.mark.parametrize("is_named_dicom", [True, False])
def test_file_without_its_preamble_is_read(is_named_dicom: bool) -> None:  # noqa: FBT001
    content = (FILES / "CT_small.dcm").read_bytes()

    opened = open_dicom(io.BytesIO(content[128:]), is_named_dicom=is_named_dicom)

    assert opened.prefix + content[128:] == bytes(128) + content[128:]
    assert dicom_files.metadata(opened) == read_all(content)


def test_bare_data_set_is_a_file_behind_what_it_lacks() -> None:
    content = (FILES / "CT_small.dcm").read_bytes()
    start = open_dicom(io.BytesIO(content), is_named_dicom=True).start

    opened = open_dicom(io.BytesIO(content[start:]), is_named_dicom=True)

    assert read_all(opened.prefix + content[start:]) == read_all(content)
    whole = open_dicom(io.BytesIO(opened.prefix + content[start:]), is_named_dicom=False)
    assert whole.start == len(opened.prefix)


def test_endless_nesting_is_refused() -> None:
    item = struct.pack("<HH2sHL", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    item += struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)

    with pytest.raises(UNREADABLE):
        read_all(meta(dicom_files.EXPLICIT) + item * 5000)


def test_number_of_the_wrong_length_has_no_value() -> None:
    content = struct.pack("<HH2sH", 0x28, 0x10, b"US", 3) + b"\x01\x00\x02"

    assert read_all(meta(dicom_files.EXPLICIT) + content)["00280010"] == {"vr": "US"}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(SMALL))
def test_damaged_files_fail_only_in_foreseen_ways(data: st.DataObject, name: str) -> None:
    content = bytearray((FILES / f"{name}.dcm").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(132, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(200, len(content))) :]

    try:
        opened = open_dicom(io.BytesIO(bytes(content)), is_named_dicom=True)
        dicom_files.metadata(opened)
        frames = dicom_parts.frames(opened)
        if frames is not None:
            frames.read(1)
    except (*UNREADABLE, NotDicom, Unusable):
        pass

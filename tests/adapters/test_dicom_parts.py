"""Frames, bulk data and other encodings are exactly the bytes that the standard says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from gateway.adapters import dicom_files, dicom_parts
from gateway.adapters.dicom_files import Opened, open_dicom
from gateway.errors import NotFound

FILES = Path(pydicom.__file__).parent / "data/test_files"
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    dicom_files.hush()


def opened(name: str) -> Opened:
    return open_dicom(io.BytesIO((FILES / f"{name}.dcm").read_bytes()), is_named_dicom=True)


def frames(name: str) -> dicom_parts.Frames:
    found = dicom_parts.frames(opened(name))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "name", ["rtdose", "rtdose_expb", "SC_rgb_small_odd", "SC_ybr_full_422_uncompressed"]
)
def test_native_frames_are_cut_without_padding(name: str) -> None:
    dataset = pydicom.dcmread(FILES / f"{name}.dcm")
    stored = np.frombuffer(dataset.PixelData, f">u{dataset.BitsAllocated // 8}")
    if "expb" not in name:
        stored = np.frombuffer(dataset.PixelData, f"<u{dataset.BitsAllocated // 8}")
    cut = frames(name)

    content = b"".join(cut.read(number) for number in range(1, cut.count + 1))

    little = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    assert content == little[: len(content)]
    assert len(little) - len(content) <= 1


def test_compressed_frames_are_as_stored() -> None:
    dataset = pydicom.dcmread(FILES / "examples_ybr_color.dcm")
    expected = list(generate_frames(dataset.PixelData, number_of_frames=30))
    cut = frames("examples_ybr_color")

    assert cut.count == 30
    assert [cut.read(number) for number in (1, 15, 30)] == [expected[n] for n in (0, 14, 29)]


def test_one_bit_frames_start_where_they_start() -> None:
    dataset = pydicom.dcmread(FILES / "liver_1frame.dcm")
    bits = np.zeros((3, 5, 7), np.uint8)
    bits[1] = 1
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 5, 7, 3
    dataset.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    written = io.BytesIO()
    dataset.save_as(written)

    cut = dicom_parts.frames(open_dicom(written, is_named_dicom=True))

    assert cut is not None
    assert [cut.read(n) for n in (1, 2, 3)] == [b"\0" * 5, b"\xff" * 4 + b"\x07", b"\0" * 5]


def test_report_has_no_frames() -> None:
    assert dicom_parts.frames(opened("reportsi")) is None


@pytest.mark.parametrize(
    "name",
    ["MR_small_bigendian", "MR_small_implicit", "image_dfl", "rtdose_expb", "liver_expb_1frame"],
)
def test_file_in_explicit_little_endian_shows_the_same(name: str) -> None:
    converted = pydicom.dcmread(io.BytesIO(dicom_parts.as_explicit(opened(name))))
    original = pydicom.dcmread(FILES / f"{name}.dcm")

    assert converted.file_meta.TransferSyntaxUID == EXPLICIT
    assert (converted.pixel_array == original.pixel_array).all()
    assert {e.tag for e in original} - {e.tag for e in converted} == set()


def test_waveform_is_bulk_data_within_a_sequence() -> None:
    dataset = pydicom.dcmread(FILES / "waveform_ecg.dcm")

    found = dicom_parts.bulk(opened("waveform_ecg"), ("54000100", "1", "54001010"))

    assert found.content == dataset.WaveformSequence[1].WaveformData


@pytest.mark.parametrize(
    "path",
    [("54000100", "2", "54001010"), ("00100010", "0", "54001010"), ("00420011",)],
    ids=["item", "not a sequence", "element"],
)
def test_what_is_not_there_is_not_found(path: tuple[str, ...]) -> None:
    with pytest.raises(NotFound):
        dicom_parts.bulk(opened("waveform_ecg"), path)


def test_words_are_turned_round_and_a_rest_is_kept() -> None:
    assert dicom_parts.swapped(b"abcdef", 2) == b"badcfe"
    assert dicom_parts.swapped(b"abcdefgh", 4) == b"dcbahgfe"
    assert dicom_parts.swapped(b"abc", 1) == b"abc"


@pytest.mark.parametrize(
    ("syntax", "kind"),
    [
        ("1.2.840.10008.1.2", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
        ("1.2.840.10008.1.2.4.50", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"),
        ("1.2.840.10008.1.2.4.80", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"),
        ("1.2.840.10008.1.2.4.91", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.91"),
        ("1.2.840.10008.1.2.4.203", "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.203"),
        ("1.2.840.10008.1.2.4.102", "video/mp4; transfer-syntax=1.2.840.10008.1.2.4.102"),
        ("1.2.840.10008.1.2.5", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"),
    ],
)
def test_frames_are_labelled_as_the_standard_says(syntax: str, kind: str) -> None:
    assert dicom_parts.frame_type(syntax) == kind


def test_file_that_is_too_large_to_convert_is_refused(tmp_path: Path) -> None:
    one = opened("CT_small")
    with (tmp_path / "large").open("w+b") as large:
        large.truncate(dicom_parts.MAX_CONVERTED_BYTES + 1)
        whole = Opened(stream=large, start=0, transfer_syntax=one.transfer_syntax)

        with pytest.raises(dicom_files.Unusable, match="too large"):
            dicom_parts.as_explicit(whole)

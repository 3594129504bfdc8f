"""The quick way reads what pydicom reads, or leaves it to pydicom."""

from __future__ import annotations

import io

import pytest

from gateway.adapters import dicom_files, quick_header
from gateway.adapters.frame_source import KEYWORDS, TAGS, number
from tests import odd_images

FILES = {**dict(odd_images.of_pydicom()), **odd_images.greys()}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
NUMBERS = ("Rows", "Columns", "BitsStored", "HighBit", "WindowCenter", "RescaleIntercept")


@pytest.mark.parametrize("name", FILES)
def test_quick_header_says_what_pydicom_says(name: str) -> None:
    content = FILES[name]
    opened = dicom_files.open_dicom(io.BytesIO(content), is_named_dicom=True)
    expected, pixels = dicom_files.header_and_pixels(opened, tuple(TAGS))

    found = quick_header.header_and_pixels(content, opened, TAGS)

    if found is None:
        return
    assert found[1] == pixels or opened.transfer_syntax in dicom_files.DEFLATED
    assert set(found[0].keys()) == set(expected.keys()) - {0x00080005}
    for keyword in NUMBERS:
        assert number(found[0], keyword, -1) == number(expected, keyword, -1)
    for keyword in ("PhotometricInterpretation", "SOPClassUID"):
        assert str(found[0].get(keyword)) == str(expected.get(keyword))


def test_ordinary_files_are_read_quickly() -> None:
    for name in ("CT_small", "MR_small", "MR_small_implicit", "16 bits, implicit", "JPEG 2000"):
        content = FILES[name]
        opened = dicom_files.open_dicom(io.BytesIO(content), is_named_dicom=True)
        assert quick_header.header_and_pixels(content, opened, TAGS) is not None
    assert "Rows" in KEYWORDS


@pytest.mark.parametrize("length", [200, 400, 700, 1000])
def test_cut_file_is_left_to_pydicom(length: int) -> None:
    content = FILES["CT_small"][:length]
    opened = dicom_files.open_dicom(io.BytesIO(FILES["CT_small"]), is_named_dicom=True)
    assert quick_header.header_and_pixels(content, opened, TAGS) is None

"""The quick way reads what pydicom reads, or leaves it to pydicom."""

from __future__ import annotations

import io

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import UID

from gateway.adapters import dicom_files, quick_header
from gateway.adapters.frame_source import number
from gateway.adapters.picture_header import KEYWORDS
from tests import odd_images

FILES = {**dict(odd_images.of_pydicom()), **odd_images.greys()}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
NUMBERS = ("Rows", "Columns", "BitsStored", "HighBit", "WindowCenter", "RescaleIntercept")


@pytest.mark.parametrize("name", FILES)
def test_quick_header_says_what_pydicom_says(name: str) -> None:
    content = FILES[name]
    opened = dicom_files.open_dicom(io.BytesIO(content), is_named_dicom=True)
    expected, pixels = dicom_files.header_and_pixels(opened, tuple(KEYWORDS))

    found = quick_header.read(content)

    if found is None:
        return
    assert (found.pixels, found.transfer_syntax) == (pixels, opened.transfer_syntax)
    assert set(found.header.dataset.keys()) == set(expected.keys()) - {0x00080005}
    for keyword in NUMBERS:
        assert number(found.header, keyword, -1) == number(expected, keyword, -1)
    for keyword in ("PhotometricInterpretation", "SOPClassUID"):
        assert str(found.header.get(keyword)) == str(expected.get(keyword))
    for keyword in ("VOILUTSequence", "PerFrameFunctionalGroupsSequence"):
        assert (found.header.get(keyword) or []) == (expected.get(keyword) or [])


def test_ordinary_files_are_read_quickly() -> None:
    for name in ("CT_small", "MR_small", "MR_small_implicit", "16 bits, implicit", "JPEG 2000"):
        assert quick_header.read(FILES[name]) is not None


@pytest.mark.parametrize("syntax", [odd_images.EXPLICIT, dicom_files.IMPLICIT])
def test_sequences_of_undefined_length_are_stepped_over_or_kept(syntax: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(FILES["MR_small"]))
    inner, table = Dataset(), Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3"
    inner.PurposeOfReferenceCodeSequence = [Dataset(), Dataset()]
    table.LUTDescriptor, table.LUTData = [2, 0, 8], b"\x00\x01\xff\x00"
    table["LUTDescriptor"].VR = "US"
    dataset.ReferencedImageSequence, dataset.VOILUTSequence = [inner, inner], [table]
    for owner, name in (
        (dataset, "ReferencedImageSequence"),
        (inner, "PurposeOfReferenceCodeSequence"),
        (dataset, "VOILUTSequence"),
    ):
        owner[name].is_undefined_length = True
        for item in owner[name].value:
            item.is_undefined_length_sequence_item = True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    written = io.BytesIO()
    dataset.save_as(written, implicit_vr=syntax == dicom_files.IMPLICIT, little_endian=True)

    found = quick_header.read(written.getvalue())

    assert found is not None
    (item,) = found.header.get("VOILUTSequence")
    assert bytes(item.LUTData) == table.LUTData
    assert written.getvalue()[found.pixels.offset :].startswith(dataset.PixelData)


def test_values_are_read_by_their_sign() -> None:
    """Without VRs, what PixelPaddingValue is depends on PixelRepresentation."""
    content = FILES["MR_small_implicit"]
    dataset = pydicom.dcmread(io.BytesIO(content))
    dataset.PixelRepresentation, dataset.PixelPaddingValue = 1, -2000
    dataset["PixelPaddingValue"].VR = "SS"
    written = io.BytesIO()
    dataset.save_as(written)
    found = quick_header.read(written.getvalue())
    assert found is not None
    assert found.header.get("PixelPaddingValue") == -2000


@pytest.mark.parametrize("length", [0, 100, 140, 200, 400, 700, 1000])
def test_cut_file_is_left_to_pydicom(length: int) -> None:
    assert quick_header.read(FILES["CT_small"][:length]) is None

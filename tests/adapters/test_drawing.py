"""What drawn pictures look like: window, polarity, palette, colour, shape; and what is refused."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

from gateway.adapters import frame_source
from gateway.adapters.dicom_files import Unusable
from gateway.adapters.drawing import Order, Undrawable, Window, draw, draw_frame, fit
from tests import odd_images

FILES = odd_images.FILES
GOLDEN = Path(__file__).parent / "golden"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
"""What pydicom says of odd files, which the drawing process does not listen to."""
PNG = Order(width=1024, height=1024, media_type="image/png")


def drawn(name: str) -> tuple[bytes, int, int]:
    """The picture of one of pydicom's files."""
    return draw((FILES / name).read_bytes(), PNG)


def picture(dataset: pydicom.Dataset, order: Order = PNG) -> npt.NDArray[np.uint8]:
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return np.asarray(Image.open(io.BytesIO(draw(content.getvalue(), order)[0])))


def ramp(**attributes: object) -> pydicom.Dataset:
    """A 16-bit image of 8 rows whose columns go from 0 to 255."""
    dataset = pydicom.dcmread(FILES / "MR_small.dcm")
    for keyword in ("WindowCenter", "WindowWidth", "PixelPaddingValue"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.Rows, dataset.Columns, dataset.PixelRepresentation = 8, 256, 0
    dataset.PixelSpacing = [1, 1]
    dataset.PixelData = np.tile(np.arange(256, dtype="<u2"), (8, 1)).tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def test_window_of_the_object_decides() -> None:
    row = picture(ramp(WindowCenter=128, WindowWidth=64))[0]

    assert row[:96].max() == 0
    assert row[160:].min() == 255
    assert 100 < row[128] < 156


def test_window_that_is_asked_for_wins() -> None:
    order = Order(
        width=1024, height=1024, media_type="image/png", window=Window(center=32, width=32)
    )

    row = picture(ramp(WindowCenter=128, WindowWidth=64), order)[0]

    assert row[16] == 0
    assert row[48:].min() == 255


def test_without_a_window_the_spread_of_the_values_is_shown() -> None:
    row = picture(ramp())[0]

    assert row[0] == 0
    assert row[255] == 255
    assert (np.diff(row.astype(int)) >= 0).all()


def test_monochrome1_is_inverted() -> None:
    row = picture(ramp(PhotometricInterpretation="MONOCHROME1"))[0]

    assert row[0] == 255
    assert row[255] == 0


def test_rescaled_values_meet_the_window() -> None:
    row = picture(ramp(RescaleSlope=2, RescaleIntercept=-256, WindowCenter=0, WindowWidth=100))[0]

    assert row[90] == 0
    assert row[160] == 255


def test_pixels_that_are_not_square_are_drawn_in_proportion() -> None:
    assert picture(ramp(PixelSpacing=[4, 1])).shape == (8, 64)
    assert picture(ramp(PixelSpacing=[0.5, 1])).shape == (4, 256)


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_dcmtk_+eb+cr",
        "SC_rgb_dcmtk_+eb+cy+np",
        "SC_rgb_gdcm_KY",
        "SC_rgb_jls_lossy_line",
        "SC_rgb_rle",
        "SC_rgb_rle_16bit",
        "SC_rgb_rle_32bit",
        "SC_ybr_full_422_uncompressed",
    ],
)
def test_colours_are_right_whatever_the_encoding(name: str) -> None:
    content, width, height = drawn(f"{name}.dcm")

    pixels = np.asarray(Image.open(io.BytesIO(content))).astype(int)

    assert (width, height) == (100, 100)
    for row, colour in ((5, (255, 0, 0)), (25, (0, 255, 0)), (45, (0, 0, 255)), (95, (255,) * 3)):
        assert abs(pixels[row, 50] - colour).max() < 12


def test_palette_is_applied() -> None:
    content, _, _ = drawn("examples_palette.dcm")

    pixels = np.asarray(Image.open(io.BytesIO(content))).astype(int)

    assert pixels.shape == (350, 800, 3)
    assert (abs(pixels[..., 0] - pixels[..., 2]) > 40).any()


@pytest.mark.parametrize("name", ["liver_1frame", "liver_expb_1frame"])
def test_binary_segmentation_is_black_and_white(name: str) -> None:
    content, _, _ = drawn(f"{name}.dcm")

    assert set(np.unique(np.asarray(Image.open(io.BytesIO(content))))) == {0, 255}


def segmentation(frames: npt.NDArray[Any], syntax: str = odd_images.EXPLICIT) -> bytes:
    """Bits, in a syntax that frames of them are stored in."""
    bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "NumberOfFrames": len(frames)}
    sides = {"Rows": frames.shape[1], "Columns": frames.shape[2]}
    about = {**bits, **sides, "SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.66.4")}
    if syntax == odd_images.EXPLICIT:
        packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
        return odd_images.file(syntax, packed + b"\0" * (len(packed) % 2), **about)
    packs = [np.packbits(each.ravel(), bitorder="little").tobytes() for each in frames]
    return odd_images.file(syntax, encapsulate([odd_images.deflated(p) for p in packs]), **about)


@pytest.mark.parametrize("columns", [96, 93])
@pytest.mark.parametrize("syntax", [odd_images.EXPLICIT, frame_source.DEFLATED_FRAMES])
def test_segmentation_is_shown_by_a_frame_that_is_not_empty(syntax: str, columns: int) -> None:
    full = (odd_images.base()[:, :columns] > 180).astype(np.uint8)
    frames = np.stack([full * 0, full, full * 0, full * 0, full * 0])
    found = draw(segmentation(frames, syntax), PNG)[0]
    assert (np.asarray(Image.open(io.BytesIO(found))) == full * 255).all()
    asked = draw(segmentation(frames, syntax), replace(PNG, frame=3))[0]
    assert np.asarray(Image.open(io.BytesIO(asked))).max() == 0
    empty = draw(segmentation(frames * 0, syntax), PNG)[0]
    assert np.asarray(Image.open(io.BytesIO(empty))).max() == 0


def test_middle_frame_of_a_segmentation_that_is_empty_is_not_drawn_apart() -> None:
    content = segmentation(np.zeros((3, 64, 96), np.uint8))
    dataset = pydicom.dcmread(io.BytesIO(content))
    pixels = dataset.PixelData[: 64 * 96 // 8]
    del dataset.PixelData
    metadata = dataset.to_json().encode()
    order = replace(PNG, frame=2)
    assert draw_frame(metadata, pixels, ExplicitVRLittleEndian, order)
    with pytest.raises(Undrawable, match="empty"):
        draw_frame(metadata, pixels, ExplicitVRLittleEndian, replace(order, is_middle=True))


@pytest.mark.parametrize("name", ["rtdose", "rtdose_expb", "rtdose_rle"])
def test_dose_is_shown_by_its_spread(name: str) -> None:
    content, _, _ = drawn(f"{name}.dcm")

    assert np.asarray(Image.open(io.BytesIO(content))).max() > 200


@pytest.mark.parametrize(
    "name", ["MR_small_bigendian", "MR_small_implicit", "MR_small_RLE", "MR_small_jp2klossless"]
)
def test_transfer_syntax_makes_no_difference(name: str) -> None:
    same, _, _ = drawn("MR_small.dcm")

    assert drawn(f"{name}.dcm")[0] == same


def test_frames_of_a_loop_are_drawn_one_by_one() -> None:
    content = (FILES / "examples_ybr_color.dcm").read_bytes()

    first, middle, last = (
        draw(content, Order(width=128, height=128, frame=frame))[0] for frame in (1, 16, 30)
    )

    assert len({first, middle, last}) == 3
    assert draw(content, Order(width=128, height=128))[0] == middle


def test_huge_header_is_refused_before_anything_is_decoded() -> None:
    dataset = ramp()
    dataset.Rows = dataset.Columns = 65535
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)

    with pytest.raises(Undrawable, match="too large"):
        draw(content.getvalue(), PNG)


def test_header_that_promises_more_pixels_than_there_are_is_refused() -> None:
    with pytest.raises((Undrawable, EOFError)):
        drawn("MR_truncated.dcm")


def test_transparent_picture_becomes_opaque() -> None:
    content = io.BytesIO()
    Image.new("RGBA", (40, 20), (255, 255, 255, 0)).save(content, "PNG")

    fitted, width, height = fit(content.getvalue(), Order(width=20, height=20))

    assert (width, height) == (20, 10)
    assert Image.open(io.BytesIO(fitted)).getpixel((5, 5)) == (0, 0, 0)


GREY, COLOURED, OTHERS = (odd_images.KINDS[kind]() for kind in ("grey", "colour", "other"))


@pytest.mark.parametrize("name", GREY)
def test_grey_looks_the_same_in_every_encoding(name: str) -> None:
    found = np.asarray(Image.open(io.BytesIO(draw(GREY[name], PNG)[0]))).astype(int)

    assert abs(found - odd_images.base()).mean() < 1


@pytest.mark.parametrize("name", COLOURED)
def test_colour_looks_the_same_in_every_encoding(name: str) -> None:
    found = np.asarray(Image.open(io.BytesIO(draw(COLOURED[name], PNG)[0]))).astype(int)

    assert abs(found - odd_images.colours()).mean() < 2


REVIEWED = {**{f"odd {n}": c for n, c in OTHERS.items()}, **dict(odd_images.of_pydicom())}


@pytest.mark.parametrize("name", REVIEWED)
def test_picture_is_the_one_that_was_looked_at(name: str) -> None:
    golden = GOLDEN / f"{name.replace(' ', '_')}.png"

    found = draw(REVIEWED[name], Order(width=64, height=64, media_type="image/png"))[0]

    if "WRITE_GOLDEN" in os.environ:
        golden.write_bytes(found)
    shown = np.asarray(Image.open(io.BytesIO(found)).convert("RGB")).astype(int)
    expected = np.asarray(Image.open(golden).convert("RGB")).astype(int)
    assert shown.shape == expected.shape
    assert abs(shown - expected).mean() < 2


@pytest.mark.parametrize("name", odd_images.NO_PICTURE)
def test_broken_pixels_are_refused(name: str) -> None:
    with pytest.raises((Undrawable, Unusable, EOFError)):
        drawn(f"{name}.dcm")


@pytest.mark.parametrize(
    "name", ["JPEG", "JPEG 2000", "High-Throughput JPEG 2000", "16 bits, implicit"]
)
def test_small_picture_is_the_large_one_made_small(name: str) -> None:
    small = draw(GREY[name], Order(width=24, height=24, media_type="image/png"))[0]
    expected = Image.fromarray(odd_images.base()).reduce(4)

    found = np.asarray(Image.open(io.BytesIO(small))).astype(int)

    assert found.shape == (16, 24)
    assert abs(found - np.asarray(expected)).mean() < 16  # wavelets are sharper than means


def part(**changes: Any) -> npt.NDArray[Any]:
    order = replace(PNG, **changes)
    found = draw(GREY["8 bits"], order)[0]
    return np.asarray(Image.open(io.BytesIO(found))).astype(int)


def test_region_is_cut_out_of_the_source() -> None:
    assert (part(source=(10, 5, 40, 30)) == odd_images.base()[5:35, 10:50]).all()
    assert (part(source=(90, 60, 40, 30)) == odd_images.base()[60:, 90:]).all()
    assert (part(region=(0.5, 0, 1, 0.5)) == odd_images.base()[:32, 48:]).all()


def test_negative_sizes_mirror() -> None:
    assert (part(source=(0, 0, -96, None)) == odd_images.base()[:, ::-1]).all()
    assert (part(source=(0, 0, None, -64)) == odd_images.base()[::-1]).all()


def test_region_is_scaled_to_the_box_but_not_enlarged() -> None:
    assert part(source=(0, 0, 40, 20), width=20, height=20).shape == (10, 20)
    assert part(source=(0, 0, 40, 20), width=80, height=80).shape == (20, 40)


def test_region_outside_of_the_image_is_refused() -> None:
    with pytest.raises(Undrawable, match="outside"):
        part(source=(96, 0, 10, 10))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_functions_are_those_of_the_standard(function: str) -> None:
    window = Window(center=100, width=50, function=function)
    values = odd_images.base().astype(float)
    expected = {
        "LINEAR": ((values - 99.5) / 49 + 0.5) * 255,
        "LINEAR_EXACT": ((values - 100) / 50 + 0.5) * 255,
        "SIGMOID": 255 / (1 + np.exp(-4 * (values - 100) / 50)),
    }[function]

    assert abs(part(window=window) - np.clip(expected, 0, 255)).max() <= 1


def test_pictures_are_written_as_gif_too() -> None:
    content, _, _ = draw(COLOURED["RGB"], replace(PNG, media_type="image/gif"))

    assert content.startswith(b"GIF8")


def test_frame_that_came_apart_from_its_header_looks_the_same() -> None:
    dataset = pydicom.dcmread(io.BytesIO(GREY["enhanced"]))
    frame = dataset.pixel_array[1].tobytes()
    del dataset.PixelData
    metadata = dataset.to_json().encode()

    found = draw_frame(metadata, frame, ExplicitVRLittleEndian, replace(PNG, frame=2))[0]

    assert found == draw(GREY["enhanced"], replace(PNG, frame=2))[0]


def test_frame_whose_palette_is_elsewhere_is_refused() -> None:
    metadata = b'{"00281201": {"vr": "OW", "BulkDataURI": "http://archive/bulk"}}'

    with pytest.raises(Undrawable, match="not in its metadata"):
        draw_frame(metadata, b"", ExplicitVRLittleEndian, PNG)

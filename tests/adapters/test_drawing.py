"""What drawn pictures look like: window, polarity, palette, colour, shape; and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from gateway.adapters.drawing import Order, Undrawable, Window, draw, fit

FILES = Path(pydicom.__file__).parent / "data/test_files"
PNG = Order(width=1024, height=1024, media_type="image/png")


def drawn(name: str) -> tuple[bytes, int, int]:
    """The picture of one of pydicom's files."""
    return draw(io.BytesIO((FILES / f"{name}").read_bytes()), PNG)


def picture(dataset: pydicom.Dataset, order: Order = PNG) -> npt.NDArray[np.uint8]:
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return np.asarray(Image.open(io.BytesIO(draw(content, order)[0])))


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
    content = io.BytesIO((FILES / "examples_ybr_color.dcm").read_bytes())

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
        draw(content, PNG)


def test_header_that_promises_more_pixels_than_there_are_is_refused() -> None:
    with pytest.raises((Undrawable, EOFError)):
        drawn("MR_truncated.dcm")


def test_transparent_picture_becomes_opaque() -> None:
    content = io.BytesIO()
    Image.new("RGBA", (40, 20), (255, 255, 255, 0)).save(content, "PNG")

    fitted, width, height = fit(content, Order(width=20, height=20))

    assert (width, height) == (20, 10)
    assert Image.open(io.BytesIO(fitted)).getpixel((5, 5)) == (0, 0, 0)

"""What several samples of a pixel mean."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset

from gateway.adapters.colour_samples import coloured
from gateway.adapters.picture_header import Header


@pytest.mark.parametrize(
    ("meaning", "samples", "expected"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGB", (10, 20, 30, 255), (10, 20, 30)),
        ("RGB", (10, 20, 30, 0), (10, 20, 30)),
        ("ARGB", (255, 10, 20, 30), (10, 20, 30)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YBR_FULL", (77, 128, 128), (77, 77, 77)),
        ("YBR_PARTIAL_420", (235, 128, 128), (255, 255, 255)),
        ("", (10, 20, 30), (10, 20, 30)),
    ],
)
def test_samples_are_what_photometric_interpretation_says(
    meaning: str, samples: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    header = Header.of(Dataset()).changed(PhotometricInterpretation=meaning, BitsStored=8)
    planes = np.array(samples, np.uint8).reshape(1, 1, -1)
    assert coloured(planes, header).getpixel((0, 0)) == expected


@pytest.mark.parametrize(("bits", "white"), [(1, 1), (4, 15), (12, 4095), (16, 65535)])
def test_white_of_any_depth_is_white(bits: int, white: int) -> None:
    header = Header.of(Dataset()).changed(PhotometricInterpretation="RGB", BitsStored=bits)
    planes = np.full((1, 1, 3), white, np.uint16 if bits > 8 else np.uint8)
    assert coloured(planes, header).getpixel((0, 0)) == (255, 255, 255)

"""Uncompressed pixels that are stored in other ways than their header says, or in old ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.adapters.frame_source import Undrawable, of_file
from gateway.adapters.native_pixels import native
from tests import odd_images

COLOURED, GREYS = odd_images.coloured(), odd_images.greys()
HALF: dict[str, Any] = {**odd_images.RGB, "PhotometricInterpretation": "YBR_FULL_422"}


def shown(content: bytes, frame: int | None = None) -> odd_images.Values:
    return np.asarray(native(of_file(content, frame))).astype(int)


@pytest.mark.parametrize("frame", [1, 2, 3])
def test_colour_that_is_not_halved_is_told_by_its_length_in_each_frame(frame: int) -> None:
    one = shown(COLOURED["YBR_FULL"])
    ybr = of_file(COLOURED["YBR_FULL"], None).content
    planes = np.frombuffer(ybr, np.uint8)
    frames = np.stack([planes if n == frame else planes * 0 for n in (1, 2, 3)])
    content = odd_images.native(frames, NumberOfFrames=3, **HALF)
    assert (shown(content, frame) == one).all()


@pytest.mark.parametrize("more", [0, 2, 96 * 64 * 2])
def test_colour_is_halved_whatever_follows_it(more: int) -> None:
    """As where Number of Frames is missing."""
    halved = of_file(COLOURED["YBR_FULL_422"], None).content
    content = odd_images.file(odd_images.EXPLICIT, bytes(halved) + bytes(more), **HALF)
    assert (shown(content) == shown(COLOURED["YBR_FULL_422"])).all()


def test_packed_values_of_an_odd_number_of_pixels_are_read() -> None:
    values = np.arange(9, dtype=np.uint16).reshape(3, 3) * 450
    packed = odd_images._packed(np.append(values.ravel(), 0))[:14]
    sizes = {"Rows": 3, "Columns": 3, "BitsAllocated": 12, **odd_images.TWELVE}
    assert (shown(odd_images.file(odd_images.EXPLICIT, packed, **sizes)) == values).all()
    signed = shown(odd_images.file(odd_images.EXPLICIT, packed, PixelRepresentation=1, **sizes))
    assert (signed == np.where(values > 2047, values.astype(int) - 4096, values)).all()


def test_pixels_that_are_not_there_are_not_made_up() -> None:
    half = odd_images.native(odd_images.base()[:32], **odd_images.EIGHT)
    with pytest.raises(Undrawable, match="fewer"):
        shown(half)

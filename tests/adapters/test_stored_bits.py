"""Values out of their words, and the sums that their bits leave room for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.adapters.frame_source import of_file
from gateway.adapters.grey_values import Window, greys
from gateway.adapters.pixel_decoding import decoded
from gateway.adapters.stored_bits import widest
from tests import odd_images

SIDE = 64
WORDS = [
    (np.uint8, 8),
    (np.int8, 8),
    (np.uint16, 16),
    (np.int16, 16),
    (np.uint16, 12),
    (np.int16, 13),
]


def words(kind: type[np.integer[Any]], stored: int) -> odd_images.Values:
    """Values of all sizes that so many bits can have, the outermost in the first block."""
    low, high = (-(1 << stored - 1), 1 << stored - 1) if np.iinfo(kind).min else (0, 1 << stored)
    made = np.random.default_rng(1).integers(low, high, (SIDE, SIDE))
    made[:8, :8], made[8:16, :8] = low, high - 1
    return made.astype(kind)


def told(values: odd_images.Values, stored: int, **attributes: Any) -> dict[str, Any]:
    allocated = values.dtype.itemsize * 8
    return {
        "Rows": SIDE,
        "Columns": SIDE,
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        **attributes,
    }


@pytest.mark.parametrize(("kind", "stored"), WORDS)
@pytest.mark.parametrize("shrink", [2.0, 4.0, 8.0])
def test_blocks_are_averaged_whatever_their_values_are(
    kind: type[np.integer[Any]], stored: int, shrink: float
) -> None:
    values, side = words(kind, stored), int(shrink)
    frame = of_file(odd_images.native(values, **told(values, stored)), None)
    window = Window(center=0, width=2.0**stored, function="LINEAR_EXACT")

    small = greys(np.asarray(decoded(frame, 1)), frame, window, shrink)

    blocks = values.reshape(SIDE // side, side, SIDE // side, side).mean(axis=(1, 3))
    whole = np.clip((blocks / 2.0**stored + 0.5) * 255 + 0.5, 0, 255).astype(np.uint8)
    assert small.shape == whole.shape
    assert np.abs(small.astype(int) - whole.astype(int)).max() <= 1


def test_bits_that_hold_other_things_are_no_part_of_a_value() -> None:
    values = words(np.uint16, 12)
    overlaid = values | np.uint16(0xA000)
    frame = of_file(odd_images.native(overlaid, **told(values, 12)), None)

    found = np.asarray(decoded(frame, 1))

    assert (found == values).all()
    assert widest(found, frame) == (1 << 12) - 1


@pytest.mark.parametrize("told_wrong", [{"HighBit": 20}, {"BitsStored": 0}, {"BitsStored": 40}])
def test_where_bits_are_told_wrong_values_are_looked_at(told_wrong: dict[str, Any]) -> None:
    values = words(np.uint16, 16)
    content = odd_images.native(values, **{**told(values, 16), **told_wrong})
    frame = of_file(content, None)

    assert widest(np.asarray(decoded(frame, 1)), frame) == int(values.max())

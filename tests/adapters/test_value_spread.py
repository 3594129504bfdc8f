"""What tells black and white where no window does: a fair look at what is no padding."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.adapters.frame_source import Undrawable
from gateway.adapters.picture_header import Header
from gateway.adapters.value_spread import in_blocks, padding, padding_limits, spread


@pytest.mark.parametrize("shape", [(4000, 4000), (2500, 2048), (8000, 1000), (1000, 8192)])
def test_all_columns_are_looked_at(shape: tuple[int, int]) -> None:
    """As they are not in steps that share a factor with Columns."""
    values = np.tile(np.linspace(0, 60000, shape[1]).astype(np.uint16), (shape[0], 1))
    low, high = spread(values, None)
    assert abs(low - 600) < 200
    assert abs(high - 59400) < 200


def test_bright_part_that_lies_between_the_steps_is_not_saturated() -> None:
    values = np.zeros((2500, 2048), np.uint16)
    values[:, 1:255], values[:, 300:] = 4000, 1000
    assert spread(values, None) == (0, 4000)


@pytest.mark.parametrize("bright", [1, 3, 5000])
def test_one_hot_pixel_does_not_make_the_rest_black(bright: int) -> None:
    values = np.zeros((1000, 1000), np.uint16)
    values.flat[123_456 : 123_456 + bright * 200] = 900
    values[7, 7] = 65535
    assert spread(values, None) == (0, 900)


def test_all_that_is_not_the_one_value_counts_where_nearly_all_are() -> None:
    values = np.full((100, 100), 500, np.int16)
    values[50, 50] = -3
    assert spread(values, None) == (-3, 500)
    assert spread(np.full((4, 4), 5), None) == (5, 5)


def test_what_is_no_number_does_not_count() -> None:
    values = np.array([[np.nan, 0, 0, 0, np.inf, 8]], np.float32)
    assert spread(values, None)[1] <= 8
    with pytest.raises(Undrawable):
        spread(np.full((3, 3), np.nan), None)


def test_padding_is_a_value_or_a_range_of_them() -> None:
    values = np.array([[0, 10, 20, 30]], np.uint16)
    one = {"PixelPaddingValue": 10}
    several = {**one, "PixelPaddingRangeLimit": 0}
    for told, expected in (({}, None), (one, [1]), (several, [0, 1])):
        header = Header(told.get, lambda: pytest.fail("not needed"))
        found = padding(values, padding_limits(values, header))
        assert (None if found is None else np.flatnonzero(found).tolist()) == expected
    assert padding(values, (40, 50)) is None


def test_block_counts_where_any_of_its_pixels_does() -> None:
    mask = np.zeros((4, 8), bool)
    mask[1, 2] = mask[3, 7] = True
    assert in_blocks(mask, 2).tolist() == [[False, True, False, False], [False] * 3 + [True]]
    assert in_blocks(mask, 4).tolist() == [[True, True]]
    assert in_blocks(mask, 1) is mask

"""Windows, tables and palettes at their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.adapters.frame_source import Frame, Undrawable, of_file
from gateway.adapters.grey_values import Window, greys, is_indexed
from tests import odd_images


def frame(**attributes: Any) -> Frame:
    return of_file(odd_images.native(odd_images.base(), **odd_images.EIGHT, **attributes), None)


def shown(values: list[float], window: Window | None = None, **attributes: Any) -> list[int]:
    image = greys(np.array([values], np.float32), frame(**attributes), window)
    return [int(v) for v in np.asarray(image)[0]]


def test_limits_of_a_window_are_those_of_its_function() -> None:
    assert Window(center=2048, width=4096).limits == (0, 4095)
    assert Window(center=0, width=1).limits == (-0.5, -0.5)
    assert Window(center=0, width=100, function="LINEAR_EXACT").limits == (-50, 50)


def test_window_of_width_one_is_a_threshold() -> None:
    assert shown([-1, 0, 1, 2], Window(center=1, width=1)) == [0, 0, 255, 255]


def test_values_that_are_no_numbers_are_black() -> None:
    assert shown([float("nan"), 0, 100, float("inf")])[:1] == [0]


def test_only_such_values_make_no_picture() -> None:
    with pytest.raises(Undrawable):
        shown([float("nan")] * 4)


def test_even_values_are_one_grey() -> None:
    assert len(set(shown([5, 5, 5, 5]))) == 1


def test_width_of_zero_is_no_window() -> None:
    assert shown([0, 1000], WindowCenter=5, WindowWidth=0) == [0, 255]


def test_only_one_sample_a_pixel_is_an_index() -> None:
    assert is_indexed(of_file(odd_images.others()["palette of 8 bits"], None).header)
    assert not is_indexed(frame().header)

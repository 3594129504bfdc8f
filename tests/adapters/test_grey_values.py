"""Windows, tables and palettes at their edges."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from gateway.adapters.frame_source import Frame, Undrawable, of_file
from gateway.adapters.grey_values import Window, greys, is_indexed
from gateway.adapters.pixel_decoding import decoded
from tests import odd_images


def frame(**attributes: Any) -> Frame:
    return of_file(odd_images.native(odd_images.base(), **odd_images.EIGHT, **attributes), None)


def shown(values: list[float], window: Window | None = None, **attributes: Any) -> list[int]:
    image = greys(np.array([values], np.float32), frame(**attributes), window)
    return [int(v) for v in np.asarray(image)[0]]


DEEP = odd_images.base().astype(np.uint16) * 16


def pixels(content: bytes) -> odd_images.Values:
    found = of_file(content, None)
    return np.asarray(greys(cast(odd_images.Values, decoded(found, 1)), found, None)).astype(int)


def test_limits_of_a_window_are_those_of_its_function() -> None:
    assert Window(center=2048, width=4096).limits == (0, 4095)
    assert Window(center=0, width=1).limits == (-0.5, -0.5)
    assert Window(center=0.5, width=0.5).limits == (0.25, 0.75)
    assert Window(center=0, width=100, function="LINEAR_EXACT").limits == (-50, 50)


def test_window_of_width_one_is_a_threshold() -> None:
    assert shown([-1, 0, 1, 2], Window(center=1, width=1)) == [0, 0, 255, 255]


def test_falling_values_fall_at_a_window_of_width_one_as_well() -> None:
    falling = odd_images.native(
        np.tile(np.array([990, 1010], np.uint16), (64, 48)),
        RescaleSlope=-1,
        RescaleIntercept=0,
        WindowCenter=-1000,
        WindowWidth=1,
    )
    assert pixels(falling)[0, :2].tolist() == [255, 0]


def test_window_that_is_narrower_than_one_is_not_turned_round() -> None:
    assert shown([0, 0.5, 1], WindowCenter=0.5, WindowWidth=0.9) == [0, 128, 255]


def test_center_that_is_no_number_is_no_window() -> None:
    content = odd_images.native(DEEP, WindowCenter="2048", WindowWidth="4096")
    comma = content.replace(b"P\x10DS\4\0002048", b"P\x10DS\6\0002048,0")
    assert comma != content
    assert (pixels(comma) == pixels(odd_images.native(DEEP))).all()


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_first_value_of_a_table_is_negative_whatever_the_frame_holds(sequence: str) -> None:
    """Written as US; here no pixel of the frame is below zero."""
    ramp = [value * 16 for value in range(4096)]
    told: dict[str, Any] = {sequence: odd_images._table((4096, 64536, 16), ramp)}
    window: dict[str, Any] = (
        {} if sequence == "VOILUTSequence" else {"WindowCenter": 32768, "WindowWidth": 65536}
    )
    found = pixels(
        odd_images.native(DEEP.astype(np.int16), PixelRepresentation=1, **told, **window)
    )
    expected = np.minimum((DEEP + 1000.0) / 16, 255)
    assert abs(found - expected).max() <= 1


def test_first_value_of_a_table_is_positive_where_no_value_can_be_negative() -> None:
    table = odd_images._table((4096, 40000, 16), [value * 16 for value in range(4096)])
    values = DEEP + np.uint16(40000)
    found = pixels(odd_images.native(values, VOILUTSequence=table))
    assert abs(found - DEEP / 16.0).max() <= 1


@pytest.mark.parametrize(("byte", "grey"), [(b"\xff", 255), (b"\0", 0)])
def test_frame_of_bits_is_white_where_it_is_full(byte: bytes, grey: int) -> None:
    bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "Rows": 8, "Columns": 8}
    assert set(pixels(odd_images.file(odd_images.EXPLICIT, byte * 8, **bits)).flat) == {grey}


@pytest.mark.parametrize("representation", [0, 1])
def test_padding_has_the_sign_of_the_pixels_whichever_its_vr(representation: int) -> None:
    values = DEEP.astype(np.int16 if representation else np.uint16)
    padding = values.dtype.type(-2000 if representation else 63536)
    values[:8] = padding
    right = odd_images.native(
        values, PixelRepresentation=representation, PixelPaddingValue=int(padding)
    )
    own, other = (b"SS", b"US") if representation else (b"US", b"SS")
    wrong = right.replace(b"\x28\0\x20\1" + own, b"\x28\0\x20\1" + other)
    assert wrong != right
    assert (pixels(wrong) == pixels(right)).all()
    assert pixels(right)[:8].max() == 0


@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
@pytest.mark.parametrize(
    ("kind", "padding"), [("MONOCHROME1", 0), ("MONOCHROME2", 63536), ("MONOCHROME2", 2000)]
)
def test_padding_is_black_through_a_window_too(kind: str, padding: int, function: str) -> None:
    values = np.where(padding == DEEP, DEEP + 1, DEEP).astype(np.uint16)
    values[:, :32] = padding
    about = {"PhotometricInterpretation": kind, "VOILUTFunction": function, **odd_images.WINDOW}
    plain = of_file(odd_images.native(values, **about), None)
    told = of_file(odd_images.native(values, PixelPaddingValue=padding, **about), None)
    for shrink in (1, 2):
        expected = greys(cast(odd_images.Values, decoded(plain, 1)), plain, None, shrink)
        found = greys(cast(odd_images.Values, decoded(told, 1)), told, None, shrink)
        assert found.shape == expected.shape == (64 // shrink, 96 // shrink)
        assert expected[:, : 32 // shrink].min() > 0
        assert found[:, : 32 // shrink].max() == 0
        assert (found[:, 32 // shrink :] == expected[:, 32 // shrink :]).all()


def test_photometric_interpretation_counts_however_it_is_written() -> None:
    inverted = odd_images.native(DEEP, PhotometricInterpretation="MONOCHROME1", **odd_images.WINDOW)
    odd = inverted.replace(b"MONOCHROME1 ", b" monochrome1")
    assert odd != inverted
    assert (pixels(inverted) == pixels(odd)).all()
    assert (pixels(odd) == 255 - pixels(odd_images.native(DEEP, **odd_images.WINDOW))).all()


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

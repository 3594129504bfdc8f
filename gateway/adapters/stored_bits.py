"""The bits of a word that hold a pixel value, by which is known what no value exceeds."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from gateway.adapters.frame_source import Frame, whole
from gateway.adapters.picture_header import Header

Values = npt.NDArray[Any]


def of_words(pixels: Values, header: Header, kind: str) -> Values:
    """The values without what else is in their words, such as overlays (PS3.5 §8.1.1)."""
    allocated = pixels.dtype.itemsize * 8
    stored, above = _bits(header, allocated)
    if kind == "f" or not stored:
        return pixels
    low, high = _limits(stored, kind)
    is_low = kind != "u" and pixels.min() < low
    if above == allocated - stored and not is_low and pixels.max() <= high:
        return pixels
    shifted: Values = (pixels << above) >> (allocated - stored)
    return shifted


def widest(values: Values, frame: Frame) -> int:
    """What no absolute value exceeds: by the bits stored where these are all, else by looking."""
    kind = values.dtype.kind
    stored, _ = _bits(frame.header, values.dtype.itemsize * 8)
    low, high = (
        _limits(stored, kind)
        if stored and frame.syntax is None
        else (int(values.min()), int(values.max()))
    )
    return max(-low, high)


def _bits(header: Header, allocated: int) -> tuple[int, int]:
    """How many bits of a word are stored, and unused ones above them; (0, 0): all, or untold."""
    stored = whole(header, "BitsStored", allocated)
    above = allocated - 1 - whole(header, "HighBit", stored - 1)
    is_part = 0 < stored < allocated and 0 <= above <= allocated - stored
    return (stored, above) if is_part else (0, 0)


def _limits(bits: int, kind: str) -> tuple[int, int]:
    """The lowest and the highest number of so many bits, signed or not as numpy calls it."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if kind == "i" else (0, (1 << bits) - 1)

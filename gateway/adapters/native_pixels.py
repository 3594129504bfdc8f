"""Uncompressed pixels as arrays of stored values, or as RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gateway.adapters.colour_samples import coloured
from gateway.adapters.frame_source import Frame, Undrawable, whole
from gateway.adapters.picture_header import HALF_COLOUR, photometric
from gateway.adapters.stored_bits import of_words

Values = npt.NDArray[Any]


def native(frame: Frame) -> Values | Image.Image:
    """Uncompressed pixels, little endian (PS3.5 §8.2)."""
    header = frame.header
    rows, columns = whole(header, "Rows", 0), whole(header, "Columns", 0)
    samples, bits = whole(header, "SamplesPerPixel", 1), whole(header, "BitsAllocated", 8)
    count = rows * columns * samples
    if bits == 1:
        stored = np.frombuffer(frame.content, np.uint8)
        return np.unpackbits(
            stored, count=_enough(count, stored.size * 8), bitorder="little"
        ).reshape(rows, columns)
    kind = "f" if frame.is_float else "i" if whole(header, "PixelRepresentation", 0) else "u"
    if bits == 12 and samples == 1:
        pixels = _unpacked(np.frombuffer(frame.content, np.uint8), count).view(f"<{kind}2")
        return of_words(pixels, header, kind).reshape(rows, columns)
    if bits not in {8, 16, 32, 64}:
        raise Undrawable(f"{bits} bits allocated are not read")
    pixels = np.frombuffer(frame.content, f"<{kind}{bits // 8}")
    is_halved = photometric(header) in HALF_COLOUR and pixels.size < count
    pixels = pixels[: _enough(rows * columns * 2 if is_halved else count, pixels.size)]
    if samples == 1:
        return of_words(pixels, header, kind).reshape(rows, columns)
    if is_halved:
        planes = _full_resolution(pixels, rows, columns)
    elif whole(header, "PlanarConfiguration", 0) == 1:
        planes = pixels.reshape(samples, rows, columns).transpose(1, 2, 0)
    else:
        planes = pixels.reshape(rows, columns, samples)
    return coloured(planes, header)


def _unpacked(stored: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint16]:
    """Values of 12 bits, two in each three bytes (PS3.5 §8.1.1, as it once was)."""
    needed = _enough((count * 3 + 1) // 2, stored.size)
    triples = np.pad(stored[:needed], (0, -needed % 3)).reshape(-1, 3).astype(np.uint16)
    first, middle, last = triples.T
    both = np.stack([first | (middle & 15) << 8, middle >> 4 | last << 4], axis=1)
    return both.ravel()[:count]


def _enough(needed: int, found: int) -> int:
    if found < needed:
        raise Undrawable("there are fewer pixels than the header says")
    return needed


def _full_resolution(pixels: Values, rows: int, columns: int) -> Values:
    """Y0 Y1 Cb Cr of each two pixels as three samples of each pixel (PS3.3 §C.7.6.3.1.2)."""
    pairs = pixels.reshape(rows, columns // 2, 4)
    planes = np.empty((rows, columns, 3), pixels.dtype)
    planes[:, 0::2, 0], planes[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    for column in (0, 1):
        planes[:, column::2, 1:] = pairs[..., 2:]
    return planes

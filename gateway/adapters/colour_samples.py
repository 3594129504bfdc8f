"""Several samples of each pixel as RGB, whatever they mean (PS3.3 §C.7.6.3.1.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gateway.adapters.frame_source import whole
from gateway.adapters.picture_header import Header, photometric

Values = npt.NDArray[Any]
_DARKEST, _NEUTRAL = np.array((16, 128, 128), np.float32), np.array((0, 128, 128), np.float32)
_WIDENED = np.array((255 / 219, 255 / 224, 255 / 224), np.float32)
"""What turns the studio range of YBR_PARTIAL into the full one (PS3.3 §C.7.6.3.1.2)."""


def coloured(planes: Values, header: Header) -> Image.Image:
    """Three or four samples of each pixel as RGB."""
    bits = whole(header, "BitsStored", planes.dtype.itemsize * 8)
    if planes.dtype != np.uint8 or bits != 8:
        planes = _eight_bits(planes, bits)
    meaning = photometric(header)
    if meaning == "ARGB":
        planes, meaning = planes[..., 1:], "RGB"
    if planes.shape[-1] == 4 and meaning == "CMYK":
        return Image.fromarray(np.ascontiguousarray(planes), "CMYK").convert("RGB")
    if meaning.startswith("YBR_PARTIAL"):
        spread = (planes.astype(np.float32) - _DARKEST) * _WIDENED + _NEUTRAL
        planes = np.clip(spread, 0, 255).astype(np.uint8)
    planes = planes[..., :3]  # a fourth one tells how opaque it is
    mode = {"HSV": "HSV"}.get(meaning, "YCbCr" if meaning.startswith("YBR_") else "RGB")
    image = Image.fromarray(np.ascontiguousarray(planes), mode)
    return image if mode == "RGB" else image.convert("RGB")


def _eight_bits(planes: Values, bits: int) -> Values:
    """The upper eight of `bits`; of fewer, spread over eight."""
    unsigned = planes.view(f"u{planes.dtype.itemsize}")
    if bits >= 8:
        return (unsigned >> (bits - 8)).astype(np.uint8)
    return (unsigned.astype(np.uint16) * 255 // ((1 << bits) - 1)).astype(np.uint8)

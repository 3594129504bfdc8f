"""The values between which a frame without a window is shown, and where it is mere padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.adapters.frame_source import Undrawable
from gateway.adapters.picture_header import Header

Values = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
_SAMPLED = 20_000
_RUNS = np.arange(_SAMPLED)
_WITHIN = _RUNS * 40503 & 0xFFFF
"""Where to look in each run, of 65536: by the golden ratio, which nothing repeats with."""


def padding_limits(values: Values, header: Header) -> tuple[int, int] | None:
    """The lowest and the highest value that is padding (PS3.3 §C.7.5.1.1.2); None: there is none.

    As the pixels of `values` have them.
    """
    first = header.get("PixelPaddingValue")
    if not isinstance(first, int):
        return None
    last = header.get("PixelPaddingRangeLimit")
    last = last if isinstance(last, int) else first
    first, last = (_as_pixels(limit, values) for limit in (first, last))
    return min(first, last), max(first, last)


def padding(values: Values, limits: tuple[int, int] | None) -> Mask | None:
    """Where the pixels are padding; None: nowhere."""
    if limits is None:
        return None
    low, high = limits
    found: Mask = values == low if low == high else (values >= low) & (values <= high)
    return found if found.any() else None


def in_blocks(mask: Mask, side: int) -> Mask:
    """Where a block of `side` by `side` pixels holds any of what is masked."""
    if side == 1:
        return mask
    rows, columns = mask.shape
    bands = np.logical_or.reduce(mask.reshape(rows // side, side, columns), axis=1)
    found: Mask = bands[:, ::side]
    for column in range(1, side):
        found = found | bands[:, column::side]
    return found


def _as_pixels(limit: int, values: Values) -> int:
    """A word with the sign of the pixels, whichever of US and SS it was written as."""
    if values.dtype.kind == "i" and limit > 0x7FFF:
        return limit - 0x10000
    return limit + 0x10000 if values.dtype.kind == "u" and limit < 0 else limit


def spread(values: Values, padding: Mask | None) -> tuple[float, float]:
    """The 1st and 99th percentile of what is not padding.

    Where these are equal, nearly all values are one: then it and the spread of the others.
    """
    seen = values.ravel() if padding is None or padding.all() else values[~padding]
    if (found := _percentiles(seen)) is None:
        raise Undrawable("it holds no values")
    low, high = found
    if high > low:
        return low, high
    first, last = _percentiles(seen[seen != low]) or found
    return min(low, first), max(high, last)


def _percentiles(seen: Values) -> tuple[float, float] | None:
    """The 1st and the 99th of one value of each run, now here, now there in it.

    Values that are a fixed step apart would be those of a few columns. None: nothing is a number.
    """
    if (step := seen.size // _SAMPLED) > 1:
        seen = seen[_RUNS * step + (_WITHIN * step >> 16)]
    sample = seen.astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return None
    low, high = (float(v) for v in np.percentile(sample, (1, 99)))
    return low, high

"""Stored values as a viewer first shows them (PS3.4 §N.2): modality, then values of interest, grey.

Also the colours of indexed pixels (PS3.3 §C.7.9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from gateway.adapters.frame_source import Frame, group, number, whole
from gateway.adapters.picture_header import Header, photometric
from gateway.adapters.stored_bits import widest
from gateway.adapters.value_spread import Mask, in_blocks, padding, padding_limits, spread

Values = npt.NDArray[Any]
Grey = npt.NDArray[np.float32]
Shown = npt.NDArray[np.uint8]
_BLOCKS = (8, 4, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The function from values to grey (PS3.3 §C.11.2.1): `function` as the attribute has it."""

    center: float
    width: float
    function: str = "LINEAR"

    @property
    def limits(self) -> tuple[float, float]:
        """The values that become black and white; LINEAR has no width below 1, so that is exact."""
        if self.function == "LINEAR_EXACT" or self.width < 1:
            return self.center - self.width / 2, self.center + self.width / 2
        middle, half = self.center - 0.5, (self.width - 1) / 2
        return middle - half, middle + half


def greys(values: Values, frame: Frame, window: Window | None, shrink: float = 1.0) -> Shown:
    """The frame in 256 greys, through `window`, else through the object's own, else its spread.

    Padding is black. Up to `shrink` times smaller in each direction, where that spares work.
    """
    window = window or _own_window(frame)
    limits = padding_limits(values, frame.header)
    if limits is None or _is_black(limits, frame, window):
        return _greys(values, frame, window, shrink)
    if (found := padding(values, limits)) is None:
        return _greys(values, frame, window, shrink)
    shown = _greys(values, frame, window, shrink, found)
    shown[in_blocks(found, len(values) // len(shown))] = 0
    return shown


def _greys(
    values: Values,
    frame: Frame,
    window: Window | None,
    shrink: float,
    not_seen: Mask | None = None,
) -> Shown:
    """The frame in 256 greys; those of padding, which is `not_seen`, mean nothing."""
    header = frame.header
    table = _item(header, "ModalityLUTSequence")
    slope, intercept = 1.0, 0.0
    if table is not None:
        values = _looked_up(values, table, is_signed=_is_negative(frame, 1.0, 0.0))
    elif not frame.is_float:
        slope, intercept = _rescale(frame)
    interest = _item(header, "VOILUTSequence") if window is None else None
    if window is not None and table is None:
        values, summed = _summed(values, frame, shrink)
        slope /= summed
    if interest is not None:
        is_signed = table is None and _is_negative(frame, slope, intercept)
        values = _looked_up(values * slope + intercept, interest, is_signed=is_signed)
        low, high = 0.0, _brightest(interest)
    elif window is not None and window.function == "SIGMOID":
        return _polar(_bent(values * np.float32(slope) + np.float32(intercept), window), header)
    elif window is not None:
        low, high = ((limit - intercept) / slope for limit in window.limits)
    else:
        low, high = (0.0, 1.0) if _is_binary(header) else spread(values, not_seen)
        low, high = (high, low) if slope < 0 else (low, high)
    return _polar(_scaled(values, low, high, is_falling=slope < 0), header)


def steady_window(values: Values, frame: Frame) -> Window | None:
    """The window by which other frames are shown as this one is; None: each tells its own.

    Also None for the few whose values go through a table first.
    """
    header = frame.header
    tables = ("ModalityLUTSequence", "VOILUTSequence")
    is_told = _own_window(frame) is not None or any(_item(header, name) for name in tables)
    if is_told or _is_binary(header):
        return None
    slope, intercept = (1.0, 0.0) if frame.is_float else _rescale(frame)
    ends = [
        end * slope + intercept
        for end in spread(values, padding(values, padding_limits(values, header)))
    ]
    width = abs(ends[1] - ends[0])
    return Window(center=sum(ends) / 2, width=width, function="LINEAR_EXACT")


def _rescale(frame: Frame) -> tuple[float, float]:
    """Slope and intercept of the modality's values (PS3.3 §C.11.1.1.2)."""
    found = group(frame, "PixelValueTransformationSequence", "RescaleSlope")
    slope = number(found, "RescaleSlope", 1.0) or 1.0
    return slope, number(found, "RescaleIntercept", 0.0)


def _is_black(padding: tuple[int, int], frame: Frame, window: Window | None) -> bool:
    """Whether the window makes padding black by itself, as that of most CT does."""
    header = frame.header
    if window is None or window.function == "SIGMOID" or _item(header, "ModalityLUTSequence"):
        return False
    slope, intercept = (1.0, 0.0) if frame.is_float else _rescale(frame)
    ends = [limit * slope + intercept for limit in padding]
    low, high = window.limits
    return min(ends) >= high if photometric(header) == "MONOCHROME1" else max(ends) <= low


def _is_binary(header: Header) -> bool:
    """Whether pixels are bits, which mean the same in every frame, such as full or empty ones."""
    return whole(header, "BitsStored", 0) == 1 and _item(header, "ModalityLUTSequence") is None


def colours(indices: Values, frame: Frame) -> Image.Image:
    """Indices through the palette, segmented or not."""
    header = frame.header
    through = apply_color_lut(indices, header.dataset)[..., :3]
    if through.dtype.itemsize > 1:
        bits = int(header.get("RedPaletteColorLookupTableDescriptor")[2])
        is_wide = bits > 8 and int(through.max()) > 255
        through = through >> 8 if is_wide else through
    return Image.fromarray(np.ascontiguousarray(through.astype(np.uint8)), "RGB")


def _own_window(frame: Frame) -> Window | None:
    """The first window of the object; None when it has none, or a table of values of interest."""
    if _item(frame.header, "VOILUTSequence") is not None:
        return None
    found = group(frame, "FrameVOILUTSequence", "WindowWidth")
    width, center = number(found, "WindowWidth", 0.0), number(found, "WindowCenter", math.nan)
    if width <= 0 or math.isnan(center):
        return None
    function = str(found.get("VOILUTFunction") or "LINEAR").strip().upper()
    return Window(center=center, width=width, function=function)


def _polar(grey: Grey, header: Header) -> Shown:
    """Values from 0 to 255 in the polarity of the object."""
    shown = grey.astype(np.uint8)
    if photometric(header) == "MONOCHROME1":
        np.subtract(255, shown, out=shown)
    return shown


def _scaled(values: Values, low: float, high: float, *, is_falling: bool = False) -> Grey:
    """From 0 at `low` to 255 at `high`, which may be the lower one; `is_falling` where equal."""
    if high == low:
        bright = values < low if is_falling else values > low
        return np.where(bright, np.float32(255), np.float32(0))
    factor = 255 / (high - low)
    kind = np.float64 if values.dtype.itemsize > 2 and values.dtype.kind != "f" else np.float32
    scaled = np.multiply(values, kind(factor), dtype=kind)
    scaled += kind(0.5 - low * factor)
    clipped: Grey = np.clip(scaled, 0, 255, out=scaled)
    if values.dtype.kind == "f" and np.isnan(clipped.min()):
        np.nan_to_num(clipped, copy=False)
    return clipped


def _summed(values: Values, frame: Frame, shrink: float) -> tuple[Values, int]:
    """The sums of blocks, fewer values to put through a window, and of how many each one is."""
    rows, columns = values.shape
    fitting = (f for f in _BLOCKS if f <= shrink and not rows % f and not columns % f)
    side = next(fitting, 1)
    if side == 1 or values.dtype.kind == "f" or values.dtype.itemsize > 2:
        return values, 1
    bands, kind = values.reshape(rows // side, side, columns), values.dtype
    is_narrow = kind.itemsize == 2 and widest(values, frame) * side <= np.iinfo(kind).max
    sums = np.add.reduce(bands, axis=1, dtype=kind if is_narrow else np.int32)
    return _columns_summed(sums, side).astype(np.float32), side**2


def _columns_summed(sums: Values, side: int) -> Values:
    """Sums of `side` columns; two narrow ones are next to each other, and one word of 32 bits."""
    if sums.dtype.itemsize == 2:
        words = sums.view(f"{sums.dtype.kind}4")
        sums, side = (words >> 16) + ((words << 16) >> 16), side // 2
    total = sums[:, ::side]
    for column in range(1, side):  # several times as fast as a sum over the last axis
        total = total + sums[:, column::side]
    return total


def _bent(values: Grey, window: Window) -> Grey:
    """The window function SIGMOID (PS3.3 §C.11.2.1.3.1)."""
    steep = np.clip(-4 * (values - window.center) / window.width, -50, 50)
    bent: Grey = 255 / (1 + np.exp(steep))
    return np.nan_to_num(bent)


def _item(header: Header, sequence: str) -> Dataset | None:
    items = header.get(sequence) or ()
    found: Dataset | None = items[0] if items else None
    return found if found is not None and "LUTData" in found else None


def _is_negative(frame: Frame, slope: float, intercept: float) -> bool:
    """Whether rescaled values of such pixels may be negative, as any frame has them."""
    header = frame.header
    bits = min(max(whole(header, "BitsStored", 16), 1), 64)
    low = -(1 << bits - 1) if whole(header, "PixelRepresentation", 0) else 0
    high = low + (1 << bits) - 1
    return frame.is_float or min(slope * low, slope * high) + intercept < 0


def _looked_up(values: Values, item: Dataset, *, is_signed: bool) -> Values:
    """Values, which may be negative if `is_signed`, by a table (PS3.3 §C.11.1.1, §C.11.2.1.1)."""
    table, first = _table(item), int(item.LUTDescriptor[1])
    if first > 32767 and is_signed:
        first -= 65536  # written as unsigned where the values are signed
    positions = np.rint(values).astype(np.int64) - first
    return table[np.clip(positions, 0, len(table) - 1)]


def _table(item: Dataset) -> Values:
    data, bits = item.LUTData, int(item.LUTDescriptor[2])
    count = int(item.LUTDescriptor[0]) or 65536
    if not isinstance(data, bytes):
        return np.asarray(data, np.uint16)[:count]
    order = "<" if item.original_encoding[1] in {True, None} else ">"
    is_packed = bits <= 8 and len(data) < 2 * count
    return np.frombuffer(data, np.uint8 if is_packed else f"{order}u2")[:count]


def _brightest(item: Dataset) -> float:
    """The output that is white: what the table's bits allow, unless it uses less than half."""
    most, largest = (1 << int(item.LUTDescriptor[2])) - 1, int(_table(item).max())
    return float(most if largest * 2 > most else max(1, largest))


def is_indexed(header: Header) -> bool:
    """Whether the values are indices of a palette."""
    return photometric(header) == "PALETTE COLOR" and whole(header, "SamplesPerPixel", 1) == 1

"""One picture out of a DICOM file or of another picture; runs in a worker process, and blocks.

The pixels are drawn as a viewer first shows them (PS3.4 §N.2): modality transformation, the first
window or VOI LUT, polarity, palette. No text, overlay or annotation is drawn.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array

MAX_PIXELS = 64 * 2**20
"""Pixels of one frame, or of a picture, that are decoded at the most."""

Image.MAX_IMAGE_PIXELS = MAX_PIXELS
_READ_FORMATS = ("JPEG", "PNG", "GIF", "JPEG2000")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SAMPLED_FOR_WINDOW = 200_000

Grey = npt.NDArray[np.float32]


class Undrawable(Exception):
    """There is nothing to draw, or it will not be tried; says why, without patient data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to draw: `frame` 1-based, None for the middle one; `window` is centre and width."""

    width: int
    height: int
    media_type: str = "image/jpeg"
    frame: int | None = None
    window: tuple[float, float] | None = None
    quality: int = 85


def draw(content: bytes, order: Order) -> tuple[bytes, int, int]:
    """The picture of one frame of a Part 10 file, with its width and height. Undrawable."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    number = _frame(dataset, order.frame)
    _check_size(dataset)
    if dataset.file_meta.TransferSyntaxUID.name.startswith(("MPEG", "HEVC")):
        raise Undrawable("a video is not drawn")
    pixels = pixel_array(dataset, index=number)
    if pixels.ndim == 3:
        image = Image.fromarray(_eight_bits(pixels, int(dataset.BitsStored)), "RGB")
    elif dataset.PhotometricInterpretation == "PALETTE COLOR":
        image = _palette(dataset, pixels)
    else:
        image = Image.fromarray(_grey(dataset, pixels, number, order.window), "L")
    return _written(_fitted(image, order.width, order.height, _aspect(dataset, number)), order)


def fit(content: bytes, order: Order) -> tuple[bytes, int, int]:
    """A picture made to fit the box of `order` and written anew. Undrawable."""
    with Image.open(io.BytesIO(content), formats=_READ_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Undrawable("the picture is too large")
        image.draft(None, (order.width, order.height))
        return _written(_fitted(_opaque(image), order.width, order.height, 1.0), order)


def _frame(dataset: Dataset, wanted: int | None) -> int:
    """The frame's index, from 0."""
    count = max(1, int(dataset.get("NumberOfFrames") or 1))
    if wanted is None:
        return count // 2
    if not 1 <= wanted <= count:
        raise Undrawable("there is no such frame")  # thumbnail.NO_SUCH_FRAME
    return wanted - 1


def _check_size(dataset: Dataset) -> None:
    """Undrawable unless the header's dimensions are sane and native pixel data as long as that."""
    if not any(keyword in dataset for keyword in _PIXELS):
        raise Undrawable("there are no pixel data")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if rows < 1 or columns < 1 or samples not in {1, 3, 4}:
        raise Undrawable("the header's dimensions make no image")
    if rows * columns * samples > MAX_PIXELS:
        raise Undrawable("the image is too large")
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated and "PixelData" in dataset:
        needed = rows * columns * samples * int(dataset.get("BitsAllocated") or 8) // 8
        if str(dataset.get("PhotometricInterpretation")) == "YBR_FULL_422":
            needed = needed * 2 // 3
        if len(dataset.PixelData) < needed:
            raise Undrawable("there are fewer pixels than the header says")


def _eight_bits(pixels: npt.NDArray[Any], stored: int) -> npt.NDArray[np.uint8]:
    return (pixels >> max(0, stored - 8)).astype(np.uint8)


def _palette(dataset: Dataset, pixels: npt.NDArray[Any]) -> Image.Image:
    """Indices through the palette (PS3.3 §C.7.9)."""
    colours = apply_color_lut(pixels, dataset)[..., :3]
    if colours.dtype.itemsize == 2:
        descriptor = dataset.RedPaletteColorLookupTableDescriptor
        colours = _eight_bits(colours, 16 if int(descriptor[2]) > 8 else 8)
    return Image.fromarray(np.ascontiguousarray(colours.astype(np.uint8)), "RGB")


def _grey(
    dataset: Dataset, pixels: npt.NDArray[Any], number: int, window: tuple[float, float] | None
) -> npt.NDArray[np.uint8]:
    """Stored values → modality values → window → 0 to 255 (PS3.3 §C.11)."""
    padding = dataset.get("PixelPaddingValue")
    shown = pixels != padding if isinstance(padding, int) else None
    if "ModalityLUTSequence" in dataset:
        values: Grey = apply_modality_lut(pixels, dataset).astype(np.float32)
    else:
        rescale = _group(dataset, number, "PixelValueTransformationSequence", "RescaleSlope")
        slope = _number(rescale, "RescaleSlope", 1.0) or 1.0
        values = pixels.astype(np.float32)
        values *= np.float32(slope)
        values += np.float32(_number(rescale, "RescaleIntercept", 0.0))
    scaled = _windowed(dataset, values, number, window, shown)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        scaled = 255 - scaled
    return scaled.astype(np.uint8)


def _windowed(
    dataset: Dataset,
    values: Grey,
    number: int,
    window: tuple[float, float] | None,
    shown: npt.NDArray[np.bool_] | None,
) -> Grey:
    """Values as 0 to 255: by the window asked for, the object's own, or its spread."""
    if window is not None:
        return _linear(values, *window)
    if dataset.get("VOILUTSequence"):
        through = apply_voi(values.astype(np.int32), dataset).astype(np.float32)
        return _scaled(through, float(through.min()), float(through.max()))
    group = _group(dataset, number, "FrameVOILUTSequence", "WindowWidth")
    width, centre = _number(group, "WindowWidth", 0.0), _number(group, "WindowCenter", 0.0)
    function = str(group.get("VOILUTFunction") or "LINEAR")
    if width <= 0:
        return _scaled(values, *_spread(values, shown))
    if function == "SIGMOID":
        bent: Grey = 255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -50, 50)))
        return bent
    if function == "LINEAR_EXACT":
        return _scaled(values, centre - width / 2, centre + width / 2)
    return _linear(values, centre, width)


def _linear(values: Grey, centre: float, width: float) -> Grey:
    """The window function LINEAR (PS3.3 §C.11.2.1.2.1)."""
    return _scaled(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def _spread(values: Grey, shown: npt.NDArray[np.bool_] | None) -> tuple[float, float]:
    """The 1st and 99th percentile of what is not padding; the extremes when these are equal."""
    seen = values[shown] if shown is not None and shown.any() else values.ravel()
    seen = seen[:: max(1, seen.size // _SAMPLED_FOR_WINDOW)]
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(seen, (1, 99)))
    return (low, high) if high > low else (float(seen.min()), float(seen.max()))


def _scaled(values: Grey, low: float, high: float) -> Grey:
    if high <= low:
        return np.where(values > low, np.float32(255), np.float32(0))
    scaled = (values - np.float32(low)) * np.float32(255 / (high - low))
    clipped: Grey = np.nan_to_num(np.clip(scaled, 0, 255))
    return clipped


def _group(dataset: Dataset, number: int, sequence: str, keyword: str) -> Dataset:
    """Where `keyword` is: the object, or the frame's or the shared functional group's item."""
    if keyword in dataset:
        return dataset
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for groups in (*frames[number : number + 1], *shared[:1]):
        items = groups.get(sequence) or ()
        if items and keyword in items[0]:
            found: Dataset = items[0]
            return found
    return dataset


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    """The first value of an attribute as a number."""
    value = dataset.get(keyword)
    if isinstance(value, (list, pydicom.multival.MultiValue)):
        value = value[0] if len(value) else None
    try:
        number = float(value) if value is not None else default
    except (TypeError, ValueError):
        return default
    return number if np.isfinite(number) else default


def _aspect(dataset: Dataset, number: int) -> float:
    """Height of a pixel over its width, 1.0 when it is not told or not plausible."""
    measures = _group(dataset, number, "PixelMeasuresSequence", "PixelSpacing")
    for keyword in ("PixelSpacing", "PixelAspectRatio", "ImagerPixelSpacing"):
        pair = measures.get(keyword)
        if pair is not None and len(pair) == 2 and all(float(v) > 0 for v in pair):
            ratio = float(pair[0]) / float(pair[1])
            return ratio if 0.1 <= ratio <= 10 and abs(ratio - 1) > 0.01 else 1.0
    return 1.0


def _fitted(image: Image.Image, width: int, height: int, aspect: float) -> Image.Image:
    """The image with square pixels within the box, never larger than it was."""
    across = image.width / max(1.0, aspect)
    down = image.height * min(1.0, aspect)
    scale = min(1.0, width / across, height / down)
    size = max(1, round(across * scale)), max(1, round(down * scale))
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _opaque(image: Image.Image) -> Image.Image:
    """Grey or colour without transparency, on black."""
    if image.mode in {"L", "RGB"}:
        return image
    if image.mode in {"1", "I;16", "I", "F"}:
        return image.convert("L")
    coloured = image.convert("RGBA")
    black = Image.new("RGBA", coloured.size, "black")
    return Image.alpha_composite(black, coloured).convert("RGB")


def _written(image: Image.Image, order: Order) -> tuple[bytes, int, int]:
    written = io.BytesIO()
    if order.media_type == "image/png":
        image.save(written, "PNG")
    else:
        image.save(written, "JPEG", quality=order.quality)
    return written.getvalue(), image.width, image.height

"""One picture out of a DICOM object or of another picture; runs in a worker process, and blocks.

No text, overlay or annotation is drawn, nothing is turned, and nothing is enlarged.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from imagecodecs import jpeg8_encode
from PIL import Image, ImageOps

from gateway.adapters import frame_source
from gateway.adapters.frame_source import (
    MAX_PIXELS,
    NO_SUCH_FRAME,
    Frame,
    Undrawable,
    group,
    whole,
)
from gateway.adapters.grey_values import Shown, Window, colours, greys, is_indexed
from gateway.adapters.pixel_decoding import decoded
from gateway.adapters.quick_header import Buffer

__all__ = ("NO_SUCH_FRAME", "Order", "Undrawable", "Window", "draw", "draw_frame", "fit")

Image.MAX_IMAGE_PIXELS = MAX_PIXELS
_READ_FORMATS = ("JPEG", "PNG", "GIF", "JPEG2000")
_SEGMENTATIONS = frozenset(f"1.2.840.10008.5.1.4.1.1.66.{n}" for n in (4, 7))
_MOST_EMPTY = 100
"""Empty frames that are decoded to find one that is not."""
_FORMATS = {"image/png": "PNG", "image/gif": "GIF"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to draw: `frame` 1-based, None for the middle one; `window` None: the object's own.

    `is_middle`: the frame was taken for that, and may be another of a segmentation.
    `source`: left, top, width, height of the region that is shown, in pixels; None in it: up to
    the edge; negative sizes mirror. `region`: left, top, right, bottom in fractions of the image.
    """

    width: int
    height: int
    media_type: str = "image/jpeg"
    frame: int | None = None
    is_middle: bool = False
    window: Window | None = None
    source: Sequence[float | None] | None = None
    region: Sequence[float] | None = None
    quality: int = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A region by its corners in source pixels, and whether it is mirrored."""

    corners: tuple[float, float, float, float]
    is_mirrored: bool = False
    is_flipped: bool = False

    @property
    def size(self) -> tuple[float, float]:
        left, top, right, bottom = self.corners
        return right - left, bottom - top


def draw(content: Buffer, order: Order) -> tuple[bytes, int, int]:
    """The picture of one frame of a DICOM file, with its width and height. Undrawable."""
    frame = frame_source.of_file(content, order.frame, _telling())
    return _written(shown(frame, order), order)


def draw_frame(
    metadata: Buffer, frame: Buffer, syntax: str, order: Order
) -> tuple[bytes, int, int]:
    """The picture of a frame that came apart from its instance's metadata. Undrawable."""
    found = frame_source.of_parts(metadata, frame, syntax, order.frame or 1)
    if order.is_middle and not _telling()(found):
        raise Undrawable("the middle frame is empty")
    return _written(shown(found, order), order)


def _telling() -> Callable[[Frame], bool]:
    """Whether a frame is worth showing, of one object: of a segmentation, not empty."""
    empty: set[bytes] = set()

    def is_telling(frame: Frame) -> bool:
        if str(frame.header.get("SOPClassUID")) not in _SEGMENTATIONS:
            return True
        if frame.syntax is None:
            return bool(np.frombuffer(frame.content, np.uint8).any())
        if frame.encoded in empty:  # as most empty ones are alike
            return False
        if len(empty) == _MOST_EMPTY or np.asarray(decoded(frame, 1)).any():
            return True
        empty.add(frame.encoded)
        return False

    return is_telling


def fit(content: bytes | memoryview, order: Order) -> tuple[bytes, int, int]:
    """A picture made to fit the box of `order` and written anew. Undrawable."""
    with Image.open(io.BytesIO(content), formats=_READ_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Undrawable("the picture is too large")
        image.draft(None, (order.width, order.height))
        opaque = _opaque(image)
        size = _size(opaque.width, opaque.height, order)
        return _written(_resized(opaque, size), order)


def shown(frame: Frame, order: Order) -> Image.Image | Shown:
    """A frame as it is ordered, not yet encoded. Undrawable."""
    rows, columns = whole(frame.header, "Rows", 0), whole(frame.header, "Columns", 0)
    box = _box(order, columns, rows)
    across, down = box.size
    aspect = _aspect(frame)
    size = _size(across / max(1.0, aspect), down * min(1.0, aspect), order)
    shrink = min(across / size[0], down / size[1])
    found = decoded(frame, shrink)
    if isinstance(found, Image.Image):
        image = found
    elif is_indexed(frame.header):
        image = colours(found, frame)
    else:
        left = shrink * found.shape[1] / columns  # what decoding has not done yet
        grey = greys(found, frame, order.window, left)
        if grey.shape[::-1] == size and box == _Box(corners=(0.0, 0.0, columns, rows)):
            return grey
        image = Image.fromarray(grey, "L")
    return _resized(_cut(image, box, columns, rows), size)


def _box(order: Order, columns: int, rows: int) -> _Box:
    """What is shown of the image (PS3.18 §8.3.5.1.3). Undrawable when that lies outside of it."""
    left, top, width, height = order.source or (0.0, 0.0, None, None)
    if order.region is not None:
        first, second, third, fourth = order.region
        left, top = first * columns, second * rows
        width, height = third * columns - left, fourth * rows - top
    left, top = left or 0.0, top or 0.0
    width = columns - left if width is None else width
    height = rows - top if height is None else height
    corners = (
        max(0.0, left),
        max(0.0, top),
        min(float(columns), left + abs(width)),
        min(float(rows), top + abs(height)),
    )
    if corners[2] - corners[0] <= 0 or corners[3] - corners[1] <= 0:
        raise Undrawable(OUTSIDE)
    return _Box(corners=corners, is_mirrored=width < 0, is_flipped=height < 0)


OUTSIDE = "the source region lies outside of the image"
"""What an Undrawable says of a region that holds nothing of the image."""
TOO_LONG = "it is too long to be animated"
"""What an Undrawable says of frames that are too many, too large or too costly all together."""
BY_REQUEST = frozenset({OUTSIDE, NO_SUCH_FRAME, TOO_LONG})
"""What says more about the order than about the object."""


def _cut(image: Image.Image, box: _Box, columns: int, rows: int) -> Image.Image:
    """The region of an image that may have been decoded at a lower resolution."""
    if box.size != (columns, rows):
        across, down = image.width / columns, image.height / rows
        left, top, right, bottom = box.corners
        first = min(image.width - 1, round(left * across)), min(image.height - 1, round(top * down))
        last = max(first[0] + 1, round(right * across)), max(first[1] + 1, round(bottom * down))
        image = image.crop((*first, *last))
    if box.is_mirrored:
        image = ImageOps.mirror(image)
    return ImageOps.flip(image) if box.is_flipped else image


def _aspect(frame: Frame) -> float:
    """Height of a pixel over its width, 1.0 when it is not told or not plausible."""
    measures = group(frame, "PixelMeasuresSequence", "PixelSpacing")
    for keyword in (
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "PixelAspectRatio",
    ):
        pair = measures.get(keyword)
        if pair is not None and len(pair) == 2 and all(v and float(v) > 0 for v in pair):
            ratio = float(pair[0]) / float(pair[1])
            return ratio if 0.1 <= ratio <= 10 and abs(ratio - 1) > 0.01 else 1.0
    return 1.0


def _size(width: float, height: float, order: Order) -> tuple[int, int]:
    """The largest size in the box of `order` that enlarges nothing."""
    scale = min(1.0, order.width / width, order.height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if size == image.size:
        return image
    factor = image.width // size[0], image.height // size[1]
    if (size[0] * factor[0], size[1] * factor[1]) == image.size:
        return image.reduce(factor)
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _opaque(image: Image.Image) -> Image.Image:
    """Grey or colour without transparency, on black."""
    if image.mode in {"L", "RGB"}:
        image.load()
        return image
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.float32)
        return Image.fromarray((deep / max(1.0, float(deep.max())) * 255).astype(np.uint8), "L")
    if image.mode in {"1", "F"}:
        return image.convert("L")
    coloured = image.convert("RGBA")
    black = Image.new("RGBA", coloured.size, "black")
    return Image.alpha_composite(black, coloured).convert("RGB")


def _written(picture: Image.Image | Shown, order: Order) -> tuple[bytes, int, int]:
    if order.media_type == "image/jpeg":  # the bytes that Pillow makes, in half the time
        pixels = np.asarray(picture)
        height, width = pixels.shape[:2]
        return bytes(jpeg8_encode(pixels, level=order.quality)), width, height
    image, written = as_image(picture), io.BytesIO()
    image.save(written, _FORMATS[order.media_type], quality=order.quality)
    return written.getvalue(), image.width, image.height


def as_image(picture: Image.Image | Shown) -> Image.Image:
    """What is shown as Pillow has it."""
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture, "L")

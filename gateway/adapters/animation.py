"""All frames of a DICOM file as one animated GIF; runs in a worker process, and blocks."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace

from PIL import Image

from gateway.adapters import drawing, frame_source
from gateway.adapters.drawing import TOO_LONG, Order
from gateway.adapters.frame_source import Frame, Undrawable, count_of, number
from gateway.adapters.grey_values import is_indexed, steady_window
from gateway.adapters.picture_header import Header
from gateway.adapters.pixel_decoding import decoded
from gateway.adapters.quick_header import Buffer

MOST_PIXELS = 32 * 2**20
"""Those of all frames together, as they are shown."""
_MOST_SECONDS = 4.0
"""Processor time that drawing them may take; encoding them takes as much again at the most."""
_USUAL_MILLISECONDS, _LEAST_MILLISECONDS, _MOST_MILLISECONDS = 100.0, 20.0, 60_000.0
"""What a frame stays on; browsers show those that are shorter than the least far longer."""


def animate(content: Buffer, order: Order) -> tuple[bytes, int, int]:
    """All frames of a DICOM file, over and over, and their width and height. Undrawable."""
    middle = frame_source.of_file(content, None)
    frames = _frames(content, count_of(middle.header), _steady(middle, order))
    first, written = next(frames), io.BytesIO()
    first.save(
        written,
        "GIF",
        save_all=True,
        append_images=frames,
        duration=_milliseconds(middle.header),
        loop=0,
        optimize=False,
    )
    return written.getvalue(), first.width, first.height


def _frames(content: Buffer, count: int, order: Order) -> Iterator[Image.Image]:
    began = time.process_time()
    for each in range(1, count + 1):
        one = drawing.as_image(drawing.shown(frame_source.of_file(content, each), order))
        is_too_large = one.width * one.height * count > MOST_PIXELS
        if is_too_large or time.process_time() - began > _MOST_SECONDS:
            raise Undrawable(TOO_LONG)
        yield one if one.mode == "L" else one.quantize()


def _steady(middle: Frame, order: Order) -> Order:
    """The order with one window for frames that tell none: each by itself would flicker."""
    if order.window is not None or is_indexed(middle.header):
        return order
    values = decoded(middle, 1)
    if isinstance(values, Image.Image):
        return order
    return replace(order, window=steady_window(values, middle))


def _milliseconds(header: Header) -> float:
    """How long a frame stays on (PS3.3 §C.7.6.5): by its time, else by the rate of frames."""
    told = number(header, "FrameTime", 0.0)
    for keyword in ("RecommendedDisplayFrameRate", "CineRate"):
        rate = number(header, keyword, 0.0)
        if told <= 0 and rate > 0:
            told = 1000 / rate
    return (
        min(max(told, _LEAST_MILLISECONDS), _MOST_MILLISECONDS) if told > 0 else _USUAL_MILLISECONDS
    )

"""All frames of an object in one picture that moves, as long as that is not too much."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from gateway.adapters import animation
from gateway.adapters.animation import MOST_PIXELS, animate
from gateway.adapters.drawing import OUTSIDE, TOO_LONG, Order
from gateway.adapters.frame_source import Undrawable
from tests import odd_images

GIF = Order(width=1000, height=1000, media_type="image/gif")
SIDE = 32


def loop_of(*levels: int, **attributes: Any) -> bytes:
    """Frames of one value each, with a darker and a brighter pixel."""
    frames = np.stack([np.full((SIDE, SIDE), level, np.uint16) for level in levels])
    frames[:, 0, 0], frames[:, 0, 1] = 0, 4095
    told = {"Rows": SIDE, "Columns": SIDE, "NumberOfFrames": len(levels), **attributes}
    return odd_images.native(frames, **odd_images.TWELVE, **told)


def shown(content: bytes, order: Order = GIF) -> Image.Image:
    made, width, height = animate(memoryview(content), order)
    image = Image.open(io.BytesIO(made))
    assert (image.format, image.size) == ("GIF", (width, height))
    return image


def middles(image: Image.Image) -> Iterator[int]:
    for frame in ImageSequence.Iterator(image):
        yield int(np.asarray(frame.convert("L"))[image.height // 2, image.width // 2])


def test_frames_come_in_their_order_and_over_and_over() -> None:
    image = shown(loop_of(1000, 2000, 3000, **odd_images.WINDOW))

    assert list(middles(image)) == [62, 125, 187]
    assert image.info["loop"] == 0


def test_frames_without_a_window_are_shown_by_the_same_one() -> None:
    levels = np.linspace(0, 4000, SIDE * SIDE).reshape(SIDE, SIDE)
    frames = np.stack([levels, levels / 2, levels / 4]).astype(np.uint16)
    told: dict[str, Any] = {"Rows": SIDE, "Columns": SIDE, "NumberOfFrames": 3}

    first, second, third = middles(shown(odd_images.native(frames, **odd_images.TWELVE, **told)))

    assert first == 255, "the middle frame tells how bright the others are"
    assert second // third == 2


@pytest.mark.parametrize(
    ("attributes", "milliseconds"),
    [
        ({}, 100),
        ({"FrameTime": "40"}, 40),
        ({"RecommendedDisplayFrameRate": 25}, 40),
        ({"CineRate": 5, "FrameTime": "0"}, 200),
        ({"FrameTime": "1"}, 20),
        ({"FrameTime": "-5"}, 100),
        ({"FrameTime": "99999999"}, 60_000),
    ],
)
def test_frames_stay_on_as_long_as_they_are_to(
    attributes: dict[str, Any], milliseconds: int
) -> None:
    image = shown(loop_of(1000, 2000, **odd_images.WINDOW, **attributes))

    assert image.info["duration"] == milliseconds


def test_one_frame_is_a_picture_that_stands_still() -> None:
    assert list(middles(shown(odd_images.native(odd_images.base(), **odd_images.EIGHT))))


def test_colours_move_too() -> None:
    planes = np.stack([odd_images.colours(), 255 - odd_images.colours()]).astype(np.uint8)
    content = odd_images.native(planes, NumberOfFrames=2, **odd_images.RGB)

    first, second = (f.convert("RGB") for f in ImageSequence.Iterator(shown(content)))

    assert np.abs(np.asarray(first).astype(int) - planes[0]).mean() < 12
    assert np.abs(np.asarray(second).astype(int) - planes[1]).mean() < 12


def test_every_frame_is_cut_and_scaled_as_ordered() -> None:
    order = Order(width=8, height=8, media_type="image/gif", source=(0, 0, 16, 16))
    assert shown(loop_of(1000, 2000, 3000, **odd_images.WINDOW), order).size == (8, 8)

    outside = Order(width=8, height=8, media_type="image/gif", source=(100, 0, 16, 16))
    with pytest.raises(Undrawable, match=OUTSIDE):
        animate(memoryview(loop_of(1000, 2000, **odd_images.WINDOW)), outside)


def test_too_many_pixels_are_refused_before_they_are_drawn() -> None:
    count = MOST_PIXELS // SIDE**2 + 1
    many = odd_images.native(
        np.zeros((count, SIDE, SIDE), np.uint8),
        Rows=SIDE,
        Columns=SIDE,
        NumberOfFrames=count,
        **odd_images.EIGHT,
    )
    with pytest.raises(Undrawable, match=TOO_LONG):
        animate(memoryview(many), GIF)


def test_what_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation, "_MOST_SECONDS", 0.0)
    with pytest.raises(Undrawable, match=TOO_LONG):
        animate(memoryview(loop_of(1000, 2000, **odd_images.WINDOW)), GIF)

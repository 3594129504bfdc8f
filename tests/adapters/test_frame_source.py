"""Which frame is taken, out of what, and what is not even tried."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate

from gateway.adapters import frame_source
from gateway.adapters.frame_source import Frame, Undrawable, number, of_file, of_parts, whole
from tests import odd_images

FRAMES = odd_images.greys()["enhanced"]


@pytest.mark.parametrize(("wanted", "index"), [(None, 1), (1, 0), (3, 2)])
def test_frames_are_counted_from_one_and_the_middle_one_is_shown(
    wanted: int | None, index: int
) -> None:
    assert of_file(FRAMES, wanted).index == index


@pytest.mark.parametrize("wanted", [0, 4, -1])
def test_frame_that_is_not_there_is_named_so(wanted: int) -> None:
    with pytest.raises(Undrawable, match=frame_source.NO_SUCH_FRAME):
        of_file(FRAMES, wanted)


@pytest.mark.parametrize("syntax", [odd_images.EXPLICIT, odd_images.DEFLATED, odd_images.JPEG])
def test_middle_frame_is_that_of_the_frames_which_are_there(syntax: str) -> None:
    three = [np.full((64, 96), n, np.uint8) for n in (1, 2, 3)]
    about = {**odd_images.EIGHT, "NumberOfFrames": 7}
    if syntax == odd_images.JPEG:
        pixels = encapsulate([bytes(imagecodecs.jpeg8_encode(each)) for each in three])
        content = odd_images.file(syntax + "50", pixels, **about)
    else:
        content = odd_images.native(np.stack(three), syntax, **about)
    assert of_file(content, None).index == 1
    assert bytes(of_file(content, None).content) == bytes(of_file(content, 2).content)


def test_frames_are_looked_at_from_the_middle_on_until_one_tells_something() -> None:
    content = odd_images.native(
        np.zeros((7, 64, 96), np.uint8), **odd_images.EIGHT, NumberOfFrames=7
    )
    seen = []

    def is_telling(frame: Frame) -> bool:
        seen.append(frame.index)
        return frame.index == 0

    assert of_file(content, None, is_telling).index == 0
    assert seen == [3, 4, 2, 5, 1, 6, 0]
    assert of_file(content, None, lambda frame: False).index == 3
    assert of_file(content, 2, lambda frame: False).index == 1


def test_per_frame_groups_are_those_of_the_frame() -> None:
    found = frame_source.group(of_file(FRAMES, 2), "FrameVOILUTSequence", "WindowCenter")
    assert number(found, "WindowCenter", 0) == 1048


@pytest.mark.parametrize(
    ("value", "expected"), [("1A", 7), ("", 7), (None, 7), ("12", 12), ([3, 4], 3), ("inf", 7)]
)
def test_numbers_that_are_none_have_their_default(value: object, expected: int) -> None:
    dataset = pydicom.Dataset()
    dataset.PatientComments = value if isinstance(value, str) else None
    if isinstance(value, list):
        dataset.PixelAspectRatio = value
        assert whole(dataset, "PixelAspectRatio", 7) == expected
        return
    assert whole(dataset, "PatientComments", 7) == expected


@pytest.mark.parametrize("size", [(0, 10), (65535, 65535), (10, 0)])
def test_sizes_that_make_no_image_are_refused(size: tuple[int, int]) -> None:
    content = odd_images.file(odd_images.EXPLICIT, b"\0" * 64, Rows=size[0], Columns=size[1])
    with pytest.raises(Undrawable):
        of_file(content, None)


def test_deflated_frame_is_inflated_only_so_far() -> None:
    bomb = odd_images.deflated(b"\0" * (80 << 20))
    assert len(bomb) < 1 << 20
    metadata = pydicom.dcmread(io.BytesIO(FRAMES), stop_before_pixels=True).to_json().encode()
    frame = of_parts(metadata, bomb, frame_source.DEFLATED_FRAMES, 1)
    assert len(frame.content) <= 64 << 20


def test_deep_metadata_are_refused() -> None:
    nested = b'{"00283000": {"vr": "SQ", "Value": [' * 150 + b"]}}" * 150
    with pytest.raises(Undrawable, match="deep"):
        of_parts(nested, b"", odd_images.EXPLICIT, 1)

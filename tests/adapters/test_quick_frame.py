"""Frames are the bytes that pydicom finds, or left to it."""

from __future__ import annotations

import io
import struct

import pytest
from pydicom import Dataset

from gateway.adapters import dicom_files, dicom_parts, quick_frame, quick_header
from gateway.adapters.dicom_files import Pixels
from gateway.adapters.frame_source import whole
from gateway.adapters.picture_header import Header
from tests import odd_images

FILES = {
    **dict(odd_images.of_pydicom()),
    **odd_images.greys(),
    **odd_images.coloured(),
    **odd_images.others(),
}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_that_pydicom_finds(name: str) -> None:
    content = FILES[name]
    quick = quick_header.read(memoryview(content))
    if quick is None:
        return
    opened = dicom_files.open_dicom(io.BytesIO(content), is_named_dicom=True)
    header = quick.header.dataset
    header.NumberOfFrames = max(1, whole(quick.header, "NumberOfFrames", 1))
    slowly = dicom_parts.Frames(opened, quick.pixels, header)
    for index in {0, slowly.count // 2, slowly.count - 1}:
        found = quick_frame.stored(content, quick.header, quick.pixels, index, slowly.count)
        assert found is None or bytes(found) == slowly.read(index + 1)


def test_ordinary_frames_are_found_quickly() -> None:
    for name in ("CT_small", "JPEG 2000", "MR_small_RLE", "examples_ybr_color", "enhanced"):
        quick = quick_header.read(FILES[name])
        assert quick is not None
        count = int(quick.header.get("NumberOfFrames", 1))
        assert quick_frame.stored(FILES[name], quick.header, quick.pixels, count - 1, count)


def item(content: bytes) -> bytes:
    return struct.pack("<II", 0xE000FFFE, len(content)) + content


END = struct.pack("<II", 0xE0DDFFFE, 0)
TWO = item(b"aa") + item(b"bb") + END
ENCAPSULATED = Pixels(tag=0x7FE00010, vr="OB", offset=0, length=None)


def found(content: bytes, index: int, count: int) -> bytes | None:
    header = Header.of(Dataset())
    frame = quick_frame.stored(content, header, ENCAPSULATED, index, count)
    return None if frame is None else bytes(frame)


def offsets(*numbers: int) -> bytes:
    return item(struct.pack(f"<{len(numbers)}I", *numbers))


@pytest.mark.parametrize(
    ("content", "index", "count", "frame"),
    [
        (item(b"") + TWO, 0, 1, b"aabb"),
        (item(b"") + TWO, 1, 2, b"bb"),
        (offsets(0, 10) + TWO, 0, 2, b"aa"),
        (offsets(0, 20) + item(b"cc") + TWO, 0, 2, b"ccaa"),
        (offsets(0, 20) + item(b"cc") + TWO, 1, 2, b"bb"),
        (offsets(0, 11) + TWO, 0, 2, None),
        (offsets(10, 0) + TWO, 1, 2, None),
        (offsets(0) + TWO, 1, 2, b"bb"),
        (offsets(0, 0) + TWO, 1, 2, b"bb"),
        (offsets(0, 0) + item(b"cc") + TWO, 1, 2, None),
        (item(b"") + TWO, 1, 3, None),
        (item(b"") + TWO[:-8], 0, 1, None),
        (item(b"") + TWO[:-12], 0, 1, None),
        (item(b"") + END, 0, 1, None),
        (END, 0, 1, None),
        (b"", 0, 1, None),
    ],
)
def test_frames_are_put_together_of_their_fragments(
    content: bytes, index: int, count: int, frame: bytes | None
) -> None:
    assert found(content, index, count) == frame


@pytest.mark.parametrize(
    ("content", "told", "there"),
    [
        (item(b"") + TWO, 7, 2),
        (offsets(0, 10) + TWO, 7, 2),
        (offsets(0, 0, 0) + TWO, 7, 2),
        (offsets(0, 20) + item(b"cc") + TWO, 7, 2),
        (item(b"") + TWO, 1, 1),
        (item(b"") + END, 7, 7),
        (b"", 7, 7),
    ],
)
def test_frames_that_are_there_are_counted(content: bytes, told: int, there: int) -> None:
    assert quick_frame.present(content, Header.of(Dataset()), ENCAPSULATED, told) == there

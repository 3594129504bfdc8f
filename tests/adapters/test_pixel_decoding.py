"""Codestreams that are not what they say are refused before they are decoded."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from gateway.adapters.frame_source import Frame, Undrawable, of_file
from gateway.adapters.pixel_decoding import decoded
from tests import odd_images


def frame(name: str) -> Frame:
    return of_file(odd_images.greys()[name], None)


def with_content(frame: Frame, content: bytes) -> Frame:
    return Frame(header=frame.header, index=0, syntax=frame.syntax, content=content)


@pytest.mark.parametrize("name", ["JPEG", "JPEG of 12 bits", "JPEG lossless", "JPEG-LS"])
def test_huge_jpeg_is_refused_by_its_own_header(name: str) -> None:
    good = frame(name)
    marker = {"JPEG": b"\xff\xc0", "JPEG of 12 bits": b"\xff\xc1"}.get(name, b"\xff\xc3")
    at = good.encoded.index(b"\xff\xf7" if name == "JPEG-LS" else marker)
    huge = bytearray(good.encoded)
    struct.pack_into(">HH", huge, at + 5, 65500, 65500)
    with pytest.raises(Undrawable, match="too large"):
        decoded(with_content(good, bytes(huge)), 1)


def test_huge_jpeg_2000_is_refused_by_its_own_header() -> None:
    good = frame("JPEG 2000")
    huge = bytearray(good.encoded)
    struct.pack_into(">II", huge, 8, 1 << 30, 1 << 30)
    with pytest.raises(Undrawable, match="too large"):
        decoded(with_content(good, bytes(huge)), 1)


@pytest.mark.parametrize("name", ["JPEG", "JPEG 2000", "JPEG-LS"])
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xd9", b"\xff" * 100, b"\0" * 100])
def test_what_is_no_codestream_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(Undrawable):
        decoded(with_content(frame(name), content), 1)


def test_jpeg_2000_is_decoded_no_finer_than_needed() -> None:
    found = decoded(frame("JPEG 2000"), 2.5)
    assert isinstance(found, np.ndarray)
    assert found.shape == (32, 48)


def test_jpeg_is_decoded_no_finer_than_needed() -> None:
    found = decoded(of_file(odd_images.coloured()["JPEG"], None), 4)
    assert isinstance(found, Image.Image)
    assert found.size == (24, 16)

"""Codestreams that are not what they say are refused before they are decoded."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate_extended

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


def halved(**options: Any) -> Any:
    """JPEG 2000 of one part of a ramp, decoded for a picture of a quarter of its sides."""
    ramp = np.add.outer(np.arange(257), np.arange(333)).astype(np.uint16) // 3
    image = Image.fromarray(ramp.astype(np.uint8))
    colour = {} if (mode := options.pop("mode", "L")) == "L" else odd_images.RGB
    written = io.BytesIO()
    image.convert(mode).save(written, "JPEG2000", no_jp2=True, **options)
    syntax, size = odd_images.JPEG + "90", {"Rows": 257, "Columns": 333}
    about = {**odd_images.EIGHT, **colour, **size}
    content = odd_images.compressed(syntax, written.getvalue(), **about)
    return np.asarray(decoded(of_file(content, None), 4)).astype(int), ramp


@pytest.mark.parametrize(
    "options",
    [{"mode": "RGBA"}, {"offset": (5, 5), "tile_offset": (0, 0), "tile_size": (100, 100)}],
    ids=["four components, odd sides", "offset"],
)
def test_jpeg_2000_is_read_whole_where_it_cannot_be_read_smaller(options: dict[str, Any]) -> None:
    found, ramp = halved(**options)
    assert found.shape[:2] == ramp.shape
    assert abs((found if found.ndim == 2 else found[..., 0]) - ramp).max() <= 2


@pytest.mark.parametrize(("bits", "syntax"), [(10, "90"), (12, "90"), (16, "90"), (16, "201")])
def test_white_of_deep_colour_is_white(bits: int, syntax: str) -> None:
    white = np.full((64, 96, 3), (1 << bits) - 1, np.uint16)
    stream = (
        imagecodecs.htj2k_encode(white, reversible=True)
        if syntax == "201"
        else imagecodecs.jpeg2k_encode(
            white, level=0, codecformat="j2k", mct=True, bitspersample=bits
        )
    )
    deep = {"BitsAllocated": 16, "BitsStored": bits, "HighBit": bits - 1}
    content = odd_images.compressed(odd_images.JPEG + syntax, stream, **{**odd_images.RGB, **deep})
    assert np.unique(np.asarray(decoded(of_file(content, None), 1))).tolist() == [255]


@pytest.mark.parametrize("syntax", ["JPEG-LS", "run lengths"])
def test_offsets_of_all_frames_do_not_count_for_one_of_them(syntax: str) -> None:
    """An Extended Offset Table (PS3.3 §C.7.6.3.1.8)."""
    alone = frame(syntax)
    dataset = pydicom.dcmread(io.BytesIO(odd_images.greys()[syntax]))
    content = alone.encoded + b"\0" * (len(alone.encoded) % 2)
    frames, offsets, lengths = encapsulate_extended([b"\0" * 10, content, b"\0" * 10])
    dataset.PixelData, dataset.NumberOfFrames = frames, 3
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    found = decoded(of_file(written.getvalue(), 2), 1)
    assert np.array_equal(np.asarray(found), np.asarray(decoded(alone, 1)))


def test_jpeg_is_decoded_no_finer_than_needed() -> None:
    found = decoded(of_file(odd_images.coloured()["JPEG"], None), 4)
    assert isinstance(found, Image.Image)
    assert found.size == (24, 16)


@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_jpeg_is_read_without_its_end_and_after_other_bytes(kind: str) -> None:
    good = of_file(odd_images.KINDS[kind]()["JPEG"], None)
    whole = good.encoded.rstrip(b"\0")
    for content in (b"\0\0" + whole, whole[:-2], whole[:-2] + b"\0"):
        found = np.asarray(decoded(with_content(good, content), 1))
        assert np.array_equal(found, np.asarray(decoded(good, 1)))


@pytest.mark.parametrize("kind", ["grey", "colour"])
@pytest.mark.parametrize("left", [0.98, 0.9, 0.5])
def test_jpeg_that_lacks_more_than_its_end_is_not_completed(kind: str, left: float) -> None:
    good = of_file(odd_images.KINDS[kind]()["JPEG"], None)
    cut = good.encoded[: int(len(good.encoded) * left)]
    with pytest.raises((Undrawable, OSError)):
        decoded(with_content(good, cut), 1)


def test_jpeg_ls_that_is_cut_is_refused_before_its_decoder_spins() -> None:
    cut = of_file(odd_images.cut_jpeg_ls(), None)
    before = time.process_time()

    with pytest.raises(Undrawable, match="cut off"):
        decoded(cut, 1)
    assert time.process_time() - before < 0.5

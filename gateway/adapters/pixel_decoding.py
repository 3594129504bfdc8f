"""A stored frame decoded into its samples, no finer than is needed.

Grey and indexed frames become arrays of stored values, colour becomes an RGB picture.
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from gateway.adapters import jpeg_2000
from gateway.adapters.colour_samples import coloured
from gateway.adapters.frame_source import MAX_PIXELS, Frame, Undrawable, whole
from gateway.adapters.jpeg_2000 import Codestream
from gateway.adapters.native_pixels import native
from gateway.adapters.picture_header import Header, photometric
from gateway.adapters.stored_bits import of_words

Values = npt.NDArray[Any]
_ROOT = "1.2.840.10008.1.2.4."
_JPEG = frozenset(_ROOT + arc for arc in ("50", "51", "57", "70"))
_JPEG_LS = frozenset(_ROOT + arc for arc in ("80", "81"))
_JPEG_2000 = frozenset(_ROOT + arc for arc in ("90", "91", "92", "93", "201", "202", "203"))
_JPEG_XL = frozenset(_ROOT + arc for arc in ("110", "111", "112"))
_START_OF_IMAGE, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
_LAST_BLOCKS = 17
"""Lines that the last blocks of a JPEG take, and one that these are smoothed with."""
_EXTENDED_OFFSETS = frozenset({0x7FE00001, 0x7FE00002})
_LARGEST_SHRINK = 5
"""Resolutions of JPEG 2000 that every encoder writes by default."""


def decoded(frame: Frame, shrink: float) -> Values | Image.Image:
    """The samples of a frame, in each direction down to 1/`shrink` of the stored resolution.

    Undrawable; or whatever a decoder raises.
    """
    if frame.syntax is None:
        return native(frame)
    if frame.syntax in _JPEG:
        return _jpeg(frame, shrink)
    if frame.syntax in _JPEG_2000:
        return _jpeg_2000(frame, shrink)
    if frame.syntax in _JPEG_XL:
        return _jpeg_xl(frame)
    if frame.syntax in _JPEG_LS:
        _check_jpeg_ls(frame.encoded)
    return _by_pydicom(frame)


def _jpeg(frame: Frame, shrink: float) -> Values | Image.Image:
    """JPEG of all processes (PS3.5 §8.2.1): scaled while it is decoded where it is baseline."""
    content = frame.encoded[max(0, frame.encoded.find(_START_OF_IMAGE)) :]
    precision, height, width, identifiers = _start_of_frame(content)
    position = _position(content)
    process = content[position + 1]
    if precision != 8 or process not in {0xC0, 0xC1, 0xC2}:
        return _jpeg_of_any_depth(frame, precision)
    if process != 0xC2 and content.rfind(_END_OF_IMAGE, position) < 0:
        content = _ended(content)
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        size = max(1, int(width / shrink)), max(1, int(height / shrink))
        if len(identifiers) == 1:
            image.draft("L", size)
            return _signed(np.asarray(image), frame, 8)
        is_told = len(identifiers) == 4 or "adobe_transform" in image.info
        is_rgb = photometric(frame.header) == "RGB" and "jfif" not in image.info
        if is_told or not (is_rgb or identifiers.upper() == b"RGB"):
            image.draft(None, size)
            return image.convert("RGB")
        image.draft("YCbCr", size)  # as it is: no transformation by the decoder
        return Image.frombytes("RGB", image.size, image.tobytes())


def _ended(content: bytes) -> bytes:
    """A JPEG that lacks its end, with one; Undrawable where more than that is missing.

    Pixels that are all there do not depend on what comes after them.
    """
    ends = (_END_OF_IMAGE, b"\x55" * 1024 + _END_OF_IMAGE)
    first, second = (
        np.asarray(Image.open(io.BytesIO(content + end), formats=("JPEG",))) for end in ends
    )
    height, width = first.shape[:2]
    differs = (first != second).reshape(height, width, -1).any(axis=2)
    differs[-_LAST_BLOCKS:, -2 * _LAST_BLOCKS :] = False
    if differs.any():
        raise Undrawable("its JPEG is cut off")
    return content + _END_OF_IMAGE


def _jpeg_of_any_depth(frame: Frame, precision: int) -> Values | Image.Image:
    """JPEG of more than eight bits, or lossless."""
    import imagecodecs

    planes: Values = imagecodecs.jpeg8_decode(frame.encoded)
    if planes.ndim == 3:
        header = frame.header.changed(BitsStored=precision)
        return coloured(planes, header)
    return _signed(planes, frame, precision)


def _signed(values: Values, frame: Frame, precision: int) -> Values:
    """Unsigned samples as the header wants them read: two's complement of `precision` bits."""
    if not whole(frame.header, "PixelRepresentation", 0):
        return values
    unused = values.dtype.itemsize * 8 - precision
    shifted: Values = (values << unused).view(f"i{values.dtype.itemsize}") >> unused
    return shifted


def _jpeg_2000(frame: Frame, shrink: float) -> Values | Image.Image:
    """JPEG 2000 and High-Throughput JPEG 2000, at a lower resolution where that will do."""
    stream = jpeg_2000.codestream(frame.encoded)
    if stream is None:
        raise Undrawable("there is no JPEG 2000 codestream")
    _check_pixels(stream.samples)
    is_colour = stream.components != 1
    if is_colour:
        frame = replace(frame, header=_told_right(frame.header, stream))
    if stream.precision > (8 if is_colour else 16):  # Pillow makes deep white black
        return _by_pydicom(frame)
    is_told_right = stream.is_signed == bool(whole(frame.header, "PixelRepresentation", 0))
    is_reducible = is_told_right or is_colour
    for halvings in dict.fromkeys((_halvings(stream, shrink) if is_reducible else 0, 0)):
        with suppress(OSError):  # some are only read at full resolution
            return _by_pillow(frame, stream, halvings)
    return _by_pydicom(frame)  # what one OpenJPEG refuses, another may read with a warning


def _told_right(header: Header, stream: Codestream) -> Header:
    """The header with what decoders give of colour: RGB, unless YBR was not transformed."""
    is_ybr = not stream.is_transformed and photometric(header) in {"YBR_FULL", "YBR_FULL_422"}
    return header.changed(PhotometricInterpretation="YBR_FULL" if is_ybr else "RGB")


def _by_pillow(frame: Frame, stream: Codestream, halvings: int) -> Values | Image.Image:
    """A JPEG 2000 codestream of any number of components, at 1/2**`halvings`."""
    reduced = stream.reduced(halvings)
    with Image.open(io.BytesIO(reduced or stream.content), formats=("JPEG2000",)) as image:
        if reduced is None:
            image.reduce = halvings  # type: ignore[assignment, method-assign]  # Pillow's own way to ask for it
        image.load()
        if stream.components != 1:
            return _converted(image, frame.header)
        return _levels(np.asarray(image), frame, stream.precision, is_signed=stream.is_signed)


def _halvings(stream: Codestream, shrink: float) -> int:
    """How often to halve: as often as `shrink` allows and the codestream can."""
    return max(0, min(int(np.log2(max(1.0, shrink)) + 0.001), stream.levels, _LARGEST_SHRINK))


def _levels(shown: Values, frame: Frame, precision: int, *, is_signed: bool) -> Values:
    """The stored values out of Pillow's, which are shifted up to 8 or 16 bits and unsigned."""
    bits = shown.dtype.itemsize * 8
    if is_signed != bool(whole(frame.header, "PixelRepresentation", 0)):
        values = shown.astype(np.int32) >> (bits - precision)
        if is_signed:
            values -= 1 << (precision - 1)
        return _signed((values & ((1 << precision) - 1)).astype(np.uint32), frame, precision)
    if is_signed:
        shown = (shown ^ shown.dtype.type(1 << (bits - 1))).view(f"i{bits // 8}")
    return shown if bits == precision else shown >> (bits - precision)


def _converted(image: Image.Image, header: Header) -> Image.Image:
    if image.mode == "RGB" and photometric(header) == "YBR_FULL":
        return Image.frombytes("YCbCr", image.size, image.tobytes()).convert("RGB")
    return image.convert("RGB")


def _jpeg_xl(frame: Frame) -> Values | Image.Image:
    """JPEG XL, which knows its own size and colours."""
    import imagecodecs

    planes: Values = imagecodecs.jpegxl_decode(frame.encoded)
    _check_pixels(planes.size)
    if planes.ndim == 3 and planes.shape[-1] >= 3:
        return coloured(planes[..., :3], frame.header.changed(PhotometricInterpretation="RGB"))
    bits = whole(frame.header, "BitsStored", planes.dtype.itemsize * 8)
    return _signed(planes.reshape(planes.shape[:2]), frame, bits)


def _by_pydicom(frame: Frame) -> Values | Image.Image:
    """By the decoders of pydicom: run lengths, JPEG-LS, and what others leave."""
    alone, syntax = Dataset(), UID(frame.syntax or "")
    alone.update(frame.header.dataset)
    for table in _EXTENDED_OFFSETS & alone.keys():
        del alone[table]  # of all frames
    alone.PhotometricInterpretation = photometric(frame.header)
    alone.NumberOfFrames, alone.PixelData = 1, encapsulate([frame.encoded])
    alone["PixelData"].is_undefined_length = True
    alone.ensure_file_meta()
    alone.file_meta.TransferSyntaxUID = syntax
    planes, meaning = get_decoder(syntax).as_array(alone, index=0)
    if planes.ndim == 2:
        if frame.syntax in _JPEG_LS:
            return planes
        return of_words(planes, frame.header, planes.dtype.kind)
    told = str(meaning["photometric_interpretation"])
    return coloured(planes, frame.header.changed(PhotometricInterpretation=told))


def _check_jpeg_ls(content: bytes) -> None:
    """Undrawable where it has no end, which takes its decoder four seconds to find out.

    Among coded pixels no byte of the upper half follows 0xFF, so the marker is found nowhere else.
    """
    _start_of_frame(content)
    if content.rfind(_END_OF_IMAGE, _position(content)) < 0:
        raise Undrawable("its JPEG-LS is cut off")


def _start_of_frame(content: bytes) -> tuple[int, int, int, bytes]:
    """Precision, height, width and component identifiers of JPEG or JPEG-LS. Undrawable."""
    at = _position(content)
    precision, height, width, count = struct.unpack_from(">BHHB", content, at + 4)
    _check_pixels(height * width * count)
    return precision, height, width, bytes(content[at + 10 : at + 10 + 3 * count : 3])


def _position(content: bytes) -> int:
    """Where the marker of the frame is (ISO/IEC 10918-1 §B.1.1)."""
    at = content.find(_START_OF_IMAGE) + 2
    while 2 <= at < len(content) - 10 and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}):
            return at
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", content, at + 2)[0]
    raise Undrawable("there is no frame in its JPEG")


def _check_pixels(count: int) -> None:
    if not 0 < count <= MAX_PIXELS:
        raise Undrawable("the image is too large")

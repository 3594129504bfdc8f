"""The files that thumbnails are made of, and a thumbnail made the way that the manuals show."""

from __future__ import annotations

import io
from functools import cache, partial
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEGBaseline8Bit

FILES = Path(pydicom.__file__).parent / "data/test_files"
FRAMES = 30
NOISE = 12.0
"""What a slice of an ordinary CT has, in Hounsfield units."""


def encoded(dataset: pydicom.Dataset) -> bytes:
    """A data set as a file."""
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def raw_ct() -> bytes:
    """A CT image of 512 x 512, 16 bits, Explicit VR Little Endian."""
    dataset = pydicom.dcmread(FILES / "J2K_pixelrep_mismatch.dcm")
    dataset.decompress()
    return encoded(dataset)


def jpeg_2000_ct(noise: float = NOISE) -> bytes:
    """The same slice in JPEG 2000, lossless; `noise`: its standard deviation in Hounsfield units.

    Lossy compression took the noise out of the slice, without which a lossless image has half
    its usual size and time.
    """
    dataset = pydicom.dcmread(io.BytesIO(raw_ct()))
    values = dataset.pixel_array.astype(np.int32)
    values += np.random.default_rng(1).normal(0, noise, values.shape).astype(np.int32)
    values -= values.min()
    written = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(written, "JPEG2000", no_jp2=True)
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 16, 15
    dataset.PixelData = encapsulate([written.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    return encoded(dataset)


def ultrasound() -> bytes:
    """A loop of 30 frames of 640 x 480 in JPEG."""
    dataset = pydicom.dcmread(FILES / "examples_jpeg2k.dcm")
    picture = Image.fromarray(dataset.pixel_array)
    frames = []
    for number in range(FRAMES):
        written = io.BytesIO()
        picture.rotate(number).save(written, "JPEG", quality=90)
        frames.append(written.getvalue())
    dataset.NumberOfFrames, dataset.PhotometricInterpretation = FRAMES, "YBR_FULL_422"
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return encoded(dataset)


KINDS = {
    "raw CT": cache(raw_ct),
    "JPEG 2000 CT": cache(jpeg_2000_ct),
    "JPEG 2000 CT without noise": cache(partial(jpeg_2000_ct, 0)),
    "30-frame US": cache(ultrasound),
}
"""The files, each made when it is first needed."""


def plainly(content: bytes, side: int) -> bytes:
    """A thumbnail the way that the manuals show: everything decoded, windowed, then scaled."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    pixels = dataset.pixel_array
    if "NumberOfFrames" in dataset:
        pixels = pixels[len(pixels) // 2]
    if pixels.ndim == 2:
        values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(float)
        values -= values.min()
        pixels = (values / max(values.max(), 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=85)
    return written.getvalue()

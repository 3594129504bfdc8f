"""One picture in every encoding that DICOM knows, and pydicom's files: what thumbnails must show.

The picture is a disc on a ramp with an F on it, which no turning or mirroring leaves as it is.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

FILES = Path(pydicom.__file__).parent / "data/test_files"
NO_PICTURE = (
    "JPEG2000-embedded-sequence-delimiter",
    "MR_truncated",
    "meta_missing_tsyntax",
    "nested_priv_SQ",
)
"""Among pydicom's files with pixel data, those that are broken."""
ROWS, COLUMNS = 64, 96
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4."
UNKNOWN_TO_PYDICOM = {JPEG + "110", "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.1.98"}
_CT = "1.2.840.10008.5.1.4.1.1.2"
Values = npt.NDArray[Any]


def base() -> Values:
    """The picture in 256 greys."""
    ramp = np.tile(np.linspace(0, 160, COLUMNS), (ROWS, 1)).astype(np.uint8)
    image = Image.fromarray(ramp)
    pen = ImageDraw.Draw(image)
    pen.ellipse((22, 6, 74, 58), fill=210)
    pen.text((48, 32), "F", fill=20, font=ImageFont.load_default(46), anchor="mm")
    return np.asarray(image)


def colours() -> Values:
    """The picture in colour: the F is red, the disc yellow, the ground from black to blue."""
    grey = base()
    planes = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    planes[..., 2] = np.where(grey <= 160, grey, 0)
    disc = Image.new("L", (COLUMNS, ROWS))
    ImageDraw.Draw(disc).ellipse((22, 6, 74, 58), fill=1)
    inside = np.asarray(disc) > 0
    planes[inside] = (230, 200, 0)
    planes[inside & (grey < 120)] = (220, 20, 20)
    return planes


def file(syntax: str, pixels: bytes | None, **attributes: Any) -> bytes:
    """A file of an image with 16 bits of grey, unless the attributes say otherwise."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(_CT), UID("1.2.3.4")
    dataset.Modality, dataset.SamplesPerPixel = "CT", 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if pixels is not None:
        dataset.PixelData = pixels
        is_native = syntax in {EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED}
        dataset["PixelData"].VR = "OW" if is_native else "OB"
        dataset["PixelData"].is_undefined_length = not is_native
    content = io.BytesIO()
    if syntax in UNKNOWN_TO_PYDICOM:  # it is written with another one, which is then replaced
        dataset.file_meta.TransferSyntaxUID = UID(JPEG + "90")
        dataset.save_as(content, enforce_file_format=True)
        return _renamed(content.getvalue(), syntax)
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _renamed(content: bytes, syntax: str) -> bytes:
    """The file with another transfer syntax in its meta information (PS3.10 §7.1)."""
    old = b"UI" + struct.pack("<H", 22) + f"{JPEG}90".encode()
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    new = b"UI" + struct.pack("<H", len(uid)) + uid
    grown = struct.unpack_from("<I", content, 140)[0] + len(new) - len(old)
    assert content.count(old) == 1
    return content[:140] + struct.pack("<I", grown) + content[144:].replace(old, new)


def native(values: Values, syntax: str = EXPLICIT, **attributes: Any) -> bytes:
    """A file with uncompressed pixels."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    content = values.astype(f"{order}{values.dtype.str[1:]}").tobytes()
    if order == ">" and values.dtype.itemsize == 1:  # the words of OW are turned round
        content = np.frombuffer(content, "<u2").byteswap().tobytes()
    return file(syntax, content + b"\0" * (len(content) % 2), **attributes)


def compressed(syntax: str, frame: bytes | bytearray, **attributes: Any) -> bytes:
    """A file with one frame in fragments."""
    return file(syntax, encapsulate([bytes(frame)]), **attributes)


EIGHT: dict[str, Any] = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
TWELVE: dict[str, Any] = {"BitsStored": 12, "HighBit": 11}
SIGNED: dict[str, Any] = {"PixelRepresentation": 1}
RGB: dict[str, Any] = {
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "PlanarConfiguration": 0,
    **EIGHT,
}
WINDOW: dict[str, Any] = {"WindowCenter": 2048, "WindowWidth": 4096}
NARROW: dict[str, Any] = {"WindowCenter": 128, "WindowWidth": 256}


def _table(descriptor: Sequence[int], data: Sequence[int]) -> list[Dataset]:
    """A lookup table sequence of one item."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", list(descriptor))
    item.add_new("LUTData", "US", list(data))
    return [item]


def _functional_groups(center: float) -> list[Dataset]:
    voi, pixels, group = Dataset(), Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = center, 4096
    pixels.RescaleSlope, pixels.RescaleIntercept, pixels.RescaleType = 1, -1000, "HU"
    group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [voi], [pixels]
    return [group]


def _palette(data: Values, bits: int, **segments: bytes) -> dict[str, Any]:
    """The attributes of a palette whose entry n is the colour of grey n."""
    told: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", **EIGHT}
    for number, name in enumerate(("Red", "Green", "Blue")):
        told[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        if name in segments:
            told[f"Segmented{name}PaletteColorLookupTableData"] = segments[name]
        else:
            told[f"{name}PaletteColorLookupTableData"] = data[:, number].tobytes()
    return told


def _segments(first: int, last: int) -> bytes:
    """A segmented table of one entry and a line to the last (PS3.3 §C.7.9.2)."""
    return struct.pack("<6H", 0, 1, first, 1, 255, last)


def _half_colour(planes: Values, *, is_partial: bool = False) -> bytes:
    """Y Y Cb Cr for each two pixels."""
    full = np.asarray(Image.fromarray(planes).convert("YCbCr")).astype(float)
    if is_partial:
        full = (full - (0, 128, 128)) * (219 / 255, 224 / 255, 224 / 255) + (16, 128, 128)
    pairs = full.reshape(ROWS, COLUMNS // 2, 2, 3)
    out = np.empty((ROWS, COLUMNS // 2, 4))
    out[..., 0], out[..., 1] = pairs[..., 0, 0], pairs[..., 1, 0]
    out[..., 2:] = pairs[..., 1:].mean(axis=2)
    return bytes(np.rint(out).astype(np.uint8).tobytes())


def _jpeg_2000(values: Values, **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(values, codecformat="j2k", **options))


def _pillow(planes: Values, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    Image.fromarray(planes).save(written, kind, **options)
    return written.getvalue()


def deflated(content: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(content) + deflate.flush()


def greys() -> dict[str, bytes]:
    """The grey picture in files that must all look the same."""
    grey = base()
    deep = grey.astype(np.uint16) * 16
    hounsfield = deep.astype(np.int16) - 1000
    frames = np.stack([deep * 0, deep, deep * 0])
    rescaled = {"RescaleIntercept": 1000, "RescaleSlope": 1, **WINDOW, **SIGNED}
    ramp = np.arange(4096)
    return {
        "8 bits": native(grey, **EIGHT, **NARROW),
        "16 bits, implicit": native(deep, IMPLICIT, **WINDOW),
        "16 bits, big endian": native(deep, BIG_ENDIAN, **WINDOW),
        "8 bits, big endian": native(grey, BIG_ENDIAN, **EIGHT, **NARROW),
        "deflated": native(deep, DEFLATED, **WINDOW),
        "12 bits, packed": file(
            EXPLICIT, _packed(deep), **{**TWELVE, "BitsAllocated": 12}, **WINDOW
        ),
        "32 bits": native(
            deep.astype(np.uint32) * 4096,
            BitsAllocated=32,
            BitsStored=32,
            HighBit=31,
            WindowCenter=2048 * 4096,
            WindowWidth=4096 * 4096,
        ),
        "two windows": native(deep, WindowCenter=[2048, 3000], WindowWidth=[4096, 100]),
        "linear exact": native(deep, VOILUTFunction="LINEAR_EXACT", **WINDOW),
        "signed": native(hounsfield, **rescaled),
        "signed, 13 bits, overlay above": native(
            (hounsfield & 0x1FFF).astype(np.uint16) | 0x4000,
            **{**rescaled, "BitsStored": 13, "HighBit": 12},
        ),
        "12 bits, overlay above": native(deep | 0x8000, **TWELVE, **WINDOW),
        "12 bits, left aligned": native(deep << 4, BitsStored=12, HighBit=15, **WINDOW),
        "inverted": native(4080 - deep, **WINDOW, PhotometricInterpretation="MONOCHROME1"),
        "negative slope": native(
            deep,
            RescaleSlope=-1,
            RescaleIntercept=0,
            WindowCenter=-2048,
            WindowWidth=4096,
            PhotometricInterpretation="MONOCHROME1",
        ),
        "modality table": native(
            4095 - deep, ModalityLUTSequence=_table((4096, 0, 16), (4095 - ramp).tolist()), **WINDOW
        ),
        "table of values of interest": native(
            deep,
            VOILUTSequence=_table((4096, 0, 8), (ramp // 16).tolist()),
            WindowCenter=1,
            WindowWidth=1,
        ),
        "float": _float(deep, "FloatPixelData", "f4", 32),
        "double": _float(deep, "DoubleFloatPixelData", "f8", 64),
        "enhanced": native(
            frames,
            NumberOfFrames=3,
            SharedFunctionalGroupsSequence=[Dataset()],
            PerFrameFunctionalGroupsSequence=[
                group for center in (9000, 1048, 9000) for group in _functional_groups(center)
            ],
        ),
        "run lengths": _run_lengths(deep),
        "JPEG": compressed(JPEG + "50", _pillow(grey, "JPEG", quality=95), **EIGHT, **NARROW),
        "JPEG of 12 bits": compressed(
            JPEG + "51",
            imagecodecs.jpeg8_encode(deep, level=98, bitspersample=12),
            **TWELVE,
            **WINDOW,
        ),
        "JPEG lossless": _lossless(deep, "70", 1),
        "JPEG lossless, process 14": _lossless(deep, "57", 6),
        "JPEG lossless, signed": compressed(
            JPEG + "70",
            imagecodecs.jpeg8_encode(
                hounsfield.view(np.uint16), lossless=True, predictor=1, bitspersample=16
            ),
            **rescaled,
        ),
        "JPEG-LS": compressed(JPEG + "80", imagecodecs.jpegls_encode(deep), **WINDOW),
        "JPEG 2000": compressed(JPEG + "90", _jpeg_2000(deep, level=0), **WINDOW),
        "JPEG 2000, signed": compressed(JPEG + "90", _jpeg_2000(hounsfield, level=0), **rescaled),
        "High-Throughput JPEG 2000": compressed(
            JPEG + "201", imagecodecs.htj2k_encode(deep, reversible=True), **WINDOW
        ),
        "JPEG XL": compressed(
            JPEG + "110", imagecodecs.jpegxl_encode(deep, lossless=True), **WINDOW
        ),
        "deflated frames": compressed("1.2.840.10008.1.2.8.1", deflated(deep.tobytes()), **WINDOW),
        "native in fragments": compressed("1.2.840.10008.1.2.1.98", deep.tobytes(), **WINDOW),
    }


def _packed(values: Values) -> bytes:
    """Two values of 12 bits in three bytes."""
    first, second = values.ravel()[::2], values.ravel()[1::2]
    three = [first & 255, first >> 8 | (second & 15) << 4, second >> 4]
    return np.stack(three, axis=1).astype(np.uint8).tobytes()


def _float(values: Values, keyword: str, kind: str, bits: int) -> bytes:
    attributes = {keyword: values.astype(kind).tobytes(), "BitsAllocated": bits, **WINDOW}
    content = pydicom.dcmread(io.BytesIO(file(EXPLICIT, None, **attributes)))
    for name in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(content, name)
    written = io.BytesIO()
    content.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _run_lengths(values: Values) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(native(values, **WINDOW)))
    dataset.compress("1.2.840.10008.1.2.5")
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _lossless(values: Values, process: str, predictor: int) -> bytes:
    frame = imagecodecs.jpeg8_encode(values, lossless=True, predictor=predictor, bitspersample=12)
    return compressed(JPEG + process, frame, **TWELVE, **WINDOW)


def coloured() -> dict[str, bytes]:
    """The coloured picture in files that must all look the same."""
    planes = colours()
    ybr = np.asarray(Image.fromarray(planes).convert("YCbCr"))
    half = {**RGB, "PhotometricInterpretation": "YBR_FULL_422"}
    rgb_16 = {**RGB, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    return {
        "RGB": native(planes, **RGB),
        "RGB, big endian": native(planes, BIG_ENDIAN, **RGB),
        "RGB by plane": native(
            planes.transpose(2, 0, 1).copy(), **{**RGB, "PlanarConfiguration": 1}
        ),
        "RGB of 16 bits": native(planes.astype(np.uint16) * 257, **rgb_16),
        "YBR_FULL": native(ybr, **{**RGB, "PhotometricInterpretation": "YBR_FULL"}),
        "YBR_FULL_422": file(EXPLICIT, _half_colour(planes), **half),
        "YBR_FULL_422 that is not halved": native(ybr, **half),
        "RGB and opacity": native(
            np.dstack([planes, np.full_like(planes[..., 0], 255)]), **{**RGB, "SamplesPerPixel": 4}
        ),
        "YBR_PARTIAL_422": file(
            EXPLICIT,
            _half_colour(planes, is_partial=True),
            **{**half, "PhotometricInterpretation": "YBR_PARTIAL_422"},
        ),
        "JPEG": compressed(JPEG + "50", _pillow(planes, "JPEG", quality=95, subsampling=0), **half),
        "JPEG without transformation": compressed(
            JPEG + "50", _pillow(planes, "JPEG", quality=95, keep_rgb=True), **RGB
        ),
        "JPEG lossless": compressed(
            JPEG + "70", imagecodecs.jpeg8_encode(planes, lossless=True, predictor=1), **RGB
        ),
        "JPEG-LS": compressed(JPEG + "80", imagecodecs.jpegls_encode(planes), **RGB),
        "JPEG 2000": compressed(
            JPEG + "90",
            _jpeg_2000(planes, level=0, mct=True),
            **{**RGB, "PhotometricInterpretation": "YBR_RCT"},
        ),
        "JPEG 2000 of 16 bits": compressed(
            JPEG + "90",
            _jpeg_2000(planes.astype(np.uint16) * 257, level=0, mct=True),
            **{**rgb_16, "PhotometricInterpretation": "YBR_RCT"},
        ),
        "JPEG 2000 that is YBR": compressed(
            JPEG + "90",
            _jpeg_2000(np.ascontiguousarray(ybr), level=0, mct=False),
            **{**RGB, "PhotometricInterpretation": "YBR_FULL"},
        ),
        **{
            f"JPEG 2000 that was transformed and is called {name}": compressed(
                JPEG + "90",
                _jpeg_2000(planes, level=0, mct=True),
                **{**RGB, "PhotometricInterpretation": name},
            )
            for name in ("RGB", "YBR_FULL", "YBR_FULL_422")
        },
    }


def others() -> dict[str, bytes]:
    """Files that look each in its own way."""
    grey = base()
    deep = grey.astype(np.uint16) * 16
    colour = np.stack([np.arange(256), np.abs(np.arange(256) - 128), 255 - np.arange(256)], 1)
    wide = colour.astype(np.uint16) * 257
    lines = {
        "Red": _segments(0, 65535),
        "Green": _segments(65535, 65535),
        "Blue": _segments(65535, 0),
    }
    return {
        "palette of 8 bits": native(grey, **_palette(colour.astype(np.uint8), 8)),
        "palette of 16 bits": native(grey, **_palette(wide, 16)),
        "segmented palette": native(grey, **_palette(wide, 16, **lines)),
        "segmentation": file(
            EXPLICIT,
            np.packbits((grey > 180).ravel(), bitorder="little").tobytes(),
            SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.66.4"),
            BitsAllocated=1,
            BitsStored=1,
            HighBit=0,
        ),
        "no window": native(deep),
        "padding": native(np.where(deep < 99, 60000, deep).astype("u2"), PixelPaddingValue=60000),
        "sigmoid": native(deep, VOILUTFunction="SIGMOID", WindowCenter=2048, WindowWidth=1500),
        "tall pixels": native(deep, PixelSpacing=[2, 1], **WINDOW),
        "wide pixels": native(deep, PixelAspectRatio=[1, 2], **WINDOW),
    }


def cut_jpeg_ls() -> bytes:
    """A cut JPEG-LS that its decoder would spend seconds on before it refuses it."""
    deep = base().astype(np.uint16) * 16
    return compressed(JPEG + "80", imagecodecs.jpegls_encode(deep)[:200], **WINDOW)


def of_pydicom() -> Iterator[tuple[str, bytes]]:
    """pydicom's files that hold an image, by name."""
    for path in sorted(FILES.glob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some files are there because they are odd
            dataset = pydicom.dcmread(path, force=True, defer_size=1024)
        if "PixelData" in dataset and path.stem not in NO_PICTURE:
            yield path.stem, path.read_bytes()


KINDS: dict[str, Callable[[], dict[str, bytes]]] = {
    "grey": greys,
    "colour": coloured,
    "other": others,
}

"""The attributes that a picture needs, by keyword, each read only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

_NAMES = (
    "SOPClassUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "FrameTime",
    "RecommendedDisplayFrameRate",
    "CineRate",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelAspectRatio",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleIntercept",
    "RescaleSlope",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
KEYWORDS = {tag: name for name in _NAMES if (tag := tag_for_keyword(name)) is not None}
"""The attributes by their tags."""


class Attributes(Protocol):
    """What values are read from: a header, or a data set of pydicom."""

    def get(self, key: str, /) -> Any:
        """The value of a keyword; None when it has none."""


def photometric(attributes: Attributes) -> str:
    """Photometric Interpretation as it is defined (PS3.3 §C.7.6.3.1.2), however it is written."""
    return str(attributes.get("PhotometricInterpretation") or "").strip("\0 ").upper()


HALF_COLOUR = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})
"""Of two pixels that lie side by side, both have a luminance, and share their colour."""


def samples_stored(header: Attributes, count: int, length: int) -> int:
    """How many samples a native pixel has in `length` bytes of `count` frames.

    Two of half the colour (PS3.3 §C.7.6.3.1.2), unless exactly all three are there.
    """
    samples = int(header.get("SamplesPerPixel") or 1)
    if photometric(header) not in HALF_COLOUR:
        return samples
    pixels = int(header.get("Rows")) * int(header.get("Columns")) * count
    size = pixels * int(header.get("BitsAllocated")) // 8 * samples
    return samples if size <= length <= size + 1 else 2


class Header:
    """The header of an image. What pydicom would take long to read, others may read for it."""

    def __init__(self, read: Callable[[str], Any], dataset: Callable[[], Dataset]) -> None:
        """`read` gives the value of a keyword, `dataset` all of them as pydicom has them."""
        self._read = read
        self._make_dataset = dataset
        self._values: dict[str, Any] = {}

    @classmethod
    def of(cls, dataset: Dataset) -> Header:
        """The header that pydicom has read."""
        return cls(dataset.get, lambda: dataset)

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an attribute, `default` when it has none."""
        found = self._values.get(keyword, self)
        if found is self:
            found = self._values[keyword] = self._read(keyword)
        return default if found is None else found

    def changed(self, **attributes: Any) -> Header:
        """The header with other values; its `dataset` stays what it was."""
        made = Header(self._read, self._make_dataset)
        made._values = self._values | attributes
        return made

    @cached_property
    def dataset(self) -> Dataset:
        """The attributes as pydicom has them."""
        return self._make_dataset()

"""What a JPEG 2000 codestream tells of itself, and its lower resolutions as one of their own.

A decoder that is asked for a lower resolution prepares all the others too. In an ordinary
codestream the lower ones come first, so that another head makes them a smaller image.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_BEGIN = b"\xff\x4f\xff\x51"
_MOST_BEFORE, _SIZE_LENGTH = 4096, 45
_CODING, _START_OF_TILE, _START_OF_DATA = 0xFF52, 0xFF90, b"\xff\x93"
_CHANGING = frozenset({0xFF53, 0xFF5D, 0xFF5E, 0xFF5F})
"""Markers that give a component its own coding, shift regions, or change the order (Annex A)."""
_POSITIONS, _HEAD = struct.Struct(">8I"), struct.Struct(">HH")
_TILE_HEAD_LENGTH = 12
_ONE_SAMPLE_A_PIXEL, _ONE_LAYER = b"\1\1", b"\0\1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Codestream:
    """The head of a codestream that starts `at` in `content`.

    `positions`: right, bottom, left and top of the image, width, height, left and top of its tiles
    (ISO/IEC 15444-1 §A.5.1). `levels`: how often the image was halved. `is_transformed`: a
    decoder gives RGB whatever it is called (§A.6.1). `markers`: where the segments are.
    """

    content: bytes
    at: int
    positions: tuple[int, ...]
    components: int
    precision: int
    is_signed: bool
    levels: int
    is_transformed: bool
    markers: dict[int, int]

    @property
    def samples(self) -> int:
        """Those of all components."""
        right, bottom, left, top = self.positions[:4]
        return (right - left) * (bottom - top) * self.components

    def reduced(self, halvings: int) -> bytes | None:
        """A codestream of the image at 1/2**`halvings`; None where that takes more than a head."""
        if not (0 < halvings <= self.levels and self._is_by_resolution()):
            return None
        changed = bytearray(self.content)
        width, height = (-(-side >> halvings) for side in self.positions[:2])
        _POSITIONS.pack_into(changed, 8, width, height, 0, 0, width, height, 0, 0)
        changed[self.markers[_CODING] + 9] = self.levels - halvings
        return bytes(changed)

    def _is_by_resolution(self) -> bool:
        """Whether it is one component in one tile, one layer and one precinct a resolution."""
        width, height, left, top, tile_width, tile_height, *offsets = self.positions
        is_one_tile = tile_width >= width and tile_height >= height
        coding, tile = self.markers[_CODING], self.markers.get(_START_OF_TILE, 0)
        after = tile + _TILE_HEAD_LENGTH
        return (
            (self.at, self.components) == (0, 1)
            and self.content[43:_SIZE_LENGTH] == _ONE_SAMPLE_A_PIXEL
            and is_one_tile
            and not any((left, top, *offsets))
            and self.content[coding + 4] == 0
            and self.content[coding + 6 : coding + 8] == _ONE_LAYER
            and not _CHANGING & self.markers.keys()
            and self.content[after : after + 2] == _START_OF_DATA
        )


def codestream(content: bytes) -> Codestream | None:
    """The codestream in `content`; None: there is none."""
    at = content.find(_BEGIN, 0, _MOST_BEFORE)
    if at < 0 or len(content) < at + _SIZE_LENGTH:
        return None
    markers = _markers(content, at + 2)
    coding = markers.get(_CODING, len(content))
    components, depth = struct.unpack_from(">HB", content, at + 40)
    return Codestream(
        content=content,
        at=at,
        positions=_POSITIONS.unpack_from(content, at + 8),
        components=components,
        precision=(depth & 127) + 1,
        is_signed=depth > 127,
        levels=content[coding + 9] if coding + 9 < len(content) else 0,
        is_transformed=content[coding + 8 : coding + 9] == b"\1",
        markers=markers,
    )


def _markers(content: bytes, at: int) -> dict[int, int]:
    """Where the first marker segment of each kind starts, up to the first tile's."""
    found: dict[int, int] = {}
    while at + _HEAD.size <= len(content) and _START_OF_TILE not in found:
        marker, length = _HEAD.unpack_from(content, at)
        if marker < 0xFF00:
            break
        found.setdefault(marker, at)
        at += 2 + length
    return found

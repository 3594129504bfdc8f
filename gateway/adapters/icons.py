"""Placeholder pictures for objects that show nothing by themselves, one for each kind of object."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_ROOT = "1.2.840.10008.5.1.4.1.1."
_BY_CLASS = (
    ("88.59.", "KO"),
    ("88.", "SR"),
    ("11.", "PR"),
    ("104.1.", "PDF"),
    ("104.2.", "CDA"),
    ("104.", "3D"),
    *((f"66.{n}.", "SEG") for n in (4, 5, 7, 8)),
    ("66.1.", "REG"),
    ("66.3.", "REG"),
    ("481.", "RT"),
    ("9.1.", "ECG"),
    ("9.4.", "AUDIO"),
    ("9.", "WAVE"),
    ("77.1.1.1.", "VIDEO"),
    ("77.1.2.1.", "VIDEO"),
    ("77.1.4.1.", "VIDEO"),
)
"""What the SOP class UID begins with after the storage root, most specific first."""

VIDEO = "VIDEO"
_BY_MODALITY = {
    "SR": "SR",
    "KO": "KO",
    "PR": "PR",
    "DOC": "DOC",
    "M3D": "3D",
    "SEG": "SEG",
    "REG": "REG",
    "ECG": "ECG",
    "HD": "WAVE",
    "EPS": "WAVE",
    "RESP": "WAVE",
    "AU": "AUDIO",
    "RTPLAN": "RT",
    "RTSTRUCT": "RT",
    "RTDOSE": "RT",
    "RTRECORD": "RT",
}

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
_GRID = 64
_SCALE = 8
_MAX_SIDE = 1024
_BACK, _INK, _FAINT = "#1f2933", "#cbd5e1", "#52606d"


def kind_of(sop_class_uid: str | None, modality: str | None) -> str:
    """The kind of an object that shows nothing; IMAGE for an image and for what is not known."""
    uid = f"{sop_class_uid}."
    if uid.startswith(_ROOT):
        arc = uid.removeprefix(_ROOT)
        found = next((kind for begin, kind in _BY_CLASS if arc.startswith(begin)), None)
        if found is not None:
            return found
    return _BY_MODALITY.get(modality or "", "IMAGE")


@lru_cache(maxsize=64)
def icon(kind: str, width: int, height: int, media_type: str) -> bytes:
    """A square picture within the box for a kind of `kind_of`; the label is the kind's alone."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (_GRID * _SCALE, _GRID * _SCALE), _BACK)
    pen = ImageDraw.Draw(image)
    draw = _GLYPHS.get(kind)
    (draw or _no_picture)(pen)
    label = kind if draw is not None else "no image"
    font = ImageFont.load_default(9 * _SCALE)
    pen.text((_at(32), _at(54)), label, fill=_INK, font=font, anchor="mm")
    side = max(1, min(width, height, _MAX_SIDE))
    written = io.BytesIO()
    small = image.resize((side, side), Image.Resampling.LANCZOS)
    small.save(written, _FORMATS[media_type], quality=90)
    return written.getvalue()


def _at(position: float) -> int:
    return round(position * _SCALE)


def _line(pen: ImageDraw, *points: tuple[float, float], colour: str = _INK) -> None:
    pen.line([(_at(x), _at(y)) for x, y in points], fill=colour, width=_at(2), joint="curve")


def _box(pen: ImageDraw, left: float, top: float, right: float, bottom: float) -> None:
    corners = (_at(left), _at(top), _at(right), _at(bottom))
    pen.rounded_rectangle(corners, radius=_at(2), outline=_INK, width=_at(2))


def _circle(pen: ImageDraw, x: float, y: float, radius: float) -> None:
    corners = (_at(x - radius), _at(y - radius), _at(x + radius), _at(y + radius))
    pen.ellipse(corners, outline=_INK, width=_at(2))


def _page(pen: ImageDraw) -> None:
    _line(pen, (18, 8), (38, 8), (46, 16), (46, 46), (18, 46), (18, 8))
    _line(pen, (38, 8), (38, 16), (46, 16))


def _report(pen: ImageDraw) -> None:
    _page(pen)
    for y in (23, 29, 35, 41):
        _line(pen, (23, y), (41 if y < 41 else 34, y), colour=_FAINT)


def _key(pen: ImageDraw) -> None:
    _circle(pen, 23, 27, 8)
    _line(pen, (31, 27), (49, 27), (49, 34))
    _line(pen, (42, 27), (42, 32))


def _presentation(pen: ImageDraw) -> None:
    _circle(pen, 32, 27, 16)
    pen.pieslice((_at(16), _at(11), _at(48), _at(43)), -90, 90, fill=_INK)


def _target(pen: ImageDraw) -> None:
    _circle(pen, 32, 27, 13)
    _circle(pen, 32, 27, 5)
    for x, y in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        _line(pen, (32 + 9 * x, 27 + 9 * y), (32 + 19 * x, 27 + 19 * y))


def _segments(pen: ImageDraw) -> None:
    _box(pen, 12, 9, 52, 45)
    pen.ellipse((_at(18), _at(15), _at(38), _at(36)), fill=_FAINT)
    pen.ellipse((_at(34), _at(24), _at(47), _at(40)), fill=_INK)


def _wave(pen: ImageDraw) -> None:
    beat = ((8, 30), (20, 30), (24, 25), (28, 30), (31, 34), (35, 8), (39, 44), (42, 30), (56, 30))
    _line(pen, *beat)


def _video(pen: ImageDraw) -> None:
    _box(pen, 10, 9, 54, 45)
    pen.polygon([(_at(x), _at(y)) for x, y in ((26, 17), (42, 27), (26, 37))], fill=_INK)


def _solid(pen: ImageDraw) -> None:
    _line(pen, (32, 8), (49, 17), (49, 36), (32, 46), (15, 36), (15, 17), (32, 8))
    _line(pen, (15, 17), (32, 26), (49, 17))
    _line(pen, (32, 26), (32, 46))


def _two_images(pen: ImageDraw) -> None:
    _box(pen, 12, 9, 40, 35)
    _box(pen, 24, 19, 52, 45)


def _loudspeaker(pen: ImageDraw) -> None:
    _line(pen, (12, 21), (20, 21), (30, 12), (30, 42), (20, 33), (12, 33), (12, 21))
    for radius in (8, 15):
        corners = (_at(34 - radius), _at(27 - radius), _at(34 + radius), _at(27 + radius))
        pen.arc(corners, -45, 45, fill=_INK, width=_at(2))


def _image(pen: ImageDraw) -> None:
    _box(pen, 10, 9, 54, 45)
    _circle(pen, 43, 18, 3)
    hills = [(12 + x, 36 - 6 * math.sin(x / 7)) for x in range(0, 41, 4)]
    _line(pen, *hills, colour=_FAINT)


def _no_picture(pen: ImageDraw) -> None:
    _image(pen)
    _line(pen, (10, 45), (54, 9))


_GLYPHS: dict[str, Callable[[ImageDraw], None]] = {
    "SR": _report,
    "PDF": _page,
    "DOC": _page,
    "CDA": _report,
    "3D": _solid,
    "REG": _two_images,
    "KO": _key,
    "PR": _presentation,
    "RT": _target,
    "SEG": _segments,
    "ECG": _wave,
    "WAVE": _wave,
    "AUDIO": _loudspeaker,
    VIDEO: _video,
}

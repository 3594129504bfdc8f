"""Which instance stands for a series or a study: how much of an image each one is."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from gateway.model import Instance, Series, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.retrieval import (
    MOST_LOCALIZERS,
    WITH_FRAMES,
    instance_in,
    is_image,
    is_of,
    last_frame,
)
from gateway.rules.values import unsigned_int

_NOT_AN_IMAGE = frozenset(
    {
        "SR", "KO", "PR", "DOC", "RTPLAN", "RTSTRUCT", "RTRECORD", "REG", "FID", "ECG", "HD",
        "EPS", "RESP", "AU", "PLAN", "RWV", "SMR", "STAIN", "ASMT", "SEG", "TEXTUREMAP",
    }
)  # fmt: skip
_PLANNED_BY_LOCALIZERS = frozenset({"CT", "MR", "PT"})
_WORDS = re.compile(r"[a-z]+")
_LOCALIZER_WORDS = frozenset(
    {
        "localizer", "localiser", "localizers", "localisers", "loc", "scout", "scouts",
        "topogram", "scanogram", "scano", "surview", "survey", "locator", "pilot", "aahscout",
    }
)  # fmt: skip
_OF_THE_STANDARD = "1.2.840.10008."
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CAPTURES = (f"{_STORAGE}7.",)
_SLIDES = (f"{_STORAGE}77.1.6.",)
_VIDEOS = tuple(f"{_STORAGE}77.1.{n}.1." for n in (1, 2, 4))
_NO_IMAGES = 3
_PIXEL_SHAPES = (dj.PIXEL_SPACING, "00181164", dj.PIXEL_ASPECT_RATIO)  # or ImagerPixelSpacing
_TWO, _NEARLY = 2, 0.01
_MANY_FOR_LOCALIZERS = 120
"""A series of more instances than this is taken for one that does not consist of localizers."""


class Worth(enum.IntEnum):
    """How well an instance stands for what it is part of; the least is best."""

    SLIDE_THUMBNAIL = 0
    SLIDE_OVERVIEW = 1
    IMAGE = 2
    CAPTURE = 3
    """A screen of the scanner: a dose report, a protocol."""
    LOCALIZER = 4
    MASK = 5
    """Frames that are no image by themselves: segmentations, doses."""
    VIDEO = 6
    UNKNOWN = 7
    """A private class of which nothing tells that it has pixels."""
    OTHER = 8
    LABEL = 9
    """The label of a slide, on which the patient's name is."""


def worth(instance: Instance, modality: str | None = None) -> Worth:
    """What an instance of a series of this modality is worth, as far as its row tells."""
    sop_class = instance.sop_class_uid
    if is_of(instance, WITH_FRAMES):
        return Worth.MASK
    if not is_image(instance):
        return Worth.OTHER
    if is_of(instance, _VIDEOS):
        return Worth.VIDEO
    if is_of(instance, _SLIDES):
        return _of_slide(instance)
    if sop_class and not sop_class.startswith(_OF_THE_STANDARD) and not instance.rows:
        return Worth.UNKNOWN
    if is_localizer(instance):
        return Worth.LOCALIZER
    is_captured = modality in _PLANNED_BY_LOCALIZERS and is_of(instance, _CAPTURES)
    return Worth.CAPTURE if is_captured or "SCREEN SAVE" in instance.image_type else Worth.IMAGE


def _of_slide(instance: Instance) -> Worth:
    """By Image Type value 3 (PS3.3 §C.8.12.4.1.1)."""
    told = {"THUMBNAIL": Worth.SLIDE_THUMBNAIL, "OVERVIEW": Worth.SLIDE_OVERVIEW}
    if is_label(instance):
        return Worth.LABEL
    return next((told[v] for v in instance.image_type[2:3] if v in told), Worth.IMAGE)


def is_label(instance: Instance) -> bool:
    """Whether it shows the label of a slide (PS3.3 §C.8.12.4.1.1)."""
    return is_of(instance, _SLIDES) and "LABEL" in instance.image_type[2:3]


def is_localizer(instance: Instance) -> bool:
    """Whether Image Type value 3 says so (PS3.3 §C.8.2.1.1.1); False also where it is not known."""
    return any("LOCALIZER" in value.upper() for value in instance.image_type)


def described(instance: Instance, metadata: Dataset) -> Instance:
    """The instance with the size that its metadata tell."""
    return structs.replace(
        instance,
        rows=unsigned_int(metadata, dj.ROWS) or instance.rows,
        columns=unsigned_int(metadata, dj.COLUMNS) or instance.columns,
        number_of_frames=unsigned_int(metadata, dj.NUMBER_OF_FRAMES) or instance.number_of_frames,
    )


def has_square_pixels(metadata: Dataset) -> bool:
    """Whether nothing tells that pixels are higher than wide, or wider than high."""
    pairs = ([_number(v) for v in dj.values(metadata, tag)] for tag in _PIXEL_SHAPES)
    pair = next((p for p in pairs if len(p) == _TWO and all(p)), [1.0, 1.0])
    return abs(pair[0] / pair[1] - 1) <= _NEARLY


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0


def has_images(series: Series) -> bool:
    """Whether a picture of this series shows an image rather than a report or a plan."""
    return (series.modality or "") not in _NOT_AN_IMAGE and series.number_of_instances != 0


def representatives(series: Sequence[Series]) -> list[Series]:
    """The series that may stand for their study, the best first: images in SeriesNumber order.

    Those whose description says that they only served to plan others come after them, then
    segmentations; of what holds no images at all there is one.
    """
    others = [s for s in series if _place(s) == _NO_IMAGES]
    return sorted([s for s in series if _place(s) != _NO_IMAGES] + others[:1], key=_place)


def _place(series: Series) -> int:
    if has_images(series):
        return 1 if _is_called_localizer(series) else 0
    return 2 if series.modality == "SEG" else _NO_IMAGES


def _is_called_localizer(series: Series) -> bool:
    """Whether words say so; only asked where it decides which picture comes first."""
    if series.modality not in _PLANNED_BY_LOCALIZERS:
        return False
    words = set(_WORDS.findall((series.description or "").lower()))
    return not words.isdisjoint(_LOCALIZER_WORDS)


def most_first(series: Sequence[Series]) -> list[Series]:
    """The same series, of each kind those with the most instances first: localizers are few."""
    return sorted(series, key=lambda s: (_place(s), -(s.number_of_instances or 0)))


def may_be_localizers(series: Series) -> bool:
    """Whether Image Type, which was not asked for in a series of this size, decides about it."""
    number = series.number_of_instances or 0
    is_planned = series.modality in _PLANNED_BY_LOCALIZERS
    return is_planned and MOST_LOCALIZERS < number <= _MANY_FOR_LOCALIZERS


def representative_instance(
    instances: Sequence[Instance], modality: str | None = None
) -> Instance | None:
    """The instance that stands for its series: the middle one of those that are worth most."""
    by_worth: dict[Worth, list[Instance]] = {}
    told: dict[object, Worth] = {}  # in a series most say the same
    for one in instances:
        kind = (one.sop_class_uid, one.image_type, bool(one.rows))
        if (found := told.get(kind)) is None:
            found = told[kind] = worth(one, modality)
        by_worth.setdefault(found, []).append(one)
    best = by_worth[min(by_worth)] if by_worth else []
    return best[len(best) // 2] if best else None


def image_named(study: Study, flagged: Target) -> Target | None:
    """What `flagged` shows of a study: an image, and of its frames those that exist; None: nothing.

    Where nothing tells how many frames there are, only the first is known to exist.
    """
    found = instance_in(study, flagged)
    if found is None or not has_images(found[0]):
        return None
    if worth(found[1]) in {Worth.UNKNOWN, Worth.OTHER, Worth.LABEL} or not is_image(found[1]):
        return None
    last = last_frame(found[1])
    frames = tuple(n for n in flagged.frames if 1 <= n <= (last or 1))
    is_missing = bool(flagged.frames) and not frames and last is not None
    return None if is_missing else replace(flagged, frames=frames)

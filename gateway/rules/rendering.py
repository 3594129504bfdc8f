"""What a rendered image is asked for, read out of the parameters of WADO-RS and of WADO-URI.

Both come checked (`url_parameters`); what the gateway does not carry out is refused by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import BadRequest, NotAcceptable, NotSupported
from gateway.model import Instance
from gateway.rules.media import IMAGES, MediaRange, chosen
from gateway.rules.retrieval import has_frames

LARGEST_SIDE = 65535
"""A side where none is asked for: rows and columns are 16-bit numbers (PS3.3 §C.7.6.3)."""
_NOT_BY_WADO_RS = ("annotation", "iccprofile")
_OPTIONS = {
    "anonymize": "anonymize",
    "annotation": "annotation",
    "imageAnnotation": "annotation",
    "presentationSeriesUID": "presentation",
    "presentationUID": "presentation",
}
"""WADO-URI parameters that only some archives carry out, and what the configuration calls that."""


_STORAGE = "1.2.840.10008.5.1.4.1.1."
_VIDEOS = ("video/mp4", "video/mpeg")
_DOCUMENTS = (
    ("88.", ("text/html", "text/plain")),
    ("104.1.", ("application/pdf",)),
    ("77.1.1.1.", _VIDEOS),
    ("77.1.2.1.", _VIDEOS),
    ("77.1.4.1.", _VIDEOS),
)
"""What SOP classes that are no images are rendered as, the default first (PS3.18 §8.7.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """One rendering. `viewport` None: as large as the source; `window` None: the object's own.

    `window`: centre, width and VOI LUT Function (PS3.3 §C.11.2). `source`: left, top, width and
    height of the region in pixels, None up to the edge, negative sizes mirrored. `region`: the
    same by the fractions 0 to 1 of the image: left, top, right, bottom.
    """

    media_type: str
    viewport: tuple[int, int] | None = None
    window: tuple[float, float, str] | None = None
    source: tuple[float, float, float | None, float | None] | None = None
    region: tuple[float, float, float, float] | None = None
    quality: int = 85


def documents(sop_class_uid: str | None) -> tuple[str, ...]:
    """The media types that an object which is no image is rendered as; (): an image, or unknown."""
    arc = f"{sop_class_uid}."
    return next((t for root, t in _DOCUMENTS if arc.startswith(f"{_STORAGE}{root}")), ())


def videos(instance: Instance, ranges: Sequence[MediaRange]) -> tuple[str, ...]:
    """The media types of a video, where that is liked better than an image; (): it cannot be one.

    Images of many classes, such as ultrasound of several frames, may be stored as a video.
    """
    is_liked = chosen(ranges, (*IMAGES, *_VIDEOS)) in _VIDEOS
    return _VIDEOS if is_liked and has_frames(instance) and instance.number_of_frames != 1 else ()


def check_acceptable(ranges: Sequence[MediaRange]) -> None:
    """NotAcceptable where nothing could ever be rendered as what is accepted."""
    known = (*IMAGES, *(t for _, types in _DOCUMENTS for t in types))
    if not any(r.covers(t) for r in ranges for t in known):
        raise NotAcceptable(f"Accept must allow one of {', '.join(dict.fromkeys(known))}")


def by_wado_rs(parameters: Mapping[str, str], media_type: str) -> Rendering:
    """From the parameters of a rendered resource (PS3.18 §8.3.5); BadRequest: not offered."""
    for name in _NOT_BY_WADO_RS:
        if parameters.get(name, "no") != "no":
            raise BadRequest(f"{name} is not offered", parameter=name)
    size = parameters["viewport"].split(",") if "viewport" in parameters else []
    return Rendering(
        media_type=media_type,
        viewport=(int(size[0]), int(size[1])) if size else None,
        window=_window(parameters["window"]) if "window" in parameters else None,
        source=_source(size[2:]) if any(size[2:]) else None,
        quality=int(parameters.get("quality", "85")),
    )


def _window(value: str) -> tuple[float, float, str]:
    center, width, function = value.split(",")
    return float(center), float(width), function.upper().replace("-", "_")


def _source(numbers: Sequence[str]) -> tuple[float, float, float | None, float | None]:
    """`sx,sy,sw,sh` with their defaults (PS3.18 §8.3.5.1.3)."""
    left, top, width, height = (float(n) if n else None for n in numbers)
    return left or 0.0, top or 0.0, width, height


def by_wado_uri(parameters: Mapping[str, str], media_type: str) -> Rendering:
    """From the parameters of a WADO-URI request (PS3.18 §9.4); BadRequest: not offered."""
    center, width = parameters.get("windowCenter"), parameters.get("windowWidth")
    columns, rows = parameters.get("columns"), parameters.get("rows")
    viewport = (int(columns or LARGEST_SIDE), int(rows or LARGEST_SIDE))
    return Rendering(
        media_type=media_type,
        viewport=viewport if columns or rows else None,
        window=(float(center), float(width), "LINEAR") if center and width else None,
        quality=int(parameters.get("imageQuality", "85")),
        region=_region(parameters["region"]) if "region" in parameters else None,
    )


def _region(value: str) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(number) for number in value.split(","))
    return left, top, right, bottom


def options(parameters: Mapping[str, str]) -> frozenset[str]:
    """What WADO-URI parameters ask for that an archive itself has to do."""
    return frozenset(_OPTIONS[name] for name in parameters if name in _OPTIONS)


def check_offered(parameters: Mapping[str, str], offered: Collection[frozenset[str]]) -> None:
    """NotSupported naming a WADO-URI parameter that no archive carries out.

    `offered`: what each of the archives does that the gateway does not.
    """
    asked = options(parameters)
    if any(asked <= each for each in (frozenset(), *offered)):
        return
    known = frozenset(o for each in offered for o in each)
    missing = [n for n in parameters if n in _OPTIONS and _OPTIONS[n] not in known]
    name = (missing or [n for n in parameters if n in _OPTIONS])[0]
    raise NotSupported(f"{name} is not offered", parameter=name)

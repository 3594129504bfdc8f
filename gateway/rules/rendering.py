"""What a rendered image is asked for, read out of the parameters of WADO-RS and of WADO-URI.

Both come checked (`url_parameters`); what the gateway does not carry out is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import BadRequest

LARGEST_SIDE = 65535
"""A side where none is asked for: rows and columns are 16-bit numbers (PS3.3 §C.7.6.3)."""
_NOT_BY_WADO_RS = ("annotation", "iccprofile")
_NOT_BY_WADO_URI = (
    "anonymize",
    "annotation",
    "imageAnnotation",
    "region",
    "presentationSeriesUID",
    "presentationUID",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """One rendering. `viewport` None: as large as the source; `window` None: the object's own."""

    media_type: str
    viewport: tuple[int, int] | None = None
    window: tuple[float, float] | None = None
    quality: int = 85


def by_wado_rs(parameters: Mapping[str, str], media_type: str) -> Rendering:
    """From the parameters of a rendered resource (PS3.18 §8.3.5); BadRequest: not offered."""
    for name in _NOT_BY_WADO_RS:
        if parameters.get(name, "no") != "no":
            raise BadRequest(f"{name} is not offered", parameter=name)
    size = parameters["viewport"].split(",") if "viewport" in parameters else []
    if any(size[2:]):
        raise BadRequest("viewport: a source region is not offered", parameter="viewport")
    window = parameters["window"].split(",") if "window" in parameters else []
    if window and window[2].lower() != "linear":
        raise BadRequest(f"window: {window[2]} is not offered", parameter="window")
    return Rendering(
        media_type=media_type,
        viewport=(int(size[0]), int(size[1])) if size else None,
        window=(float(window[0]), float(window[1])) if window else None,
        quality=int(parameters.get("quality", "85")),
    )


def by_wado_uri(parameters: Mapping[str, str], media_type: str) -> Rendering:
    """From the parameters of a WADO-URI request (PS3.18 §9.4); BadRequest: not offered."""
    check_offered(parameters)
    center, width = parameters.get("windowCenter"), parameters.get("windowWidth")
    columns, rows = parameters.get("columns"), parameters.get("rows")
    viewport = (int(columns or LARGEST_SIDE), int(rows or LARGEST_SIDE))
    return Rendering(
        media_type=media_type,
        viewport=viewport if columns or rows else None,
        window=(float(center), float(width)) if center and width else None,
        quality=int(parameters.get("imageQuality", "85")),
    )


def check_offered(parameters: Mapping[str, str]) -> None:
    """BadRequest naming a WADO-URI parameter that the gateway does not carry out."""
    for name in _NOT_BY_WADO_URI:
        if name in parameters:
            raise BadRequest(f"{name} is not offered", parameter=name)

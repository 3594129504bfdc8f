"""The query parameters of rendered, thumbnail, WADO-URI and IID URLs, and what their values may be.

PS3.18 §8.3.5 (rendering), PS3.18 §9 (URI service), IHE RAD-106. A parameter is checked before a
URL is built, and only what the caller gave is ever written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from gateway.errors import BadRequest
from gateway.model import ConnectionType
from gateway.rules import dicom_json as dj

Pairs = Sequence[tuple[str, str]]

_DECIMAL = r"-?(?:\d{1,16}(?:\.\d{0,16})?|\.\d{1,16})"
_NUMBER = re.compile(_DECIMAL, re.ASCII)
_POSITIVE = re.compile(r"0{0,8}[1-9]\d{0,8}", re.ASCII)
_TOKEN = r"[A-Za-z0-9!#$&^_.+*-]+"  # noqa: S105 - RFC 9110's word for a run of characters
_MEDIA_TYPES = re.compile(
    rf"\s*{_TOKEN}/{_TOKEN}\s*(?:;\s*{_TOKEN}=(?:{_TOKEN}|\"[^\"\\\x00-\x1f]*\")\s*)*"
)
_CHARSET = re.compile(rf"{_TOKEN}(?:;q=[01](?:\.\d{{1,3}})?)?(?:,\s*{_TOKEN})*")
_MAX_CHARACTERS = 1024


class Resource(Enum):
    """What of a target is asked for; `dicom` is the objects themselves."""

    DICOM = "dicom"
    METADATA = "metadata"
    RENDERED = "rendered"
    THUMBNAIL = "thumbnail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Whether a value is good, and the words for what a good one is."""

    is_good: Callable[[str], bool]
    expected: str


def is_positive(value: str) -> bool:
    """Whether `value` is a whole number from 1 on."""
    return _POSITIVE.fullmatch(value) is not None


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None


def _is_above_zero(value: str) -> bool:
    return _is_number(value) and float(value) > 0


def _is_percentage(value: str) -> bool:
    return is_positive(value) and int(value) <= 100


def _is_size(value: str) -> bool:
    """`vw,vh`: all that a thumbnail takes."""
    parts = value.split(",")
    return len(parts) == 2 and all(is_positive(part) for part in parts)


def _is_viewport(value: str) -> bool:
    """`vw,vh[,sx,sy,sw,sh]`, where each of the last four may be empty (PS3.18 §8.3.5.1.3)."""
    parts = value.split(",")
    if len(parts) == 2:
        return _is_size(value)
    if len(parts) != 6 or not _is_size(",".join(parts[:2])):
        return False
    return all(not p or _is_number(p) for p in parts[2:]) and all(
        not p or float(p) != 0 for p in parts[4:]
    )


def _is_window(value: str) -> bool:
    """`center,width,function` (PS3.18 §8.3.5.1.4); linear from 1 on (PS3.3 §C.11.2.1.2.1)."""
    parts = value.split(",")
    if len(parts) != 3:
        return False
    center, width, function = parts
    if not (_is_number(center) and _is_above_zero(width)):
        return False
    return function in {"linear-exact", "sigmoid"} or (function == "linear" and float(width) >= 1)


def _is_annotation(value: str) -> bool:
    return set(value.split(",")) <= {"patient", "technique"}


def _is_region(value: str) -> bool:
    """`xmin,ymin,xmax,ymax` in 0..1, each minimum below its maximum."""
    parts = value.split(",")
    if len(parts) != 4 or not all(_is_number(p) for p in parts):
        return False
    left, top, right, bottom = (float(p) for p in parts)
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1


def media_types(value: str) -> list[str]:
    """The media types of a list, without their parameters and in lower case; [] if malformed."""
    parts = value.split(",")
    if not all(_MEDIA_TYPES.fullmatch(part) for part in parts):
        return []
    return [part.split(";")[0].strip().lower() for part in parts]


def _is_dicom_type(media_type: str) -> bool:
    return media_type.startswith("application/dicom")


def _is_rendered_types(value: str) -> bool:
    types = media_types(value)
    return bool(types) and not any(_is_dicom_type(t) for t in types)


def _is_dicom_file_type(value: str) -> bool:
    return media_types(value) == ["application/dicom"]


def _one_of(*words: str) -> Parameter:
    return Parameter(is_good=lambda v: v in words, expected=" or ".join(words))


_SIZE = Parameter(is_good=is_positive, expected="a whole number from 1 on")
_UID = Parameter(is_good=dj.is_uid, expected="a DICOM UID")
_QUALITY = Parameter(is_good=_is_percentage, expected="a whole number from 1 to 100")
_ANNOTATION = Parameter(is_good=_is_annotation, expected="patient, technique or both")
_CHARSETS = Parameter(
    is_good=lambda v: _CHARSET.fullmatch(v) is not None, expected="a character set"
)
_ANY_TYPES = Parameter(is_good=lambda v: bool(media_types(v)), expected="media types")
_RENDERED_TYPES = Parameter(is_good=_is_rendered_types, expected="rendered media types")

_PLAIN: Mapping[str, Parameter] = {"accept": _ANY_TYPES, "charset": _CHARSETS}
_WADO_RS: Mapping[Resource, Mapping[str, Parameter]] = {
    Resource.DICOM: _PLAIN,
    Resource.METADATA: _PLAIN,
    Resource.RENDERED: {
        "accept": _RENDERED_TYPES,
        "charset": _CHARSETS,
        "viewport": Parameter(
            is_good=_is_viewport, expected="vw,vh or vw,vh,sx,sy,sw,sh with vw and vh from 1 on"
        ),
        "window": Parameter(
            is_good=_is_window,
            expected="center,width,function with linear and a width from 1 on, or with "
            "linear-exact or sigmoid and one above 0",
        ),
        "quality": _QUALITY,
        "annotation": _ANNOTATION,
        "iccprofile": _one_of("no", "yes", "srgb", "adobergb", "rommrgb"),
    },
    Resource.THUMBNAIL: {
        "accept": _RENDERED_TYPES,
        "charset": _CHARSETS,
        "viewport": Parameter(is_good=_is_size, expected="vw,vh, both from 1 on"),
    },
}
_WADO_URI: Mapping[Resource, Mapping[str, Parameter]] = {
    Resource.DICOM: {
        "contentType": Parameter(is_good=_is_dicom_file_type, expected="application/dicom"),
        "charset": _CHARSETS,
        "anonymize": _one_of("yes"),
        "transferSyntax": _UID,
    },
    Resource.RENDERED: {
        "contentType": _RENDERED_TYPES,
        "charset": _CHARSETS,
        "annotation": _ANNOTATION,
        "imageAnnotation": _ANNOTATION,
        "rows": _SIZE,
        "columns": _SIZE,
        "region": Parameter(
            is_good=_is_region, expected="xmin,ymin,xmax,ymax from 0 to 1, minimum below maximum"
        ),
        "windowCenter": Parameter(is_good=_is_number, expected="a number"),
        "windowWidth": Parameter(is_good=_is_above_zero, expected="a number above 0"),
        "imageQuality": _QUALITY,
        "frameNumber": _SIZE,
        "presentationSeriesUID": _UID,
        "presentationUID": _UID,
    },
}
_IID: Mapping[str, Parameter] = {
    "viewerType": Parameter(
        is_good=lambda v: v.isprintable() and bool(v.strip()), expected="the name of a viewer type"
    ),
    "diagnosticQuality": _one_of("true", "false"),
    "keyImagesOnly": _one_of("true", "false"),
}
_BOTH_OR_NONE = (
    ("windowCenter", "windowWidth"),
    ("presentationSeriesUID", "presentationUID"),
)
_NOT_WITH_PRESENTATION = ("windowCenter", "windowWidth", "frameNumber")


def taken(service: ConnectionType, resource: Resource) -> Mapping[str, Parameter]:
    """The parameters that a URL of a service may carry for a resource, by name."""
    if service is ConnectionType.WADO_RS:
        return _WADO_RS[resource]
    if service is ConnectionType.WADO_URI:
        return _WADO_URI.get(resource, {})
    return _IID if service is ConnectionType.IID else {}


def checked(service: ConnectionType, resource: Resource, pairs: Pairs) -> Pairs:
    """`pairs`, all good for a URL of a service; BadRequest naming the first that is not."""
    known = taken(service, resource)
    seen: set[str] = set()
    for name, value in pairs:
        if name not in known:
            raise BadRequest(
                f"{name} is not a parameter of {service.value} for {resource.value}",
                parameter=name,
            )
        if name in seen:
            raise BadRequest(f"{name} is given twice", parameter=name)
        if len(value) > _MAX_CHARACTERS or not known[name].is_good(value):
            raise BadRequest(f"{name} must be {known[name].expected}", parameter=name)
        seen.add(name)
    _check_together(seen)
    return pairs


def _check_together(names: set[str]) -> None:
    """BadRequest where one WADO-URI parameter needs or excludes another (PS3.18 §9.4)."""
    for pair in _BOTH_OR_NONE:
        missing = [n for n in pair if n not in names]
        if len(missing) == 1:
            raise BadRequest(
                f"{missing[0]} is missing: {' and '.join(pair)} go together", parameter=missing[0]
            )
    if "presentationUID" in names:
        for name in _NOT_WITH_PRESENTATION:
            if name in names:
                raise BadRequest(f"{name} does not go with presentationUID", parameter=name)
    if {"annotation", "imageAnnotation"} <= names:
        raise BadRequest(
            "imageAnnotation is another name of annotation, which is given too",
            parameter="imageAnnotation",
        )


def written(pairs: Pairs) -> str:
    """`pairs` as a query in their own order: commas literal, a space as %20, `+` as %2B."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe=',')}" for name, value in pairs)

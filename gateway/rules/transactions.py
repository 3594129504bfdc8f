"""The transactions of `/dicom-web`: one table for its routes and for what it says of itself.

Names are those of PS3.18 Table H-1, paths are URI templates below the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.model import ConnectionType, Level
from gateway.rules import dicom_json as dj
from gateway.rules import dictionary, media, qido
from gateway.rules.attributes import ATTRIBUTES, COUNTS
from gateway.rules.url_parameters import Resource, taken

_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
_FRAMES = f"{_INSTANCE}/frames/{{frames}}"
_NOT_SEARCHED = COUNTS | {dj.SPECIFIC_CHARACTER_SET, dj.RETRIEVE_URL}


class Kind(Enum):
    """What is asked of a resource."""

    SEARCH = "search"
    INSTANCES = "instances"
    METADATA = "metadata"
    FRAMES = "frames"
    BULK_DATA = "bulk data"
    RENDERED = "rendered"
    THUMBNAIL = "thumbnail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A GET of one resource. `level` is that of a search's results, or of what is retrieved."""

    name: str
    path: str
    kind: Kind
    level: Level


def _row(name: str, path: str, kind: Kind, level: Level) -> Transaction:
    return Transaction(name=name, path=path, kind=kind, level=level)


TRANSACTIONS: tuple[Transaction, ...] = (
    _row("RetrieveFrames", _FRAMES, Kind.FRAMES, Level.FRAME),
    _row("RetrieveSeriesThumbnail", f"{_SERIES}/thumbnail", Kind.THUMBNAIL, Level.SERIES),
    _row("RetrieveStudyThumbnail", f"{_STUDY}/thumbnail", Kind.THUMBNAIL, Level.STUDY),
    _row("RetrieveInstanceThumbnail", f"{_INSTANCE}/thumbnail", Kind.THUMBNAIL, Level.INSTANCE),
    _row("RetrieveFrameThumbnail", f"{_FRAMES}/thumbnail", Kind.THUMBNAIL, Level.FRAME),
    _row("SearchForStudies", "/studies", Kind.SEARCH, Level.STUDY),
    _row("SearchForSeries", "/series", Kind.SEARCH, Level.SERIES),
    _row("SearchForInstances", "/instances", Kind.SEARCH, Level.INSTANCE),
    _row("SearchForStudySeries", f"{_STUDY}/series", Kind.SEARCH, Level.SERIES),
    _row("SearchForStudyInstances", f"{_STUDY}/instances", Kind.SEARCH, Level.INSTANCE),
    _row("SearchForStudySeriesInstances", f"{_SERIES}/instances", Kind.SEARCH, Level.INSTANCE),
    _row("RetrieveInstance", _INSTANCE, Kind.INSTANCES, Level.INSTANCE),
    _row("RetrieveSeries", _SERIES, Kind.INSTANCES, Level.SERIES),
    _row("RetrieveStudy", _STUDY, Kind.INSTANCES, Level.STUDY),
    _row("RetrieveSeriesMetadata", f"{_SERIES}/metadata", Kind.METADATA, Level.SERIES),
    _row("RetrieveStudyMetadata", f"{_STUDY}/metadata", Kind.METADATA, Level.STUDY),
    _row("RetrieveInstanceMetadata", f"{_INSTANCE}/metadata", Kind.METADATA, Level.INSTANCE),
    _row("RetrieveRenderedInstance", f"{_INSTANCE}/rendered", Kind.RENDERED, Level.INSTANCE),
    _row("RetrieveRenderedFrames", f"{_FRAMES}/rendered", Kind.RENDERED, Level.FRAME),
    _row("RetrieveRenderedSeries", f"{_SERIES}/rendered", Kind.RENDERED, Level.SERIES),
    _row("RetrieveRenderedStudy", f"{_STUDY}/rendered", Kind.RENDERED, Level.STUDY),
    _row("RetrieveBulkdata", f"{_INSTANCE}/bulkdata/{{path}}", Kind.BULK_DATA, Level.INSTANCE),
)
"""Those that are asked for most come first."""

_XML = f'{media.MULTIPART}; type="{media.DICOM_XML}"'
_OCTETS = f'{media.MULTIPART}; type="{media.OCTET_STREAM}"'
_MEDIA_TYPES: dict[Kind, tuple[str, ...]] = {
    Kind.SEARCH: (media.DICOM_JSON, "application/json", _XML),
    Kind.INSTANCES: (f'{media.MULTIPART}; type="{media.DICOM}"',),
    Kind.METADATA: (media.DICOM_JSON, "application/json", _XML),
    Kind.FRAMES: (_OCTETS, media.OCTET_STREAM),
    Kind.BULK_DATA: (_OCTETS, media.OCTET_STREAM),
    Kind.RENDERED: (media.JPEG, media.PNG, media.GIF),
    Kind.THUMBNAIL: (media.JPEG, media.PNG, media.GIF),
}
_ALONE = {Kind.INSTANCES: media.DICOM, Kind.METADATA: media.DICOM_XML}
_REFUSED = frozenset({"annotation"})
"""Parameters that are legal, and refused by name."""
_RESOURCES = {Kind.RENDERED: Resource.RENDERED, Kind.THUMBNAIL: Resource.THUMBNAIL}


def media_types(transaction: Transaction) -> Sequence[str]:
    """What it is answered as, the default first (PS3.18 §8.7.3, §8.7.4)."""
    alone = _ALONE.get(transaction.kind) if transaction.level is Level.INSTANCE else None
    return (*_MEDIA_TYPES[transaction.kind], *((alone,) if alone else ()))


def parameters(transaction: Transaction) -> Sequence[str]:
    """The query parameters that it takes (PS3.18 §8.3).

    Of a search, the attributes that its rows are sure to have: more can be searched for.
    """
    common = taken(ConnectionType.WADO_RS, Resource.METADATA)
    if transaction.kind is not Kind.SEARCH:
        resource = _RESOURCES.get(transaction.kind, Resource.METADATA)
        return tuple(n for n in taken(ConnectionType.WADO_RS, resource) if n not in _REFUSED)
    above = list(ATTRIBUTES)[: list(ATTRIBUTES).index(transaction.level) + 1]
    tags = dict.fromkeys(tag for level in above for tag in ATTRIBUTES[level])
    names = (dictionary.keyword(int(tag, 16)) for tag in tags if tag not in _NOT_SEARCHED)
    return (*names, *qido.OPTIONS, *common)

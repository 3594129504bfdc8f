"""Where bulk data of an archive is: the attribute that tells it, and a BulkDataURI (PS3.18 §F.2.6).

A BulkDataURI selects a value of the study that it stands in, below the archive's configured base;
where else it may lead is not obeyed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import orjson

from gateway.errors import BadRequest

_RESOURCES = frozenset({"studies", "series", "instances"})


def below(
    base: str, instance: Sequence[str], uri: str
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The segments and parameters below `base` that `uri` leads to; BadRequest: it leads elsewhere.

    `instance`: the segments of the instance whose metadata it stands in.
    """
    try:
        parts = urlsplit(urljoin(f"{base}/{'/'.join(instance)}/", uri))
    except ValueError as error:
        raise BadRequest("is none") from error
    path, own = parts.path, urlsplit(base).path.rstrip("/")
    if own and path.startswith(f"{own}/"):
        path = path[len(own) :]
    elif "/studies/" in path:
        path = path[path.index("/studies/") :]
    elif own:
        path = ""
    segments = tuple(s for s in path.split("/") if s)
    if not segments or not all(map(_is_plain, segments)) or _is_of_others(segments, instance):
        raise BadRequest("leads elsewhere")
    return segments, parse_qsl(parts.query)


def element(objects: Sequence[bytes], path: Sequence[str]) -> Any:
    """The element at `(tag, item, tag, ...)` of the only object; None when it is not there."""
    dataset: Any = orjson.loads(objects[0]) if objects else None
    for tag, item in zip(path[:-1:2], path[1::2], strict=True):
        items = _named(dataset, tag)
        items = items.get("Value") if isinstance(items, dict) else None
        index = int(item)
        dataset = items[index] if isinstance(items, list) and index < len(items) else None
    return _named(dataset, path[-1])


def _named(dataset: Any, tag: str) -> Any:
    """An element by its tag, in whichever case the archive writes it."""
    if not isinstance(dataset, dict):
        return None
    return dataset.get(tag, dataset.get(tag.lower()))


def _is_plain(segment: str) -> bool:
    return segment not in {".", ".."} and "%" not in segment and "\\" not in segment


def _is_of_others(segments: Sequence[str], instance: Sequence[str]) -> bool:
    """Whether a path is that of a search, of a whole study, or within another study."""
    is_within = tuple(segments[:2]) == tuple(instance[:2]) and len(segments) > 2
    return segments[0] in _RESOURCES and not is_within

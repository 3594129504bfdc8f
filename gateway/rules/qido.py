"""QIDO-RS: a caller's query as one canonical record, parsed once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gateway.errors import BadRequest, NotSupported
from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import dictionary, qido_values
from gateway.rules.attributes import BELOW, COUNTS, MAY_BE_EMPTY

_FLAGS = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
OPTIONS = (*_FLAGS, "includefield", "limit", "offset")
"""The parameters of a search that are no attributes (PS3.18 §8.3.4)."""
_IGNORED = frozenset({"accept", "charset"})
BETWEEN_WORDS = re.compile(r"[\s^=,*?\\]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A matching key. `tag` is 8 hex digits, or several joined by dots for an item's attribute.

    `is_empty`: it matches what has no value (PS3.4 §C.2.2.2.7); `value` is of no account then.
    """

    tag: str
    vr: str
    value: str
    is_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search (PS3.18 §10.6). `include` None: all attributes; `limit` None: no limit asked for.

    Several keys may be of one attribute: each must match one of its values (PS3.4 §C.2.2.2.8).
    """

    level: Level
    study_uid: str | None = None
    series_uid: str | None = None
    keys: tuple[Key, ...] = ()
    include: frozenset[str] | None = frozenset()
    fuzzy: bool = False
    limit: int | None = None
    offset: int = 0


def parse(
    level: Level,
    pairs: Iterable[tuple[str, str]],
    *,
    study_uid: str | None = None,
    series_uid: str | None = None,
) -> Query:
    """The query that a caller wrote (PS3.18 §8.3.4).

    BadRequest naming the parameter: unknown or repeated attributes (keyword and tag are the same
    one), values that do not fit the attribute, attributes of a level below the one searched, UIDs
    that contradict the path.
    """
    parents = {dj.STUDY_INSTANCE_UID: study_uid, dj.SERIES_INSTANCE_UID: series_uid}
    options: dict[str, str] = {}
    included: list[str] = []
    wanted: list[tuple[str, str]] = []
    for name, value in pairs:
        if name == "includefield":
            included += [n.strip() for n in value.split(",")]
        elif name in OPTIONS:
            _refuse_second(name, name in options)
            options[name] = value
        elif name not in _IGNORED:
            wanted.append((name, value))
    fuzzy, empty, several = (_is_true(name, options.get(name, "false")) for name in _FLAGS)
    keys: dict[str, list[Key]] = {}
    for name, value in wanted:
        tag = _searched_tag(level, name)
        _refuse_second(name, tag in keys)
        made = _keys(level, tag, name, value.strip(), empty=empty, several=several)
        keys[tag] = [_within(key, name, parents.get(tag)) for key in made]
    return Query(
        level=level,
        study_uid=study_uid,
        series_uid=series_uid,
        keys=tuple(k for made in keys.values() for k in made if k.value),
        include=None if "all" in included else _included(included, keys),
        fuzzy=fuzzy,
        limit=_whole_number("limit", options["limit"]) if "limit" in options else None,
        offset=_whole_number("offset", options.get("offset", "0")),
    )


def key(tag: str, value: str) -> Key:
    """A key made by the gateway itself; `value` in DICOM's matching form."""
    return Key(tag=tag, vr=vr_of(tag), value=value)


@lru_cache(maxsize=4096)
def vr_of(tag: str) -> str:
    """The VR of a tag in PS3.6, its first where several are possible."""
    return dictionary.vr(int(tag[-8:], 16)).split(" ")[0]


def alternatives(key: Key) -> list[str]:
    """The alternatives of a key: UIDs and code strings may be lists (PS3.4 §C.2.2.2.2)."""
    return qido_values.alternatives(key.vr, key.value)


def words(name: str) -> list[str]:
    """The words of a person name, without case and accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return [w for w in BETWEEN_WORDS.split(plain.casefold()) if w]


def _refuse_second(name: str, is_second: bool) -> None:  # noqa: FBT001 - reads as a sentence
    if is_second:
        raise BadRequest(f"{name} is given twice", parameter=name)


def _included(names: Sequence[str], keys: Iterable[str]) -> frozenset[str]:
    """The attributes that rows must have: those asked for and those searched by."""
    asked = {_path(n, "includefield") for n in names if n}
    return frozenset(path.split(".")[0] for path in asked.union(keys))


def _is_true(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise BadRequest(f"{name} must be true or false", parameter=name)
    return value == "true"


def _whole_number(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise BadRequest(f"{name} must be a whole number, 0 or more", parameter=name)
    return int(value)


def _path(name: str, parameter: str) -> str:
    """The attribute's tag, or the tags of a path into sequences joined by dots."""
    tags = [_tag(part) for part in name.split(".")]
    if not all(tags) or any(vr_of(t or "") != "SQ" for t in tags[:-1]):
        raise BadRequest(f"{parameter}: not a DICOM attribute", parameter=parameter)
    return ".".join(t for t in tags if t)


@lru_cache(maxsize=1024)
def _tag(name: str) -> str | None:
    """`name` (a keyword or 8 hex digits) as 8 upper-case hex digits; None: not in PS3.6."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name, re.ASCII):
        number: int | None = int(name, 16)
    else:
        number = dictionary.tag_of(name)
    if number is None or not dictionary.keyword(number):
        return None
    return f"{number:08X}"


def _searched_tag(level: Level, name: str) -> str:
    """The tag of an attribute that a level can be searched by."""
    tag = _path(name, name)
    if level is Level.STUDY and tag == dj.MODALITY:
        tag = dj.MODALITIES_IN_STUDY
    if tag.split(".")[0] in BELOW[level]:
        raise BadRequest(f"{name} is not an attribute of a {level.value}", parameter=name)
    if tag in COUNTS:
        raise BadRequest(f"{name} is counted here and cannot be searched for", parameter=name)
    return tag


def _keys(
    level: Level, tag: str, name: str, value: str, *, empty: bool, several: bool
) -> list[Key]:
    """The keys of one parameter: one, or one for each of several values that all must match.

    Only for attributes that every row of the level has, empty or not, does a row without a value
    mean that there is none: of others archives need not tell.
    """
    vr = vr_of(tag)
    if empty and value == qido_values.EMPTY:
        if tag not in MAY_BE_EMPTY[level]:
            raise NotSupported(f"{name} cannot be searched for being empty", parameter=name)
        return [Key(tag=tag, vr=vr, value=value, is_empty=True)]
    parts = [value]
    if several and vr in qido_values.SEVERAL:
        parts = qido_values.parts(value, name, most=dictionary.vm(int(tag[-8:], 16)))
    for part in parts:
        qido_values.check(vr, part, name)
    made = [Key(tag=tag, vr=vr, value=part) for part in parts]
    return [k if k.value.strip("*") else replace(k, value="") for k in made]


def _within(key: Key, name: str, parent: str | None) -> Key:
    """`key`, left open where the path says the same; BadRequest where it says another UID."""
    if parent is None or not key.value:
        return key
    if parent not in alternatives(key):
        raise BadRequest(f"{name} contradicts the path", parameter=name)
    return replace(key, value="")

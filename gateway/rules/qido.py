"""QIDO-RS: a caller's query as one canonical record, and the rows of many archives as one answer.

A query is parsed once; what archives receive is rebuilt from the record, never forwarded.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from gateway.errors import BadRequest
from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset

STUDY_ATTRIBUTES = (
    dj.SPECIFIC_CHARACTER_SET,
    dj.STUDY_DATE,
    dj.STUDY_TIME,
    dj.ACCESSION_NUMBER,
    dj.INSTANCE_AVAILABILITY,
    dj.MODALITIES_IN_STUDY,
    dj.REFERRING_PHYSICIAN_NAME,
    dj.RETRIEVE_URL,
    dj.PATIENT_NAME,
    dj.PATIENT_ID,
    dj.PATIENT_BIRTH_DATE,
    dj.PATIENT_SEX,
    dj.STUDY_INSTANCE_UID,
    dj.STUDY_ID,
    dj.NUMBER_OF_STUDY_RELATED_SERIES,
    dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
)
"""Attributes of every study row (PS3.18 Table 10.6.3-3), empty where they are not known."""

SERIES_ATTRIBUTES = (
    dj.SPECIFIC_CHARACTER_SET,
    dj.MODALITY,
    dj.RETRIEVE_URL,
    dj.STUDY_INSTANCE_UID,
    dj.SERIES_INSTANCE_UID,
    dj.SERIES_NUMBER,
    dj.NUMBER_OF_SERIES_RELATED_INSTANCES,
)
"""Attributes of every series row (PS3.18 Table 10.6.3-4)."""

INSTANCE_ATTRIBUTES = (
    dj.SPECIFIC_CHARACTER_SET,
    dj.SOP_CLASS_UID,
    dj.SOP_INSTANCE_UID,
    dj.INSTANCE_AVAILABILITY,
    dj.RETRIEVE_URL,
    dj.STUDY_INSTANCE_UID,
    dj.SERIES_INSTANCE_UID,
    dj.INSTANCE_NUMBER,
)
"""Attributes of every instance row (PS3.18 Table 10.6.3-5)."""

DEFAULT_IF_KNOWN = {
    Level.STUDY: (dj.TIMEZONE_OFFSET,),
    Level.SERIES: (
        dj.TIMEZONE_OFFSET,
        dj.SERIES_DESCRIPTION,
        dj.PERFORMED_START_DATE,
        dj.PERFORMED_START_TIME,
        dj.REQUEST_ATTRIBUTES_SEQUENCE,
    ),
    Level.INSTANCE: (
        dj.TIMEZONE_OFFSET,
        dj.NUMBER_OF_FRAMES,
        dj.ROWS,
        dj.COLUMNS,
        dj.BITS_ALLOCATED,
    ),
}
"""Attributes of a row of a level that are given where they are known."""

ATTRIBUTES = {
    Level.STUDY: STUDY_ATTRIBUTES,
    Level.SERIES: SERIES_ATTRIBUTES,
    Level.INSTANCE: INSTANCE_ATTRIBUTES,
}

UID_OF = {
    Level.STUDY: dj.STUDY_INSTANCE_UID,
    Level.SERIES: dj.SERIES_INSTANCE_UID,
    Level.INSTANCE: dj.SOP_INSTANCE_UID,
}

SERIES_LEVEL = frozenset(SERIES_ATTRIBUTES + DEFAULT_IF_KNOWN[Level.SERIES]) - {
    dj.SPECIFIC_CHARACTER_SET,
    dj.RETRIEVE_URL,
    dj.STUDY_INSTANCE_UID,
    dj.TIMEZONE_OFFSET,
} | {dj.BODY_PART_EXAMINED, dj.LATERALITY, dj.SERIES_DATE, dj.SERIES_TIME}
INSTANCE_LEVEL = frozenset(INSTANCE_ATTRIBUTES + DEFAULT_IF_KNOWN[Level.INSTANCE]) - {
    dj.SPECIFIC_CHARACTER_SET,
    dj.RETRIEVE_URL,
    dj.STUDY_INSTANCE_UID,
    dj.SERIES_INSTANCE_UID,
    dj.TIMEZONE_OFFSET,
    dj.INSTANCE_AVAILABILITY,
}
_BELOW = {
    Level.STUDY: SERIES_LEVEL | INSTANCE_LEVEL,
    Level.SERIES: INSTANCE_LEVEL,
    Level.INSTANCE: frozenset[str](),
}
PER_ARCHIVE = frozenset(
    {
        dj.MODALITIES_IN_STUDY,
        dj.SOP_CLASSES_IN_STUDY,
        dj.NUMBER_OF_STUDY_RELATED_SERIES,
        dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
        dj.NUMBER_OF_SERIES_RELATED_INSTANCES,
    }
)
"""Attributes whose value depends on which part of a study an archive holds."""

COUNTED = (
    dj.MODALITIES_IN_STUDY,
    dj.NUMBER_OF_STUDY_RELATED_SERIES,
    dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
)
"""Attributes of a study row that the gateway fills in from the record when archives do not."""

_IGNORED = frozenset({"accept", "charset"})
_NO_WILDCARDS = frozenset({"UI", "DA", "TM", "DT", "IS", "DS", "US", "SS", "UL", "SL", "FL", "FD"})
_MAX_VALUE_CHARACTERS = 16384
_MAX_VARIANTS = 16
_DATE = re.compile(r"\d{8}", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9._*?-]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A matching key. `tag` is 8 hex digits, or several joined by dots for an item's attribute."""

    tag: str
    vr: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search (PS3.18 §10.6). `include` None: all attributes; `limit` None: no limit asked for."""

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
    one), values that do not fit the attribute, attributes of a level below the one searched.
    """
    keys: dict[str, Key] = {}
    include: set[str] = set()
    options: dict[str, str] = {}
    everything = False
    for name, value in pairs:
        if name in _IGNORED:
            continue
        if name == "includefield":
            everything = everything or "all" in value.split(",")
            include.update(_included(value))
        elif name in {"limit", "offset", "fuzzymatching"}:
            if name in options:
                raise BadRequest(f"{name} is given twice", parameter=name)
            options[name] = value
        else:
            key = _key(level, name, value)
            if key.tag in keys:
                raise BadRequest(f"{name} is given twice", parameter=name)
            keys[key.tag] = key
    return Query(
        level=level,
        study_uid=study_uid,
        series_uid=series_uid,
        keys=tuple(k for k in keys.values() if k.value),
        include=None if everything else frozenset(include | {k.split(".")[0] for k in keys}),
        fuzzy=_is_true(options.get("fuzzymatching", "false")),
        limit=_whole_number("limit", options["limit"]) if "limit" in options else None,
        offset=_whole_number("offset", options.get("offset", "0")),
    )


def _included(value: str) -> list[str]:
    names = [n.strip() for n in value.split(",")]
    return [_path(n, "includefield").split(".")[0] for n in names if n and n != "all"]


def _is_true(value: str) -> bool:
    if value not in {"true", "false"}:
        raise BadRequest("fuzzymatching must be true or false", parameter="fuzzymatching")
    return value == "true"


def _whole_number(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise BadRequest(f"{name} must be a whole number, 0 or more", parameter=name)
    return int(value)


def _path(name: str, parameter: str) -> str:
    """The attribute's tag, or the tags of a path into sequences joined by dots."""
    tags = [_tag(part) for part in name.split(".")]
    if None in tags or not tags:
        raise BadRequest(f"{parameter}: not a DICOM attribute", parameter=parameter)
    return ".".join(t for t in tags if t)


@lru_cache(maxsize=4096)
def _tag(name: str) -> str | None:
    """`name` (a keyword or 8 hex digits) as 8 upper-case hex digits; None: not in PS3.6."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name, re.ASCII):
        number: int | None = int(name, 16)
    else:
        number = tag_for_keyword(name)
    if number is None or not keyword_for_tag(number):
        return None
    return f"{number:08X}"


@lru_cache(maxsize=4096)
def vr_of(tag: str) -> str:
    """The VR of a tag in PS3.6, its first where several are possible."""
    return dictionary_VR(int(tag[-8:], 16)).split(" ")[0]


def key(tag: str, value: str) -> Key:
    """A key made by the gateway itself; `value` in DICOM's matching form."""
    return Key(tag=tag, vr=vr_of(tag), value=value)


def _key(level: Level, name: str, value: str) -> Key:
    tag = _path(name, name)
    if level is Level.STUDY and tag == dj.MODALITY:
        tag = dj.MODALITIES_IN_STUDY
    if tag.split(".")[0] in _BELOW[level]:
        raise BadRequest(f"{name} is not an attribute of a {level.value}", parameter=name)
    made = Key(tag=tag, vr=vr_of(tag), value=value.strip())
    _check_value(made, name)
    return made if made.value.strip("*") or made.vr in _NO_WILDCARDS else replace(made, value="")


def _check_value(key: Key, name: str) -> None:
    """BadRequest unless the value is one that matching can use."""
    if len(key.value) > _MAX_VALUE_CHARACTERS or any(ord(c) < 32 for c in key.value):
        raise BadRequest(f"{name}: not a value to search for", parameter=name)
    if not key.value:
        return
    if key.vr == "UI":
        for part in alternatives(key):
            dj.uid(part, name)
    elif key.vr == "DA" and not all(_is_date(p) for p in _range(key.value)):
        raise BadRequest(f"{name} must be YYYYMMDD or a range of dates", parameter=name)
    elif key.vr == "TM" and not all(_TIME.fullmatch(p) for p in _range(key.value)):
        raise BadRequest(f"{name} must be a time HHMMSS or a range of times", parameter=name)
    elif key.vr in {"IS", "US", "SS", "UL", "SL"} and not re.fullmatch(
        r"[+-]?\d{1,12}", key.value, re.ASCII
    ):
        raise BadRequest(f"{name} must be a whole number", parameter=name)
    elif key.vr in {"SQ", "OB", "OW", "UN", "AT", "OF", "OD", "OL"}:
        raise BadRequest(f"{name} cannot be searched for", parameter=name)


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    month, day = int(text[4:6]), int(text[6:])
    return 1 <= month <= 12 and 1 <= day <= 31


def _range(value: str) -> list[str]:
    """The bounds of a range `a-b`, `a-`, `-b`, or the single value."""
    bounds = value.split("-")
    if len(bounds) > 2 or not any(bounds):
        return [value]
    return [b for b in bounds if b]


def alternatives(key: Key) -> list[str]:
    """The alternatives of a key: UIDs and code strings may be lists (PS3.4 §C.2.2.2.2)."""
    if key.vr in {"UI", "CS"}:
        return [p.strip() for p in re.split(r"[,\\]", key.value) if p.strip()]
    return [key.value]


def upstream(query: Query, *, decodes: bool = True) -> tuple[Query, ...]:
    """The queries that together find every row that `query` matches, in words any archive knows.

    Person names get a trailing `*` so that further component groups do not hide them; lists of
    code strings, which archives need not know, become one query each; an archive that does not
    percent-decode (`decodes` False) gets `?` for each character that would need it.
    """
    if not query.keys:
        return (query,)
    choices: list[list[Key | None]] = []
    for each in query.keys:
        values = alternatives(each) if each.vr == "CS" else [each.value]
        keys = [replace(each, value=_wide_name(v, query) if each.vr == "PN" else v) for v in values]
        choices.append([k if decodes else _without_encoding(k) for k in keys])
    if math.prod(len(c) for c in choices) > _MAX_VARIANTS:
        choices = [c for c in choices if len(c) == 1]
    return tuple(
        replace(query, keys=tuple(k for k in keys if k is not None)) for keys in product(*choices)
    )


def _wide_name(value: str, query: Query) -> str:
    """A pattern that finds at least the names that `value` matches by any component group."""
    if query.fuzzy:
        return f"*{max(words(value), key=len, default='')}*"
    wide = value.rstrip("^=")
    if not wide.isascii() and not wide.startswith("*"):
        wide = f"*{wide}"
    return wide if wide.endswith("*") else f"{wide}*"


def _without_encoding(key: Key) -> Key | None:
    """A key that needs no percent-encoding and finds no less; None where that finds everything."""
    if key.vr in _NO_WILDCARDS:
        return key
    value = "".join(c if _PLAIN.fullmatch(c) else "?" for c in key.value)
    return replace(key, value=value) if value.strip("*?") else None


def words(name: str) -> list[str]:
    """The words of a person name, without case and accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return [w for w in re.split(r"[\s^=,*?\\]+", plain.casefold()) if w]


def parameters(query: Query) -> list[tuple[str, str]]:
    """The canonical query string for an archive, without limit and offset, in a stable order."""
    pairs = [
        (_name(k.tag), ",".join(alternatives(k)) if k.vr == "UI" else k.value) for k in query.keys
    ]
    if query.include is None:
        pairs.append(("includefield", "all"))
    elif query.include:
        pairs.append(("includefield", ",".join(sorted(query.include))))
    if query.fuzzy:
        pairs.append(("fuzzymatching", "true"))
    return pairs


def _name(tag: str) -> str:
    return ".".join(keyword_for_tag(int(t, 16)) or t for t in tag.split("."))


def merged(rows_by_archive: Sequence[Sequence[Dataset]], level: Level) -> list[Dataset]:
    """The rows of all archives as one list: by UID, in the order of the archives and their rows.

    Lists are united; of anything else the first archive that knows it decides. Counts become the
    largest one: where a study is spread over archives, its record knows better.
    """
    by_uid: dict[str, Dataset] = {}
    for rows in rows_by_archive:
        for row in rows:
            uid = dj.text(row, UID_OF[level])
            if uid is None or not dj.is_uid(uid):
                continue
            by_uid[uid] = _united(by_uid[uid], row) if uid in by_uid else row
    return list(by_uid.values())


def _united(first: Dataset, second: Dataset) -> Dataset:
    row = dict(first)
    for tag, element in second.items():
        have, more = dj.values(row, tag), dj.values(second, tag)
        if tag in {dj.MODALITIES_IN_STUDY, dj.SOP_CLASSES_IN_STUDY}:
            row[tag] = {"vr": vr_of(tag), "Value": list(dict.fromkeys([*have, *more]))}
        elif not have or (tag in PER_ARCHIVE and more and _is_larger(more[0], have[0])):
            row[tag] = element
    return row


def _is_larger(a: Any, b: Any) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a > b


def completed(row: Dataset, query: Query, retrieve_url: str) -> Dataset:
    """`row` as the gateway answers it: every required attribute, UTF-8, our own RetrieveURL."""
    known: Dataset = {tag: {"vr": vr_of(tag)} for tag in ATTRIBUTES[query.level]}
    for tag, uid in (
        (dj.STUDY_INSTANCE_UID, query.study_uid),
        (dj.SERIES_INSTANCE_UID, query.series_uid),
    ):
        if uid is not None:
            known[tag] = {"vr": "UI", "Value": [uid]}
    whole = known | {t: e for t, e in row.items() if t not in known or dj.values(row, t)}
    whole[dj.SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    whole[dj.RETRIEVE_URL] = {"vr": "UR", "Value": [retrieve_url]}
    return dict(sorted((t, _without_nulls(e)) for t, e in whole.items()))


def _without_nulls(element: Any) -> Any:
    """An element whose Value is empty or holds only nulls loses it (PS3.18 §F.2.5)."""
    if not isinstance(element, dict) or "Value" not in element:
        return element
    found = element["Value"]
    if isinstance(found, list) and any(v is not None and v != "" for v in found):
        return element
    return {k: v for k, v in element.items() if k != "Value"}

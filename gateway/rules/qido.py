"""QIDO-RS: a caller's query as one canonical record, and what archives are asked instead.

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

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from gateway.errors import BadRequest
from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import qido_values
from gateway.rules.attributes import BELOW, COUNTS

_OPTIONS = frozenset({"limit", "offset", "fuzzymatching"})
_IGNORED = frozenset({"accept", "charset"})
_NO_WILDCARDS = frozenset({"UI", "DA", "TM", "DT"}) | qido_values.NUMBERS
_MAX_VARIANTS = 16
_PLAIN = re.compile(r"[A-Za-z0-9._*?-]", re.ASCII)
_BETWEEN_WORDS = re.compile(r"[\s^=,*?\\]+")
_OFTEN_ACCENTED = ("aeiouycnsz", "aeiouy", "")


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
    one), values that do not fit the attribute, attributes of a level below the one searched, UIDs
    that contradict the path.
    """
    parents = {dj.STUDY_INSTANCE_UID: study_uid, dj.SERIES_INSTANCE_UID: series_uid}
    keys: dict[str, Key] = {}
    options: dict[str, str] = {}
    included: list[str] = []
    for name, value in pairs:
        if name == "includefield":
            included += [n.strip() for n in value.split(",")]
        elif name in _OPTIONS:
            _refuse_second(name, name in options)
            options[name] = value
        elif name not in _IGNORED:
            key = _key(level, name, value)
            _refuse_second(name, key.tag in keys)
            keys[key.tag] = _within(key, name, parents.get(key.tag))
    return Query(
        level=level,
        study_uid=study_uid,
        series_uid=series_uid,
        keys=tuple(k for k in keys.values() if k.value),
        include=None if "all" in included else _included(included, keys),
        fuzzy=_is_true(options.get("fuzzymatching", "false")),
        limit=_whole_number("limit", options["limit"]) if "limit" in options else None,
        offset=_whole_number("offset", options.get("offset", "0")),
    )


def key(tag: str, value: str) -> Key:
    """A key made by the gateway itself; `value` in DICOM's matching form."""
    return Key(tag=tag, vr=vr_of(tag), value=value)


@lru_cache(maxsize=4096)
def vr_of(tag: str) -> str:
    """The VR of a tag in PS3.6, its first where several are possible."""
    return dictionary_VR(int(tag[-8:], 16)).split(" ")[0]


def alternatives(key: Key) -> list[str]:
    """The alternatives of a key: UIDs and code strings may be lists (PS3.4 §C.2.2.2.2)."""
    return qido_values.alternatives(key.vr, key.value)


def words(name: str) -> list[str]:
    """The words of a person name, without case and accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return [w for w in _BETWEEN_WORDS.split(plain.casefold()) if w]


def upstream(query: Query, *, decodes: bool = True) -> tuple[Query, ...]:
    """The queries that together find every row that `query` matches, in words any archive knows.

    Person names get a trailing `*` so that further component groups do not hide them; lists of
    code strings, which archives need not know, become one query each; fuzzy matching, which each
    archive understands in its own way, becomes wildcards; an archive that does not percent-decode
    (`decodes` False) gets `?` for each character that would need it.
    """
    choices: list[list[Key | None]] = [
        [k if k is None or decodes else _without_encoding(k) for k in _wide(each, query)]
        for each in query.keys
    ]
    if math.prod(len(c) for c in choices) > _MAX_VARIANTS:
        choices = [c for c in choices if len(c) == 1]
    return tuple(
        replace(query, keys=tuple(k for k in keys if k is not None), fuzzy=False)
        for keys in product(*choices)
    )


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


def _refuse_second(name: str, is_second: bool) -> None:  # noqa: FBT001 - reads as a sentence
    if is_second:
        raise BadRequest(f"{name} is given twice", parameter=name)


def _included(names: Sequence[str], keys: Iterable[str]) -> frozenset[str]:
    """The attributes that rows must have: those asked for and those searched by."""
    asked = {_path(n, "includefield") for n in names if n}
    return frozenset(path.split(".")[0] for path in asked.union(keys))


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
    if not all(tags) or any(vr_of(t or "") != "SQ" for t in tags[:-1]):
        raise BadRequest(f"{parameter}: not a DICOM attribute", parameter=parameter)
    return ".".join(t for t in tags if t)


@lru_cache(maxsize=1024)
def _tag(name: str) -> str | None:
    """`name` (a keyword or 8 hex digits) as 8 upper-case hex digits; None: not in PS3.6."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name, re.ASCII):
        number: int | None = int(name, 16)
    else:
        number = tag_for_keyword(name)
    if number is None or not keyword_for_tag(number):
        return None
    return f"{number:08X}"


def _name(tag: str) -> str:
    return ".".join(keyword_for_tag(int(t, 16)) or t for t in tag.split("."))


def _key(level: Level, name: str, value: str) -> Key:
    tag = _path(name, name)
    if level is Level.STUDY and tag == dj.MODALITY:
        tag = dj.MODALITIES_IN_STUDY
    if tag.split(".")[0] in BELOW[level]:
        raise BadRequest(f"{name} is not an attribute of a {level.value}", parameter=name)
    if tag in COUNTS:
        raise BadRequest(f"{name} is counted here and cannot be searched for", parameter=name)
    made = Key(tag=tag, vr=vr_of(tag), value=value.strip())
    qido_values.check(made.vr, made.value, name)
    return made if made.value.strip("*") else replace(made, value="")


def _within(key: Key, name: str, parent: str | None) -> Key:
    """`key`, left open where the path says the same; BadRequest where it says another UID."""
    if parent is None or not key.value:
        return key
    if parent not in alternatives(key):
        raise BadRequest(f"{name} contradicts the path", parameter=name)
    return replace(key, value="")


def _wide(key: Key, query: Query) -> list[Key | None]:
    """Keys, any of which a row has to match for `key` to match it; None: no key can say it."""
    if key.vr == "CS":
        return [replace(key, value=v) for v in alternatives(key)]
    if key.vr in _NO_WILDCARDS:
        return [key]
    # a comma or backslash would make a list of it for some archives
    value = re.sub(r"[,\\]", "?", key.value)
    if key.vr == "PN":
        value = _fuzzy_pattern(key.value) if query.fuzzy else _wide_name(value)
    return [replace(key, value=value) if value.strip("*") else None]


def _wide_name(value: str) -> str:
    """A pattern that finds at least the names that `value` matches by any component group.

    A value in ASCII is looked for in the first group, where names are written in Latin letters.
    """
    wide = value.rstrip("^=")
    if not wide.isascii() and not wide.startswith("*"):
        wide = f"*{wide}"
    return wide if wide.endswith("*") else f"{wide}*"


def _fuzzy_pattern(value: str) -> str:
    """A pattern for the most telling word, open where accents may stand in the archive.

    Vowels and the consonants that often carry accents are left open, or the vowels alone where
    nothing would be left. A word of vowels alone is asked for as it is: the archive would send all
    that it has. Of letters outside ASCII the archive's own form is not known.
    """
    found = [w.lower() for w in _BETWEEN_WORDS.split(unicodedata.normalize("NFC", value)) if w]
    for accented in _OFTEN_ACCENTED:
        solid = ["".join(c if c.isascii() and c not in accented else "*" for c in w) for w in found]
        best = max(solid, key=lambda w: len(w.replace("*", "")), default="")
        if best.strip("*"):
            return re.sub(r"\*+", "*", f"*{best}*")
    return "*"


def _without_encoding(key: Key) -> Key | None:
    """A key that needs no percent-encoding and finds no less; None where that finds everything."""
    if key.vr in _NO_WILDCARDS:
        return key
    value = "".join(
        c if _PLAIN.fullmatch(c) else "?" if c.isascii() else "*" for c in key.value
    )  # what is one character in Unicode may be several bytes to the archive
    return replace(key, value=value) if value.strip("*?") else None

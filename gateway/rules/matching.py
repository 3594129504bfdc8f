"""Which rows a QIDO-RS query matches (PS3.4 §C.2.2.2).

The same rules decide for the folder archive and, again, for every row that an archive sends:
archives ignore keys that they do not know, and then list everything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Key, Query, alternatives, words

_TEXT_WITHOUT_CASE = frozenset({"PN", "LO", "ST", "LT", "UC", "UT"})
_EXACT = frozenset({dj.PATIENT_ID, dj.ISSUER_OF_PATIENT_ID, dj.STUDY_ID, dj.ADMISSION_ID})
_DATE = ("00000101", "99991231")
_TIME = ("000000", "235959")
_DATE_TIME = (_DATE[0] + _TIME[0], _DATE[1] + _TIME[1])


def matches(query: Query, row: Dataset) -> bool:
    """Whether `row` is one that `query` asks for.

    A key whose attribute is absent matches none, unless it is one for what has no value.
    """
    parents = ((dj.STUDY_INSTANCE_UID, query.study_uid), (dj.SERIES_INSTANCE_UID, query.series_uid))
    for tag, wanted in parents:
        if wanted is not None and dj.text(row, tag) not in {wanted, None}:
            return False
    return all(_is_matched(k, row, is_fuzzy=query.fuzzy) for k in query.keys)


def still_matches(query: Query, row: Dataset, counted: Collection[str]) -> bool:
    """Whether the keys of a query that look at what was `counted` again still find `row`."""
    again = tuple(k for k in query.keys if k.tag in counted)
    return not again or matches(replace(query, keys=again), row)


def _is_matched(key: Key, row: Dataset, *, is_fuzzy: bool) -> bool:
    if key.is_empty:
        return dj.text(row, key.tag) is None
    match = _MATCHERS.get(key.vr, _text_matches)
    if is_fuzzy and key.vr == "PN":
        match = _sounds_like
    return _any_value(key, key.tag.split("."), row, match)


def _any_value(key: Key, path: list[str], row: Dataset, match: _Match) -> bool:
    """Whether some value of the attribute at `path` matches, in whichever item it is."""
    found = dj.values(row, path[0])
    if len(path) == 1:
        return any(match(key, value) for value in found)
    return any(isinstance(item, dict) and _any_value(key, path[1:], item, match) for item in found)


def _uid_matches(key: Key, value: Any) -> bool:
    return str(value).strip(" \0") in alternatives(key)


def _code_matches(key: Key, value: Any) -> bool:
    return any(_pattern(v).fullmatch(_plain(value)) for v in alternatives(key))


def _number_matches(key: Key, value: Any) -> bool:
    try:
        return float(value) == float(key.value)
    except (TypeError, ValueError, OverflowError):
        return False


def _is_in_range(whole_range: tuple[str, str], key: Key, value: Any) -> bool:
    """Range matching (PS3.4 §C.2.2.2.5): bounds are included, a missing one is open.

    Bounds and values may be shortened: a bound stands for all of the hour or the minute that it
    names, a value for its beginning. A UTC offset behind a value is not looked at.
    """
    text = re.sub(r"[+-]\d{4}$", "", _plain(value)) if key.vr == "DT" else _plain(value)
    if key.vr == "DA":
        text = text.replace(".", "")
    if not text[:1].isdigit():
        return False
    earliest, latest = whole_range
    at = _moment(text, earliest, "0")
    low, dash, high = key.value.partition("-")
    high = high if dash else low
    return (not low or _moment(low, earliest, "0") <= at) and (
        not high or at <= _moment(high, latest, "9")
    )


def _moment(text: str, template: str, filler: str) -> str:
    """A possibly shortened DA, TM or DT as digits that compare, filled up from `template`."""
    whole, _, fraction = text.replace(":", "").partition(".")
    return f"{whole}{template[len(whole) :]}.{fraction.ljust(6, filler)}"


def _text_matches(key: Key, value: Any) -> bool:
    wanted, found = _composed(key.value), _composed(_plain(value))
    if key.vr in _TEXT_WITHOUT_CASE and key.tag not in _EXACT:
        wanted, found = wanted.lower(), found.lower()
    return _pattern(wanted).fullmatch(found) is not None


def _name_matches(key: Key, value: Any) -> bool:
    """A name is found by any of its component groups, whatever the case (PS3.4 §C.2.2.2.1)."""
    pattern = _pattern(_composed(key.value).lower().rstrip("^="))
    name = _composed(_plain(value)).lower()
    return any(pattern.fullmatch(g.strip().rstrip("^=")) for g in (name, *name.split("=")))


def _sounds_like(key: Key, value: Any) -> bool:
    """Fuzzy matching: each word asked for begins some word of the name, accents apart.

    What matches literally, wildcards and all, matches too.
    """
    named = words(_plain(value))
    asked = words(key.value)
    begins = bool(asked) and all(any(w.startswith(part) for w in named) for part in asked)
    return begins or _name_matches(key, value)


def _plain(value: Any) -> str:
    return (dj.person_name_text(value) if isinstance(value, dict) else str(value)).strip(" \0")


def _composed(text: str) -> str:
    """Letters with accents as one character each, so that `?` stands for one of them."""
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=128)
def _pattern(value: str) -> re.Pattern[str]:
    """Wildcard matching (PS3.4 §C.2.2.2.4); atomic groups keep hostile patterns linear."""
    first, *rest = (re.escape(p).replace(r"\?", ".") for p in value.split("*"))
    if not rest:
        return re.compile(first, re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.DOTALL)


_Match = Callable[[Key, Any], bool]
_MATCHERS: dict[str, _Match] = {
    "UI": _uid_matches,
    "CS": _code_matches,
    "DA": partial(_is_in_range, _DATE),
    "TM": partial(_is_in_range, _TIME),
    "DT": partial(_is_in_range, _DATE_TIME),
    "PN": _name_matches,
    **dict.fromkeys(("IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"), _number_matches),
}

"""Which rows a QIDO-RS query matches (PS3.4 §C.2.2.2).

The same rules decide for the folder archive and, again, for every row that an archive sends:
archives ignore keys that they do not know, and then list everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Key, Query, alternatives, words

_TEXT_WITHOUT_CASE = frozenset({"PN", "LO", "ST", "LT", "UC", "UT"})
_EXACT = frozenset({dj.PATIENT_ID, dj.ISSUER_OF_PATIENT_ID, dj.STUDY_ID, dj.ADMISSION_ID})
_LAST_TIME = "235959"


def matches(query: Query, row: Dataset) -> bool:
    """Whether `row` is one that `query` asks for; a key whose attribute is absent matches none."""
    parents = ((dj.STUDY_INSTANCE_UID, query.study_uid), (dj.SERIES_INSTANCE_UID, query.series_uid))
    for tag, wanted in parents:
        if wanted is not None and dj.text(row, tag) not in {wanted, None}:
            return False
    return all(_is_matched(k, row, is_fuzzy=query.fuzzy) for k in query.keys)


def _is_matched(key: Key, row: Dataset, *, is_fuzzy: bool) -> bool:
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
    return any(_pattern(v).fullmatch(str(value).strip()) for v in alternatives(key))


def _number_matches(key: Key, value: Any) -> bool:
    try:
        return float(value) == float(key.value)
    except (TypeError, ValueError):
        return False


def _date_matches(key: Key, value: Any) -> bool:
    return _is_in_range(key.value, str(value).strip().replace(".", ""), _plain, _plain)


def _time_matches(key: Key, value: Any) -> bool:
    return _is_in_range(key.value, str(value).strip(), _first_moment, _last_moment)


def _plain(text: str) -> str:
    return text


def _first_moment(text: str) -> str:
    """The first instant that a possibly shortened TM stands for, in digits that compare."""
    whole, _, fraction = text.replace(":", "").partition(".")
    return f"{whole.ljust(6, '0')}.{fraction.ljust(6, '0')}"


def _last_moment(text: str) -> str:
    """The last instant that a possibly shortened TM stands for, in digits that compare."""
    whole, _, fraction = text.replace(":", "").partition(".")
    return f"{whole}{_LAST_TIME[len(whole) :]}.{fraction.ljust(6, '9')}"


def _is_in_range(
    wanted: str, value: str, first: Callable[[str], str], last: Callable[[str], str]
) -> bool:
    """Range matching (PS3.4 §C.2.2.2.5): bounds are included, a missing one is open."""
    low, dash, high = wanted.partition("-")
    if not value[:1].isdigit():
        return False
    at = first(value)
    if not dash:
        return first(low) <= at <= last(low)
    return (not low or first(low) <= at) and (not high or at <= last(high))


def _text_matches(key: Key, value: Any) -> bool:
    wanted, found = key.value, str(value).strip()
    if key.vr in _TEXT_WITHOUT_CASE and key.tag not in _EXACT:
        wanted, found = wanted.casefold(), found.casefold()
    return _pattern(wanted).fullmatch(found) is not None


def _name_matches(key: Key, value: Any) -> bool:
    """A name is found by any of its component groups, whatever the case (PS3.4 §C.2.2.2.1)."""
    pattern = _pattern(key.value.casefold().rstrip("^="))
    name = _name(value).casefold().strip()
    return any(pattern.fullmatch(g.strip().rstrip("^=")) for g in (name, *name.split("=")))


def _sounds_like(key: Key, value: Any) -> bool:
    """Fuzzy matching: each word asked for begins some word of the name, accents apart."""
    named = words(_name(value))
    return all(any(w.startswith(part) for w in named) for part in words(key.value))


def _name(value: Any) -> str:
    return dj.person_name_text(value) if isinstance(value, dict) else str(value)


@lru_cache(maxsize=1024)
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
    "DA": _date_matches,
    "TM": _time_matches,
    "PN": _name_matches,
    "IS": _number_matches,
    "DS": _number_matches,
    "US": _number_matches,
    "SS": _number_matches,
    "UL": _number_matches,
    "SL": _number_matches,
    "FL": _number_matches,
    "FD": _number_matches,
}

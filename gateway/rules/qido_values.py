"""What the value of a QIDO-RS matching key may be, by the VR of its attribute (PS3.4 §C.2.2.2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from gateway.errors import BadRequest
from gateway.rules import dicom_json as dj
from gateway.rules import values

_WHOLE_NUMBERS = frozenset({"IS", "US", "SS", "UL", "SL", "UV", "SV"})
_DECIMALS = frozenset({"DS", "FL", "FD"})
NUMBERS = _WHOLE_NUMBERS | _DECIMALS
_LISTS = frozenset({"UI", "CS"})
SEVERAL = frozenset({"AE", "AS", "CS", "LO", "PN", "SH", "UC"})
"""Whose attributes can be matched by several values at once (PS3.4 §C.2.2.2.8)."""
EMPTY = '""'
"""What stands for no value where empty values are matched (PS3.4 §C.2.2.2.7)."""
_NOT_SEARCHED = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "AT", "NONE"})
_MAX_CHARACTERS = 16384
_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
_YEAR = r"(1[5-9]|[2-9]\d)\d\d"  # what is lower behind a - is a UTC offset
_DATE_TIME = re.compile(_YEAR + r"((\d\d){0,5}|\d{10}\.\d{1,6})", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d{1,16}(\.\d{0,16})?|\.\d{1,16})([Ee][+-]?\d{1,3})?", re.ASCII)


def alternatives(vr: str, value: str) -> list[str]:
    """The alternatives of a value: UIDs and code strings may be lists, of commas or backslashes."""
    if vr in _LISTS:
        return [part.strip() for part in re.split(r"[,\\]", value) if part.strip()]
    return [value]


def parts(value: str, name: str, *, most: str) -> list[str]:
    """The values of a key, all of which must match; `most` is the attribute's multiplicity."""
    found = [part.strip() for part in value.split("\\")]
    if len(found) == 1:
        return found
    if most == "1":
        raise BadRequest(f"{name} has one value only", parameter=name)
    if not all(found) or any(c in value for c in "*?"):
        raise BadRequest(f"{name}: each of several values must be a plain one", parameter=name)
    return found


_NOT_UTF8 = "\ufffd"
"""What stands in a query for bytes that are not UTF-8."""


def check(vr: str, value: str, name: str) -> None:
    """BadRequest naming the parameter `name` unless matching can use `value`; "" matches all."""
    if not value:
        return
    is_legible = not any(c == _NOT_UTF8 or unicodedata.category(c) in {"Cc", "Cs"} for c in value)
    if len(value) > _MAX_CHARACTERS or not is_legible:
        raise BadRequest(f"{name}: not a value to search for", parameter=name)
    if vr in _NOT_SEARCHED:
        raise BadRequest(f"{name} cannot be searched for", parameter=name)
    if not alternatives(vr, value):
        raise BadRequest(f"{name}: a list without a value", parameter=name)
    if vr == "UI":
        for part in alternatives(vr, value):
            dj.uid(part, name)
    is_legal, form = _FORMS.get(vr, (None, ""))
    if is_legal is not None and not is_legal(value):
        raise BadRequest(f"{name} must be {form}", parameter=name)


def _bounds(value: str) -> list[str]:
    """The bounds of a range `a-b`, `a-`, `-b`, or the single value."""
    bounds = value.split("-")
    if len(bounds) > 2 or not any(bounds):
        return [value]
    return [b for b in bounds if b]


def _are_dates(value: str) -> bool:
    return all(b.isdigit() and values.date(b) is not None for b in _bounds(value))


def _are_times(value: str) -> bool:
    return all(_TIME.fullmatch(b) is not None for b in _bounds(value))


def _are_date_times(value: str) -> bool:
    return all(_DATE_TIME.fullmatch(b) is not None for b in _bounds(value))


def _is_whole(value: str) -> bool:
    return _WHOLE.fullmatch(value) is not None


def _is_decimal(value: str) -> bool:
    return _DECIMAL.fullmatch(value) is not None


_FORMS: dict[str, tuple[Callable[[str], bool], str]] = {
    "DA": (_are_dates, "YYYYMMDD or a range of dates"),
    "TM": (_are_times, "a time HHMMSS or a range of times"),
    "DT": (_are_date_times, "YYYYMMDDHHMMSS or a range of such, without a UTC offset"),
    **dict.fromkeys(_WHOLE_NUMBERS, (_is_whole, "a whole number")),
    **dict.fromkeys(_DECIMALS, (_is_decimal, "a number")),
}
"""What a value must look like, by VR."""

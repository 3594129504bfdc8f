"""The instants that a FHIR dateTime begins and ends with: it may be a year, a day or a second."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?"
    r"(Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


def instant(text: str | None, zone: tzinfo, *, is_end: bool) -> tuple[datetime | None, bool]:
    """The first or last instant of a FHIR dateTime, and whether it is unreadable."""
    if text is None:
        return None, False
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None, True
    try:
        return (_last if is_end else _first)(match, zone), False
    except (ValueError, OverflowError):
        return None, True


def _first(match: re.Match[str], zone: tzinfo) -> datetime:
    """The first instant of what a FHIR dateTime names; a leap second is the second before it."""
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    return datetime(
        int(year),
        int(month or 1),
        int(day or 1),
        int(hour or 0),
        int(minute or 0),
        59 if second == "60" else int(second or 0),
        int((fraction or "0").ljust(6, "0")[:6]),
        tzinfo=_offset(offset) if offset else zone,
    )


def _last(match: re.Match[str], zone: tzinfo) -> datetime:
    """The last instant of the year, month, day, minute or second that a FHIR dateTime names."""
    first = _first(match, zone)
    _, month, day, hour, _, second, fraction, _ = match.groups()
    if hour is not None:
        span = timedelta() if fraction else timedelta(seconds=1 if second else 60)
        return first + span - timedelta(microseconds=0 if fraction else 1)
    month_number = first.month if month else 12
    day_number = first.day if day else calendar.monthrange(first.year, month_number)[1]
    return first.replace(
        month=month_number, day=day_number, hour=23, minute=59, second=59, microsecond=999999
    )


def _offset(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    size = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-size if text[0] == "-" else size)

"""FHIR dates in searches (FHIR R5 Search §3.2.1.5.9): what they cover, compare and ask of QIDO.

A value covers an interval: its day, its minute, its second. Values without a time are compared
with the local calendar, offsets apart, as DICOM's StudyDate is local too; values with a time are
compared as moments, and what has no offset is read in a zone that the caller names.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

_SECOND = 10**6
_MINUTE = 60 * _SECOND
_DAY = 24 * 60 * _MINUTE
_LAST_ORDINAL = date.max.toordinal()
_DATE_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?"
    r"(Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The interval [low, high) that a FHIR date or dateTime covers, in local microseconds.

    `offset_minutes` is its UTC offset, None: it names none. `has_time`: finer than a day.
    """

    low: int
    high: int
    offset_minutes: int | None = None
    has_time: bool = False

    def absolute(self, zone_minutes: int) -> tuple[int, int]:
        """The interval in UTC; `zone_minutes` for a value without an offset of its own."""
        own = self.offset_minutes
        shift = (zone_minutes if own is None else own) * _MINUTE
        return self.low - shift, self.high - shift


@dataclass(frozen=True, slots=True, kw_only=True)
class DateValue:
    """One value of a date parameter: how to compare, and with what."""

    prefix: str
    moment: Moment


def moment(text: str) -> Moment | None:
    """What a FHIR date or dateTime covers; None when there is no such date."""
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    first, last = _days(int(year), month, day)
    if first is None or last is None:
        return None
    if hour is None:
        return Moment(low=first * _DAY, high=(last + 1) * _DAY)
    clock = _clock(int(hour), int(minute), second, fraction)
    zone = offset_minutes(offset)
    if clock is None or (offset is not None and zone is None):
        return None
    low = first * _DAY + clock[0]
    return Moment(low=low, high=low + clock[1], offset_minutes=zone, has_time=True)


def instant(now: datetime) -> Moment:
    """An aware datetime as the second that it is in."""
    offset = (now.utcoffset() or timedelta()) // timedelta(minutes=1)
    seconds = now.hour * 3600 + now.minute * 60 + now.second
    low = now.toordinal() * _DAY + seconds * _SECOND
    return Moment(low=low, high=low + _SECOND, offset_minutes=offset, has_time=True)


def _days(year: int, month: str | None, day: str | None) -> tuple[int | None, int | None]:
    """The first and last day (ordinals) of a year, month or day; None, None: no such day."""
    try:
        first = date(year, int(month or 1), int(day or 1))
    except ValueError:
        return None, None
    if day is not None:
        return first.toordinal(), first.toordinal()
    last_month = first.month if month else 12
    last = first.replace(month=last_month, day=calendar.monthrange(year, last_month)[1])
    return first.toordinal(), last.toordinal()


def _clock(
    hour: int, minute: int, second: str | None, fraction: str | None
) -> tuple[int, int] | None:
    """Start and length of a time within its day; None for one that no clock shows."""
    if hour > 23 or minute > 59 or int(second or 0) > 60:
        return None
    start = hour * 60 * _MINUTE + minute * _MINUTE + int(second or 0) * _SECOND
    if second is None:
        return start, _MINUTE
    if fraction is None:
        return start, _SECOND
    digits = fraction[:6]
    return start + int(digits.ljust(6, "0")), 10 ** (6 - len(digits))


def offset_minutes(text: str | None) -> int | None:
    """A UTC offset `Z` or `+HH:MM` in minutes; None for none, and for one out of range."""
    if text is None:
        return None
    if text == "Z":
        return 0
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    if int(text[4:6]) > 59 or minutes > 14 * 60:
        return None
    return -minutes if text[0] == "-" else minutes


def date_value(text: str) -> DateValue | None:
    """A value of a date parameter, its prefix `eq` where it has none; None when malformed."""
    prefix, rest = (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)
    covered = moment(rest)
    if prefix not in PREFIXES or covered is None:
        return None
    return DateValue(prefix=prefix, moment=covered)


def matches(wanted: DateValue, found: Moment, zone_minutes: int, now: Moment) -> bool:
    """Whether `found` is what `wanted` asks for, by FHIR's interval rules.

    `zone_minutes` is where times without an offset are taken to be; `now` serves `ap`.
    """
    low, high = _interval(wanted, wanted.moment, zone_minutes)
    start, end = _interval(wanted, found, zone_minutes)
    if wanted.prefix == "ap":
        slack = _slack(wanted, now)
        return start < high + slack and end > low - slack
    is_within = low <= start and end <= high
    return {
        "eq": is_within,
        "ne": not is_within,
        "gt": end > high,
        "lt": start < low,
        "ge": end > high or is_within,
        "le": start < low or is_within,
        "sa": start >= high,
        "eb": end <= low,
    }[wanted.prefix]


def _interval(wanted: DateValue, covered: Moment, zone_minutes: int) -> tuple[int, int]:
    if wanted.moment.has_time:
        return covered.absolute(zone_minutes)
    return covered.low, covered.high


def _slack(wanted: DateValue, now: Moment) -> int:
    """A tenth of the distance to now, a day at least."""
    return max(abs(wanted.moment.low - now.low) // 10, _DAY)


def days(wanted: DateValue, now: Moment) -> tuple[int | None, int | None] | None:
    """The first and last local day (ordinals, None: open) that can match; None: any day can.

    Values with a time may stand in another zone than the archive: a day more on either side.
    """
    margin = 1 if wanted.moment.has_time else 0
    first, last = wanted.moment.low // _DAY, (wanted.moment.high - 1) // _DAY
    if wanted.prefix == "ne":
        return None
    if wanted.prefix == "ap":
        margin += -(-_slack(wanted, now) // _DAY)
    if wanted.prefix in {"eq", "ap"}:
        return first - margin, last + margin
    if wanted.prefix in {"gt", "sa"}:
        return (first - margin if margin else last + 1), None
    if wanted.prefix in {"lt", "eb"}:
        return None, (last + margin if margin else first - 1)
    return (first - margin, None) if wanted.prefix == "ge" else (None, last + margin)


def both(
    one: tuple[int | None, int | None], other: tuple[int | None, int | None]
) -> tuple[int | None, int | None] | None:
    """The days that lie in both ranges; None when there are none."""
    lows = [day for day in (one[0], other[0]) if day is not None]
    highs = [day for day in (one[1], other[1]) if day is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and low > high:
        return None
    return low, high


def study_date_range(bounds: tuple[int | None, int | None]) -> str | None:
    """The days as a range for StudyDate (0008,0020); None when no day of the calendar is in it."""
    low, high = bounds
    if (low or 1) > _LAST_ORDINAL or (high is not None and high < 1):
        return None
    first = _dicom_date(max(low, 1)) if low is not None else ""
    last = _dicom_date(min(high, _LAST_ORDINAL)) if high is not None else ""
    return first if first == last else f"{first}-{last}"


def _dicom_date(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat().replace("-", "")

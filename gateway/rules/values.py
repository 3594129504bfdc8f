"""Single values out of DICOM's own forms: dates, times, numbers, names, codes, identifiers.

None of these raises: a value that cannot be understood is None, and left out of the record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date as calendar_day
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gateway.model import Code, Identifier, Origin, Person, PersonName
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset

_LARGEST_UNSIGNED_INT = 2147483647
_DATE = re.compile(r"(\d{4})([.-]?)(\d\d)\2(\d\d)", re.ASCII)
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_DATE_TIME = re.compile(r"(\d{8})([\d.]*)([+-]\d{4})?", re.ASCII)
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", re.ASCII)


def date(value: Any) -> str | None:
    """A DICOM DA (also the legacy `YYYY.MM.DD`) as `YYYY-MM-DD`; None when no such day exists."""
    found = _DATE.fullmatch(str(value).strip()) if value else None
    if found is None:
        return None
    try:
        return calendar_day(int(found[1]), int(found[3]), int(found[4])).isoformat()
    except ValueError:
        return None


def time(value: Any) -> str | None:
    """A DICOM TM as `HH:MM:SS[.ffffff]`, seconds zero-filled; None when invalid or hours only."""
    found = _TIME.fullmatch(str(value).strip()) if value else None
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    if minute is None or int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        return None
    return f"{hour}:{minute}:{second or '00'}" + (f".{fraction}" if fraction else "")


def moment(value: Any) -> tuple[str | None, str | None, str | None]:
    """A DICOM DT as date, time and UTC offset; what it does not say is None, as in `date`, `time`.

    A value that names no day says nothing.
    """
    found = _DATE_TIME.fullmatch(str(value or "").strip())
    day = date(found[1]) if found else None
    if found is None or day is None:
        return None, None, None
    return day, time(found[2]), offset(found[3])


def is_time(value: Any) -> bool:
    """Whether a value is a TM that can be understood, be it by its hour alone."""
    text = str(value or "").strip()
    return time(text) is not None or (re.fullmatch(r"[01]\d|2[0-3]", text, re.ASCII) is not None)


def offset(value: Any) -> str | None:
    """Timezone Offset From UTC (0008,0201) `+HHMM` as `+HH:MM`; None when it is out of range.

    `-0000`, which PS3.3 §C.12.1.1.8 does not allow, says that nothing is known.
    """
    if not value:
        return None
    text = str(value).strip()
    if not _OFFSET.fullmatch(text) or text == "-0000":
        return None
    minutes = int(text[1:3]) * 60 + int(text[3:])
    if minutes > (720 if text[0] == "-" else 840):
        return None
    return f"{text[:3]}:{text[3:]}"


def offset_in_zone(zone: str, day: str, clock: str) -> str | None:
    """The UTC offset that the IANA `zone` had at that local time.

    Of an hour that comes twice the first counts; in a gap the offset before it, which names the
    moment that moving the clock forward gives (PEP 495). None before zones were what they are now:
    local mean times leave the range of legal offsets.
    """
    local = datetime.fromisoformat(f"{day}T{clock[:8].replace(':60', ':59')}")
    at = local.replace(tzinfo=ZoneInfo(zone)).utcoffset() or timedelta()
    hours, minutes = divmod(abs(at) // timedelta(minutes=1), 60)
    return offset(f"{'-' if at <= timedelta(minutes=-1) else '+'}{hours:02}{minutes:02}")


def signed_int(dataset: Dataset, tag: str) -> int | None:
    """The first value as a 32-bit integer (IS, PS3.5 §6.2); None for anything else (`1A`)."""
    value = dj.text(dataset, tag)
    if value is None or not _WHOLE.fullmatch(value):
        return None
    number = int(value)
    return number if abs(number) <= _LARGEST_UNSIGNED_INT else None


def unsigned_int(dataset: Dataset, tag: str) -> int | None:
    """The first value as a FHIR unsignedInt; None for anything else (`1A`, -1, 2147483648)."""
    number = signed_int(dataset, tag)
    return None if number is None or number < 0 else number


def person_name(value: Any) -> PersonName | None:
    """A PN item (an object by PS3.18 §F.2.2, or a bare string); None when all its groups are empty.

    Archives that write `alphabetic=ideographic=phonetic` into one group are understood.
    """
    text = dj.person_name_text(value) if isinstance(value, dict) else value
    if not isinstance(text, str):
        return None
    groups = [*(g.strip() for g in text.split("=")), "", ""][:3]
    named = [g if g.strip("^ ") else None for g in groups]
    if not any(named):
        return None
    return PersonName(alphabetic=named[0], ideographic=named[1], phonetic=named[2])


def code(item: Any) -> Code | None:
    """An item of a code sequence; None when it says neither value nor meaning."""
    if not isinstance(item, dict):
        return None
    found = [dj.text(item, t) for t in (dj.CODE_VALUE, dj.LONG_CODE_VALUE, dj.URN_CODE_VALUE)]
    value = next((v for v in found if v), None)
    meaning = dj.text(item, dj.CODE_MEANING)
    if value is None and meaning is None:
        return None
    return Code(
        value=value,
        scheme=dj.text(item, dj.CODING_SCHEME_DESIGNATOR),
        scheme_uid=dj.text(item, dj.CODING_SCHEME_UID),
        meaning=meaning,
    )


def codes(dataset: Dataset, tag: str) -> tuple[Code, ...]:
    """The codes of a sequence, each once."""
    items = dj.values(dataset, tag)
    return tuple(dict.fromkeys(c for i in items if (c := code(i)))) if items else ()


def people(dataset: Dataset, names: str, identification: str) -> tuple[Person, ...]:
    """Persons by name and, paired by position, by the codes of their Identification Sequence."""
    found, items = dj.all_values(dataset, names), dj.all_values(dataset, identification)
    if not found and not items:
        return ()
    named = [person_name(v) for v in found]
    coded = [codes(i, dj.PERSON_IDENTIFICATION_CODES) if isinstance(i, dict) else () for i in items]
    size = max(len(named), len(coded))
    named += [None] * (size - len(named))
    coded += [()] * (size - len(coded))
    paired = (Person(name=n, codes=c) for n, c in zip(named, coded, strict=True) if n or c)
    return tuple(dict.fromkeys(paired))


def identifier(
    value: str | None,
    origin: Origin,
    *,
    local: str | None,
    qualifiers: Any,
    default_system: str | None,
) -> Identifier | None:
    """A value with its issuer's system: universal id, else configured namespace, else default.

    A system is never invented: an issuer that only names itself is kept as the `assigner`.
    """
    if value is None:
        return None
    items = [i for i in qualifiers if isinstance(i, dict)] if isinstance(qualifiers, list) else []
    issuer: Dataset = items[0] if items else {}
    if not issuer and local is None:
        return Identifier(value=value, system=default_system)
    if (universal := _universal_system(issuer)) is not None:
        return Identifier(value=value, system=universal)
    said = (local, *(dj.text(issuer, t) for t in _ISSUER_NAMES))
    names = [n for n in said if n is not None]
    known: Mapping[str, str] = dict(origin.issuer_systems)
    for name in names:
        if name in known:
            return Identifier(value=value, system=known[name])
    return Identifier(value=value, system=default_system, assigner=next(iter(names), None))


_ISSUER_NAMES = (dj.LOCAL_NAMESPACE_ENTITY_ID, dj.UNIVERSAL_ENTITY_ID)
"""Where an issuer names itself, in the order in which the configuration is asked for its system."""


def _universal_system(issuer: Dataset) -> str | None:
    """The URI that a Universal Entity ID (0040,0032) is; None for kinds that are not URIs."""
    entity = dj.text(issuer, dj.UNIVERSAL_ENTITY_ID) or ""
    kind = dj.text(issuer, dj.UNIVERSAL_ENTITY_ID_TYPE)
    if kind == "ISO" and dj.is_uid(entity):
        return f"urn:oid:{entity}"
    if kind == "UUID" and _UUID.fullmatch(entity.lower()):
        return f"urn:uuid:{entity.lower()}"
    if kind == "URI" and _URI.fullmatch(entity):
        return entity
    return None

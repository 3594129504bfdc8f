"""What archives are asked when ImagingStudies are searched for.

Queries to archives (PS3.18 §10.6) find a superset: keys that cannot be said exactly are widened
or left out, and `fhir_search` decides on the resource. A value is never forwarded raw: DICOM's
wildcards have no escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from gateway.model import Level
from gateway.rules import body_sites, fhir_dates, qido
from gateway.rules import dicom_json as dj
from gateway.rules.fhir_dates import DateValue, Moment
from gateway.rules.fhir_elements import DCM, DICOM_UID, OID_PREFIX, SNOMED_CT
from gateway.rules.fhir_search import Criterion, Kind
from gateway.rules.fhir_values import Token
from gateway.rules.qido import Key, Query

_MAX_QUERIES = 16
_UIDS_IN_A_LIST = 50
_MAX_VALUE_CHARACTERS = 256
_MAX_STUDY_ID_CHARACTERS = 16
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}", re.ASCII)
_UNSEARCHABLE = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the archives are asked, so that every match is among their answers.

    `queries` find studies; none: nothing can match. `probes` find the studies that a series or
    instance is in: any query of a probe, all probes. Not `is_narrow`: archives would list all.
    """

    queries: tuple[Query, ...]
    probes: tuple[tuple[Query, ...], ...] = ()
    is_narrow: bool = True


def plan(criteria: Iterable[Criterion], now: Moment) -> Plan:
    """The queries for a search with these criteria; `now` serves approximate dates."""
    choices: list[list[Key]] = []
    probes: list[tuple[Query, ...]] = []
    for one in criteria:
        if one.modifier in {"not", "missing"}:
            continue
        level, keys = _narrowing(one, now)
        if keys is None:
            continue
        if not keys:
            return Plan(queries=())
        if level is Level.STUDY:
            choices.append(keys)
        else:
            probes.append(tuple(Query(level=level, keys=(key,)) for key in keys))
    combined = _combined(choices)
    return Plan(
        queries=tuple(Query(level=Level.STUDY, keys=keys) for keys in combined),
        probes=tuple(probes),
        is_narrow=bool(probes) or all(combined),
    )


def bound(queries: Iterable[Query], uids: Sequence[str]) -> tuple[Query, ...]:
    """The queries among studies of these UIDs only, so many of them at a time."""
    lists = [uids[at : at + _UIDS_IN_A_LIST] for at in range(0, len(uids), _UIDS_IN_A_LIST)]
    keys = [qido.key(dj.STUDY_INSTANCE_UID, ",".join(some)) for some in lists]
    merged = ((query, _merged((*query.keys, key))) for query in queries for key in keys)
    return tuple(replace(query, keys=found) for query, found in merged if found is not None)


def _narrowing(wanted: Criterion, now: Moment) -> tuple[Level, list[Key] | None]:
    """The keys of which a match has any one, and their level; None: no key helps; []: no match."""
    tokens = [v for v in wanted.values if isinstance(v, Token)]
    name = wanted.parameter.name
    if wanted.modifier == "identifier":
        tag = _IDENTIFIER_TAGS.get(name)
        return Level.STUDY, None if tag is None else _literals(tag, tokens)
    if name in _UID_TAGS:
        level, tag = _UID_TAGS[name]
        return level, _uid_key(tag, tokens)
    if name == "identifier":
        return Level.STUDY, _identifier_keys(tokens)
    if name == "modality":
        return Level.STUDY, _modality_keys(tokens)
    if name == "body-site":
        return Level.SERIES, _body_part_keys(tokens)
    if name == "started":
        return Level.STUDY, _date_keys(wanted.values, now)
    if name == "status":
        return Level.STUDY, None if any(t.code in _STATUSES for t in tokens) else []
    if wanted.parameter.kind is Kind.REFERENCE and name != "endpoint":
        return Level.STUDY, []  # only their identifiers are known, so no such reference is held
    return Level.STUDY, None


_STATUSES = frozenset({"registered", "available", "unknown", "inactive", None})
"""What status can be here; None: any of its system."""

_IDENTIFIER_TAGS = {
    "based-on": dj.ACCESSION_NUMBER,
    "patient": dj.PATIENT_ID,
    "subject": dj.PATIENT_ID,
}
"""Where archives hold the identifiers of references, in keys that all of them must match.

An Accession Number that stands in the series' requests alone is not found: few archives can match
it there, and others answer with all the series they have.
"""

_UID_TAGS = {
    "_id": (Level.STUDY, dj.STUDY_INSTANCE_UID),
    "series": (Level.SERIES, dj.SERIES_INSTANCE_UID),
    "instance": (Level.INSTANCE, dj.SOP_INSTANCE_UID),
    "dicom-class": (Level.INSTANCE, dj.SOP_CLASS_UID),
}


def _uid_key(tag: str, tokens: Sequence[Token]) -> list[Key] | None:
    """One key with all UIDs: of UIDs, archives understand lists."""
    if any(t.code is None for t in tokens):
        return None
    uids = [(t.code or "").removeprefix(OID_PREFIX) for t in tokens]
    legal = dict.fromkeys(u for u in uids if dj.is_uid(u))
    return [qido.key(tag, ",".join(legal))] if legal else []


def _identifier_keys(tokens: Sequence[Token]) -> list[Key] | None:
    """Study Instance UIDs, and Study IDs where the value can be one."""
    if any(t.code is None for t in tokens):
        return None
    of_uids = [t for t in tokens if t.system in {None, DICOM_UID}]
    of_ids = [
        t
        for t in tokens
        if t.system in {None, ""} and len(t.code or "") <= _MAX_STUDY_ID_CHARACTERS
    ]
    return [
        *(_uid_key(dj.STUDY_INSTANCE_UID, of_uids) or ()),
        *_literals(dj.STUDY_ID, of_ids),
    ]


def _modality_keys(tokens: Sequence[Token]) -> list[Key] | None:
    """One key with all modalities: the catalog splits lists of code strings for the archives."""
    ours = [t for t in tokens if t.system in {None, DCM}]
    if any(t.code is None for t in ours):
        return None
    codes = [(t.code or "").upper() for t in ours]
    legal = dict.fromkeys(c for c in codes if _CODE_STRING.fullmatch(c))
    return [qido.key(dj.MODALITIES_IN_STUDY, ",".join(legal))] if legal else []


def _body_part_keys(tokens: Sequence[Token]) -> list[Key] | None:
    """The body parts that mean the codes (PS3.16 Annex L)."""
    ours = [t for t in tokens if t.system in {None, SNOMED_CT}]
    if len(ours) < len(tokens) or any(t.code is None for t in ours):
        return None
    parts = [part for t in ours for part in body_sites.body_parts(t.code or "")]
    return [qido.key(dj.BODY_PART_EXAMINED, ",".join(parts))] if parts else None


def _literals(tag: str, tokens: Sequence[Token]) -> list[Key]:
    """A key for each value that an attribute can hold, found among what its wildcards match."""
    found = (_literal(t.code or "") for t in tokens)
    return [qido.key(tag, value) for value in dict.fromkeys(found) if value]


def _literal(value: str) -> str | None:
    """A value for an archive: `?` for the wildcards in it; None when no attribute can hold it."""
    if _UNSEARCHABLE.search(value) or len(value) > _MAX_VALUE_CHARACTERS:
        return None
    return value.strip().replace("*", "?")


def _date_keys(values: Sequence[object], now: Moment) -> list[Key] | None:
    """A range of StudyDate for each value."""
    ranges = [fhir_dates.days(v, now) for v in values if isinstance(v, DateValue)]
    if None in ranges:
        return None
    written = (fhir_dates.study_date_range(bounds) for bounds in ranges if bounds is not None)
    return [qido.key(dj.STUDY_DATE, value) for value in dict.fromkeys(written) if value]


def _combined(choices: list[list[Key]]) -> list[tuple[Key, ...]]:
    """Every way to meet all choices; where those are too many, the largest choices are left out."""
    choices = sorted(choices, key=len)
    ways = 1
    for count, keys in enumerate(choices):
        ways *= len(keys)
        if ways > _MAX_QUERIES:
            choices = choices[:count]
            break
    merged = (_merged(keys) for keys in product(*choices))
    return [keys for keys in dict.fromkeys(merged) if keys is not None]


def _merged(keys: Iterable[Key]) -> tuple[Key, ...] | None:
    """The keys with each attribute once; None when two of them exclude each other."""
    by_tag: dict[str, Key] = {}
    for key in keys:
        known = by_tag.get(key.tag)
        joined = key if known is None else _intersection(known, key)
        if joined is None:
            return None
        by_tag[key.tag] = joined
    return tuple(by_tag.values())


def _intersection(one: Key, other: Key) -> Key | None:
    """One key for what both ask for; the first stands for both where that cannot be said."""
    if one.tag == dj.STUDY_INSTANCE_UID:
        common = [uid for uid in one.value.split(",") if uid in other.value.split(",")]
        return replace(one, value=",".join(common)) if common else None
    if one.tag == dj.STUDY_DATE:
        low = max(_bound(one, 0), _bound(other, 0))
        high = min(_bound(one, 1) or "9", _bound(other, 1) or "9")
        if low > high:
            return None
        value = low if low == high else f"{low}-{'' if high == '9' else high}"
        return replace(one, value=value)
    return one


def _bound(key: Key, which: int) -> str:
    """The first or last day of a StudyDate key, "" where it is open."""
    first, dash, last = key.value.partition("-")
    return (first, last if dash else first)[which]

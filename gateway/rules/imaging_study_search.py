"""What archives are asked when ImagingStudies are searched for.

Queries to archives (PS3.18 §10.6) find a superset, and `fhir_search` decides on the resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.fhir_dates import Moment
from gateway.rules.fhir_search import Criterion
from gateway.rules.imaging_study_keys import BY_DEFAULT, Choice, Options, choice
from gateway.rules.qido import Key, Query

_MAX_QUERIES = 16
_UIDS_IN_A_LIST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the archives are asked, so that every match is among their answers.

    `queries` find studies; none: nothing can match. `probes` find the studies that a series or
    instance is in: any query of a probe, all probes.
    """

    queries: tuple[Query, ...]
    probes: tuple[tuple[Query, ...], ...] = ()


def plan(criteria: Iterable[Criterion], now: Moment, options: Options = BY_DEFAULT) -> Plan:
    """The queries for a search with these criteria; `now` serves approximate dates."""
    asked = [one for one in criteria if one.modifier not in {"not", "missing"}]
    narrowing = [found for one in asked if (found := choice(one, now, options)) is not None]
    if not all(one.studies or one.below for one in narrowing):
        return Plan(queries=())
    probes = [_probe(one) for one in narrowing if one.below]
    choices = [one for one in narrowing if not one.below]
    if any(key.tag in _TELLING for one in narrowing for key in one.keys):
        choices = [one for one in choices if not one.weak]
    combined = _combined([list(one.studies) for one in choices])
    return Plan(queries=tuple(_query(keys) for keys in combined), probes=tuple(probes))


def one_study(plan: Plan) -> str | None:
    """The UID of the only study that can match; None: there may be others, or none."""
    if len(plan.queries) != 1 or plan.probes:
        return None
    named = [k.value for k in plan.queries[0].keys if k.tag == dj.STUDY_INSTANCE_UID]
    return named[0] if named and dj.is_uid(named[0]) else None


_TELLING = frozenset(
    {
        dj.STUDY_INSTANCE_UID,
        dj.PATIENT_ID,
        dj.STUDY_ID,
        dj.SERIES_INSTANCE_UID,
        dj.SOP_INSTANCE_UID,
    }
)
"""Keys that few studies match, so that each can be looked at."""


def _probe(choice: Choice) -> tuple[Query, ...]:
    return (*(_query((key,)) for key in choice.studies), *choice.below)


def _query(keys: tuple[Key, ...]) -> Query:
    """A query for studies. Names in Latin letters are asked for fuzzily: by words, accents apart.

    Names in ideographs, which fuzzy matching leaves open, are then left to the resource.
    """
    fuzzy = any(key.vr == "PN" and key.value.isascii() for key in keys)
    kept = (key for key in keys if not fuzzy or key.vr != "PN" or key.value.isascii())
    return Query(level=Level.STUDY, keys=tuple(kept), fuzzy=fuzzy)


def bound(queries: Iterable[Query], uids: Sequence[str]) -> tuple[Query, ...]:
    """The queries among studies of these UIDs only, so many of them at a time."""
    lists = [uids[at : at + _UIDS_IN_A_LIST] for at in range(0, len(uids), _UIDS_IN_A_LIST)]
    keys = [qido.key(dj.STUDY_INSTANCE_UID, ",".join(some)) for some in lists]
    merged = ((query, _merged((*query.keys, key))) for query in queries for key in keys)
    return tuple(replace(query, keys=found) for query, found in merged if found is not None)


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
    if one.vr == "DA":
        low = max(_bound(one, 0), _bound(other, 0))
        high = min(_bound(one, 1) or "9", _bound(other, 1) or "9")
        if low > high:
            return None
        value = low if low == high else f"{low}-{'' if high == '9' else high}"
        return replace(one, value=value)
    return one


def _bound(key: Key, which: int) -> str:
    """The first or last day of a key for days, "" where it is open."""
    first, dash, last = key.value.partition("-")
    return (first, last if dash else first)[which]

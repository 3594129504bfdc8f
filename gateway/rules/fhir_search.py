"""FHIR search: from parameters to criteria, and which resources meet them.

What can be searched for is a table of `Parameter`s; what the archives are asked is decided in
`imaging_study_search`, as a superset. Here the resource itself decides, as it would be served.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from gateway.errors import BadRequest, NotSupported
from gateway.model import Level
from gateway.rules import fhir_dates, fhir_values
from gateway.rules.fhir_dates import DateValue, Moment
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_values import ReferenceValue, Token

Value: TypeAlias = Token | ReferenceValue | DateValue | str | bool


class Kind(enum.Enum):
    """The types of search parameters that are known here, by FHIR's own codes."""

    TOKEN = "token"  # noqa: S105 - FHIR SearchParamType, not a secret
    REFERENCE = "reference"
    DATE = "date"
    STRING = "string"
    URI = "uri"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parameter:
    """A search parameter. `name` is R5's; `aliases` are what other versions call it.

    `found` gives what a resource has: Tokens, References, dates or strings. `level` is how deep
    a record must be loaded before that is true; `targets` the types that a reference may name, of
    a chain (`patient.name`) those that its reference may name. `is_utc`: it is about a time of
    this server, and dates without an offset are in UTC. `documentation` is for people; {name} in
    it is what the version calls the parameter.
    """

    name: str
    kind: Kind
    found: Callable[[Resource], Iterable[Any]]
    level: Level = Level.STUDY
    targets: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    is_utc: bool = False
    documentation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """What one parameter of a search asks for: any of its values, in the way of its modifier."""

    parameter: Parameter
    modifier: str | None = None
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What values are read and compared by: this server's base (a pattern), and the moment."""

    base: str
    now: Moment
    strict: bool = False


def _tokens_of_meta(element: str) -> Callable[[Resource], Iterable[Token]]:
    """The tokens of a list of Codings in `meta`."""
    return lambda r: (
        t for one in r.get("meta", {}).get(element, ()) for t in fhir_values.coded(one)
    )


ID = Parameter(name="_id", kind=Kind.TOKEN, found=lambda r: [Token(code=r["id"])])
OF_ANY_RESOURCE = (
    ID,
    Parameter(name="_profile", kind=Kind.URI, found=lambda r: r.get("meta", {}).get("profile", ())),
    Parameter(name="_security", kind=Kind.TOKEN, found=_tokens_of_meta("security")),
    Parameter(name="_tag", kind=Kind.TOKEN, found=_tokens_of_meta("tag")),
)
"""Parameters of every resource type. What is built on demand claims no profile and has no tags."""

_MODIFIERS = {
    Kind.TOKEN: frozenset({"not", "missing"}),
    Kind.REFERENCE: frozenset({"identifier", "missing"}),
    Kind.DATE: frozenset({"missing"}),
    Kind.STRING: frozenset({"exact", "contains", "missing"}),
    Kind.URI: frozenset({"missing"}),
}
"""Modifiers that work, by the parameter's type; references take the names of their targets too."""


@lru_cache(maxsize=64)
def by_name(
    parameters: tuple[Parameter, ...], absent: frozenset[str] = frozenset()
) -> Mapping[str, Parameter]:
    """The parameters under every name that any version gives them, without the `absent` ones."""
    return {
        name: p
        for p in parameters
        if p.name.partition(".")[0].partition(":")[0] not in absent
        for name in (p.name, *p.aliases)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    """The name of a parameter in its parts: `subject:Patient.name:exact`."""

    parameter: str
    type: str | None = None
    modifier: str | None = None


def criterion(
    name: str, text: str, parameters: Mapping[str, Parameter], reading: Reading
) -> Criterion | None:
    """The criterion that `name=text` is; None when `name` is no parameter or `text` is empty.

    BadRequest for modifiers and chains that do not work (ignoring them would widen the search)
    and for malformed values, however lenient the search is.
    """
    asked = _parted(name, parameters)
    parameter = parameters.get(asked.parameter)
    if parameter is None:
        if asked.parameter.partition(".")[0] in parameters:
            raise NotSupported(f"{name}: this chain is not supported", parameter=name)
        return None
    if asked.type is not None and asked.type not in parameter.targets:
        raise NotSupported(f"{name} does not refer to this type", parameter=name)
    values = fhir_values.listed(text)
    if not values:
        if reading.strict:
            raise BadRequest(f"{name} has no value", parameter=name)
        return None
    kind = _modified(parameter, asked, name)
    of_type = (asked.type or asked.modifier or "",)
    targets = of_type if of_type[0] in parameter.targets else parameter.targets
    read = [_value(kind, v, name, targets, reading) for v in values]
    return Criterion(
        parameter=parameter,
        modifier=None if asked.modifier in parameter.targets else asked.modifier,
        values=tuple(v for v in read if v is not None),
    )


def _parted(name: str, known: Collection[str]) -> _Name:
    """A name in its parts; the chain `patient.identifier` is `patient:identifier`.

    Where a chain leads to several types, each is a parameter of its own and the type part of it.
    """
    head, dot, chained = name.partition(".")
    plain, colon, first = head.partition(":")
    if not dot:
        return _Name(parameter=plain, modifier=first if colon else None)
    of_type = first if colon else None
    if chained == "identifier":
        return _Name(parameter=plain, type=of_type, modifier=chained)
    last, colon, modifier = chained.partition(":")
    given = modifier if colon else None
    if f"{head}.{last}" in known:
        return _Name(parameter=f"{head}.{last}", modifier=given)
    return _Name(parameter=f"{plain}.{last}", type=of_type, modifier=given)


def _modified(parameter: Parameter, asked: _Name, name: str) -> Kind | None:
    """How the values are to be read; None for the `true` or `false` of `:missing`."""
    is_type = parameter.kind is Kind.REFERENCE and asked.modifier in parameter.targets
    if asked.modifier is None or is_type:
        return parameter.kind
    if asked.modifier not in _MODIFIERS[parameter.kind]:
        raise NotSupported(f"{name}: this modifier is not supported", parameter=name)
    if asked.modifier == "missing":
        return None
    return Kind.TOKEN if asked.modifier == "identifier" else parameter.kind


def _value(
    kind: Kind | None, text: str, name: str, targets: tuple[str, ...], reading: Reading
) -> Value | None:
    if kind is None:
        if text not in {"true", "false"}:
            raise BadRequest(f"{name} must be true or false", parameter=name)
        return text == "true"
    if kind is Kind.DATE:
        found = fhir_dates.date_value(text)
        if found is None:
            raise BadRequest(f"{name} is not a FHIR date", parameter=name)
        return found
    if kind is Kind.REFERENCE:
        return fhir_values.reference(text, targets, reading.base)
    if kind is Kind.TOKEN:
        return fhir_values.token(text)
    return fhir_values.unescaped(text)


def meets(
    resource: Resource, criteria: Iterable[Criterion], zone_minutes: int, now: Moment
) -> bool:
    """Whether `resource` meets all criteria.

    `zone_minutes` is the UTC offset of its dates that have none; `now` serves approximate dates.
    """
    return all(_meets(resource, one, zone_minutes, now) for one in criteria)


def _meets(resource: Resource, wanted: Criterion, zone_minutes: int, now: Moment) -> bool:
    zone_minutes = 0 if wanted.parameter.is_utc else zone_minutes
    found = list(wanted.parameter.found(resource))
    if wanted.modifier == "missing":
        return all(value is (not found) for value in wanted.values)
    if wanted.modifier == "identifier":
        references = (one.get("identifier") for one in found)
        found = list(fhir_values.identified(one for one in references if one))
    if wanted.parameter.kind is Kind.STRING:
        return any(_reads(v, one, wanted.modifier) for v in wanted.values for one in found)
    has_one = any(_fits(v, one, zone_minutes, now) for v in wanted.values for one in found)
    return not has_one if wanted.modifier == "not" else has_one


def _fits(value: Value, found: Any, zone_minutes: int, now: Moment) -> bool:
    if isinstance(value, (Token, ReferenceValue)):
        return value.fits(found)
    if isinstance(value, DateValue):
        covered = fhir_dates.moment(found)
        return covered is not None and fhir_dates.matches(value, covered, zone_minutes, now)
    return bool(value == found)


def _reads(value: Value, found: str, modifier: str | None) -> bool:
    """Strings: by their beginning or any part, whatever case and accents; or exactly."""
    if modifier == "exact":
        return value == found
    wanted, text = _folded(str(value)), _folded(found)
    return wanted in text if modifier == "contains" else text.startswith(wanted)


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


def level(criteria: Iterable[Criterion]) -> Level:
    """How deep a record must be loaded before the criteria can be decided."""
    return max((_level(one) for one in criteria), key=_DEPTH.index, default=Level.STUDY)


def up_to(criteria: Iterable[Criterion], deepest: Level) -> list[Criterion]:
    """The criteria that a record loaded down to `deepest` decides."""
    return [one for one in criteria if _DEPTH.index(_level(one)) <= _DEPTH.index(deepest)]


_DEPTH = (Level.STUDY, Level.SERIES, Level.INSTANCE)


def _level(wanted: Criterion) -> Level:
    """SERIES at the least for moments: series may know the UTC offset that the study lacks."""
    is_timed = any(isinstance(v, DateValue) and v.moment.has_time for v in wanted.values)
    if is_timed and wanted.parameter.level is Level.STUDY:
        return Level.SERIES
    return wanted.parameter.level

"""A FHIR search as it was asked: criteria, what is wanted of the result, what was ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.errors import BadRequest, NotSupported
from gateway.rules import fhir_results, fhir_search
from gateway.rules.fhir_results import Offered, Wanted
from gateway.rules.fhir_search import Criterion, Parameter, Reading

_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search. `used` are the parameters that count, as they were written; `ignored` the others.

    `wanted.count` is the page size that applies. `is_strict`: what cannot be done fails.
    """

    criteria: tuple[Criterion, ...]
    wanted: Wanted
    used: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...] = ()
    is_strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many entries a page has: when nothing is said, and at the most."""

    usual: int
    largest: int


def read(
    pairs: Iterable[tuple[str, str]],
    parameters: Mapping[str, Parameter],
    offered: Offered,
    reading: Reading,
    sizes: Sizes,
) -> Search:
    """The search that the parameters of a request ask for.

    BadRequest for what is malformed or may not be ignored, and when handling is strict for
    everything that is not known.
    """
    wanted, criteria = Wanted(), []
    used: list[tuple[str, str]] = []
    ignored: list[str] = []
    for name, text in pairs:
        if fhir_results.is_known(name):
            changed = _result(wanted, name, text, offered, reading)
            is_used, wanted = changed is not None, changed or wanted
        else:
            criterion = fhir_search.criterion(name, text, parameters, reading)
            is_used = criterion is not None
            if criterion is not None:
                criteria.append(criterion)
            elif reading.strict:
                raise NotSupported(f"{_shown(name)} is no parameter here", parameter=_shown(name))
        if is_used:
            meant = fhir_results.meant(name, text, offered)
            used.append((name, meant))
        if not is_used or meant != text:
            ignored.append(_shown(name))
    count = min(sizes.usual if wanted.count is None else wanted.count, sizes.largest)
    return Search(
        criteria=tuple(criteria),
        wanted=replace(wanted, count=count),
        used=tuple(_said(name, text, count) for name, text in used if name != "_page"),
        ignored=tuple(dict.fromkeys(ignored)),
        is_strict=reading.strict,
    )


def _result(
    wanted: Wanted, name: str, text: str, offered: Offered, reading: Reading
) -> Wanted | None:
    if text:
        return fhir_results.understood(wanted, name, text, offered, strict=reading.strict)
    if reading.strict:
        raise BadRequest(f"{_shown(name)} has no value", parameter=_shown(name))
    return None


def _said(name: str, text: str, count: int) -> tuple[str, str]:
    """A parameter as links repeat it: the page size is the one that applies."""
    return (name, str(count)) if name == "_count" else (name, text)


def _shown(name: str) -> str:
    return name[:_SHOWN_CHARACTERS]


def is_strict(prefer: Iterable[str]) -> bool:
    """Whether Prefer asks for strict handling (RFC 7240 §4.4); unknown preferences are none."""
    return preference(prefer) == "handling=strict"


def preference(prefer: Iterable[str]) -> str | None:
    """The preference for handling that is honoured, as Preference-Applied repeats it.

    None: Prefer names none. Strict where it names both.
    """
    members = (part for field in prefer for part in field.replace(";", ",").split(","))
    named = {"".join(one.lower().replace('"', "").split()) for one in members}
    return next((p for p in ("handling=strict", "handling=lenient") if p in named), None)

"""The values of FHIR search parameters: tokens, references and lists (FHIR R5 Search §3.2.1.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.rules.fhir_elements import Resource

_ESCAPE = re.compile(r"\\([,|$\\])")
_TYPE_AND_ID = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token. As a value: system None is any, "" is none; code None is any of the system.

    As found in a resource: system None is none.
    """

    system: str | None = None
    code: str | None = None

    def fits(self, found: Token) -> bool:
        """Whether this value finds `found`: exactly, never in part."""
        if self.code is not None and self.code != found.code:
            return False
        return self.system is None or self.system == (found.system or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValue:
    """A reference to look for: a type and an id, either alone, or a URL that is neither."""

    type: str | None = None
    id: str | None = None
    url: str | None = None

    def fits(self, found: Resource) -> bool:
        """Whether this value finds a Reference; contained and logical ones have no id to find."""
        written = str(found.get("reference", ""))
        if self.url is not None:
            return written == self.url
        parts = _TYPE_AND_ID.fullmatch(written)
        return parts is not None and self.type in {None, parts[1]} and self.id == parts[2]


def split(text: str, separator: str) -> list[str]:
    r"""`text` at each separator that no backslash escapes; escapes stay for `unescaped`."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescaped(text: str) -> str:
    r"""`text` with FHIR's `\,` `\|` `\$` and `\\` decoded."""
    return _ESCAPE.sub(r"\1", text)


def listed(text: str) -> list[str]:
    """The alternatives of a value, still escaped; empty ones are none."""
    return [part for part in split(text, ",") if part]


def token(text: str) -> Token | None:
    """A token value `code`, `system|code`, `|code` or `system|`; None when it says nothing."""
    system, *rest = split(text, "|")
    if not rest:
        return Token(code=unescaped(system))
    code = unescaped("|".join(rest))
    if not code and not system:
        return None
    return Token(system=unescaped(system), code=code or None)


def reference(text: str, types: tuple[str, ...], base: str) -> ReferenceValue | None:
    """A reference value `id`, `Type/id` or URL; one below `base` (a pattern) is of this server.

    `types`: what the parameter can refer to; an id alone is of the one type, if there is one.
    None: it names another type.
    """
    written = unescaped(text)
    local = re.sub(base, "", written)
    parts = _TYPE_AND_ID.fullmatch(local)
    if parts is not None:
        return ReferenceValue(type=parts[1], id=parts[2]) if parts[1] in types else None
    if "/" in local or ":" in local:
        return ReferenceValue(url=local)
    return ReferenceValue(type=types[0] if len(types) == 1 else None, id=local)


def coded(element: Resource) -> Iterator[Token]:
    """The tokens of a Coding, CodeableConcept or CodeableReference, whichever the version has."""
    for coding in element.get("concept", element).get("coding", [element]):
        if "code" in coding:
            yield Token(system=coding.get("system"), code=coding["code"])


def identified(identifiers: Iterable[Resource]) -> Iterator[Token]:
    """The tokens of Identifiers."""
    for one in identifiers:
        if "value" in one:
            yield Token(system=one.get("system"), code=one["value"])


def name_parts(people: Iterable[Resource], *parts: str) -> Iterator[str]:
    """Strings of the HumanNames of people; an Organization's name is its only part."""
    for one in people:
        written = one.get("name", [])
        if isinstance(written, str):
            yield written
            continue
        for name in written:
            for part in parts:
                found = name.get(part, [])
                yield from [found] if isinstance(found, str) else found


def whole_names(people: Iterable[Resource]) -> Iterator[str]:
    """Every part of a name, and the name as it is spoken: given names, then the family's."""
    for one in people:
        yield from name_parts([one], "text", "family", "given", "prefix", "suffix")
        if isinstance(one.get("name"), list):
            for name in one["name"]:
                yield " ".join([*name.get("given", ()), name.get("family", "")])

"""Which FHIR version a request is answered in, by Accept and `_format` (FHIR R5 HTTP §3.2.0.1)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import NotAcceptable
from gateway.rules import media
from gateway.rules.fhir_versions import MEDIA_TYPE, VERSIONS, Version
from gateway.rules.media import MediaRange

_JSON = frozenset({MEDIA_TYPE, "application/json", "text/json"})
_SHORT = {"json": MEDIA_TYPE}


def version(
    accept: Sequence[str], format_: str | None, base: Version | None, default: Version
) -> Version:
    """The version to answer in: the base path's; else the one that Accept names; else `default`.

    `_format` beats Accept. NotAcceptable: no JSON is accepted, or another version than the
    base path's, or `_format` and Accept name different ones.
    """
    ranges = media.accepted(accept)
    if format_:
        ranges = (_format(format_, ranges),)
    for one in ranges:
        named = one.parameter("fhirversion")
        fitting = (base or default) if named is None else _numbered(named)
        is_json = one.type in _JSON or one.covers(MEDIA_TYPE)
        if is_json and fitting is not None and base in {None, fitting}:
            return fitting
    raise NotAcceptable(f"available as {MEDIA_TYPE} in {_available(base)}")


def _format(written: str, ranges: Sequence[MediaRange]) -> MediaRange:
    """`_format` as the only range; where it names no version, the version that Accept names."""
    kind, semicolon, parameters = written.partition(";")
    plain = _SHORT.get(kind.strip().lower(), kind.strip().replace(" ", "+"))
    chosen = media.accepted([plain + semicolon + parameters])[0]
    versions = {v for one in ranges if (v := one.parameter("fhirversion")) is not None}
    named = chosen.parameter("fhirversion")
    if named is not None and versions and named not in versions:
        raise NotAcceptable("_format and Accept name different FHIR versions")
    if named is None and len(versions) == 1:
        return MediaRange(chosen.type, (("fhirversion", versions.pop()),))
    return chosen


def _numbered(number: str) -> Version | None:
    """The version `4.0`, also when it is written out as its release `4.0.1`."""
    return next((v for v in VERSIONS.values() if number in {v.number, v.release}), None)


def _available(base: Version | None) -> str:
    versions = VERSIONS.values() if base is None else (base,)
    return ", ".join(f"fhirVersion={v.number}" for v in versions)

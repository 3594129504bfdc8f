"""An ImagingStudy that somebody else wrote (R4 to R6), alone or in a Bundle, read for resolving.

Only the body is read: a reference that leads out of it is a warning and nothing is ever fetched.
The body may hold anything; what has the wrong type is treated as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.errors import BadRequest, PayloadTooLarge
from gateway.model import ConnectionType, Endpoint
from gateway.rules.endpoints import Carried
from gateway.rules.foreign_values import Resource, objects, text
from gateway.rules.foreign_values import uid as uid_of
from gateway.rules.urls import WEB_VIEWER

CONNECTION_TYPE_SYSTEM = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
ALIAS_SYSTEMS = frozenset(
    {
        CONNECTION_TYPE_SYSTEM,
        "http://hl7.org/fhir/endpoint-connection-type",
        "http://hl7.eu/fhir/imaging/CodeSystem/codesystem-endpoint-terminology",
        "http://hl7.eu/fhir/imaging-r4/CodeSystem/codesystem-endpoint-terminology",
        "http://hl7.eu/fhir/imaging-r5/CodeSystem/codesystem-endpoint-terminology",
        "http://hl7.eu/fhir/imaging-manifest-r4/CodeSystem/codesystem-endpoint-terminology",
        "http://hl7.eu/fhir/imaging-manifest-r5/CodeSystem/codesystem-endpoint-terminology",
    }
)
"""Systems whose connection types have the codes of HL7's."""

MAX_SERIES = 1000
MAX_REFERENCES = 20
"""Endpoints of one study or series; more of either than these is no study, but a burden."""

_T = TypeVar("_T")
_STUDY_UID_SYSTEM = "urn:dicom:uid"
_WEB_VIEWER_PROFILE = "MadoWebViewerEndpoint"
_HTML = {"text/html", "text-html"}
_RESOLVED = {connection_type.value for connection_type in ConnectionType}
_RELATIVE = re.compile(r"(?:.*/)?(Endpoint/[A-Za-z0-9.-]{1,64})(?:/_history/[^/]*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What a body says: the study, what it carries, and the instances that each series lists."""

    study_uid: str
    carried: Carried
    instances: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """The Endpoint resources that references can lead to, by every name that they have."""

    by_url: Mapping[str, Resource] = field(default_factory=dict)
    by_id: Mapping[str, Sequence[tuple[str | None, Resource]]] = field(default_factory=dict)
    contained: Mapping[str, Resource] = field(default_factory=dict)
    own: Mapping[str, Endpoint] = field(default_factory=dict)
    own_base: str | None = None
    base: str | None = None


def read(
    document: object,
    *,
    study: str | None = None,
    own: Sequence[Endpoint] = (),
    own_base: str | None = None,
) -> Posted:
    """What an ImagingStudy, or the one (or the one named `study`) in a Bundle, says.

    `own` are the gateway's Endpoints and `own_base` its FHIR address: references to them are
    understood although they lead out of the body. BadRequest if there is no such ImagingStudy.
    """
    kind = text(document.get("resourceType")) if isinstance(document, dict) else None
    if not isinstance(document, dict) or kind not in {"ImagingStudy", "Bundle"}:
        raise BadRequest("the body must be an ImagingStudy or a Bundle", parameter="resourceType")
    entries = [(None, document)] if kind == "ImagingStudy" else list(resources(document))
    url, resource, study_uid, warnings = _chosen(entries, study)
    pool = _Pool(
        by_url={u: r for u, r in entries if u is not None and _is_endpoint(r)},
        by_id=_by_id(entries),
        contained=_contained(resource),
        own={e.id: e for e in own},
        own_base=own_base,
        base=_base(url),
    )
    return _posted(resource, study_uid, pool, warnings)


def resources(bundle: Resource) -> Iterator[tuple[str | None, Resource]]:
    """The resources of a Bundle, each with its fullUrl."""
    for entry in objects(bundle.get("entry")):
        resource = entry.get("resource")
        if isinstance(resource, dict):
            yield text(entry.get("fullUrl")), resource


def _chosen(
    entries: Sequence[tuple[str | None, Resource]], study: str | None
) -> tuple[str | None, Resource, str, tuple[str, ...]]:
    """The ImagingStudy that is meant: its fullUrl, itself, its study UID, and warnings."""
    of_kind = [(u, r) for u, r in entries if r.get("resourceType") == "ImagingStudy"]
    studies = [(u, r, study_uids(r)) for u, r in of_kind]
    if not studies:
        raise BadRequest("the Bundle holds no ImagingStudy", parameter="resourceType")
    if study is not None:
        named = [(u, r, [study]) for u, r, uids in studies if study in uids]
        if not named:
            raise BadRequest("study: the body holds no such study", parameter="study")
        more = ("the study is in the body more than once: the first was read",)
        return *named[0][:2], study, more if len(named) > 1 else ()
    if len(studies) > 1:
        raise BadRequest(
            "the Bundle holds several ImagingStudy resources: name one with study",
            parameter="study",
        )
    url, resource, uids = studies[0]
    if not uids:
        raise BadRequest(
            f"the ImagingStudy has no identifier of system {_STUDY_UID_SYSTEM} that is a DICOM UID",
            parameter="identifier",
        )
    if len(uids) > 1:
        raise BadRequest(
            "the ImagingStudy has several study UIDs: name one with study", parameter="study"
        )
    return url, resource, uids[0], ()


def study_uids(resource: Resource) -> list[str]:
    """The Study Instance UIDs among the identifiers of an ImagingStudy, bare."""
    found = [
        uid
        for identifier in objects(resource.get("identifier"))
        if identifier.get("system") == _STUDY_UID_SYSTEM
        and (uid := uid_of(identifier.get("value"))) is not None
    ]
    return list(dict.fromkeys(found))


def _is_endpoint(resource: Resource) -> bool:
    return resource.get("resourceType") == "Endpoint"


def _by_id(
    entries: Sequence[tuple[str | None, Resource]],
) -> dict[str, list[tuple[str | None, Resource]]]:
    found: dict[str, list[tuple[str | None, Resource]]] = {}
    for url, resource in entries:
        if _is_endpoint(resource) and (identity := text(resource.get("id"))) is not None:
            found.setdefault(f"Endpoint/{identity}", []).append((url, resource))
    return found


def _contained(resource: Resource) -> dict[str, Resource]:
    return {
        identity.removeprefix("#"): inner
        for inner in objects(resource.get("contained"))
        if _is_endpoint(inner) and (identity := text(inner.get("id"))) is not None
    }


def _base(url: str | None) -> str | None:
    """The server that a fullUrl of an ImagingStudy is on; None when it does not say."""
    head, found, _ = (url or "").rpartition("/ImagingStudy/")
    return head if found and "://" in head else None


def _posted(resource: Resource, study_uid: str, pool: _Pool, warnings: tuple[str, ...]) -> Posted:
    study, study_warnings = _referenced(resource, pool)
    series: dict[str, list[Endpoint]] = {}
    series_warnings: dict[str, list[str]] = {}
    instances: dict[str, list[str]] = {}
    said = dict.fromkeys(warnings)
    listed = objects(resource.get("series"))
    if len(listed) > MAX_SERIES:
        raise PayloadTooLarge(f"more than {MAX_SERIES} series")
    for one in listed:
        uid = uid_of(one.get("uid"))
        if uid is None:
            said["a series without a DICOM UID was left out"] = None
            continue
        endpoints, complaints = _referenced(one, pool)
        series.setdefault(uid, []).extend(endpoints)
        series_warnings.setdefault(uid, []).extend(complaints)
        found = (uid_of(instance.get("uid")) for instance in objects(one.get("instance")))
        instances.setdefault(uid, []).extend(i for i in found if i is not None)
    carried = Carried(
        study=study,
        series=_as_tuples(series),
        study_warnings=study_warnings,
        series_warnings=_as_tuples(series_warnings),
    )
    return Posted(
        study_uid=study_uid,
        carried=carried,
        instances=_as_tuples(instances),
        warnings=tuple(said),
    )


def _as_tuples(lists: Mapping[str, list[_T]]) -> dict[str, tuple[_T, ...]]:
    return {uid: tuple(items) for uid, items in lists.items()}


def _referenced(holder: Resource, pool: _Pool) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
    """The Endpoints that a study or series refers to, and what is said of the other references."""
    value = holder.get("endpoint")
    references = value if isinstance(value, list) else [] if value is None else [value]
    if len(references) > MAX_REFERENCES:
        raise PayloadTooLarge(f"more than {MAX_REFERENCES} endpoints of one study or series")
    endpoints, warnings = [], []
    for item in references:
        reference = text(item.get("reference")) if isinstance(item, dict) else None
        if reference is None:
            warnings.append("an endpoint without a literal reference was skipped")
            continue
        found = _endpoint(reference, pool)
        if found is None:
            warnings.append(f"the reference {_shown(reference)} leads to no Endpoint: skipped")
        else:
            endpoints.append(found)
    return tuple(endpoints), tuple(dict.fromkeys(warnings))


def _shown(reference: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in reference[:80])


def _endpoint(reference: str, pool: _Pool) -> Endpoint | None:
    """The Endpoint that a reference leads to (FHIR References, §2.1.3); None: none in the body."""
    if reference.startswith("#"):
        contained = pool.contained.get(reference[1:])
        return None if contained is None else _read_endpoint(contained, reference[1:])
    whole = pool.by_url.get(reference)
    if whole is not None:
        return _read_endpoint(whole, reference)
    relative = _RELATIVE.fullmatch(reference)
    if relative is None:
        return None
    resource = _named(reference, relative[1], pool)
    if resource is not None:
        return _read_endpoint(resource, relative[1].removeprefix("Endpoint/"))
    return _own(reference, relative[1], pool)


def _named(reference: str, name: str, pool: _Pool) -> Resource | None:
    """The resource `Endpoint/x` of the Bundle; one that says it is on another server is another."""
    if reference.startswith("Endpoint/") and pool.base is not None:
        exact = pool.by_url.get(f"{pool.base}/{name}")
        if exact is not None:
            return exact
    candidates = pool.by_id.get(name, ())
    if not reference.startswith("Endpoint/"):
        server = reference[: reference.index(name)]
        candidates = [
            (url, r)
            for url, r in candidates
            if url is None or "://" not in url or url.startswith(server + name)
        ]
    return candidates[0][1] if len(candidates) == 1 else None


def _own(reference: str, name: str, pool: _Pool) -> Endpoint | None:
    """The gateway's own Endpoint, where the reference is relative or on the gateway."""
    is_here = pool.own_base is not None and reference.startswith(f"{pool.own_base}/")
    if not is_here and not reference.startswith("Endpoint/"):
        return None
    return pool.own.get(name.removeprefix("Endpoint/"))


def _read_endpoint(resource: Resource, fallback_id: str) -> Endpoint:
    period = resource.get("period")
    limits = period if isinstance(period, dict) else {}
    return Endpoint(
        id=(text(resource.get("id")) or fallback_id).removeprefix("#"),
        address=text(resource.get("address")),
        connection_types=_connection_types(resource),
        status=text(resource.get("status")),
        name=text(resource.get("name")),
        period_start=text(limits.get("start")),
        period_end=text(limits.get("end")),
    )


def _connection_types(resource: Resource) -> tuple[str, ...]:
    """The codes: R4 has one Coding, R5 CodeableConcepts. Of an unknown system: `system|code`."""
    found = []
    for item in objects(resource.get("connectionType")):
        for coding in (item, *objects(item.get("coding"))):
            code, system = text(coding.get("code")), text(coding.get("system"))
            if code is not None:
                known = system is None or system in ALIAS_SYSTEMS
                found.append(code if known else f"{system}|{code}")
    if _is_web_viewer(resource, found):
        found += [ConnectionType.IID.value, WEB_VIEWER]
    return tuple(dict.fromkeys(found))


def _is_web_viewer(resource: Resource, codes: Sequence[str]) -> bool:
    """Whether the address is a viewer's complete URL (IHE MADO, web viewer Endpoint)."""
    meta = resource.get("meta")
    profiles = meta.get("profile") if isinstance(meta, dict) else None
    for profile in profiles if isinstance(profiles, list) else ():
        if isinstance(profile, str) and profile.split("|")[0].endswith(_WEB_VIEWER_PROFILE):
            return True
    types = [resource.get("payloadMimeType")]
    types += [payload.get("mimeType") for payload in objects(resource.get("payload"))]
    flat = [t for each in types for t in (each if isinstance(each, list) else [each])]
    is_html = any(isinstance(t, str) and t.strip().lower() in _HTML for t in flat)
    return is_html and bool(codes) and _RESOLVED.isdisjoint(codes)

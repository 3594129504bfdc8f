"""The answer of `resolve`: for each target and connection type the Endpoint, its URL, and why.

One record for the JSON of `/resolve`, the console and the command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.config import Settings
from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.model import ConnectionType, Consumer, Endpoint, Loaded, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules import endpoints, retrieval, urls
from gateway.rules.endpoints import BY_THE_RULE, Carried, Options, Resolution
from gateway.rules.foreign import Posted
from gateway.rules.url_parameters import Pairs, Resource, checked, taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about a target. `study`, `series`, `instance`, `frames`: only of a posted body.

    `parameters` are those of each connection type's URL, checked, in the caller's order.
    """

    types: tuple[ConnectionType, ...] = tuple(ConnectionType)
    resource: Resource = Resource.DICOM
    parameters: Mapping[ConnectionType, Pairs]
    is_redirect: bool = False
    study: str | None = None
    series: str | None = None
    instance: str | None = None
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A target, the decision about it, and URLs: its own and, in order, its alternatives'."""

    resolution: Resolution
    url: str | None
    alternative_urls: tuple[str | None, ...]
    warnings: tuple[str, ...]


def question(pairs: Iterable[tuple[str, str]], *, is_posted: bool = False) -> Question:
    """The question that a query asks; BadRequest naming what is unknown, repeated or no good."""
    given = list(pairs)
    types = _types([value for name, value in given if name == "type"])
    own = {"resource", *(("study", "series", "instance", "frames") if is_posted else ("redirect",))}
    named: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for name, value in given:
        if name == "type":
            continue
        if name in named:
            raise BadRequest(f"{name} is given twice", parameter=name)
        named[name] = value
        if name not in own:
            others.append((name, value))
    resource = _resource(named.get("resource", Resource.DICOM.value))
    asked = Question(
        types=types,
        resource=resource,
        parameters=_parameters(types, resource, others),
        is_redirect=_is_true("redirect", named.get("redirect", "false")),
    )
    return _about_posted_target(asked, named) if is_posted else asked


def _types(codes: Sequence[str]) -> tuple[ConnectionType, ...]:
    known = {one.value: one for one in ConnectionType}
    for code in codes:
        if code not in known:
            raise BadRequest(f"type must be one of {', '.join(known)}", parameter="type")
    return tuple(dict.fromkeys(known[code] for code in codes)) or tuple(ConnectionType)


def _resource(text: str) -> Resource:
    names = [resource.value for resource in Resource]
    if text not in names:
        raise BadRequest(f"resource must be one of {', '.join(names)}", parameter="resource")
    return Resource(text)


def _is_true(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise BadRequest(f"{name} must be true or false", parameter=name)
    return value == "true"


def _parameters(
    types: Sequence[ConnectionType], resource: Resource, pairs: Pairs
) -> dict[ConnectionType, Pairs]:
    """The parameters that each type's URLs take; BadRequest naming one that none of them takes."""
    for name, _ in pairs:
        if not any(name in taken(each, resource) for each in types):
            raise BadRequest(
                f"{name} is not a parameter of {resource.value} for the types asked",
                parameter=name,
            )
    return {
        each: checked(each, resource, [p for p in pairs if p[0] in taken(each, resource)])
        for each in types
    }


def _about_posted_target(asked: Question, named: Mapping[str, str]) -> Question:
    """The question with the target that a query names in a body; BadRequest when it is none."""
    study, series, instance = (
        urls.bare(named[name], name) if name in named else None
        for name in ("study", "series", "instance")
    )
    if instance is not None and series is None:
        raise BadRequest("series is missing: an instance is in a series", parameter="series")
    numbers = dj.frame_numbers(named["frames"]) if "frames" in named else ()
    return replace(asked, study=study, series=series, instance=instance, frames=numbers)


def check_target(loaded: Loaded, target: Target) -> None:
    """NotFound unless the study holds what the target names, as far as its record is loaded.

    Unavailable when an archive that stayed silent may hold it.
    """
    missing = _missing(loaded.study, target)
    if missing is not None and loaded.silent:
        raise Unavailable(f"{missing} as far as is known; silent: {', '.join(loaded.silent)}")
    if missing is not None:
        raise NotFound(missing)


def _missing(study: Study, target: Target) -> str | None:
    """What of the target the study lacks, in words; None: nothing."""
    if target.series_uid is None:
        return None
    series = next((one for one in study.series or () if one.uid == target.series_uid), None)
    if series is None:
        return "the study has no such series"
    if target.instance_uid is None or series.instances is None:
        return None
    instance = next((one for one in series.instances if one.uid == target.instance_uid), None)
    if instance is None:
        return "the series has no such instance"
    last = retrieval.last_frame(instance)
    is_beyond = last is not None and max(target.frames, default=0) > last
    return "the instance has no such frame" if is_beyond else None


def of_study(
    settings: Settings,
    loaded: Loaded,
    target: Target,
    asked: Question,
    now: datetime,
    consumer: Consumer | None = None,
) -> tuple[Resolved, ...]:
    """The answers for one of our own studies; a study target brings those of each series along.

    NotFound when the study does not hold the target, Unavailable when that is not sure.
    """
    check_target(loaded, target)
    at_study, by_series = endpoints.of_gateway(settings, loaded.study, consumer=consumer)
    series = [one.uid for one in loaded.study.series or ()]
    carried = Carried(study=at_study, series={uid: by_series.get(uid, ()) for uid in series})
    return _resolved(carried, _targets(target, series), asked, now)


def of_posted(
    posted: Posted, asked: Question, now: datetime, options: Options = BY_THE_RULE
) -> tuple[Resolved, ...]:
    """The answers for what a posted body says."""
    target = Target(
        study_uid=posted.study_uid,
        series_uid=asked.series,
        instance_uid=asked.instance,
        frames=asked.frames,
    )
    return _resolved(
        posted.carried, _targets(target, list(posted.carried.series)), asked, now, options
    )


def posted_warnings(posted: Posted, asked: Question) -> tuple[str, ...]:
    """What is said of a body as a whole: what it lacks of the target that the query names."""
    found = list(posted.warnings)
    if asked.series is not None and asked.series not in posted.instances:
        found.append("the ImagingStudy does not list this series: the study's endpoints apply")
    listed = posted.instances.get(asked.series or "", ())
    if asked.instance is not None and listed and asked.instance not in listed:
        found.append("the ImagingStudy does not list this instance in this series")
    return tuple(found)


def _targets(target: Target, series: Sequence[str]) -> list[Target]:
    if target.series_uid is not None:
        return [target]
    return [target, *(replace(target, series_uid=uid) for uid in series)]


def _resolved(
    carried: Carried,
    targets: Sequence[Target],
    asked: Question,
    now: datetime,
    options: Options = BY_THE_RULE,
) -> tuple[Resolved, ...]:
    return tuple(
        _answered(endpoints.resolve(carried, target, kind, now, options), asked)
        for target in targets
        for kind in asked.types
    )


def _answered(resolution: Resolution, asked: Question) -> Resolved:
    url, warnings = None, resolution.warnings
    if resolution.endpoint is not None:
        url, more = _url(resolution.endpoint, resolution, asked)
        warnings = tuple(dict.fromkeys(warnings + more))
    alternatives = (
        _url(one.endpoint, resolution, asked)[0] if one.is_usable else None
        for one in resolution.alternatives
    )
    return Resolved(
        resolution=resolution,
        url=url,
        alternative_urls=tuple(alternatives),
        warnings=warnings,
    )


def _url(
    endpoint: Endpoint, resolution: Resolution, asked: Question
) -> tuple[str | None, tuple[str, ...]]:
    """The URL at an Endpoint, or None where the service has none for the target; and warnings."""
    kind, target = resolution.connection_type, resolution.target
    address = endpoint.address or ""
    pairs = asked.parameters.get(kind, ())
    if kind is ConnectionType.IID and _is_complete(endpoint, target):
        dropped = ("the address is a complete URL: no parameters were added",) if pairs else ()
        return address, dropped
    warnings = urls.base(address, kind).warnings
    try:
        if kind is ConnectionType.IID:
            return urls.iid(address, [target.study_uid], pairs), warnings
        if kind is ConnectionType.QIDO_RS:
            return urls.qido_rs(address, replace(target, frames=()), pairs), warnings
        build = urls.wado_rs if kind is ConnectionType.WADO_RS else urls.wado_uri
        return build(address, target, asked.resource, pairs), warnings
    except BadRequest as error:
        return None, (*warnings, str(error))


def _is_complete(endpoint: Endpoint, target: Target) -> bool:
    """Whether an address opens the study as it stands (IHE MADO): it says so or names the study."""
    uid = re.escape(target.study_uid)
    named = re.search(rf"(?<![0-9.]){uid}(?![0-9.])", endpoint.address or "")
    return urls.WEB_VIEWER in endpoint.connection_types or named is not None


def location(resolved: Sequence[Resolved]) -> str:
    """Where a redirect leads: the first URL for the target itself; NotFound when there is none."""
    target = resolved[0].resolution.target
    for one in resolved:
        if one.url is not None and one.resolution.target == target:
            return one.url
    raise NotFound("no endpoint gives a URL for this")


def silence(silent: Sequence[str]) -> tuple[str, ...]:
    """What is said of archives that did not answer."""
    return tuple(f"archive {archive} did not answer: its part is missing" for archive in silent)


def answer(
    study_uid: str, resolved: Sequence[Resolved], warnings: Sequence[str] = ()
) -> dict[str, object]:
    """The JSON of `/resolve`."""
    return {
        "study": study_uid,
        "targets": [record(one) for one in resolved],
        "warnings": list(dict.fromkeys(warnings)),
    }


def record(resolved: Resolved) -> dict[str, object]:
    """One target as JSON, the same for `/resolve`, the console and the command line."""
    resolution = resolved.resolution
    target, decided_by = resolution.target, resolution.decided_by
    return {
        "level": target.level.value,
        "series": target.series_uid,
        "instance": target.instance_uid,
        "connection_type": resolution.connection_type.value,
        "decided_by": None if decided_by is None else decided_by.value,
        "endpoint": _endpoint(resolution.endpoint),
        "url": resolved.url,
        "alternatives": [
            {"endpoint": _endpoint(one.endpoint), "url": url, "reason": one.reason}
            for one, url in zip(resolution.alternatives, resolved.alternative_urls, strict=True)
        ],
        "warnings": list(resolved.warnings),
        "why": resolution.why,
    }


def _endpoint(endpoint: Endpoint | None) -> dict[str, object] | None:
    if endpoint is None:
        return None
    return {
        "id": endpoint.id,
        "address": endpoint.address,
        "status": endpoint.status,
        "name": endpoint.name,
    }

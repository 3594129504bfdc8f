"""Which Endpoint serves a target: the series' own of a connection type replace the study's of it.

The one decision for the gateway's own studies, for posted ImagingStudy resources, the console and
the command line (FHIR ImagingStudy, notes on endpoints). Replacing happens per connection type
and only within the series; endpoints that may not be used never win, but they still replace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from gateway.config import Settings
from gateway.config_types import GATEWAY_ID
from gateway.model import ConnectionType, Consumer, Endpoint, Level, Series, Study, Target
from gateway.rules import periods, policy, urls

STATUSES: Mapping[str, str | None] = {
    "active": None,
    "test": "it is for tests",
    "suspended": "it is suspended: temporarily out of use",
    "error": "it is in error: not to be connected to",
    "off": "it is switched off",
    "entered-in-error": "it was entered in error",
}
"""FHIR EndpointStatus: why an Endpoint of that status may not be used; None: it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The Endpoints that a study and its series carry, in resource order.

    The warnings are about references that lead to no Endpoint; those replace nothing.
    """

    study: tuple[Endpoint, ...] = ()
    series: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    study_warnings: tuple[str, ...] = ()
    series_warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What departs from the rule on request, and the zone of periods that name none."""

    fallback_to_study: bool = False
    allow_test: bool = False
    zone: tzinfo = UTC


BY_THE_RULE = Options()
"""Nothing departs from the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """An Endpoint that was looked at and not chosen, and why; `is_usable`: it could be."""

    endpoint: Endpoint
    reason: str
    is_usable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The decision for one target and connection type.

    `decided_by` is the level whose Endpoints were looked at, even when none of them may be used;
    None: neither level has one of the type. `why` is a sentence for people.
    """

    target: Target
    connection_type: ConnectionType
    decided_by: Level | None
    endpoint: Endpoint | None
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A candidate; `fault`: why it may not be used; `doubt`: what is odd about it."""

    endpoint: Endpoint
    level: Level
    fault: str | None
    doubt: str | None


def resolve(
    carried: Carried,
    target: Target,
    connection_type: ConnectionType,
    now: datetime,
    options: Options = BY_THE_RULE,
) -> Resolution:
    """The Endpoint of `connection_type` that serves `target` at the moment `now` (aware)."""
    series = _having(carried.series.get(target.series_uid or "", ()), connection_type)
    study = _having(carried.study, connection_type)
    level = Level.SERIES if series else Level.STUDY if study else None
    judged = [_judged(e, Level.SERIES, now, options) for e in series]
    falls_back = bool(series) and options.fallback_to_study and all(j.fault for j in judged)
    if not series or falls_back:
        judged += [_judged(e, Level.STUDY, now, options) for e in study]
    winner = next((j for j in judged if j.fault is None), None)
    if winner is not None:
        level = winner.level
    return Resolution(
        target=target,
        connection_type=connection_type,
        decided_by=level,
        endpoint=winner.endpoint if winner else None,
        alternatives=tuple(_alternative(j, winner) for j in judged if j is not winner),
        warnings=tuple(dict.fromkeys(_warnings(carried, target, connection_type, judged, winner))),
        why=_why(target, connection_type, level, winner, is_at_study=bool(study)),
    )


def _having(endpoints: Sequence[Endpoint], connection_type: ConnectionType) -> list[Endpoint]:
    """The candidates of a type, each once; one without an address is none."""
    found = [
        e
        for e in endpoints
        if connection_type.value in e.connection_types and urls.is_address(e.address)
    ]
    return list(dict.fromkeys(found))


def _judged(endpoint: Endpoint, level: Level, now: datetime, options: Options) -> _Judged:
    fault, doubt = _status(endpoint, options)
    outside, odd = _outside_period(endpoint, now, options.zone)
    wrong = urls.address_fault(endpoint.address or "")
    return _Judged(
        endpoint=endpoint, level=level, fault=fault or outside or wrong, doubt=doubt or odd
    )


def _status(endpoint: Endpoint, options: Options) -> tuple[str | None, str | None]:
    """Why its status forbids an Endpoint, and what is odd about the status."""
    if endpoint.status is None:
        return None, f"Endpoint {endpoint.id} has no status: taken as usable"
    if endpoint.status not in STATUSES:
        return None, f"the status of Endpoint {endpoint.id} is not known: taken as usable"
    if endpoint.status == "test" and options.allow_test:
        return None, f"Endpoint {endpoint.id} is for tests"
    return STATUSES[endpoint.status], None


def _outside_period(
    endpoint: Endpoint, now: datetime, zone: tzinfo
) -> tuple[str | None, str | None]:
    """Why its period forbids an Endpoint at `now`, and what is odd about the period."""
    start, start_is_odd = periods.instant(endpoint.period_start, zone, is_end=False)
    end, end_is_odd = periods.instant(endpoint.period_end, zone, is_end=True)
    odd = f"the period of Endpoint {endpoint.id} cannot be read: ignored"
    doubt = odd if start_is_odd or end_is_odd else None
    if start is not None and now < start:
        return "its period has not begun", doubt
    if end is not None and now > end:
        return "its period is over", doubt
    return None, doubt


def _alternative(judged: _Judged, winner: _Judged | None) -> Alternative:
    if judged.fault is not None:
        return Alternative(endpoint=judged.endpoint, reason=judged.fault, is_usable=False)
    after = f"Endpoint {winner.endpoint.id} comes first" if winner else "it comes later"
    return Alternative(endpoint=judged.endpoint, reason=f"usable; {after}", is_usable=True)


def _warnings(
    carried: Carried,
    target: Target,
    connection_type: ConnectionType,
    judged: Sequence[_Judged],
    winner: _Judged | None,
) -> list[str]:
    code, series_uid = connection_type.value, target.series_uid
    found: list[str] = []
    if series_uid is not None:
        found += carried.series_warnings.get(series_uid, ())
        found += _incomplete(carried.series.get(series_uid, ()), connection_type)
    if series_uid is None or winner is None or winner.level is Level.STUDY:
        found += carried.study_warnings
        found += _incomplete(carried.study, connection_type)
    if winner is None:
        found += [f"Endpoint {j.endpoint.id} may not be used: {j.fault}" for j in judged]
    elif winner.doubt:
        found.append(winner.doubt)
    if winner is not None and judged[0].level is not winner.level:
        found.append(f"none of the series' {code} endpoints may be used: the study's stands in")
    if series_uid is None:
        found += _divided(carried, connection_type, winner)
    elif connection_type is ConnectionType.IID and winner and winner.level is Level.SERIES:
        found.append("the series' ihe-iid endpoint launches a viewer on the whole study")
    return found


def _incomplete(endpoints: Sequence[Endpoint], connection_type: ConnectionType) -> list[str]:
    """What is said of Endpoints that are none for the lack of a type or an address."""
    found = []
    for endpoint in endpoints:
        if not endpoint.connection_types:
            found.append(f"Endpoint {endpoint.id} has no connection type: skipped")
        elif connection_type.value in endpoint.connection_types and not urls.is_address(
            endpoint.address
        ):
            found.append(f"Endpoint {endpoint.id} has no address: skipped")
    return found


def _divided(
    carried: Carried, connection_type: ConnectionType, winner: _Judged | None
) -> list[str]:
    """What is said of a whole study of which some series have endpoints of their own."""
    own = [uid for uid, e in carried.series.items() if _having(e, connection_type)]
    if not own:
        return []
    count = f"{len(own)} series {'has' if len(own) == 1 else 'have'}"
    if winner is None:
        return [f"no {connection_type.value} endpoint for the whole study; {count} one: see there"]
    return [f"{count} a {connection_type.value} endpoint of its own: this URL may be incomplete"]


def _why(
    target: Target,
    connection_type: ConnectionType,
    level: Level | None,
    winner: _Judged | None,
    *,
    is_at_study: bool,
) -> str:
    """The decision in a sentence."""
    code = connection_type.value
    if level is None:
        where = "the study" if target.series_uid is None else "neither the series nor the study"
        return f"{where} has {'no' if target.series_uid is None else 'a'} {code} endpoint"
    whole = (
        f"; {code} always opens the whole study" if connection_type is ConnectionType.IID else ""
    )
    if level is Level.STUDY:
        own = "" if target.series_uid is None else f"the series has no usable {code} of its own; "
        outcome = "applies" if winner else "applies but may not be used"
        return f"{own}the study's {code} endpoint {outcome}{whole}"
    outcome = "replaces the study's" if is_at_study else "applies"
    if winner is None:
        outcome += ", but may not be used"
    return f"the series' own {code} endpoint {outcome}{whole}"


def of_gateway(
    settings: Settings, study: Study, *, consumer: Consumer | None = None
) -> tuple[tuple[Endpoint, ...], dict[str, tuple[Endpoint, ...]]]:
    """The Endpoints that an ImagingStudy of our own carries: the study's, and each series' by UID.

    A consumer from whom something is hidden is never sent past the gateway: the archives'
    published addresses do not know the policy, so the gateway's own stand in for them.
    """
    own = _of_the_gateway(settings)
    if settings.endpoints.expose == "gateway" or (consumer and policy.is_restricted(consumer)):
        return own, {}
    direct, by_series = _of_archives(settings, study)
    if settings.endpoints.expose == "both":
        return own + direct, {uid: _with_own(own, e) for uid, e in by_series.items()}
    return direct, by_series


def _with_own(own: Sequence[Endpoint], direct: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """A series' direct endpoints after the gateway's own of the types that they would replace."""
    types = {code for endpoint in direct for code in endpoint.connection_types}
    return (*(e for e in own if not types.isdisjoint(e.connection_types)), *direct)


def published(settings: Settings, consumer: Consumer | None = None) -> tuple[Endpoint, ...]:
    """Every Endpoint that `consumer` is told of: the gateway's own, and those exposed to them."""
    own = _of_the_gateway(settings)
    if settings.endpoints.expose == "gateway" or (consumer and policy.is_restricted(consumer)):
        return own
    types = tuple(ConnectionType)
    return own + tuple(e for t in types for e in _published_by(settings, settings.archives, t))


def _of_the_gateway(settings: Settings) -> tuple[Endpoint, ...]:
    paths = {
        ConnectionType.WADO_RS: ("/dicom-web", "WADO-RS"),
        ConnectionType.WADO_URI: ("/wado", "WADO-URI"),
        ConnectionType.QIDO_RS: ("/dicom-web", "QIDO-RS"),
    }
    if settings.viewers:
        paths[ConnectionType.IID] = ("/iid", "Invoke Image Display")
    return tuple(
        Endpoint(
            id=f"{GATEWAY_ID}-{connection_type.value}",
            address=settings.server.public_url + path,
            connection_types=(connection_type.value,),
            name=f"{title} of the gateway",
        )
        for connection_type, (path, title) in paths.items()
    )


def _of_archives(
    settings: Settings, study: Study
) -> tuple[tuple[Endpoint, ...], dict[str, tuple[Endpoint, ...]]]:
    """The archives' published endpoints: where one holds the whole study at the study, else below.

    Decided per connection type, since archives need not publish the same ones.
    """
    series = study.series or ()
    whole: list[Endpoint] = []
    below: dict[str, list[Endpoint]] = {}
    for connection_type in ConnectionType:
        of_all = _published_by(settings, _holders_of_all(study), connection_type)
        whole += of_all
        for one in () if of_all else series:
            found = _published_by(settings, _in_order(settings, one), connection_type)
            if found and connection_type is not ConnectionType.IID:
                below.setdefault(one.uid, []).extend(found)
    return tuple(whole), {uid: tuple(endpoints) for uid, endpoints in below.items()}


def _holders_of_all(study: Study) -> list[str]:
    """The archives that hold the whole study; none are sure while several may share its series."""
    if not study.series:
        return list(study.archives) if len(study.archives) == 1 else []
    return [a for a in study.archives if all(a in one.archives for one in study.series)]


def _in_order(settings: Settings, series: Series) -> list[str]:
    return [archive for archive in settings.archives if archive in series.archives]


def _published_by(
    settings: Settings, archives: Sequence[str] | Mapping[str, object], kind: ConnectionType
) -> list[Endpoint]:
    """The endpoints of one type that some archives publish, in the order of the configuration."""
    return [
        Endpoint(
            id=f"{archive}-{kind.value}",
            address=address,
            connection_types=(kind.value,),
            name=f"{kind.value} of {archive}",
        )
        for archive, details in settings.archives.items()
        if archive in archives and (address := details.publish.get(kind.value)) is not None
    ]

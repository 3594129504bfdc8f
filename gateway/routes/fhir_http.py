"""What all interactions of the FHIR facade have in common: version, parameters, searches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.adapters.patient_servers import PatientServers
from gateway.errors import NotFound, UnsupportedMediaType
from gateway.http_server import CONSUMER, SETTINGS, body_of
from gateway.routes.fhir_resources import Resources
from gateway.rules import (
    fhir_dates,
    fhir_media,
    fhir_requests,
    fhir_results,
    fhir_search,
    fhir_versions,
    patient_ids,
    scopes,
)
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_results import Offered
from gateway.rules.fhir_search import Parameter, Reading
from gateway.rules.fhir_versions import VERSIONS, Version
from gateway.rules.patient_ids import PatientIds

BASES = (f"/fhir/{{version:{'|'.join(VERSIONS)}}}", "/fhir")
"""The base of every version, and the one where the request names it."""
PATIENT_IDS: web.AppKey[PatientIds] = web.AppKey("patient_ids", PatientIds)
PATIENT_SERVERS = web.AppKey("patient_servers", PatientServers)
_FORM = "application/x-www-form-urlencoded"
Pairs = Sequence[tuple[str, str]]


def version(request: web.Request, pairs: Pairs = ()) -> Version:
    """The version to answer in; NotAcceptable when none fits. `pairs`: those of a form, too."""
    return fhir_media.version(
        request.headers.getall("Accept", []),
        dict(pairs).get("_format", request.query.get("_format")),
        VERSIONS.get(request.match_info.get("version", "")),
        VERSIONS[request.app[SETTINGS].fhir.default_version],
    )


def base(request: web.Request, version: Version) -> str:
    """The version's own base: links hold for clients that name no version later."""
    return f"{request.app[SETTINGS].server.public_url}/fhir/{version.id}"


def reading(request: web.Request) -> Reading:
    """What the values of its parameters are read and compared by."""
    return Reading(
        base=fhir_versions.base_pattern(request.app[SETTINGS].server.public_url),
        now=fhir_dates.instant(datetime.now(UTC)),
        strict=fhir_requests.is_strict(request.headers.getall("Prefer", [])),
    )


def options(request: web.Request) -> list[tuple[str, str]]:
    """The parameters of a read: what it wants of the resource. Others mean nothing to it."""
    return [(k, v) for k, v in request.query.items() if k in {"_summary", "_elements"}]


async def parameters(request: web.Request) -> list[tuple[str, str]]:
    """The parameters of the URL and then those of the form; UnsupportedMediaType: no form."""
    pairs = list(request.query.items())
    if request.method != "POST" or not request.can_read_body:
        return pairs
    if request.content_type != _FORM:
        raise UnsupportedMediaType(f"the body must be {_FORM}")
    body = (await body_of(request)).decode("utf-8", "replace")
    return pairs + parse_qsl(body, keep_blank_values=True, errors="replace")


def search(
    request: web.Request,
    version: Version,
    parameters: tuple[Parameter, ...],
    offered: Offered,
    pairs: Pairs,
) -> Search:
    """The search that `pairs` ask for; BadRequest where they cannot be understood or ignored."""
    fhir = request.app[SETTINGS].fhir
    sizes = fhir_requests.Sizes(usual=fhir.default_count, largest=fhir.max_count)
    named = fhir_search.by_name(parameters, version.absent)
    refused = scopes.not_brought(request[CONSUMER])
    found = fhir_results.without(offered, refused)
    return fhir_requests.read(pairs, named, found, reading(request), sizes)


async def patients(request: web.Request, named: Iterable[str] = ()) -> PatientIds:
    """Which patients are resources for the caller, `named` by ids in the request among them.

    TooCostly: too many are named. Unavailable: the server that knows them does not tell.
    """
    return await request.app[PATIENT_SERVERS].ids(request[CONSUMER], tuple(named))


def resources(
    request: web.Request, version: Version, patients: PatientIds | None = None
) -> Resources:
    """How resources are written for the caller; `patients`: which are resources themselves."""
    return Resources(
        settings=request.app[SETTINGS],
        patients=patients or patient_ids.of_caller(request.app[PATIENT_IDS], request[CONSUMER]),
        consumer=request[CONSUMER],
        version=version,
    )


def has_patients(request: web.Request) -> bool:
    """Whether patients are resources, by the configuration."""
    return request.app[SETTINGS].fhir.patients.by != "none"


def expect_patients(request: web.Request) -> None:
    """NotFound where no patients are resources."""
    if not has_patients(request):
        raise NotFound("no Patient resources here")

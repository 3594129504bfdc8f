"""The FHIR facade: ImagingStudy and Endpoint of every version, read and searched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from gateway.errors import NotFound, UnsupportedMediaType
from gateway.http_server import CATALOG, CONSUMER, SETTINGS, warnings_of
from gateway.http_streams import compress
from gateway.model import Study
from gateway.routes.fhir_search import ImagingStudySearch
from gateway.rules import (
    endpoints,
    fhir_bundle,
    fhir_capabilities,
    fhir_dates,
    fhir_endpoint,
    fhir_media,
    fhir_requests,
    fhir_results,
    fhir_search,
    fhir_subsets,
    fhir_versions,
    imaging_study_chains,
    imaging_study_parameters,
)
from gateway.rules.dicom_json import is_uid
from gateway.rules.endpoints import Carried
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_results import Offered
from gateway.rules.fhir_search import Parameter, Reading
from gateway.rules.fhir_versions import VERSIONS, Version
from gateway.rules.imaging_study import imaging_study

_BASES = (f"/fhir/{{version:{'|'.join(VERSIONS)}}}", "/fhir")
_FORM = "application/x-www-form-urlencoded"
_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_STUDY_PARAMETERS = (*imaging_study_parameters.PARAMETERS, *imaging_study_chains.CHAINS)
_Pairs = Sequence[tuple[str, str]]
STARTED_AT = datetime.now(UTC).isoformat(timespec="seconds")
"""When what is served last changed: with the process."""


def routes() -> list[web.RouteDef]:
    """The routes of this surface, below each version's base and below /fhir."""
    return [
        route
        for base in _BASES
        for route in (
            web.get(f"{base}/metadata", capabilities),
            web.get(f"{base}/ImagingStudy", search_imaging_studies),
            web.post(f"{base}/ImagingStudy/_search", search_imaging_studies),
            web.get(f"{base}/ImagingStudy/{{id}}", read_imaging_study),
            web.get(f"{base}/Endpoint", search_endpoints),
            web.post(f"{base}/Endpoint/_search", search_endpoints),
            web.get(f"{base}/Endpoint/{{id}}", read_endpoint),
        )
    ]


async def capabilities(request: web.Request) -> web.Response:
    """GET metadata: what is served in this version (FHIR R5 HTTP §3.2.0.11).

    200 CapabilityStatement. 406 no format or version fits.
    """
    version = _version(request)
    base = _base(request, version)
    return _answer(
        request,
        fhir_capabilities.capability_statement(version, base, STARTED_AT),
        version,
    )


async def read_imaging_study(request: web.Request) -> web.Response:
    """GET ImagingStudy/{id}: the study whose StudyInstanceUID the id is (FHIR R5 HTTP §3.2.0.6).

    200, 304 when If-None-Match names its version. 404 malformed, absent or hidden by policy; 406
    no format or version fits; 503 not known while archives are silent.
    """
    version = _version(request)
    uid = request.match_info["id"]
    if not is_uid(uid):
        raise NotFound("no such ImagingStudy")
    search = _search(request, version, (), fhir_results.IMAGING_STUDIES, _options(request))
    loaded = await request.app[CATALOG].study(request[CONSUMER], uid, search.wanted.level)
    resource = imaging_study(
        loaded.study,
        version.shape,
        _carried(request, loaded.study),
        request.app[SETTINGS].fhir,
    )
    served = fhir_subsets.served(resource, search.wanted, version.number)
    return _answer(request, served, version, silent=loaded.silent)


async def search_imaging_studies(request: web.Request) -> web.Response:
    """GET ImagingStudy?…, POST ImagingStudy/_search: search for studies (FHIR R5 Search).

    200 Bundle. 400 malformed, or not supported and not to be ignored; 403 too costly; 406 no
    format or version fits; 415 the form is none; 503 all archives are silent.
    """
    pairs = await _parameters(request)
    version = _version(request, pairs)
    search = _search(request, version, _STUDY_PARAMETERS, fhir_results.IMAGING_STUDIES, pairs)
    found = ImagingStudySearch(
        catalog=request.app[CATALOG],
        consumer=request[CONSUMER],
        settings=request.app[SETTINGS],
        version=version,
        base=_base(request, version),
        search=search,
        now=_reading(request).now,
    )
    return _answer(request, await found.bundle(), version, pairs=pairs)


async def read_endpoint(request: web.Request) -> web.Response:
    """GET Endpoint/{id}: one of the Endpoints that ImagingStudy resources refer to.

    200, 304 when If-None-Match names its version. 404 there is none; 406 no format or version fits.
    """
    version = _version(request)
    for found in endpoints.published(request.app[SETTINGS]):
        if found.id == request.match_info["id"]:
            search = _search(request, version, (), fhir_results.ENDPOINTS, _options(request))
            resource = version.endpoint(found)
            return _answer(
                request, fhir_subsets.served(resource, search.wanted, version.number), version
            )
    raise NotFound("no such Endpoint")


async def search_endpoints(request: web.Request) -> web.Response:
    """GET Endpoint?…, POST Endpoint/_search: search for Endpoints.

    200 Bundle, always of one page. 400 malformed, or not supported and not to be ignored; 406 no
    format or version fits; 415 the form is none.
    """
    pairs = await _parameters(request)
    version = _version(request, pairs)
    search = _search(request, version, fhir_endpoint.PARAMETERS, fhir_results.ENDPOINTS, pairs)
    now = _reading(request).now
    resources = (version.endpoint(e) for e in endpoints.published(request.app[SETTINGS]))
    matched = [r for r in resources if fhir_search.meets(r, search.criteria, 0, now)]
    bundle = fhir_bundle.whole(
        matched, search, f"{_base(request, version)}/Endpoint", version.number
    )
    return _answer(request, bundle, version, pairs=pairs)


def _version(request: web.Request, pairs: _Pairs = ()) -> Version:
    """The version to answer in; NotAcceptable when none fits. `pairs`: those of a form, too."""
    return fhir_media.version(
        request.headers.getall("Accept", []),
        dict(pairs).get("_format", request.query.get("_format")),
        VERSIONS.get(request.match_info.get("version", "")),
        VERSIONS[request.app[SETTINGS].fhir.default_version],
    )


def _base(request: web.Request, version: Version) -> str:
    """The version's own base: links hold for clients that name no version later."""
    return f"{request.app[SETTINGS].server.public_url}/fhir/{version.id}"


def _reading(request: web.Request) -> Reading:
    return Reading(
        base=fhir_versions.base_pattern(request.app[SETTINGS].server.public_url),
        now=fhir_dates.instant(datetime.now(UTC)),
        strict=fhir_requests.is_strict(request.headers.getall("Prefer", [])),
    )


def _options(request: web.Request) -> list[tuple[str, str]]:
    """The parameters of a read: what it wants of the resource. Others mean nothing to it."""
    return [(k, v) for k, v in request.query.items() if k in {"_summary", "_elements"}]


async def _parameters(request: web.Request) -> list[tuple[str, str]]:
    """The parameters of the URL and then those of the form; UnsupportedMediaType: no form."""
    pairs = list(request.query.items())
    if request.method != "POST" or not request.can_read_body:
        return pairs
    if request.content_type != _FORM:
        raise UnsupportedMediaType(f"the body must be {_FORM}")
    body = (await request.read()).decode("utf-8", "replace")
    return pairs + parse_qsl(body, keep_blank_values=True, errors="replace")


def _search(
    request: web.Request,
    version: Version,
    parameters: Sequence[Parameter],
    offered: Offered,
    pairs: _Pairs,
) -> Search:
    fhir = request.app[SETTINGS].fhir
    sizes = fhir_requests.Sizes(usual=fhir.default_count, largest=fhir.max_count)
    named = fhir_search.by_name(parameters, version.absent)
    return fhir_requests.read(pairs, named, offered, _reading(request), sizes)


def _carried(request: web.Request, study: Study) -> Carried:
    of_study, of_series = endpoints.of_gateway(
        request.app[SETTINGS], study, consumer=request[CONSUMER]
    )
    return Carried(study=of_study, series=of_series)


def _answer(
    request: web.Request,
    resource: Resource,
    version: Version,
    *,
    pairs: _Pairs = (),
    silent: tuple[str, ...] = (),
) -> web.Response:
    """`resource` with its ETag, or 304; archives that are missing from it are named in Warning."""
    response = web.Response(headers={"Content-Type": version.content_type})
    compress(request, response)
    if (applied := fhir_requests.preference(request.headers.getall("Prefer", []))) is not None:
        response.headers["Preference-Applied"] = applied
    for warning in warnings_of(silent):
        response.headers.add("Warning", warning)
    tag = fhir_subsets.entity_tag(resource)
    if tag is not None:
        response.headers["ETag"] = tag
        if fhir_subsets.is_known(tag, request.headers.getall("If-None-Match", [])):
            return web.Response(status=304, headers=_of_unchanged(response))
    is_pretty = ("_pretty", "true") in (*pairs, *request.query.items())
    response.body = orjson.dumps(resource, option=_PRETTY if is_pretty else 0)
    return response


def _of_unchanged(response: web.Response) -> dict[str, str]:
    """The headers of a 304 (RFC 9110 §15.4.5)."""
    return {name: response.headers[name] for name in ("ETag", "Vary")}

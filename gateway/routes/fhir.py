"""The FHIR facade: ImagingStudy and Endpoint of every version, read and searched."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import orjson
from aiohttp import web

from gateway import disclosures
from gateway.answers import kept
from gateway.errors import NotFound
from gateway.http_server import CATALOG, CONSUMER, SETTINGS
from gateway.routes import fhir_http
from gateway.routes.fhir_answers import answer, read
from gateway.routes.fhir_entries import ENTRIES
from gateway.routes.fhir_hiding import hiding, revealed
from gateway.routes.fhir_search import ImagingStudySearch
from gateway.rules import (
    endpoints,
    fhir_bundle,
    fhir_capabilities,
    fhir_endpoint,
    fhir_results,
    fhir_search,
    imaging_study_chains,
    imaging_study_parameters,
    last_updated,
    patient_context,
)
from gateway.rules.dicom_json import is_uid
from gateway.rules.smart_configuration import smart_configuration

_STUDY_PARAMETERS = (*imaging_study_parameters.PARAMETERS, *imaging_study_chains.CHAINS)
_MANY_INSTANCES = 500
STARTED_AT = datetime.now(UTC).isoformat(timespec="seconds")
"""When what is served last changed: with the process."""


def routes() -> list[web.RouteDef]:
    """The routes of this surface, below each version's base and below /fhir."""
    return [
        route
        for base in fhir_http.BASES
        for route in (
            web.get(f"{base}/ImagingStudy/{{id}}", kept(read_imaging_study)),
            web.get(f"{base}/ImagingStudy", search_imaging_studies),
            web.post(f"{base}/ImagingStudy/_search", search_imaging_studies),
            web.get(f"{base}/Patient/{{patient}}/ImagingStudy", search_compartment),
            web.post(f"{base}/Patient/{{patient}}/ImagingStudy/_search", search_compartment),
            web.get(f"{base}/metadata", capabilities),
            web.get(f"{base}/.well-known/smart-configuration", configuration),
            web.get(f"{base}/Endpoint", search_endpoints),
            web.post(f"{base}/Endpoint/_search", search_endpoints),
            web.get(f"{base}/Endpoint/{{id}}", read_endpoint),
        )
    ]


async def capabilities(request: web.Request) -> web.Response:
    """GET metadata: what is served in this version (FHIR R5 HTTP §3.2.0.11).

    200 CapabilityStatement. 406 no format or version fits.
    """
    version = fhir_http.version(request)
    base = fhir_http.base(request, version)
    return await answer(
        request,
        fhir_capabilities.capability_statement(
            version,
            base,
            STARTED_AT,
            has_patients=fhir_http.has_patients(request),
            issuer=smart_configuration(request.app[SETTINGS]),
        ),
        version,
    )


async def configuration(request: web.Request) -> web.Response:
    """GET .well-known/smart-configuration: where tokens for this server are had (SMART App Launch).

    200 JSON; 404 where callers need not be known, or no issuer tells where its tokens are had.
    """
    document = smart_configuration(request.app[SETTINGS])
    if document is None:
        raise NotFound("no SMART configuration here")
    return web.json_response(body=orjson.dumps(document))


async def read_imaging_study(request: web.Request) -> web.Response:
    """GET ImagingStudy/{id}: the study whose StudyInstanceUID the id is (FHIR R5 HTTP §3.2.0.6).

    200; 304 when If-None-Match names its version, or it did not change since If-Modified-Since; 412
    when If-Match or If-Unmodified-Since say so. 404 malformed, absent or hidden by policy; 406 no
    format or version fits; 503 not known while archives are silent.
    """
    version = fhir_http.version(request)
    uid = request.match_info["id"]
    if not is_uid(uid):
        raise NotFound("no such ImagingStudy")
    options = fhir_http.options(request)
    search = fhir_http.search(request, version, (), fhir_results.IMAGING_STUDIES, options)
    loaded = await request.app[CATALOG].study(request[CONSUMER], uid, search.wanted.level)
    resources = fhir_http.resources(request, version)
    resource = resources.imaging_study(loaded.study)
    if sum(len(s.instances or ()) for s in loaded.study.series or ()) > _MANY_INSTANCES:
        await asyncio.sleep(0)  # others get their turn between two long steps
    is_subset = loaded.study.is_subset
    return await read(request, resource, search, version, loaded.silent, is_subset=is_subset)


async def search_imaging_studies(request: web.Request) -> web.Response:
    """GET ImagingStudy?…, POST ImagingStudy/_search: search for studies (FHIR R5 Search).

    200 Bundle. 400 malformed, or not supported and not to be ignored; 403 too costly; 406 no
    format or version fits; 410 a link that is too old; 415 the form is none; 503 all archives are
    silent.
    """
    return await _studies(request)


async def search_compartment(request: web.Request) -> web.Response:
    """GET Patient/{patient}/ImagingStudy?…, POST Patient/{patient}/ImagingStudy/_search.

    The studies of a patient that meet the search (FHIR R5 Search §3.2.1.2.1): as above, and none
    for a patient that is not there. 404 where no patients are resources.
    """
    fhir_http.expect_patients(request)
    return await _studies(request, request.match_info["patient"])


async def _studies(request: web.Request, patient: str | None = None) -> web.Response:
    """The studies of a search, of a patient or of all."""
    begun = datetime.now(UTC) - timedelta(milliseconds=1)
    pairs, is_hidden = revealed(request, "ImagingStudy", await fhir_http.parameters(request))
    version = fhir_http.version(request, pairs)
    has_patients = fhir_http.has_patients(request)
    offered = fhir_results.IMAGING_STUDIES if has_patients else fhir_results.IMAGING_STUDIES_ALONE
    search = fhir_http.search(request, version, _STUDY_PARAMETERS, offered, pairs)
    if patient is not None:
        of_patient = imaging_study_parameters.of_patient(patient)
        search = replace(search, criteria=(*search.criteria, of_patient))
    patient_context.check_search(request[CONSUMER], search.criteria)
    patients = await fhir_http.patients(request, patient_context.named(search.criteria))
    found = ImagingStudySearch(
        catalog=request.app[CATALOG],
        resources=fhir_http.resources(request, version, patients),
        base=fhir_http.base(request, version),
        search=search,
        now=fhir_http.reading(request).now,
        entries=request.app[ENTRIES],
        within="" if patient is None else f"Patient/{quote(patient, safe='')}/",
        as_of=last_updated.instant(begun),
        written=hiding(request, "ImagingStudy", version) if is_hidden else fhir_bundle.as_they_are,
    )
    bundle = await found.bundle()
    disclosures.told(found.told)
    return await answer(request, bundle, version, pairs=pairs)


async def read_endpoint(request: web.Request) -> web.Response:
    """GET Endpoint/{id}: one of the Endpoints that ImagingStudy resources refer to.

    200; 304 when If-None-Match names its version; 412 when If-Match names others. 404 there is
    none; 406 no format or version fits.
    """
    version = fhir_http.version(request)
    for found in endpoints.published(request.app[SETTINGS], request[CONSUMER]):
        if found.id == request.match_info["id"]:
            search = fhir_http.search(
                request, version, (), fhir_results.ENDPOINTS, fhir_http.options(request)
            )
            return await read(request, version.endpoint(found), search, version)
    raise NotFound("no such Endpoint")


async def search_endpoints(request: web.Request) -> web.Response:
    """GET Endpoint?…, POST Endpoint/_search: search for Endpoints.

    200 Bundle. 400 malformed, or not supported and not to be ignored; 406 no format or version
    fits; 415 the form is none.
    """
    pairs = await fhir_http.parameters(request)
    version = fhir_http.version(request, pairs)
    search = fhir_http.search(
        request, version, fhir_endpoint.PARAMETERS, fhir_results.ENDPOINTS, pairs
    )
    now = fhir_http.reading(request).now
    resources = (
        version.endpoint(e) for e in endpoints.published(request.app[SETTINGS], request[CONSUMER])
    )
    matched = [r for r in resources if fhir_search.meets(r, search.criteria, 0, now)]
    bundle = fhir_bundle.at_hand(
        fhir_endpoint.ordered(matched, search.wanted.sort),
        search,
        f"{fhir_http.base(request, version)}/Endpoint",
        version.number,
        repr(("Endpoint", version.id, request[CONSUMER], search.used)),
    )
    return await answer(request, bundle, version, pairs=pairs)

"""The FHIR facade: Patient of every version, read and searched, as studies tell patients."""

from __future__ import annotations

from aiohttp import web

from gateway import disclosures
from gateway.errors import NotFound, Unavailable
from gateway.http_server import CATALOG, CONSUMER
from gateway.model import Patient
from gateway.routes import fhir_http
from gateway.routes.fhir_answers import answer, read
from gateway.routes.fhir_hiding import hiding, revealed
from gateway.routes.fhir_patient_search import PatientSearch
from gateway.routes.fhir_subjects import Subjects
from gateway.rules import fhir_bundle, fhir_patient, fhir_results, patient_context
from gateway.rules.patient_ids import PatientIds


def routes() -> list[web.RouteDef]:
    """The routes of this surface, below each version's base and below /fhir."""
    return [
        route
        for base in fhir_http.BASES
        for route in (
            web.get(f"{base}/Patient", search_patients),
            web.post(f"{base}/Patient/_search", search_patients),
            web.get(f"{base}/Patient/{{id}}", read_patient),
        )
    ]


async def read_patient(request: web.Request) -> web.Response:
    """GET Patient/{id}: the patient as the latest of their studies tells (FHIR R5 HTTP §3.2.0.6).

    200; 304 when If-None-Match names its version; 412 when If-Match names others. 404 malformed,
    absent, hidden by policy or none by configuration; 406 no format or version fits; 503 not known
    while archives are silent.
    """
    fhir_http.expect_patients(request)
    patient_context.check(request[CONSUMER], request.match_info["id"])
    version = fhir_http.version(request)
    options = fhir_http.options(request)
    search = fhir_http.search(request, version, (), fhir_results.PATIENTS, options)
    patients = await fhir_http.patients(request, (request.match_info["id"],))
    resources = fhir_http.resources(request, version, patients)
    subjects = Subjects(request.app[CATALOG], resources)
    study = await subjects.telling(request.match_info["id"])
    silent = tuple(sorted(subjects.silent))
    if study is None and silent:
        raise Unavailable(f"no answer from archive {', '.join(silent)}", archives=silent)
    resource = None if study is None else resources.patient(study)
    if resource is None:
        raise NotFound("no such Patient")
    _note(patients, {request.match_info["id"]})
    return await read(request, resource, search, version, silent)


async def search_patients(request: web.Request) -> web.Response:
    """GET Patient?…, POST Patient/_search: search for patients (FHIR R5 Search).

    200 Bundle. 400 malformed, or not supported and not to be ignored; 403 too costly, or another
    patient than the one in context; 404 none by configuration; 406 no format or version fits; 410
    a link that is too old; 415 the form is none; 503 all archives are silent.
    """
    fhir_http.expect_patients(request)
    pairs, is_hidden = revealed(request, "Patient", await fhir_http.parameters(request))
    version = fhir_http.version(request, pairs)
    known, offered = fhir_patient.PARAMETERS, fhir_results.PATIENTS
    search = fhir_http.search(request, version, known, offered, pairs)
    named = patient_context.named_by_id(search.criteria)
    for one in named:
        patient_context.check(request[CONSUMER], one)
    patients = await fhir_http.patients(request, named)
    found = PatientSearch(
        catalog=request.app[CATALOG],
        resources=fhir_http.resources(request, version, patients),
        base=fhir_http.base(request, version),
        search=search,
        now=fhir_http.reading(request).now,
        written=hiding(request, "Patient", version) if is_hidden else fhir_bundle.as_they_are,
    )
    bundle = await found.bundle()
    _note(patients, fhir_bundle.ids(bundle, "Patient"))
    return await answer(request, bundle, version, pairs=pairs)


def _note(patients: PatientIds, ids: set[str]) -> None:
    """Notes which patients are told: more are looked at, who share a Patient ID or do not match."""
    disclosures.told_of(lambda who: patients.id_of(Patient(id=who)) in ids)

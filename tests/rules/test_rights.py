from __future__ import annotations

import pytest

from gateway.app import build_app
from gateway.config import Settings
from gateway.errors import Forbidden
from gateway.model import Consumer, Policy, Rule
from gateway.rules import rights, scopes
from gateway.rules.rights import Admission

PUBLIC = {
    "/health/live",
    "/health/ready",
    "/fhir/metadata",
    "/fhir/{version}/metadata",
    "/fhir/.well-known/smart-configuration",
    "/fhir/{version}/.well-known/smart-configuration",
    "/dicom-web",
    "/dicom-web/",
}
ROUTES = sorted(
    {
        route.resource.canonical
        for route in build_app(Settings()).router.routes()
        if route.resource is not None
    }
)
ANYONE = Consumer(id="key")
PARTLY = Consumer(id="hie", policy=Policy(name="p", hide=(Rule(name="r", modalities=("SR",)),)))


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_is_decided_on(route: str) -> None:
    need = rights.needed(route)
    assert need is not None, f"{route} needs a row in gateway.rules.rights"
    assert (need.admission is Admission.PUBLIC) is (route in PUBLIC)


@pytest.mark.parametrize("route", [r for r in ROUTES if r not in PUBLIC])
def test_without_a_fitting_scope_nothing_with_images_is_open(route: str) -> None:
    need = rights.needed(route)
    other = Consumer(id="app", scopes=scopes.parse("system/Observation.rs"))
    if need is not None and need.admission is Admission.KNOWN:
        rights.check(need, other)
        return
    with pytest.raises(Forbidden):
        rights.check(need, other)
    rights.check(need, ANYONE)


@pytest.mark.parametrize(
    ("route", "scope", "is_open"),
    [
        ("/dicom-web/studies", "system/ImagingStudy.s", True),
        ("/dicom-web/studies", "system/ImagingStudy.r", False),
        ("/dicom-web/studies/{study}", "system/ImagingStudy.r", True),
        ("/dicom-web/studies/{study}", "system/ImagingStudy.s", False),
        ("/dicom-web/studies/{study}/metadata", "patient/*.rs", True),
        ("/fhir/{version}/Endpoint", "system/ImagingStudy.rs", False),
        ("/fhir/{version}/Endpoint/{id}", "system/Endpoint.r", True),
        ("/fhir/{version}/Patient/{patient}/ImagingStudy", "system/Patient.rs", False),
        ("/wado", "system/ImagingStudy.r", True),
    ],
)
def test_scopes_open_routes(route: str, scope: str, *, is_open: bool) -> None:
    consumer = Consumer(id="app", scopes=scopes.parse(scope))
    if is_open:
        rights.check(rights.needed(route), consumer)
        return
    with pytest.raises(Forbidden):
        rights.check(rights.needed(route), consumer)


@pytest.mark.parametrize("route", ["/metrics", "/archives", "/hooks/studies/{study}"])
def test_operators_are_those_from_whom_nothing_is_hidden(route: str) -> None:
    rights.check(rights.needed(route), ANYONE)
    for other in (PARTLY, Consumer(id="x", patients=()), Consumer(id="x", scopes=())):
        with pytest.raises(Forbidden):
            rights.check(rights.needed(route), other)


def test_what_nobody_decided_on_is_closed() -> None:
    assert rights.needed("/dicom-web/studies/{study}/secret") is None
    with pytest.raises(Forbidden):
        rights.check(None, ANYONE)

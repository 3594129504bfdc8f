"""Errors in the words of the surface that was asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_aiohttp import AiohttpClient

from gateway.app import build_app
from tests.standing import Client
from tests.test_http_server import fails, settings


@pytest.fixture
async def gateway(aiohttp_client: AiohttpClient, sample_folder: Path) -> Client:
    app = build_app(settings(sample_folder))
    for prefix in ("/fails", "/fhir/fails"):
        app.router.add_get(prefix, fails)
    return await aiohttp_client(app)


async def test_errors_are_problems_outside_fhir(gateway: Client) -> None:
    answer = await gateway.get("/fails?how=bad")
    assert answer.status == 400
    assert answer.content_type == "application/problem+json"
    assert await answer.json(content_type=None) == {
        "type": "about:blank",
        "title": "Bad request",
        "status": 400,
        "detail": "that is no good",
        "code": "invalid",
        "parameter": "limit",
        "request_id": answer.headers["X-Request-Id"],
    }
    assert answer.headers["Cache-Control"] == "no-store"


async def test_errors_are_operation_outcomes_below_fhir(gateway: Client) -> None:
    answer = await gateway.get("/fhir/fails?how=busy")
    assert answer.status == 503
    assert answer.content_type == "application/fhir+json"
    outcome = await answer.json(content_type=None)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] == "throttled"
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/nothing", "application/problem+json"),
        ("/dicom-web/nothing", "application/problem+json"),
        ("/fhir/r4/Nothing/1/2/3", "application/fhir+json"),
        ("/fhirx", "application/problem+json"),
        ("/iid?nonsense=1", "text/html"),
    ],
)
async def test_unknown_paths_are_refused_in_the_dialect_of_the_surface(
    gateway: Client, path: str, kind: str
) -> None:
    answer = await gateway.get(path)
    assert answer.status in {400, 404}
    assert answer.content_type == kind


@pytest.mark.parametrize(("path", "root"), [("/nothing", "./"), ("/nothing/here/?a=/b", "../../")])
async def test_browser_where_nothing_is_shows_a_page(gateway: Client, path: str, root: str) -> None:
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = await gateway.get(path, headers=headers)
    assert answer.status == 404
    assert answer.content_type == "text/html"
    assert f'<a href="{root}">' in await answer.text()
    outcome = await gateway.get("/fhir/r4/Nothing/1/2/3", headers=headers)
    assert outcome.content_type == "application/fhir+json"


async def test_a_page_of_a_mistake_leads_back_below_any_prefix(gateway: Client) -> None:
    answer = await gateway.get("/iid?nonsense=1")
    assert '<a href="./">' in await answer.text()


async def test_unknown_methods_say_which_are_known(gateway: Client) -> None:
    answer = await gateway.delete("/dicom-web/studies")
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}
    assert (await gateway.options("/dicom-web/studies")).status == 204
    assert (await gateway.options("/nothing")).status == 404

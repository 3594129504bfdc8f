"""Every route refuses, and every refusal is in the audit trail, once."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway import demo
from gateway.app import build_app
from gateway.rules import rights
from gateway.rules.rights import Admission
from tests.e2e.test_access_leaks import FORM, entities, events, serving
from tests.hie import ROOT, build, callers

CALLERS = {c.name: c for c in callers()}
HIDDEN = {
    "study": f"{ROOT}.3", "series": f"{ROOT}.3.1", "instance": f"{ROOT}.3.1.1", "frames": "1",
    "path": "00420011", "version": "r4", "id": f"{ROOT}.3", "patient": "anna",
}  # fmt: skip
"""What `no-sr` may not see any part of."""
ABOUT_HIDDEN = {
    "/wado": "?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
    "&contentType=application/dicom",
    "/iid": "?requestType=STUDY&studyUID={study}",
    "/dicom-web/studies": "?StudyInstanceUID={study}",
    "/dicom-web/series": "?StudyInstanceUID={study}",
    "/dicom-web/instances": "?StudyInstanceUID={study}",
    "/fhir/{version}/ImagingStudy": "?identifier=urn:oid:{study}",
    "/fhir/{version}/ImagingStudy/_search": "?identifier=urn:oid:{study}",
    "/fhir/ImagingStudy": "?identifier=urn:oid:{study}",
    "/fhir/ImagingStudy/_search": "?identifier=urn:oid:{study}",
    "/": "?study={study}",
}
"""How routes without a study in their path are asked for it."""
OF_PATIENTS = re.compile(r".*/(Patient|Endpoint)(/.*)?")


def routes(folder: Path) -> list[tuple[str, str]]:
    app = build_app(demo.settings(folder, 8080))
    return sorted(
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("denials")
    build(folder)
    return folder


def recorded(
    folder: Path, headers: dict[str, str], only: set[Admission]
) -> dict[tuple[str, str], tuple[int, list[dict[str, Any]]]]:
    """Status and events of every route of these kinds, asked for what is hidden."""
    spool = folder / f"spool-{uuid.uuid4()}"
    asked: dict[tuple[str, str], tuple[int, str]] = {}
    with serving(folder, audit={"spool": str(spool)}) as gateway:
        for method, route in routes(folder):
            need = rights.needed(route)
            assert need is not None
            if need.admission in only:
                url = (gateway.url + route).format(**HIDDEN)
                query = ABOUT_HIDDEN.get(route, "").format(**HIDDEN)
                sent = headers | {"X-Request-Id": uuid.uuid4().hex}
                if method == "POST":
                    sent |= FORM
                answer = requests.request(
                    method,
                    url if method == "POST" else url + query,
                    data=query[1:] if method == "POST" else None,
                    headers=sent,
                    allow_redirects=False,
                    timeout=60,
                )
                asked[method, route] = answer.status_code, sent["X-Request-Id"]
        gateway.stop()
    found = events(spool)
    return {key: (status, found.get(number, [])) for key, (status, number) in asked.items()}


def test_what_is_hidden_is_a_denial_on_every_route(folder: Path) -> None:
    answers = recorded(folder, CALLERS["no-sr"].headers, {Admission.SCOPED, Admission.OPERATOR})
    assert len(answers) > 40
    for (method, route), (status, found) in answers.items():
        if OF_PATIENTS.fullmatch(route):
            continue
        assert [e["outcome"] for e in found] == ["4"], (method, route, status)
        assert rights.needed(route) is not None
        if status != 403:
            assert entities(found[0], "ImagingStudy") == [f"urn:dicom:uid|urn:oid:{ROOT}.3"], route


def test_those_who_may_not_are_denied_on_every_route(folder: Path) -> None:
    for key, (status, found) in recorded(
        folder, CALLERS["unscoped"].headers, {Admission.SCOPED, Admission.OPERATOR}
    ).items():
        assert (status, [e["outcome"] for e in found]) == (403, ["4"]), key


def test_strangers_are_told_of_once_and_counted(folder: Path) -> None:
    everything = set(Admission) - {Admission.PUBLIC}
    for headers in ({}, CALLERS["unknown"].headers):
        answers = recorded(folder, headers, everything)
        assert {status for status, _ in answers.values()} == {401}
        told = [e for _, found in answers.values() for e in found]
        assert [(e["outcome"], e["type"]["code"]) for e in told] == [("4", "110114")] * 2
        assert told[1]["entity"][-1]["detail"][0]["valueString"] == str(len(answers) - 1)

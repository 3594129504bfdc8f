"""What all interactions of the FHIR facade have in common, as clients meet it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.app import build_app
from tests.routes.test_fhir import STUDY, Client, json


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, sample_folder: Path) -> Client:
    return await aiohttp_client(build_app(demo.settings(sample_folder, 8080)))


async def test_forms_are_read_and_other_bodies_refused(client: Client) -> None:
    url = "/fhir/r4/ImagingStudy/_search?modality=CT"
    found = await json(await client.post(url, data={"_id": STUDY}))
    assert found["total"] == 1
    none = await json(await client.post(url, data={"_id": "1.2.3"}))
    assert none["total"] == 0
    outcome = await json(await client.post(url, json={"_id": STUDY}), 415)
    assert outcome["issue"][0]["code"] == "not-supported"


async def test_format_of_a_form_beats_accept(client: Client) -> None:
    answer = await client.post(
        "/fhir/r4/ImagingStudy/_search",
        data={"_id": STUDY, "_format": "json", "_pretty": "true"},
        headers={"Accept": "application/fhir+xml"},
    )
    assert answer.status == 200
    assert (await answer.text()).startswith('{\n  "resourceType"')

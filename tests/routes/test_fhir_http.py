"""What all interactions of the FHIR facade have in common, as clients meet it."""

from __future__ import annotations

import pytest

from tests.routes.test_fhir import STUDY, json
from tests.standing import Client


@pytest.fixture
def client(demo_client: Client) -> Client:
    return demo_client


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

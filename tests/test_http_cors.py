"""Pages of other origins may do what is allowed to theirs, and strangers learn nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_aiohttp import AiohttpClient

from gateway.app import build_app
from tests.standing import Client
from tests.test_http_server import ORIGIN, settings


@pytest.fixture
async def gateway(aiohttp_client: AiohttpClient, sample_folder: Path) -> Client:
    return await aiohttp_client(build_app(settings(sample_folder)))


async def test_preflight_tells_strangers_nothing(gateway: Client) -> None:
    asked = {"Access-Control-Request-Method": "GET"}
    known = await gateway.options("/dicom-web/studies", headers={"Origin": ORIGIN, **asked})
    assert known.status == 204
    assert known.headers["Access-Control-Allow-Origin"] == ORIGIN
    for origin in ("https://evil.example.org", "null", f"{ORIGIN}.evil.example.org", ""):
        answer = await gateway.options("/dicom-web/studies", headers={"Origin": origin, **asked})
        assert not [n for n in answer.headers if n.lower().startswith("access-control")]


async def test_answers_are_open_to_allowed_origins_alone(gateway: Client) -> None:
    for origin, is_open in ((ORIGIN, True), ("null", False), ("https://other.example.org", False)):
        answer = await gateway.get("/dicom-web/studies", headers={"Origin": origin})
        assert "Origin" in answer.headers.getall("Vary")
        assert ("Access-Control-Allow-Origin" in answer.headers) is is_open
        assert ("Access-Control-Expose-Headers" in answer.headers) is is_open

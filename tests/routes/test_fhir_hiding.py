"""Searches that were posted: what was asked for does not show in the links of their pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp.web import Request
from pydantic import SecretStr
from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.app import build_app
from gateway.config import Access, Settings
from gateway.http_server import CONSUMER
from gateway.model import Consumer
from gateway.routes import fhir_hiding
from gateway.rules import fhir_links
from tests.routes.test_fhir import json
from tests.routes.test_fhir_search import found, link
from tests.standing import Client

FORM = {"patient.family": "Yamada", "modality:not": "XX", "_count": "1"}
SEARCH = "/fhir/r4/ImagingStudy/_search"
Open = Callable[[str | None], Awaitable[Client]]


@pytest.fixture
def settings(sample_folder: Path) -> Settings:
    return demo.settings(sample_folder, 8080)


@pytest.fixture
def opened(aiohttp_client: AiohttpClient, settings: Settings) -> Open:
    """The gateway with this secret for links."""

    async def open_(secret: str | None) -> Client:
        access = Access(link_secret=SecretStr(secret) if secret else None)
        client: Client = await aiohttp_client(
            build_app(settings.model_copy(update={"auth": access}))
        )
        return client

    return open_


def urls(bundle: dict[str, Any]) -> list[str]:
    return [one["url"] for one in bundle["link"]]


async def test_pages_of_a_posted_search_show_nothing_and_hold_every_match_once(
    opened: Open,
) -> None:
    client = await opened("a secret")
    whole = found(await json(await client.post(SEARCH, data={**FORM, "_count": "100"})))
    assert len(whole) > 1
    bundle = await json(await client.post(SEARCH, data=FORM))
    pages, last = [found(bundle)], bundle
    while (url := link(last, "next")) is not None:
        assert [name for name, _ in parse_qsl(urlsplit(url).query)] == ["_page"]
        last = await json(await client.get(url))
        pages.append(found(last))
        assert not [u for u in urls(last) if "amad" in u or "patient" in u]
    assert not [u for u in urls(bundle) if "amad" in u or "patient" in u]
    assert [uid for page in pages for uid in page] == whole
    again = link(last, "previous")
    assert again is not None
    assert found(await json(await client.get(again))) == pages[-2]
    own, end = link(bundle, "self"), link(last, "last")
    assert own is not None
    assert end is not None
    assert found(await json(await client.get(own))) == pages[0]
    assert found(await json(await client.get(end))) == pages[-1]


async def test_links_survive_a_restart_and_are_good_in_every_replica(opened: Open) -> None:
    url = link(await json(await (await opened("a secret")).post(SEARCH, data=FORM)), "next")
    assert url is not None
    assert len(found(await json(await (await opened("a secret")).get(url)))) == 1
    await json(await (await opened("another secret")).get(url), 400)
    await json(await (await opened(None)).get(url), 400)


async def test_link_of_another_version_or_with_more_in_it_is_refused(opened: Open) -> None:
    client = await opened("a secret")
    url = link(await json(await client.post(SEARCH, data=FORM)), "next")
    assert url is not None
    for other in (
        url.replace("/r4/", "/r5/"),
        url.replace("/fhir/r4/", "/fhir/"),
        url + "&modality=CT",
        url[:-3],
    ):
        outcome = await json(await client.get(other), 400)
        assert outcome["issue"][0]["code"] == "invalid"
    assert (await client.get(url + "&_pretty=true")).status == 200


async def test_link_that_is_older_than_a_day_is_gone(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await opened("a secret")
    url = link(await json(await client.post(SEARCH, data=FORM)), "next")
    assert url is not None
    monkeypatch.setattr(fhir_links, "LIFE_SECONDS", -1)
    outcome = await json(await client.get(url), 410)
    assert outcome["resourceType"] == "OperationOutcome"


async def test_link_of_one_consumer_is_of_no_use_to_another(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await opened("a secret")
    url = link(await json(await client.post(SEARCH, data=FORM)), "next")
    assert url is not None
    bound_to = fhir_hiding._bound_to

    def as_another(request: Request, *more: Any) -> str:
        request[CONSUMER] = Consumer(id="another")
        return bound_to(request, *more)

    monkeypatch.setattr(fhir_hiding, "_bound_to", as_another)
    await json(await client.get(url), 400)


async def test_searches_by_address_and_without_a_secret_repeat_what_was_asked_for(
    opened: Open,
) -> None:
    for client, is_posted in ((await opened("a secret"), False), (await opened(None), True)):
        asked = (
            client.post(SEARCH, data=FORM) if is_posted else client.get(SEARCH[:-8], params=FORM)
        )
        for url in urls(await json(await asked)):
            assert FORM.items() <= dict(parse_qsl(urlsplit(url).query)).items()

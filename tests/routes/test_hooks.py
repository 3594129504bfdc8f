"""Archives that tell of changes, and who else may."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.adapters.cache_admin import CacheAdmin
from gateway.adapters.cache_names import Group, Names
from gateway.app import build_app
from gateway.config import Settings
from gateway.errors import Forbidden
from gateway.http_server import SETTINGS
from gateway.routes.hooks import MAX_BODY_BYTES, study_changed
from tests.doubles import Double, Held
from tests.fault_archive import Answer, FaultArchive
from tests.gateways import archive
from tests.servers import RedisServer
from tests.standing import Client

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1")
HOOK = "/hooks/studies/1.2.3"


@pytest.fixture
async def holding(
    fault_archive: FaultArchive, aiohttp_client: AiohttpClient
) -> tuple[Double, Client]:
    settings = Settings.model_validate({"archives": {"north": archive(fault_archive.url)}})
    return Double(fault_archive, [A]), await aiohttp_client(build_app(settings))


async def series_in(client: Client) -> int:
    answer = await client.get("/fhir/r5/ImagingStudy/1.2.3")
    return len((await answer.json())["series"])


@pytest.mark.parametrize("body", [b"", b'{"ID": "x"}', bytes(MAX_BODY_BYTES)])
async def test_study_is_read_anew_once_an_archive_told_of_it(
    holding: tuple[Double, Client], body: bytes
) -> None:
    double, client = holding
    assert await series_in(client) == 1
    double.held.append(B)
    assert await series_in(client) == 1
    answer = await client.post(HOOK, data=body)
    assert (answer.status, await answer.read()) == (204, b"")
    assert await series_in(client) == 2


async def test_thumbnail_and_metadata_are_read_anew_too(holding: tuple[Double, Client]) -> None:
    double, client = holding
    for path in ("thumbnail", "series/1.2.3.1/metadata"):
        asked = []
        for post in (False, False, True):
            if post:
                assert (await client.post(HOOK)).status == 204
            before = len(double.server.requests)
            assert (await client.get(f"/dicom-web/studies/1.2.3/{path}")).status == 200
            asked.append(len(double.server.requests) - before)
        assert asked[1] < asked[2], path


async def test_absence_is_forgotten_too(holding: tuple[Double, Client]) -> None:
    double, client = holding
    double.held.clear()
    assert (await client.get("/dicom-web/studies/1.2.3/metadata")).status == 404
    double.held.append(A)
    assert (await client.get("/dicom-web/studies/1.2.3/metadata")).status == 404
    assert (await client.post(HOOK)).status == 204
    assert (await client.get("/dicom-web/studies/1.2.3/metadata")).status == 200


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/hooks/studies/1.2.99", {}, 204),
        ("/hooks/studies/1.2.x", {}, 400),
        (HOOK, {"data": bytes(MAX_BODY_BYTES + 1)}, 413),
        (HOOK, {"headers": {"Origin": "https://evil.example"}}, 403),
        (HOOK, {"headers": {"X-Forwarded-For": "192.0.2.1"}}, 403),
    ],
    ids=["unknown study", "no UID", "large body", "web page", "proxy"],
)
async def test_statuses(
    holding: tuple[Double, Client], path: str, more: dict[str, Any], status: int
) -> None:
    assert (await holding[1].post(path, **more)).status == status


async def test_shared_cache_that_cannot_be_told_is_told_of_by_the_status(
    fault_archive: FaultArchive, redis_server: RedisServer, aiohttp_client: AiohttpClient
) -> None:
    archives = {"north": archive(fault_archive.url)}
    settings = {"archives": archives, "cache": {"redis_url": redis_server.url}}
    client = await aiohttp_client(build_app(Settings.model_validate(settings)))
    double = Double(fault_archive, [A])
    assert await series_in(client) == 1
    redis_server.freeze()
    try:
        double.held.append(B)
        assert (await client.post(HOOK)).status == 202
        assert await series_in(client) == 2
    finally:
        redis_server.thaw()
    async with asyncio.timeout(20):
        while (await client.post(HOOK)).status != 204:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)


async def test_only_posts_are_taken(holding: tuple[Double, Client]) -> None:
    assert (await holding[1].get(HOOK)).status == 405


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::1", None])
async def test_other_machines_may_not_tell_where_nobody_is_asked_who_they_are(
    address: str | None, sample_folder: Path
) -> None:
    app = web.Application()
    app[SETTINGS] = demo.settings(sample_folder, 8080)
    request = make_mocked_request("POST", HOOK, app=app, match_info={"study": "1.2.3"})
    with pytest.raises(Forbidden):
        await study_changed(request.clone(remote=address or ""))


@pytest.mark.parametrize(
    ("key", "status"), [("for-operators", 204), ("for-others", 403), ("", 401)]
)
async def test_only_operators_may_tell_where_callers_are_known(
    key: str, status: int, aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    keys = {
        "pacs": {"key": "for-operators", "policy": "all"},
        "hie": {"key": "for-others", "policy": "some"},
    }
    settings = Settings.model_validate(
        {
            "archives": {"samples": {"type": "folder", "path": str(sample_folder)}},
            "auth": {"mode": "required", "api_keys": keys},
            "policies": {"all": {}, "some": {"hide": [{"modality": ["SR"]}]}},
        }
    )
    client = await aiohttp_client(build_app(settings))
    answer = await client.post(HOOK, headers={"X-API-Key": key} if key else {})
    assert answer.status == status


@pytest.mark.parametrize("path", ["thumbnail", "metadata", "series/1.2.3.1/thumbnail"])
async def test_what_was_made_is_given_again_while_no_notices_are_heard(
    fault_archive: FaultArchive, aiohttp_client: AiohttpClient, path: str
) -> None:
    cache = {"redis_url": "redis://127.0.0.1:1"}  # nobody listens there
    archives = {"north": archive(fault_archive.url)}
    settings = Settings.model_validate({"archives": archives, "cache": cache})
    Double(fault_archive, [A])
    client = await aiohttp_client(build_app(settings))
    asked = []
    for _ in range(3):
        assert (await client.get(f"/dicom-web/studies/1.2.3/{path}")).status == 200
        asked.append(len(fault_archive.requests))
    assert asked[0] == asked[1] == asked[2]


def file(name: str) -> Answer:
    """The object A of a patient of that name."""
    dataset = pydicom.dcmread(io.BytesIO(A.file))
    dataset.PatientName = name
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return Answer(body=content.getvalue(), content_type="application/dicom")


async def posted(client: Client, url: str) -> None:
    assert (await client.post(HOOK)).status == 204


async def purged(client: Client, url: str) -> None:
    admin = CacheAdmin(url, names=Names(), secret=b"", longest_seconds=60)
    assert (await admin.purge(Group(archive="north"))).processes == 2
    await admin.close()


@pytest.mark.parametrize("drop", [posted, purged])
async def test_objects_fetched_whole_for_their_parts_are_fetched_anew_on_every_replica(
    fault_archive: FaultArchive,
    aiohttp_client: AiohttpClient,
    redis_server: RedisServer,
    drop: Callable[[Client, str], Awaitable[None]],
) -> None:
    Double(fault_archive, [A])
    own = archive(fault_archive.url, wado_rs=None, wado_uri=f"{fault_archive.url}/wado")
    settings = Settings.model_validate(
        {
            "archives": {"north": own},
            "cache": {"redis_url": redis_server.url},
            "server": {"public_url": "http://gateway.test"},
        }
    )
    replicas: list[Client] = [await aiohttp_client(build_app(settings)) for _ in range(2)]

    async def names() -> set[str]:
        """What the name is, by the metadata and by an attribute of the whole object."""
        found = set[str]()
        for one in replicas:
            metadata = await (await one.get(f"/dicom-web{A.path}/metadata")).json()
            found.add(metadata[0]["00100010"]["Value"][0]["Alphabetic"])
            value = await (await one.get(f"/dicom-web{A.path}/bulkdata/00100010")).read()
            found |= {name for name in ("First", "Second") if name.encode() in value}
        return found

    fault_archive.on("/wado", file("First"))
    assert await names() == {"First"}
    fault_archive.on("/wado", file("Second"))
    assert await names() == {"First"}
    await drop(replicas[0], redis_server.url)
    async with asyncio.timeout(5):
        while True:
            if await names() == {"Second"}:
                return
            await asyncio.sleep(0.01)

"""Probes, metrics and archives of a real gateway."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.app import build_app
from gateway.config import DicomwebArchive, Settings
from gateway.http_server import DRAINING
from tests.fault_archive import FaultArchive
from tests.servers import NOBODY
from tests.standing import Client


def with_silent_archive(folder: Path, address: str) -> Settings:
    settings = demo.settings(folder, 8080)
    silent = DicomwebArchive(type="dicomweb", qido_rs=address)
    return settings.model_copy(update={"archives": {**settings.archives, "silent": silent}})


async def read(client: Client, path: str, status: int = 200) -> Any:
    answer = await client.get(path)
    assert answer.status == status
    return await answer.json()


async def test_gateway_is_live_and_ready(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    client = await aiohttp_client(build_app(demo.settings(sample_folder, 8080)))
    assert await read(client, "/health/live") == {"status": "live"}
    assert await read(client, "/health/ready") == {"status": "ready"}


async def test_gateway_that_stops_is_live_but_not_ready(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    app = build_app(demo.settings(sample_folder, 8080))
    client = await aiohttp_client(app)
    app[DRAINING].set()
    answer = await client.get("/health/ready")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert await read(client, "/health/live") == {"status": "live"}


async def test_gateway_is_ready_while_an_archive_is_down(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    settings = with_silent_archive(sample_folder, f"http://127.0.0.1:{NOBODY.number}")
    client = await aiohttp_client(build_app(settings))
    assert await read(client, "/health/ready") == {"status": "ready"}


async def test_archives_are_told_with_their_state_and_without_their_address(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    port = NOBODY.number
    client = await aiohttp_client(
        build_app(with_silent_archive(sample_folder, f"http://127.0.0.1:{port}/secret-path"))
    )
    answer = await client.get("/archives")
    assert "secret-path" not in await answer.text()
    assert str(port) not in await answer.text()
    samples, silent = (await answer.json())["archives"]
    assert (samples["id"], samples["type"], samples["status"]) == ("samples", "folder", "reachable")
    assert samples["latency_seconds"] >= 0
    assert silent == {
        "id": "silent",
        "type": "dicomweb",
        "status": "silent",
        "latency_seconds": None,
        "problem": "archive silent: no connection",
    }


async def test_archive_that_never_answers_is_told_within_seconds(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await aiohttp_client(
        build_app(with_silent_archive(sample_folder, f"http://127.0.0.1:{port}"))
    )
    started = time.monotonic()
    found = await read(client, "/archives")
    assert time.monotonic() - started < 10
    assert [one["status"] for one in found["archives"]] == ["reachable", "silent"]
    server.close()


async def test_metrics_name_routes_by_template_and_no_study(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    client = await aiohttp_client(build_app(demo.settings(sample_folder, 8080)))
    await client.get(f"/dicom-web/studies/{demo.UID_ROOT}.1/series", params={"Modality": "CT"})
    answer = await client.get("/metrics")
    text = await answer.text()
    assert answer.content_type == "text/plain"
    assert 'route="/dicom-web/studies/{study}/series"' in text
    assert demo.UID_ROOT not in text


async def test_archive_at_a_wrong_address_does_not_look_empty(
    aiohttp_client: AiohttpClient, sample_folder: Path, fault_archive: FaultArchive
) -> None:
    settings = with_silent_archive(sample_folder, f"{fault_archive.url}/wrong")
    client = await aiohttp_client(build_app(settings))
    studies = await client.get("/dicom-web/studies?limit=1")
    assert studies.status == 200
    assert "archive silent did not answer" in studies.headers["Warning"]
    told = (await read(client, "/archives"))["archives"][1]
    assert told["status"] == "silent"
    assert "404" in told["problem"]


async def test_frame_that_does_not_exist_has_no_picture_either(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    client = await aiohttp_client(build_app(demo.settings(sample_folder, 1)))
    study = f"{demo.UID_ROOT}.2"
    frames = f"/dicom-web/studies/{study}/series/{study}.1/instances/{study}.1.1/frames/7"
    for resource in ("", "/thumbnail", "/rendered"):
        assert (await client.get(frames + resource)).status == 404

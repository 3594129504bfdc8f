"""Clients that follow what changes, by meta.lastUpdated, over real archives and a real Redis."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest
import redis.asyncio
from pydantic import SecretStr
from pydicom.uid import UID
from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.app import build_app
from gateway.config import Cache, DicomwebArchive, FolderArchive, Settings
from tests.routes.test_fhir import json
from tests.samples import Sample, TwoArchives, hold
from tests.servers import RedisServer
from tests.standing import Client

ALWAYS_ANEW = Cache(fresh_seconds=0, stale_seconds=0, absent_seconds=0)
Open = Callable[[Settings], Awaitable[Client]]


@pytest.fixture
def opened(aiohttp_client: AiohttpClient) -> Open:
    async def open_(settings: Settings) -> Client:
        client: Client = await aiohttp_client(build_app(settings))
        return client

    return open_


@pytest.fixture
def settings(two_archives: TwoArchives) -> Settings:
    """Two real archives, each asked anew at every request."""
    archives = {
        name: DicomwebArchive(type="dicomweb", qido_rs=orthanc.dicom_web, timezone="Europe/Paris")
        for name, orthanc in (("north", two_archives.north), ("south", two_archives.south))
    }
    return Settings(archives=dict(archives), cache=ALWAYS_ANEW)


async def search(client: Client, query: str, version: str = "r5") -> dict[str, Any]:
    return await json(await client.get(f"/fhir/{version}/ImagingStudy?_count=100&{query}"))


def times(bundle: dict[str, Any]) -> dict[str, str]:
    """When each study that was found changed last, by UID."""
    found = [e["resource"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
    return {one["id"]: one["meta"]["lastUpdated"] for one in found}


async def changed_since(client: Client, mark: str, version: str = "r5") -> set[str]:
    return set(times(await search(client, f"_lastUpdated=gt{mark}", version)))


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0.05)


def another_instance(sample: Sample) -> bytes:
    """One more instance of a sample's series."""
    dataset = pydicom.dcmread(sample.path)
    uid = UID(f"{sample.study_uid}.99")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("version", ["r4", "r5"])
async def test_whoever_asks_for_what_changed_since_is_told_of_exactly_that(
    opened: Open, settings: Settings, two_archives: TwoArchives, version: str
) -> None:
    client = await opened(settings)
    before = times(await search(client, "", version))
    mark = (await search(client, "", version))["meta"]["lastUpdated"]
    assert await changed_since(client, mark, version) == set()

    grown = two_archives.in_north[0]
    two_archives.north.upload(another_instance(grown))
    assert await changed_since(client, mark, version) == {grown.study_uid}
    after = times(await search(client, "", version))
    assert {uid for uid in before if before[uid] != after[uid]} == {grown.study_uid}
    assert after[grown.study_uid] > mark
    newest = await search(client, "_sort=-_lastUpdated&_elements=started", version)
    assert next(iter(times(newest))) == grown.study_uid
    assert times(newest) == after


async def test_study_that_one_of_its_archives_lost_has_changed(
    opened: Open, settings: Settings, two_archives: TwoArchives
) -> None:
    client = await opened(settings)
    before = times(await search(client, ""))
    mark = (await search(client, ""))["meta"]["lastUpdated"]
    kept = [s for s in two_archives.in_south if s.study_uid != two_archives.shared_study]
    hold(two_archives.south, kept)
    assert await changed_since(client, mark) == {two_archives.shared_study}
    after = times(await search(client, ""))
    assert after[two_archives.shared_study] > before[two_archives.shared_study]
    hold(two_archives.south, two_archives.in_south)
    again = times(await search(client, ""))
    assert again[two_archives.shared_study] > after[two_archives.shared_study]


async def test_reading_deeper_and_reading_again_change_nothing(
    opened: Open, settings: Settings
) -> None:
    client = await opened(settings)
    shallow = times(await search(client, "_elements=started"))
    for query in ("_summary=true", "", "", "_elements=series"):
        assert times(await search(client, query)) == shallow
    for uid, since in shallow.items():
        resource = await json(await client.get(f"/fhir/r4/ImagingStudy/{uid}"))
        assert resource["meta"]["lastUpdated"] == since
        moment = datetime.fromisoformat(since)
        assert moment <= datetime.now(UTC)


@pytest.fixture
def shared(settings: Settings, redis_server: RedisServer) -> Settings:
    cache = Cache(redis_url=SecretStr(redis_server.url))
    return settings.model_copy(update={"cache": cache})


async def test_times_survive_a_restart_and_the_loss_of_the_records(
    opened: Open, shared: Settings, redis_server: RedisServer
) -> None:
    first = await opened(shared)
    before = times(await search(first, ""))
    await first.close()
    assert times(await search(await opened(shared), "")) == before

    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        records = [n async for n in client.scan_iter("*") if not n.endswith(b":lasting")]
        await client.delete(*records)
    assert times(await search(await opened(shared), "")) == before

    redis_server.clear()
    after = times(await search(await opened(shared), ""))
    assert all(after[uid] > since for uid, since in before.items())


async def test_replicas_tell_the_same_times_whoever_noticed_a_change(
    opened: Open, shared: Settings, two_archives: TwoArchives
) -> None:
    replicas = [await opened(shared) for _ in range(2)]
    found = await asyncio.gather(*(search(one, "") for one in replicas))
    assert times(found[0]) == times(found[1])
    grown = two_archives.in_south[0]
    two_archives.south.upload(another_instance(grown))
    mark = (await search(replicas[1], "_id=none"))["meta"]["lastUpdated"]
    noticed = times(await search(replicas[0], f"_id={grown.study_uid}"))
    assert noticed[grown.study_uid] > mark

    async def is_noticed() -> bool:
        return times(await search(replicas[1], f"_id={grown.study_uid}")) == noticed

    await until(is_noticed)


async def test_settings_that_change_resources_change_their_times(
    opened: Open, shared: Settings
) -> None:
    first = await opened(shared)
    before = times(await search(first, ""))
    await first.close()
    fhir = shared.fhir.model_copy(update={"accession_as_identifier": True})
    after = times(await search(await opened(shared.model_copy(update={"fhir": fhir})), ""))
    assert all(after[uid] > since for uid, since in before.items())


async def test_file_that_is_gone_from_a_folder_changes_its_study(
    opened: Open, sample_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    shutil.copytree(sample_folder, folder)
    archive = FolderArchive(type="folder", path=folder, rescan_seconds=0.05)
    client = await opened(Settings(archives={"files": archive}, cache=ALWAYS_ANEW))
    study = f"{demo.UID_ROOT}.1"
    await search(client, "")
    mark = (await search(client, ""))["meta"]["lastUpdated"]
    gone = next(
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and pydicom.dcmread(path, force=True).get("StudyInstanceUID") == study
    )
    gone.unlink()

    async def is_noticed() -> bool:
        return bool(await changed_since(client, mark))

    await until(is_noticed)
    assert await changed_since(client, mark) == {study}

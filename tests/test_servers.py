"""The servers that tests stand on behave as they say."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
import redis
import requests
from yarl import URL

from tests.fault_archive import Answer, FaultArchive, gzip_bomb, multipart_answer, redirect
from tests.samples import Sample, TwoArchives
from tests.servers import Orthanc, RedisServer, ServerError, program


def _uids(url: str, tag: str) -> set[str]:
    return {row[tag]["Value"][0] for row in requests.get(url, timeout=10).json()}


def test_two_archives_hold_what_they_say(two_archives: TwoArchives) -> None:
    north, south = two_archives.north.dicom_web, two_archives.south.dicom_web
    split = two_archives.split_study

    both = {split, two_archives.shared_study}
    assert _uids(f"{north}/studies", "0020000D") == two_archives.north_studies | both
    assert _uids(f"{south}/studies", "0020000D") == two_archives.south_studies | both
    assert _uids(f"{north}/studies/{split}/series", "0020000E") == two_archives.north_series
    assert _uids(f"{south}/studies/{split}/series", "0020000E") == two_archives.south_series


def test_stored_file_comes_back_byte_for_byte(
    empty_orthanc: Orthanc, samples: tuple[Sample, ...]
) -> None:
    orthanc_id = empty_orthanc.upload(samples[0].path)

    assert empty_orthanc.file(orthanc_id) == samples[0].path.read_bytes()
    assert empty_orthanc.uids() == {samples[0].instance_uid}


def test_stopped_archive_comes_back_with_its_data_and_address(
    empty_orthanc: Orthanc, samples: tuple[Sample, ...]
) -> None:
    empty_orthanc.upload(samples[0].path)
    url = empty_orthanc.url

    empty_orthanc.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/dicom-web/studies", timeout=10)
    empty_orthanc.start()

    assert _uids(f"{url}/dicom-web/studies", "0020000D") == {samples[0].study_uid}


def test_secured_archive_asks_for_credentials(secured_orthanc: Orthanc) -> None:
    assert secured_orthanc.uids()
    assert requests.get(f"{secured_orthanc.dicom_web}/studies", timeout=10).status_code == 401


def test_redis_is_empty_after_a_restart(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("key", "value")
    redis_server.restart()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.get("key") is None


def test_missing_program_names_the_packages() -> None:
    with pytest.raises(ServerError, match="apt-get install"):
        program("no-such-server")


async def test_unknown_path_is_404_and_requests_are_recorded(fault_archive: FaultArchive) -> None:
    url = URL(f"{fault_archive.url}/a%2Fb?c=%2A", encoded=True)
    async with aiohttp.ClientSession() as session, session.post(url, data=b"body") as answer:
        assert answer.status == 404

    (seen,) = fault_archive.requests
    assert (seen.method, seen.path, seen.route) == ("POST", "/a%2Fb?c=%2A", "/a%2Fb")
    assert seen.header("content-length") == "4"
    assert seen.body == b"body"


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_cut_body_breaks_off(fault_archive: FaultArchive, framing: str) -> None:
    cut = Answer(body=b"x" * 1000, cut_after=10, framing="length")
    if framing == "chunked":
        cut = Answer(body=b"x" * 1000, cut_after=10, framing="chunked")
    fault_archive.on("/cut", cut)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{fault_archive.url}/cut") as answer,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert fault_archive.requests[0].ending == "cut"


async def test_cut_body_that_only_the_connection_ends_looks_whole_to_http(
    fault_archive: FaultArchive,
) -> None:
    fault_archive.on("/cut", multipart_answer([b"x" * 1000], cut_after=100))
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{fault_archive.url}/cut") as answer,
    ):
        assert len(await answer.read()) == 100


async def test_stall_lasts_until_it_is_released(fault_archive: FaultArchive) -> None:
    fault_archive.on("/stall", Answer(body=b"late", stall=True))
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        url = f"{fault_archive.url}/stall"
        asked = group.create_task(session.get(url).__aenter__())
        (seen,) = await fault_archive.wait_for(1)
        assert not asked.done()
        fault_archive.release()
        answer = await asked
        assert await answer.read() == b"late"
        assert seen.ending == "complete"


async def test_caller_who_leaves_is_noticed(fault_archive: FaultArchive) -> None:
    fault_archive.on("/stall", Answer(stall=True))
    fault_archive.on("/endless", Answer(body=b"x" * 1000, framing="chunked", endless=True))
    timeout = aiohttp.ClientTimeout(total=0.2)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for path in ("/stall", "/endless"):
            with pytest.raises(TimeoutError):
                async with session.get(fault_archive.url + path) as answer:
                    await answer.read()
    for seen in fault_archive.requests:
        await asyncio.wait_for(seen.ended.wait(), 5)
        assert seen.ending == "left"


async def test_stalled_answer_ends_when_the_server_closes() -> None:
    async with aiohttp.ClientSession() as session, FaultArchive() as archive:
        archive.on("/*", Answer(body=b"x" * 100, stall_after=10))
        answer = await session.get(f"{archive.url}/any")
        assert await answer.content.readexactly(10) == b"x" * 10
        await archive.__aexit__(None, None, None)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_behaviours_follow_each_other(fault_archive: FaultArchive) -> None:
    fault_archive.on("/rows", Answer(status=503), redirect("/rows"), gzip_bomb(1))
    async with aiohttp.ClientSession() as session:
        for expected in (503, 302, 200, 200):
            url = f"{fault_archive.url}/rows"
            async with session.get(url, allow_redirects=False) as answer:
                assert answer.status == expected
                body = await answer.read()
    assert len(body) == 1 << 20
    assert fault_archive.connections == 1

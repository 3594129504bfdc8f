"""`gateway cache` against running gateways."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.doubles import Double, Held
from tests.fault_archive import FaultArchive
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.servers import NOBODY, RedisServer
from tests.test_cli import run

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1")


@pytest.fixture
async def pair(
    fault_archive: FaultArchive, redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[tuple[Double, list[Gateway]]]:
    """Two gateways over one archive and one Redis."""
    cache = {"redis_url": redis_server.url, "fresh_seconds": 3600, "seal_key": "x" * 16}
    archives = {"north": archive(fault_archive.url), "south": archive(fault_archive.url)}
    double = Double(fault_archive, [A])
    with ExitStack() as stack:
        gateways: list[Gateway] = [
            ForkedGateway(tmp_path / name, archives, cache=cache) for name in ("one", "two")
        ]
        for each in gateways:
            await asyncio.to_thread(stack.enter_context, each)
        yield double, gateways


async def series_in(gateway: Gateway) -> int:
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"{gateway.url}/fhir/r5/ImagingStudy/1.2.3")
        return len((await answer.json())["series"])


@pytest.mark.parametrize("words", [["1.2.3"], ["--archive", "north"], ["--all"]], ids=" ".join)
async def test_purge_is_seen_by_every_gateway_within_a_second(
    pair: tuple[Double, list[Gateway]], words: list[str]
) -> None:
    double, gateways = pair
    assert [await series_in(each) for each in gateways] == [1, 1]
    double.held.append(B)
    assert [await series_in(each) for each in gateways] == [1, 1]
    command = ["cache", "purge", *words, "--config", "gateway.yaml", "--json"]
    answer = await asyncio.to_thread(lambda: run(*command, folder=gateways[0].folder))
    ended_at = time.monotonic()
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["processes"] == 2
    asked_at = ended_at
    while [await series_in(each) for each in gateways] != [2, 2]:
        assert asked_at - ended_at < 1
        asked_at = time.monotonic()


async def test_stats_tell_of_every_gateway(pair: tuple[Double, list[Gateway]]) -> None:
    _, gateways = pair
    assert [await series_in(each) for each in gateways] == [1, 1]
    command = ["cache", "stats", "--config", "gateway.yaml"]
    folder = gateways[0].folder
    answer = await asyncio.to_thread(lambda: run(*command, "--json", folder=folder))
    found = json.loads(answer.stdout)
    assert found["values"] >= 2
    assert len(found["processes"]) == 2
    assert all(one["entries"] > 0 for one in found["processes"])
    text = await asyncio.to_thread(lambda: run(*command, folder=folder))
    assert "Process 2: " in text.stdout
    assert "memory miss" in text.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["purge"], 2, "name either a study"),
        (["purge", "1.2.3", "--all"], 2, "name either a study"),
        (["purge", "no-uid"], 2, "STUDY"),
        (["purge", "--archive", "nowhere"], 2, "no archive nowhere"),
        (["purge", "--all"], 1, "does not answer"),
        (["stats"], 1, "does not answer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_wrong_is_told(words: list[str], code: int, told: str, tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{NOBODY.number}/0"
    settings = {"archives": {"a": archive("http://127.0.0.1:1")}, "cache": {"redis_url": url}}
    (tmp_path / "gateway.yaml").write_text(json.dumps(settings))
    answer = run("cache", *words, folder=tmp_path)
    assert answer.returncode == code
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("words", "more", "instead"),
    [
        (["purge", "1.2.3"], {}, "curl -X POST http://127.0.0.1:8080/hooks/studies/1.2.3"),
        (["purge", "1.2.3"], {"server": {"port": 81, "workers": 2}}, "Restart it"),
        (["purge", "--all"], {}, "Restart it"),
        (["stats"], {"server": {"port": 81}}, "curl http://127.0.0.1:81/metrics"),
    ],
)
def test_cache_that_is_not_shared_cannot_be_reached(
    words: list[str], more: dict[str, Any], instead: str, tmp_path: Path
) -> None:
    settings = {"archives": {"a": archive("http://127.0.0.1:1")}, **more}
    (tmp_path / "gateway.yaml").write_text(json.dumps(settings))
    answer = run("cache", *words, folder=tmp_path)
    assert answer.returncode == 1
    told = " ".join(answer.stderr.split())
    assert "cache.redis_url is not set" in told
    assert instead in told


async def test_purge_with_another_seal_key_fails(
    pair: tuple[Double, list[Gateway]], redis_server: RedisServer, tmp_path: Path
) -> None:
    _, gateways = pair
    assert [await series_in(each) for each in gateways] == [1, 1]
    settings = {
        "archives": {"north": archive("http://127.0.0.1:1")},
        "cache": {"redis_url": redis_server.url, "seal_key": "z" * 16},
    }
    (tmp_path / "gateway.yaml").write_text(json.dumps(settings))
    answer = await asyncio.to_thread(lambda: run("cache", "purge", "1.2.3", folder=tmp_path))
    assert answer.returncode == 1
    assert "Forgotten" not in answer.stdout
    assert "2 running processes have another cache.seal_key" in " ".join(answer.stderr.split())

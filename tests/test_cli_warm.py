"""`gateway warm` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import demo
from tests.adapters.redis_clusters import cluster
from tests.adapters.refusals import refusing
from tests.gateways import archive
from tests.servers import NOBODY, RedisServer
from tests.test_cli import run

AWAY = f"http://127.0.0.1:{NOBODY.number}"


def configured(folder: Path, archives: dict[str, Any], redis_url: str | None) -> Path:
    settings = {"archives": archives, "cache": {"redis_url": redis_url}}
    (folder / "gateway.yaml").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def folder(tmp_path: Path, sample_folder: Path, redis_server: RedisServer) -> Path:
    samples = {"type": "folder", "path": str(sample_folder)}
    return configured(tmp_path, {"samples": samples}, redis_server.url)


def test_studies_are_loaded_into_the_shared_cache(folder: Path) -> None:
    answer = run("warm", "ModalitiesInStudy=CT", "--json", "--resume", "state", folder=folder)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["found"] == told["loaded"] > 0
    assert told["instances"] > 0
    assert not (folder / "state").exists()
    stats = json.loads(run("cache", "stats", "--json", folder=folder).stdout)
    assert stats["values"] >= 2 * told["loaded"]


def test_studies_are_loaded_into_a_cluster(tmp_path: Path, sample_folder: Path) -> None:
    with cluster(tmp_path / "cluster") as made:
        samples = {"type": "folder", "path": str(sample_folder)}
        folder = configured(tmp_path, {"samples": samples}, made.url)
        told = json.loads(run("warm", "", "--json", folder=folder).stdout)
        assert told["found"] == told["loaded"] > 0
        assert told["cache_troubles"] == 0
        stats = json.loads(run("cache", "stats", "--json", folder=folder).stdout)
        assert stats["values"] >= 2 * told["loaded"]
        purged = json.loads(run("cache", "purge", "--all", "--json", folder=folder).stdout)
        assert purged["all"]


def test_outcome_is_told_in_words(folder: Path) -> None:
    answer = run("warm", f"StudyInstanceUID={demo.UID_ROOT}.1", folder=folder)
    assert answer.stdout.startswith("1 studies found: 1 loaded with ")
    assert "1/1" in answer.stderr


def test_silent_archive_is_told_by_the_exit_code(
    tmp_path: Path, sample_folder: Path, redis_server: RedisServer
) -> None:
    archives = {
        "samples": {"type": "folder", "path": str(sample_folder)},
        "away": archive(AWAY),
    }
    folder = configured(tmp_path, archives, redis_server.url)
    words = ["warm", f"StudyInstanceUID={demo.UID_ROOT}.1", "--json", "--resume", "state"]
    answer = run(*words, folder=folder)
    assert answer.returncode == 1
    told = json.loads(answer.stdout)
    assert (told["partial"], told["failed"], told["silent"]) == (1, 0, ["away"])
    assert (folder / "state").exists()


@pytest.mark.parametrize("kind", ["full", "without replicas"])
def test_what_the_shared_cache_did_not_take_is_not_done(
    kind: str, folder: Path, redis_server: RedisServer
) -> None:
    words = ("warm", "", "--json", "--resume", "state")
    with refusing(redis_server, kind):
        answer = run(*words, folder=folder)
    told = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert told["loaded"] == 0
    assert told["unkept"] > 0
    assert len((folder / "state").read_text().splitlines()) == 1
    again = run(*words, folder=folder)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["loaded"] == told["found"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["Nonsense=1"], 2, "Nonsense"),
        (["nonsense"], 2, "bad query"),
        (["StudyDate=today"], 2, "StudyDate"),
        (["", "--resume", "gateway.yaml"], 2, "another search"),
        (["", "--resume", "no/such/folder"], 1, "cannot use"),
    ],
    ids=["unknown", "no pairs", "no date", "foreign file", "no folder"],
)
def test_what_is_wrong_is_told(words: list[str], code: int, told: str, folder: Path) -> None:
    answer = run("warm", *words, folder=folder)
    assert answer.returncode == code, answer.stderr
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("url", "told"),
    [(None, "redis_url is not set"), (f"redis://127.0.0.1:{NOBODY.number}/0", "does not answer")],
    ids=["none", "away"],
)
def test_nothing_is_loaded_where_nothing_is_shared(
    url: str | None, told: str, tmp_path: Path
) -> None:
    answer = run("warm", "", folder=configured(tmp_path, {"a": archive(AWAY)}, url))
    assert answer.returncode == 1
    assert told in answer.stderr

"""Mistakes between settings while others are wrong: told, unless they rest on those."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.test_config_file import SMALL, mistakes

BAD = "cache: {memory_mb: none}\n"
FOLDER = "archives: {a: {type: folder, path: nowhere, rescan_seconds: -1}}\n"
TOLD = {
    "folder of an archive with another mistake": (FOLDER, "archives.a.path"),
    "viewer": (SMALL + "iid: {default_viewer: x}\n", "iid.default_viewer"),
    "policy": (SMALL + "consumers: {a: {policy: x}}\npolicies: {p: {partial: 3}}\n",
               "consumers.a.policy"),
    "open network": (SMALL + "server: {host: 0.0.0.0, port: x}\n", "server.host"),
    "archive in a rule": (SMALL + "policies: {p: {hide: [{archive: noth}]}}\n",
                          "policies.p.hide.0.archive"),
    "no archive": ("server: {workers: 0}\n", "archives"),
    "issuer": (SMALL + "auth: {issuers: [{}, {issuer: x}]}\n", "auth.issuers.1"),
}  # fmt: skip
NOT_TOLD = {
    "host while the mode is unknown": (
        SMALL + "server: {host: 0.0.0.0}\nauth: {mode: requird, api_keys: {a: {key: b}}}\n",
        {"auth.mode", "server.public_url"},
    ),
    "policies of a section that is none": (
        SMALL + "consumers: {a: {policy: x}}\npolicies: 3\n", {"policies", "consumers"},
    ),
    "archives of a list": (
        "archives: [a]\npolicies: {p: {hide: [{archive: a}]}}\n", {"archives", "policies"},
    ),
    "rule that is empty without its mistake": (
        SMALL + "policies: {p: {hide: [{modalty: SR}]}}\n",
        {"policies.p.hide.0.modalty"},
    ),
    "archive that has no address without its mistake": (
        "archives: {a: {type: dicomweb, qido_rs: 'http://a', wado_rs: null, wado_uri: x}}\n",
        {"archives.a.wado_uri"},
    ),
    "name of an archive with a mistake": (
        "archives: {a: {type: dicomweb, qido_rs: x}}\npolicies: {p: {hide: [{archive: a}]}}\n",
        {"archives.a.qido_rs", "policies"},
    ),
    "variable that is not set": (
        "archives: {a: {type: folder, path: '${NOWHERE}'}}\n", {"archives.a.path"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "path"), TOLD.values(), ids=TOLD)
def test_a_mistake_is_told_beside_others(text: str, path: str, tmp_path: Path) -> None:
    assert path in {one.path for one in mistakes(text + BAD, tmp_path)}


@pytest.mark.parametrize(("text", "paths"), NOT_TOLD.values(), ids=NOT_TOLD)
def test_what_rests_on_a_mistake_is_not_told(text: str, paths: set[str], tmp_path: Path) -> None:
    assert {one.path for one in mistakes(text, tmp_path)} == paths


def test_each_place_is_told_once(tmp_path: Path) -> None:
    found = [one.path for one in mistakes(FOLDER + BAD, tmp_path)]
    assert sorted(found) == ["archives.a.path", "archives.a.rescan_seconds", "cache.memory_mb"]

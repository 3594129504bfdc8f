"""Keys that the environment overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import DicomwebArchive, FolderArchive
from gateway.config_servers import BasicAuth
from tests.adapters.test_config_file import SMALL, settings, the_mistake


def test_environment_overrides_any_key(tmp_path: Path) -> None:
    text = SMALL + "  far-away: {type: dicomweb, qido_rs: http://far}\n"
    environ = {
        "GATEWAY__SERVER__PORT": "9000",
        "GATEWAY__ARCHIVES__FAR_AWAY__TIMEOUT_SECONDS": "30.5",
        "GATEWAY__ARCHIVES__FAR_AWAY__AUTH": "{type: bearer, token: abc}",
        "GATEWAY__ARCHIVES__NEW_ONE__TYPE": "folder",
        "GATEWAY__ARCHIVES__NEW_ONE__PATH": ".",
        "GATEWAY__CACHE__REDIS_URL": "null",
        "GATEWAY__SERVER__CORS_ORIGINS": '["https://viewer.example.org"]',
        "GATEWAY__AUTH__ALLOW_OPEN_NETWORK": "true",
        "GATEWAY_OTHER": "ignored",
    }
    environ["GATEWAY__CACHE__REDIS_URL"] = "redis://r"
    found = settings(text, tmp_path, environ)
    far, new = found.archives["far-away"], found.archives["new-one"]
    assert isinstance(far, DicomwebArchive)
    assert isinstance(new, FolderArchive)
    assert (found.server.port, far.timeout_seconds, far.auth.type) == (9000, 30.5, "bearer")
    assert new.path == tmp_path
    assert found.server.cors_origins == ("https://viewer.example.org",)
    assert found.auth.allow_open_network


def test_override_replaces_a_value_by_nothing(tmp_path: Path) -> None:
    text = SMALL + "iid: {default_viewer: nobody}\n"
    assert settings(text, tmp_path, {"GATEWAY__IID__DEFAULT_VIEWER": "null"})


def test_secret_of_digits_given_by_the_environment_stays_text(tmp_path: Path) -> None:
    text = SMALL.replace("}", ", auth: {type: basic, username: u}}")
    environ = {"GATEWAY__ARCHIVES__NORTH__AUTH__PASSWORD": "12345"}
    archive = settings(text, tmp_path, environ).archives["north"]
    assert isinstance(archive, DicomwebArchive)
    assert isinstance(archive.auth, BasicAuth)
    assert archive.auth.password.get_secret_value() == "12345"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("GATEWAY__SERVR__PORT", "servr"),
        ("GATEWAY__SERVER__PROT", "server.prot"),
        ("GATEWAY__SERVER__HOST__X", "server.host.x"),
        ("GATEWAY__", "(file)"),
    ],
)
def test_override_of_an_unknown_key_is_a_mistake(name: str, path: str, tmp_path: Path) -> None:
    text = SMALL + "server: {host: localhost}\n"
    assert the_mistake(text, tmp_path, {name: "1"}).path.startswith(path.split(".x")[0])

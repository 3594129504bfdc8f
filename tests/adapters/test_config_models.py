"""What the models know at a path."""

from __future__ import annotations

import pytest

from gateway.adapters.config_models import is_secret, model_at
from gateway.adapters.config_yaml import Path
from gateway.config import DicomwebArchive, FolderArchive, Issuer, Server, Settings
from gateway.config_servers import BasicAuth

DATA = {
    "archives": {
        "a": {"type": "dicomweb", "auth": {"type": "basic"}},
        "b": {"type": "folder"},
        "c": {},
    },
    "auth": {"issuers": [{}]},
}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ((), Settings),
        (("server",), Server),
        (("archives", "a"), DicomwebArchive),
        (("archives", "b"), FolderArchive),
        (("archives", "c"), None),
        (("archives", "a", "auth"), BasicAuth),
        (("auth", "issuers", 0), Issuer),
        (("nothing", "here"), None),
    ],
)
def test_section_at_a_path_is_the_one_that_its_type_chooses(path: Path, model: object) -> None:
    assert model_at(path, DATA) is model


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("archives", "a", "auth", "password"), True),
        (("archives", "c", "auth", "password"), True),
        (("cache", "redis_url"), True),
        (("auth", "api_keys", "x", "key"), True),
        (("auth", "issuers", 0, "client_secret"), True),
        (("auth", "issuers", 0, "client_id"), False),
        (("server", "host"), False),
    ],
)
def test_secrets_are_known_by_their_type(path: Path, expected: bool) -> None:  # noqa: FBT001
    assert is_secret(path, DATA) is expected

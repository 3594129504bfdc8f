"""Mistakes and warnings between archives and FHIR servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.adapters.test_config_file import the_mistake, warnings

SOUTH = "archives:\n  south: {type: dicomweb, qido_rs: null, wado_uri: 'http://south/wado'}\n"
EHR = "fhir: {servers: {ehr: {url: 'http://ehr/fhir', archive: south}}}\n"


def test_archive_without_search_needs_a_server_that_lists_it(tmp_path: Path) -> None:
    mistake = the_mistake(SOUTH, tmp_path)
    assert mistake.path == "archives.south.qido_rs"
    assert "fhir.servers" in mistake.remedy
    assert warnings(SOUTH + EHR, tmp_path) == []
    patients = EHR.replace("archive: south", "use: [patients]")
    assert the_mistake(SOUTH + patients, tmp_path).path == "archives.south.qido_rs"


def test_server_lists_an_archive_that_does_not_tell_by_itself(tmp_path: Path) -> None:
    unknown = the_mistake(SOUTH + EHR.replace("archive: south", "archive: soth"), tmp_path)
    assert (unknown.path, "south" in unknown.message) == ("fhir.servers.ehr.archive", True)
    north = "  north: {type: dicomweb, qido_rs: 'http://north/rs'}\n"
    told = the_mistake(SOUTH + north + EHR.replace("archive: south", "archive: north"), tmp_path)
    assert "tells by itself" in told.message


def callers(*issuers: dict[str, Any], **consumer: str) -> str:
    """A configuration with these issuers and one consumer."""
    north = {"type": "dicomweb", "qido_rs": "https://north.example.org/rs"}
    return json.dumps(
        {
            "archives": {"north": north},
            "auth": {"mode": "required", "issuers": issuers},
            "policies": {"hie": {}},
            "consumers": {"app": {"policy": "hie", **consumer}},
        }
    )


def asked(name: str) -> dict[str, str]:
    url = "https://login.example.org/introspect"
    return {"issuer": name, "introspection_url": url, "client_id": "c", "client_secret": "s"}


A = {"issuer": "https://a.example.org", "jwks_url": "https://a.example.org/keys"}
B = {"issuer": "https://b.example.org", "jwks_url": "https://b.example.org/keys"}


def test_a_client_of_one_of_several_issuers_names_it(tmp_path: Path) -> None:
    assert warnings(callers(A), tmp_path) == []
    (warning,) = warnings(callers(A, B), tmp_path)
    assert (warning.path, warning.is_warning) == ("consumers.app", True)
    assert warnings(callers(A, B, issuer=A["issuer"]), tmp_path) == []
    mistake = the_mistake(callers(A, issuer="https://a.example.com"), tmp_path)
    assert mistake.path == "consumers.app.issuer"
    assert A["issuer"] in mistake.remedy


def test_who_is_shown_anothers_opaque_tokens_is_told(tmp_path: Path) -> None:
    assert warnings(callers(asked("a"), B, issuer="a"), tmp_path) == []
    (warning,) = warnings(callers(asked("a"), B, asked("c"), issuer="a"), tmp_path)
    assert warning.path == "auth.issuers.2.introspection_url"
    assert "shown to a first" in warning.message


def test_archive_that_gives_nothing_is_a_mistake(tmp_path: Path) -> None:
    text = "archives:\n  a: {type: dicomweb, qido_rs: 'http://a/rs', wado_rs: null}\n"
    assert the_mistake(text, tmp_path).path == "archives.a.wado_rs"
    gives = text.replace("null", "null, wado_uri: 'http://a/wado'")
    assert warnings(gives, tmp_path) == []

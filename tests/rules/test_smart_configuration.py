from __future__ import annotations

from typing import Any

from gateway.config import Settings
from gateway.rules.smart_configuration import smart_configuration

ISSUER = {
    "issuer": "https://ehr.example.org",
    "jwks_url": "https://ehr.example.org/keys",
    "authorization_url": "https://ehr.example.org/authorize",
    "token_url": "https://ehr.example.org/token",
}


def told(issuer: dict[str, Any], mode: str = "required") -> dict[str, Any] | None:
    return smart_configuration(
        Settings.model_validate({"auth": {"mode": mode, "issuers": [issuer]}})
    )


def test_apps_are_told_where_tokens_are_had_and_that_there_is_imaging() -> None:
    document = told(ISSUER)
    assert document is not None
    assert document["token_endpoint"] == "https://ehr.example.org/token"
    assert document["authorization_endpoint"] == "https://ehr.example.org/authorize"
    assert "smart-imaging-access" in document["capabilities"]
    assert {"patient/ImagingStudy.rs", "system/Endpoint.read"} <= set(document["scopes_supported"])


def test_machines_alone_need_no_place_to_ask_users() -> None:
    document = told({k: v for k, v in ISSUER.items() if k != "authorization_url"})
    assert document is not None
    assert document["grant_types_supported"] == ["client_credentials"]
    assert "authorization_endpoint" not in document
    assert "launch-standalone" not in document["capabilities"]


def test_where_nothing_is_known_nothing_is_told() -> None:
    assert told(ISSUER, mode="open") is None
    assert told({"issuer": "x", "jwks_url": "https://x"}) is None

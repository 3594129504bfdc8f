"""What `check-config` tells of who knows patients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.test_config_file import mistakes, warnings

SYSTEM = "urn:oid:2.999.1"
EHR = {"url": "https://ehr.example.org/fhir", "use": ["patients"]}


def issuer(name: str, **more: Any) -> dict[str, Any]:
    return {"issuer": name, "jwks_url": "https://login.example.org/keys", **more}


def text(
    servers: dict[str, Any],
    *issuers: dict[str, Any],
    by: str = "server",
    system: str | None = SYSTEM,
) -> str:
    north = {"type": "dicomweb", "qido_rs": "https://n.example.org/rs", "patient_system": system}
    return json.dumps(
        {
            "archives": {"north": north},
            "fhir": {"patients": {"by": by}, "servers": servers},
            "auth": {"mode": "required", "issuers": issuers or [issuer("a")]},
        }
    )


OTHER = {"ehr": EHR, "other": EHR | {"url": "https://other.example.org/fhir"}}
GOOD = {
    "one of each": text({"ehr": EHR}),
    "named": text({"ehr": EHR}, issuer("a", fhir_server="ehr")),
    "two": text(OTHER, issuer("a", fhir_server="ehr"), issuer("b", fhir_server="other")),
    "systems": text({"ehr": EHR | {"identifier_systems": {"https://mrn": SYSTEM}}}),
    "on this machine": text({"ehr": EHR | {"url": "http://127.0.0.1:8090/fhir"}}),
}
BAD = {
    "no server": (text({}), "fhir.patients.by"),
    "server of another use": (
        text({"ehr": {"url": EHR["url"]}}, by="server"), "fhir.patients.by",
    ),
    "no system": (text({"ehr": EHR}, system=None), "fhir.patients.by"),
    "not https": (text({"ehr": EHR | {"url": "http://ehr.example.org"}}), "fhir.servers.ehr.url"),
    "two issuers": (
        text({"ehr": EHR}, issuer("a", fhir_server="ehr"), issuer("b")),
        "auth.issuers.1.fhir_server",
    ),
    "two servers": (text(OTHER), "auth.issuers.0.fhir_server"),
    "unknown": (text({"ehr": EHR}, issuer("a", fhir_server="eh")), "auth.issuers.0.fhir_server"),
    "no such system": (
        text({"ehr": EHR | {"identifier_systems": {"https://mrn": "urn:oid:2.999.2"}}}),
        "fhir.servers.ehr.identifier_systems.https://mrn",
    ),
}  # fmt: skip


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_what_is_clear_is_accepted(good: str, tmp_path: Path) -> None:
    assert warnings(good, tmp_path) == []


@pytest.mark.parametrize(("bad", "path"), BAD.values(), ids=BAD)
def test_what_is_not_clear_is_a_mistake(bad: str, path: str, tmp_path: Path) -> None:
    found = [one for one in mistakes(bad, tmp_path) if not one.is_warning]
    assert [one.path for one in found] == [path]
    assert found[0].remedy


def test_what_has_no_effect_is_a_warning(tmp_path: Path) -> None:
    idle = text({"ehr": EHR}, issuer("a", fhir_server="ehr"), by="identity")
    assert [one.path for one in warnings(idle, tmp_path)] == [
        "fhir.servers.ehr.use",
        "auth.issuers.0.fhir_server",
    ]

"""Mistakes and warnings between settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.test_config_file import SMALL, settings, the_mistake, warnings


def test_doubtful_settings_are_warnings(tmp_path: Path) -> None:
    text = (
        SMALL
        + "  again: {type: dicomweb, qido_rs: http://127.0.0.1:8042/dicom-web/}\n"
        + "server: {host: 0.0.0.0}\n"
        + "auth: {allow_open_network: true, link_secret: abc, api_keys: {k: {key: v}}}\n"
    )
    assert [warning.path for warning in warnings(text, tmp_path)] == [
        "archives.again.qido_rs",
        "server.public_url",
        "auth.api_keys",
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "gateway.example.org"])  # noqa: S104
def test_open_gateway_stays_on_loopback_unless_told_otherwise(host: str, tmp_path: Path) -> None:
    text = SMALL + f"server: {{host: '{host}', public_url: https://gateway.example.org}}\n"
    mistake = the_mistake(text, tmp_path)
    assert mistake.path == "server.host"
    assert "allow_open_network" in mistake.remedy
    assert warnings(text + "auth: {allow_open_network: true}\n", tmp_path) == []


def test_public_url_follows_the_port_when_it_is_not_written(tmp_path: Path) -> None:
    found = settings(SMALL + "server: {port: 9000}\n", tmp_path)
    assert found.server.public_url == "http://127.0.0.1:9000"
    assert settings(SMALL, tmp_path).server.public_url == "http://127.0.0.1:8080"


LISTED = "{p1: {system: 'urn:oid:1.2', value: '4711'}, '4711': {value: '4711'}}"


def test_patients_are_listed_by_id_with_system_and_value(tmp_path: Path) -> None:
    patients = settings(
        SMALL + f"fhir: {{patients: {{by: listed, listed: {LISTED}}}}}\n", tmp_path
    ).fhir.patients
    assert patients.by == "listed"
    assert list(patients.listed) == ["p1", "4711"]


@pytest.mark.parametrize(
    ("listed", "path"),
    [
        ("{a: {value: '1'}, b: {value: '1'}}", "fhir.patients.listed.b"),
        ("{a_b: {value: '1'}}", "fhir.patients.listed.a_b"),
        ("{..: {value: '1'}}", "fhir.patients.listed..."),
        ("{a: {value: ''}}", "fhir.patients.listed.a.value"),
        ("{a: {value: 'A\\B'}}", "fhir.patients.listed.a.value"),
        ("{a: {system: 'no uri', value: '1'}}", "fhir.patients.listed.a.system"),
    ],
)
def test_patients_that_could_not_be_told_apart_or_found_are_mistakes(
    listed: str, path: str, tmp_path: Path
) -> None:
    text = SMALL + f"fhir: {{patients: {{by: listed, listed: {listed}}}}}\n"
    assert the_mistake(text, tmp_path).path.startswith(path)


def test_list_of_patients_that_is_not_used_is_a_warning(tmp_path: Path) -> None:
    (warning,) = warnings(SMALL + f"fhir: {{patients: {{listed: {LISTED}}}}}\n", tmp_path)
    assert warning.path == "fhir.patients.listed"

"""Mistakes and warnings between archives and FHIR servers."""

from __future__ import annotations

from pathlib import Path

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


def test_archive_that_gives_nothing_is_a_mistake(tmp_path: Path) -> None:
    text = "archives:\n  a: {type: dicomweb, qido_rs: 'http://a/rs', wado_rs: null}\n"
    assert the_mistake(text, tmp_path).path == "archives.a.wado_rs"
    gives = text.replace("null", "null, wado_uri: 'http://a/wado'")
    assert warnings(gives, tmp_path) == []

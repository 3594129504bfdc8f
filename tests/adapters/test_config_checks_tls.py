"""What `check-config` tells of certificates."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.test_config_file import the_mistake, warnings
from tests.certificates import DAY, Authority

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def text(section: dict[str, Any], **more: Any) -> str:
    north = {"type": "dicomweb", "qido_rs": "https://north.example.org/rs", "tls": section}
    return json.dumps({"archives": {"north": {**north, **more}}})


def test_good_certificates_are_accepted_wherever_servers_are_asked(
    authority: Authority, tmp_path: Path
) -> None:
    good = authority.issue("gateway").section()
    oauth = {"type": "oauth2", "client_id": "g", "client_secret": "s", "tls": good}
    oauth["token_url"] = "https://login.example.org/token"
    sections = json.loads(text(good, auth=oauth))
    sections["archives"]["north"]["qido_rs"] = None
    sections["archives"]["north"]["wado_uri"] = "https://north.example.org/wado"
    sections["fhir"] = {"servers": {"ehr": {"url": "https://ehr.example.org", "tls": good}}}
    issuer = {"issuer": "i", "jwks_url": "https://login.example.org/keys", "tls": good}
    sections["auth"] = {"mode": "required", "issuers": [issuer]}
    sections["audit"] = {"spool": ".", "fhir_url": "https://audit.example.org", "tls": good}
    assert warnings(json.dumps(sections), tmp_path) == []


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
def test_a_file_that_is_not_there_is_told_by_name(
    authority: Authority, tmp_path: Path, name: str
) -> None:
    section = authority.issue("gateway").section() | {name: "nowhere.pem"}
    mistake = the_mistake(text(section), tmp_path)
    assert mistake.path == f"archives.north.tls.{name}"
    assert "nowhere.pem" in mistake.message


def test_files_that_do_not_belong_together_are_told(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    mistake = the_mistake(text(one.section(key_file=str(other.key_file))), tmp_path)
    assert mistake.path == "archives.north.tls.key_file"
    assert "not that of the certificate" in mistake.message


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_key_that_cannot_be_opened_is_told_without_its_password(
    authority: Authority, tmp_path: Path, password: str | None
) -> None:
    sealed = authority.issue("sealed", password="s3cret")
    more = {} if password is None else {"key_password": password}
    mistake = the_mistake(text(sealed.section(**more)), tmp_path)
    assert "encrypted" in mistake.message
    assert "key_password" in mistake.remedy
    assert "wrong" not in str(mistake)
    assert warnings(text(sealed.section(key_password="s3cret")), tmp_path) == []


def test_files_that_hold_something_else_are_told(authority: Authority, tmp_path: Path) -> None:
    one, junk = authority.issue("one"), tmp_path / "junk.pem"
    junk.write_text("nothing")
    for name, words in (
        ("ca_file", "no certificate"),
        ("cert_file", "no certificate"),
        ("key_file", "no private key"),
    ):
        mistake = the_mistake(text(one.section(**{name: str(junk)})), tmp_path)
        assert (mistake.path, words in mistake.message) == (f"archives.north.tls.{name}", True)
    bare = {"cert_file": str(one.cert_file)}
    assert "no private key" in the_mistake(text(bare), tmp_path).message
    bare = {"key_file": str(one.key_file)}
    assert the_mistake(text(bare), tmp_path).remedy == "Name cert_file as well."


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        (-90 * DAY, -HOUR, "has expired on"),
        (HOUR, 90 * DAY, "not valid before"),
        (-80 * DAY, 9 * DAY, "expires on"),
        (-11 * HOUR, HOUR, "expires on"),
    ],
)
def test_a_certificate_that_is_not_good_for_long_is_a_warning(
    authority: Authority, tmp_path: Path, since: dt.timedelta, until: dt.timedelta, words: str
) -> None:
    issued = authority.issue("gateway", since=since, until=until)
    (warning,) = warnings(text(issued.section()), tmp_path)
    assert (warning.path, words in warning.message) == ("archives.north.tls.cert_file", True)


def test_a_short_life_with_most_of_it_to_come_is_good(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("gateway", since=-HOUR, until=DAY)
    assert warnings(text(issued.section()), tmp_path) == []


def test_a_section_without_effect_is_a_warning(authority: Authority, tmp_path: Path) -> None:
    good = authority.issue("gateway").section()
    (plain,) = warnings(text(good, wado_uri="http://north.example.org/wado"), tmp_path)
    assert (plain.path, "wado_uri" in plain.message) == ("archives.north.tls", True)
    (empty,) = warnings(text({}), tmp_path)
    assert (empty.path, "empty" in empty.message) == ("archives.north.tls", True)

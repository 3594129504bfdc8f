"""The configuration as its writer meets it: what is accepted, and how mistakes are told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.adapters.config_file import load, read
from gateway.config import DicomwebArchive, FolderArchive, Settings
from gateway.config_servers import BasicAuth
from gateway.errors import ConfigurationError, Mistake

SMALL = "archives:\n  north: {type: dicomweb, qido_rs: http://127.0.0.1:8042/dicom-web}\n"
DESIGN_EXAMPLE = """\
server:
  host: 127.0.0.1
  port: 8080
  public_url: http://127.0.0.1:8080
  workers: 1
  cors_origins: []
archives:
  north:
    type: dicomweb
    qido_rs: http://127.0.0.1:18042/dicom-web
    wado_rs: http://127.0.0.1:18042/dicom-web     # default: same as qido_rs
    wado_uri: http://127.0.0.1:18042/wado         # optional
    auth: {type: basic, username: lab, password: "${NORTH_PASSWORD}"}
    timezone: Europe/Paris
    patient_system: urn:oid:1.2.3
    accession_system: urn:oid:1.2.4
    issuer_systems: {HOSP-A: "urn:oid:1.2.5"}
    max_concurrency: 8
    connect_timeout_seconds: 2
    timeout_seconds: 15
    publish:
      dicom-wado-rs: https://pacs-north.hospital.org/wado-rs
  samples:
    type: folder
    path: ./dicom
endpoints:
  expose: gateway
fhir:
  default_version: r4
  servers:
    ehr: {url: https://ehr.example.org/fhir, auth: {type: none}, use: [imaging-studies, patients]}
viewers:
  ohif: {type: template, title: OHIF, url: "https://v.example.org/viewer?StudyInstanceUIDs={study_uids}"}
  pacs: {type: iid, title: PACS viewer, url: https://pacs.hospital.org/IHEInvokeImageDisplay}
iid: {default_viewer: ohif}
cache:
  redis_url: null
  memory_mb: 256
  fresh_seconds: 60
  stale_seconds: 86400
  absent_seconds: 15
auth:
  mode: open
  issuers: []
  api_keys: {}
  link_secret: null
policies:
  hie:
    partial: filter
    hide: [{modality: [SR]}, {sop_class: ["1.2.840.10008.5.1.4.1.1.88.*"]}]
consumers:
  metro-hie: {policy: hie}
"""


def settings(text: str, folder: Path, environ: Mapping[str, str] | None = None) -> Settings:
    return read(text.encode(), folder, environ or {})[0]


def warnings(text: str, folder: Path) -> list[Mistake]:
    return list(read(text.encode(), folder, {})[1])


def mistakes(
    text: str | bytes, folder: Path, environ: Mapping[str, str] | None = None
) -> list[Mistake]:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigurationError) as caught:
        read(raw, folder, environ or {})
    return list(caught.value.mistakes)


def the_mistake(
    text: str | bytes, folder: Path, environ: Mapping[str, str] | None = None
) -> Mistake:
    found = [mistake for mistake in mistakes(text, folder, environ) if not mistake.is_warning]
    assert len(found) == 1, found
    return found[0]


def test_example_of_the_design_is_accepted_with_warnings(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    path = tmp_path / "gateway.yaml"
    path.write_text(DESIGN_EXAMPLE)
    found, warned = load(path, {"NORTH_PASSWORD": "s3cret"})
    north, samples = found.archives["north"], found.archives["samples"]
    assert isinstance(north, DicomwebArchive)
    assert isinstance(north.auth, BasicAuth)
    assert north.auth.password.get_secret_value() == "s3cret"
    assert isinstance(samples, FolderArchive)
    assert samples.path == tmp_path / "dicom"
    assert list(found.archives) == ["north", "samples"]
    assert {warning.path for warning in warned} == {
        "policies",
        "consumers",
        "fhir.servers",
        "fhir.servers.ehr.use",
    }
    assert all(warning.is_warning and warning.line for warning in warned)


def test_smallest_configuration_is_accepted_without_warnings(tmp_path: Path) -> None:
    assert warnings(SMALL, tmp_path) == []


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "servr: {}\n"
        "archives:\n"
        "  north:\n"
        "    type: dicomweb\n"
        "    qido_rs: htp://pacs/dicom-web\n"
        "    tiemout_seconds: 3\n"
        "  south: {type: folder, path: nowhere}\n"
        "cache: {memory_mb: none}\n"
    )
    found = mistakes(text, tmp_path)
    assert [(m.path, m.line, m.column) for m in found] == [
        ("servr", 1, 1),
        ("archives.north.qido_rs", 5, 14),
        ("archives.north.tiemout_seconds", 6, 5),
        ("archives.south.path", 7, 31),
        ("cache.memory_mb", 8, 20),
    ]
    assert found[0].message == "unknown key; did you mean `server`?"
    assert found[1].message == '"htp://pacs/dicom-web": scheme must be http or https'
    assert "timeout_seconds" in found[2].message
    assert all(mistake.remedy for mistake in found)


SINGLE_MISTAKES = {
    "unknown type": ("archives: {a: {type: dicomwb}}", "archives.a", "did you mean `dicomweb`"),
    "no type": ("archives: {a: {path: .}}", "archives.a", "`type` is missing"),
    "missing key": ("archives: {a: {type: dicomweb}}", "archives.a.qido_rs", "missing"),
    "bad id": ("archives: {A_b: {type: folder, path: .}}", "archives.A_b", "a-z, 0-9 and -"),
    "reserved id": ("archives: {gateway: {type: folder, path: .}}", "archives.gateway", "own"),
    "empty section": (SMALL + "cache:\n", "cache", "dictionary"),
    "no archive": ("server: {port: 80}", "archives", "there is no archive"),
    "default viewer": (
        SMALL
        + "iid: {default_viewer: ohfi}\nviewers: {ohif: {type: iid, title: O, url: http://o}}",
        "iid.default_viewer",
        "did you mean `ohif`",
    ),
    "open network": (SMALL + "server: {host: 0.0.0.0}", "server.host", "not loopback"),
    "access control": (SMALL + "auth: {mode: required}", "auth.mode", "nobody can be known"),
    "issuer without keys": (
        SMALL + "auth: {issuers: [{issuer: x}]}",
        "auth.issuers.0",
        "which tokens are its own",
    ),
    "keys that can be forged": (
        SMALL + "auth: {issuers: [{issuer: x, jwks_url: 'http://idp.example.org/k'}]}",
        "auth.issuers.0.jwks_url",
        "https",
    ),
    "unknown policy": (SMALL + "consumers: {a: {policy: hei}}", "consumers.a.policy", "policies"),
    "hide rule": (
        SMALL + "policies: {p: {hide: [{modalty: [SR]}]}}",
        "policies.p.hide.0.modalty",
        "did you mean `modality`",
    ),
    "empty hide rule": (SMALL + "policies: {p: {hide: [{}]}}", "policies.p.hide.0", "everything"),
    "folder missing": ("archives: {a: {type: folder, path: no}}", "archives.a.path", "missing"),
    "redis scheme": (SMALL + "cache: {redis_url: http://x}", "cache.redis_url", "redis+sentinel"),
    "sentinel": (SMALL + "cache: {redis_url: redis+sentinel://x}", "cache.redis_url", "service"),
    "two of a key": (SMALL + "server: {port: 1, port: 2}", "server.port", "written twice"),
    "syntax": ("archives: [", "(file)", "expected"),
    "empty": ("", "(file)", "empty"),
    "only comments": ("# nothing\n", "(file)", "empty"),
    "list": ("- archives", "(file)", "no mapping"),
    "text": ("archives", "(file)", "no mapping"),
    "tag": (SMALL + "server: {host: !!python/name:os.system x}", "server.host", "tag"),
    "merge key": (SMALL + "server: {<<: {port: 1}}", "server", "no word"),
    "unknown alias": ("archives: *nope", "(file)", "undefined alias"),
}


@pytest.mark.parametrize(("text", "path", "words"), SINGLE_MISTAKES.values(), ids=SINGLE_MISTAKES)
def test_mistake_is_told_with_its_place(text: str, path: str, words: str, tmp_path: Path) -> None:
    mistake = the_mistake(text, tmp_path)
    assert (mistake.path, words in mistake.message) == (path, True), mistake
    assert mistake.remedy
    assert path in {"(file)", "archives"} or mistake.line is not None


BROKEN = {
    "binary": bytes(range(256)),
    "zeros": bytes(1000),
    "not UTF-8": "archives: {é: 1}".encode("latin-1"),
    "five megabytes": b"# " + b"x" * 5_000_000,
    "deep": b"[" * 5000,
    "deep map": b"".join(b" " * n + b"a:\n" for n in range(200)),
    "alias bomb": b"a: &a [1,1,1,1,1,1,1,1,1]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
    ),
    "alias of itself": b"a: &a [*a]\n",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_what_is_no_configuration_is_told_shortly(raw: bytes, tmp_path: Path) -> None:
    found = mistakes(raw, tmp_path)
    assert 1 <= len(found) <= 20
    assert all(len(mistake.message) < 300 for mistake in found)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "gateway.yaml", {})


def test_variable_that_is_not_set_is_told_by_name_and_place(tmp_path: Path) -> None:
    text = "archives:\n  a:\n    type: dicomweb\n    qido_rs: ${PACS}\n"
    mistake = the_mistake(text, tmp_path)
    assert (mistake.path, mistake.line, mistake.column) == ("archives.a.qido_rs", 4, 14)
    assert "PACS is not set" in mistake.message


def test_variables_are_replaced_inside_texts(tmp_path: Path) -> None:
    text = (
        "server: {port: '${PORT}'}\n"
        "archives: {a: {type: dicomweb, qido_rs: 'http://${HOST}:${PORT}/rs'}}\n"
        "viewers: {v: {type: template, title: '$${HOST}', url: 'http://v/{study_uid}'}}\n"
    )
    found = settings(text, tmp_path, {"HOST": "pacs", "PORT": "81"})
    archive = found.archives["a"]
    assert isinstance(archive, DicomwebArchive)
    assert (found.server.port, archive.qido_rs) == (81, "http://pacs:81/rs")
    assert found.viewers["v"].title == "${HOST}"


SECRET = "auth: {type: basic, username: u, password: {file: secrets/pw}}"


def test_secret_is_read_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pw").write_bytes(b"pa:ss\r\n")
    archive = settings(SMALL.replace("}", f", {SECRET}}}"), tmp_path).archives["north"]
    assert isinstance(archive, DicomwebArchive)
    assert isinstance(archive.auth, BasicAuth)
    assert archive.auth.password.get_secret_value() == "pa:ss"


def test_secret_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    mistake = the_mistake(SMALL.replace("}", f", {SECRET}}}"), tmp_path)
    assert mistake.path == "archives.north.auth.password"
    assert "secrets/pw: No such file" in mistake.message


def test_file_is_an_ordinary_word_where_no_secret_is_expected(tmp_path: Path) -> None:
    text = SMALL.replace("}", ", issuer_systems: {file: 'urn:oid:1.2'}}")
    assert settings(text, tmp_path).archives["north"].issuer_systems == {"file": "urn:oid:1.2"}


def test_two_hundred_archives_are_read_within_a_second(tmp_path: Path) -> None:
    lines = [f"  a{n}: {{type: dicomweb, qido_rs: 'http://h{n}/rs'}}\n" for n in range(200)]
    assert len(settings("archives:\n" + "".join(lines), tmp_path).archives) == 200


CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = sorted(path.name for path in CONFIG.glob("*.yaml"))
NAMED = re.compile(r"\b([A-Z]+(?:_[A-Z]+)+)=")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configuration_is_accepted_where_it_is(name: str) -> None:
    """With nothing but the variables that its first lines name."""
    text = (CONFIG / name).read_text()
    head = text[: text.index("\n\n") if "\n\n" in text else None]
    found, _ = load(CONFIG / name, dict.fromkeys(NAMED.findall(head), "s3cret"))
    assert found.archives

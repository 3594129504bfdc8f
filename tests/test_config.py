from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config import DicomwebArchive, Server, Settings, TemplateViewer
from gateway.config_types import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "gateway.local", ""])  # noqa: S104 - the case
def test_everything_else_is_the_open_network(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "url",
    [
        "https://viewer.example.org/viewer?StudyInstanceUIDs={study_uids}",
        "weasis://%24dicom%3Ars%20-r%20%22studyUID%3D{study_uid}%22",
    ],
    ids=["ohif", "weasis"],
)
def test_viewer_templates_of_real_viewers_are_accepted(url: str) -> None:
    assert TemplateViewer(type="template", title="Viewer", url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert({study_uid})",
        "//viewer/{study_uid}",
        "https://{study_uid}/",
        "{x}://a",
        "https://viewer.example.org/?study={studyuid}",
    ],
    ids=["script", "no scheme", "host filled in", "scheme filled in", "unknown variable"],
)
def test_viewer_template_that_a_request_could_bend_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        TemplateViewer(type="template", title="Viewer", url=url)


@pytest.mark.parametrize("key", ["North", "a_b", "gateway", "", "a" * 41, "a/b"])
def test_archive_id_must_fit_into_endpoint_ids(key: str) -> None:
    section = {"type": "dicomweb", "qido_rs": "http://pacs/dicom-web"}
    with pytest.raises(ValidationError):
        Settings.model_validate({"archives": {key: section}})


def test_trailing_slashes_of_addresses_do_not_matter() -> None:
    archive = DicomwebArchive(type="dicomweb", qido_rs="http://pacs/dicom-web//")
    assert archive.qido_rs == "http://pacs/dicom-web"
    assert Server(public_url="https://gw.example.org/").public_url == "https://gw.example.org"


@pytest.mark.parametrize(
    ("section", "wado_rs"),
    [
        ({"qido_rs": "http://pacs/q"}, "http://pacs/q"),
        ({"qido_rs": "http://pacs/q", "wado_rs": "http://pacs/w/"}, "http://pacs/w"),
        ({"qido_rs": "http://pacs/q", "wado_rs": None}, None),
        ({"qido_rs": None}, None),
        ({"qido_rs": None, "wado_rs": "http://pacs/w"}, "http://pacs/w"),
    ],
    ids=["left out", "given", "none", "nothing", "no search"],
)
def test_no_wado_rs_is_written_out_and_survives_a_worker_process(
    section: dict[str, Any], wado_rs: str | None
) -> None:
    archive = DicomwebArchive.model_validate({"type": "dicomweb"} | section)
    assert archive.wado_rs_base == wado_rs
    assert pickle.loads(pickle.dumps(archive)).wado_rs_base == wado_rs  # noqa: S301 - our own


def test_secrets_are_not_shown() -> None:
    section = {
        "type": "dicomweb",
        "qido_rs": "http://pacs/dicom-web",
        "auth": {"type": "basic", "username": "lab", "password": "s3cret"},
    }
    settings = Settings.model_validate({"archives": {"north": section}})
    assert "s3cret" not in repr(settings)

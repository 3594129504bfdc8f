"""A real archive that demands certificates, asked by the whole gateway in every way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.adapters import tls
from tests import samples as sample_files
from tests.certificates import DAY, Authority, Issued
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.samples import Sample
from tests.servers import Orthanc, RedisServer
from tests.tls_proxy import TlsProxy


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secured(
    empty_orthanc: Orthanc, authority: Authority, samples: tuple[Sample, ...]
) -> Iterator[TlsProxy]:
    """The door of an archive with one study, at which it demands certificates."""
    study = [one for one in samples if one.study_uid == samples[0].study_uid]
    sample_files.hold(empty_orthanc, study)
    with TlsProxy(authority.issue("orthanc").served(), empty_orthanc.port) as made:
        yield made


@pytest.fixture
def own(authority: Authority) -> Issued:
    """The gateway's own certificate."""
    return authority.issue("gateway")


def configured(secured: TlsProxy, section: dict[str, Any], **more: Any) -> dict[str, Any]:
    url = f"https://127.0.0.1:{secured.port}"
    own = archive(
        f"{url}/dicom-web", wado_uri=f"{url}/wado", tls=section, connect_timeout_seconds=5
    )
    return {"north": own | more}


def get(gateway: Gateway, path: str) -> requests.Response:
    return requests.get(f"{gateway.url}{path}", timeout=60)


def test_every_surface_reaches_the_archive(
    secured: TlsProxy, own: Issued, samples: tuple[Sample, ...], tmp_path: Path
) -> None:
    one = samples[0]
    study = f"/dicom-web/studies/{one.study_uid}"
    instance = f"{study}/series/{one.series_uid}/instances/{one.instance_uid}"
    with ForkedGateway(tmp_path, configured(secured, own.section())) as gateway:
        [row] = get(gateway, "/dicom-web/studies").json()
        assert row["0020000D"]["Value"] == [one.study_uid]
        uri = f"/wado?requestType=WADO&contentType=application/dicom&studyUID={one.study_uid}"
        uri += f"&seriesUID={one.series_uid}&objectUID={one.instance_uid}"
        picture = f"{study}/thumbnail"
        for path in (study, f"{study}/metadata", instance, uri, picture, "/health/ready"):
            assert get(gateway, path).status_code == 200, path
        assert get(gateway, f"/fhir/r4/ImagingStudy/{one.study_uid}").status_code == 200
        [told] = get(gateway, "/archives").json()["archives"]
        assert told["problem"] is None
    with ForkedGateway(
        tmp_path / "uri", configured(secured, own.section(), wado_rs=None)
    ) as gateway:
        assert get(gateway, instance).status_code == 200


def test_warming_reaches_the_archive(
    secured: TlsProxy, own: Issued, redis_server: RedisServer, tmp_path: Path
) -> None:
    cache = {"redis_url": redis_server.url}
    gateway = ForkedGateway(tmp_path, configured(secured, own.section()), cache=cache)
    gateway.command()  # which writes the configuration
    path = str(tmp_path / "gateway.yaml")
    done = subprocess.run(  # noqa: S603 - a command of ours
        [sys.executable, "-m", "gateway", "warm", "StudyDate=19000101-", "--config", path],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 studies found: 1 loaded" in done.stdout


def missing(authority: Authority, folder: Path) -> dict[str, Any]:
    return {"ca_file": str(authority.ca_file)}


def of_another(authority: Authority, folder: Path) -> dict[str, Any]:
    return Authority(folder, "Other").issue("x").section(ca_file=str(authority.ca_file))


def expired(authority: Authority, folder: Path) -> dict[str, Any]:
    return authority.issue("expired", since=-9 * DAY, until=-DAY).section()


def distrusting(authority: Authority, folder: Path) -> dict[str, Any]:
    other = Authority(folder, "Other")
    return authority.issue("gateway").section(ca_file=str(other.ca_file))


@pytest.mark.parametrize("wrong", [missing, of_another, expired, distrusting])
def test_an_archive_that_refuses_is_silent_and_says_why(
    secured: TlsProxy, authority: Authority, tmp_path: Path, sample_folder: Path, wrong: Any
) -> None:
    archives = configured(secured, wrong(authority, tmp_path / "authority"))
    archives["samples"] = {"type": "folder", "path": str(sample_folder)}
    with ForkedGateway(tmp_path / "gateway", archives) as gateway:
        answer = get(gateway, "/dicom-web/studies")
        assert answer.status_code in {200, 206}
        assert answer.json()
        assert "north" in answer.headers["Warning"]
        told = {one["id"]: one for one in get(gateway, "/archives").json()["archives"]}
        assert told["north"]["problem"]
        assert told["samples"]["problem"] is None
        for text in (answer.headers["Warning"], str(told["north"]["problem"]), gateway.log):
            assert str(secured.port) not in text
            assert "BEGIN" not in text


def test_a_renewed_certificate_is_used_without_a_restart(
    secured: TlsProxy, authority: Authority, tmp_path: Path
) -> None:
    used = authority.issue("used", since=-9 * DAY, until=-DAY)
    with ForkedGateway(tmp_path, configured(secured, used.section())) as gateway:
        assert get(gateway, "/dicom-web/studies").status_code >= 500
        authority.issue("renewed").move_to(used)
        deadline = time.monotonic() + 60
        while (answer := get(gateway, "/dicom-web/studies")).status_code != 200:
            assert time.monotonic() < deadline, answer.text
            time.sleep(tls.LOOK_SECONDS / 4)  # the circuit of the archive closes in its own time

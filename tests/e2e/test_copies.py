"""Copies that disagree: of several patients under one study UID, or told otherwise by one archive.

Whoever is bound to one of the patients, or may not see what some copy says, gets nothing of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from tests import hie
from tests.forked import ForkedGateway
from tests.gateways import Gateway
from tests.servers import Orthanc

ROOT = "1.2.826.0.1.3680043.8.498.77"
P1: dict[str, Any] = {"PatientID": "P1", "IssuerOfPatientID": "HOSP-A", "PatientName": "Anna^A"}
P2: dict[str, Any] = {"PatientID": "P2", "IssuerOfPatientID": "HOSP-A", "PatientName": "Cleo^C"}
TWO_SERIES, ONE_SERIES, DESCRIBED, DATED, NAMED, MIXED, P1_IN_SOUTH = range(1, 8)
FILES: tuple[tuple[str, int, int, int, dict[str, Any]], ...] = (
    # archive, study, series, instance
    ("north", TWO_SERIES, 1, 1, P1),
    ("north", TWO_SERIES, 2, 1, P2),
    ("north", ONE_SERIES, 1, 1, P1),
    ("north", ONE_SERIES, 1, 2, P2),
    ("north", DESCRIBED, 1, 1, P1 | {"SeriesDescription": "plain"}),
    ("south", DESCRIBED, 1, 1, P1 | {"SeriesDescription": "SECRETDESC"}),
    ("south", DESCRIBED, 1, 2, P1 | {"SeriesDescription": "SECRETDESC"}),
    ("north", DATED, 1, 1, P1 | {"StudyDate": "20240101"}),
    ("south", DATED, 1, 1, P1 | {"StudyDate": "20190101"}),
    ("north", NAMED, 1, 1, P1 | {"Modality": "CT"}),
    ("south", NAMED, 1, 1, P1 | {"Modality": "SR"}),
    ("south", MIXED, 1, 1, P1 | {"Modality": "CT"}),
    ("south", MIXED, 1, 2, P1 | {"Modality": "SR", "SeriesDescription": "SECRETSR"}),
    ("south", P1_IN_SOUTH, 1, 1, P1),
    ("south", P1_IN_SOUTH, 2, 1, P2),
)
PATIENT_1, PATIENT_2 = "urn:oid:2.999.3|P1", "urn:oid:2.999.3|P2"
POLICIES: dict[str, dict[str, Any]] = {
    "no-p1": {"hide": [{"patient": PATIENT_1}]},
    "no-p2": {"hide": [{"patient": PATIENT_2}]},
    "only-p1": {"allow": [{"patient": PATIENT_1}]},
    "only-p2": {"allow": [{"patient": PATIENT_2}]},
    "both": {"allow": [{"patient": [PATIENT_1, PATIENT_2]}]},
    "no-secret": {"hide": [{"series_description": "SECRET*"}]},
    "only-plain": {"allow": [{"series_description": "plain"}]},
    "no-sr": {"hide": [{"modality": "SR"}]},
    "only-ct": {"allow": [{"modality": "CT"}]},
    "since-2020": {"allow": [{"study_date_from": "2020-01-01"}]},
    "no-2019": {"hide": [{"study_date_to": "2019-12-31"}]},
}
OF_SEVERAL = (TWO_SERIES, ONE_SERIES, P1_IN_SOUTH)
HIDDEN = (
    *((name, s) for name in ("anna", "cleo") for s in OF_SEVERAL),
    *((name, s) for name in ("no-p1", "no-p2", "only-p1", "only-p2") for s in OF_SEVERAL),
    *((name, DESCRIBED) for name in ("no-secret", "only-plain")),
    *((name, s) for name in ("no-sr", "only-ct") for s in (NAMED, MIXED)),
    *((name, DATED) for name in ("since-2020", "no-2019")),
    ("no-secret", MIXED),
)
SEEN = (
    *(("both", s) for s in OF_SEVERAL),
    *(("anna", s) for s in (DESCRIBED, DATED, NAMED, MIXED)),
    ("no-sr", DESCRIBED),
    ("no-2019", DESCRIBED),
    ("no-secret", DATED),
    ("no-p2", DATED),
)


def test_nothing_is_shown_of_what_some_copy_keeps_from_a_caller(exchange: Exchange) -> None:
    told = {}
    for caller, number in HIDDEN:
        for path in exchange.paths(number):
            answer = exchange.get(caller, path)
            is_list = answer.status_code == 200 and "/metadata" not in path and _is_search(path)
            if answer.status_code not in {204, 404} and not is_list:
                told[caller, path] = answer.status_code
            elif is_list and f"{ROOT}.{number}" in answer.text.replace(path, ""):
                told[caller, path] = 200
    assert not told


def test_the_others_see_them(exchange: Exchange) -> None:
    for caller, number in SEEN:
        study = f"{ROOT}.{number}"
        for path in (f"/fhir/r4/ImagingStudy/{study}", f"/dicom-web/studies/{study}/series"):
            assert exchange.get(caller, path).status_code == 200, (caller, path)


def test_nothing_is_found_by_what_only_rejected_copies_tell(tmp_path: Path) -> None:
    """Of study 6 all that south has is rejected, and south alone calls it so."""
    hie.build(tmp_path)
    both = ({"type": "folder", "path": str(tmp_path / name)} for name in ("north", "south"))
    headers = {"X-API-Key": "key-of-full"}
    with ForkedGateway(tmp_path / "gateway", **hie.sections(tmp_path, *both)) as gateway:
        found = {
            text: requests.get(
                f"{gateway.url}/dicom-web/studies",
                {"StudyDescription": text, "includefield": "all"},
                headers=headers,
                timeout=30,
            ).text
            for text in ("*south*", "*north*")
        }
    assert f"{hie.ROOT}.2" in found["*south*"]
    assert f"{hie.ROOT}.6" not in found["*south*"]
    assert "Study 6 told by south" not in found["*south*"]
    assert f"{hie.ROOT}.6" in found["*north*"]


def _is_search(path: str) -> bool:
    return "?" in path or path.endswith(("/studies", "/series", "/instances", "/ImagingStudy"))


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A gateway over archives whose copies disagree."""

    gateway: Gateway
    session: requests.Session

    def get(self, caller: str, path: str) -> requests.Response:
        headers = {"X-API-Key": f"key-of-{caller}"}
        if caller not in POLICIES:
            headers = hie.bearer(scope="patient/*.rs", patient=caller)
        url = f"{self.gateway.url}{path}"
        return self.session.get(url, headers=headers, allow_redirects=False, timeout=30)

    def paths(self, number: int) -> Iterator[str]:
        """Every way to a study and what is in it."""
        study, fhir = f"{ROOT}.{number}", [f"/fhir/{v}/ImagingStudy" for v in ("r4", "r5")]
        yield from (f"/dicom-web/{level}" for level in ("studies", "series", "instances"))
        yield f"/dicom-web/studies?StudyInstanceUID={study}&includefield=all"
        yield from (f"/dicom-web/studies/{study}/{level}" for level in ("series", "instances"))
        yield from (path for base in fhir for path in (base, f"{base}/{study}"))
        yield f"/iid?requestType=STUDY&studyUID={study}"
        series = {s for _, of, s, _, _ in FILES if of == number}
        objects = {(s, n) for _, of, s, n, _ in FILES if of == number}
        below = ["", *(f"/series/{study}.{s}" for s in series)]
        below += [f"/series/{study}.{s}/instances/{study}.{s}.{n}" for s, n in objects]
        for path in below:
            yield f"/resolve/studies/{study}{path}"
            for kind in ("", "/metadata", "/rendered", "/thumbnail"):
                yield f"/dicom-web/studies/{study}{path}{kind}"
            if "/instances/" in path:
                yield f"/dicom-web/studies/{study}{path}/frames/1"
                yield f"/dicom-web/studies/{study}{path}/bulkdata/7FE00010"
        for s, n in objects:
            named = f"studyUID={study}&seriesUID={study}.{s}&objectUID={study}.{s}.{n}"
            yield f"/wado?requestType=WADO&{named}"
            yield f"/wado?requestType=WADO&{named}&contentType=application/dicom"


@pytest.fixture(scope="module", params=["folder", "search", "series"])
def exchange(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchange]:
    """North is a folder, or the real thing; south, whose files differ in a series, a folder.

    What tells of a study in the real thing: a search of its own, or its series.
    """
    folder = tmp_path_factory.mktemp("copies")
    _write(folder)
    south: dict[str, Any] = {"type": "folder", "path": str(folder / "south")}
    if request.param == "folder":
        yield from _opened(folder, south | {"path": str(folder / "north")}, south)
        return
    with Orthanc(folder / "orthanc") as orthanc:
        for path in sorted((folder / "north").iterdir()):
            orthanc.upload(path)
        north = {"type": "dicomweb", "qido_rs": orthanc.dicom_web}
        north |= {"patient_system": "urn:oid:2.999.3", "study_level": request.param}
        yield from _opened(folder, north, south)


def _opened(folder: Path, north: dict[str, Any], south: dict[str, Any]) -> Iterator[Exchange]:
    sections = hie.sections(folder, north, south)
    for name, policy in POLICIES.items():
        sections["policies"][name] = policy
        sections["auth"]["api_keys"][name] = {"key": f"key-of-{name}", "policy": name}
    with ForkedGateway(folder / "gateway", **sections) as gateway, requests.Session() as session:
        yield Exchange(gateway=gateway, session=session)


def _write(folder: Path) -> None:
    hie.build(folder / "world")
    plain = (folder / "world" / "south" / "2-1-1.dcm").read_bytes()
    for archive, study, series, number, differing in FILES:
        one = pydicom.dcmread(io.BytesIO(plain))
        one.StudyInstanceUID = f"{ROOT}.{study}"
        one.SeriesInstanceUID = f"{ROOT}.{study}.{series}"
        one.SOPInstanceUID = f"{ROOT}.{study}.{series}.{number}"
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.StudyDate = "20240101"
        for name, value in differing.items():
            setattr(one, name, value)
        path = folder / archive / f"{study}-{series}-{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        pydicom.dcmwrite(path, one, enforce_file_format=True)

"""Every route for every kind of caller, over two real archives, against a plain oracle.

A route of the router without a row in `CHECKS` fails. Rows name what the route needs of its caller;
whoever has that gets exactly what `tests.hie` says that they may see, and nobody else anything.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from PIL import Image

from gateway import demo
from gateway.app import build_app
from tests import samples as sample_files
from tests.e2e.test_two_archives import parts
from tests.ehr import Ehr
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.hie import (
    ABSENT,
    ROOT,
    SYSTEMS,
    Caller,
    Copy,
    World,
    build,
    by_ehr,
    callers,
    patient_id_of,
    sections,
)
from tests.servers import Orthanc

VERSIONS = ("r4", "r4b", "r5", "r6")
DIRECT = "internal.example.org"
PUBLIC, KNOWN, SCOPED, OPERATOR = "anyone", "known", "scoped", "operator"
STUDY_COUNTS = "ModalitiesInStudy,NumberOfStudyRelatedSeries,NumberOfStudyRelatedInstances"
SUBSETTED = "SUBSETTED"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CALLERS = callers()


@dataclass
class Asking:
    """One caller at one gateway, and what was asked so far."""

    url: str
    caller: Caller
    world: World
    session: requests.Session
    asked: dict[str, tuple[dict[str, str], int]] = field(default_factory=dict)
    """The headers of what was asked first at each address, and the status of the answer."""

    def get(self, path: str, **more: str) -> requests.Response:
        headers = self.caller.headers | {k.replace("_", "-"): v for k, v in more.items()}
        answer = self.session.get(
            f"{self.url}{path}", headers=headers, allow_redirects=False, timeout=60
        )
        self.asked.setdefault(path, (headers, answer.status_code))
        return answer

    def post(self, path: str, **more: Any) -> requests.Response:
        headers = self.caller.headers | more.pop("headers", {})
        return self.session.post(
            f"{self.url}{path}", headers=headers, allow_redirects=False, timeout=60, **more
        )

    def samples(self) -> Iterator[tuple[str, dict[str, str], int]]:
        """Some of what was asked: address, headers and status, two for each status."""
        count: Counter[int] = Counter()
        for url, (headers, status) in self.asked.items():
            count[status] += 1
            if count[status] <= 2:
                yield url, headers, status

    @property
    def seen(self) -> tuple[Copy, ...]:
        return self.world.seen(self.caller)

    def is_refused_whole(self, within: str) -> bool:
        """Whether a study or series is not retrieved as a whole."""
        return self.caller.denies_partial and self.world.is_partial(self.caller, within)


@pytest.fixture(scope="module")
def hie(
    tmp_path_factory: pytest.TempPathFactory, _scratch: Orthanc
) -> Iterator[tuple[Gateway, World]]:
    """A gateway over a folder and an Orthanc, and what both hold."""
    folder = tmp_path_factory.mktemp("hie")
    world = build(folder)
    sample_files.hold(_scratch, sample_files.read((folder / "south").iterdir()))
    north = {"type": "folder", "path": str(folder / "north")}
    south = archive(_scratch.dicom_web, wado_uri=f"{_scratch.url}/wado")
    with ForkedGateway(folder / "gateway", **sections(folder, north, south)) as gateway:
        yield gateway, world


@pytest.fixture(scope="module")
def hie_by_ehr(
    tmp_path_factory: pytest.TempPathFactory, hie: tuple[Gateway, World]
) -> Iterator[Gateway]:
    """A gateway over the same archives that asks a FHIR server who patients are."""
    gateway, _ = hie
    with Ehr() as ehr:
        archives = gateway.sections["archives"]
        configured = sections(gateway.folder, archives["north"], archives["south"])
        folder = tmp_path_factory.mktemp("hie-by-ehr")
        with ForkedGateway(folder, **by_ehr(configured, ehr)) as made:
            yield made


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        yield one


@pytest.fixture(params=CALLERS, ids=str)
def asking(
    request: pytest.FixtureRequest,
    hie: tuple[Gateway, World],
    hie_by_ehr: Gateway,
    session: requests.Session,
) -> Asking:
    gateway, world = hie
    if request.param.is_of_ehr:
        gateway = hie_by_ehr
    return Asking(gateway.url, request.param, world, session)


# What is compared


def like(answer: requests.Response, *asked: str) -> tuple[Any, ...]:
    """An answer without what tells one request from another: ids, dates, and what was asked."""
    headers = {k.lower(): v for k, v in answer.headers.items()}
    request_id = headers.pop("x-request-id")
    headers.pop("date")
    headers.pop("content-length", None)
    body = answer.text.replace(request_id, "ID")
    for one in sorted(asked, key=len, reverse=True):
        body = body.replace(one, "ASKED")
    return answer.status_code, headers, re.sub(r'"lastUpdated":"[^"]*"', "", body)


def assert_absent(asking: Asking, path: str, *like_paths: str, status: int = 404) -> None:
    """What does not exist for the caller is answered like what nobody has."""
    answer = asking.get(path)
    assert answer.status_code == status, path
    for other in like_paths:
        uids = re.findall(rf"{re.escape(ROOT)}[.\d]*", path + other)
        assert like(answer, *uids) == like(asking.get(other), *uids), path


def value(row: dict[str, Any], tag: str) -> Any:
    return row.get(tag, {}).get("Value", [None])[0]


def levels(copy: Copy) -> dict[str, str]:
    """The paths of a copy's study, series and instance."""
    study = f"/studies/{copy.study}"
    series = f"{study}/series/{copy.series}"
    return {"study": study, "series": series, "instance": f"{series}/instances/{copy.instance}"}


def targets(world: World, level: str) -> dict[str, tuple[str, Copy]]:
    """Path, UID and some copy of everything there is at a level."""
    return {levels(c)[level]: (getattr(c, level), c) for c in world.copies}


def absent(level: str, copy: Copy) -> list[str]:
    """Paths to what nobody has, made of what exists and what does not."""
    study, series = f"/studies/{copy.study}", f"/series/{copy.series}"
    return {
        "study": [f"/studies/{ABSENT}"],
        "series": [f"/studies/{ABSENT}/series/{ABSENT}", f"{study}/series/{ABSENT}"],
        "instance": [
            f"/studies/{ABSENT}/series/{ABSENT}/instances/{ABSENT}",
            f"{study}/series/{ABSENT}/instances/{ABSENT}",
            f"{study}{series}/instances/{ABSENT}",
            f"/studies/{ABSENT}{series}/instances/{copy.instance}",
        ],
    }[level]


# QIDO-RS

UID_TAG = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}


def search(level: str, within: str = "") -> Callable[[Asking], None]:
    def check(asking: Asking) -> None:
        if not within:
            check_search(asking, level, f"/dicom-web/{level_name(level)}", asking.seen)
            check_keys(asking, level)
            return
        for path, (uid, _) in targets(asking.world, within).items():
            seen = asking.world.seen(asking.caller, uid)
            check_search(asking, level, f"/dicom-web{path}/{level_name(level)}", seen)
            if not seen:
                gone = path.replace(uid, ABSENT)
                assert_absent(
                    asking, f"/dicom-web{path}/{level_name(level)}",
                    f"/dicom-web{gone}/{level_name(level)}", status=204,
                )  # fmt: skip

    return check


def level_name(level: str) -> str:
    return {"study": "studies", "series": "series", "instance": "instances"}[level]


def check_search(asking: Asking, level: str, path: str, seen: Sequence[Copy]) -> None:
    wanted = {getattr(c, level) for c in seen}
    for query in (f"?includefield={STUDY_COUNTS}", "?includefield=all"):
        answer = asking.get(path + query)
        rows = answer.json() if answer.status_code == 200 else []
        assert Counter(value(r, UID_TAG[level]) for r in rows) == Counter(wanted), path
        is_partial = any(asking.world.is_partial(asking.caller, c.study) for c in seen)
        assert ("not shared with you" in answer.headers.get("Warning", "")) is is_partial
        for row in rows:
            check_row(asking, row, level)
    if asking.caller.is_operator:
        check_pages_with_gaps(asking, path, UID_TAG[level], wanted)
    else:
        check_pages(asking, path, UID_TAG[level], wanted)


def check_pages(asking: Asking, path: str, tag: str, wanted: set[str]) -> None:
    """Every page but the last is full, and says that there is more."""
    pages: list[str] = []
    while len(pages) <= len(wanted):
        answer = asking.get(f"{path}?limit=1&offset={len(pages)}")
        if answer.status_code == 204:
            break
        pages += [value(r, tag) for r in answer.json()]
        more = "additional results" in answer.headers.get("Warning", "")
        assert more is (len(pages) < len(wanted)), path
    assert Counter(pages) == Counter(wanted)


def check_pages_with_gaps(asking: Asking, path: str, tag: str, wanted: set[str]) -> None:
    """Pages of archives' own rows are shorter where something was rejected; nothing comes twice."""
    pages: list[str] = []
    for offset in range(len(asking.world.copies)):
        answer = asking.get(f"{path}?limit=1&offset={offset}")
        pages += [value(r, tag) for r in answer.json()] if answer.content else []
    assert Counter(pages) == Counter(wanted), path


def check_row(asking: Asking, row: dict[str, Any], level: str) -> None:
    study = asking.world.seen(asking.caller, value(row, "0020000D"))
    mine = [c for c in study if getattr(c, level) == value(row, UID_TAG[level])]
    assert mine
    counted = (
        ("00080061", {c.modality for c in study}),
        ("00201206", {len({c.series for c in study})}),
        ("00201208", {len({c.instance for c in study})}),
    )
    for tag, wanted in counted:  # below the study level archives need not tell
        if level == "study" or tag in row:
            assert set(row[tag]["Value"]) == wanted
    if level == "series":
        assert value(row, "00201209") == len({c.instance for c in mine})
    assert value(row, "00081190") == f"{asking.url}/dicom-web{levels(mine[0])[level]}"
    description = value(row, "00081030")
    assert description is None or description in {
        pydicom.dcmread(c.path).StudyDescription for c in study
    }


def check_keys(asking: Asking, level: str) -> None:
    """Keys find what is visible and nothing else, whatever they look at."""
    path, caller = f"/dicom-web/{level_name(level)}", asking.caller
    keys: list[tuple[str, Callable[[Copy], bool]]] = [
        ("StudyDescription=*told by south*", lambda c: c.archive == "south"),
        ("StudyDescription=*told by north*", lambda c: c.archive == "north"),
        ("ReferringPhysicianName=referrersouth&fuzzymatching=true", lambda c: c.archive == "south"),
        ("StudyInstanceUID=" + ",".join(asking.world.studies()), lambda c: True),
    ]
    if level != "study":
        keys += [
            ("Modality=SR", lambda c: c.modality == "SR"),
            ("SeriesDescription=SR series", lambda c: c.modality == "SR"),
            ("StationName=STATIONSR3", lambda c: c.station == "STATIONSR3"),
            ("PerformingPhysicianName=PerformerPR*", lambda c: c.modality == "PR"),
        ]
    for query, fits in keys:
        answer = asking.get(f"{path}?{query}")
        found = [value(r, UID_TAG[level]) for r in answer.json()] if answer.content else []
        wanted = {getattr(c, level) for c in asking.seen if fits(c)}
        if caller.is_operator:  # rows of one archive are matched whatever notes another one has
            there = {getattr(c, level) for c in asking.world.all() if fits(c)}
            wanted |= there & set(found)
        assert set(found) == wanted, query
    for modality in ("CT", "SR", "PR", "SEG"):
        if level == "study":
            answer = asking.get(f"{path}?ModalitiesInStudy={modality}")
            found = [value(r, UID_TAG[level]) for r in answer.json()] if answer.content else []
            assert set(found) == {c.study for c in asking.seen if c.modality == modality}
    if level == "study":
        for key in ("StationName=STATIONSR3", "SeriesDescription=SR series", "Manufacturer=x"):
            status = asking.get(f"{path}?{key}").status_code
            assert status == 400 or caller.is_operator
    for query in ("PatientID=P2", "PatientID=P1&IssuerOfPatientID=HOSP-B"):
        named = asking.get(f"{path}?{query}").status_code
        assert (named == 403) is (caller.patient is not None), query
    assert asking.get(f"{path}?PatientID=P1&IssuerOfPatientID=HOSP-A").status_code != 403


# WADO-RS


def retrieve(level: str, kind: str) -> Callable[[Asking], None]:
    def check(asking: Asking) -> None:
        suffix = "/metadata" if kind == "metadata" else ""
        for path, (uid, copy) in targets(asking.world, level).items():
            seen = asking.world.seen(asking.caller, uid)
            url = f"/dicom-web{path}{suffix}"
            if not seen:
                assert_absent(asking, url, *(f"/dicom-web{p}{suffix}" for p in absent(level, copy)))
                continue
            answer = asking.get(url)
            if level != "instance" and asking.is_refused_whole(uid):
                assert answer.status_code == 403, url
                below = "series" if level == "study" else "instance"
                assert set(answer.json()["permitted"]) == {getattr(c, below) for c in seen}
                continue
            assert answer.status_code == 200, url
            check_objects(answer, kind, seen)
            is_partial = level != "instance" and asking.world.is_partial(asking.caller, uid)
            assert ("not shared with you" in answer.headers.get("Warning", "")) is is_partial

    return check


def check_objects(answer: requests.Response, kind: str, seen: Sequence[Copy]) -> None:
    if kind == "metadata":
        told = answer.json()
        assert Counter(value(o, "00080018") for o in told) == Counter({c.instance for c in seen})
        for one in told:
            originals = [
                pydicom.dcmread(c.path) for c in seen if c.instance == value(one, "00080018")
            ]
            assert value(one, "00081030") in {o.StudyDescription for o in originals}
        return
    bodies = [body for _, body in parts(answer)]
    assert len(bodies) == len({c.instance for c in seen})
    assert set(bodies) <= {c.content for c in seen}


def mismatched(copy: Copy, world: World) -> Iterator[str]:
    """Paths to an instance by way of each other study: by its own series, and by one of that."""
    others = {other.study: other for other in world.copies if other.study != copy.study}
    for other in others.values():
        yield f"/studies/{other.study}/series/{copy.series}/instances/{copy.instance}"
        yield f"/studies/{other.study}/series/{other.series}/instances/{copy.instance}"


def retrieve_frames(asking: Asking) -> None:
    accept = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'}
    for path, (uid, copy) in targets(asking.world, "instance").items():
        url = f"/dicom-web{path}/frames/1"
        seen = asking.world.seen(asking.caller, uid)
        if not seen:
            assert_absent(
                asking, url, *(f"/dicom-web{p}/frames/1" for p in absent("instance", copy))
            )
            continue
        answer = asking.get(url, **accept)
        assert answer.status_code == (200 if copy.is_image else 404), url
        if copy.is_image:
            [(_, body)] = parts(answer)
            assert body == pydicom.dcmread(seen[0].path).PixelData
    for path in {p for c in asking.world.copies for p in mismatched(c, asking.world)}:
        assert asking.get(f"/dicom-web{path}/frames/1", **accept).status_code == 404, path


def retrieve_bulk_data(asking: Asking) -> None:
    for path, (uid, copy) in targets(asking.world, "instance").items():
        url = f"/dicom-web{path}/bulkdata/7FE00010"
        seen = asking.world.seen(asking.caller, uid)
        if not seen:
            others = absent("instance", copy)
            assert_absent(asking, url, *(f"/dicom-web{p}/bulkdata/7FE00010" for p in others))
            continue
        answer = asking.get(url)
        assert answer.status_code == (200 if copy.is_image else 404), url


def picture(level: str, kind: str) -> Callable[[Asking], None]:
    """Thumbnails and renderings; those of a study or series show something that is visible."""

    def check(asking: Asking) -> None:
        above = "instance" if level == "frame" else level
        for path, (uid, copy) in targets(asking.world, above).items():
            frame = "/frames/1" if level == "frame" else ""
            url = f"/dicom-web{path}{frame}/{kind}"
            seen = asking.world.seen(asking.caller, uid)
            if not seen:
                others = (f"/dicom-web{p}{frame}/{kind}" for p in absent(above, copy))
                assert_absent(asking, url, *others)
                continue
            answer = asking.get(url, Accept="image/png")
            images = [c for c in seen if c.is_image]
            if images and any(c.modality != "SEG" for c in images):
                assert answer.status_code == 200, url
                check_picture(answer.content, asking.world, images)
            elif kind == "thumbnail":
                assert answer.status_code in {200, 404}, url
            else:
                assert answer.status_code in {200, 404, 406}, url

    return check


def check_picture(body: bytes, world: World, images: Sequence[Copy]) -> None:
    """A picture shows the pixels of one of these images, more than those of any other."""
    shown = np.asarray(Image.open(io.BytesIO(body)).convert("L").resize((16, 16)), float)

    def likeness(copy: Copy) -> float:
        stored = np.frombuffer(pydicom.dcmread(copy.path).PixelData, np.uint8).reshape(16, 16)
        return float(np.corrcoef(shown.ravel(), stored.astype(float).ravel())[0, 1])

    best = max((c for c in world.copies if c.is_image), key=likeness)
    assert best.instance in {c.instance for c in images}


# WADO-URI, launches, resolution, pages


def wado(asking: Asking) -> None:
    def url(study: str, series: str, instance: str, kind: str) -> str:
        return (
            f"/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
            f"&contentType={kind}"
        )

    for copy in asking.world.copies:
        seen = asking.world.seen(asking.caller, copy.instance)
        for kind in ("application/dicom", "image/png"):
            named = url(copy.study, copy.series, copy.instance, kind)
            if not seen:
                gone = url(copy.study, copy.series, ABSENT, kind)
                assert_absent(asking, named, gone, url(ABSENT, ABSENT, ABSENT, kind))
                continue
            answer = asking.get(named)
            if kind == "application/dicom":
                assert answer.content in {c.content for c in seen}
            elif copy.is_image:
                assert answer.status_code == 200
                check_picture(answer.content, asking.world, seen)
            else:
                assert answer.status_code == 406
            other = next(c for c in asking.world.copies if c.study != copy.study)
            wrong = url(other.study, copy.series, copy.instance, kind)
            assert asking.get(wrong).status_code == 404


def launch(method: str) -> Callable[[Asking], None]:
    def ask(asking: Asking, query: str) -> requests.Response:
        if method == "GET":
            return asking.get(f"/iid?{query}")
        return asking.post("/iid", data=query, headers=FORM)

    def check(asking: Asking) -> None:
        for study in asking.world.studies():
            seen = asking.world.seen(asking.caller, study)
            accession = f"ACC{study.rpartition('.')[2]}"
            for query in (f"studyUID={study}", f"accessionNumber={accession}"):
                answer = ask(asking, f"requestType=STUDY&{query}")
                assert answer.status_code == (302 if seen else 404), query
                if seen:
                    assert answer.headers["Location"] == f"https://viewer.example.org/?s={study}"
            if not seen:
                gone = ask(asking, f"requestType=STUDY&studyUID={ABSENT}")
                answer = ask(asking, f"requestType=STUDY&studyUID={study}")
                assert like(answer, study) == like(gone, ABSENT)
        system = SYSTEMS["HOSP-A"].removeprefix("urn:oid:")
        named = ask(asking, f"requestType=PATIENT&patientID=P2^^^%26{system}%26ISO")
        is_seen = any(c.patient_id == "P2" for c in asking.seen)
        assert named.status_code == (403 if asking.caller.patient else 302 if is_seen else 404)

    return check


def resolve(level: str) -> Callable[[Asking], None]:
    def check(asking: Asking) -> None:
        above = "instance" if level == "frame" else level
        for path, (uid, copy) in targets(asking.world, above).items():
            frame = "/frames/1" if level == "frame" else ""
            seen = asking.world.seen(asking.caller, uid)
            url = f"/resolve{path}{frame}"
            if not seen:
                assert_absent(asking, url, *(f"/resolve{p}{frame}" for p in absent(above, copy)))
                continue
            answer = asking.get(url)
            if level == "frame" and not copy.is_image:
                assert answer.status_code in {200, 404}
                continue
            told = answer.json()
            if level == "study":
                named = {t["series"] for t in told["targets"]} - {None}
                assert named == {c.series for c in seen}
            assert (DIRECT in answer.text) is asking.caller.is_operator

    return check


def resolve_posted(asking: Asking) -> None:
    """A posted resource is resolved for anyone known, by Endpoints that exist for them."""
    study = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"display": "x"},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{ROOT}.1"}],
        "endpoint": [
            {"reference": "Endpoint/north-dicom-wado-rs"},
            {"reference": "Endpoint/gateway-dicom-wado-rs"},
        ],
    }
    answer = asking.post("/resolve", json=study)
    assert answer.status_code == 200
    assert f"{asking.url}/dicom-web/studies/{ROOT}.1" in answer.text
    assert (DIRECT in answer.text) is asking.caller.is_operator


def console(asking: Asking) -> None:
    listed = asking.get("/").text
    told = set(re.findall(rf"study=({re.escape(ROOT)}[.\d]*)", listed))
    assert told == {c.study for c in asking.seen}
    for study in asking.world.studies():
        seen = asking.world.seen(asking.caller, study)
        if not seen:
            assert_absent(asking, f"/?study={study}", f"/?study={ABSENT}")
            continue
        page = asking.get(f"/?study={study}").text
        series = {c.series for c in asking.world.all(study)}
        found = {s for s in series if re.search(rf"{re.escape(s)}(?![.\d])", page)}
        assert found == {c.series for c in seen}
    for modality in ("SR", "CT"):
        page = asking.get(f"/?modality={modality}").text
        told = set(re.findall(rf"study=({re.escape(ROOT)}[.\d]*)", page))
        assert told == {c.study for c in asking.seen if c.modality == modality}


def answers(asking: Asking, path: str) -> None:
    assert asking.get(path).status_code == 200


def hook(asking: Asking) -> None:
    """An archive's word that a study changed is taken alike for what exists and what does not."""
    told = [asking.post(f"/hooks/studies/{uid}") for uid in (f"{ROOT}.1", ABSENT)]
    assert like(told[0], f"{ROOT}.1") == like(told[1], ABSENT)
    assert told[0].ok


def options(asking: Asking) -> None:
    """What is served is told to anyone, and to all the same."""
    told = asking.session.options(f"{asking.url}/dicom-web", timeout=60)
    mine = asking.session.options(
        f"{asking.url}/dicom-web/", headers=asking.caller.headers, timeout=60
    )
    assert told.status_code == mine.status_code == 200
    assert like(told) == like(mine)
    assert ROOT not in told.text


# FHIR


def bases(route: str) -> list[str]:
    return [f"/fhir/{v}" for v in VERSIONS] if "{version}" in route else ["/fhir"]


def of_type(bundle: dict[str, Any], kind: str, mode: str = "match") -> list[dict[str, Any]]:
    entries = bundle.get("entry", [])
    return [
        e["resource"]
        for e in entries
        if e["resource"]["resourceType"] == kind and e["search"]["mode"] == mode
    ]


def check_study(asking: Asking, study: dict[str, Any]) -> None:
    seen = asking.world.seen(asking.caller, study["id"])
    assert seen
    assert study["numberOfSeries"] == len({c.series for c in seen})
    assert study["numberOfInstances"] == len({c.instance for c in seen})
    listed = {s["uid"]: s for s in study["series"]}
    assert set(listed) == {c.series for c in seen}
    for uid, series in listed.items():
        mine = {c.instance for c in seen if c.series == uid}
        assert series["numberOfInstances"] == len(mine)
        assert {i["uid"] for i in series["instance"]} == mine
    tags = {t["code"] for t in study["meta"].get("tag", [])}
    assert (SUBSETTED in tags) is asking.world.is_partial(asking.caller, study["id"])
    described = study.get("description")
    assert described in {pydicom.dcmread(c.path).StudyDescription for c in seen}


CRITERIA: tuple[tuple[str, Callable[[Copy], bool]], ...] = (
    ("modality=SR", lambda c: c.modality == "SR"),
    ("modality=SEG", lambda c: c.modality == "SEG"),
    (f"series={ROOT}.1.3", lambda c: c.series == f"{ROOT}.1.3"),
    (f"series={ROOT}.1.4", lambda c: c.series == f"{ROOT}.1.4"),
    (f"instance={ROOT}.1.2.3", lambda c: c.instance == f"{ROOT}.1.2.3"),
    (f"instance={ROOT}.1.3.1", lambda c: c.instance == f"{ROOT}.1.3.1"),
    ("dicom-class=urn:oid:1.2.840.10008.5.1.4.1.1.7", lambda c: c.sop_class.endswith("1.1.7")),
    ("dicom-class=urn:oid:1.2.840.10008.5.1.4.1.1.88.59", lambda c: c.modality == "KO"),
    (f"_id={ROOT}.3", lambda c: c.study == f"{ROOT}.3"),
    (f"identifier=urn:dicom:uid|urn:oid:{ROOT}.3", lambda c: c.study == f"{ROOT}.3"),
    ("patient=Patient/cleo", lambda c: patient_id_of(c) == "cleo"),
    ("patient=Patient/anna&_lastUpdated=gt2000-01-01", lambda c: patient_id_of(c) == "anna"),
    (
        f"patient=anna&identifier=urn:dicom:uid|urn:oid:{ROOT}.2",
        lambda c: c.study == f"{ROOT}.2" and patient_id_of(c) == "anna",
    ),
    ("started=2024-01-02", lambda c: c.study == f"{ROOT}.2"),
    ("endpoint=Endpoint/north-dicom-wado-rs", lambda c: False),
)
BY_VERSION: dict[str, tuple[tuple[str, Callable[[Copy], bool]], ...]] = {
    "r4": (
        ("performer.name=PerformerSR", lambda c: c.modality == "SR"),
        ("bodysite:missing=true", lambda c: False),
    ),
}


def searched(asking: Asking, path: str, is_posted: bool, query: str) -> requests.Response:  # noqa: FBT001
    if not is_posted:
        return asking.get(f"{path}?{query}")
    return asking.post(f"{path}/_search", data=query, headers=FORM)


def search_studies(asking: Asking, base: str, post: bool = False) -> None:  # noqa: FBT001
    found = partial(searched, asking, f"{base}/ImagingStudy", post)
    whole = found("_total=accurate&_include=ImagingStudy:endpoint").json()
    matches = of_type(whole, "ImagingStudy")
    assert {m["id"] for m in matches} == {c.study for c in asking.seen}
    assert whole["total"] == len(matches)
    for study in matches:
        check_study(asking, study)
    included = {e["id"] for e in of_type(whole, "Endpoint", "include")}
    assert any(not i.startswith("gateway-") for i in included) is asking.caller.is_operator
    assert found("_summary=count").json()["total"] == len(matches)
    ordered = found("_sort=-started&_count=100").json()
    assert [m["id"] for m in of_type(ordered, "ImagingStudy")] == sorted(
        {c.study for c in asking.seen}, reverse=True
    )
    if post and base != bases("/fhir/{version}")[0]:
        return  # a form is read alike in every version: what it holds was matched in the first
    for query, fits in (*CRITERIA, *BY_VERSION.get(base.rpartition("/")[2], ())):
        answer = found(query)
        wanted = {c.study for c in asking.seen if fits(c)}
        if "missing" in query:
            continue
        is_other = asking.caller.patient is not None and "cleo" in query
        assert answer.status_code == (403 if is_other else 200), query
        if not is_other:
            told = {m["id"] for m in of_type(answer.json(), "ImagingStudy")}
            if "endpoint=" in query:
                assert bool(told) is asking.caller.is_operator
            else:
                assert told == wanted, query


def read_study(asking: Asking, base: str) -> None:
    for study in asking.world.studies():
        seen = asking.world.seen(asking.caller, study)
        if not seen:
            assert_absent(asking, f"{base}/ImagingStudy/{study}", f"{base}/ImagingStudy/{ABSENT}")
            continue
        answer = asking.get(f"{base}/ImagingStudy/{study}")
        check_study(asking, answer.json())
        is_partial = asking.world.is_partial(asking.caller, study)
        assert ("not shared with you" in answer.headers.get("Warning", "")) is is_partial
        full = requests.get(
            f"{asking.url}{base}/ImagingStudy/{study}", headers=CALLERS[0].headers, timeout=60
        )
        etag = full.headers.get("ETag", '"absent"')
        again = asking.get(f"{base}/ImagingStudy/{study}", If_None_Match=etag)
        is_same = answer.headers["ETag"] == etag
        assert again.status_code == (304 if is_same else 200)
        mine = {c.instance for c in seen}
        assert not is_same or mine == {c.instance for c in asking.world.seen(CALLERS[0], study)}
        assert not (is_partial and is_same)


def patients(asking: Asking) -> set[str]:
    return {p for c in asking.seen if (p := patient_id_of(c)) is not None}


def search_patients(asking: Asking, base: str, post: bool = False) -> None:  # noqa: FBT001
    found = partial(searched, asking, f"{base}/Patient", post)
    whole = found("_revinclude=ImagingStudy:patient&_total=accurate").json()
    assert {p["id"] for p in of_type(whole, "Patient")} == patients(asking)
    assert whole["total"] == len(patients(asking))
    included = of_type(whole, "ImagingStudy", "include")
    assert {s["id"] for s in included} == {c.study for c in asking.seen}
    for study in included:
        check_study(asking, study)
    for query in ("_id=cleo", "_id=anna,cleo"):
        answer = found(query)
        assert (answer.status_code == 403) is (asking.caller.patient is not None), query
    for query in ("identifier=P1", f"identifier={SYSTEMS['HOSP-B']}|P1", "name=CanaryP2"):
        answer = found(query)
        if answer.status_code == 403:
            assert asking.caller.patient is not None
            continue
        told = {p["id"] for p in of_type(answer.json(), "Patient")}
        meant = {"anna", "bert"} if query == "identifier=P1" else {"cleo"}
        assert told == (
            ({"bert"} if "HOSP" not in query and "|" in query else meant) & patients(asking)
        )


def read_patient(asking: Asking, base: str) -> None:
    for one in ("anna", "bert", "cleo", "dora"):
        answer = asking.get(f"{base}/Patient/{one}")
        if asking.caller.patient not in {None, one}:
            assert answer.status_code == 403
        elif one in patients(asking):
            assert answer.status_code == 200
        else:
            assert answer.status_code == 404
            assert like(answer, one) == like(asking.get(f"{base}/Patient/nobody"), "nobody")


def compartment(asking: Asking, base: str, post: bool = False) -> None:  # noqa: FBT001
    for one in ("anna", "bert", "cleo", "dora"):
        path = f"{base}/Patient/{one}/ImagingStudy"
        answer = asking.post(f"{path}/_search") if post else asking.get(path)
        if asking.caller.patient not in {None, one}:
            assert answer.status_code == 403
            continue
        told = of_type(answer.json(), "ImagingStudy")
        assert {s["id"] for s in told} == {c.study for c in asking.seen if patient_id_of(c) == one}
        for study in told:
            check_study(asking, study)


def search_endpoints(asking: Asking, base: str, post: bool = False) -> None:  # noqa: FBT001
    path = f"{base}/Endpoint"
    answer = asking.post(f"{path}/_search") if post else asking.get(path)
    assert (DIRECT in answer.text) is asking.caller.is_operator
    assert answer.json()["total"] == (6 if asking.caller.is_operator else 4)


def read_endpoint(asking: Asking, base: str) -> None:
    assert asking.get(f"{base}/Endpoint/gateway-dicom-wado-rs").status_code == 200
    path = f"{base}/Endpoint/north-dicom-wado-rs"
    if asking.caller.is_operator:
        assert DIRECT in asking.get(path).text
    else:
        assert_absent(asking, path, f"{base}/Endpoint/nobody-dicom-wado-rs")


def capabilities(asking: Asking, base: str) -> None:
    told = asking.get(f"{base}/metadata").json()
    assert told["rest"][0]["security"]
    assert asking.get(f"{base}/.well-known/smart-configuration").json()["token_endpoint"]


# The table


@dataclass(frozen=True)
class Row:
    """What a route needs of its caller, and what it answers to one who has that."""

    needs: str
    check: Callable[[Asking], None]


def everywhere(check: Callable[..., None], route: str, **more: Any) -> Callable[[Asking], None]:
    def checked(asking: Asking) -> None:
        for base in bases(route):
            check(asking, base, **more)

    return checked


def _table() -> dict[tuple[str, str], Row]:
    web, study = "/dicom-web", "/studies/{study}"
    series = f"{study}/series/{{series}}"
    instance = f"{series}/instances/{{instance}}"
    frames = f"{instance}/frames/{{frames}}"
    paths = {"study": study, "series": series, "instance": instance, "frame": frames}
    rows: dict[tuple[str, str], Row] = {
        ("GET", f"{web}/studies"): Row(SCOPED, search("study")),
        ("GET", f"{web}/series"): Row(SCOPED, search("series")),
        ("GET", f"{web}/instances"): Row(SCOPED, search("instance")),
        ("GET", f"{web}{study}/series"): Row(SCOPED, search("series", "study")),
        ("GET", f"{web}{study}/instances"): Row(SCOPED, search("instance", "study")),
        ("GET", f"{web}{series}/instances"): Row(SCOPED, search("instance", "series")),
        ("GET", f"{web}{frames}"): Row(SCOPED, retrieve_frames),
        ("GET", f"{web}{instance}/bulkdata/{{path}}"): Row(SCOPED, retrieve_bulk_data),
        ("GET", "/wado"): Row(SCOPED, wado),
        ("GET", "/iid"): Row(SCOPED, launch("GET")),
        ("POST", "/iid"): Row(SCOPED, launch("POST")),
        ("POST", "/resolve"): Row(KNOWN, resolve_posted),
        ("GET", "/"): Row(SCOPED, console),
        ("OPTIONS", web): Row(PUBLIC, options),
        ("OPTIONS", f"{web}/"): Row(PUBLIC, options),
        ("POST", "/hooks/studies/{study}"): Row(OPERATOR, hook),
        ("GET", "/health/live"): Row(PUBLIC, lambda a: answers(a, "/health/live")),
        ("GET", "/health/ready"): Row(PUBLIC, lambda a: answers(a, "/health/ready")),
        ("GET", "/metrics"): Row(OPERATOR, lambda a: answers(a, "/metrics")),
        ("GET", "/archives"): Row(OPERATOR, lambda a: answers(a, "/archives")),
    }
    for level, path in paths.items():
        if level != "frame":
            rows["GET", f"{web}{path}"] = Row(SCOPED, retrieve(level, "objects"))
            rows["GET", f"{web}{path}/metadata"] = Row(SCOPED, retrieve(level, "metadata"))
        rows["GET", f"{web}{path}/thumbnail"] = Row(SCOPED, picture(level, "thumbnail"))
        rows["GET", f"{web}{path}/rendered"] = Row(SCOPED, picture(level, "rendered"))
        rows["GET", f"/resolve{path}"] = Row(SCOPED, resolve(level))
    for base in ("/fhir/{version}", "/fhir"):
        for method, path, needs, check in (
            ("GET", "metadata", PUBLIC, capabilities),
            ("GET", ".well-known/smart-configuration", PUBLIC, capabilities),
            ("GET", "ImagingStudy", SCOPED, search_studies),
            ("POST", "ImagingStudy/_search", SCOPED, search_studies),
            ("GET", "ImagingStudy/{id}", SCOPED, read_study),
            ("GET", "Patient/{patient}/ImagingStudy", SCOPED, compartment),
            ("POST", "Patient/{patient}/ImagingStudy/_search", SCOPED, compartment),
            ("GET", "Patient", SCOPED, search_patients),
            ("POST", "Patient/_search", SCOPED, search_patients),
            ("GET", "Patient/{id}", SCOPED, read_patient),
            ("GET", "Endpoint", SCOPED, search_endpoints),
            ("POST", "Endpoint/_search", SCOPED, search_endpoints),
            ("GET", "Endpoint/{id}", SCOPED, read_endpoint),
        ):
            more = {"post": True} if method == "POST" else {}
            route = f"{base}/{path}"
            rows[method, route] = Row(needs, everywhere(check, route, **more))
    return rows


CHECKS = _table()


def test_every_route_has_its_row(tmp_path: Path) -> None:
    app = build_app(demo.settings(tmp_path, 8080))
    routed = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert routed == set(CHECKS)


def filled(route: str) -> list[str]:
    """A route for something that exists, and for something that nobody has."""
    names = re.findall(r"{(\w+)}", route)
    there = {
        "study": f"{ROOT}.1", "series": f"{ROOT}.1.1", "instance": f"{ROOT}.1.1.1", "frames": "1",
        "path": "7FE00010", "version": "r4", "id": f"{ROOT}.1", "patient": "anna",
    }  # fmt: skip
    gone = there | {"study": ABSENT, "series": ABSENT, "instance": ABSENT, "id": ABSENT}
    return [route.format(**{n: one[n] for n in names}) for one in (there, gone)]


@pytest.mark.parametrize("route", CHECKS, ids=" ".join)
def test_what_a_route_answers_is_what_exists_for_the_caller(
    asking: Asking, route: tuple[str, str]
) -> None:
    row, (method, path), caller = CHECKS[route], route, asking.caller
    refused = {
        PUBLIC: None,
        KNOWN: None if caller.is_known else 401,
        SCOPED: None if caller.is_scoped and caller.is_known else 403 if caller.is_known else 401,
        OPERATOR: None if caller.is_operator else 403 if caller.is_known else 401,
    }[row.needs]
    if refused is None:
        row.check(asking)
    else:
        ask = asking.get if method == "GET" else asking.post
        told = [like(ask(url)) for url in filled(path)]
        assert {status for status, _, _ in told} == {refused}
        assert told[0] == told[1]
    for url, headers, status in asking.samples():
        head = asking.session.head(f"{asking.url}{url}", headers=headers, timeout=60)
        assert (head.status_code, head.content) == (status, b""), url

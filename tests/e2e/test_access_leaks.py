"""What leaves the gateway besides answers: by caches, logs, metrics, errors, the audit trail."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
import redis
import requests

from tests.forked import ForkedGateway
from tests.gateways import Gateway
from tests.hie import ABSENT, ROOT, SYSTEMS, Caller, Copy, World, build, callers, sections
from tests.servers import RedisServer

CALLERS = [c for c in callers() if c.is_known and c.is_scoped]
FULL, *RESTRICTED = CALLERS
FORGETFUL = {"fresh_seconds": 0, "stale_seconds": 0, "absent_seconds": 0}
FLUSHED_SECONDS = 1.0
SESSION = requests.Session()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Question:
    """A request, and the study that it is about, if it is about one."""

    path: str
    study: str | None = None
    form: str | None = None

    def ask(self, gateway: Gateway, caller: Caller, **headers: str) -> requests.Response:
        url, sent = f"{gateway.url}{self.path}", caller.headers | headers
        if self.form is not None:
            return SESSION.post(
                url, data=self.form, headers=sent | FORM, allow_redirects=False, timeout=60
            )
        return SESSION.get(url, headers=sent, allow_redirects=False, timeout=60)


def about(copy: Copy) -> Iterator[Question]:
    """Every kind of question about one object, its series and its study."""
    study = f"/studies/{copy.study}"
    series = f"{study}/series/{copy.series}"
    instance = f"{series}/instances/{copy.instance}"
    paths = [f"/dicom-web{p}{s}" for p in (study, series, instance) for s in ("", "/metadata")]
    paths += [
        f"/dicom-web{p}/{s}" for p in (study, series, instance) for s in ("thumbnail", "rendered")
    ]
    paths += [f"/dicom-web{study}/{s}?includefield=all" for s in ("series", "instances")]
    paths += [f"/dicom-web{series}/instances", f"/dicom-web{instance}/frames/1"]
    paths += [f"/dicom-web{instance}/bulkdata/7FE00010"]
    paths += [f"/resolve{p}" for p in (study, series, instance, f"{instance}/frames/1")]
    paths += [f"/fhir/{v}/ImagingStudy/{copy.study}" for v in ("r4", "r4b", "r5", "r6")]
    paths += [f"/?study={copy.study}", f"/iid?requestType=STUDY&studyUID={copy.study}"]
    uids = f"studyUID={copy.study}&seriesUID={copy.series}&objectUID={copy.instance}"
    paths += [
        f"/wado?requestType=WADO&{uids}&contentType={kind}"
        for kind in ("application/dicom", "image/png")
    ]
    yield from (Question(path, copy.study) for path in paths)
    form = f"requestType=STUDY&studyUID={copy.study}"
    yield Question("/iid", copy.study, form)


def of_all() -> Iterator[Question]:
    """Questions that name no object."""
    for level in ("studies", "series", "instances"):
        for query in ("", "?includefield=all", "?limit=2&offset=1", "?fuzzymatching=true"):
            yield Question(f"/dicom-web/{level}{query}")
    for base in ("/fhir/r4", "/fhir/r4b", "/fhir/r5", "/fhir/r6", "/fhir"):
        yield Question(f"{base}/ImagingStudy?_include=ImagingStudy:endpoint&_total=accurate")
        yield Question(f"{base}/ImagingStudy?_include=*&_sort=-started&_count=2")
        yield Question(f"{base}/ImagingStudy/_search", form="_count=1&modality=CT")
        yield Question(f"{base}/Patient?_revinclude=ImagingStudy:patient")
        yield Question(f"{base}/Patient/anna")
        yield Question(f"{base}/Patient/anna/ImagingStudy")
        yield Question(f"{base}/Endpoint")
    yield Question("/")


def questions(world: World) -> list[Question]:
    """Every question, about one object of each series."""
    of_series = {c.series: c for c in world.copies}
    found = [*of_all(), *(q for c in of_series.values() for q in about(c))]
    return list(dict.fromkeys(found))


def serving(folder: Path, **more: Any) -> Gateway:
    """A gateway over two folders below `folder`."""
    archives = [{"type": "folder", "path": str(folder / name)} for name in ("north", "south")]
    return ForkedGateway(folder / "gateway", **(sections(folder, *archives) | more))


@pytest.fixture(scope="module")
def hie(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    folder = tmp_path_factory.mktemp("hie")
    return folder, build(folder)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("cache", "order"),
    [(FORGETFUL, CALLERS), ({}, CALLERS), ({}, CALLERS[::-1])],
    ids=["cold", "warm, full first", "warm, full last"],
)
def test_no_uid_of_what_is_hidden_leaves_by_any_route(
    hie: tuple[Path, World], cache: dict[str, Any], order: list[Caller]
) -> None:
    folder, world = hie
    with serving(folder, cache=cache) as gateway:
        for caller in order:
            hidden = world.hidden_uids(caller)
            assert hidden
            for question in questions(world):
                answer = question.ask(gateway, caller)
                told = repr(dict(answer.headers)).encode() + answer.content
                asked = f"{question.path} {question.form}"
                leaked = {u for u in hidden if holds(told, u) and u not in asked}
                assert not leaked, (caller.name, question)


def holds(told: bytes, uid: str) -> bool:
    """Whether a UID stands somewhere, and not only at the beginning of a longer one."""
    at = told.find(uid.encode())
    while at >= 0:
        after = told[at + len(uid) : at + len(uid) + 2]
        if not (after[:1].isdigit() or (after[:1] == b"." and after[1:].isdigit())):
            return True
        at = told.find(uid.encode(), at + 1)
    return False


def canaries(world: World) -> set[str]:
    """What must be told in answers alone: names, identifiers, descriptions, UIDs, keys, tokens."""
    found = {value for c in CALLERS for value in c.headers.values()}
    found |= {value.removeprefix("Bearer ") for value in found}
    for copy in world.copies:
        one = pydicom.dcmread(copy.path)
        found |= copy.uids
        found |= {str(one.PatientName), str(one.PatientName).split("^")[0], one.AccessionNumber}
        found |= {one.StudyDescription, one.StationName, str(one.PerformingPhysicianName)}
        found |= {str(one.ReferringPhysicianName), str(one.OperatorsName)}
        found |= {one.RequestAttributesSequence[0].ReasonForTheRequestedProcedure}
    return found


def nosy(world: World) -> Iterator[Question]:
    """Questions that go wrong, with what must not be repeated in them."""
    name, copy = "CanaryP1^HOSP-A", world.copies[0]
    for path in (
        f"/dicom-web/studies?PatientName={name}&limit=x",
        f"/dicom-web/studies?StudyDate={name}",
        f"/dicom-web/studies?StudyInstanceUID={copy.study}&StudyInstanceUID={copy.study}",
        f"/dicom-web/studies/{copy.study}x",
        f"/dicom-web/studies/{copy.study}?includefield=x",
        f"/dicom-web/studies/{copy.study}/series/{ABSENT}/thumbnail?viewport={copy.series}",
        f"/dicom-web/{name}/{copy.study}",
        f"/fhir/r4/ImagingStudy?started={copy.study}",
        f"/fhir/r4/ImagingStudy/{copy.study}/{copy.series}",
        f"/fhir/r4/Patient/{name}",
        f"/iid?requestType=PATIENT&patientID={name}*",
        f"/wado?requestType=WADO&studyUID={copy.study}",
        f"/resolve/studies/{copy.study}?type={copy.series}",
        f"/?study={copy.study}{name}",
    ):
        yield Question(path)
    yield Question("/fhir/r4/ImagingStudy/_search", form=f"started={name}")


@pytest.mark.timeout(240)
def test_what_must_be_told_in_answers_alone_is_nowhere_else(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    world = build(tmp_path)
    planted = canaries(world)
    assert len(planted) >= 40
    broken = world.copies[0].content[:400]
    (tmp_path / "north" / f"CanaryP1^HOSP-A {world.copies[0].instance}.dcm").write_bytes(broken)
    cache = {"redis_url": redis_server.url}
    with serving(tmp_path, cache=cache, audit={"spool": str(tmp_path / "spool")}) as gateway:
        for caller in callers():
            for question in [*questions(world), *nosy(world)]:
                answer = question.ask(gateway, caller)
                if answer.status_code >= 400 and "permitted" not in answer.text:
                    spoken = {c for c in planted if holds(answer.content, c)}
                    assert not spoken, (caller.name, question, spoken)
        metrics = requests.get(f"{gateway.url}/metrics", headers=FULL.headers, timeout=60).text
        log = gateway.log
    with redis.Redis.from_url(redis_server.url) as client:
        keys = b"\n".join(bytes(key) for key in client.keys("*"))
    assert keys.count(b"gw:") > 10
    assert "files skipped" in log
    for place in (metrics.encode(), log.encode(), keys):
        assert not {c for c in planted if holds(place, c)}


# The audit trail


def events(spool: Path) -> dict[str, list[dict[str, Any]]]:
    """The recorded events by the id of their request."""
    found: dict[str, list[dict[str, Any]]] = {}
    for segment in spool.glob("*.ndjson"):
        for line in segment.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                event = json.loads(line)
                found.setdefault(entities(event, "XrequestId")[0], []).append(event)
    return found


def entities(event: dict[str, Any], kind: str) -> list[str]:
    """What an event names: request ids, studies or patients."""
    named = []
    for entity in event["entity"]:
        what = entity.get("what", {})
        is_kind = entity["type"]["code"] == kind or what.get("type") == kind
        if is_kind and "identifier" in what:
            one = what["identifier"]
            named.append(f"{one.get('system', '')}|{one['value']}".removeprefix("|"))
    return named


@pytest.mark.timeout(240)
def test_every_disclosure_and_every_denial_is_recorded(hie: tuple[Path, World]) -> None:
    folder, world = hie
    spool = folder / f"spool-{uuid.uuid4()}"
    asked: dict[str, tuple[Caller, Question, int]] = {}
    with serving(folder, audit={"spool": str(spool)}) as gateway:
        for caller in [c for c in callers() if c.is_known]:
            for question in questions(world):
                number = f"request-{len(asked):08}"
                answer = question.ask(gateway, caller, **{"X-Request-Id": number})
                asked[number] = caller, question, answer.status_code
        gateway.stop()
    recorded = events(spool)
    for number, (caller, question, status) in asked.items():
        check_recorded(world, caller, question, status, recorded.get(number, []))
    assert not set(recorded) - set(asked)


def check_recorded(
    world: World, caller: Caller, question: Question, status: int, found: list[dict[str, Any]]
) -> None:
    seen = world.seen(caller, question.study or "")
    told = {s for e in found for s in entities(e, "ImagingStudy")}
    named = {s.rpartition("urn:oid:")[2] for s in told}
    patients = {p for e in found for p in entities(e, "Patient")}
    assert {a["who"]["display"] for e in found for a in e["agent"][-2:-1]} <= {caller.consumer}
    if question.study is None and status < 400:
        assert found, question
        assert {e["outcome"] for e in found} == {"0"}
        assert named <= {c.study for c in seen}
        return
    there = [c for c in world.all(question.study or "") if caller.rejected or caller.exists(c)]
    is_hidden = bool(there) and not seen
    if status == 403 or is_hidden:
        assert [e["outcome"] for e in found] == ["4"], (caller.name, question)
        assert status == 403 or named == {question.study}
    elif status < 400:
        assert [e["outcome"] for e in found] == ["0"], (caller.name, question)
        assert named == (set() if status == 204 else {question.study}), (caller.name, question)
        if status == 204:
            return
        copy = seen[0]
        assert patients == {f"{SYSTEMS[copy.issuer]}|{copy.patient_id}"}


def test_when_nothing_can_be_recorded_nothing_is_told(hie: tuple[Path, World]) -> None:
    folder, _ = hie
    for on_full, expected in (("deny", 503), ("drop", 200)):
        spool = folder / f"full-{on_full}"
        spool.mkdir()
        (spool / "0-0-0.ndjson").write_bytes(b"{}\n" * (1 << 19))
        section = {"spool": str(spool), "max_mb": 1, "on_full": on_full}
        with serving(folder, audit=section) as gateway:
            deadline, status = time.monotonic() + 10, 0
            while status != expected and time.monotonic() < deadline:
                answer = requests.get(
                    f"{gateway.url}/dicom-web/studies", headers=FULL.headers, timeout=60
                )
                status = answer.status_code
            if on_full == "deny":
                assert int(answer.headers["Retry-After"]) > 0
            assert status == expected
            assert requests.get(f"{gateway.url}/health/ready", timeout=60).status_code == 200


def test_a_crash_under_load_loses_a_second_at_the_most(hie: tuple[Path, World]) -> None:
    folder, _ = hie
    spool = folder / "crash"
    answered: list[tuple[float, str]] = []
    is_over = threading.Event()

    def load(gateway: Gateway) -> None:
        with requests.Session() as session:
            while not is_over.is_set():
                number = uuid.uuid4().hex
                headers = FULL.headers | {"X-Request-Id": number}
                try:
                    session.get(
                        f"{gateway.url}/dicom-web/studies/{ROOT}.1/series",
                        headers=headers,
                        timeout=60,
                    )
                except requests.ConnectionError:
                    return
                answered.append((time.monotonic(), number))

    with serving(folder, audit={"spool": str(spool)}) as gateway:
        threads = [threading.Thread(target=load, args=(gateway,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        is_over.wait(3)
        killed = time.monotonic()
        gateway.kill()
        is_over.set()
        for thread in threads:
            thread.join()
    recorded = events(spool)
    old = {number for at, number in answered if at < killed - FLUSHED_SECONDS}
    assert len(old) > 20
    assert old <= set(recorded)


# Limits


def test_a_greedy_caller_is_stopped_and_a_modest_one_is_not(hie: tuple[Path, World]) -> None:
    folder, _ = hie
    greedy, modest = RESTRICTED[0], FULL
    with serving(folder, limits={"requests_per_minute": 60}) as gateway:
        url = f"{gateway.url}/dicom-web/studies"
        statuses = []
        for _ in range(80):
            answer = requests.get(url, headers=greedy.headers, timeout=60)
            statuses.append(answer.status_code)
            if len(statuses) % 10 == 0:
                assert requests.get(url, headers=modest.headers, timeout=60).status_code == 200
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["code"] == "throttled"

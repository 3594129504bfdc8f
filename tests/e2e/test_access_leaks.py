"""What leaves the gateway besides answers: by caches, logs, metrics, errors, the audit trail."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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

EVERYBODY = [c for c in callers() if not c.is_of_ehr]
"""Without who is bound to a patient of a FHIR server: no gateway here asks one."""
CALLERS = [c for c in EVERYBODY if c.is_known and c.is_scoped]
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


@dataclass(frozen=True)
class Told:
    """An answer, and what it was given to."""

    caller: Caller
    question: Question
    request_id: str
    status: int
    headers: str
    content: bytes

    def holds(self, what: str) -> bool:
        """Whether its headers or its body say this."""
        return holds(self.headers.encode(), what) or holds(self.content, what)


def ask(gateway: Gateway, caller: Caller, question: Question) -> Told:
    request_id = f"request-{uuid.uuid4().hex}"
    answer = question.ask(gateway, caller, **{"X-Request-Id": request_id})
    headers = repr(dict(answer.headers))
    return Told(caller, question, request_id, answer.status_code, headers, answer.content)


@dataclass(frozen=True)
class Run:
    """Every question of everybody to one gateway, and what it left behind."""

    world: World
    told: list[Told]
    metrics: str
    log: str
    keys: list[bytes]
    """The names of what is in Redis."""
    events: dict[str, list[dict[str, Any]]]
    """What the audit trail recorded, by the id of the request."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, _redis: RedisServer) -> Run:
    """Of a gateway that shares what it remembers, records, and has a file that it cannot read."""
    folder = tmp_path_factory.mktemp("run")
    world = build(folder)
    broken = world.copies[0].content[:400]
    (folder / "north" / f"CanaryP1^HOSP-A {world.copies[0].instance}.dcm").write_bytes(broken)
    _redis.renew()
    spool, cache = folder / "spool", {"redis_url": _redis.url}
    with serving(folder, cache=cache, audit={"spool": str(spool)}) as gateway:
        asked = [*questions(world), *nosy(world)]
        told = [ask(gateway, caller, question) for caller in EVERYBODY for question in asked]
        metrics = requests.get(f"{gateway.url}/metrics", headers=FULL.headers, timeout=60).text
        gateway.stop()
        with redis.Redis.from_url(_redis.url) as client:
            keys = [bytes(key) for key in client.keys("*")]
        return Run(world, told, metrics, gateway.log, keys, events(spool))


def check_nothing_leaks(hidden: frozenset[str], told: Told) -> None:
    asked = f"{told.question.path} {told.question.form}"
    assert hidden
    leaked = {uid for uid in hidden if told.holds(uid) and uid not in asked}
    assert not leaked, (told.caller.name, told.question)


@pytest.mark.timeout(240)
def test_no_uid_of_what_is_hidden_leaves_by_any_route(run: Run) -> None:
    hidden = {caller.name: run.world.hidden_uids(caller) for caller in CALLERS}
    for told in run.told:
        if told.caller in CALLERS:
            check_nothing_leaks(hidden[told.caller.name], told)


@pytest.mark.timeout(240)
def test_no_uid_leaves_though_somebody_who_may_see_it_asks_later(hie: tuple[Path, World]) -> None:
    folder, world = hie
    with serving(folder) as gateway:
        for caller in CALLERS[::-1]:
            hidden = world.hidden_uids(caller)
            for question in questions(world):
                check_nothing_leaks(hidden, ask(gateway, caller, question))


@pytest.mark.timeout(240)
def test_no_uid_leaves_where_nothing_is_remembered(hie: tuple[Path, World]) -> None:
    """Every question is looked up anew, and asked by all at once: one look is for several of them.

    Whose question leads to it is left to chance.
    """
    folder, world = hie
    hidden = {caller.name: world.hidden_uids(caller) for caller in CALLERS}
    with serving(folder, cache=FORGETFUL) as gateway, ThreadPoolExecutor(len(CALLERS)) as pool:
        for question in questions(world):
            for told in pool.map(partial(ask, gateway, question=question), CALLERS):
                check_nothing_leaks(hidden[told.caller.name], told)


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
def test_what_must_be_told_in_answers_alone_is_nowhere_else(run: Run) -> None:
    planted = canaries(run.world)
    assert len(planted) >= 40
    for told in run.told:
        if told.status >= 400 and b"permitted" not in told.content:
            spoken = {c for c in planted if holds(told.content, c)}
            assert not spoken, (told.caller.name, told.question, spoken)
    assert sum(b"gw:" in key for key in run.keys) > 10
    assert "files skipped" in run.log
    for place in (run.metrics.encode(), run.log.encode(), b"\n".join(run.keys)):
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
def test_every_disclosure_and_every_denial_is_recorded(run: Run) -> None:
    nosy_ones = set(nosy(run.world))
    for told in run.told:
        if told.caller.is_known and told.question not in nosy_ones:
            check_recorded(run.world, told, run.events.get(told.request_id, []))
    assert not set(run.events) - {told.request_id for told in run.told}


def check_recorded(world: World, told: Told, found: list[dict[str, Any]]) -> None:
    caller, question, status = told.caller, told.question, told.status
    seen = world.seen(caller, question.study or "")
    studies = {s for e in found for s in entities(e, "ImagingStudy")}
    named = {s.rpartition("urn:oid:")[2] for s in studies}
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

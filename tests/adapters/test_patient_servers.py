"""Patients of a FHIR server: asked for sparingly, and believed only to the letter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.adapters import patient_servers
from gateway.adapters.patient_servers import PatientServers
from gateway.adapters.telemetry import Telemetry
from gateway.config import Settings
from gateway.errors import TooCostly, Unavailable
from gateway.model import Consumer, Identifier, Patient
from tests.fault_archive import Answer, FaultArchive, gzip_bomb, json_answer, redirect
from tests.sockets import Sockets

SYSTEM = "urn:oid:2.999.1"
NORTH = {"type": "folder", "path": ".", "patient_system": SYSTEM}
ANNA = (Identifier(value="17", system=SYSTEM),)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings(url: str, **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "archives": {"north": NORTH},
            "fhir": {
                "patients": {"by": "server"},
                "servers": {"ehr": {"url": f"{url}/fhir", "use": ["patients"], **more}},
            },
        }
    )


@pytest_asyncio.fixture
async def servers(fault_archive: FaultArchive, clock: Clock) -> AsyncIterator[PatientServers]:
    made = patient_servers.patient_servers(settings(fault_archive.url), Telemetry(), clock)
    yield made
    await made.close()


def patient(resource_id: str = "anna", value: str = "17", **more: Any) -> Answer:
    resource = {
        "resourceType": "Patient",
        "id": resource_id,
        "identifier": [{"system": SYSTEM, "value": value}],
    }
    return json_answer(resource | more)


async def test_a_patient_is_known_by_the_servers_identifiers(
    servers: PatientServers, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/fhir/Patient/anna", patient())
    assert await servers.in_context("ehr", "anna") == ANNA
    assert fault_archive.requests[0].header("Authorization") is None
    assert fault_archive.requests[0].header("Accept") == "application/fhir+json"


async def test_a_server_that_is_not_known_is_not_asked(
    servers: PatientServers, fault_archive: FaultArchive
) -> None:
    assert await servers.in_context(None, "anna") == ()
    assert fault_archive.requests == []


@pytest.mark.parametrize(
    "patient",
    ["", ".", "..", "a/b", "../Patient/anna", "anna?x=1", "a" * 65, "ä", "a b", "Patient/a"],
)
async def test_what_is_no_id_is_nobody(
    servers: PatientServers, fault_archive: FaultArchive, patient: str
) -> None:
    assert await servers.in_context("ehr", patient) == ()
    assert fault_archive.requests == []


async def test_many_who_ask_at_once_cost_one_request_and_a_minute_none(
    servers: PatientServers, fault_archive: FaultArchive, clock: Clock
) -> None:
    fault_archive.on("/fhir/Patient/anna", patient(), patient(value="18"))
    found = await asyncio.gather(*(servers.in_context("ehr", "anna") for _ in range(50)))
    assert set(found) == {ANNA}
    clock.now = patient_servers.KNOWN_SECONDS - 1
    assert await servers.in_context("ehr", "anna") == ANNA
    assert servers.holds("ehr", "anna", ANNA)
    assert not servers.holds("ehr", "anna", ())
    assert len(fault_archive.requests) == 1
    clock.now += 1
    assert not servers.holds("ehr", "anna", ANNA)
    assert [one.value for one in await servers.in_context("ehr", "anna")] == ["18"]
    assert len(fault_archive.requests) == 2


@pytest.mark.parametrize("status", [404, 410])
async def test_nobody_is_believed_for_a_short_time(
    servers: PatientServers, fault_archive: FaultArchive, clock: Clock, status: int
) -> None:
    fault_archive.on("/fhir/Patient/anna", Answer(status=status), patient())
    for _ in range(2):
        assert await servers.in_context("ehr", "anna") == ()
    assert len(fault_archive.requests) == 1
    clock.now = patient_servers.UNKNOWN_SECONDS
    assert await servers.in_context("ehr", "anna") == ANNA


HOSTILE = {
    "down": Answer(status=503),
    "broken": Answer(status=500),
    "refused": Answer(status=403),
    "not json": Answer(body=b"<Patient/>"),
    "not acceptable": Answer(status=406),
    "another type": json_answer({"resourceType": "Person", "id": "anna"}),
    "another patient": patient("bert"),
    "a bundle": json_answer({"resourceType": "Bundle", "entry": []}),
    "nothing": Answer(status=204),
    "huge": Answer(body=b'{"resourceType": "Patient"' + b" " * (5 << 20) + b"}"),
    "a bomb": gzip_bomb(300),
    "endless": Answer(body=b" " * 65536, framing="chunked", endless=True),
    "cut": Answer(body=b'{"resourceType": "Patient"}', cut_after=5),
    "deep": Answer(body=b"[" * 100_000),
    "away": redirect("http://127.0.0.1:1/fhir/Patient/anna"),
    "metadata": redirect("http://169.254.169.254/latest/meta-data"),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
async def test_a_server_that_does_not_tell_lets_nobody_see_anything(
    servers: PatientServers,
    fault_archive: FaultArchive,
    clock: Clock,
    sockets: Sockets,
    answer: Answer,
) -> None:
    fault_archive.on("/fhir/Patient/anna", answer, patient())
    for _ in range(3):
        with pytest.raises(Unavailable) as failed:
            await servers.in_context("ehr", "anna")
        assert failed.value.retry_after_seconds
        assert str(failed.value) == "who the patient is cannot be looked up now"
    assert len(fault_archive.requests) == 1
    assert {port for _, port in sockets.addresses} == {int(fault_archive.url.rpartition(":")[2])}
    clock.now = patient_servers.FAILED_SECONDS
    assert await servers.in_context("ehr", "anna") == ANNA


async def test_what_was_known_is_not_believed_while_the_server_is_away(
    servers: PatientServers, fault_archive: FaultArchive, clock: Clock
) -> None:
    fault_archive.on("/fhir/Patient/anna", patient(), Answer(status=503))
    assert await servers.in_context("ehr", "anna") == ANNA
    clock.now = patient_servers.KNOWN_SECONDS
    with pytest.raises(Unavailable):
        await servers.in_context("ehr", "anna")


async def test_the_gateway_proves_itself_and_renews_its_token_once(
    fault_archive: FaultArchive, clock: Clock
) -> None:
    auth = {"type": "oauth2", "client_id": "g", "client_secret": "s"}
    auth["token_url"] = f"{fault_archive.url}/token"
    tokens = [json_answer({"access_token": token}) for token in ("old", "new")]
    fault_archive.on("/token", *tokens)
    fault_archive.on("/fhir/Patient/anna", Answer(status=401), patient())
    made = patient_servers.patient_servers(
        settings(fault_archive.url, auth=auth), Telemetry(), clock
    )
    assert await made.in_context("ehr", "anna") == ANNA
    sent = [r.header("Authorization") for r in fault_archive.requests if "Patient" in r.path]
    assert sent == ["Bearer old", "Bearer new"]
    await made.close()


async def test_only_so_many_patients_are_remembered(
    servers: PatientServers, fault_archive: FaultArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_servers, "MAX_REMEMBERED", 3)
    for number in range(5):
        assert await servers.in_context("ehr", f"p{number}") == ()
    assert len(servers) == 3


UNBOUND = Consumer(id="a")


async def test_patients_who_are_named_are_looked_up_for_those_who_may_name_anybody(
    servers: PatientServers, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/fhir/Patient/anna", patient())
    ids = await servers.ids(UNBOUND, ["anna", "nobody"])
    assert ids.identifier_of("anna") == ("17",)
    assert ids.identifier_of("nobody") == ()
    assert ids.id_of(Patient(id=ANNA[0])) == "anna"
    assert ids.id_of(Patient(id=Identifier(value="17", system="urn:oid:2.999.2"))) is None
    assert ids.id_of(Patient(id=Identifier(value="17"))) is None
    with pytest.raises(TooCostly):
        await servers.ids(UNBOUND, [f"p{n}" for n in range(patient_servers.MOST_NAMED + 1)])


async def test_whoever_is_bound_knows_one_patient_and_asks_for_no_other(
    servers: PatientServers, fault_archive: FaultArchive
) -> None:
    ids = await servers.ids(Consumer(id="a", patients=ANNA, patient="anna"), ["bert"])
    assert (ids.identifier_of("anna"), ids.identifier_of("bert")) == (("17",), ())
    nobody = await servers.ids(Consumer(id="a", patients=()), ["bert"])
    assert nobody.identifier_of("bert") == ()
    assert fault_archive.requests == []


async def test_other_ways_to_know_patients_ask_no_server(fault_archive: FaultArchive) -> None:
    data = json.loads(settings(fault_archive.url).model_dump_json())
    data["fhir"]["patients"]["by"] = "identity"
    made = patient_servers.patient_servers(Settings.model_validate(data), Telemetry())
    assert await made.in_context("ehr", "17") == ANNA
    assert (await made.ids(UNBOUND, ["17"])).identifier_of("17") == ("17",)
    assert fault_archive.requests == []
    await made.close()

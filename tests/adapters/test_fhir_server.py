"""An archive's studies by FHIR servers that list them: real HTTP, its failures, its credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from pytest_aiohttp import AiohttpServer

from gateway.adapters import fhir_server
from gateway.adapters.fhir_server import FhirHoldings
from gateway.config import Settings
from gateway.config_servers import BearerAuth, NoAuth
from gateway.errors import ArchiveBadAnswer, ArchiveError, ArchiveRefused
from gateway.model import Level, Origin, Target
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.qido import Query
from tests.adapters.clients import client
from tests.assembled import Clock
from tests.dicom import row
from tests.fault_archive import Answer, FaultArchive, json_answer
from tests.fhir_holder import FhirHolder

Made = Callable[..., FhirHoldings]


def study(number: int, patient: str = "p1", **more: Any) -> dict[str, Any]:
    uid = f"1.2.{number}"
    series = {"uid": f"{uid}.1", "instance": [{"uid": f"{uid}.1.1", "number": 1}]}
    return {
        "resourceType": "ImagingStudy",
        "id": f"s{number}",
        "status": "available",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
        "subject": {"reference": f"Patient/{patient}"},
        "series": [series],
    } | more


PATIENT = {"resourceType": "Patient", "id": "p1", "identifier": [{"value": "P1"}]}


@pytest.fixture
async def make() -> AsyncIterator[Made]:
    """Makes the holdings of `south` by servers at these addresses, and closes them."""
    made: list[FhirHoldings] = []

    def one(
        *addresses: str,
        described: Any = None,
        token: str | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> FhirHoldings:
        archives = {"south": {"type": "dicomweb", "qido_rs": None, "wado_uri": "http://south/wado"}}
        servers = {f"ehr{n}": {"url": a, "archive": "south"} for n, a in enumerate(addresses)}
        auth = BearerAuth(type="bearer", token=SecretStr(token)) if token else NoAuth()
        configured = Settings.model_validate({"archives": archives, "fhir": {"servers": servers}})
        clients = {name: client(auth) for name in servers}
        made.append(FhirHoldings(Origin(archive="south"), configured, clients, described, clock))
        return made[-1]

    yield one
    for each in made:
        await each.close()


async def serve(holder: FhirHolder, aiohttp_server: AiohttpServer) -> str:
    server = await aiohttp_server(holder.app)
    return f"http://{server.host}:{server.port}/fhir"


def by(tag: str, value: str, level: Level = Level.STUDY) -> Query:
    return Query(level=level, keys=(qido.key(tag, value),))


def uids(found: Any, tag: str = dj.STUDY_INSTANCE_UID) -> list[str | None]:
    return [dj.text(r, tag) for r in found.items]


async def test_a_study_is_read_with_its_series_and_instances(
    make: Made, aiohttp_server: AiohttpServer
) -> None:
    holdings = make(await serve(FhirHolder([study(1), study(2), PATIENT]), aiohttp_server))
    found = await holdings.study("1.2.1")
    assert found is not None
    assert (found.uid, found.number_of_series, found.number_of_instances) == ("1.2.1", 1, 1)
    assert found.archives == ("south",)
    assert found.patient.id is not None
    assert found.patient.id.value == "P1"
    instances = (await holdings.instances(found)).instances
    assert [i.uid for i in instances["1.2.1.1"]] == ["1.2.1.1.1"]
    assert await holdings.study("1.2.9") is None


async def test_a_withdrawn_study_does_not_exist(make: Made, aiohttp_server: AiohttpServer) -> None:
    withdrawn = study(1, status="entered-in-error")
    holdings = make(await serve(FhirHolder([withdrawn, PATIENT]), aiohttp_server))
    assert await holdings.study("1.2.1") is None


async def test_all_pages_of_a_patient_are_read(make: Made, aiohttp_server: AiohttpServer) -> None:
    holder = FhirHolder([*(study(n) for n in range(7)), PATIENT], page=2)
    holdings = make(await serve(holder, aiohttp_server))
    found = await holdings.search(by(dj.PATIENT_ID, "P1"), 3)
    assert uids(found) == [f"1.2.{n}" for n in range(7)]
    assert not found.has_more
    assert sum("_start" in asked for asked in holder.asked) == 3


async def test_rows_are_looked_at_again_whatever_the_server_found(
    make: Made, aiohttp_server: AiohttpServer
) -> None:
    dated = study(1, started="2020-05-01")
    holdings = make(await serve(FhirHolder([dated, study(2), PATIENT]), aiohttp_server))
    keys = (qido.key(dj.PATIENT_ID, "P1"), qido.key(dj.STUDY_DATE, "20200101-20201231"))
    assert uids(await holdings.search(Query(level=Level.STUDY, keys=keys))) == ["1.2.1"]
    one = by(dj.SOP_INSTANCE_UID, "1.2.1.1.1", Level.INSTANCE)
    below = Query(level=Level.INSTANCE, study_uid="1.2.1", keys=one.keys)
    assert uids(await holdings.search(below), dj.SOP_INSTANCE_UID) == ["1.2.1.1.1"]


async def test_a_study_is_read_once_for_all_who_ask_within_seconds(
    make: Made, aiohttp_server: AiohttpServer
) -> None:
    holder, clock = FhirHolder([study(1), PATIENT]), Clock()
    holdings = make(await serve(holder, aiohttp_server), clock=clock)
    below = Query(level=Level.INSTANCE, study_uid="1.2.1")
    found = await asyncio.gather(*(holdings.search(below) for _ in range(5)))
    assert {str(uids(f, dj.SOP_INSTANCE_UID)) for f in found} == {"['1.2.1.1.1']"}
    assert await holdings.study("1.2.1") is not None
    assert len(holder.asked) == 1
    clock.now += fhir_server.KEPT_SECONDS + 1
    assert await holdings.study("1.2.1") is not None
    assert len(holder.asked) == 2


async def test_several_servers_tell_of_one_study(make: Made, aiohttp_server: AiohttpServer) -> None:
    more = {"uid": "1.2.1.2", "instance": [{"uid": "1.2.1.2.1"}]}
    first = await serve(FhirHolder([study(1), PATIENT]), aiohttp_server)
    second = await serve(FhirHolder([study(1, series=[more]), PATIENT]), aiohttp_server)
    found = await make(first, second).study("1.2.1")
    assert found is not None
    assert [s.uid for s in found.series or ()] == ["1.2.1.1", "1.2.1.2"]


async def test_what_cannot_be_searched_is_said_and_the_server_is_known_to_be_there(
    make: Made, aiohttp_server: AiohttpServer
) -> None:
    holder = FhirHolder([study(1), PATIENT])
    holdings = make(await serve(holder, aiohttp_server))
    found = await holdings.search(Query(level=Level.STUDY), 1)
    assert (found.items, found.unsearchable, found.silent) == ((), ("south",), ())
    assert len(holder.asked) == 1
    named = await holdings.search(by(dj.PATIENT_NAME, "A*"))
    assert named.unsearchable == ("south",)
    assert len(holder.asked) == 1


async def test_the_archive_itself_tells_of_instances_that_are_not_listed(
    make: Made, aiohttp_server: AiohttpServer
) -> None:
    asked: list[Target] = []

    async def described(target: Target) -> list[bytes]:
        asked.append(target)
        found = row(SOPInstanceUID="1.2.1.1.5", SeriesInstanceUID="1.2.1.1", Rows=4)
        return [orjson.dumps(found | row(StudyInstanceUID="1.2.1"))]

    bare = study(1, series=[{"uid": "1.2.1.1", "numberOfInstances": 1}])
    base = await serve(FhirHolder([bare, PATIENT]), aiohttp_server)
    holdings = make(base, described=described)
    found = await holdings.study("1.2.1")
    assert found is not None
    assert found.number_of_instances == 1
    assert [i.rows for i in (await holdings.instances(found)).instances["1.2.1.1"]] == [4]
    assert asked == [Target(study_uid="1.2.1", series_uid="1.2.1.1")]
    assert (await make(base).instances(found)).instances == {}


async def test_the_server_is_asked_with_its_own_credentials(
    make: Made, aiohttp_server: AiohttpServer
) -> None:
    base = await serve(FhirHolder([study(1), PATIENT], token="Bearer secret"), aiohttp_server)
    assert await make(base, token="secret").study("1.2.1") is not None
    with pytest.raises(ArchiveRefused, match="archive north"):
        await make(base).study("1.2.1")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=500),
        Answer(status=404),
        Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Answer(body=b"<html>", content_type="text/html"),
        json_answer({"resourceType": "OperationOutcome"}),
        json_answer([1, 2]),
    ],
)
async def test_a_server_that_fails_is_a_failure_of_the_archive(
    make: Made, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("/fhir/ImagingStudy", answer)
    holdings = make(f"{fault_archive.url}/fhir")
    for query in (by(dj.PATIENT_ID, "P1"), by(dj.STUDY_INSTANCE_UID, "1.2.1")):
        with pytest.raises(ArchiveError):
            await holdings.search(query)


async def test_a_next_page_that_leads_elsewhere_is_not_followed(
    make: Made, fault_archive: FaultArchive
) -> None:
    def page(url: str) -> Answer:
        links = [{"relation": "next", "url": url}]
        return json_answer({"resourceType": "Bundle", "link": links})

    """Nor is what came before it taken for all that there is."""
    holdings = make(f"{fault_archive.url}/fhir")
    for number, url in enumerate(
        (
            "http://127.0.0.1:1/fhir/ImagingStudy?x=1",
            f"{fault_archive.url}/fhir/../admin?x=1",
            f"{fault_archive.url}/fhirs?x=1",
        )
    ):
        fault_archive.on("/fhir/ImagingStudy", page(url))
        with pytest.raises(ArchiveBadAnswer, match="elsewhere"):
            await holdings.study(f"1.2.{number}")
        assert len(fault_archive.requests) == number + 1


async def test_pages_without_end_come_to_an_end(make: Made, fault_archive: FaultArchive) -> None:
    links = [{"relation": "next", "url": f"{fault_archive.url}/fhir/ImagingStudy?again=1"}]
    fault_archive.on("/fhir/ImagingStudy", json_answer({"resourceType": "Bundle", "link": links}))
    found = await make(f"{fault_archive.url}/fhir").search(by(dj.STUDY_INSTANCE_UID, "1.2.1"))
    assert found.has_more
    assert len(fault_archive.requests) == 20

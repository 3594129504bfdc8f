"""Patients found by the ids of their resources."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import ArchiveUnreachable, Unavailable
from gateway.model import Found
from gateway.routes.fhir_subjects import Subjects
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.routes.test_fhir_scan import ROOT, SHARED, Gateway, configured, of_ward
from tests.study_archive import StudyArchive, StudyFacts

P1 = replace(SHARED, patient_id="P1", date="20200101")
LATER = replace(P1, uid=f"{ROOT}.2", date="20210101")
OF_WARD = replace(P1, uid=f"{ROOT}.3", issuer="WARD", date="20220101")


class Unreachable(StudyArchive):
    """An archive that cannot be asked anything."""

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        raise ArchiveUnreachable("cannot be reached", archive=self.id)


def subjects(gateway: Gateway) -> Subjects:
    return Subjects(gateway.catalog, gateway.resources)


async def test_studies_of_one_patient_id_are_told_apart_by_its_system() -> None:
    found = subjects(Gateway((P1, LATER, OF_WARD)))
    assert {s.uid for s in await found.studies("P1")} == {P1.uid, LATER.uid}
    assert [s.uid for s in await found.studies(of_ward("P1"))] == [OF_WARD.uid]
    assert await found.studies("P2") == await found.studies("a_b") == ()


async def test_patient_is_looked_for_once() -> None:
    gateway = Gateway((P1, LATER))
    found = subjects(gateway)
    for _ in range(3):
        telling = await found.all_telling(["P1", "P1", "none"])
    assert {one: s.uid for one, s in telling.items()} == {"P1": LATER.uid}
    assert [one.searches for one in gateway.archives] == [2, 2]


async def test_silent_archive_is_remembered() -> None:
    found = subjects(Gateway((P1,), south=Unreachable))
    assert await found.telling("P1") is not None
    assert await found.telling("P2") is None
    assert found.silent == {"south"}


async def test_where_nobody_answers_one_patient_is_an_error_and_several_are_missing() -> None:
    gateway = Gateway((P1,), north=Unreachable, south=Unreachable)
    with pytest.raises(Unavailable):
        await subjects(gateway).telling("P1")
    found = subjects(gateway)
    assert await found.all_telling(["P1", "P2"]) == {}
    assert found.silent == {"north", "south"}


async def test_patient_with_too_many_studies_is_said_to_be_cut_short() -> None:
    held: list[StudyFacts] = [replace(P1, uid=f"{ROOT}.{n}") for n in range(1, 5)]
    found = subjects(Gateway(held, settings=configured(max_candidates=3)))
    assert len(await found.studies("P1")) == 3
    assert found.is_cut_short

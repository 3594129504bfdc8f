"""What it holds is asked of one, its objects of another; the whole is an archive like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.adapters.archive_partial import PartialArchive
from gateway.adapters.wado_uri import WadoUriObjects
from gateway.adapters.wado_uri_service import WadoUriService
from gateway.errors import ArchiveBadAnswer, NotSupported
from gateway.model import Level, Origin, Rung, Target
from gateway.rules import dicom_json as dj
from gateway.rules.qido import Query
from tests.adapters.clients import archive, client
from tests.adapters.test_recent import same
from tests.dicom import part10_file, row
from tests.fault_archive import Answer, FaultArchive, json_answer

ONE = Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1")


@pytest.fixture
async def partial(fault_archive: FaultArchive) -> AsyncIterator[PartialArchive]:
    http = client()
    holdings = archive(f"{fault_archive.url}/rs")
    service = WadoUriService("north", f"{fault_archive.url}/wado", http)
    objects = WadoUriObjects(service, holdings.search, lambda: 0.0, same)
    made = PartialArchive(Origin(archive="north"), holdings, objects, http)
    yield made
    await made.close()


async def test_each_half_is_asked_for_its_own(
    partial: PartialArchive, fault_archive: FaultArchive
) -> None:
    known = row(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", SOPInstanceUID="1.2.3.4.1")
    fault_archive.on("/rs/*", json_answer([known]))
    file = part10_file("1.2.3.4.1")
    fault_archive.on("/wado", Answer(body=file, content_type="application/dicom"))
    study = await partial.study("1.2.3")
    assert study is not None
    assert [i.uid for i in (await partial.instances(study)).instances["1.2.3.4"]] == ["1.2.3.4.1"]
    found = await partial.search(Query(level=Level.STUDY, study_uid="1.2.3"), 1)
    assert [dj.text(r, dj.STUDY_INSTANCE_UID) for r in found.items] == ["1.2.3"]
    assert {s.route.split("/")[1] for s in fault_archive.requests} == {"rs"}
    asked = len(fault_archive.requests)
    async with partial.retrieve(ONE) as parts:
        async for part in parts:
            assert b"".join([c async for c in part.chunks]) == file
    assert len(await partial.metadata(ONE)) == 1
    with pytest.raises(ArchiveBadAnswer):
        await partial.picture(ONE, Rung.WADO_URI, 64, 64, "image/jpeg")
    with pytest.raises(NotSupported):
        await partial.picture(ONE, Rung.RENDERED, 64, 64, "image/jpeg")
    assert {s.route for s in fault_archive.requests[asked:]} == {"/wado"}

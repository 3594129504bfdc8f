"""What a search is answered with, of few rows and of more than the loop goes through itself."""

from __future__ import annotations

import pytest
from pytest_aiohttp import AiohttpClient

from gateway.apart import AT_ONCE
from gateway.app import build_app
from gateway.config import Settings
from tests.doubles import Double, Held
from tests.fault_archive import FaultArchive
from tests.standing import Client

PUBLIC = "https://gw.example.org/images"
XML = 'multipart/related; type="application/dicom+xml"'


@pytest.fixture
async def gateway(aiohttp_client: AiohttpClient, fault_archive: FaultArchive) -> Client:
    archive = {"type": "dicomweb", "qido_rs": fault_archive.url}
    return await aiohttp_client(
        build_app(
            Settings.model_validate(
                {"server": {"public_url": PUBLIC}, "archives": {"north": archive}}
            )
        )
    )


def hold(fault_archive: FaultArchive, count: int) -> list[str]:
    """An archive with so many instances of one series; their paths."""
    uids = (f"1.2.3.1.{number}" for number in range(1, count + 1))
    held = [Held(study="1.2.3", series="1.2.3.1", instance=uid) for uid in uids]
    Double(fault_archive, held)
    return [one.path for one in held]


@pytest.mark.parametrize("count", [1, AT_ONCE, AT_ONCE + 1])
async def test_every_row_says_where_it_is_retrieved(
    gateway: Client, fault_archive: FaultArchive, count: int
) -> None:
    paths = hold(fault_archive, count)

    answer = await gateway.get("/dicom-web/studies/1.2.3/instances")

    found = await answer.json(content_type="application/dicom+json")
    told = [r["00081190"]["Value"][0] for r in found]
    assert sorted(told) == sorted(f"{PUBLIC}/dicom-web{path}" for path in paths)


async def test_as_xml_many_rows_are_as_many_parts(
    gateway: Client, fault_archive: FaultArchive
) -> None:
    hold(fault_archive, AT_ONCE + 1)

    answer = await gateway.get("/dicom-web/studies/1.2.3/instances", headers={"Accept": XML})

    assert answer.status == 200
    assert (await answer.read()).count(b"<NativeDicomModel") == AT_ONCE + 1

"""The console as a person meets it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.app import build_app
from gateway.config import DicomwebArchive, IidViewer, Settings
from gateway.model import Patient, PersonName
from gateway.routes.console import patient_name
from tests.hie import bearer, scoped
from tests.servers import NOBODY

STUDY = f"{demo.UID_ROOT}.1"
Open = Callable[[str], Awaitable[str]]


@pytest.fixture
async def page(aiohttp_client: AiohttpClient, sample_folder: Path) -> Open:
    """The text of a page of the demonstration's console."""
    settings = demo.settings(sample_folder, 8080)
    other = IidViewer(type="iid", title="Other & viewer", url="https://pacs.example.org/iid")
    settings = settings.model_copy(update={"viewers": {**settings.viewers, "other": other}})
    client = await aiohttp_client(build_app(settings))

    async def text(path: str) -> str:
        answer = await client.get(path)
        assert answer.status == 200
        assert answer.content_type == "text/html"
        return await answer.text()

    return text


async def test_studies_are_listed_with_thumbnails(page: Open) -> None:
    text = await page("/")
    assert f'href="?study={STUDY}"' in text
    assert f'src="dicom-web/studies/{STUDY}/thumbnail"' in text


async def test_search_narrows_the_list_and_keeps_what_was_asked(page: Open) -> None:
    text = await page("/?modality=ct&name=&id=&date=")
    assert 'name="modality" value="ct"' in text
    assert 0 < text.count('class="card"') < (await page("/")).count('class="card"')


async def test_search_without_a_match_says_so(page: Open) -> None:
    assert "No study matches" in await page("/?name=Nobody")


async def test_study_shows_its_series_and_where_they_are(page: Open) -> None:
    text = await page(f"/?study={STUDY}")
    assert f'src="dicom-web/studies/{STUDY}/series/{STUDY}.1/thumbnail"' in text
    assert f"http://127.0.0.1:8080/dicom-web/studies/{STUDY}/series/{STUDY}.1" in text
    assert f'href="fhir/r5/ImagingStudy/{STUDY}"' in text


async def test_study_can_be_opened_in_each_viewer(page: Open) -> None:
    text = await page(f"/?study={STUDY}")
    assert f'href="iid?requestType=STUDY&amp;studyUID={STUDY}"' in text
    assert "Open in Other &amp; viewer" in text
    assert 'href="https://pacs.example.org/iid?' in text


async def test_pages_hold_no_script_and_load_nothing_from_elsewhere(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    client = await aiohttp_client(build_app(demo.settings(sample_folder, 8080)))
    for path in ("/", f"/?study={STUDY}"):
        answer = await client.get(path)
        text = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script" not in text
        assert re.findall(r'\bsrc="(?!dicom-web/)', text) == []
        assert " style=" not in text


async def test_what_is_typed_cannot_become_markup(page: Open) -> None:
    text = await page("/?id=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script" not in text


@pytest.mark.parametrize(
    ("query", "status"),
    [(f"study={STUDY}9999", 404), ("study=x", 400), ("date=yesterday", 400), ("offset=-1", 400)],
)
async def test_what_cannot_be_shown_is_told_on_a_page(
    query: str, status: int, aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    client = await aiohttp_client(build_app(demo.settings(sample_folder, 8080)))
    answer = await client.get(f"/?{query}")
    assert answer.status == status
    assert answer.content_type == "text/html"


async def test_silent_archive_is_named(aiohttp_client: AiohttpClient, sample_folder: Path) -> None:
    settings = demo.settings(sample_folder, 8080)
    silent = DicomwebArchive(type="dicomweb", qido_rs=f"http://127.0.0.1:{NOBODY.number}")
    both = settings.model_copy(update={"archives": {**settings.archives, "away": silent}})
    client = await aiohttp_client(build_app(both))
    for path in ("/", f"/?study={STUDY}"):
        assert "Archive away does not answer" in await (await client.get(path)).text()


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Yamada^Tarou", "Yamada, Tarou"),
        ("O'Brien^Siobhan^Mary^Dr", "O'Brien, Siobhan Mary"),
        ("Mono", "Mono"),
        ("^Given", "Given"),
        (None, "No name"),
    ],
)
def test_names_are_written_as_people_write_them(written: str | None, shown: str) -> None:
    name = None if written is None else PersonName(alphabetic=written)
    assert patient_name(Patient(name=name)) == shown


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("system/ImagingStudy.r", (403, 403, 200)), ("system/ImagingStudy.rs", (200, 200, 200))],
)
async def test_list_is_for_those_who_may_search(
    aiohttp_client: AiohttpClient,
    sample_folder: Path,
    tmp_path: Path,
    scope: str,
    expected: tuple[int, ...],
) -> None:
    settings = demo.settings(sample_folder, 8080).model_dump() | scoped(tmp_path)
    client = await aiohttp_client(build_app(Settings.model_validate(settings)))
    paths = ("/", "/?id=P1", f"/?study={STUDY}")
    answers = [await client.get(path, headers=bearer(scope=scope)) for path in paths]
    assert tuple(answer.status for answer in answers) == expected

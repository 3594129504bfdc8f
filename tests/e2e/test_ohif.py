"""OHIF in a real browser: studies and images of two real archives, through the gateway alone."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import pytest
import requests
from aiohttp import web
from playwright.async_api import Page, Request, Response, async_playwright, expect
from pytest_aiohttp import AiohttpServer
from yarl import URL

from gateway import demo
from gateway.demo_studies import STUDIES
from tests.e2e.browser_clients import ohif
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.samples import Sample, TwoArchives, hold, series_by_study
from tests.servers import Orthanc, program

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "credentialless",
}
"""OHIF decodes in workers that share memory, which browsers allow isolated pages only."""
WAIT_MS = 30_000
FRAME = re.compile(r"/studies/([\d.]+)/series/([\d.]+)/instances/[\d.]+/frames/\d+$")

PICTURE = """
() => {
  const canvas = document.querySelector('[data-cy="viewport-pane"] canvas.cornerstone-canvas');
  if (!canvas || !canvas.width || !canvas.height) return null;
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const levels = new Set();
  let lit = 0;
  let print = 0;
  for (let at = 0; at < data.length; at += 4) {
    const grey = (data[at] + data[at + 1] + data[at + 2]) / 3 | 0;
    if (grey > 12) lit += 1;
    levels.add(grey);
    print = (print * 31 + grey) | 0;
  }
  return {lit: lit * 4 / data.length, levels: levels.size, print};
}
"""
"""What the first viewport shows: the share of lit pixels, the grey levels, a fingerprint."""
SHOWS_AN_IMAGE = f"""
other => {{
  const picture = ({PICTURE})();
  const isImage = picture && picture.lit > 0.1 && picture.levels > 32;
  return isImage && picture.print !== other ? picture : null;
}}
"""


class Picture(TypedDict):
    """What the first viewport shows."""

    lit: float
    levels: int
    print: int


@dataclass
class Watch:
    """What the browser asked of whom, and what went wrong; open, as playwright adds to it."""

    gateway: str
    viewer: str
    strangers: set[str] = field(default_factory=set)
    """Other addresses that were asked: an archive's would be one."""
    failures: list[str] = field(default_factory=list)
    frames: set[str] = field(default_factory=set)
    """Series of which a frame came."""

    def on(self, page: Page) -> None:
        """Notes what `page` does from now on."""
        page.on("request", self._asked)
        page.on("response", self._answered)
        page.on("requestfailed", self._failed)

    def _asked(self, request: Request) -> None:
        origin = URL(request.url).origin() if request.url.startswith("http") else None
        if origin is not None and str(origin) not in {self.gateway, self.viewer}:
            self.strangers.add(request.url)

    def _answered(self, response: Response) -> None:
        if not response.url.startswith(self.gateway):
            return
        if response.status >= 400:
            self.failures.append(f"{response.status} {response.request.method} {response.url}")
        elif (found := FRAME.search(response.url)) is not None:
            self.frames.add(found[2])

    def _failed(self, request: Request) -> None:
        if request.url.startswith(self.gateway):
            self.failures.append(f"{request.failure} {request.method} {request.url}")


def configuration(gateway: Gateway) -> str:
    """OHIF's app-config.js: the gateway as the only data source."""
    source = {
        "friendlyName": "gateway",
        "name": "gateway",
        "wadoUriRoot": f"{gateway.url}/wado",
        "qidoRoot": gateway.dicom_web,
        "wadoRoot": gateway.dicom_web,
        "qidoSupportsIncludeField": True,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": True,
        "supportsWildcard": True,
        "bulkDataURI": {"enabled": True},
    }
    config = {
        "routerBasename": "/",
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "maxNumberOfWebWorkers": 1,
        "defaultDataSourceName": "gateway",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "gateway",
                "configuration": source,
            }
        ],
    }
    return f"window.config = {json.dumps(config)};"


@dataclass(slots=True)
class Viewer:
    """OHIF as its build is, but for a configuration of ours."""

    folder: Path
    url: str = ""
    source: Gateway | None = None

    async def configuration(self, _: web.Request) -> web.Response:
        """app-config.js."""
        if self.source is None:
            raise web.HTTPServiceUnavailable
        text = configuration(self.source)
        return web.Response(text=text, content_type="application/javascript")

    async def file(self, request: web.Request) -> web.FileResponse:
        """A file of the build; its only page for the addresses that the page itself makes up."""
        path = self.folder / request.match_info["path"]
        return web.FileResponse(
            path if path.is_file() else self.folder / "index.html", headers=ISOLATED
        )


@pytest.fixture
def split(two_archives: TwoArchives, samples: tuple[Sample, ...]) -> TwoArchives:
    """The archives with every study's series dealt out to them in turns."""
    dealt: tuple[set[str], set[str]] = (set(), set())
    for series in series_by_study(samples).values():
        for number, uid in enumerate(series):
            dealt[number % 2].add(uid)
    for orthanc, mine in zip((two_archives.north, two_archives.south), dealt, strict=True):
        hold(orthanc, [s for s in samples if s.series_uid in mine])
    return two_archives


@pytest.fixture
async def viewer(aiohttp_server: AiohttpServer) -> Viewer:
    """OHIF's build at an address of its own; its configuration is written later."""
    found = Viewer(folder=ohif())
    app = web.Application()
    app.router.add_get("/app-config.js", found.configuration)
    app.router.add_get("/{path:.*}", found.file)
    server = await aiohttp_server(app)
    found.url = f"http://{server.host}:{server.port}"
    return found


@pytest.fixture
def gateway(split: TwoArchives, viewer: Viewer, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway over both archives, open to the viewer's origin."""
    archives = {
        "north": archive(split.north.dicom_web),
        "south": archive(split.south.dicom_web),
    }
    with ForkedGateway(tmp_path, archives, server={"cors_origins": [viewer.url]}) as one:
        viewer.source = one
        yield one


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of Debian's Chromium that clicks OHIF's tour away when it is in the way."""
    async with async_playwright() as playwright:
        playwright.selectors.set_test_id_attribute("data-cy")
        browser = await playwright.chromium.launch(
            executable_path=program("chromium"), args=CHROMIUM_FLAGS
        )
        page = await browser.new_page(viewport={"width": 1200, "height": 800})
        page.set_default_timeout(WAIT_MS)
        tour = page.get_by_text("Skip all")
        await page.add_locator_handler(tour, lambda button: button.click())
        yield page
        await browser.close()


async def shown(page: Page, other: int = 0) -> Picture:
    """What the viewport shows, once that is an image and another than `other`."""
    found = await page.wait_for_function(SHOWS_AN_IMAGE, arg=other, timeout=WAIT_MS)
    picture: Picture = await found.json_value()
    return picture


async def test_studies_are_listed_and_a_split_one_is_shown(
    page: Page, viewer: Viewer, gateway: Gateway, split: TwoArchives
) -> None:
    watch = Watch(gateway.url, viewer.url)
    watch.on(page)

    await page.goto(viewer.url)
    for study in STUDIES:
        row = page.get_by_role("row").filter(has_text=study.description or "No Description")
        await expect(row).to_have_count(1, timeout=WAIT_MS)

    await page.goto(f"{viewer.url}/viewer?StudyInstanceUIDs={demo.UID_ROOT}.1")
    await shown(page)
    for label in ("Topogram", "Axial 5.0", "Axial 1.0"):
        series = page.get_by_test_id("study-browser-thumbnail").filter(has_text=label)
        await expect(series.locator("img")).to_be_visible(timeout=WAIT_MS)

    assert watch.frames & in_archive(split.north)
    assert watch.frames & in_archive(split.south)
    assert watch.failures == []
    assert watch.strangers == set()


async def test_pictures_of_both_archives_are_shown_one_after_the_other(
    page: Page, viewer: Viewer, gateway: Gateway, split: TwoArchives
) -> None:
    watch = Watch(gateway.url, viewer.url)
    watch.on(page)

    await page.goto(f"{viewer.url}/viewer?StudyInstanceUIDs={demo.UID_ROOT}.4")
    loop = await shown(page)
    await page.get_by_test_id("study-browser-thumbnail").filter(has_text="Colour still").dblclick()
    await expect(page.get_by_test_id("viewport-overlay-top-left")).to_contain_text("Colour still")
    still = await shown(page, other=loop["print"])

    assert loop["levels"] > 32
    assert still["levels"] > 32
    assert f"{demo.UID_ROOT}.4.1" in watch.frames & in_archive(split.north)
    assert f"{demo.UID_ROOT}.4.2" in watch.frames & in_archive(split.south)
    assert watch.failures == []
    assert watch.strangers == set()


def in_archive(orthanc: Orthanc) -> set[str]:
    """UIDs of the series that an archive holds."""
    rows = requests.get(f"{orthanc.url}/series?expand", timeout=30).json()
    return {row["MainDicomTags"]["SeriesInstanceUID"] for row in rows}

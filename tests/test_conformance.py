"""`docs/conformance.md` is true: its routes, its parameters, its tests, and what it refuses."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from gateway import demo
from gateway.model import ConnectionType
from gateway.routes import dicomweb, wado_uri
from gateway.rules import qido, transactions
from gateway.rules.transactions import TRANSACTIONS
from gateway.rules.url_parameters import Resource, taken
from tests.standing import Client

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "conformance.md").read_text()
NAMES_OF_WADO_URI = {"requestType", "studyUID", "seriesUID", "objectUID"}
SAMPLE = {
    "study": f"{demo.UID_ROOT}.1",
    "series": f"{demo.UID_ROOT}.1.2",
    "instance": f"{demo.UID_ROOT}.1.2.1",
    "frames": "1",
    "path": "7FE00010",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table: its cells by their column."""

    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    @property
    def is_supported(self) -> bool:
        """Whether the row says more than a mere no."""
        return self["Supported"] != "no"


def _rows(text: str) -> Iterator[Row]:
    """The rows of all tables in a text."""
    columns: Sequence[str] = ()
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = ()
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not columns:
            columns = cells
        elif not line.startswith("|---"):
            assert len(cells) == len(columns), line
            yield Row(cells=dict(zip(columns, cells, strict=True)))


def table(mark: str) -> list[Row]:
    """The rows of the table that a comment announces."""
    _, found, rest = PAGE.partition(f"<!-- {mark} -->\n")
    assert found, mark
    rows = list(_rows(rest.split("\n\n")[0]))
    assert rows
    return rows


DICOM_WEB = table("transactions")
WADO = table("transactions: wado")
PARAMETERS = table("parameters: dicom-web")
WADO_PARAMETERS = table("parameters: wado")


def request(row: Row) -> tuple[str, str]:
    """Method and path of a transaction, the path as the routes write it."""
    method, _, path = row["Request"].strip("`").partition(" ")
    return method, path if row in WADO else f"{dicomweb.BASE}{path}".rstrip("/")


def sampled(path: str) -> str:
    """A path with the UIDs of a study that the demonstration has."""
    return path.format_map(SAMPLE)


def served(routes: Sequence[web.RouteDef]) -> set[tuple[str, str]]:
    """Method and path of what is routed; HEAD comes with GET."""
    app = web.Application()
    app.add_routes(routes)
    return {
        (route.method, route.resource.canonical.rstrip("/"))
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


@pytest.mark.parametrize(
    ("rows", "routes"),
    [(DICOM_WEB, dicomweb.routes()), (WADO, wado_uri.routes())],
    ids=["dicom-web", "wado"],
)
def test_transactions_are_those_that_are_routed(
    rows: Sequence[Row], routes: Sequence[web.RouteDef]
) -> None:
    named = [request(row) for row in rows]
    assert len(set(named)) == len(named)
    assert {request(row) for row in rows if row.is_supported} == served(routes)


def test_parameters_are_those_that_are_taken() -> None:
    rendered = {row["Parameter"].strip("`") for row in PARAMETERS if row["Resources"] != "search"}
    searched = {
        row["Parameter"].strip("`")
        for row in PARAMETERS
        if row["Resources"] == "search" and row.is_supported
    }
    known = [taken(ConnectionType.WADO_RS, one) for one in Resource]
    assert rendered == {name for parameters in known for name in parameters}
    assert searched == {"{attribute}", *qido.OPTIONS}

    known = [taken(ConnectionType.WADO_URI, one) for one in Resource]
    named = [row["Parameter"].strip("`") for row in WADO_PARAMETERS]
    assert len(set(named)) == len(named)
    assert set(named) - NAMES_OF_WADO_URI == {n for parameters in known for n in parameters}


def test_the_service_tells_of_the_parameters_that_are_supported() -> None:
    supported = {row["Parameter"].strip("`") for row in PARAMETERS if row.is_supported}
    told = {name for one in TRANSACTIONS for name in transactions.parameters(one)}
    attributes = {name for name in told if name[0].isupper()}
    assert told - attributes == supported - {"{attribute}"}


def test_every_row_names_a_test_that_exists() -> None:
    existing = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    rows = list(_rows(PAGE))
    assert len(rows) > 60
    assert {row["Test"].strip("`") for row in rows} <= existing


def test_every_section_is_named() -> None:
    cited = re.compile(r"(?:RFC \d+ |Fetch )?§[\d.]+(?:, §[\d.]+)*")
    rows = [row for row in _rows(PAGE) if "Section" in row.cells]
    assert [row for row in rows if not cited.fullmatch(row["Section"])] == []


def test_clients_are_named_in_the_versions_that_are_run() -> None:
    pinned = json.loads((ROOT / "tests/e2e/javascript/package.json").read_text())
    versions = {row["Client"]: row["Version"] for row in _rows(PAGE) if "Client" in row.cells}
    assert versions["OHIF, in Chromium"] == pinned["viewers"]["ohif"]["version"]
    named = versions["dicomweb-client for JavaScript"]
    assert named == pinned["dependencies"]["dicomweb-client"]


@pytest.fixture
def client(demo_client: Client) -> Client:
    """The gateway over the demonstration's studies."""
    return demo_client


def wado(**more: str) -> str:
    """A WADO-URI request for an image of the demonstration."""
    uids = {"studyUID": "study", "seriesUID": "series", "objectUID": "instance"}
    pairs = {"requestType": "WADO", **{name: SAMPLE[key] for name, key in uids.items()}, **more}
    return "/wado?" + "&".join(f"{name}={value}" for name, value in pairs.items())


async def test_what_is_supported_answers(client: Client) -> None:
    for row in DICOM_WEB:
        method, path = request(row)
        if row.is_supported:
            answer = await client.request(method, sampled(path))
            assert answer.status == 200, path
            assert await answer.read()
    assert (await client.get(wado())).status == 200


async def test_what_is_not_supported_is_refused(client: Client) -> None:
    for row in DICOM_WEB:
        method, path = request(row)
        if not row.is_supported:
            answer = await client.request(method, sampled(path))
            assert answer.status in {404, 405}, path
            assert answer.content_type == "application/problem+json"


REFUSED_VALUES = {
    "annotation": "patient",
    "anonymize": "yes",
    "imageAnnotation": "patient",
    "presentationSeriesUID": "1.2.3&presentationUID=1.2.4",
    "presentationUID": "1.2.4&presentationSeriesUID=1.2.3",
}
"""Legal values of what is not supported."""


async def test_parameters_that_are_not_supported_are_refused_by_name(client: Client) -> None:
    instance = sampled(f"{dicomweb.BASE}/studies/{{study}}")
    urls = [
        f"{dicomweb.BASE}/studies?{name}={REFUSED_VALUES[name]}"
        if row["Resources"] == "search"
        else f"{instance}/rendered?{name}={REFUSED_VALUES[name]}"
        for row in PARAMETERS
        if not row.is_supported
        for name in [row["Parameter"].strip("`")]
    ]
    for row in WADO_PARAMETERS:
        if "wado_uri_options" in row["Supported"]:  # no archive here does it
            name = row["Parameter"].strip("`")
            kind = {"contentType": "application/dicom"} if row["Resources"] == "DICOM" else {}
            urls.append(wado(**kind, **{name: REFUSED_VALUES[name]}))
    assert len(urls) == len(REFUSED_VALUES) + 1  # annotation is one of both services
    for url in urls:
        answer = await client.get(url)
        assert answer.status == 400, url
        problem = await answer.json(content_type="application/problem+json")
        assert problem["parameter"] in url


async def test_text_is_utf_8_whatever_charset_is_asked_for(client: Client) -> None:
    for path in ("/studies", sampled("/studies/{study}/metadata")):
        plain = await client.get(f"{dicomweb.BASE}{path}")
        asked = await client.get(f"{dicomweb.BASE}{path}?charset=iso-8859-1")
        assert asked.status == 200
        assert await asked.read() == await plain.read()
        (await plain.read()).decode("utf-8")
    assert (await client.get(wado(charset="iso-8859-1"))).status == 200


INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        (INSTANCE, "application/dicom"),
        (f"{INSTANCE}/frames/1", "application/octet-stream"),
        (f"{INSTANCE}/bulkdata/7FE00010", "application/octet-stream"),
    ],
)
async def test_a_single_part_has_ranges(client: Client, path: str, accept: str) -> None:
    url = f"{dicomweb.BASE}{sampled(path)}"
    plain = await client.get(url, headers={"Accept": accept})
    whole = await plain.read()
    assert plain.headers["Accept-Ranges"] == "bytes"
    for field, expected in (("0-9", whole[:10]), ("-5", whole[-5:]), ("200-", whole[200:])):
        answer = await client.get(url, headers={"Accept": accept, "Range": f"bytes={field}"})
        assert answer.status == 206
        body = await answer.read()
        assert body == expected
        first = whole.index(expected) if field == "0-9" else len(whole) - len(expected)
        told = f"bytes {first}-{first + len(expected) - 1}/{len(whole)}"
        assert answer.headers["Content-Range"] == told
        assert answer.content_length == len(expected)
        assert answer.content_type == plain.content_type
    outside = await client.get(url, headers={"Accept": accept, "Range": f"bytes={len(whole)}-"})
    assert outside.status == 416
    assert outside.headers["Content-Range"] == f"bytes */{len(whole)}"


@pytest.mark.parametrize(
    "more",
    [
        {"Range": "bytes=0-1,3-4"},
        {"Range": "items=0-1"},
        {"Range": "bytes=0-9", "If-Range": '"x"'},
        {"Range": "bytes=0-9", "Accept": 'multipart/related; type="application/dicom"'},
    ],
)
async def test_the_whole_is_sent_where_a_range_cannot_be(
    client: Client, more: dict[str, str]
) -> None:
    url = f"{dicomweb.BASE}{sampled(INSTANCE)}"
    whole = await (await client.get(url, headers={"Accept": "application/dicom"})).read()
    answer = await client.get(url, headers={"Accept": "application/dicom"} | more)
    assert answer.status == 200
    assert whole in await answer.read()


async def test_options_names_the_methods(client: Client) -> None:
    answer = await client.options(f"{dicomweb.BASE}/studies")
    assert answer.status == 204
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}

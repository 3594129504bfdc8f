"""`/`: the console, pages for people. Plain HTML made here: no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.config import Settings
from gateway.http_server import CATALOG, CONSUMER, SETTINGS
from gateway.model import Level, Patient, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules import iid, qido, resolution, rights

STUDIES_ON_A_PAGE = 24
_FIELDS = ("name", "id", "date", "modality")
_STYLE = files("gateway.routes").joinpath("templates/console.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; img-src 'self' data:; style-src 'sha256-{_STYLE_HASH}'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}
_PAGES = Environment(
    loader=PackageLoader("gateway.routes"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def patient_name(patient: Patient) -> str:
    """A patient's name as people write it: `Family, Given Middle`."""
    written = patient.name.alphabetic if patient.name else None
    family, *given = (written or "No name").split("^")[:3]
    return ", ".join(part for part in (family, " ".join(given).strip()) if part)


def instances(count: int) -> str:
    """How many instances there are, in words."""
    return "1 instance" if count == 1 else f"{count} instances"


_PAGES.filters |= {"patient_name": patient_name, "instances": instances}


def routes() -> list[web.RouteDef]:
    """The routes of this surface."""
    return [web.get("/", show)]


async def show(request: web.Request) -> web.Response:
    """GET /: a list of studies, or with `study` one of them. 200 HTML.

    Query of the list: `name`, `id`, `date` (YYYY-MM-DD), `modality`, `offset`. 400 a value is no
    good; 403 the list is not for the caller; 404 no such study, or hidden by policy; 503 not known
    while archives are silent.
    """
    if study_uid := request.query.get("study"):
        return await _study_page(request, dj.uid(study_uid, "study"))
    return await _list_page(request)


async def _list_page(request: web.Request) -> web.Response:
    rights.check(rights.FINDING, request[CONSUMER])
    asked = {name: request.query.get(name, "").strip() for name in _FIELDS}
    offset = request.query.get("offset", "0")
    query = qido.parse(Level.STUDY, _pairs(asked, offset))
    found = await request.app[CATALOG].studies(request[CONSUMER], query)
    return _page(
        "studies.html",
        asked=asked,
        studies=sorted(found.items, key=lambda s: (s.date or "", s.time or ""), reverse=True),
        silent=found.silent,
        unsearchable=found.unsearchable,
        previous=_link(asked, max(0, query.offset - STUDIES_ON_A_PAGE)) if query.offset else None,
        following=_link(asked, query.offset + STUDIES_ON_A_PAGE) if found.has_more else None,
    )


async def _study_page(request: web.Request, study_uid: str) -> web.Response:
    consumer, settings = request[CONSUMER], request.app[SETTINGS]
    loaded = await request.app[CATALOG].study(consumer, study_uid, Level.SERIES)
    target, asked = Target(study_uid=study_uid), resolution.question(())
    now = datetime.now(UTC)
    resolved = [
        resolution.record(one)
        for one in resolution.of_study(settings, loaded, target, asked, now, consumer)
    ]
    by_series: dict[Any, list[dict[str, object]]] = {}
    for one in resolved:
        by_series.setdefault(one["series"], []).append(one)
    return _page(
        "study.html",
        study=loaded.study,
        silent=loaded.silent,
        resolved=by_series,
        launches=_launches(settings, loaded.study),
        links=_links(study_uid),
    )


def _pairs(asked: dict[str, str], offset: str) -> list[tuple[str, str]]:
    """The QIDO-RS query that the form means; a name is found by the beginnings of its words."""
    name, date = asked["name"], asked["date"].replace("-", "")
    pairs = {
        "PatientName": name,
        "PatientID": asked["id"],
        "StudyDate": date,
        "ModalitiesInStudy": asked["modality"].upper(),
    }
    given = [(keyword, value) for keyword, value in pairs.items() if value]
    given += [("includefield", "StudyDescription"), ("fuzzymatching", "true")]
    return [*given, ("limit", str(STUDIES_ON_A_PAGE)), ("offset", offset)]


def _link(asked: dict[str, str], offset: int) -> str:
    return "?" + urlencode({k: v for k, v in asked.items() if v} | {"offset": str(offset)})


def _launches(settings: Settings, study: Study) -> list[tuple[str, str]]:
    """Title and address of each way to open the study in a viewer; the first goes through /iid."""
    pairs = [("requestType", "STUDY"), ("studyUID", study.uid)]
    chosen, launch = iid.viewer(settings), iid.parse(pairs)
    if chosen is None:
        return []
    dicom_web = f"{settings.server.public_url}/dicom-web"
    others = [
        (viewer.title, iid.location(launch, [study], viewer, dicom_web))
        for name, viewer in settings.viewers.items()
        if name != chosen[0]
    ]
    return [(chosen[1].title, f"iid?{urlencode(pairs)}"), *others]


def _links(study_uid: str) -> list[tuple[str, str]]:
    """Title and address of the other forms of a study."""
    return [
        ("FHIR R4", f"fhir/r4/ImagingStudy/{study_uid}"),
        ("FHIR R5", f"fhir/r5/ImagingStudy/{study_uid}"),
        ("DICOM JSON", f"dicom-web/studies/{study_uid}/series"),
        ("Resolved URLs", f"resolve/studies/{study_uid}"),
    ]


def _page(name: str, **values: object) -> web.Response:
    text = _PAGES.get_template(name).render(style=_STYLE, **values)
    return web.Response(text=text, content_type="text/html", headers=_HEADERS)

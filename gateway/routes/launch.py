"""`/iid`: IHE Invoke Image Display (RAD-106), which sends a person's browser to a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import parse_qsl

from aiohttp import web

from gateway import disclosures
from gateway.errors import BadRequest, UnsupportedMediaType
from gateway.http_server import CATALOG, CONSUMER, SETTINGS, body_of, warnings_of
from gateway.model import Study
from gateway.routes.resolve import redirect
from gateway.rules import iid, iid_studies, rights

_FORM = "application/x-www-form-urlencoded"
_MAX_FIELDS = 100
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>No viewer is configured</title>
<main>
<h1>No viewer is configured</h1>
<p>The images were found, but this gateway knows no viewer to open them with. Whoever runs it can
name one under <code>viewers</code> in the configuration.</p>
{studies}
</main>
</html>
"""
_STUDY = """<figure>
<img src="dicom-web/studies/{uid}/thumbnail" width="256" alt="A picture of the study">
<figcaption><a href="./?study={uid}">Study {uid}</a></figcaption>
</figure>"""


def routes() -> list[web.RouteDef]:
    """The routes of this surface."""
    return [web.get("/iid", invoke_image_display), web.post("/iid", invoke_image_display)]


async def invoke_image_display(request: web.Request) -> web.Response:
    """GET or POST iid: Invoke Image Display (IHE RAD-106, PATIENT and STUDY).

    302 to the viewer; 200 a page when no viewer is configured. 400 a parameter is missing,
    repeated or no good, or the studies are of several patients; 403 finding studies by anything
    but their UIDs is not for the caller; 404 no such study, or hidden by policy; 413 and 415 the
    form; 503 not known while archives are silent.
    """
    dicom_web = f"{request.app[SETTINGS].server.public_url}/dicom-web"
    return await launched(request, dicom_web)


async def launched(request: web.Request, dicom_web: str) -> web.Response:
    """The answer to a launch request; `dicom_web` is the root that the viewer is given."""
    launch = iid.parse(await _fields(request))
    if not launch.study_uids:
        rights.check(rights.FINDING, request[CONSUMER])
    catalog, settings = request.app[CATALOG], request.app[SETTINGS]
    found = [
        await catalog.studies(request[CONSUMER], query) for query in iid_studies.queries(launch)
    ]
    silent = tuple(dict.fromkeys(archive for each in found for archive in each.silent))
    studies = iid_studies.fitting(
        launch, (s for each in found for s in each.items), settings, silent
    )
    disclosures.told({study.uid for study in studies})
    named = iid.viewer(settings)
    viewer = named[1] if named else iid.published_viewer(settings, studies, request[CONSUMER])
    if viewer is None:
        return _without_a_viewer(studies)
    answer = redirect(iid.location(launch, studies, viewer, dicom_web))
    for warning in warnings_of(silent):
        answer.headers.add("Warning", warning)
    return answer


async def _fields(request: web.Request) -> list[tuple[str, str]]:
    """The fields of the query and, after them, of a posted form."""
    fields = list(request.query.items())
    if request.method != "POST":
        return fields
    if request.content_type != _FORM:
        raise UnsupportedMediaType(f"the form must be {_FORM}")
    body = await body_of(request)
    try:
        text = body.decode("utf-8")
        return fields + parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError as error:
        raise BadRequest("the form cannot be read") from error


def _without_a_viewer(studies: Sequence[Study]) -> web.Response:
    """A page that says that there is no viewer, and shows what else there is."""
    shown = "\n".join(_STUDY.format(uid=escape(study.uid)) for study in studies)
    return web.Response(
        text=_PAGE.format(studies=shown),
        content_type="text/html",
        headers={
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; img-src 'self'; base-uri 'none'",
        },
    )

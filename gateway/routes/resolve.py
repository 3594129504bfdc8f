"""`/resolve`: which Endpoint serves a target, its URL per connection type, and why."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import orjson
from aiohttp import web

from gateway.config import Settings
from gateway.errors import BadRequest, UnsupportedMediaType
from gateway.http_server import CATALOG, CONSUMER, SETTINGS, body_of, target_in
from gateway.model import Consumer, Level
from gateway.rules import endpoints, foreign, resolution
from gateway.rules.resolution import Question

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JSON_TYPES = frozenset({"application/json", "application/fhir+json"})
_PATHS = (
    "/resolve/studies/{study}",
    "/resolve/studies/{study}/series/{series}",
    "/resolve/studies/{study}/series/{series}/instances/{instance}",
    "/resolve/studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
)


def routes() -> list[web.RouteDef]:
    """The routes of this surface."""
    return [
        *(web.get(path, resolve_target) for path in _PATHS),
        web.post("/resolve", resolve_posted),
    ]


async def resolve_target(request: web.Request) -> web.Response:
    """GET resolve/studies/{study}[/series/…[/instances/…[/frames/…]]]: the winners and their URLs.

    200 JSON; 302 with `redirect=true`. 400 a parameter is unknown, repeated or no good; 404 absent
    or hidden by policy; 503 not known while archives are silent.
    """
    asked = resolution.question(request.query.items())
    target = target_in(request)
    consumer, settings = request[CONSUMER], request.app[SETTINGS]
    catalog = request.app[CATALOG]
    if target.series_uid is None:
        loaded = await catalog.study(consumer, target.study_uid, Level.SERIES)
    else:
        loaded = await catalog.located(consumer, target)
    now = datetime.now(UTC)
    resolved = resolution.of_study(settings, loaded, target, asked, now, consumer)
    if asked.is_redirect:
        return redirect(resolution.location(resolved))
    warnings = resolution.silence(loaded.silent)
    return _json(resolution.answer(target.study_uid, resolved, warnings))


async def resolve_posted(request: web.Request) -> web.Response:
    """POST resolve: the same for an ImagingStudy or Bundle (R4 to R6) in the body.

    200 JSON. 400 the body or a parameter is no good; 413 too large; 415 not JSON. Nothing is
    fetched, from the archives or from anywhere else.
    """
    asked = resolution.question(request.query.items(), is_posted=True)
    document = await _document(request)
    settings = request.app[SETTINGS]
    answer = await asyncio.to_thread(_resolved, document, asked, settings, request[CONSUMER])
    return _json(answer)


def _resolved(
    document: object, asked: Question, settings: Settings, consumer: Consumer
) -> dict[str, object]:
    """The answer about a posted body; large ones take their time, so not on the event loop."""
    posted = foreign.read(
        document,
        study=asked.study,
        own=endpoints.published(settings, consumer),
        own_base=f"{settings.server.public_url}/fhir",
    )
    resolved = resolution.of_posted(posted, asked, datetime.now(UTC))
    warnings = resolution.posted_warnings(posted, asked)
    return resolution.answer(posted.study_uid, resolved, warnings)


async def _document(request: web.Request) -> object:
    """The JSON of the body; BadRequest when it is broken, UnsupportedMediaType when it is none."""
    if request.content_type not in _JSON_TYPES:
        raise UnsupportedMediaType("the body must be application/fhir+json or application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("a compressed body is not read: send it as it is")
    body = (await body_of(request)).removeprefix(_BYTE_ORDER_MARK)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("the body is not JSON") from error


def redirect(url: str) -> web.Response:
    """302 to `url`, exactly as it is; it is neither stored nor told where it came from."""
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=302, headers=headers)


def _json(answer: dict[str, object]) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")

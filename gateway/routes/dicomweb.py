"""`/dicom-web`: QIDO-RS and WADO-RS of all archives as one (PS3.18 §10)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.answers import kept
from gateway.at_hand import AtHand
from gateway.errors import BadRequest, NotAcceptable
from gateway.http_codings import pack
from gateway.http_server import (
    CATALOG,
    CONSUMER,
    PICTURES,
    SETTINGS,
    picture_response,
    target_in,
)
from gateway.http_streams import stream_json_array, stream_parts, stream_xml
from gateway.model import ConnectionType, Level, Target
from gateway.quick_frames import FORM
from gateway.routes.search_answers import search_answer
from gateway.rules import (
    byte_ranges,
    capabilities,
    media,
    patient_context,
    qido,
    rendering,
)
from gateway.rules import dicom_json as dj
from gateway.rules.media import Form, MediaRange
from gateway.rules.transactions import TRANSACTIONS, Kind, Transaction
from gateway.rules.url_parameters import Resource, checked, taken

BASE = "/dicom-web"


def routes() -> list[web.RouteDef]:
    """The routes of this surface, most used first."""
    return [
        *(web.get(_route_path(each), _handler(each)) for each in TRANSACTIONS),
        *(web.options(f"{BASE}{slash}", retrieve_capabilities) for slash in ("", "/")),
    ]


def _route_path(transaction: Transaction) -> str:
    return BASE + transaction.path.replace("{path}", "{path:.+}")


def _handler(transaction: Transaction) -> Handler:
    if transaction.kind is Kind.SEARCH:
        return partial(search, transaction.level)
    return _HANDLERS[transaction.kind]


async def search(level: Level, request: web.Request) -> web.StreamResponse:
    """GET [studies/{study}/][series/{series}/]{studies|series|instances} (PS3.18 §10.6).

    200 DICOM JSON or XML; 204 no match. 400 a parameter is unknown, repeated or no good; 403
    another patient than the one in context is named; 406 neither is accepted, or several results as
    a single XML part are; 503 every archive is silent.
    `Warning` names silent archives and says that there is more than was returned.
    """
    accepted = _accepted(request)
    form = media.for_datasets(accepted, single=True)
    path = _path_target(request)
    query = qido.parse(
        level,
        request.query.items(),
        study_uid=path.study_uid if path else None,
        series_uid=path.series_uid if path else None,
    )
    keys = {key.tag: key.value for key in query.keys}
    patient_context.check_issuer(request[CONSUMER], keys, request.app[SETTINGS])
    found = await request.app[CATALOG].search(request[CONSUMER], query)
    if len(found.items) > 1:
        form = media.for_datasets(accepted, single=False)
    base = request.app[SETTINGS].server.public_url + BASE
    return await search_answer(request, query, found, form, base)


async def retrieve_instances(request: web.Request) -> web.StreamResponse:
    """GET studies/{study}[/series/{series}[/instances/{instance}]] (PS3.18 §10.4.1.1.1).

    200 multipart/related, streamed, or application/dicom for one instance; 206 an archive that may
    hold more is silent, or a range of the one instance. 404 absent or hidden; 406 no media type or
    transfer syntax fits; 416 the range is outside of it; 502, 503 and 504 the archive failed.
    """
    target = target_in(request)
    _no_parameters(request)
    single = target.level is Level.INSTANCE
    form = _ranged(request, media.for_instances(_accepted(request), single=single))
    async with request.app[CATALOG].retrieve(request[CONSUMER], target, form) as retrieved:
        return await stream_parts(
            request,
            retrieved.parts,
            form,
            single=single,
            silent=retrieved.silent,
            is_subset=retrieved.is_subset,
        )


async def retrieve_frames(request: web.Request) -> web.StreamResponse:
    """GET …/instances/{instance}/frames/{frames} (PS3.18 §10.4.1.1.6), in the order asked.

    200 multipart/related, or one part for one frame. Statuses as for instances; 404 also where a
    frame does not exist.
    """
    target = target_in(request)
    _no_parameters(request)
    single = len(target.frames) == 1
    form = _ranged(request, media.for_frames(_accepted(request), single=single))
    if single:
        request[FORM] = form
    async with request.app[CATALOG].retrieve(request[CONSUMER], target, form) as retrieved:
        return await stream_parts(request, retrieved.parts, form, single=single)


async def retrieve_metadata(request: web.Request) -> web.StreamResponse:
    """GET studies/{study}[/series/{series}[/instances/{instance}]]/metadata (PS3.18 §10.4.1.1.2).

    200 DICOM JSON or XML, every BulkDataURI the gateway's own; 206 an archive that may hold more is
    silent. 404, 406, 502, 503 and 504 as for instances.
    """
    target = target_in(request)
    _no_parameters(request)
    form = media.for_datasets(_accepted(request), single=target.level is Level.INSTANCE)
    base = request.app[SETTINGS].server.public_url + BASE
    async with request.app[CATALOG].metadata(request[CONSUMER], target) as metadata:
        batches = ((dj.with_own_urls(o, base) for o in b) async for b in metadata.batches)
        if form.is_xml:
            datasets = ((orjson.loads(o) for o in b) async for b in batches)
            return await stream_xml(
                request, datasets, form, silent=metadata.silent, is_subset=metadata.is_subset
            )
        return await stream_json_array(
            request, batches, form.types[0], silent=metadata.silent, is_subset=metadata.is_subset
        )


async def retrieve_bulk_data(request: web.Request) -> web.StreamResponse:
    """GET …/instances/{instance}/bulkdata/{tag}[/{item}/{tag}…] (PS3.18 §10.4.1.1.5).

    200 multipart/related, or one part where that is all that is accepted. 404 the attribute has
    no bulk data.
    """
    target = target_in(request)
    path = dj.attribute_path(request.match_info["path"])
    _no_parameters(request)
    form = _ranged(request, media.for_bulk_data(_accepted(request)))
    wanted = form.byte_range
    async with request.app[CATALOG].bulk_data(request[CONSUMER], target, path, wanted) as part:
        if not form.takes(part.content_type):
            raise NotAcceptable(f"available as {part.content_type.split(';')[0]} only")
        return await stream_parts(request, AtHand((part,)), form, single=True)


async def retrieve_thumbnail(request: web.Request) -> web.StreamResponse:
    """GET studies/{study}[/series…[/instances…[/frames…]]]/thumbnail (PS3.18 §10.4.1.1.4).

    200 a JPEG or PNG within `viewport` (256,256 unless given); 304. 400 several frames; 404 absent
    or hidden; whatever exists has a picture.
    """
    target = _pictured(request)
    pairs = dict(_checked(request, Resource.THUMBNAIL))
    width, height = (int(n) for n in pairs.get("viewport", "256,256").split(","))
    kind = media.image_type(_accepted(request))
    picture = await request.app[PICTURES].thumbnail(request[CONSUMER], target, width, height, kind)
    return picture_response(request, picture)


async def retrieve_rendered(request: web.Request) -> web.StreamResponse:
    """GET studies/{study}[/series…[/instances…[/frames…]]]/rendered (PS3.18 §10.4.1.1.3).

    200 a JPEG or PNG of the frame, or of the image that stands for what is named; the PDF, text or
    video of an object that is no image. 400 a parameter is no good or not offered, or several
    frames; 404 absent or hidden; 406 it cannot be given as what is accepted.
    """
    target = _pictured(request)
    accepted = _accepted(request)
    wanted = rendering.by_wado_rs(dict(_checked(request, Resource.RENDERED)), "image/jpeg")
    pictures = request.app[PICTURES]
    picture = await pictures.rendition(request[CONSUMER], target, wanted, accepted)
    return picture_response(request, picture)


async def retrieve_capabilities(request: web.Request) -> web.Response:
    """OPTIONS / (PS3.18 §8.9): what this service offers.

    200 WADL, or the same as JSON; 406 neither is accepted.
    """
    kind = capabilities.content_type(_accepted(request))
    base = request.app[SETTINGS].server.public_url + BASE
    body = (
        capabilities.wadl(base).encode()
        if kind == capabilities.WADL
        else orjson.dumps(capabilities.description(base))
    )
    response = web.Response(headers={"Content-Type": kind, "Allow": "OPTIONS"})
    await pack(request, response, body)
    return response


_HANDLERS: dict[Kind, Handler] = {
    Kind.INSTANCES: retrieve_instances,
    Kind.METADATA: retrieve_metadata,
    Kind.FRAMES: retrieve_frames,
    Kind.BULK_DATA: retrieve_bulk_data,
    Kind.RENDERED: retrieve_rendered,
    Kind.THUMBNAIL: kept(retrieve_thumbnail),
}


def _accepted(request: web.Request) -> tuple[MediaRange, ...]:
    return media.accepted(request.headers.getall("Accept", ()), request.query.get("accept"))


def _ranged(request: web.Request, form: Form) -> Form:
    """`form` with the range of bytes that is asked for, which only a single part can have."""
    if form.is_multipart:
        return form
    fields = request.headers.getall("Range", ())
    field = fields[0] if len(fields) == 1 else None
    return replace(
        form, byte_range=byte_ranges.asked(request.method, field, request.headers.get("If-Range"))
    )


def _pictured(request: web.Request) -> Target:
    """What a picture is asked of; BadRequest for several frames, as WADO-URI (PS3.18 §9.5.2.1)."""
    target = target_in(request)
    if len(target.frames) > 1:
        raise BadRequest("a picture shows one frame: name one at a time", parameter="frames")
    return target


def _checked(request: web.Request, resource: Resource) -> tuple[tuple[str, str], ...]:
    """The rendering parameters of the query string; BadRequest naming what is no good."""
    return tuple(checked(ConnectionType.WADO_RS, resource, list(request.query.items())))


def _no_parameters(request: web.Request) -> None:
    """BadRequest for any parameter that a retrieve does not know."""
    for name in request.query:
        if name not in taken(ConnectionType.WADO_RS, Resource.DICOM):
            raise BadRequest(f"{name} is not a parameter of a retrieve", parameter=name)


def _path_target(request: web.Request) -> Target | None:
    return target_in(request) if "study" in request.match_info else None

"""`/wado`: WADO-URI (PS3.18 §9) for one instance, whatever its archive speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aiohttp import web

from gateway.config import DicomwebArchive
from gateway.errors import BadRequest, NotAcceptable
from gateway.http_server import CATALOG, CONSUMER, PICTURES, SETTINGS, picture_response
from gateway.http_streams import stream_parts
from gateway.model import ConnectionType, Target
from gateway.rules import dicom_json as dj
from gateway.rules import media, rendering
from gateway.rules.media import MediaRange
from gateway.rules.url_parameters import Resource, checked

_NAMED = ("requestType", "studyUID", "seriesUID", "objectUID")
_AS_STORED = ("transferSyntax", media.ANY)
"""Not in PS3.18, but what viewers send who take any; it says what is the default here."""


def routes() -> list[web.RouteDef]:
    """The routes of this surface."""
    return [web.get("/wado", retrieve_object)]


async def retrieve_object(request: web.Request) -> web.StreamResponse:
    """GET wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…: one object (PS3.18 §9.4).

    200 application/dicom as stored, the image as JPEG or PNG, or the PDF, text or video of what is
    no image. 400 a parameter is missing, no good or not offered; 404 absent or hidden; 406 it
    cannot be given in that form.
    """
    pairs = [p for p in request.query.items() if p[0] not in _NAMED and p != _AS_STORED]
    target = _target(request)
    kinds = media.accepted((request.query.get("contentType", ""),))
    is_dicom = any(k.type == media.DICOM for k in kinds)
    resource = Resource.DICOM if is_dicom else Resource.RENDERED
    parameters = dict(checked(ConnectionType.WADO_URI, resource, pairs))
    rendering.check_offered(parameters, _options(request))
    if rendering.options(parameters):
        return await _by_the_archive(request, target, parameters, kinds)
    if is_dicom:
        return await _stored(request, target, parameters)
    return await _rendered(request, target, parameters, kinds)


async def _stored(
    request: web.Request, target: Target, parameters: Mapping[str, str]
) -> web.StreamResponse:
    """The object itself (PS3.18 §9.4), as stored or in the transfer syntax asked for."""
    syntax = parameters.get("transferSyntax", media.ANY)
    form = media.Form(is_multipart=False, types=(media.DICOM,), transfer_syntaxes=(syntax,))
    async with request.app[CATALOG].retrieve(request[CONSUMER], target, form) as retrieved:
        return await stream_parts(request, retrieved.parts, form)


async def _rendered(
    request: web.Request,
    target: Target,
    parameters: Mapping[str, str],
    kinds: Sequence[MediaRange],
) -> web.StreamResponse:
    """The object rendered (PS3.18 §9.5); as it is where no type is named and it shows nothing."""
    wanted = rendering.by_wado_uri(parameters, "image/jpeg")
    one = replace(target, frames=_frames(parameters))
    try:
        picture = await request.app[PICTURES].rendition(request[CONSUMER], one, wanted, kinds)
    except NotAcceptable:
        if parameters:
            raise
        return await _stored(request, target, parameters)
    return picture_response(request, picture)


async def _by_the_archive(
    request: web.Request,
    target: Target,
    parameters: Mapping[str, str],
    kinds: Sequence[MediaRange],
) -> web.StreamResponse:
    """What only the archive's own WADO-URI does: the answer is passed on as it comes.

    A presentation state is an object of its own: it must exist for the consumer as well.
    """
    consumer, catalog = request[CONSUMER], request.app[CATALOG]
    kind = media.DICOM if "anonymize" in parameters else media.image_type(kinds)
    if "presentationUID" in parameters:
        series_uid, uid = parameters["presentationSeriesUID"], parameters["presentationUID"]
        state = Target(study_uid=target.study_uid, series_uid=series_uid, instance_uid=uid)
        await catalog.located(consumer, state)
    passed = tuple((n, v) for n, v in parameters.items() if n != "contentType")
    form = media.Form(is_multipart=False, types=(kind,))
    async with catalog.by_wado_uri(consumer, target, kind, passed) as retrieved:
        return await stream_parts(request, retrieved.parts, form)


def _frames(parameters: Mapping[str, str]) -> tuple[int, ...]:
    return (int(parameters["frameNumber"]),) if "frameNumber" in parameters else ()


def _options(request: web.Request) -> list[frozenset[str]]:
    """What each archive's WADO-URI service does that the gateway does not."""
    archives = request.app[SETTINGS].archives.values()
    return [
        frozenset(a.wado_uri_options)
        for a in archives
        if isinstance(a, DicomwebArchive) and a.wado_uri is not None
    ]


def _target(request: web.Request) -> Target:
    """The instance that the query names by all three UIDs; BadRequest naming what is missing."""
    query = request.query
    for name in _NAMED:
        if len(query.getall(name, [])) > 1:
            raise BadRequest(f"{name} is given twice", parameter=name)
        if not query.get(name):
            raise BadRequest(f"{name} is missing", parameter=name)
    if query["requestType"] != "WADO":
        raise BadRequest("requestType must be WADO", parameter="requestType")
    return Target(
        study_uid=dj.uid(query["studyUID"], "studyUID"),
        series_uid=dj.uid(query["seriesUID"], "seriesUID"),
        instance_uid=dj.uid(query["objectUID"], "objectUID"),
    )

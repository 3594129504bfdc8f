"""`/wado`: WADO-URI (PS3.18 §9) for one instance, whatever its archive speaks."""

from __future__ import annotations

from aiohttp import web

from gateway.errors import BadRequest
from gateway.http_server import CATALOG, CONSUMER, PICTURES, picture_response
from gateway.http_streams import stream_parts
from gateway.model import ConnectionType, Target
from gateway.rules import dicom_json as dj
from gateway.rules import media, rendering
from gateway.rules.url_parameters import Resource, checked

_NAMED = ("requestType", "studyUID", "seriesUID", "objectUID")
_AS_STORED = ("transferSyntax", media.ANY)
"""Not in PS3.18, but what viewers send who take any; it says what is the default here."""


def routes() -> list[web.RouteDef]:
    """The routes of this surface."""
    return [web.get("/wado", retrieve_object)]


async def retrieve_object(request: web.Request) -> web.StreamResponse:
    """GET wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…: one object (PS3.18 §9.4).

    200 application/dicom as stored, or the image as JPEG or PNG. 400 a parameter is missing, no
    good or not offered; 404 absent or hidden; 406 it cannot be given in that form.
    """
    pairs = [p for p in request.query.items() if p[0] not in _NAMED and p != _AS_STORED]
    target = _target(request)
    kinds = media.accepted((request.query.get("contentType", ""),))
    if any(k.type == media.DICOM for k in kinds):
        checked(ConnectionType.WADO_URI, Resource.DICOM, pairs)
        rendering.check_offered(dict(pairs))
        syntax = request.query.get("transferSyntax", media.ANY)
        form = media.Form(is_multipart=False, types=(media.DICOM,), transfer_syntaxes=(syntax,))
        async with request.app[CATALOG].retrieve(request[CONSUMER], target, form) as retrieved:
            return await stream_parts(request, retrieved.parts, form)
    parameters = dict(checked(ConnectionType.WADO_URI, Resource.RENDERED, pairs))
    if "frameNumber" in parameters:
        target = Target(
            study_uid=target.study_uid,
            series_uid=target.series_uid,
            instance_uid=target.instance_uid,
            frames=(int(parameters["frameNumber"]),),
        )
    wanted = rendering.by_wado_uri(parameters, media.image_type(kinds))
    picture = await request.app[PICTURES].rendered(request[CONSUMER], target, wanted)
    return picture_response(request, picture)


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

"""`/hooks`: what archives tell the gateway."""

from __future__ import annotations

import ipaddress

from aiohttp import web

from gateway.errors import Forbidden, PayloadTooLarge
from gateway.http_server import CATALOG, SETTINGS, body_in_time
from gateway.rules import dicom_json as dj

MAX_BODY_BYTES = 1 << 16
_FROM_ELSEWHERE = ("Origin", "Forwarded", "X-Forwarded-For")
"""Headers that tell of a web page or of a proxy in front."""


def routes() -> list[web.RouteDef]:
    """The routes of this surface."""
    return [web.post("/hooks/studies/{study}", study_changed)]


async def study_changed(request: web.Request) -> web.Response:
    """POST hooks/studies/{study}: something of a study changed in some archive.

    204 what is remembered of it is dropped in every process, be it known or not; 202 in this one,
    and in the others once the shared cache can be told, which goes on as long as this process does
    (RFC 9110 §15.3.3). The body is not looked at. 400 no UID; 403 where callers are not told apart,
    from another machine or a web page; 408 a body that does not come; 413 one of more than 64 KiB.
    """
    study_uid = dj.uid(request.match_info["study"], "study")
    if request.app[SETTINGS].auth.mode == "open":
        _only_this_machine(request)
    is_told = await request.app[CATALOG].forget(study_uid)
    async with body_in_time():
        await _read_over(request)
    return web.Response(status=204 if is_told else 202)


def _only_this_machine(request: web.Request) -> None:
    """Forbidden, unless a program on this machine asks: no page that a browser shows may."""
    try:
        is_here = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        is_here = False
    if not is_here or any(name in request.headers for name in _FROM_ELSEWHERE):
        raise Forbidden("without authentication, only programs on this machine may tell of changes")


async def _read_over(request: web.Request) -> None:
    """Reads the body without a look at it, so that the connection can be used again."""
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise PayloadTooLarge("the body is too large; none is needed")

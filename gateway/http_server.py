"""What every request has in common: its id, who asks, how errors look.

`errors_to_responses` alone turns an error into a response, in the words of `http_errors`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web

from gateway import http_cors, recording
from gateway.adapters.asked_ahead import AHEAD
from gateway.adapters.auth import OPEN, Authenticator
from gateway.adapters.budgets import COST, Budgets, Cost, Place
from gateway.adapters.decisions import Decision
from gateway.adapters.telemetry import Telemetry
from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.disclosures import CURRENT, Disclosures
from gateway.errors import CALLER_LEFT, BadRequest, GatewayError, TooSlow, Unavailable
from gateway.http_errors import REQUEST_ID, error_response, refused
from gateway.model import Consumer, Target
from gateway.pictures import Picture, Pictures
from gateway.recording import Recorder
from gateway.rules import dicom_json as dj
from gateway.rules import request_bytes, rights
from gateway.rules.audit_event import Access
from gateway.rules.fhir_elements import Resource
from gateway.rules.rights import Admission

AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
BUDGETS = web.AppKey("budgets", Budgets)
CATALOG = web.AppKey("catalog", Catalog)
SETTINGS = web.AppKey("settings", Settings)
PICTURES = web.AppKey("pictures", Pictures)
RECORDER: web.AppKey[Recorder | None] = web.AppKey("recorder")
TELEMETRY = web.AppKey("telemetry", Telemetry)
DRAINING = web.AppKey("draining", asyncio.Event)
CONSUMER: web.RequestKey[Consumer] = web.RequestKey("consumer", Consumer)
DECISION: web.RequestKey[Decision] = web.RequestKey("decision", Decision)
PLACE: web.RequestKey[Place] = web.RequestKey("place", Place)
BEGUN: web.RequestKey[bool] = web.RequestKey("begun", bool)

ANYBODY = Decision(OPEN)
MAX_BODY_BYTES = 16 << 20
_HTTP_VERSIONS = (HttpVersion10, HttpVersion11)
BODY_SECONDS = 10.0
"""How long the body of a request may take to come, from its head on."""
_REQUEST_ID = re.compile(request_bytes.ID, re.ASCII)
_TEXT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Text out of an object runs nothing and loads nothing, whatever it holds."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@web.middleware
async def around(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """The one middleware: request id, metrics, log, who asks, errors."""
    ahead = AHEAD.get()
    started = time.monotonic() if ahead is None else ahead.started
    given = usable_id(request.headers.get("X-Request-Id"))
    request[REQUEST_ID] = os.urandom(8).hex() if given is None else given
    app = request.app
    telemetry = app[TELEMETRY]
    telemetry.request_started()
    noted, cost = Disclosures(), Cost()
    context = CURRENT.set(noted if app[RECORDER] is not None else None)
    costs = COST.set(cost)
    response: web.StreamResponse | None = None
    try:
        response = await errors_to_responses(request, handler)
        return response
    finally:
        CURRENT.reset(context)
        COST.reset(costs)
        _leave_place(request)
        if cost.archive_requests and (consumer := request.get(CONSUMER)) is not None:
            app[BUDGETS].archive_requests.take(consumer.account, cost.archive_requests)
        _record(request, response, noted)
        telemetry.request_done(
            request_id=request[REQUEST_ID],
            route=route_of(request),
            method=request.method,
            status=CALLER_LEFT if response is None else response.status,
            seconds=time.monotonic() - started,
            bytes_out=_bytes_out(request, response),
        )


async def errors_to_responses(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """The handler's answer, or its error in the dialect of the surface.

    After the first byte there is no second answer: the error cuts the connection.
    """
    try:
        if not request.raw_path.startswith("/"):
            raise BadRequest("the request line must hold a path", parameter="path")
        if request.version not in _HTTP_VERSIONS:
            raise BadRequest("only HTTP/1.0 and HTTP/1.1 are spoken here", parameter="version")
        if http_cors.is_preflight(request):
            return http_cors.preflight(request, request.app[SETTINGS].server.cors_origins)
        await _admit(request)
        return await handler(request)
    except GatewayError as error:
        if _has_begun(request):
            _cut(request, error.code)
            raise
        return error_response(request, error)
    except web.HTTPException as error:
        return refused(request, error)
    except Exception as error:
        if _has_begun(request):
            _cut(request, type(error).__name__)
            raise
        _log.exception("unforeseen", request_id=request[REQUEST_ID], route=route_of(request))
        return error_response(request, GatewayError("the gateway failed; see its log"))


def _record(request: web.Request, response: web.StreamResponse | None, noted: Disclosures) -> None:
    """Tells the audit trail what was disclosed or denied, also where the answer broke off."""
    recorder, consumer = request.app[RECORDER], request.get(CONSUMER)
    status = (
        response.status if response is not None else 200 if _has_begun(request) else CALLER_LEFT
    )
    is_refused = consumer is None and status in {401, 403}
    if recorder is None or (consumer is None and not is_refused):
        return
    recorded = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    access = access_of(request, recorded, request[REQUEST_ID], request.remote)
    if is_refused:
        recorder.refused(replace(access, refused_for=_refused_for(request, status)))
    else:
        recorder.answered(access, rights.needed(route_of(request)), status, noted)


def access_of(request: web.Request, recorded: str, request_id: str, address: str | None) -> Access:
    """What the audit trail is told of a request."""
    consumer = request.get(CONSUMER)
    return Access(
        recorded=recorded,
        request_id=request_id,
        consumer=consumer.id if consumer is not None else None,
        issuer=consumer.issuer if consumer is not None else None,
        user=consumer.user if consumer is not None else None,
        address=address,
        server=request.app[SETTINGS].server.public_url,
        asked=request.raw_path,
        is_query=False,
    )


def audit_events(
    request: web.Request,
    status: int,
    noted: Disclosures,
    recorded: str,
    request_id: str,
    address: str,
) -> list[Resource]:
    """The AuditEvents of a request of somebody known, answered by `status`."""
    access = access_of(request, recorded, request_id, address)
    return recording.told(access, rights.needed(route_of(request)), status, noted)


def _refused_for(request: web.Request, status: int) -> str:
    if status == 403:
        return "the caller has no policy"
    has_any = any(name in request.headers for name in ("Authorization", "X-API-Key"))
    return "the credentials are not accepted" if has_any else "there are no credentials"


async def _admit(request: web.Request) -> None:
    """Who asks, where that matters; Unauthorized or Forbidden when they may not.

    A path that leads nowhere is found to lead nowhere only by somebody who is known.
    """
    need, app = rights.needed(route_of(request)), request.app
    if need is not None and need.admission is Admission.PUBLIC:
        return
    is_open, decision = app[SETTINGS].auth.mode == "open", ANYBODY
    if not is_open:
        decision = await app[AUTHENTICATOR].decision(request.headers)
    request[DECISION], request[CONSUMER] = decision, decision.consumer
    recorder = app[RECORDER]
    if recorder is not None and recorder.forbids:
        raise Unavailable("what is told cannot be recorded now, so nothing is")
    if not is_open and request.match_info.http_exception is None:
        rights.check(need, decision.consumer)
    app[BUDGETS].check(decision.consumer.account)
    request[PLACE] = await app[BUDGETS].place(decision.consumer.account)


def _has_begun(request: web.Request) -> bool:
    """Whether the head of an answer is decided, and may be on its way, already."""
    return BEGUN in request


def _cut(request: web.Request, cause: str) -> None:
    """Breaks the connection, so that what was sent cannot be taken for a whole answer.

    By a reset: an answer to HTTP/1.0 that ends without one looks complete.
    """
    _log.warning("answer cut", request_id=request[REQUEST_ID], cause=cause)
    transport = request.transport
    if transport is None or transport.is_closing():
        return
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError), _same_socket(connection) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _same_socket(connection: Any) -> socket.socket:
    """A socket of our own on the same connection: loops let nobody change theirs."""
    return socket.socket(fileno=os.dup(connection.fileno()))


def _leave_place(request: web.Request) -> None:
    """Lets the next request of the same consumer be worked on, if it waits for that."""
    if (place := request.get(PLACE)) is not None:
        place.leave()


def usable_id(given: str | None) -> str | None:
    """The caller's own id of a request where it can stand in a log; None: it takes one of ours."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else None


def _bytes_out(request: web.Request, response: web.StreamResponse | None) -> int:
    """What was sent of a body, or is to be sent now."""
    if response is None or response.prepared:
        return 0 if response is None else response.body_length
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, bytes) and request.method != "HEAD" else 0


def route_of(request: web.Request) -> str:
    """The template of the path that was asked for, which names nobody."""
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


async def common_headers(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: what every answer carries, streamed ones and errors included."""
    request[BEGUN] = True
    _leave_place(request)
    headers = response.headers
    headers["X-Request-Id"] = request[REQUEST_ID]
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Cache-Control", "private, no-cache")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.popall("Server", None)
    settings = request.app[SETTINGS]
    if settings.auth.mode == "required":
        headers.add("Vary", "Authorization, X-API-Key")
    if settings.server.cors_origins:
        http_cors.open_to(request, response, settings.server.cors_origins)


def target_in(request: web.Request) -> Target:
    """The study, series, instance or frames of the path; BadRequest naming what is no good."""
    named = request.match_info
    return Target(
        study_uid=dj.uid(named["study"], "study"),
        series_uid=dj.uid(named["series"], "series") if "series" in named else None,
        instance_uid=dj.uid(named["instance"], "instance") if "instance" in named else None,
        frames=dj.frame_numbers(named["frames"]) if "frames" in named else (),
    )


async def body_of(request: web.Request) -> bytes:
    """The body of a request, which forms and resources fit in; TooSlow when it does not come."""
    async with body_in_time():
        return await request.read()


@contextlib.asynccontextmanager
async def body_in_time() -> AsyncIterator[None]:
    """Around the reading of a body: TooSlow when it does not come."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            yield
    except TimeoutError:
        raise TooSlow("the body did not come in time") from None


def not_modified(request: web.Request, etag: str) -> bool:
    """Whether the caller has this answer already (RFC 9110 §13.1.2, weak comparison)."""
    given = [
        t.strip().removeprefix("W/") for t in request.headers.get("If-None-Match", "").split(",")
    ]
    return etag.removeprefix("W/") in given or given == ["*"]


def picture_response(request: web.Request, picture: Picture) -> web.Response:
    """A picture or document, or 304 where the caller has it already; a passing one is not kept."""
    kept = "private, no-cache" if picture.is_passing else "private, max-age=300"
    headers = {"ETag": (etag := picture.etag), "Vary": "Accept", "Cache-Control": kept}
    if not_modified(request, etag):
        return web.Response(status=304, headers=headers)
    kind = picture.media_type
    if kind.startswith("text/"):
        kind = f"{kind}; charset=utf-8"
        headers["Content-Security-Policy"] = _TEXT_POLICY
    return web.Response(body=picture.body, headers=headers | {"Content-Type": kind})


def warnings_of(silent: tuple[str, ...], *more: str, is_subset: bool = False) -> list[str]:
    """Warning fields (PS3.18 §8.3.4.4): which archives are missing from the answer, and `more`.

    `is_subset`: something of what is answered does not exist for the caller.
    """
    said = [f"archive {a} did not answer; the result may be incomplete" for a in silent]
    hidden = ["a part of this is not shared with you"] if is_subset else []
    return [f'299 gateway "{text}"' for text in (*said, *hidden, *more)]

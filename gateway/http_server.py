"""What every request has in common: its id, who asks, how errors look.

`errors_to_responses` alone turns an error into a response, in the dialect of the surface: an
OperationOutcome below /fhir, a page for people at / and /iid, problem+json (RFC 9457) elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from aiohttp import HttpVersion10, HttpVersion11, web

from gateway.adapters.auth import OPEN, Authenticator
from gateway.adapters.budgets import COST, Budgets, Cost, Place
from gateway.adapters.telemetry import Telemetry
from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.disclosures import CURRENT, Disclosures
from gateway.errors import (
    BadRequest,
    GatewayError,
    NotFound,
    PayloadTooLarge,
    RangeNotSatisfiable,
    TooSlow,
    Unauthorized,
    Unavailable,
)
from gateway.model import Consumer, Target
from gateway.pictures import Picture, Pictures
from gateway.recording import Recorder
from gateway.rules import dicom_json as dj
from gateway.rules import rights
from gateway.rules.audit_event import Access
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
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
PLACE: web.RequestKey[Place] = web.RequestKey("place", Place)
BEGUN: web.RequestKey[bool] = web.RequestKey("begun", bool)

MAX_BODY_BYTES = 16 << 20
_HTTP_VERSIONS = (HttpVersion10, HttpVersion11)
BODY_SECONDS = 10.0
"""How long the body of a request may take to come, from its head on."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_NO_CONTENT_SNIFFING = {"X-Content-Type-Options": "nosniff"}
_TEXT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Text out of an object runs nothing and loads nothing, whatever it holds."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CORS_ALLOWED = (
    "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, "
    "If-Unmodified-Since, Prefer, Range, X-API-Key, X-Request-Id"
)
_CORS_EXPOSED = (
    "Accept-Ranges, Content-Location, Content-Range, ETag, Last-Modified, Location, Retry-After, "
    "Warning, X-Request-Id"
)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@web.middleware
async def around(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """The one middleware: request id, metrics, log, who asks, errors."""
    started = time.monotonic()
    request[REQUEST_ID] = _request_id(request.headers.get("X-Request-Id"))
    telemetry = request.app[TELEMETRY]
    telemetry.request_started()
    noted, cost = Disclosures(), Cost()
    context = CURRENT.set(noted if request.app[RECORDER] is not None else None)
    costs = COST.set(cost)
    response: web.StreamResponse | None = None
    try:
        response = await errors_to_responses(request, handler)
        return response
    finally:
        CURRENT.reset(context)
        COST.reset(costs)
        _leave_place(request)
        if (consumer := request.get(CONSUMER)) is not None:
            request.app[BUDGETS].archive_requests.take(consumer.id, cost.archive_requests)
        _record(request, response, noted)
        telemetry.request_done(
            request_id=request[REQUEST_ID],
            route=_route(request),
            method=request.method,
            status=499 if response is None else response.status,
            seconds=time.monotonic() - started,
            bytes_out=0 if response is None else response.body_length,
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
        if (preflight := _preflight(request)) is not None:
            return preflight
        await _admit(request)
        return await handler(request)
    except GatewayError as error:
        if _has_begun(request):
            _cut(request, error.code)
            raise
        return error_response(request, error)
    except web.HTTPException as error:
        return _refused(request, error)
    except Exception as error:
        if _has_begun(request):
            _cut(request, type(error).__name__)
            raise
        _log.exception("unforeseen", request_id=request[REQUEST_ID], route=_route(request))
        return error_response(request, GatewayError("the gateway failed; see its log"))


def _record(request: web.Request, response: web.StreamResponse | None, noted: Disclosures) -> None:
    """Tells the audit trail what was disclosed or denied, also where the answer broke off."""
    recorder, consumer = request.app[RECORDER], request.get(CONSUMER)
    status = response.status if response is not None else 200 if _has_begun(request) else 499
    is_refused = consumer is None and status in {401, 403}
    if recorder is None or (consumer is None and not is_refused):
        return
    access = Access(
        recorded=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        request_id=request[REQUEST_ID],
        consumer=consumer.id if consumer is not None else None,
        user=consumer.user if consumer is not None else None,
        address=request.remote,
        server=request.app[SETTINGS].server.public_url,
        asked=request.raw_path,
        is_query=False,
        refused_for=_refused_for(request, status),
    )
    if is_refused:
        recorder.refused(access)
    else:
        recorder.answered(access, rights.needed(_route(request)), status, noted)


def _refused_for(request: web.Request, status: int) -> str:
    if status == 403:
        return "the caller has no policy"
    has_any = any(name in request.headers for name in ("Authorization", "X-API-Key"))
    return "the credentials are not accepted" if has_any else "there are no credentials"


async def _admit(request: web.Request) -> None:
    """Who asks, where that matters; Unauthorized or Forbidden when they may not.

    A path that leads nowhere is found to lead nowhere only by somebody who is known.
    """
    need = rights.needed(_route(request))
    if need is not None and need.admission is Admission.PUBLIC:
        return
    is_open = request.app[SETTINGS].auth.mode == "open"
    authenticator = request.app[AUTHENTICATOR]
    request[CONSUMER] = OPEN if is_open else await authenticator.consumer(request.headers)
    recorder = request.app[RECORDER]
    if recorder is not None and recorder.forbids:
        raise Unavailable("what is told cannot be recorded now, so nothing is")
    if not is_open and request.match_info.http_exception is None:
        rights.check(need, request[CONSUMER])
    budgets = request.app[BUDGETS]
    budgets.check(request[CONSUMER].id)
    request[PLACE] = await budgets.at_once.place(request[CONSUMER].id)


def error_response(request: web.Request, error: GatewayError) -> web.Response:
    """`error` as a response in the dialect of the surface that was asked."""
    body, content_type = _dialect(request.path)(request, error)
    headers = {"Cache-Control": "no-store"} | _NO_CONTENT_SNIFFING
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="imaging"'
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, RangeNotSatisfiable) and error.total is not None:
        headers["Content-Range"] = f"bytes */{error.total}"
    response = web.Response(
        status=error.status,
        body=b"" if request.method == "HEAD" else body,
        headers=headers | {"Content-Type": content_type},
    )
    if isinstance(error, TooSlow):
        response.force_close()  # what is still to come is not waited for
    return response


def _refused(request: web.Request, raised: web.HTTPException) -> web.Response:
    """What aiohttp itself refuses (404, 405 and the like), in our words and with its headers."""
    if raised.status == HTTPStatus.NOT_FOUND:
        return error_response(
            request, NotFound("no such resource; try /dicom-web/studies or /fhir/r4/metadata")
        )
    if raised.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return error_response(request, PayloadTooLarge("the body is too large"))
    allowed = {"Allow": raised.headers["Allow"]} if "Allow" in raised.headers else {}
    if request.method == "OPTIONS" and allowed:
        return web.Response(status=204, headers=allowed)
    error = GatewayError(f"{request.method} is not possible here")
    error.status = raised.status
    error.code = "not-supported"
    error.title = HTTPStatus(raised.status).phrase
    response = error_response(request, error)
    response.headers.update(allowed)
    return response


def _dialect(path: str) -> Callable[[web.Request, GatewayError], tuple[bytes, str]]:
    if path == "/fhir" or path.startswith("/fhir/"):
        return _operation_outcome
    return _page if path in {"/", "/iid"} else _problem


def _operation_outcome(request: web.Request, error: GatewayError) -> tuple[bytes, str]:
    issue: dict[str, Any] = {
        "severity": "error",
        "code": error.code,
        "details": {"text": error.title},
        "diagnostics": str(error),
    }
    parameter = getattr(error, "parameter", None)
    if parameter is not None:
        issue["expression"] = [f"http.{parameter}"]
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    return orjson.dumps(outcome), "application/fhir+json; charset=utf-8"


def _problem(request: web.Request, error: GatewayError) -> tuple[bytes, str]:
    problem = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": str(error),
        "code": error.code,
        "request_id": request[REQUEST_ID],
    }
    for name in ("parameter", "archive", "permitted"):
        if (value := getattr(error, name, None)) is not None:
            problem[name] = value
    return orjson.dumps(problem), "application/problem+json"


def _page(request: web.Request, error: GatewayError) -> tuple[bytes, str]:
    told = str(error)
    title, detail = html.escape(error.title), html.escape(told[:1].upper() + told[1:])
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
        'content="light dark"><style>main{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;'
        f"margin:3rem auto;padding:0 1rem}}</style><body><main><h1>{title}</h1><p>{detail}.</p>"
        f"<p><small>Request {html.escape(request[REQUEST_ID])}</small></p>"
        '<p><a href="./">All studies</a></p></main></body></html>'
    )
    return text.encode(), "text/html; charset=utf-8"


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


def _request_id(given: str | None) -> str:
    """The caller's own id of the request where that can stand in a log, else one of ours."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return os.urandom(8).hex()


def _leave_place(request: web.Request) -> None:
    """Lets the next request of the same consumer be worked on, if it waits for that."""
    if (place := request.get(PLACE)) is not None:
        place.leave()


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


def _preflight(request: web.Request) -> web.Response | None:
    """The answer to a CORS preflight (Fetch §3.3.5), before anyone is asked who they are."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    response = web.Response(status=204)
    if _is_allowed_origin(request):
        response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST, OPTIONS, DELETE"
        response.headers["Access-Control-Allow-Headers"] = _CORS_ALLOWED
        response.headers["Access-Control-Max-Age"] = "600"
    return response


def _is_allowed_origin(request: web.Request) -> bool:
    return request.headers.get("Origin") in request.app[SETTINGS].server.cors_origins


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
    if request.app[SETTINGS].auth.mode == "required":
        headers.add("Vary", "Authorization, X-API-Key")
    if request.app[SETTINGS].server.cors_origins:
        headers.add("Vary", "Origin")
        if _is_allowed_origin(request):
            headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            headers["Access-Control-Expose-Headers"] = _CORS_EXPOSED


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
    headers = {"ETag": picture.etag, "Vary": "Accept", "Cache-Control": kept}
    if not_modified(request, picture.etag):
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

"""What every request has in common: its id, who asks, how errors look, how bodies stream out.

`errors_to_responses` alone turns an error into a response, in the dialect of the surface: an
OperationOutcome below /fhir, a page for people at / and /iid, problem+json (RFC 9457) elsewhere.
"""

from __future__ import annotations

import asyncio
import html
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from aiohttp import web

from gateway.adapters import auth
from gateway.adapters.telemetry import Telemetry
from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.errors import BadRequest, GatewayError, NotFound, PayloadTooLarge
from gateway.model import Consumer, Part, Target
from gateway.pictures import Pictures
from gateway.rules import dicom_json as dj
from gateway.rules.media import Form

CATALOG = web.AppKey("catalog", Catalog)
SETTINGS = web.AppKey("settings", Settings)
PICTURES = web.AppKey("pictures", Pictures)
TELEMETRY = web.AppKey("telemetry", Telemetry)
DRAINING = web.AppKey("draining", asyncio.Event)
CONSUMER: web.RequestKey[Consumer] = web.RequestKey("consumer", Consumer)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)

MAX_BODY_BYTES = 16 << 20
_WRITE_STALL_SECONDS = 30
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_NO_CONTENT_SNIFFING = {"X-Content-Type-Options": "nosniff"}
_CORS_ALLOWED = (
    "Accept, Authorization, Content-Type, If-None-Match, Prefer, X-API-Key, X-Request-Id"
)
_CORS_EXPOSED = "Content-Location, ETag, Location, Retry-After, Warning, X-Request-Id"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@web.middleware
async def around(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """The one middleware: request id, metrics, log, who asks, errors."""
    started = time.monotonic()
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    telemetry = request.app[TELEMETRY]
    telemetry.request_started()
    response: web.StreamResponse | None = None
    try:
        response = await errors_to_responses(request, handler)
        return response
    finally:
        seconds = time.monotonic() - started
        status = 499 if response is None else response.status
        route = _route(request)
        sent = 0 if response is None else response.body_length
        telemetry.request_done(
            route=route, method=request.method, status=status, seconds=seconds, bytes_out=sent
        )
        _log.info(
            "request",
            request_id=request[REQUEST_ID],
            method=request.method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 1),
        )


async def errors_to_responses(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """The handler's answer, or its error in the dialect of the surface.

    After the first byte there is no second answer: the error cuts the connection.
    """
    try:
        if not request.raw_path.startswith("/"):
            raise BadRequest("the request line must hold a path", parameter="path")
        if (preflight := _preflight(request)) is not None:
            return preflight
        request[CONSUMER] = auth.consumer(request.headers, request.app[SETTINGS])
        return await handler(request)
    except GatewayError as error:
        if _has_begun(request):
            raise
        return error_response(request, error)
    except web.HTTPRequestEntityTooLarge:
        return error_response(request, PayloadTooLarge("the body is too large"))
    except web.HTTPNotFound:
        return error_response(request, NotFound("no such resource"))
    except web.HTTPException as error:
        return _plain_error(request, error)
    except Exception:
        if _has_begun(request):
            raise
        _log.exception("unforeseen", request_id=request[REQUEST_ID], route=_route(request))
        return error_response(request, GatewayError("the gateway failed; see its log"))


def error_response(request: web.Request, error: GatewayError) -> web.Response:
    """`error` as a response in the dialect of the surface that was asked."""
    body, content_type = _dialect(request.path)(request, error)
    headers = {"Cache-Control": "no-store"} | _NO_CONTENT_SNIFFING
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return web.Response(
        status=error.status,
        body=b"" if request.method == "HEAD" else body,
        headers=headers | {"Content-Type": content_type},
    )


def _plain_error(request: web.Request, raised: web.HTTPException) -> web.Response:
    """What aiohttp itself refuses (405 and the like), in our words and with its headers."""
    error = GatewayError(f"{request.method} is not possible here")
    error.status = raised.status
    error.code = "not-supported"
    error.title = HTTPStatus(raised.status).phrase
    response = error_response(request, error)
    if "Allow" in raised.headers:
        response.headers["Allow"] = raised.headers["Allow"]
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
    for name in ("parameter", "archive"):
        if (value := getattr(error, name, None)) is not None:
            problem[name] = value
    return orjson.dumps(problem), "application/problem+json"


def _page(request: web.Request, error: GatewayError) -> tuple[bytes, str]:
    title, detail = html.escape(error.title), html.escape(str(error))
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
        f'content="light dark"><body><main><h1>{title}</h1><p>{detail}.</p>'
        f"<p><small>Request {html.escape(request[REQUEST_ID])}</small></p>"
        '<p><a href="/">All studies</a></p></main></body></html>'
    )
    return text.encode(), "text/html; charset=utf-8"


def _has_begun(request: web.Request) -> bool:
    """Whether bytes of an answer have left already."""
    return request.writer is not None and request.writer.output_size > 0


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
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.popall("Server", None)
    if request.app[SETTINGS].server.cors_origins:
        response.headers.add("Vary", "Origin")
        if _is_allowed_origin(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = _CORS_EXPOSED


def target_in(request: web.Request) -> Target:
    """The study, series, instance or frames of the path; BadRequest naming what is no good."""
    named = request.match_info
    return Target(
        study_uid=dj.uid(named["study"], "study"),
        series_uid=dj.uid(named["series"], "series") if "series" in named else None,
        instance_uid=dj.uid(named["instance"], "instance") if "instance" in named else None,
        frames=dj.frame_numbers(named["frames"]) if "frames" in named else (),
    )


def not_modified(request: web.Request, etag: str) -> bool:
    """Whether the caller has this answer already (RFC 9110 §13.1.2, weak comparison)."""
    given = [
        t.strip().removeprefix("W/") for t in request.headers.get("If-None-Match", "").split(",")
    ]
    return etag.removeprefix("W/") in given or given == ["*"]


def warnings_of(silent: tuple[str, ...], *more: str) -> list[str]:
    """Warning fields (PS3.18 §8.3.4.4): which archives are missing from the answer, and `more`."""
    said = [f"archive {a} did not answer; the result may be incomplete" for a in silent]
    return [f'299 gateway "{text}"' for text in (*said, *more)]


async def stream_parts(
    request: web.Request,
    parts: AsyncIterator[Part],
    form: Form,
    *,
    silent: tuple[str, ...] = (),
) -> web.StreamResponse:
    """Parts as multipart/related, or the only one as it is. 206 where archives are silent."""
    first = await anext(parts)
    response = web.StreamResponse(status=206 if silent else 200)
    for warning in warnings_of(silent):
        response.headers.add("Warning", warning)
    if form.is_multipart:
        await _stream_multipart(request, response, first, parts)
        return response
    response.headers["Content-Type"] = first.content_type
    response.headers["Content-Disposition"] = "attachment"
    if first.length is not None:
        response.content_length = first.length
    await response.prepare(request)
    if request.method != "HEAD":
        await _write_all(response, first.chunks)
        await response.write_eof()
    return response


async def _stream_multipart(
    request: web.Request,
    response: web.StreamResponse,
    first: Part,
    rest: AsyncIterator[Part],
) -> None:
    """PS3.18 §8.6.1.2.1. The closing delimiter is written only when every part came whole."""
    boundary = secrets.token_hex(16)
    kind = first.content_type.split(";")[0].strip()
    response.headers["Content-Type"] = f'multipart/related; type="{kind}"; boundary={boundary}'
    await response.prepare(request)
    if request.method == "HEAD":
        return
    part: Part | None = first
    while part is not None:
        size = "" if part.length is None else f"Content-Length: {part.length}\r\n"
        head = f"--{boundary}\r\nContent-Type: {part.content_type}\r\n{size}\r\n"
        await _write(response, head.encode("latin-1"))
        await _write_all(response, part.chunks)
        await _write(response, b"\r\n")
        part = await anext(rest, None)
    await _write(response, f"--{boundary}--\r\n".encode())
    await response.write_eof()


async def stream_json_array(
    request: web.Request,
    batches: AsyncIterator[list[bytes]],
    content_type: str,
    *,
    silent: tuple[str, ...] = (),
) -> web.StreamResponse:
    """Batches of JSON objects as one array, written as they come."""
    response = web.StreamResponse(status=206 if silent else 200)
    response.headers["Content-Type"] = content_type
    for warning in warnings_of(silent):
        response.headers.add("Warning", warning)
    compress(request, response)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    separator = b"["
    async for batch in batches:
        for item in batch:
            await _write(response, separator + item)
            separator = b","
    await _write(response, b"[]" if separator == b"[" else b"]")
    await response.write_eof()
    return response


def compress(request: web.Request, response: web.StreamResponse) -> None:
    """gzip for text where the caller takes it; objects and pictures go as they are."""
    response.headers["Vary"] = "Accept, Accept-Encoding"
    if "gzip" in request.headers.get("Accept-Encoding", "").lower():
        response.enable_compression(web.ContentCoding.gzip)


async def _write_all(response: web.StreamResponse, chunks: AsyncIterator[bytes]) -> None:
    async for chunk in chunks:
        await _write(response, chunk)


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    """One chunk out; a caller who does not read for too long is let go."""
    async with asyncio.timeout(_WRITE_STALL_SECONDS):
        await response.write(chunk)

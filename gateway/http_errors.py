"""Errors as responses, each in the dialect of the surface that was asked.

An OperationOutcome below /fhir, a page for people at / and /iid and for a browser where nothing is,
problem+json (RFC 9457) elsewhere.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from gateway.errors import (
    GatewayError,
    NotFound,
    PayloadTooLarge,
    RangeNotSatisfiable,
    TooSlow,
    Unauthorized,
)

Dialect = Callable[[web.Request, GatewayError], tuple[bytes, str]]
"""An error as the body and the content type of a response."""
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
_NO_CONTENT_SNIFFING = {"X-Content-Type-Options": "nosniff"}


def error_response(request: web.Request, error: GatewayError) -> web.Response:
    """`error` as a response in the dialect of the surface that was asked."""
    return _response(request, error, _dialect(request.path))


def _response(request: web.Request, error: GatewayError, dialect: Dialect) -> web.Response:
    body, content_type = dialect(request, error)
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


def refused(request: web.Request, raised: web.HTTPException) -> web.Response:
    """What aiohttp itself refuses (404, 405 and the like), in our words and with its headers."""
    if raised.status == HTTPStatus.NOT_FOUND:
        nothing = NotFound("no such resource; try /dicom-web/studies or /fhir/r4/metadata")
        return _response(request, nothing, _dialect_where_nothing_is(request))
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


def _dialect(path: str) -> Dialect:
    if path == "/fhir" or path.startswith("/fhir/"):
        return _operation_outcome
    return _page if path in {"/", "/iid"} else _problem


def _dialect_where_nothing_is(request: web.Request) -> Dialect:
    """A browser that was given a wrong address has a person before it."""
    dialect = _dialect(request.path)
    is_for_people = "text/html" in request.headers.get("Accept", "")
    return _page if is_for_people and dialect is _problem else dialect


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
        f'<p><a href="{_root(request)}">All studies</a></p></main></body></html>'
    )
    return text.encode(), "text/html; charset=utf-8"


def _root(request: web.Request) -> str:
    """Where `/` is, as seen from the page that was asked for, whatever stands in front."""
    return "../" * (request.raw_path.partition("?")[0].count("/") - 1) or "./"

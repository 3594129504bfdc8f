"""Which pages of other origins may ask, and what of an answer they see (Fetch §3.3)."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

_CORS_ALLOWED = (
    "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, "
    "If-Unmodified-Since, Prefer, Range, X-API-Key, X-Request-Id"
)
_CORS_EXPOSED = (
    "Accept-Ranges, Content-Location, Content-Range, ETag, Last-Modified, Location, Retry-After, "
    "Warning, X-Request-Id"
)


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks what a page of another origin may do (Fetch §3.3.5)."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight(request: web.Request, origins: Collection[str]) -> web.Response:
    """The answer to a preflight, which is given before anyone is asked who they are."""
    response = web.Response(status=204)
    if request.headers.get("Origin") in origins:
        response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST, OPTIONS, DELETE"
        response.headers["Access-Control-Allow-Headers"] = _CORS_ALLOWED
        response.headers["Access-Control-Max-Age"] = "600"
    return response


def open_to(request: web.Request, response: web.StreamResponse, origins: Collection[str]) -> None:
    """Lets pages of allowed origins read an answer."""
    response.headers.add("Vary", "Origin")
    if (origin := request.headers.get("Origin")) in origins and origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _CORS_EXPOSED

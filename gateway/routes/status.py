"""Is the gateway well, and are its archives: probes, metrics and `/archives`."""

from __future__ import annotations

import orjson
from aiohttp import web

from gateway.errors import Unavailable
from gateway.http_server import CATALOG, DRAINING, SETTINGS, TELEMETRY

PROBE_SECONDS = 3.0


def routes() -> list[web.RouteDef]:
    """The routes of this surface."""
    return [
        web.get("/health/live", live),
        web.get("/health/ready", ready),
        web.get("/metrics", metrics),
        web.get("/archives", archives),
    ]


async def live(request: web.Request) -> web.Response:
    """GET health/live: 200 while the process answers at all."""
    return _json({"status": "live"})


async def ready(request: web.Request) -> web.Response:
    """GET health/ready: 200 once started, also while archives are down; 503 while it stops."""
    if request.app[DRAINING].is_set():
        raise Unavailable("the gateway is stopping")
    return _json({"status": "ready"})


async def metrics(request: web.Request) -> web.Response:
    """GET metrics: Prometheus text exposition of this process."""
    body, content_type = request.app[TELEMETRY].exposition()
    return web.Response(body=body, headers={"Content-Type": content_type})


async def archives(request: web.Request) -> web.Response:
    """GET archives: each archive's id, type, and whether and how fast it answers right now.

    200 JSON, within a few seconds whatever the archives do. Addresses are not told.
    """
    found = await request.app[CATALOG].health(PROBE_SECONDS)
    configured = request.app[SETTINGS].archives
    return _json(
        {
            "archives": [
                {
                    "id": one.archive,
                    "type": configured[one.archive].type,
                    "status": "silent" if one.problem else "reachable",
                    "latency_seconds": None if one.problem else round(one.seconds, 4),
                    "problem": one.problem,
                }
                for one in found
            ]
        }
    )


def _json(value: object) -> web.Response:
    return web.Response(
        body=orjson.dumps(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )

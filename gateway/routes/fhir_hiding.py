"""Searches that were posted, hidden in the links of their pages where a secret is configured."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web

from gateway.http_server import CONSUMER, SETTINGS
from gateway.rules import fhir_links
from gateway.rules.fhir_bundle import Pairs
from gateway.rules.fhir_versions import VERSIONS, Version


def revealed(request: web.Request, resource_type: str, pairs: Pairs) -> tuple[Pairs, bool]:
    """The parameters that are meant, and whether links must not show them: those of a form."""
    secret = request.app[SETTINGS].auth.link_secret
    if secret is None:
        return pairs, False
    version = VERSIONS.get(request.match_info.get("version", ""))
    bound_to = _bound_to(request, resource_type, version) if version else ""
    opened = fhir_links.opened(secret.get_secret_value(), bound_to, pairs, _now_seconds())
    return opened or pairs, opened is not None or request.method == "POST"


def hiding(request: web.Request, resource_type: str, version: Version) -> Callable[[Pairs], Pairs]:
    """How the links of a search are written that show nothing of what was asked for."""
    secret = request.app[SETTINGS].auth.link_secret
    bound_to = _bound_to(request, resource_type, version)
    now_seconds = _now_seconds()

    def written(pairs: Pairs) -> Pairs:
        if secret is None:
            return pairs
        nonce = secrets.token_bytes(fhir_links.NONCE_BYTES)
        return fhir_links.sealed(secret.get_secret_value(), bound_to, pairs, now_seconds, nonce)

    return written


def _bound_to(request: web.Request, resource_type: str, version: Version) -> str:
    """What a link belongs to: one consumer's searches for one type in one version."""
    return repr((version.id, resource_type, request[CONSUMER]))


def _now_seconds() -> int:
    return int(datetime.now(UTC).timestamp())

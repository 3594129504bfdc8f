"""FHIR resources on their way out: their format, their validators, what is missing from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from aiohttp import web

from gateway.adapters.reads import note_passing
from gateway.errors import PreconditionFailed
from gateway.http_codings import VARY, pack
from gateway.http_server import warnings_of
from gateway.rules import fhir_requests, fhir_subsets, preconditions
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_versions import Version
from gateway.rules.preconditions import Conditions, Verdict

_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_Pairs = Sequence[tuple[str, str]]


async def read(
    request: web.Request,
    resource: Resource,
    search: Search,
    version: Version,
    silent: tuple[str, ...] = (),
    *,
    is_subset: bool = False,
) -> web.Response:
    """The part of a resource that a read wants, with validators; 304, or PreconditionFailed.

    What archives are missing from has no time: it changes when they are back.
    """
    served = fhir_subsets.served(resource, search.wanted, version.number)
    tag, since = fhir_subsets.entity_tag(served), served["meta"].get("lastUpdated")
    changed = datetime.fromisoformat(since) if since and not silent else None
    verdict = preconditions.verdict(_conditions(request), tag, changed)
    if verdict is Verdict.FAILED:
        raise PreconditionFailed("the resource is not as the request says that it should be")
    if verdict is Verdict.NOT_MODIFIED:
        response = web.Response(status=304, headers={"Vary": VARY})
    else:
        response = await answer(request, served, version, silent=silent, is_subset=is_subset)
    if tag is not None:
        response.headers["ETag"] = tag
    if changed is not None:
        _tell_time(response, changed)
    return response


def _tell_time(response: web.Response, changed: datetime) -> None:
    """Last-Modified; an answer without it, since it is to come, is not the one to be kept."""
    told = preconditions.last_modified(changed, datetime.now(UTC))
    if told is None:
        note_passing()
    else:
        response.last_modified = told


def _conditions(request: web.Request) -> Conditions:
    return Conditions(
        if_match=request.headers.getall("If-Match", []),
        if_none_match=request.headers.getall("If-None-Match", []),
        if_modified_since=request.if_modified_since,
        if_unmodified_since=request.if_unmodified_since,
    )


async def answer(
    request: web.Request,
    resource: Resource,
    version: Version,
    *,
    pairs: _Pairs = (),
    silent: tuple[str, ...] = (),
    is_subset: bool = False,
) -> web.Response:
    """`resource` in its format; what is missing from it is told in Warning: archives by name.

    `is_subset`: something is hidden from the caller.
    """
    response = web.Response(headers={"Content-Type": version.content_type})
    if (applied := fhir_requests.preference(request.headers.getall("Prefer", []))) is not None:
        response.headers["Preference-Applied"] = applied
    for warning in warnings_of(silent, is_subset=is_subset):
        response.headers.add("Warning", warning)
    is_pretty = ("_pretty", "true") in (*pairs, *request.query.items())
    body = orjson.dumps(resource)
    if is_pretty:  # what is in it as finished bytes too
        body = orjson.dumps(orjson.loads(body), option=_PRETTY)
    await pack(request, response, body)
    return response

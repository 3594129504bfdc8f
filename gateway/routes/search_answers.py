"""The rows that a search found as they go out, many of them made beside the loop."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from gateway.apart import apart
from gateway.at_hand import AtHand
from gateway.http_codings import pack
from gateway.http_server import warnings_of
from gateway.http_streams import stream_xml
from gateway.model import Found, Level, Target
from gateway.rules import attributes, qido, qido_rows, urls
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.media import Form


async def search_answer(
    request: web.Request, query: qido.Query, found: Found[Dataset], form: Form, base: str
) -> web.StreamResponse:
    """What a search is answered with (PS3.18 §10.6.3): 200 JSON or XML, or 204 without a row.

    `base` is the address of the service, below which everything that is found can be retrieved.
    `Warning` names silent archives and says that there is more than was returned.
    """
    warnings, rows = _warnings(found), found.items
    if rows and form.is_xml:
        whole = await apart(len(rows), _completed, found, query, base)
        return await stream_xml(request, AtHand((whole,)), form, warnings=warnings)
    response = web.Response(status=200 if rows else 204)
    for warning in warnings:
        response.headers.add("Warning", warning)
    if rows:
        response.headers["Content-Type"] = form.types[0]
        await pack(request, response, await apart(len(rows), _written, found, query, base))
    return response


def _written(found: Found[Dataset], query: qido.Query, base: str) -> bytes:
    return orjson.dumps(_completed(found, query, base))


def _completed(found: Found[Dataset], query: qido.Query, base: str) -> list[Any]:
    return [qido_rows.completed(r, query, _retrieve_url(base, r, query)) for r in found.items]


def _retrieve_url(base: str, row: Dataset, query: qido.Query) -> str:
    """The WADO-RS URL of what a row is about."""
    uids = [dj.text(row, attributes.UID_OF[level]) for level in attributes.UID_OF]
    study_uid, series_uid = uids[0] or query.study_uid, uids[1] or query.series_uid
    if study_uid is None:
        return base
    if query.level is Level.STUDY or series_uid is None:
        return urls.wado_rs(base, Target(study_uid=study_uid))
    instance_uid = uids[2] if query.level is Level.INSTANCE else None
    return urls.wado_rs(
        base, Target(study_uid=study_uid, series_uid=series_uid, instance_uid=instance_uid)
    )


def _warnings(found: Found[Dataset]) -> list[str]:
    more = ("there are additional results that can be requested",) if found.has_more else ()
    unsearchable = (
        f"archive {a} cannot be searched by this; the result may be incomplete"
        for a in found.unsearchable
    )
    return warnings_of(found.silent, *unsearchable, *more, is_subset=found.is_subset)

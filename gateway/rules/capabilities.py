"""The Capabilities Description (PS3.18 §8.9, §H): what `/dicom-web` offers, as WADL or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.errors import NotAcceptable
from gateway.rules.dicom_xml import quoted
from gateway.rules.media import MediaRange
from gateway.rules.transactions import TRANSACTIONS, Transaction, media_types, parameters

WADL = "application/vnd.sun.wadl+xml"
JSON = "application/json"
_NAMESPACE = "http://wadl.dev.java.net/2009/02"
_Tree = dict[str, Any]


def content_type(ranges: Sequence[MediaRange]) -> str:
    """How the description goes out: as WADL, or as JSON where that is liked better."""
    for each in ranges:
        for kind in (WADL, JSON):
            if each.covers(kind):
                return kind
    raise NotAcceptable(f"Accept must allow {WADL} or {JSON}")


def description(base: str) -> _Tree:
    """The description as JSON has it: each resource with its methods and the resources below it."""
    root: _Tree = {"base": base, "resource": []}
    for transaction in TRANSACTIONS:
        resource = root
        for step in transaction.path.strip("/").split("/"):
            resource = _below(resource, step)
        resource["method"] += [_method("GET", transaction), _method("HEAD", transaction)]
    return {"application": {"resources": root}}


def wadl(base: str) -> str:
    """The same as a WADL document."""
    resources = description(base)["application"]["resources"]
    inside = "".join(piece for one in resources["resource"] for piece in _resource(one))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="{_NAMESPACE}">'
        f"<resources base={quoted(base)}>{inside}</resources></application>"
    )


def _below(parent: _Tree, step: str) -> _Tree:
    """The resource at one step of a path below `parent`, made where it is not there yet."""
    for one in parent["resource"]:
        if one["path"] == step:
            found: _Tree = one
            return found
    made: _Tree = {"path": step, "method": [], "resource": []}
    parent["resource"].append(made)
    return made


def _method(name: str, transaction: Transaction) -> _Tree:
    kinds = media_types(transaction)
    query = [{"name": one, "style": "query"} for one in parameters(transaction)]
    accept = {
        "name": "Accept",
        "style": "header",
        "default": kinds[0],
        "option": [{"value": kind} for kind in kinds],
    }
    return {
        "name": name,
        "id": transaction.name if name == "GET" else f"{transaction.name}Head",
        "request": {"param": [accept, *query]},
        "response": [{"status": "200", "representation": [{"mediaType": kind} for kind in kinds]}],
    }


def _resource(resource: _Tree) -> Iterator[str]:
    yield f"<resource path={quoted(resource['path'])}>"
    if resource["path"].startswith("{"):
        name = resource["path"].strip("{}")
        yield f'<param name={quoted(name)} style="template" required="true"/>'
    for method in resource["method"]:
        yield f"<method name={quoted(method['name'])} id={quoted(method['id'])}><request>"
        yield from (_param(one) for one in method["request"]["param"])
        yield '</request><response status="200">'
        kinds = method["response"][0]["representation"]
        yield from (f"<representation mediaType={quoted(k['mediaType'])}/>" for k in kinds)
        yield "</response></method>"
    for one in resource["resource"]:
        yield from _resource(one)
    yield "</resource>"


def _param(param: _Tree) -> str:
    start = f"<param name={quoted(param['name'])} style={quoted(param['style'])}"
    if "option" not in param:
        return f"{start}/>"
    options = "".join(f"<option value={quoted(o['value'])}/>" for o in param["option"])
    return f"{start} default={quoted(param['default'])}>{options}</param>"

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from gateway.errors import NotAcceptable
from gateway.rules import capabilities, media
from gateway.rules.transactions import TRANSACTIONS

BASE = "https://gw.example.org/a&b/dicom-web"
NS = "{http://wadl.dev.java.net/2009/02}"


def methods(resource: dict[str, Any], path: str = "") -> dict[str, set[str]]:
    """The methods of every resource by its path."""
    found = {path: {m["name"] for m in resource["method"]}} if resource.get("method") else {}
    for one in resource["resource"]:
        found |= methods(one, f"{path}/{one['path']}")
    return found


def test_every_transaction_is_described() -> None:
    resources = capabilities.description(BASE)["application"]["resources"]
    assert resources["base"] == BASE
    assert methods(resources) == {t.path: {"GET", "HEAD"} for t in TRANSACTIONS}


def test_wadl_says_what_json_says() -> None:
    root = ElementTree.fromstring(capabilities.wadl(BASE))  # noqa: S314 - our own output
    assert root.tag == f"{NS}application"
    [resources] = root
    assert resources.attrib == {"base": BASE}
    assert [_tree(one) for one in resources] == capabilities.description(BASE)["application"][
        "resources"
    ]["resource"]


def _tree(resource: ElementTree.Element) -> dict[str, Any]:
    is_template = resource.attrib["path"].startswith("{")
    assert (resource.find(f"{NS}param") is not None) is is_template
    return {
        "path": resource.attrib["path"],
        "method": [_method(m) for m in resource.findall(f"{NS}method")],
        "resource": [_tree(r) for r in resource.findall(f"{NS}resource")],
    }


def _method(method: ElementTree.Element) -> dict[str, Any]:
    params = []
    for param in method.findall(f"{NS}request/{NS}param"):
        options = [dict(o.attrib) for o in param]
        params.append(dict(param.attrib) | ({"option": options} if options else {}))
    kinds = [dict(k.attrib) for k in method.findall(f"{NS}response/{NS}representation")]
    return dict(method.attrib) | {
        "request": {"param": params},
        "response": [{"status": "200", "representation": kinds}],
    }


def test_identifiers_are_unique() -> None:
    root = ElementTree.fromstring(capabilities.wadl(BASE))  # noqa: S314 - our own output
    ids = [m.attrib["id"] for m in root.iter(f"{NS}method")]
    assert len(set(ids)) == len(ids) == 2 * len(TRANSACTIONS)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", "application/vnd.sun.wadl+xml"),
        ("*/*", "application/vnd.sun.wadl+xml"),
        ("application/*", "application/vnd.sun.wadl+xml"),
        ("application/json", "application/json"),
        ("application/json, */*;q=0.1", "application/json"),
        ("application/vnd.sun.wadl+xml;q=0.5, application/json", "application/json"),
        ("application/vnd.sun.wadl+xml;q=0, */*", "application/json"),
        ("text/html, application/vnd.sun.wadl+xml", "application/vnd.sun.wadl+xml"),
    ],
)
def test_wadl_unless_json_is_liked_better(field: str, expected: str) -> None:
    assert capabilities.content_type(media.accepted((field,))) == expected


def test_anything_else_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable):
        capabilities.content_type(media.accepted(("text/html",)))

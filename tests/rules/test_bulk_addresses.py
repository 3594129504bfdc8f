"""Where a BulkDataURI may lead."""

from __future__ import annotations

import pytest

from gateway.errors import BadRequest
from gateway.rules.bulk_addresses import below, element

BASE = "http://pacs/web"
INSTANCE = ("studies", "1.2", "series", "1.2.3", "instances", "1.2.3.4")


@pytest.mark.parametrize(
    ("uri", "segments"),
    [
        ("bulk/1", (*INSTANCE, "bulk", "1")),
        ("http://elsewhere/studies/1.2/bulk/1", ("studies", "1.2", "bulk", "1")),
        ("/web/blobs/17", ("blobs", "17")),
        ("../../../../../../blobs/17", ("blobs", "17")),
    ],
)
def test_it_leads_to_something_below_the_base(uri: str, segments: tuple[str, ...]) -> None:
    assert below(BASE, INSTANCE, uri) == (segments, [])


def test_its_query_is_kept() -> None:
    assert below(BASE, INSTANCE, "bulk?a=1&b=2%203")[1] == [("a", "1"), ("b", "2 3")]


@pytest.mark.parametrize(
    "uri",
    [
        "http://pacs/", "http://pacs/system", "/web", "/web/", "http://[x/studies/1.2/b/1",
        "/web/studies", "/web/studies?PatientID=*", "/web/series", "/web/instances?x=1",
        "/web/studies/1.2", "/web/studies/1.9/bulk/1", "/web/studies/1.2.9/bulk/1",
        "/web/series/1.2.3/bulk/1", "/web/instances/1.2.3.4", "http://pacs/studies/1.9/bulk/1",
        "/web/blobs/%2e%2e/x", "/web/blobs/a%2fb", "/web/blobs/a\\b",
    ],
)  # fmt: skip
def test_what_leads_elsewhere_is_refused(uri: str) -> None:
    with pytest.raises(BadRequest):
        below(BASE, INSTANCE, uri)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("7FE00010",), {"vr": "OW"}),
        (("00540016", "1", "0018A001"), {"vr": "OB"}),
        (("00540016", "2", "0018A001"), None),
        (("00540016", "0", "0018A001"), None),
        (("0018A001", "0", "0018A001"), None),
    ],
)
def test_an_attribute_is_found_by_its_path_in_whichever_case(
    path: tuple[str, ...], found: object
) -> None:
    told = b'{"7fe00010":{"vr":"OW"},"00540016":{"Value":[null,{"0018a001":{"vr":"OB"}}]}}'
    assert element([told], path) == found
    assert element([], path) is None

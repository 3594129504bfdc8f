"""Searchsets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from gateway.errors import BadRequest, Unavailable
from gateway.rules import fhir_bundle
from gateway.rules.fhir_bundle import Missing, Turned
from gateway.rules.fhir_pages import Page, Position
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_results import Wanted
from gateway.rules.records import LEFT_OUT
from tests import fhir_oracles
from tests.study_records import WHOLE

BASE = "https://gateway.example.org/fhir/r5/ImagingStudy"
SEARCH = Search(
    criteria=(),
    wanted=Wanted(count=2),
    used=(("patient.identifier", "urn:oid:1.2|P&1 +"), ("_count", "2")),
    ignored=("colour",),
)


def test_empty_result_has_a_total_and_no_entries() -> None:
    bundle = fhir_bundle.searchset([], {"self": BASE, "next": None}, 0)
    assert bundle["total"] == 0
    assert "entry" not in bundle
    assert bundle["link"] == [{"relation": "self", "url": BASE}]
    fhir_oracles.validate(bundle, "r5")


def test_total_that_is_not_known_is_left_out() -> None:
    assert "total" not in fhir_bundle.searchset([], {"self": BASE}, None)


def test_links_repeat_the_parameters_that_were_used() -> None:
    url = fhir_bundle.links(BASE, SEARCH, "seal", Page(), None)["self"]
    assert url is not None
    assert tuple(parse_qsl(urlsplit(url).query)) == SEARCH.used


def test_pages_are_linked_forth_and_back() -> None:
    second = Page().next(Position(offset=2, limit=2), 2)
    third = second.next(Position(offset=4, limit=2), 2)
    first_links = fhir_bundle.links(BASE, SEARCH, "seal", Page(), second)
    second_links = fhir_bundle.links(BASE, SEARCH, "seal", second, third)
    assert first_links["previous"] is None
    assert first_links["next"] == second_links["self"]
    assert second_links["previous"] == second_links["first"] == first_links["self"]
    only_links = fhir_bundle.links(BASE, SEARCH, "seal", Page(), None)
    assert [relation for relation, url in only_links.items() if url] == ["self"]


def test_outcome_names_what_is_missing_odd_or_ignored() -> None:
    issues = [
        *fhir_bundle.ignored(SEARCH),
        *fhir_bundle.incomplete(Missing(silent=("south",), is_cut_short=True)),
        *fhir_bundle.oddities([(WHOLE.uid, ["two patients", f"Study Date {LEFT_OUT}"])]),
    ]
    (entry,) = fhir_bundle.outcome(issues)
    assert entry["search"] == {"mode": "outcome"}
    assert [issue["code"] for issue in entry["resource"]["issue"]] == [
        "not-supported",
        "incomplete",
        "too-costly",
        "business-rule",
        "informational",
    ]
    severities = [issue["severity"] for issue in entry["resource"]["issue"]]
    assert severities[-2:] == ["warning", "information"]
    fhir_oracles.validate(entry["resource"], "r5")
    assert fhir_bundle.outcome([]) == []


def test_matches_at_hand_are_turned_page_by_page() -> None:
    resources = [{"resourceType": "Endpoint", "id": i, "status": "active"} for i in "abc"]
    first = fhir_bundle.at_hand(resources, SEARCH, BASE, "5.0", "seal")
    assert first["total"] == 3
    assert [entry["search"]["mode"] for entry in first["entry"]] == ["match", "match", "outcome"]
    (following,) = (one["url"] for one in first["link"] if one["relation"] == "next")
    token = dict(parse_qsl(urlsplit(following).query))["_page"]
    turned = replace(SEARCH, wanted=replace(SEARCH.wanted, page=token), ignored=())
    last = fhir_bundle.at_hand(resources, turned, BASE, "5.0", "seal")
    assert [entry["resource"]["id"] for entry in last["entry"]] == ["c"]
    assert "next" not in {one["relation"] for one in last["link"]}
    with pytest.raises(BadRequest):
        fhir_bundle.at_hand(resources, turned, BASE, "5.0", "other")


def test_total_alone_of_matches_at_hand() -> None:
    resource = {"resourceType": "Endpoint", "id": "a", "status": "active"}
    only_total = replace(SEARCH, wanted=Wanted(count=0), ignored=())
    bundle = fhir_bundle.at_hand([resource], only_total, BASE, "5.0", "seal")
    assert (bundle["total"], "entry" in bundle) == (1, False)
    assert [one["relation"] for one in bundle["link"]] == ["self"]


def one_page(missing: Missing, search: Search = SEARCH, **turned: Any) -> dict[str, Any]:
    page = Turned(page=Page(), seal="seal", matched=2, **turned)
    return fhir_bundle.one_page([], [], search, BASE, page, missing)


def test_page_has_a_total_only_where_nothing_is_missing() -> None:
    assert one_page(Missing(), total=7)["total"] == 7
    assert "total" not in one_page(Missing(is_cut_short=True), total=7)
    assert "total" not in one_page(Missing(silent=("south",)), total=7)
    untold = replace(SEARCH, wanted=Wanted(total="none"))
    assert "total" not in one_page(Missing(), untold, total=7)


def test_page_with_silent_archives_is_refused_where_handling_is_strict() -> None:
    with pytest.raises(Unavailable) as raised:
        one_page(Missing(silent=("south",)), replace(SEARCH, is_strict=True))
    assert raised.value.archives == ("south",)


def test_page_leads_on_as_long_as_there_is_more() -> None:
    def relations(bundle: dict[str, Any]) -> list[str]:
        return [one["relation"] for one in bundle["link"]]

    assert relations(one_page(Missing())) == ["self"]
    more = one_page(Missing(), resume=Position(offset=2, limit=2))
    assert relations(more) == ["self", "first", "next"]


def test_studies_that_were_too_many_to_include_are_said() -> None:
    assert fhir_bundle.not_included(0) == []
    (issue,) = fhir_bundle.not_included(3)
    assert (issue["severity"], issue["code"]) == ("warning", "too-costly")

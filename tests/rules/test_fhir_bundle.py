"""Searchsets."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from gateway.rules import fhir_bundle
from gateway.rules.fhir_pages import Page, Position
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_results import Wanted
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
        *fhir_bundle.incomplete(["south"], is_cut_short=True),
        *fhir_bundle.oddities([(WHOLE.uid, ["two patients"])]),
    ]
    (entry,) = fhir_bundle.outcome(issues)
    assert entry["search"] == {"mode": "outcome"}
    assert [issue["code"] for issue in entry["resource"]["issue"]] == [
        "not-supported",
        "incomplete",
        "too-costly",
        "informational",
    ]
    fhir_oracles.validate(entry["resource"], "r5")
    assert fhir_bundle.outcome([]) == []


def test_result_on_one_page_is_whole() -> None:
    resource = {"resourceType": "Endpoint", "id": "a", "status": "active"}
    bundle = fhir_bundle.whole([resource], SEARCH, BASE, "5.0")
    assert bundle["total"] == 1
    assert [entry["search"]["mode"] for entry in bundle["entry"]] == ["match", "outcome"]
    only_total = replace(SEARCH, wanted=Wanted(count=0), ignored=())
    assert "entry" not in fhir_bundle.whole([resource], only_total, BASE, "5.0")

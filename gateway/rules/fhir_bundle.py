"""Searchsets: their entries, links and totals (FHIR R5 Search §3.2.1.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from orjson import Fragment

from gateway.errors import Unavailable
from gateway.rules import fhir_pages, fhir_subsets
from gateway.rules.fhir_elements import Resource, members
from gateway.rules.fhir_pages import Page, Position
from gateway.rules.fhir_requests import Search
from gateway.rules.records import LEFT_OUT

BundleEntry = Resource | Fragment
"""An entry, or the bytes of one."""
Pairs = Sequence[tuple[str, str]]
Writing = Callable[[Pairs], Pairs]
"""How links repeat the parameters of a search and its page."""


def searchset(
    entries: Sequence[BundleEntry],
    relations: Mapping[str, str | None],
    total: int | None,
    as_of: str | None = None,
) -> Resource:
    """A Bundle of search results; `total` None: not known exactly.

    `as_of`: the instant before anything was looked up, from which on to look for later changes.
    """
    return members(
        resourceType="Bundle",
        meta=members(lastUpdated=as_of),
        type="searchset",
        total=total,
        link=[{"relation": relation, "url": url} for relation, url in relations.items() if url],
        entry=list(entries),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A page that was turned to: which, of the search that `seal` names, with so many matches.

    `resume` is where the next one starts, None: nowhere; `total` None: not known.
    """

    page: Page
    seal: str
    matched: int
    resume: Position | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What is missing from a page: what silent archives hold, and what was not looked at.

    `unsearchable`: archives that cannot be searched by what is asked for.
    """

    silent: tuple[str, ...] = ()
    unsearchable: tuple[str, ...] = ()
    is_cut_short: bool = False


def one_page(
    entries: Sequence[BundleEntry],
    issues: Iterable[Resource],
    search: Search,
    base: str,
    turned: Turned,
    missing: Missing,
    *,
    written: Writing | None = None,
    as_of: str | None = None,
) -> Resource:
    """The searchset of one page, with what went otherwise than asked and links to other pages.

    `as_of`: the instant at which the search began; `written`: how links repeat its parameters.
    Unavailable where archives are silent and handling is strict.
    """
    if missing.silent and search.is_strict:
        named = ", ".join(missing.silent)
        raise Unavailable(f"no answer from archive {named}", archives=missing.silent)
    said = [
        *ignored(search),
        *incomplete(missing),
        *issues,
    ]
    is_exact = missing == Missing() and search.wanted.total != "none"
    resume = turned.resume
    following = turned.page.next(resume, turned.matched) if resume else None
    return searchset(
        [*entries, *outcome(said)],
        links(base, search, turned.seal, turned.page, following, written or as_they_are),
        turned.total if is_exact else None,
        as_of,
    )


def at_hand(
    resources: Sequence[Resource], search: Search, base: str, fhir_version: str, seal: str
) -> Resource:
    """The searchset of one page of a search whose matches are all at hand, in their order.

    BadRequest for a page of another search than `seal` names.
    """
    wanted = search.wanted
    page = fhir_pages.page(wanted.page, seal) if wanted.page else Page()
    count = 0 if wanted.only_total else wanted.count or 0
    start = page.start.offset if page.start else 0
    shown = resources[start : start + count]
    follows = bool(shown) and start + count < len(resources)
    turned = Turned(
        page=page,
        seal=seal,
        matched=len(shown),
        resume=Position(offset=start + count, limit=count) if follows else None,
        total=len(resources),
    )
    served = (fhir_subsets.served(one, wanted, fhir_version) for one in shown)
    entries = [entry(one, base, "match") for one in served]
    return one_page(entries, (), search, base, turned, Missing())


def entry(resource: Resource, base: str, mode: str) -> Resource:
    """An entry for a resource whose type is served at `base`."""
    return {
        "fullUrl": f"{base}/{resource['id']}",
        "resource": resource,
        "search": {"mode": mode},
    }


def ids(bundle: Resource, resource_type: str) -> set[str]:
    """The ids of the resources of a type that a Bundle tells, but for those of finished entries."""
    entries = (e["resource"] for e in bundle.get("entry", ()) if not isinstance(e, Fragment))
    return {r["id"] for r in entries if r["resourceType"] == resource_type}


def outcome(issues: Sequence[Resource]) -> list[Resource]:
    """The entry that tells what went otherwise than asked; none when nothing did."""
    if not issues:
        return []
    resource = {"resourceType": "OperationOutcome", "issue": list(issues)}
    return [{"resource": resource, "search": {"mode": "outcome"}}]


def ignored(search: Search) -> list[Resource]:
    """An issue for each parameter that was ignored."""
    return [
        _issue("information", "not-supported", f"parameter {name} was ignored")
        for name in search.ignored
    ]


def incomplete(missing: Missing) -> list[Resource]:
    """Issues for what is missing: the archives by id, and that not everything was looked at."""
    issues = [
        *(
            _issue("warning", "incomplete", f"archive {archive} did not answer")
            for archive in missing.silent
        ),
        *(
            _issue("warning", "not-supported", f"archive {archive} cannot be searched by this")
            for archive in missing.unsearchable
        ),
    ]
    if missing.is_cut_short:
        text = "not all studies that might match were looked at: narrow the search"
        issues.append(_issue("warning", "too-costly", text))
    return issues


def not_included(left_out: int) -> list[Resource]:
    """An issue for included resources that are left out; none where there are none."""
    if not left_out:
        return []
    return [_issue("warning", "too-costly", f"{left_out} studies were too many to include")]


def oddities(found: Iterable[tuple[str, Iterable[str]]]) -> list[Resource]:
    """Issues for what is odd about the studies of a page, by id.

    A value that is left out is for information; what makes a study doubtful is a warning, the
    most that a searchset may carry.
    """
    return [
        _issue(*_weight(oddity), f"ImagingStudy/{study_uid}: {oddity}")
        for study_uid, told in found
        for oddity in told
    ]


def _weight(oddity: str) -> tuple[str, str]:
    if oddity.endswith(LEFT_OUT):
        return "information", "informational"
    return "warning", "business-rule"


def _issue(severity: str, code: str, diagnostics: str) -> Resource:
    return {"severity": severity, "code": code, "diagnostics": diagnostics}


def as_they_are(pairs: Pairs) -> Pairs:
    """The parameters of a link, for all to read."""
    return pairs


def links(
    base: str,
    search: Search,
    seal: str,
    page: Page,
    following: Page | None,
    written: Writing = as_they_are,
) -> dict[str, str | None]:
    """The links of a page by relation; `following`: the page after it.

    `written` gives the parameters by which a link repeats those of the search and its page.
    """

    def link(to: Page) -> str:
        token = [("_page", fhir_pages.token(to, seal))] if to.starts else []
        return url(base, written([*search.used, *token]))

    return {
        "self": link(page),
        "first": link(Page()) if following or page.starts else None,
        "previous": link(page.previous()) if page.starts else None,
        "next": link(following) if following else None,
        "last": link(page) if page.starts and not following else None,
    }


def url(base: str, pairs: Pairs) -> str:
    """The address of a search with its parameters."""
    query = urlencode(pairs, quote_via=quote, safe=":/|,")
    return f"{base}?{query}" if query else base

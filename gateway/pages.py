"""Searches for those from whom nothing is hidden: pages cut from what exists.

Archives list what was rejected as well. It is taken out of the list from its beginning on, so that
`limit` and `offset` count what is left; where that leaves less than a page and one more, which
tells whether there is more, archives are asked for a longer list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gateway import disclosed_rows, disclosures, existing
from gateway.apart import apart
from gateway.archives import Archives
from gateway.counting import counted
from gateway.model import Found, Study
from gateway.rules import dicom_json as dj
from gateway.rules import merging, qido_rows, records
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from gateway.searching import MAX_DEPTH, Searched, page_rows, wanted_rows

_DEEPER = 4
_T = TypeVar("_T")
_Listed = Callable[[Searched], Sequence[_T]]
_Left = Callable[[Sequence[_T]], Awaitable[Sequence[_T]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page(Generic[_T]):
    """A page, and what archives found last for it."""

    items: Sequence[_T]
    found: Searched
    silent: tuple[str, ...]
    has_more: bool


async def rows(archives: Archives, query: Query) -> Found[Dataset]:
    """The page of rows that `query` asks for. Unavailable: all archives are silent."""

    def listed(found: Searched) -> Sequence[Dataset]:
        merged = qido_rows.merged([r for _, r in found.answers], query.level)
        return _in_order(merged, found, lambda r: dj.text(r, dj.STUDY_INSTANCE_UID))

    async def left(some: Sequence[Dataset]) -> Sequence[Dataset]:
        return await existing.existing_rows(archives, query, some)

    page = await _page(archives, query, listed, left)
    shown, silent = await counted(archives, query, page.found.answers, page.items)
    if disclosures.are_noted():
        await disclosed_rows.note(archives, page.found, shown, query)
    return Found(
        items=tuple(shown),
        silent=tuple(dict.fromkeys(page.silent + silent)),
        has_more=page.has_more,
        unsearchable=page.found.unsearchable,
    )


async def studies(archives: Archives, query: Query) -> Found[Study]:
    """The records of the studies on the page that `query` asks for, in the order of `rows`."""

    def listed(found: Searched) -> Sequence[Study]:
        parts: dict[str, list[Study]] = {}
        for archive, answer in found.answers:
            for row in answer:
                if (study := records.study(archive.origin, row)) is not None:
                    parts.setdefault(study.uid, []).append(study)
        return _in_order([merging.merge(p) for p in parts.values()], found, lambda s: s.uid)

    async def left(some: Sequence[Study]) -> Sequence[Study]:
        return await existing.existing_studies(archives, query, some)

    page = await _page(archives, query, listed, left)
    for study in page.items:
        disclosures.shown(study)
    return Found(
        items=tuple(page.items),
        silent=page.silent,
        has_more=page.has_more,
        unsearchable=page.found.unsearchable,
    )


async def _page(
    archives: Archives, query: Query, listed: _Listed[_T], left: _Left[_T]
) -> _Page[_T]:
    """Asks for as long a list as the page needs; again only where something was taken out of it."""
    most = page_rows(query)
    end = None if most is None else query.offset + most
    asked, silent, before = query, dict[str, None](), -1
    while True:
        found = await archives.search(asked)
        silent |= dict.fromkeys(found.silent)
        items = await apart(sum(len(r) for _, r in found.answers), listed, found)
        if found.has_more:  # beyond those, others may come in between
            items = items[: wanted_rows(asked)]
        kept = await _first(items, left, None if end is None else end + 1)
        is_full = end is None or len(kept) > end
        is_end = not found.has_more or len(kept) == len(items) or len(items) <= before
        if is_full or is_end or len(items) >= MAX_DEPTH:
            break
        before = len(items)
        asked = replace(query, offset=min(_DEEPER * before, MAX_DEPTH), limit=0)
    return _Page(
        items=kept[query.offset : end],
        found=found,
        silent=tuple(silent),
        has_more=found.has_more or (end is not None and len(kept) > end),
    )


async def _first(items: Sequence[_T], left: _Left[_T], wanted: int | None) -> list[_T]:
    """The first `wanted` of what is left of `items`, looked at no further than that needs."""
    if wanted is None:
        return list(await left(items))
    kept: list[_T] = []
    at = 0
    while at < len(items) and len(kept) < wanted:
        gone = at - len(kept)
        some = items[at : at + wanted - len(kept) + gone]
        kept += await left(some)
        at += len(some)
    return kept


def _in_order(
    items: Sequence[_T], found: Searched, uid: Callable[[_T], str | None]
) -> Sequence[_T]:
    """Studies in the order in which they were met, so that every page cuts the same list."""
    if not found.order:
        return items
    return sorted(items, key=lambda i: found.order.get(uid(i) or "", len(found.order)))

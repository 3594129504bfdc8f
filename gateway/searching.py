"""One search of every archive, so that `limit` and `offset` are exact over all that they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.errors import ArchiveError, TooCostly
from gateway.fan_out import Archive, FanOut, ids, unavailable
from gateway.model import Level
from gateway.rules import attributes, matching, qido, qido_rows, qido_upstream
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query

MAX_ROWS = 1000
"""Rows that one search over more than one study gives at the most."""
MAX_DEPTH = 100_000
"""How far into a list of results `offset` may reach: all that comes before it is held."""
_UIDS_IN_A_LIST = 50
_Answers = list[tuple[Archive, list[Dataset]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What each archive answered, in the order of the configuration, and who stayed silent.

    `order` ranks studies by when they were first met; empty where the answers are in that order.
    `unsearchable`: who cannot be searched by these keys.
    """

    answers: tuple[tuple[Archive, Sequence[Dataset]], ...]
    silent: tuple[str, ...]
    has_more: bool
    order: Mapping[str, int]
    unsearchable: tuple[str, ...] = ()


async def searched(fan_out: FanOut, query: Query) -> Searched:
    """The rows of every archive that answers; Unavailable when none does.

    Each gives one more than the page asked for could need, so that merging them in the order of
    the configuration makes `limit` and `offset` exact, and tells whether there is more. Keys that
    only all parts of a study together can match are held against the merged rows.
    """
    wanted = wanted_rows(query)
    loosened = qido_upstream.loosened(query)
    if loosened is None or fan_out.is_one:
        return await _asked(fan_out, query, wanted)
    most = wanted
    while True:
        found = await _asked(fan_out, loosened, most)
        kept = _together(found, query, most if found.has_more else None)
        enough = wanted is None or len(kept.order) >= wanted
        if enough or most is None or most > MAX_DEPTH or not found.has_more:
            return kept
        most *= 4


def _together(found: Searched, query: Query, most: int | None) -> Searched:
    """The rows of those studies, among the first `most`, that match as a whole."""
    merged = qido_rows.merged([rows for _, rows in found.answers], query.level)
    whole = {_uid(row) for row in merged if matching.matches(query, row)}
    uids = list(found.order) or [_uid(row) for row in merged]
    order = {uid: at for at, uid in enumerate(uids[:most]) if uid in whole}
    answers = tuple((a, [r for r in rows if _uid(r) in order]) for a, rows in found.answers)
    return replace(found, answers=answers, order=order)


async def _asked(fan_out: FanOut, query: Query, wanted: int | None) -> Searched:
    """At least `wanted` rows of every archive; None: all that it has."""
    answers, failures = await fan_out.ask(lambda a: fan_out.search(a, query, wanted))
    if failures and not answers:
        raise unavailable(failures)
    found = [(a, list(f.items)) for a, f in answers]
    has_more = any(f.has_more for _, f in answers)
    order: dict[str, int] = {}
    if len(found) > 1 and query.level is Level.STUDY:
        order = _ranks(found)
        if has_more or any(k.tag in attributes.PER_ARCHIVE for k in query.keys):
            uids = list(order)[: wanted if has_more else None]
            found, more = await _complemented(fan_out, found, query, uids)
            failures += more
    doubtful = (name for _, f in answers for name in f.silent)
    silent = tuple(dict.fromkeys((*ids(failures), *doubtful)))
    return Searched(
        answers=tuple(found),
        silent=silent,
        has_more=has_more,
        order=order,
        unsearchable=tuple(name for _, f in answers for name in f.unsearchable),
    )


def page_rows(query: Query) -> int | None:
    """Rows of a page at the most; None: all, of one study."""
    if query.study_uid is not None:
        return query.limit
    return MAX_ROWS if query.limit is None else min(query.limit, MAX_ROWS)


def wanted_rows(query: Query) -> int | None:
    """How many rows of each archive the page asked for can need, and one; None: all.

    TooCostly: it is too far down the list.
    """
    if query.offset > MAX_DEPTH:
        raise TooCostly(f"offset must not be more than {MAX_DEPTH}")
    most = page_rows(query)
    return None if most is None else query.offset + most + 1


async def _complemented(
    fan_out: FanOut, found: _Answers, query: Query, uids: Sequence[str]
) -> tuple[_Answers, tuple[ArchiveError, ...]]:
    """`found` with what each archive has of the studies `uids` that only others gave.

    An archive that holds the other half of a study need not match a key that looks at what it
    holds, nor have come to that study yet.
    """

    async def missing(archive: Archive) -> list[Dataset]:
        have = {_uid(r) for r in next(rows for a, rows in found if a is archive)}
        absent = [u for u in uids if u not in have]
        rows: list[Dataset] = []
        for at in range(0, len(absent), _UIDS_IN_A_LIST):
            key = qido.key(dj.STUDY_INSTANCE_UID, ",".join(absent[at : at + _UIDS_IN_A_LIST]))
            named = replace(query, keys=(key,), limit=None, offset=0)
            more = await fan_out.search(archive, named, None)
            rows += more.items
        return rows

    answers, failures = await fan_out.ask(missing, [a for a, _ in found])
    added = {a.id: rows for a, rows in answers}
    return [(a, rows + added.get(a.id, [])) for a, rows in found], failures


def _uid(row: Dataset) -> str:
    return dj.text(row, dj.STUDY_INSTANCE_UID) or ""


def _ranks(found: Sequence[tuple[Archive, Sequence[Dataset]]]) -> dict[str, int]:
    """The place of each study in the merged order."""
    uids = dict.fromkeys(_uid(r) for _, rows in found for r in rows)
    return {uid: at for at, uid in enumerate(uids)}

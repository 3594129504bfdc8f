"""Search rows that count what is in a study, made right where archives share or split it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from gateway.apart import apart
from gateway.archives import Archives
from gateway.errors import NotFound, Unavailable
from gateway.fan_out import Archive
from gateway.model import Level, Loaded, Study
from gateway.rules import attributes, matching, merging, qido_rows
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.key_objects import MODALITY
from gateway.rules.qido import Query

EXACT_STUDIES = 10
"""Up to so many shared studies on a page, those that count the same are compared as well."""
_AT_ONCE = 8
_Answers = Sequence[tuple[Archive, Sequence[Dataset]]]


async def counted(
    archives: Archives, query: Query, answers: _Answers, page: Sequence[Dataset]
) -> tuple[list[Dataset], tuple[str, ...]]:
    """The rows of a page with the counts of the whole study, and who stayed silent over them.

    The record is asked where several archives hold a study, where an archive does not count, where
    a study holds key object selections, of which some reject what archives count, and
    below the study level where its counts are wanted: an archive counts its own part only. On a
    long page, archives that count the same are believed to hold the same: else every search in a
    mirrored archive would read every instance of what it lists.
    """
    shared = await apart(sum(len(of) for _, of in answers), _shared, query.level, answers)
    doubted = {
        _study_uid(query, r): r
        for r in page
        if _is_doubtful(query, r, shared)
        or (archives.hides_rejected and _may_be_rejected(query, r))
    }
    loaded = await records_of(archives, list(doubted), is_exact=len(doubted) <= EXACT_STUDIES)
    rows: list[Dataset] = []
    for row in page:
        uid = _study_uid(query, row)
        found = loaded.get(uid)
        if uid in doubted and isinstance(found, NotFound) and query.level is Level.STUDY:
            continue  # gone since the search, or rejected
        if query.level is Level.STUDY and isinstance(found, Loaded) and found.study.is_partial:
            told = _told_by_holders(query, row, answers, found.study)
            if told is None:
                continue
            row = told
        row = _with_counts(query, row, found if isinstance(found, Loaded) else None)
        is_partial = isinstance(found, Loaded) and found.study.is_partial
        if not is_partial or matching.still_matches(query, row, attributes.COUNTED):
            rows.append(row)  # else only what is rejected was found
    silent = [i for f in loaded.values() if isinstance(f, Loaded) for i in f.silent]
    return rows, tuple(dict.fromkeys(silent))


def _told_by_holders(query: Query, row: Dataset, answers: _Answers, study: Study) -> Dataset | None:
    """The row of a study without what only archives tell of which nothing is left.

    None where the study is found by that alone.
    """
    rows = [
        (archive.id, [r for r in of if _study_uid(query, r) == study.uid])
        for archive, of in answers
    ]
    held = [of for archive, of in rows if archive in study.archives]
    if all(archive in study.archives for archive, of in rows if of):
        return row
    asked = replace(query, keys=tuple(k for k in query.keys if k.tag not in attributes.COUNTED))
    is_found = any(matching.matches(asked, r) for of in held for r in of)
    return qido_rows.merged(held, query.level)[0] if is_found else None


async def records_of(
    archives: Archives, uids: Sequence[str], *, is_exact: bool
) -> dict[str, Loaded | NotFound | Unavailable]:
    """The records of studies, as deep as their counts need."""

    async def one(uid: str) -> Loaded:
        loaded = await archives.record(uid, Level.SERIES)
        if needs_instances(loaded, is_exact=is_exact):
            loaded = await archives.record(uid, Level.INSTANCE)
        return loaded

    return await each_of(uids, one)


async def each_of(
    uids: Sequence[str], load: Callable[[str], Awaitable[Loaded]]
) -> dict[str, Loaded | NotFound | Unavailable]:
    """What is loaded for each study, or why there is nothing; a few at a time."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(uid: str) -> Loaded | NotFound | Unavailable:
        async with turns:
            try:
                return await load(uid)
            except (NotFound, Unavailable) as error:
                return error

    async with asyncio.TaskGroup() as tasks:
        running = {uid: tasks.create_task(one(uid)) for uid in uids}
    return {uid: task.result() for uid, task in running.items()}


def needs_instances(loaded: Loaded, *, is_exact: bool) -> bool:
    """Whether only the instances tell how many there are of what several archives hold."""
    shared = [s for s in loaded.study.series or () if len(s.archives) > 1]
    return any(is_exact or s.is_uneven for s in shared)


def _shared(level: Level, answers: _Answers) -> frozenset[str]:
    """The UIDs of rows that more than one archive gave."""
    if len(answers) < 2:
        return frozenset()
    tag = attributes.UID_OF[level]
    holders = Counter(u for _, rows in answers for u in {dj.text(r, tag) or "" for r in rows})
    return frozenset(uid for uid, number in holders.items() if number > 1)


def _is_doubtful(query: Query, row: Dataset, shared: frozenset[str]) -> bool:
    """Whether what a row counts may not be the whole of it."""
    is_shared = (dj.text(row, attributes.UID_OF[query.level]) or "") in shared
    if query.level is Level.STUDY:
        return is_shared or not all(dj.values(row, tag) for tag in attributes.COUNTED)
    if query.level is Level.SERIES and is_shared:
        return True
    return any(_is_wanted(query, tag) for tag in attributes.COUNTED if tag in row)


def _may_be_rejected(query: Query, row: Dataset) -> bool:
    """Whether a study holds key object selections, which may reject what it counts."""
    return query.level is Level.STUDY and MODALITY in dj.texts(row, dj.MODALITIES_IN_STUDY)


def _with_counts(query: Query, row: Dataset, loaded: Loaded | None) -> Dataset:
    """A row with the counts of its record; below the study level without those not asked for."""
    known: Mapping[str, object] = {} if loaded is None else merging.counts(loaded.study)
    if query.level is Level.STUDY:
        return row | dict(known)
    kept = {
        tag: known.get(tag, element)
        for tag, element in row.items()
        if tag not in attributes.COUNTED or _is_wanted(query, tag)
    }
    number = None if loaded is None else _number_in_series(loaded, row)
    if query.level is Level.SERIES and number is not None:
        kept[dj.NUMBER_OF_SERIES_RELATED_INSTANCES] = {"vr": "IS", "Value": [number]}
    return kept


def _is_wanted(query: Query, tag: str) -> bool:
    return query.include is None or tag in query.include


def _number_in_series(loaded: Loaded, row: Dataset) -> int | None:
    uid = dj.text(row, dj.SERIES_INSTANCE_UID)
    found = next((s for s in loaded.study.series or () if s.uid == uid), None)
    return None if found is None else found.number_of_instances


def _study_uid(query: Query, row: Dataset) -> str:
    return dj.text(row, dj.STUDY_INSTANCE_UID) or query.study_uid or ""

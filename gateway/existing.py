"""What searches found, without what rejection notes reject (IHE IOCM).

Records come without it; rows of archives do not. Only studies with key object selections are
looked into, and where rows do not tell which those are, one search for studies does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from gateway.archives import Archives
from gateway.errors import NotFound, Unavailable
from gateway.model import Level, Study
from gateway.rejected import Hidden
from gateway.rules import attributes, matching, merging, qido
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.key_objects import MODALITY, SOP_CLASS
from gateway.rules.qido import Query

_AT_ONCE = 8
_UIDS_IN_A_LIST = 50
_FEW_STUDIES = 2
_T = TypeVar("_T")


async def existing_studies(
    archives: Archives, query: Query, found: Sequence[Study]
) -> Sequence[Study]:
    """Study-level records with the counts of what is left of them; rejected ones are left out.

    So are those that are found only by what is rejected.
    """
    if not archives.hides_rejected:
        return found
    known = await _left_of(archives, [s.uid for s in found if _may_have_notes(s.modalities)])
    return [
        _with_counts(s, known[s.uid]) if s.uid in known else s
        for s in found
        if _is_found(query, known.get(s.uid, s))
    ]


async def _left_of(archives: Archives, uids: Iterable[str]) -> dict[str, Study | None]:
    """What is left of studies; None: nothing. Without those whose archives are silent."""

    async def left(uid: str) -> Study | None:
        try:
            return (await archives.record(uid, Level.SERIES)).study
        except NotFound:
            return None

    return await _each(uids, left)


def _may_have_notes(modalities: Sequence[str]) -> bool:
    """Whether a study of these modalities, if they are told, may hold key object selections."""
    return not modalities or MODALITY in modalities


def _is_found(query: Query, left: Study | None) -> bool:
    """Whether anything is left of a study, and that is still what a query looks for."""
    if left is None:
        return False
    counted = merging.counts(left)
    return not left.is_partial or matching.still_matches(query, counted, counted)


def _with_counts(study: Study, record: Study | None) -> Study:
    """A study-level record with what is left where its record is partial."""
    if record is None or not record.is_partial:
        return study
    if not set(study.archives) <= set(record.archives):
        return replace(record, series=None)  # what only others tell is not told
    return replace(
        study,
        modalities=record.modalities,
        number_of_series=record.number_of_series,
        number_of_instances=record.number_of_instances,
        is_partial=True,
    )


async def existing_rows(
    archives: Archives, query: Query, rows: Sequence[Dataset]
) -> Sequence[Dataset]:
    """Rows without those of what is rejected, or found only by that.

    Series count what is left of them; what studies count is left as it is.
    """
    if not archives.hides_rejected:
        return rows
    if query.level is Level.STUDY:
        told = {_study_uid(query, r): dj.texts(r, dj.MODALITIES_IN_STUDY) for r in rows}
        return await _of_what_is_found(
            archives, query, rows, (uid for uid in told if _may_have_notes(told[uid]))
        )
    if _tell_of_no_note(query, rows):
        return rows
    uids = list(dict.fromkeys(_study_uid(query, r) for r in rows))
    if len(uids) > _FEW_STUDIES:
        uids = await _with_notes(archives, uids)

    async def hidden(uid: str) -> Hidden:
        try:
            return await archives.rejected.hidden(uid)
        except NotFound:
            return Hidden()

    known = await _each(uids, hidden)
    left = (_left(r, known.get(_study_uid(query, r)), query.level) for r in rows)
    partial = [uid for uid, one in known.items() if one.instances]
    return await _of_what_is_found(archives, query, [r for r in left if r is not None], partial)


async def _of_what_is_found(
    archives: Archives, query: Query, rows: Sequence[Dataset], uids: Iterable[str]
) -> Sequence[Dataset]:
    """Rows without those of such of the studies `uids` as a query does not find any more."""
    if query.level is not Level.STUDY and not any(k.tag in attributes.COUNTED for k in query.keys):
        return rows
    known = await _left_of(archives, uids)
    return [
        r
        for r in rows
        if (uid := _study_uid(query, r)) not in known or _is_found(query, known[uid])
    ]


def _tell_of_no_note(query: Query, rows: Sequence[Dataset]) -> bool:
    """Whether these are all rows of a study, and none is of a key object selection."""
    is_all = query.study_uid and not (query.series_uid or query.keys or query.offset)
    if not rows or not is_all or query.limit is not None:
        return not rows
    tag, note = (
        (dj.MODALITY, MODALITY) if query.level is Level.SERIES else (dj.SOP_CLASS_UID, SOP_CLASS)
    )
    return all(dj.text(r, tag) not in {note, None} for r in rows)


async def _with_notes(archives: Archives, uids: Sequence[str]) -> list[str]:
    """Those of the studies that hold key object selections, as far as archives tell."""
    lists = [uids[at : at + _UIDS_IN_A_LIST] for at in range(0, len(uids), _UIDS_IN_A_LIST)]
    suspects: dict[str, None] = {}
    for some in lists:
        key = qido.key(dj.STUDY_INSTANCE_UID, ",".join(some))
        include = frozenset({dj.MODALITIES_IN_STUDY})
        found = await archives.search(Query(level=Level.STUDY, keys=(key,), include=include))
        for _, rows in found.answers:
            for row in rows:
                if _may_have_notes(dj.texts(row, dj.MODALITIES_IN_STUDY)):
                    suspects[dj.text(row, dj.STUDY_INSTANCE_UID) or ""] = None
    return [uid for uid in uids if uid in suspects]


def _left(row: Dataset, hidden: Hidden | None, level: Level) -> Dataset | None:
    """A row as far as what it is about exists; None when it does not."""
    uid = dj.text(row, attributes.UID_OF[level]) or ""
    if hidden is None:
        return row
    if uid in (hidden.series if level is Level.SERIES else hidden.instances):
        return None
    count = hidden.counts.get(uid) if level is Level.SERIES else None
    if count is None:
        return row
    return row | {dj.NUMBER_OF_SERIES_RELATED_INSTANCES: {"vr": "IS", "Value": [count]}}


async def _each(uids: Iterable[str], question: Callable[[str], Awaitable[_T]]) -> dict[str, _T]:
    """The answer for each study; none for those whose archives are silent, named elsewhere."""
    turns = asyncio.Semaphore(_AT_ONCE)
    answers: dict[str, _T] = {}

    async def one(uid: str) -> None:
        async with turns:
            try:
                answers[uid] = await question(uid)
            except Unavailable:
                return

    async with asyncio.TaskGroup() as tasks:
        for uid in uids:
            tasks.create_task(one(uid))
    return answers


def _study_uid(query: Query, row: Dataset) -> str:
    return dj.text(row, dj.STUDY_INSTANCE_UID) or query.study_uid or ""

"""Searches for a consumer from whom something is hidden: as if that were in no archive.

Every study that a row is about is looked at as a whole first. A row that tells of what does not
exist for the consumer is dropped before rows are merged; what rows count is counted again, and a
key that looks at what is counted decides again. Pages are cut after all that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway import disclosures
from gateway.archives import Archives
from gateway.errors import NotSupported
from gateway.model import Consumer, Found, Level, Study
from gateway.rules import (
    attributes,
    matching,
    merging,
    patient_context,
    policy,
    qido,
    qido_rows,
)
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from gateway.searching import MAX_DEPTH, Searched, page_rows
from gateway.visibility import Visibility

_FIRST_ROWS = 200
_MOST_NAMED = 10
"""So many studies of a list are looked at whether an archive finds them or not."""
_OF_PATIENT = ("00201200", "00201202", "00201204")
_RECOUNTED = (
    *attributes.COUNTED,
    *_OF_PATIENT,
    dj.SOP_CLASSES_IN_STUDY,
    dj.NUMBER_OF_SERIES_RELATED_INSTANCES,
)
"""What is counted again, or left out: archives count what does not exist for the consumer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a look at the beginning of the list gave; `studies`: what is visible of each."""

    rows: Sequence[Dataset]
    studies: Mapping[str, Study]
    silent: tuple[str, ...]
    unsearchable: tuple[str, ...]
    has_more: bool


class SharedSearch:
    """The searches of one consumer."""

    def __init__(self, archives: Archives, consumer: Consumer) -> None:
        self._archives = archives
        self._consumer = consumer

    async def rows(self, query: Query) -> Found[Dataset]:
        """The page of rows that `query` asks for. NotSupported: a key of a lower level."""
        for key in query.keys:
            if not attributes.is_of(query.level, key.tag[:8]):
                raise NotSupported(
                    f"not an attribute of a {query.level.value} that can be asked for"
                )
        seen, page = await self._page(query)
        for row in page:
            disclosures.shown(seen.studies[_study_uid(query, row)])
        return Found(
            items=tuple(page),
            silent=seen.silent,
            unsearchable=seen.unsearchable,
            has_more=seen.has_more or len(seen.rows) > query.offset + len(page),
            is_subset=any(seen.studies[_study_uid(query, row)].is_subset for row in page),
        )

    async def studies(self, query: Query) -> Found[Study]:
        """What is visible of the studies on the page that `query` asks for."""
        seen, page = await self._page(query)
        for row in page:
            disclosures.shown(seen.studies[_study_uid(query, row)])
        return Found(
            items=tuple(seen.studies[_study_uid(query, row)] for row in page),
            silent=seen.silent,
            unsearchable=seen.unsearchable,
            has_more=seen.has_more or len(seen.rows) > query.offset + len(page),
        )

    async def _page(self, query: Query) -> tuple[_Seen, Sequence[Dataset]]:
        """Looks so far down the list that the page is full, or the list at its end."""
        most = page_rows(query)
        depth = None if most is None else max(_FIRST_ROWS, query.offset + most + 1)
        while True:
            seen = await self._look(query, depth)
            is_enough = most is None or len(seen.rows) > query.offset + most
            if depth is None or is_enough or not seen.has_more or depth >= MAX_DEPTH:
                break
            depth = min(2 * depth, MAX_DEPTH)
        end = None if most is None else query.offset + most
        return seen, seen.rows[query.offset : end]

    async def _look(self, query: Query, depth: int | None) -> _Seen:
        """The visible rows among the first `depth` that archives give; None: all of one study."""
        found = [await self._archives.search(q) for q in self._narrowed(_first(query, depth))]
        uids = dict.fromkeys(
            _study_uid(query, row) for one in found for _, rows in one.answers for row in rows
        )
        named = _named(query)
        studies, silent = await Visibility(self._archives, self._consumer).studies(
            list(uids | named), query.level, named
        )
        answers = [rows for one in found for rows in _shown(one, query, studies)]
        matched = _matched(query, answers)
        merged = [
            row
            for row in qido_rows.merged(answers, query.level)
            if dj.text(row, attributes.UID_OF[query.level]) in matched
        ]
        rows = [_recounted(query, row, studies[_study_uid(query, row)]) for row in merged]
        rank = {uid: at for at, uid in enumerate(u for one in found for u in one.order)}
        rows.sort(key=lambda row: rank.get(_study_uid(query, row), len(rank)))
        return _Seen(
            rows=[row for row in rows if matching.still_matches(query, row, _RECOUNTED)],
            studies=studies,
            silent=tuple(dict.fromkeys((*(s for one in found for s in one.silent), *silent))),
            unsearchable=tuple(dict.fromkeys(a for one in found for a in one.unsearchable)),
            has_more=any(one.has_more for one in found),
        )

    def _narrowed(self, query: Query) -> list[Query]:
        """The queries that find all that may exist for the consumer, and little else."""
        named = [k.value for k in query.keys if k.tag == dj.PATIENT_ID]
        for value in named:
            patient_context.check_patient_id(self._consumer, value)
        values = policy.search_keys(self._consumer)
        if values is None or named:
            return [query]
        keys = [qido.key(dj.PATIENT_ID, value) for value in values]
        return [replace(query, keys=(*query.keys, key)) for key in keys]


def _first(query: Query, depth: int | None) -> Query:
    """`query` for the first `depth` rows of the list."""
    return replace(query, offset=0 if depth is None else depth, limit=None if depth is None else 0)


def _shown(found: Searched, query: Query, studies: Mapping[str, Study]) -> Iterator[list[Dataset]]:
    """The answers of each archive without the rows of what is not visible."""
    for archive, rows in found.answers:
        yield [row for row in rows if _is_shown(query, row, archive.id, studies)]


def _matched(query: Query, answers: Sequence[Sequence[Dataset]]) -> set[str | None]:
    """What is matched by a row that is visible, and not only by one that is hidden.

    Archives also tell of studies that others found; keys that look at counts decide later.
    """
    asked = replace(query, keys=tuple(k for k in query.keys if k.tag not in _RECOUNTED))
    return {
        dj.text(row, attributes.UID_OF[query.level])
        for rows in answers
        for row in rows
        if matching.matches(asked, row)
    }


def _is_shown(query: Query, row: Dataset, archive: str, studies: Mapping[str, Study]) -> bool:
    study = studies.get(_study_uid(query, row))
    if study is None:
        return False
    series_uid = instance_uid = None
    if query.level is not Level.STUDY:
        series_uid = dj.text(row, dj.SERIES_INSTANCE_UID) or query.series_uid or ""
    if query.level is Level.INSTANCE:
        instance_uid = dj.text(row, dj.SOP_INSTANCE_UID) or ""
    return policy.shows(study, archive, series_uid, instance_uid)


def _recounted(query: Query, row: Dataset, study: Study) -> Dataset:
    """`row` without what tells of levels below, and with what it counts counted in `study`."""
    known = merging.counts(study)
    if query.level is Level.SERIES:
        uid = dj.text(row, dj.SERIES_INSTANCE_UID)
        number = next(s.number_of_instances for s in study.series or () if s.uid == uid)
        if number is not None:
            element = {"vr": "IS", "Value": [number]}
            known = known | {dj.NUMBER_OF_SERIES_RELATED_INSTANCES: element}
    kept = {
        tag: element
        for tag, element in row.items()
        if tag not in _RECOUNTED and attributes.is_of(query.level, tag)
    }
    wanted = row.keys() if query.level is not Level.STUDY else known.keys()
    return kept | {tag: element for tag, element in known.items() if tag in wanted}


def _named(query: Query) -> dict[str, None]:
    """The studies that a query names: looked at whether they are found or not."""
    keys = (k.value for k in query.keys if k.tag == dj.STUDY_INSTANCE_UID)
    listed = [uid for value in keys for uid in value.split(",")][:_MOST_NAMED]
    of_path = [query.study_uid] if query.study_uid else []
    return dict.fromkeys(uid for uid in (*of_path, *listed) if dj.is_uid(uid))


def _study_uid(query: Query, row: Dataset) -> str:
    return dj.text(row, dj.STUDY_INSTANCE_UID) or query.study_uid or ""

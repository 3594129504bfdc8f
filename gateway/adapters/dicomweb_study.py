"""The record of a study at one archive by QIDO-RS: as few calls as tell it for certain.

by default            the study and its series, both at once; more series while some may be left
known by a search     its series; the study as well where they do not bear out the row
`study_level: series` its series; the study as well where they do not tell it clearly
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from gateway.adapters.dicomweb_search import Page, Searches, matching_rows
from gateway.adapters.questions import ONE_BY_ONE
from gateway.model import Found, Level, Origin, Study
from gateway.rules import attributes, qido, records, several, study_rows, values
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_BELOW = attributes.SERIES_FIELDS | set(several.OF_STUDY)
"""What series are asked to tell: of their study, whose it is and of when."""


class _Below(NamedTuple):
    """The first answer for a study's series, its rows that are of the study, and what they tell."""

    page: Page
    rows: list[Dataset]
    told: records.SeriesTold


class Studies:
    """The studies that an archive's searches find."""

    def __init__(self, origin: Origin, searches: Searches, *, told_by_series: bool) -> None:
        """`told_by_series`: rows of series tell all that rows of studies do, if asked."""
        self._origin = origin
        self._searches = searches
        self._told_by_series = told_by_series
        self._fields = _BELOW | study_rows.TOLD_BELOW if told_by_series else _BELOW
        self._bear_out = True  # the series did, last time that there was a row to be borne out

    async def record(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        """The study and its series; None: the archive has no such study.

        `row`: of a search for the same request that asked for the same of studies.
        """
        if row is not None and study_rows.counts_all(row):
            return await self._known(study_uid, row)
        if self._told_by_series:
            return await self._told(study_uid)
        below, found = await self._both(study_uid)
        return await self._made(study_uid, found, below)

    async def _known(self, study_uid: str, row: Dataset) -> Study | None:
        """The record of a study of which a row is known that came by other keys than its UID.

        Where series did not bear out the last such row, the study is not asked for after them.
        """
        found = None
        if self._bear_out:
            below = await self._series(study_uid)
        else:
            below, found = await self._both(study_uid)
        self._bear_out = study_rows.agrees(row, below.rows)
        if self._told_by_series:
            self._look(row, below.rows)
        if found is None and self._bear_out:
            return records.study(self._origin, row, below.rows, told=below.told)
        found = found or await self._searches.found(_one_study(study_uid), 1)
        return await self._made(study_uid, found, below)

    def _look(self, row: Dataset, below: Sequence[Dataset]) -> None:
        """Ends what the configuration says of the archive's series where a study disproves it."""
        untold = study_rows.untold(row, below) if study_rows.agrees(row, below) else ()
        if untold:
            words = ", ".join(untold)
            _log.warning("series do not tell all", archive=self._origin.archive, reason=words)
            self._told_by_series = False

    async def _told(self, study_uid: str) -> Study | None:
        """The record by the rows of its series alone, where they tell it and are all there are."""
        page, rows, told = below = await self._series(study_uid)
        is_all = self._searches.is_over(Level.SERIES, page, len(page.rows))
        row = study_rows.of_series(study_uid, page.rows) if is_all else None
        if row is not None:  # which says all that theirs do
            return records.study(self._origin, row, told=told)
        found = await self._searches.found(_one_study(study_uid), 1)
        if found.items:
            self._look(found.items[0], rows)
        return await self._made(study_uid, found, below)

    async def _both(self, study_uid: str) -> tuple[_Below, Found[Dataset]]:
        """What a study's series and the study itself are told to be, by two requests at once.

        The series come first: theirs is the longer answer, read while that of the study is waited
        for. An archive that is asked `ONE_BY_ONE` is asked for the study once the series are there.
        """
        if ONE_BY_ONE.get():
            below = await self._series(study_uid)
            return below, await self._searches.found(_one_study(study_uid), 1)
        try:
            async with asyncio.TaskGroup() as tasks:
                found = tasks.create_task(self._searches.found(_one_study(study_uid), 1))
                below = await self._series(study_uid)  # asked first: a task waits for its turn
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return below, found.result()

    async def _made(self, study_uid: str, found: Found[Dataset], below: _Below) -> Study | None:
        """The record; rows of series that an archive cut off are asked for until all are there."""
        if not found.items:
            return None
        row, (page, rows, told) = found.items[0], below
        said = values.unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_SERIES)
        if not self._searches.is_over(Level.SERIES, page, len(page.rows), said):
            rows = await self._searches.below(self._below(study_uid), said, page)
            told = records.all_series(self._origin, rows)
        return records.study(self._origin, row, rows, found.again, told)

    async def _series(self, study_uid: str) -> _Below:
        """The first answer for a study's series, nearly always all of them."""
        query = self._below(study_uid)
        page = await self._searches.page(query, None, 0)
        rows = matching_rows(query, page.rows)
        return _Below(page, rows, records.all_series(self._origin, rows))

    def _below(self, study_uid: str) -> Query:
        return Query(level=Level.SERIES, study_uid=study_uid, include=self._fields)


def _one_study(study_uid: str) -> Query:
    return Query(
        level=Level.STUDY,
        keys=(qido.key(dj.STUDY_INSTANCE_UID, study_uid),),
        include=attributes.STUDY_FIELDS,
    )

"""What searches tell of studies: held against what is remembered, and used for the same request.

The records of what a search has just found need not begin with the same search once more. A row is
of use as long as the request is answered, and nothing of its study was dropped since.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakKeyDictionary

from gateway.adapters.cache_names import Key, What
from gateway.adapters.drops import Since
from gateway.adapters.questions import Asker, asker
from gateway.fan_out import Archive
from gateway.known import Known, Remembered
from gateway.model import Level, Study
from gateway.rules import attributes
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from gateway.searching import Searched

MOST_ROWS = 1000
"""Of one request."""


class Cache(Remembered, Protocol):
    """What is remembered, and can be dropped."""

    async def forget(self, what: What) -> bool:
        """Drops a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A row of a study in an archive, and from when on drops of that study count."""

    row: Dataset
    since: Since


_Rows = OrderedDict[tuple[str, str], _Told]


class ToldRows:
    """The rows of studies that searches bring. `key`: the name of what a group of archives tell."""

    def __init__(
        self, known: Known, cache: Cache, key: Callable[[str, str, Sequence[str]], Key]
    ) -> None:
        self._known = known
        self._cache = cache
        self._key = key
        self._rows: WeakKeyDictionary[Asker, _Rows] = WeakKeyDictionary()

    def now(self) -> Since:
        """The moment at which a search begins."""
        return self._cache.since(self._key("search", "", ()))

    async def hear(self, found: Searched, query: Query, since: Since) -> None:
        """What a search that began then found.

        A row that contradicts what is remembered of its study ends that memory, in whichever
        process that is.
        """
        rows = [
            (archive.id, dj.text(row, dj.STUDY_INSTANCE_UID) or query.study_uid or "", row)
            for archive, of in found.answers
            for row in of
        ]
        about = {(archive, uid) for archive, uid, _ in rows}
        await self._known.learn(about, self._record, self._cache)
        for archive, uid, row in rows:
            if self._known.is_contradicted(archive, uid, row, query.level):
                await self._cache.forget(self._record(archive, uid))
        request = asker()
        if request is None or query.level is not Level.STUDY:
            return
        if query.include == attributes.STUDY_FIELDS:  # as records ask
            kept = self._rows.setdefault(request, OrderedDict())
            for archive, uid, row in rows[:MOST_ROWS]:
                kept[archive, uid] = _Told(row=row, since=since)
            while len(kept) > MOST_ROWS:
                kept.popitem(last=False)

    async def study(self, archive: Archive, study_uid: str, *, is_new: bool) -> Study | None:
        """What an archive says of a study, with a row that it told the same request, if any.

        Not `is_new`: something older is known of it, and looked at again.
        """
        told = self._told(archive.id, study_uid) if is_new else None
        if told is None:
            return await archive.study(study_uid)
        study = await archive.study(study_uid, told.row)
        is_good = self._told(archive.id, study_uid) is told
        return study if is_good else await archive.study(study_uid)

    def _told(self, archive: str, study_uid: str) -> _Told | None:
        """The row of a study, if nothing of it was dropped since its search began."""
        request = asker()
        rows = None if request is None else self._rows.get(request)
        told = None if rows is None else rows.get((archive, study_uid))
        if told is None:
            return None
        marks = self._cache.since(self._record(archive, study_uid)).marks
        return told if self._cache.is_quiet(replace(told.since, marks=marks)) else None

    def _record(self, archive: str, study_uid: str) -> Key:
        return self._key("study", study_uid, (archive,))

"""QIDO-RS at one archive: every row that matches, whatever it caps, ignores or cannot decode."""

from __future__ import annotations

import re
from collections.abc import Sequence

import structlog

from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters.http_client import ArchiveClient
from gateway.adapters.questions import Questions
from gateway.errors import ArchiveBadAnswer, NotFound
from gateway.model import Found, Level
from gateway.rules import attributes, matching, media, qido, qido_upstream, several
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_PAGE_ROWS = 1000
_MAX_PAGES = 1000
_ROWS_OF_ONE = 9
"""So many more rows are asked for of a study that may be there once for each of its patients."""
_RESOURCES = {Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9._,*?-]*", re.ASCII)


class Searches:
    """The QIDO-RS service at `base` of the archive `archive`."""

    def __init__(self, archive: str, base: str, client: ArchiveClient) -> None:
        self._archive = archive
        self._base = base
        self._client = client
        self._is_there = False  # an answer other than 404 has come from here
        self._largest_page = 0  # rows that came in one answer: proof that no cap is lower
        self._decodes_query: bool | None = None
        self._questions: Questions[Found[Dataset]] = Questions()

    async def told(self, query: Query, wanted: int | None) -> Found[Dataset]:
        """What `found` gives, or gave for the same request."""
        told = self._questions.told(_question(query)) if _is_of_one_study(query) else None
        return await self.found(query, wanted) if told is None else told

    async def found(self, query: Query, wanted: int | None) -> Found[Dataset]:
        """At least `wanted` matching rows if there are that many, each once; None: all.

        One study by its UID is asked for once by those who ask for it for the same request.
        """
        if _is_of_one_study(query):
            return await self._questions.answer(
                _question(query), lambda: self._found(query, wanted)
            )
        return await self._found(query, wanted)

    async def _found(self, query: Query, wanted: int | None) -> Found[Dataset]:
        rows: dict[str, Dataset] = {}
        again: list[Dataset] = []
        most = _most(query)
        if most is not None:
            wanted = most if wanted is None else min(wanted, most)
        more = False
        for variant in qido_upstream.upstream(query, decodes=await self._decodes(query)):
            more |= await self._all_pages(variant, query, wanted, rows, again)
        return Found(
            items=tuple(rows.values()),
            silent=() if self._is_there else (self._archive,),
            has_more=more and (most is None or len(rows) < most),
            again=tuple(again),
        )

    async def below(
        self, query: Query, expected: int | None, first: list[Dataset] | None = None
    ) -> list[Dataset]:
        """The rows below a study in one request; in more only while they are fewer than `expected`.

        What the archive says it holds is `expected`; None: it does not say. `first` is a first
        page that is here already.
        """
        rows: list[Dataset] = []
        seen: set[str] = set()
        came = 0
        while True:
            page = first if first is not None else await self.page(query, None, came)
            first = None
            if query.level is Level.SERIES:  # caps on instances are others
                self._largest_page = max(self._largest_page, len(page))
            new = self._new(page, query, seen)
            rows += [r for r in new if matching.matches(query, r)]
            came += len(page)
            if not new or expected is None or came >= expected:
                return rows

    def is_whole(self, rows: int) -> bool:
        """Whether an answer of so many rows is not cut off: a longer one has come."""
        return rows < self._largest_page

    async def page(self, query: Query, limit: int | None, offset: int) -> list[Dataset]:
        """The rows of one answer, as the archive sends them."""
        return bodies.datasets(await self.body(query, limit, offset), self._archive)

    async def body(self, query: Query, limit: int | None, offset: int) -> bytes | bytearray:
        """One answer as it is; b"" where the archive says by its status that nothing matches."""
        pairs = qido_upstream.parameters(query)
        pairs += [("limit", str(limit))] if limit is not None else []
        pairs += [("offset", str(offset))] if offset else []
        try:
            async with self._client.get(
                self._base, _path(query), pairs, accept=media.DICOM_JSON
            ) as response:
                self._is_there = True
                return await self._client.json(response)
        except NotFound:  # how some say that nothing matches, and how a wrong address answers
            if not self._is_there:
                _log.warning("archive knows no such address", archive=self._archive, status=404)
            return b""

    async def close(self) -> None:
        """Lets go of what is being asked."""
        await self._questions.close()

    async def _all_pages(
        self,
        variant: Query,
        query: Query,
        wanted: int | None,
        rows: dict[str, Dataset],
        again: list[Dataset],
    ) -> bool:
        """Fills `rows` with what matches `query`; True when the archive has, or may have, more.

        Archives that hold a study once for each of several patients have several rows of it: of a
        study asked for by its UID they go to `again`.

        Pages grow where rows are dropped: an archive that ignores a key sends everything it has.
        """
        offset = 0
        is_by_uid = query.level is Level.STUDY and _most(query) is not None
        more = _ROWS_OF_ONE if is_by_uid else 0
        size = _PAGE_ROWS if wanted is None else max(wanted - len(rows), 1) + more
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            size = min(size, _PAGE_ROWS)
            page = await self.page(variant, size, offset)
            new = self._new(page, query, seen)
            for row in new:
                if (uid := _uid(query, row)) and matching.matches(query, row):
                    first = rows.setdefault(uid, row)
                    if is_by_uid and several.is_other(row, first):
                        again.append(row)
            if not new or self._is_last(len(page), size):
                return False
            offset += len(page)
            if wanted is not None and len(rows) >= wanted:
                return True
            size *= 2
        return True

    def _is_last(self, got: int, asked: int) -> bool:
        """Whether no page follows one of `got` rows: it is short, and not for the archive's cap."""
        is_last = got == 0 or (got < asked and got < self._largest_page)
        self._largest_page = max(self._largest_page, got)
        return is_last

    def _new(self, page: Sequence[Dataset], query: Query, seen: set[str]) -> list[Dataset]:
        """The rows of a page that were not `seen` before; adds them to it.

        An archive that ignores `offset` would otherwise be asked for the same page for ever. Rows
        without a legal UID are new on a first page only; those of one UID on one page all are.
        """
        is_first = not seen
        before = set(seen)
        uids = [_uid(query, row) for row in page]
        if is_first and (nameless := uids.count(None)):
            _log.warning("rows without a UID passed over", archive=self._archive, rows=nameless)
        new = []
        for uid, row in zip(uids, page, strict=True):
            if (uid is None and is_first) or (uid is not None and uid not in before):
                new.append(row)
            if uid is not None:
                seen.add(uid)
        return new

    async def _decodes(self, query: Query) -> bool:
        """Whether the archive percent-decodes queries; some builds of Orthanc do not."""
        if self._decodes_query is None and _needs_encoding(query):
            try:
                async with self._client.get(
                    f"{self._base}/studies?limit=%31", accept=media.DICOM_JSON
                ):
                    self._decodes_query = True
            except NotFound:
                self._decodes_query = True
            except ArchiveBadAnswer as error:
                if error.answered != 400:
                    raise
                self._decodes_query = False
        return self._decodes_query is not False


def _question(query: Query) -> str:
    return str(qido_upstream.parameters(query))


def _is_of_one_study(query: Query) -> bool:
    """Whether a study is asked for by its UID and nothing else."""
    is_only = query.level is Level.STUDY and len(query.keys) == 1
    return is_only and _most(query) == 1 and dj.is_uid(query.keys[0].value)


def _path(query: Query) -> tuple[str, ...]:
    path: tuple[str, ...] = ()
    if query.study_uid:
        path += ("studies", query.study_uid)
    if query.series_uid:
        path += ("series", query.series_uid)
    return (*path, _RESOURCES[query.level])


def _most(query: Query) -> int | None:
    """How many rows there can be where they are asked for by their UIDs."""
    asked = [k for k in query.keys if k.tag == attributes.UID_OF[query.level]]
    return len(set(qido.alternatives(asked[0]))) if asked else None


def _uid(query: Query, row: Dataset) -> str | None:
    """The UID of what a row is about; None when it is not one."""
    uid = dj.text(row, attributes.UID_OF[query.level])
    return uid if uid is not None and dj.is_uid(uid) else None


def _needs_encoding(query: Query) -> bool:
    return any(not _PLAIN_VALUE.fullmatch(k.value) for k in query.keys)

"""QIDO-RS at one archive: every row that matches, whatever it caps, ignores or cannot decode."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

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
_says_more = re.compile(r"\b299\b.*\badditional results\b", re.ASCII | re.IGNORECASE).search


class Answered(NamedTuple):
    """One answer as it is; `says_more`: by its Warning results are left over (PS3.18 §8.3.4.4)."""

    body: bytes | bytearray
    says_more: bool = False


class Page(NamedTuple):
    """The rows of one answer, as the archive sends them; `says_more` as of `Answered`."""

    rows: list[Dataset]
    says_more: bool = False


class Searches:
    """The QIDO-RS service at `base` of the archive `archive`."""

    def __init__(self, archive: str, base: str, client: ArchiveClient) -> None:
        self._archive = archive
        self._base = base
        self._client = client
        self._is_there = False  # an answer other than 404 has come from here
        self._largest_page = 0  # rows that came in one answer: proof that no cap is lower
        self._most_instances = 0  # the same of instances alone, for which caps are others
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
        self, query: Query, expected: int | None, first: Page | None = None
    ) -> list[Dataset]:
        """The rows below a study: in one request, unless more may be left over.

        What the archive says it holds is `expected`; None: it does not say. `first` is a first
        page that is here already.
        """
        rows: list[Dataset] = []
        seen: set[str] = set()
        came = 0
        page = await self.page(query, None, 0) if first is None else first
        for _ in range(_MAX_PAGES):
            new = self._new(page.rows, query, seen)
            rows += matching_rows(query, new)
            came += len(page.rows)
            if not new or self.is_over(query.level, page, came, expected):
                break
            page = await self.page(query, None, came)
        return rows

    def is_over(self, level: Level, page: Page, came: int, expected: int | None = None) -> bool:
        """Whether nothing follows a page, with which `came` rows are here, of those `expected`.

        Where the archive does not say how many there are: the page is shorter than another one, so
        that no cap can have cut it off.
        """
        return self.is_end(level, len(page.rows), came, expected, says_more=page.says_more)

    def is_end(
        self, level: Level, got: int, came: int, expected: int | None, *, says_more: bool
    ) -> bool:
        """The same of a page of `got` rows."""
        if got == 0 or expected is not None:
            return got == 0 or (expected is not None and came >= expected)
        return got < self._longest(level) and not says_more

    def note(self, level: Level, got: int) -> None:
        """So many rows came in one answer."""
        if level is Level.INSTANCE:
            self._most_instances = max(self._most_instances, got)
        else:
            self._largest_page = max(self._largest_page, got)

    def _longest(self, level: Level) -> int:
        return self._most_instances if level is Level.INSTANCE else self._largest_page

    async def page(self, query: Query, limit: int | None, offset: int) -> Page:
        """The rows of one answer."""
        body, says_more = await self.answer(query, limit, offset)
        page = Page(bodies.datasets(body, self._archive), says_more)
        self.note(query.level, len(page.rows))
        return page

    async def answer(self, query: Query, limit: int | None, offset: int) -> Answered:
        """One answer as it is; b"" where the archive says by its status that nothing matches."""
        pairs = qido_upstream.parameters(query)
        pairs += [("limit", str(limit))] if limit is not None else []
        pairs += [("offset", str(offset))] if offset else []
        try:
            async with self._client.get(
                self._base, _path(query), pairs, accept=media.DICOM_JSON
            ) as response:
                self._is_there = True
                says_more = _says_more(response.headers.get("Warning", "")) is not None
                return Answered(await self._client.json(response), says_more)
        except NotFound:  # how some say that nothing matches, and how a wrong address answers
            if not self._is_there:
                _log.warning("archive knows no such address", archive=self._archive, status=404)
            return Answered(b"")

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
            new = self._new(page.rows, query, seen)
            for row in new:
                if (uid := _uid(query, row)) and matching.matches(query, row):
                    first = rows.setdefault(uid, row)
                    if is_by_uid and several.is_other(row, first):
                        again.append(row)
            if not new or self._is_last(query.level, page, size):
                return False
            offset += len(page.rows)
            if wanted is not None and len(rows) >= wanted:
                return True
            size *= 2
        return True

    def _is_last(self, level: Level, page: Page, asked: int) -> bool:
        """Whether no page follows: it is short, and not for the archive's cap."""
        got = len(page.rows)
        is_short = got < asked and got < max(self._largest_page, self._longest(level))
        return got == 0 or (is_short and not page.says_more)

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


def matching_rows(query: Query, rows: Sequence[Dataset]) -> list[Dataset]:
    """Those of an answer that were asked for."""
    return [r for r in rows if matching.matches(query, r)]


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

"""Candidates of a FHIR search for studies: asked for at the archives, loaded, and looked at.

The archives give candidates, a superset in a stable order; each is loaded as deep as the criteria
look, and its resource decides.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway.catalog import Catalog
from gateway.config import Fhir
from gateway.errors import ArchiveError, GatewayError, NotFound, TooCostly, Unavailable
from gateway.model import Consumer, Found, Level, Study
from gateway.rules import attributes, fhir_dates, fhir_search, imaging_study_search
from gateway.rules import dicom_json as dj
from gateway.rules.fhir_bundle import Missing
from gateway.rules.fhir_dates import Moment
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_pages import Page, Position
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_search import Criterion
from gateway.rules.imaging_study_search import Plan
from gateway.rules.qido import Query

LARGEST_SLICE = 200
_LOADS_AT_ONCE = 8

Take = Callable[[Position], Awaitable[Found[Study]]]
"""The slice of the candidates that starts at a position's offset; `skip` is left to the caller."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """What went missing while a search was answered: archives, and what was too much to look at."""

    silent: set[str] = field(default_factory=set)
    unsearchable: set[str] = field(default_factory=set)
    is_cut_short: bool = False

    @property
    def missing(self) -> Missing:
        """The same, as answers tell it."""
        return Missing(
            silent=tuple(sorted(self.silent)),
            unsearchable=tuple(sorted(self.unsearchable)),
            is_cut_short=self.is_cut_short,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The matches that a scan of candidates found, and where it would go on; None: nowhere."""

    matches: Sequence[Study]
    resume: Position | None = None


class Scanner:
    """Finds the studies that meet a search's criteria.

    `resource` gives what the criteria look at: a study as it is served, and its patient;
    `resource_id` the id that this has, where that is known without it.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        limits: Fhir,
        consumer: Consumer,
        search: Search,
        now: Moment,
        resource: Callable[[Study], Resource],
        resource_id: Callable[[Study], str] | None = None,
    ) -> None:
        self._catalog = catalog
        self._limits = limits
        self._consumer = consumer
        self._search = search
        self._now = now
        self._resource = resource
        self._id = resource_id
        self._gate = asyncio.Semaphore(_LOADS_AT_ONCE)
        self.progress = Progress()

    async def candidates(self, plan: Plan) -> Take:
        """Where candidates come from: one query slice by slice, or several as one list.

        TooCostly where archives would list all they have and the configuration forbids that.
        """
        queries = await self.queries(plan)
        if len(queries) == 1 and not self._search.wanted.sort:
            return lambda at: self.studies(queries[0], at.offset, at.limit)
        return in_slices(await self.united(queries))

    async def queries(self, plan: Plan) -> Sequence[Query]:
        """What archives are asked: the queries of a plan, among what its probes have found."""
        found = [uids for probe in plan.probes if (uids := await self._probed(probe)) is not None]
        if not (found or all(q.keys for q in plan.queries) or self._limits.allow_broad_searches):
            raise TooCostly("at least one criterion must be one that archives can look for")
        if not found:
            return plan.queries
        common = [uid for uid in found[0] if all(uid in uids for uids in found[1:])]
        return imaging_study_search.bound(plan.queries, common)

    async def scan(self, take: Take, start: Position, wanted: int | None) -> Scan:
        """The first `wanted` matches from `start` on; None: all, up to the configured number."""
        matches: list[Study] = []
        looked_at, at = 0, start
        while True:
            found = await take(at)
            items = found.items[at.skip :]
            for number, study in enumerate(await self.matching(items), start=1):
                if study is not None:
                    matches.append(study)
                if study is not None and len(matches) == wanted:
                    is_end = number == len(items)
                    follows = at.following(wanted) if found.has_more else None
                    return Scan(matches=matches, resume=follows if is_end else at.after(number))
            looked_at += len(items)
            if not found.has_more:
                return Scan(matches=matches)
            at = at.following(min(2 * at.limit, LARGEST_SLICE))
            if looked_at >= self._limits.max_candidates:
                self.cut_short()
                return Scan(matches=matches, resume=at)

    async def page(self, take: Take, page: Page) -> tuple[Scan, int | None]:
        """The matches of a page, and how many there are in all; None: not known."""
        wanted = self._search.wanted
        count = wanted.count or 0
        start = page.start or Position(offset=0, limit=count)
        found = await self.scan(take, start, count)
        total = page.matched_before + len(found.matches)
        if found.resume is None:
            return found, total
        if wanted.total != "accurate" or self.progress.is_cut_short:
            return found, None
        rest = await self.scan(take, found.resume, None)
        return found, total + len(rest.matches)

    def still_matches(self, study: Study, level: Level) -> bool:
        """Whether a study that is loaded down to `level` meets the criteria that look no deeper.

        A candidate is what the archives that found it say; where others hold the study as well,
        the whole record may know better.
        """
        is_shared = len(study.archives) > 1
        return not is_shared or self.meets(study, fhir_search.up_to(self._search.criteria, level))

    def meets(self, study: Study, criteria: Sequence[Criterion]) -> bool:
        """Whether what there is of a study meets criteria."""
        if self._id is not None:
            named = [one for one in criteria if one.parameter is fhir_search.ID]
            if not fhir_search.meets({"id": self._id(study)}, named, 0, self._now):
                return False
            criteria = [one for one in criteria if one.parameter is not fhir_search.ID]
        if not criteria:
            return True
        zone = fhir_dates.offset_minutes(study.utc_offset) or 0
        return fhir_search.meets(self._resource(study), criteria, zone, self._now)

    async def all_loaded(self, studies: Sequence[Study], level: Level) -> list[Study | None]:
        """The studies down to `level`; None for those that are gone, or whose archive is silent."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self.loaded(study, level)) for study in studies]
        return [task.result() for task in running]

    async def studies(self, query: Query, offset: int, limit: int) -> Found[Study]:
        """A slice of the studies that a query finds."""
        asked = replace(query, include=attributes.STUDY_FIELDS, offset=offset, limit=limit)
        found = await self._catalog.studies(self._consumer, asked)
        self.progress.silent.update(found.silent)
        self.progress.unsearchable.update(found.unsearchable)
        return found

    async def united(self, queries: Sequence[Query]) -> tuple[Study, ...]:
        """The candidates of several queries, each once, up to the configured number."""
        most = self._limits.max_candidates
        by_uid: dict[str, Study] = {}
        for query in queries:
            found = await self.studies(query, 0, most)
            for study in found.items:
                by_uid.setdefault(study.uid, study)
            if found.has_more:
                self.cut_short()
        if len(by_uid) > most:
            self.cut_short()
        return tuple(by_uid.values())[:most]

    async def _probed(self, probe: Sequence[Query]) -> list[str] | None:
        """The studies that hold what any query of a probe looks for, at its level.

        None where those are too many to tell: then every study has to be looked at.
        """
        uids: dict[str, None] = {}
        for query in probe:
            asked = replace(query, limit=self._limits.max_candidates)
            found = await self._catalog.search(self._consumer, asked)
            self.progress.silent.update(found.silent)
            self.progress.unsearchable.update(found.unsearchable)
            if found.has_more:
                return None
            uids |= {u: None for r in found.items if (u := dj.text(r, dj.STUDY_INSTANCE_UID))}
        return list(uids)

    def cut_short(self) -> None:
        """Notes that there is more than may be looked at; TooCostly when handling is strict."""
        if self._search.is_strict:
            raise TooCostly("too many studies would have to be looked at: narrow the search")
        self.progress.is_cut_short = True

    async def matching(self, candidates: Sequence[Study]) -> list[Study | None]:
        """The candidates in their order, None for those that do not match after all."""
        criteria = self._search.criteria
        level = fhir_search.level(criteria)
        if level is Level.STUDY:
            return [s if self.meets(s, criteria) else None for s in candidates]
        loaded = await self.all_loaded(candidates, level)
        pairs = zip(candidates, loaded, strict=True)
        return [c if one is not None and self.meets(one, criteria) else None for c, one in pairs]

    async def loaded_ahead(self, study_uid: str) -> Study | None:
        """The record of a study, if there is one; a search says the rest."""
        with contextlib.suppress(GatewayError):
            return (await self._catalog.study(self._consumer, study_uid, Level.SERIES)).study
        return None

    async def loaded(self, study: Study, level: Level) -> Study | None:
        """A study down to `level`; None where it is gone, or its archive is silent."""
        async with self._gate:
            try:
                loaded = await self._catalog.study(self._consumer, study.uid, level)
            except NotFound:
                return None
            except ArchiveError as error:
                self.progress.silent.add(error.archive)
                return None
            except Unavailable as error:
                self.progress.silent.update(error.archives or study.archives)
                return None
        self.progress.silent.update(loaded.silent)
        return loaded.study


def in_slices(candidates: Sequence[Study]) -> Take:
    """Candidates that are all at hand."""

    async def take(at: Position) -> Found[Study]:
        end = at.offset + at.limit
        return Found(items=tuple(candidates[at.offset : end]), has_more=end < len(candidates))

    return take


def beginning() -> Position:
    """The start of all candidates, in slices as large as they may be."""
    return Position(offset=0, limit=LARGEST_SLICE)

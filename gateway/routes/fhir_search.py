"""One FHIR search for studies, from what the archives are asked to a page of resources.

The archives give candidates, a superset in a stable order; each is loaded as deep as the criteria
look, and its resource decides. Records of a page are then loaded as deep as they are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.errors import ArchiveError, NotFound, TooCostly, Unavailable
from gateway.model import Consumer, Endpoint, Found, Level, Study
from gateway.rules import (
    attributes,
    endpoints,
    fhir_bundle,
    fhir_dates,
    fhir_pages,
    fhir_search,
    fhir_subsets,
    imaging_study_search,
    imaging_study_sort,
)
from gateway.rules import dicom_json as dj
from gateway.rules.endpoints import Carried
from gateway.rules.fhir_dates import Moment
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_pages import Page, Position
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_versions import Version
from gateway.rules.imaging_study import imaging_study
from gateway.rules.imaging_study_search import Plan
from gateway.rules.qido import Query

_LOADS_AT_ONCE = 8
_LARGEST_SLICE = 200

_Take = Callable[[Position], Awaitable[Found[Study]]]
"""The slice of the candidates that starts at a position's offset; `skip` is left to the caller."""


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What went missing while a search was answered: archives, and what was too much to look at."""

    silent: set[str] = field(default_factory=set)
    is_cut_short: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """The matches that a scan of candidates found, and where it would go on; None: nowhere."""

    matches: Sequence[Study]
    resume: Position | None = None


class ImagingStudySearch:
    """One search by one consumer in one version; `base` is that version's base address."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        settings: Settings,
        consumer: Consumer,
        version: Version,
        base: str,
        search: Search,
        now: Moment,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._consumer = consumer
        self._version = version
        self._base = f"{base}/ImagingStudy"
        self._endpoint_base = f"{base}/Endpoint"
        self._search = search
        self._wanted = search.wanted
        self._count = search.wanted.count or 0
        self._now = now
        self._gate = asyncio.Semaphore(_LOADS_AT_ONCE)
        self._progress = _Progress()

    async def bundle(self) -> Resource:
        """The searchset that answers the search. TooCostly; Unavailable: all archives silent."""
        plan = imaging_study_search.plan(self._search.criteria, self._now)
        if not plan.is_narrow:
            raise TooCostly("at least one criterion must be one that archives can look for")
        seal = self._seal()
        page = fhir_pages.page(self._wanted.page, seal) if self._wanted.page else Page()
        take = await self._candidates(plan)
        if self._wanted.only_total:
            count = len((await self._scan(take, _beginning(), None)).matches)
            return self._written(_Scan(matches=()), [], page, seal, count)
        found, total = await self._page(take, page)
        studies = await self._all_loaded(found.matches, self._wanted.level)
        return self._written(found, [s for s in studies if s is not None], page, seal, total)

    def _seal(self) -> str:
        """What a page token belongs to: this search, in this version, by this consumer."""
        return repr((self._version.id, self._consumer, self._search.used))

    async def _page(self, take: _Take, page: Page) -> tuple[_Scan, int | None]:
        """The matches of a page, and how many there are in all; None: not known."""
        if self._wanted.sort:
            return await self._sorted_page(take, page)
        start = page.start or Position(offset=0, limit=self._count)
        found = await self._scan(take, start, self._count)
        total = page.matched_before + len(found.matches)
        if found.resume is None:
            return found, total
        if self._wanted.total != "accurate" or self._progress.is_cut_short:
            return found, None
        rest = await self._scan(take, found.resume, None)
        return found, total + len(rest.matches)

    async def _sorted_page(self, take: _Take, page: Page) -> tuple[_Scan, int]:
        """A page in the order asked for: of all matches, so all candidates are looked at."""
        everything = (await self._scan(take, _beginning(), None)).matches
        matches = await self._all_loaded(everything, Level.SERIES)
        resources = {s.uid: self._resource(s) for s in matches if s is not None}
        ordered = imaging_study_sort.ordered(list(resources.values()), self._wanted.sort)
        start = page.start.offset if page.start else 0
        by_uid = {s.uid: s for s in everything}
        shown = [by_uid[r["id"]] for r in ordered[start : start + self._count]]
        end = Position(offset=start + self._count, limit=self._count)
        resume = end if end.offset < len(ordered) else None
        return _Scan(matches=shown, resume=resume), len(ordered)

    async def _candidates(self, plan: Plan) -> _Take:
        """Where candidates come from: one query slice by slice, or several as one list."""
        queries: Sequence[Query] = plan.queries
        if queries and plan.probes:
            queries = imaging_study_search.bound(queries, await self._probed(plan))
        if len(queries) == 1 and not self._wanted.sort:
            return lambda at: self._studies(queries[0], at.offset, at.limit)
        candidates = await self._united(queries)

        async def take(at: Position) -> Found[Study]:
            end = at.offset + at.limit
            return Found(items=candidates[at.offset : end], has_more=end < len(candidates))

        return take

    async def _studies(self, query: Query, offset: int, limit: int) -> Found[Study]:
        asked = replace(query, include=attributes.STUDY_FIELDS, offset=offset, limit=limit)
        found = await self._catalog.studies(self._consumer, asked)
        self._progress.silent.update(found.silent)
        return found

    async def _united(self, queries: Sequence[Query]) -> tuple[Study, ...]:
        """The candidates of several queries, each once, up to the configured number."""
        most = self._settings.fhir.max_candidates
        by_uid: dict[str, Study] = {}
        for query in queries:
            found = await self._studies(query, 0, most)
            for study in found.items:
                by_uid.setdefault(study.uid, study)
            if found.has_more:
                self._cut_short()
        if len(by_uid) > most:
            self._cut_short()
        return tuple(by_uid.values())[:most]

    async def _probed(self, plan: Plan) -> list[str]:
        """The studies that hold what every probe looks for, below the study level."""
        most = self._settings.fhir.max_candidates
        common: dict[str, None] | None = None
        for probe in plan.probes:
            uids: dict[str, None] = {}
            for query in probe:
                asked = replace(query, limit=most)
                found = await self._catalog.search(self._consumer, asked)
                self._progress.silent.update(found.silent)
                uids |= {u: None for r in found.items if (u := dj.text(r, dj.STUDY_INSTANCE_UID))}
                if found.has_more:
                    self._cut_short()
            common = uids if common is None else {u: None for u in common if u in uids}
        return list(common or ())

    def _cut_short(self) -> None:
        """Notes that there is more than may be looked at; TooCostly when handling is strict."""
        if self._search.is_strict:
            raise TooCostly("too many studies would have to be looked at: narrow the search")
        self._progress.is_cut_short = True

    async def _scan(self, take: _Take, start: Position, wanted: int | None) -> _Scan:
        """The first `wanted` matches from `start` on; None: all, up to the configured number."""
        matches: list[Study] = []
        looked_at, at = 0, start
        while True:
            found = await take(at)
            items = found.items[at.skip :]
            for number, study in enumerate(await self._matching(items), start=1):
                if study is not None:
                    matches.append(study)
                if study is not None and len(matches) == wanted:
                    is_end = number == len(items)
                    follows = at.following(wanted) if found.has_more else None
                    return _Scan(matches=matches, resume=follows if is_end else at.after(number))
            looked_at += len(items)
            if not found.has_more:
                return _Scan(matches=matches)
            at = at.following(min(2 * at.limit, _LARGEST_SLICE))
            if looked_at >= self._settings.fhir.max_candidates:
                self._cut_short()
                return _Scan(matches=matches, resume=at)

    async def _matching(self, candidates: Sequence[Study]) -> list[Study | None]:
        """The candidates in their order, None for those that do not match after all."""
        level = fhir_search.level(self._search.criteria)
        if level is Level.STUDY:
            return [s if self._matches(s) else None for s in candidates]
        loaded = await self._all_loaded(candidates, level)
        pairs = zip(candidates, loaded, strict=True)
        return [c if one is not None and self._matches(one) else None for c, one in pairs]

    def _matches(self, study: Study) -> bool:
        zone = fhir_dates.offset_minutes(study.utc_offset) or 0
        return fhir_search.meets(self._resource(study), self._search.criteria, zone, self._now)

    async def _all_loaded(self, studies: Sequence[Study], level: Level) -> list[Study | None]:
        """The studies down to `level`; None for those that are gone, or whose archive is silent."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._loaded(study, level)) for study in studies]
        return [task.result() for task in running]

    async def _loaded(self, study: Study, level: Level) -> Study | None:
        async with self._gate:
            try:
                loaded = await self._catalog.study(self._consumer, study.uid, level)
            except NotFound:
                return None
            except (ArchiveError, Unavailable):
                self._progress.silent.update(study.archives)
                return None
        self._progress.silent.update(loaded.silent)
        return loaded.study

    def _carried(self, study: Study) -> Carried:
        of_study, of_series = endpoints.of_gateway(self._settings, study, consumer=self._consumer)
        return Carried(study=of_study, series=of_series)

    def _resource(self, study: Study) -> Resource:
        return imaging_study(study, self._version.shape, self._carried(study))

    def _written(
        self,
        found: _Scan,
        studies: Sequence[Study],
        page: Page,
        seal: str,
        total: int | None,
    ) -> Resource:
        """The Bundle: matches, what they include, what went wrong, and the links to other pages."""
        silent, is_cut_short = sorted(self._progress.silent), self._progress.is_cut_short
        if silent and self._search.is_strict:
            raise Unavailable(f"no answer from archive {', '.join(silent)}")
        resources = (self._served(study) for study in studies)
        entries = [fhir_bundle.entry(one, self._base, "match") for one in resources]
        included = [
            fhir_bundle.entry(self._version.endpoint(one), self._endpoint_base, "include")
            for one in self._included(studies)
        ]
        issues = [
            *fhir_bundle.ignored(self._search),
            *fhir_bundle.incomplete(silent, is_cut_short=is_cut_short),
            *fhir_bundle.oddities(studies),
        ]
        is_exact = not silent and not is_cut_short and self._wanted.total != "none"
        following = page.next(found.resume, len(found.matches)) if found.resume else None
        return fhir_bundle.searchset(
            [*entries, *included, *fhir_bundle.outcome(issues)],
            fhir_bundle.links(self._base, self._search, seal, page, following),
            total if is_exact else None,
        )

    def _served(self, study: Study) -> Resource:
        return fhir_subsets.served(self._resource(study), self._wanted, self._version.number)

    def _included(self, studies: Sequence[Study]) -> list[Endpoint]:
        """The Endpoints that the page's studies and series refer to, each once."""
        if "ImagingStudy:endpoint" not in self._wanted.includes:
            return []
        by_id: dict[str, Endpoint] = {}
        for carried in map(self._carried, studies):
            of_series = (e for found in carried.series.values() for e in found)
            for endpoint in (*carried.study, *of_series):
                by_id.setdefault(endpoint.id, endpoint)
        return list(by_id.values())


def _beginning() -> Position:
    return Position(offset=0, limit=_LARGEST_SLICE)

"""One FHIR search for studies, from its criteria to a page of resources.

`fhir_scan` finds the matches; here they are put in pages, loaded as deep as they are written, and
written with what they include and what went wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.errors import Unavailable
from gateway.model import Consumer, Endpoint, Level, Study
from gateway.routes.fhir_scan import Scan, Scanner, Take, beginning
from gateway.rules import (
    endpoints,
    fhir_bundle,
    fhir_pages,
    fhir_subsets,
    imaging_study_search,
    imaging_study_sort,
)
from gateway.rules.endpoints import Carried
from gateway.rules.fhir_dates import Moment
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_pages import Page, Position
from gateway.rules.fhir_requests import Search
from gateway.rules.fhir_results import Wanted
from gateway.rules.fhir_versions import Version
from gateway.rules.imaging_study import imaging_study, oddities
from gateway.rules.imaging_study_keys import Options


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
        self._settings = settings
        self._consumer = consumer
        self._version = version
        self._base = f"{base}/ImagingStudy"
        self._endpoint_base = f"{base}/Endpoint"
        self._search = search
        self._wanted = search.wanted
        self._count = search.wanted.count or 0
        self._now = now
        self._scanner = Scanner(
            catalog=catalog,
            limits=settings.fhir,
            consumer=consumer,
            search=search,
            now=now,
            resource=self._resource,
        )

    async def bundle(self) -> Resource:
        """The searchset that answers the search. TooCostly; Unavailable: all archives silent."""
        plan = imaging_study_search.plan(self._search.criteria, self._now, self._options())
        seal = self._seal()
        page = fhir_pages.page(self._wanted.page, seal) if self._wanted.page else Page()
        take = await self._scanner.candidates(plan)
        if self._wanted.only_total:
            count = len((await self._scanner.scan(take, beginning(), None)).matches)
            return self._written(Scan(matches=()), [], page, seal, count)
        found, total = await self._page(take, page)
        level = self._wanted.level
        loaded = await self._scanner.loaded(found.matches, level)
        studies = [s for s in loaded if s is not None and self._scanner.still_matches(s, level)]
        is_counted = len(studies) == len(found.matches)
        return self._written(found, studies, page, seal, total if is_counted else None)

    def _options(self) -> Options:
        """What the configuration says of archives and resources, as far as searches use it."""
        fhir = self._settings.fhir
        return Options(
            series_accessions=fhir.series_accessions,
            accession_as_identifier=fhir.accession_as_identifier,
            endpoints=frozenset(e.id for e in endpoints.published(self._settings)),
        )

    def _seal(self) -> str:
        """What a page token belongs to: this search, in this version, by this consumer."""
        return repr((self._version.id, self._consumer, self._search.used))

    async def _page(self, take: Take, page: Page) -> tuple[Scan, int | None]:
        """The matches of a page, and how many there are in all; None: not known."""
        if self._wanted.sort:
            return await self._sorted_page(take, page)
        start = page.start or Position(offset=0, limit=self._count)
        found = await self._scanner.scan(take, start, self._count)
        total = page.matched_before + len(found.matches)
        if found.resume is None:
            return found, total
        if self._wanted.total != "accurate" or self._scanner.progress.is_cut_short:
            return found, None
        rest = await self._scanner.scan(take, found.resume, None)
        return found, total + len(rest.matches)

    async def _sorted_page(self, take: Take, page: Page) -> tuple[Scan, int]:
        """A page in the order asked for: of all matches, so all candidates are looked at."""
        everything = (await self._scanner.scan(take, beginning(), None)).matches
        matches = await self._scanner.loaded(everything, Level.SERIES)
        resources = {s.uid: self._resource(s) for s in matches if s is not None}
        ordered = imaging_study_sort.ordered(list(resources.values()), self._wanted.sort)
        start = page.start.offset if page.start else 0
        by_uid = {s.uid: s for s in everything}
        shown = [by_uid[r["id"]] for r in ordered[start : start + self._count]]
        end = Position(offset=start + self._count, limit=self._count)
        resume = end if end.offset < len(ordered) else None
        return Scan(matches=shown, resume=resume), len(ordered)

    def _carried(self, study: Study) -> Carried:
        of_study, of_series = endpoints.of_gateway(self._settings, study, consumer=self._consumer)
        return Carried(study=of_study, series=of_series)

    def _resource(self, study: Study) -> Resource:
        fhir = self._settings.fhir
        return imaging_study(study, self._version.shape, self._carried(study), fhir)

    def _written(
        self,
        found: Scan,
        studies: Sequence[Study],
        page: Page,
        seal: str,
        total: int | None,
    ) -> Resource:
        """The Bundle: matches, what they include, what went wrong, and the links to other pages."""
        silent, is_cut_short = (
            sorted(self._scanner.progress.silent),
            self._scanner.progress.is_cut_short,
        )
        if silent and self._search.is_strict:
            raise Unavailable(f"no answer from archive {', '.join(silent)}", archives=tuple(silent))
        resources = (self._served(study) for study in studies)
        entries = [fhir_bundle.entry(one, self._base, "match") for one in resources]
        included = [
            fhir_bundle.entry(self._whole(one), self._endpoint_base, "include")
            for one in self._included(studies)
        ]
        issues = [
            *fhir_bundle.ignored(self._search),
            *fhir_bundle.incomplete(silent, is_cut_short=is_cut_short),
            *fhir_bundle.oddities((s.uid, oddities(s)) for s in studies),
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

    def _whole(self, endpoint: Endpoint) -> Resource:
        """An Endpoint as a read gives it."""
        resource = self._version.endpoint(endpoint)
        return fhir_subsets.served(resource, Wanted(), self._version.number)

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

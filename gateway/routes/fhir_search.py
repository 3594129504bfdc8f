"""One FHIR search for studies, from its criteria to a page of resources.

`fhir_scan` finds the matches; here they are put in pages, loaded as deep as they are written, and
written with what they include and what went wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain

from gateway.adapters.questions import asked_together
from gateway.catalog import Catalog
from gateway.model import Endpoint, Level, Study
from gateway.routes import fhir_entries
from gateway.routes.fhir_entries import Entries, Entry
from gateway.routes.fhir_resources import Resources
from gateway.routes.fhir_scan import Scan, Scanner, Take, beginning, in_slices
from gateway.routes.fhir_subjects import Subjects
from gateway.rules import (
    endpoints,
    fhir_bundle,
    fhir_pages,
    imaging_study_search,
    imaging_study_sort,
)
from gateway.rules.fhir_bundle import Turned, Writing
from gateway.rules.fhir_dates import Moment
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_pages import Page, Position
from gateway.rules.fhir_requests import Search
from gateway.rules.imaging_study_chains import searchable
from gateway.rules.imaging_study_keys import Options


class ImagingStudySearch:
    """One search for one consumer in one version; `base` is that version's base address.

    `within`: the path of the compartment that is searched, with a slash at its end.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        resources: Resources,
        base: str,
        search: Search,
        now: Moment,
        entries: Entries,
        within: str = "",
        as_of: str | None = None,
        written: Writing = fhir_bundle.as_they_are,
    ) -> None:
        """`as_of`: the instant at which it begins; `written`: how links repeat its parameters.

        `entries` knows those that were written before.
        """
        self._catalog = catalog
        self._entries = entries
        self._kind = fhir_entries.kind(resources, base, search.wanted)
        self.told: frozenset[str] = frozenset()
        self._as_of = as_of
        self._writing = written
        settings, consumer = resources.settings, resources.consumer
        self._settings = settings
        self._resources = resources
        self._base = base
        self._searched = f"{base}/{within}ImagingStudy"
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
            resource=self._searchable,
            resource_id=lambda study: study.uid,
        )
        self._subjects = Subjects(catalog, resources)

    async def bundle(self) -> Resource:
        """The searchset that answers the search. TooCostly; Unavailable: all archives silent.

        The studies that it tells are in `told` afterwards.
        """
        with asked_together():
            return await self._bundle()

    async def _bundle(self) -> Resource:
        plan = imaging_study_search.plan(self._search.criteria, self._now, self._options())
        seal = self._seal()
        page = fhir_pages.page(self._wanted.page, seal) if self._wanted.page else Page()
        take = await self._scanner.candidates(plan)
        if self._wanted.only_total:
            count = len((await self._scanner.scan(take, beginning(), None)).matches)
            return self._written([], [], Turned(page=page, seal=seal, matched=0, total=count))
        found, total = await self._found(take, page, imaging_study_search.one_study(plan))
        shown = [e for e in await self._shown(found.matches) if e is not None]
        included = [*self._endpoints(shown), *await self._patients(shown)]
        is_counted = len(shown) == len(found.matches)
        turned = Turned(
            page=page,
            seal=seal,
            matched=len(found.matches),
            resume=found.resume,
            total=total if is_counted else None,
        )
        return self._written(shown, included, turned)

    async def _shown(self, matches: Sequence[Study]) -> list[Entry | None]:
        """The entries of studies, those that are known at once; None for those that are gone."""
        known = {s.uid: self._known(s.uid) for s in matches}
        missing = [s for s in matches if known[s.uid] is None]
        if len(missing) == 1:
            known[missing[0].uid] = await self._made(missing[0])
        elif missing:
            async with asyncio.TaskGroup() as tasks:
                running = {s.uid: tasks.create_task(self._made(s)) for s in missing}
            known |= {uid: task.result() for uid, task in running.items()}
        return [known[s.uid] for s in matches]

    def _known(self, study_uid: str) -> Entry | None:
        """An entry that need not be made; where archives share a study, its record must match."""
        entry = self._entries.found(self._kind, study_uid)
        is_doubtful = entry is not None and entry.is_shared and self._search.criteria
        return None if is_doubtful else entry

    async def _made(self, study: Study) -> Entry | None:
        level = self._wanted.level

        async def make() -> Entry | None:
            loaded = await self._scanner.loaded(study, level)
            if loaded is None or not self._scanner.still_matches(loaded, level):
                return None
            return fhir_entries.written(loaded, self._resources, self._base, self._wanted)

        return await self._entries.made(self._kind, study.uid, make)

    def _options(self) -> Options:
        """What the configuration says of archives and resources, as far as searches use it."""
        fhir = self._settings.fhir
        return Options(
            series_accessions=fhir.series_accessions,
            accession_as_identifier=fhir.accession_as_identifier,
            endpoints=frozenset(
                e.id for e in endpoints.published(self._settings, self._resources.consumer)
            ),
            patients=self._resources.patients,
        )

    def _seal(self) -> str:
        """What a page token belongs to: this search, in this version, by this consumer."""
        resources = self._resources
        return repr((self._searched, resources.version.id, resources.consumer, self._search.used))

    async def _found(
        self, take: Take, page: Page, study_uid: str | None
    ) -> tuple[Scan, int | None]:
        """`_page`; the record of the only study that can match is loaded before, or meanwhile.

        Both begin with the same question, which archives are asked once.
        """
        if study_uid is None or self._wanted.sort or self._known(study_uid) is not None:
            return await self._page(take, page)
        if await self._catalog.is_told_by_record(study_uid):
            only = await self._scanner.loaded_ahead(study_uid)
            return await self._page(take if only is None else in_slices([only]), page)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._scanner.loaded_ahead(study_uid))
                found = tasks.create_task(self._page(take, page))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return found.result()

    async def _page(self, take: Take, page: Page) -> tuple[Scan, int | None]:
        """The matches of a page, and how many there are in all; None: not known."""
        if self._wanted.sort:
            return await self._sorted_page(take, page)
        return await self._scanner.page(take, page)

    async def _sorted_page(self, take: Take, page: Page) -> tuple[Scan, int]:
        """A page in the order asked for: of all matches, so all candidates are looked at."""
        everything = (await self._scanner.scan(take, beginning(), None)).matches
        matches = await self._scanner.all_loaded(everything, Level.SERIES)
        resources = {s.uid: self._resources.imaging_study(s) for s in matches if s is not None}
        ordered = imaging_study_sort.ordered(list(resources.values()), self._wanted.sort)
        start = page.start.offset if page.start else 0
        by_uid = {s.uid: s for s in everything}
        shown = [by_uid[r["id"]] for r in ordered[start : start + self._count]]
        end = Position(offset=start + self._count, limit=self._count)
        resume = end if end.offset < len(ordered) else None
        return Scan(matches=shown, resume=resume), len(ordered)

    def _searchable(self, study: Study) -> Resource:
        return searchable(self._resources.imaging_study(study), study.patient)

    def _written(
        self, shown: Sequence[Entry], included: Sequence[Resource], turned: Turned
    ) -> Resource:
        """The Bundle: matches, what they include, what went wrong, and the links to other pages."""
        self.told = frozenset(entry.uid for entry in shown)
        odd = fhir_bundle.oddities((e.uid, e.oddities) for e in shown if e.oddities)
        missing = self._scanner.progress.missing
        return fhir_bundle.one_page(
            [*(entry.body for entry in shown), *included],
            odd,
            self._search,
            self._searched,
            turned,
            missing,
            written=self._writing,
            as_of=self._as_of,
        )

    def _endpoints(self, shown: Sequence[Entry]) -> list[Resource]:
        """Entries of the Endpoints that the page's studies and series refer to, each once."""
        if "ImagingStudy:endpoint" not in self._wanted.includes:
            return []
        by_id: dict[str, Endpoint] = {}
        for endpoint in chain.from_iterable(entry.endpoints for entry in shown):
            by_id.setdefault(endpoint.id, endpoint)
        written = map(self._resources.endpoint, by_id.values())
        return [self._included(one) for one in written]

    async def _patients(self, shown: Sequence[Entry]) -> list[Resource]:
        """Entries of the Patients that the page's studies are about, each once."""
        if not self._wanted.includes & {"ImagingStudy:patient", "ImagingStudy:subject"}:
            return []
        ids = [entry.patient_id for entry in shown if entry.patient_id is not None]
        telling = await self._subjects.all_telling(ids)
        self._scanner.progress.silent |= self._subjects.silent
        written = map(self._resources.patient, telling.values())
        return [self._included(one) for one in written if one is not None]

    def _included(self, resource: Resource) -> Resource:
        """An entry of a resource that is included, as a read gives it."""
        base = f"{self._base}/{resource['resourceType']}"
        return fhir_bundle.entry(self._resources.served(resource), base, "include")

"""One FHIR search for patients, from its criteria to a page of resources.

Candidates are studies, found as in searches for studies, one of each patient. A patient matches
if the study that the Patient is written from does; if so that study is among what archives found.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.adapters.questions import asked_together
from gateway.catalog import Catalog
from gateway.errors import TooCostly
from gateway.model import Found, Level, Study
from gateway.routes.fhir_resources import Resources
from gateway.routes.fhir_scan import Scan, Scanner, Take, beginning, in_slices
from gateway.routes.fhir_subjects import Subjects
from gateway.rules import dicom_json as dj
from gateway.rules import fhir_bundle, fhir_pages, patient_search
from gateway.rules.fhir_bundle import Turned, Writing
from gateway.rules.fhir_dates import Moment
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_pages import Page
from gateway.rules.fhir_requests import Search
from gateway.rules.imaging_study_keys import Options
from gateway.rules.imaging_study_search import Plan
from gateway.rules.qido import Query


class PatientScanner(Scanner):
    """Finds the studies that Patients which meet a search's criteria are written from."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        resources: Resources,
        subjects: Subjects,
        search: Search,
        now: Moment,
    ) -> None:
        super().__init__(
            catalog=catalog,
            limits=resources.settings.fhir,
            consumer=resources.consumer,
            search=search,
            now=now,
            resource=lambda study: resources.patient(study) or {},
        )
        self._resources = resources
        self._subjects = subjects
        self._criteria = search.criteria

    async def candidates(self, plan: Plan) -> Take:
        """One study of each patient who may be among the matches."""
        found = await self.united(await self.queries(plan))
        if not (self.progress.is_cut_short or any(query.keys for query in plan.queries)):
            self._subjects.know(found)
        by_patient: dict[str, Study] = {}
        for study in found:
            resource_id = self._resources.patient_id(study)
            if resource_id is not None and self._is_match(study):
                by_patient.setdefault(resource_id, study)
        return in_slices(tuple(by_patient.values()))

    async def studies(self, query: Query, offset: int, limit: int) -> Found[Study]:
        """A slice of the studies that a query finds; those of one Patient ID are kept."""
        if [key.tag for key in query.keys] != [dj.PATIENT_ID]:
            return await super().studies(query, offset, limit)
        found = await self._subjects.with_key(query.keys[0])
        self._note_missing()
        end = offset + limit
        return Found(items=found.items[offset:end], has_more=end < len(found.items))

    async def matching(self, candidates: Sequence[Study]) -> list[Study | None]:
        """The studies that the candidates' patients are written from, None where none matches."""
        ids = [self._resources.patient_id(study) or "" for study in candidates]
        telling = await self._subjects.all_telling(ids)
        self._note_missing()
        chosen = (telling.get(one) for one in ids)
        return [s if s is not None and self._is_match(s) else None for s in chosen]

    def _is_match(self, study: Study) -> bool:
        return self.meets(study, self._criteria)

    def _note_missing(self) -> None:
        self.progress.silent |= self._subjects.silent
        if self._subjects.is_cut_short:
            self.cut_short()


class PatientSearch:
    """One search for one consumer in one version; `base` is that version's base address."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        resources: Resources,
        base: str,
        search: Search,
        now: Moment,
        written: Writing = fhir_bundle.as_they_are,
    ) -> None:
        """`written`: how links repeat its parameters."""
        self._writing = written
        self._resources = resources
        self._base = base
        self._search = search
        self._wanted = search.wanted
        self._now = now
        fhir = resources.settings.fhir
        self._most_included = fhir.max_count
        self._subjects = Subjects(catalog, resources)
        self._scanner = PatientScanner(
            catalog=catalog,
            resources=resources,
            subjects=self._subjects,
            search=search,
            now=now,
        )

    async def bundle(self) -> Resource:
        """The searchset that answers the search. TooCostly; Unavailable: all archives silent."""
        with asked_together():
            return await self._bundle()

    async def _bundle(self) -> Resource:
        options = Options(patients=self._resources.patients)
        plan = patient_search.plan(self._search.criteria, self._now, options)
        seal = self._seal()
        page = fhir_pages.page(self._wanted.page, seal) if self._wanted.page else Page()
        take = await self._scanner.candidates(plan)
        if self._wanted.only_total:
            count = len((await self._scanner.scan(take, beginning(), None)).matches)
            return self._written([], [], [], Turned(page=page, seal=seal, matched=0, total=count))
        found, total = await self._scanner.page(take, page)
        included, left_out = await self._studies(found)
        turned = Turned(
            page=page, seal=seal, matched=len(found.matches), resume=found.resume, total=total
        )
        issues = fhir_bundle.not_included(left_out)
        return self._written(found.matches, included, issues, turned)

    def _seal(self) -> str:
        """What a page token belongs to: this search, in this version, by this consumer."""
        resources = self._resources
        return repr(("Patient", resources.version.id, resources.consumer, self._search.used))

    async def _studies(self, found: Scan) -> tuple[list[Study], int]:
        """The studies of the page's patients, loaded, and how many are left out as too many.

        TooCostly where some are and handling is strict.
        """
        if not self._wanted.reverse_includes:
            return [], 0
        ids = filter(None, map(self._resources.patient_id, found.matches))
        all_of_them = [s for one in ids for s in await self._subjects.studies(one)]
        some = all_of_them[: self._most_included]
        left_out = len(all_of_them) - len(some)
        if left_out and self._search.is_strict:
            raise TooCostly("these patients have too many studies to include: search for those")
        loaded = await self._scanner.all_loaded(some, Level.INSTANCE)
        return [s for s in loaded if s is not None], left_out

    def _written(
        self,
        matches: Sequence[Study],
        included: Sequence[Study],
        issues: Sequence[Resource],
        turned: Turned,
    ) -> Resource:
        """The Bundle: patients, their studies, what went wrong, and the links to other pages."""
        base, resources = f"{self._base}/Patient", self._resources
        patients = (one for s in matches if (one := resources.patient(s)) is not None)
        served = (resources.served(one, self._wanted) for one in patients)
        studies = (resources.served(resources.imaging_study(s)) for s in included)
        entries = [
            *(fhir_bundle.entry(one, base, "match") for one in served),
            *(fhir_bundle.entry(one, f"{self._base}/ImagingStudy", "include") for one in studies),
        ]
        missing = self._scanner.progress.missing
        return fhir_bundle.one_page(
            entries, issues, self._search, base, turned, missing, written=self._writing
        )

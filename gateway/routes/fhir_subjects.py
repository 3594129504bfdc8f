"""The patients that studies are about, found by the ids of their resources."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.catalog import Catalog
from gateway.errors import Unavailable
from gateway.model import Found, Level, Study
from gateway.routes.fhir_resources import Resources
from gateway.rules import attributes, fhir_patient, imaging_study_keys, imaging_study_search
from gateway.rules.qido import Key, Query

_SEARCHES_AT_ONCE = 8


class Subjects:
    """Patients as one consumer sees them during one request; each is looked for once.

    A patient is there as long as a study is that the consumer may see. `silent` and
    `is_cut_short` tell what went missing: archives, and studies of a patient who has too many.
    """

    def __init__(self, catalog: Catalog, resources: Resources) -> None:
        settings = resources.settings
        self._catalog = catalog
        self._consumer = resources.consumer
        self._patients = resources.patients
        self._most = settings.fhir.max_candidates
        self._archives = len(settings.archives)
        self._found: dict[Key, Found[Study]] = {}
        self._known: dict[str, list[Study]] | None = None
        self._gate = asyncio.Semaphore(_SEARCHES_AT_ONCE)
        self.silent: set[str] = set()
        self.is_cut_short = False

    def know(self, studies: Iterable[Study]) -> None:
        """Takes these for all studies that there are: then nobody has to be asked."""
        self._known = {}
        for study in studies:
            self._known.setdefault(self._patients.id_of(study.patient) or "", []).append(study)

    async def studies(self, resource_id: str) -> tuple[Study, ...]:
        """The study-level records of a patient. Unavailable: all archives are silent."""
        if self._known is not None:
            return tuple(self._known.get(resource_id, ()))
        keys = imaging_study_keys.patient_keys(self._patients.identifier_of(resource_id))
        found = [study for key in keys for study in (await self.with_key(key)).items]
        return tuple(s for s in found if self._patients.id_of(s.patient) == resource_id)

    async def telling(self, resource_id: str) -> Study | None:
        """The study that the Patient is written from; None: there is no such Patient."""
        studies = await self.studies(resource_id)
        return fhir_patient.telling(studies) if studies else None

    async def all_telling(self, resource_ids: Iterable[str]) -> dict[str, Study]:
        """The studies that Patients are written from, by the ids of those that there are."""
        wanted = list(dict.fromkeys(resource_ids))
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._heard(one)) for one in wanted]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        found = (task.result() for task in running)
        return {one: s for one, s in zip(wanted, found, strict=True) if s is not None}

    async def _heard(self, resource_id: str) -> Study | None:
        """The study that a Patient is written from; None also where all archives are silent."""
        try:
            return await self.telling(resource_id)
        except Unavailable as error:
            if not error.archives:
                raise
            self.silent.update(error.archives)
            return None

    async def with_key(self, key: Key) -> Found[Study]:
        """The studies that a key for Patient IDs matches, as all archives together tell them."""
        if key not in self._found:
            async with self._gate:
                found = await self._asked(Query(level=Level.STUDY, keys=(key,), limit=self._most))
                self._found[key] = replace(found, items=await self._whole(found.items))
            self.is_cut_short |= found.has_more
        return self._found[key]

    async def _whole(self, studies: Sequence[Study]) -> tuple[Study, ...]:
        """The studies with what archives say that did not find them, and may know better."""
        partly = [s.uid for s in studies if len(s.archives) < self._archives]
        by_uid: dict[str, Study] = {}
        for query in imaging_study_search.bound([Query(level=Level.STUDY)], partly):
            by_uid |= {s.uid: s for s in (await self._asked(query)).items}
        return tuple(by_uid.get(s.uid, s) for s in studies)

    async def _asked(self, query: Query) -> Found[Study]:
        asked = replace(query, include=attributes.STUDY_FIELDS)
        found = await self._catalog.studies(self._consumer, asked)
        self.silent.update(found.silent)
        return found

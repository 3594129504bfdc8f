"""The instances of a study at one archive: by QIDO-RS, or by the metadata of all of them.

Whatever the archive caps: what it counts is asked for, and where it counts nothing, one more page
than it has, unless a longer answer has shown that none is cut off there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters.dicomweb_frames import path_of
from gateway.adapters.dicomweb_search import Answered, Page, Searches
from gateway.adapters.http_client import ArchiveClient
from gateway.errors import ArchiveBadAnswer, ArchiveError, NotFound
from gateway.model import Contents, Instance, Level, Origin, Study, Target
from gateway.rules import attributes, instance_details, instance_rows, media, records, several
from gateway.rules import dicom_json as dj
from gateway.rules.qido import Query


class Instances:
    """The instance level of the studies of an archive."""

    def __init__(
        self,
        origin: Origin,
        searches: Searches,
        wado: str,
        client: ArchiveClient,
        *,
        by_metadata: bool,
    ) -> None:
        """`wado`: the base of WADO-RS, "" where there is none; `by_metadata`: it is read so."""
        self._origin = origin
        self._searches = searches
        self._wado = wado
        self._client = client
        self._by_metadata = by_metadata

    async def all_of(self, study: Study) -> Contents:
        """All instances of a study, in one request; its documents by their metadata, for titles."""
        if self._by_metadata and self._wado:
            whole = await self._whole_metadata(study)
            if whole is not None:
                return whole
        found = await self._by_search(study)
        untitled = instance_details.untitled_documents(study, found)
        if not untitled or not self._wado:
            return found
        read = await asyncio.gather(*(self._document_series(study.uid, u) for u in untitled))
        return instance_details.titled(found, read)

    async def metadata(self, target: Target) -> list[bytes]:
        """The metadata of every instance of `target`, one DICOM JSON object each (§10.4.1.1.2)."""
        archive = self._origin.archive
        objects = bodies.objects(await self._metadata_body(target), archive)
        return [bytes(o) for o in objects if bodies.is_of(target, o, archive)]

    async def _metadata_body(self, target: Target) -> bytes | bytearray:
        path = (*path_of(target), "metadata")
        async with self._client.get(self._wado, path, accept=media.DICOM_JSON) as response:
            return await self._client.json(response)

    async def _by_search(self, study: Study) -> Contents:
        """The instance level by QIDO-RS, in one request unless the archive caps its answers."""
        has_documents = any(s.modality in attributes.DOCUMENTS for s in study.series or ())
        titles = attributes.TITLE_FIELDS if has_documents else frozenset[str]()
        query = Query(
            level=Level.INSTANCE,
            study_uid=study.uid,
            include=attributes.INSTANCE_FIELDS | titles,
        )
        expected = _expected(study)
        first = await self._searches.answer(query, None, 0)
        found = await self._plain(query, expected, first)
        if found is None:
            page = Page(bodies.datasets(first.body, self._origin.archive), first.says_more)
            rows = await self._searches.below(query, expected, page)
            found = Contents(
                instances=records.instances(rows),
                warnings=records.instance_warnings(rows),
                patient_ids=several.named(self._origin, rows),
            )
        return replace(found, is_complete=_count(found.instances) >= (expected or 0))

    async def _plain(
        self, query: Query, expected: int | None, answered: Answered
    ) -> Contents | None:
        """The instances by this first answer and those that follow; None where one is not plain."""
        reading, came = instance_rows.Reading(query.study_uid or ""), 0
        try:
            while True:
                if answered.body:
                    await _read(reading, answered.body)
                got, came = reading.count - came, reading.count
                self._searches.note(query.level, got)
                says_more = answered.says_more
                if self._searches.is_end(query.level, got, came, expected, says_more=says_more):
                    break
                answered = await self._searches.answer(query, None, came)
        except instance_rows.Odd:
            return None
        return Contents(instances=reading.instances(), patient_ids=reading.patients(self._origin))

    async def _whole_metadata(self, study: Study) -> Contents | None:
        """The instance level by the study's metadata, one request as well, and it tells more.

        None where the archive does not give it, not all of it, or more than may be read at once.
        """
        try:
            body = await self._metadata_body(Target(study_uid=study.uid))
            found = await _read_whole(self._origin, body, study.uid, self._origin.archive)
        except (ArchiveBadAnswer, NotFound):
            return None
        is_all = _count(found.instances) >= (_expected(study) or 1)
        return found if is_all else None

    async def _document_series(self, study_uid: str, series_uid: str) -> Contents | None:
        """What the metadata of a small series tell; None when they cannot be had now."""
        target = Target(study_uid=study_uid, series_uid=series_uid)
        try:
            rows = bodies.datasets(
                b"[" + b",".join(await self.metadata(target)) + b"]", self._origin.archive
            )
        except (ArchiveError, NotFound):
            return None
        return instance_details.contents(self._origin, rows)


async def _read(reading: instance_rows.Reading, body: bytes | bytearray) -> None:
    """Takes in a body of plain rows, large ones step by step; Odd where it is not plain."""
    for _ in reading.steps(body):
        await asyncio.sleep(0)  # others get their turn


def _expected(study: Study) -> int | None:
    """How many instances the archive says that there are, of the study or of all its series."""
    if study.number_of_instances is not None or not study.series:
        return study.number_of_instances
    counts = [s.number_of_instances for s in study.series]
    return None if None in counts else sum(n or 0 for n in counts)


async def _read_whole(
    origin: Origin, body: bytes | bytearray, study_uid: str, archive: str
) -> Contents:
    """What the metadata of a whole study tell, step by step; value by value where it is odd."""
    reading, details = instance_rows.Reading(study_uid), instance_details.Details(origin)
    try:
        for step in instance_details.steps(body):
            reading.add(step)
            details.add(step)
            await asyncio.sleep(0)  # others get their turn
    except instance_rows.Odd:
        objects = bodies.datasets(body, archive)
        rows = [r for r in objects if dj.text(r, dj.STUDY_INSTANCE_UID) == study_uid]
        return await asyncio.to_thread(instance_details.contents, origin, rows)
    return Contents(
        instances=reading.instances(),
        series=details.series(),
        patient_ids=reading.patients(origin),
    )


def _count(found: Mapping[str, Sequence[Instance]]) -> int:
    return sum(len(instances) for instances in found.values())

"""What an archive without QIDO-RS holds, as FHIR servers with its ImagingStudy resources tell it.

Their answers become QIDO rows (`rules.foreign_rows`); only the servers of the configuration are
asked, and of what they answer only what this archive holds is believed to be here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import parse_qsl

import orjson

from gateway.adapters.flights import Flights
from gateway.adapters.http_client import ArchiveClient
from gateway.config import Settings
from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveError,
    BadRequest,
    NotFound,
    PayloadTooLarge,
)
from gateway.model import Contents, Found, Level, Origin, Study, Target
from gateway.rules import dicom_json as dj
from gateway.rules import fhir_listing, foreign_rows, matching, qido, records
from gateway.rules.dicom_json import Dataset
from gateway.rules.fhir_listing import Pairs
from gateway.rules.foreign_rows import SeriesRows, StudyRows
from gateway.rules.qido import Query

_ACCEPT = "application/fhir+json"
_MAX_PAGES = 20
KEPT_SECONDS = 5.0
"""How long a study that was read serves those who ask for parts of it."""
_KEPT_STUDIES = 16
_Described = Callable[[Target], Awaitable[list[bytes]]]


class FhirHoldings:
    """The studies of one archive, by the FHIR servers that `clients` are for.

    `described` gives the metadata of a series or instance, where an ImagingStudy does not list its
    instances; None: nothing does.
    """

    def __init__(
        self,
        origin: Origin,
        settings: Settings,
        clients: Mapping[str, ArchiveClient],
        described: _Described | None,
        clock: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._settings = settings
        self._clients = clients
        self._described = described
        self._clock = clock
        self._flights: Flights[list[StudyRows]] = Flights()
        self._read: dict[str, tuple[float, list[StudyRows]]] = {}

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        """The rows that match; `unsearchable` where no FHIR search could find them."""
        questions = fhir_listing.questions(query)
        if questions is None:
            if not query.keys:
                await self._probe()
            return Found(items=(), unsearchable=(self._origin.archive,))
        if query.study_uid is not None:
            studies, has_more = await self._told_of(query.study_uid), False
        else:
            studies, has_more = await self._found(questions)
        rows = [r for s in studies for r in await self._rows(s, query)]
        return Found(
            items=tuple(r for r in rows if matching.matches(query, r)),
            has_more=has_more,
            again=tuple(r for s in studies for r in s.again if query.level is Level.STUDY),
        )

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        """The study and its series; None: no server tells of it."""
        for one in await self._told_of(study_uid):
            if one.uid == study_uid:
                series = [s.row for s in one.series]
                row = foreign_rows.counted(one)
                return records.study(self._origin, row, series, one.again)
        return None

    async def instances(self, study: Study) -> Contents:
        """The instances of a study."""
        rows = (await self.search(Query(level=Level.INSTANCE, study_uid=study.uid))).items
        return Contents(instances=records.instances(rows), warnings=records.instance_warnings(rows))

    async def close(self) -> None:
        """Lets go of all connections."""
        await self._flights.close()
        for client in self._clients.values():
            await client.close()

    async def _told_of(self, study_uid: str) -> list[StudyRows]:
        """What is told of one study: read once for all who ask within a few seconds.

        A viewer asks for the instances of a study one by one, and each is looked for here.
        """
        for uid in [u for u, (until, _) in self._read.items() if until < self._clock()]:
            del self._read[uid]
        if study_uid in self._read:
            return self._read[study_uid][1]

        async def read() -> list[StudyRows]:
            query = Query(level=Level.STUDY, study_uid=study_uid)
            found, _ = await self._found(fhir_listing.questions(query) or ())
            self._read[study_uid] = self._clock() + KEPT_SECONDS, found
            if len(self._read) > _KEPT_STUDIES:
                del self._read[next(iter(self._read))]
            return found

        return await self._flights.join(study_uid, read)

    async def _rows(self, study: StudyRows, query: Query) -> list[Dataset]:
        """The rows of a study at the level of a query, with the attributes of the levels above."""
        whole = foreign_rows.counted(study)
        if query.level is Level.STUDY:
            return [whole]
        asked = [k for k in query.keys if k.tag == dj.SOP_INSTANCE_UID]
        uids = qido.alternatives(asked[0]) if asked else None
        rows: list[Dataset] = []
        for series in study.series:
            if query.series_uid not in {None, series.uid}:
                continue
            if query.level is Level.SERIES:
                rows.append(whole | series.row)
                continue
            found = await self._instances(study, series, uids)
            rows += [whole | series.row | instance for instance in found]
        return rows

    async def _instances(
        self, study: StudyRows, series: SeriesRows, uids: Sequence[str] | None
    ) -> Sequence[Dataset]:
        """The instances that the resource lists, else those that the archive itself tells of.

        `uids`: those that are looked for; None: all.
        """
        if series.instances is not None or self._described is None:
            listed = series.instances or ()
            return [i for i in listed if uids is None or dj.text(i, dj.SOP_INSTANCE_UID) in uids]
        one = uids[0] if uids is not None and len(uids) == 1 and dj.is_uid(uids[0]) else None
        target = Target(study_uid=study.uid, series_uid=series.uid, instance_uid=one)
        try:
            found = await self._described(target)
        except NotFound:
            return ()
        return [orjson.loads(each) for each in found]

    async def _found(self, questions: Sequence[Sequence[Pairs]]) -> tuple[list[StudyRows], bool]:
        """The studies that any server tells of, and whether there are more than were read."""
        found: list[StudyRows] = []
        has_more = False
        for name in self._clients:
            for ways in questions:
                studies, is_cut = await self._answered(name, ways)
                found += studies
                has_more |= is_cut
        return foreign_rows.united(found), has_more

    async def _answered(self, name: str, ways: Sequence[Pairs]) -> tuple[list[StudyRows], bool]:
        """What a server answers to the ways to ask that it knows; its failure if it knows none."""
        found: list[StudyRows] = []
        has_more = False
        failures: list[ArchiveError] = []
        for way in ways:
            try:
                studies, is_cut = await self._all_pages(name, way)
            except ArchiveBadAnswer as error:
                if error.answered is None or len(ways) == 1:
                    raise
                failures.append(error)
                continue
            found += studies
            has_more |= is_cut
        if len(failures) == len(ways):
            raise failures[0]
        return found, has_more

    async def _all_pages(self, name: str, pairs: Pairs) -> tuple[list[StudyRows], bool]:
        server = fhir_listing.servers(self._settings)[name]
        segments: tuple[str, ...] = ("ImagingStudy",)
        found: list[StudyRows] = []
        for _ in range(_MAX_PAGES):
            bundle = await self._bundle(name, server.url, segments, pairs)
            try:
                archive = self._origin.archive
                found += fhir_listing.studies(bundle, archive, self._settings, server)
                following = fhir_listing.next_page(bundle, server.url)
            except (BadRequest, PayloadTooLarge) as error:
                raise self._bad(f"its FHIR server {name}: {error}") from error
            if following is None:
                return found, False
            path, query = following
            segments = tuple(s for s in path.split("/") if s)
            if any(s in {".", ".."} or "%" in s or "\\" in s for s in segments):
                raise self._bad("its FHIR server's next page leads elsewhere")
            pairs = tuple(parse_qsl(query, keep_blank_values=True))
        return found, True

    async def _bundle(self, name: str, base: str, segments: Sequence[str], pairs: Pairs) -> object:
        client = self._clients[name]
        try:
            async with client.get(base, segments, pairs, accept=_ACCEPT) as response:
                body = await client.json(response)
        except NotFound as error:
            raise self._bad(f"its FHIR server {name} has no such search") from error
        try:
            bundle: object = orjson.loads(body)
        except ValueError as error:
            raise self._bad(f"its FHIR server {name} answers no JSON") from error
        return bundle

    async def _probe(self) -> None:
        """One small search of each server; raises what its failure is."""
        for name, server in fhir_listing.servers(self._settings).items():
            if name in self._clients:
                await self._bundle(name, server.url, ("ImagingStudy",), fhir_listing.PROBE)

    def _bad(self, message: str) -> ArchiveBadAnswer:
        return ArchiveBadAnswer(message, archive=self._origin.archive)

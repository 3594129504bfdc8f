from __future__ import annotations

from dataclasses import replace

from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.telemetry import Telemetry
from gateway.archives import Archives
from gateway.catalog import Catalog
from gateway.disclosures import CURRENT, Disclosures
from gateway.model import Consumer, Found, Level
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.study_archive import SeriesFacts, StudyArchive, StudyFacts, series_uid

CT = SeriesFacts(number=1, archives=("north",), modality="CT", sop_classes=("1.2.3",))
STUDY = StudyFacts(uid="2.1", series=(CT,), patient_id="P1")


class Terse(StudyArchive):
    """An archive whose rows of series tell of no patient, as those below a study may."""

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        found = await super().search(query, wanted)
        if query.level is Level.STUDY:
            return found
        rows = [{t: e for t, e in row.items() if t[:4] != "0010"} for row in found.items]
        return replace(found, items=tuple(rows))


async def noted_by(archive: StudyArchive, query: Query) -> Disclosures:
    lives = Lives(fresh_seconds=60, stale_seconds=60, absent_seconds=60)
    cache = MemoryCache(lives=lives, max_bytes=1 << 24, telemetry=Telemetry())
    noted = Disclosures()
    token = CURRENT.set(noted)
    await Catalog(Archives([archive], cache)).search(Consumer(id="x"), query)
    CURRENT.reset(token)
    return noted


async def test_rows_are_noted_with_the_patient_they_name_or_the_record_does() -> None:
    for archive in (StudyArchive("north", (STUDY,)), Terse("north", (STUDY,))):
        for query in (
            Query(level=Level.STUDY),
            Query(level=Level.SERIES),
            Query(level=Level.SERIES, study_uid="2.1"),
            Query(level=Level.INSTANCE, study_uid="2.1", series_uid=series_uid(STUDY, CT)),
        ):
            shown = (await noted_by(archive, query)).shown
            assert {uid: who and who.value for uid, who in shown.items()} == {"2.1": "P1"}

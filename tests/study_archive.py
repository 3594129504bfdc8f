"""An archive that holds made-up studies as QIDO rows, and the facts that they are made from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from gateway.errors import NotAcceptable
from gateway.model import ByteRange, Contents, Found, Level, Origin, Part, Rung, Study, Target
from gateway.rules import matching, records
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.rules.rows import name, row


@dataclass(frozen=True, kw_only=True)
class SeriesFacts:
    """What is true of a series, and which archives hold it."""

    number: int
    archives: tuple[str, ...]
    modality: str | None
    body_part: str | None = None
    region: str | None = None
    accession: str | None = None
    reason: str | None = None
    performer: str | None = None
    sop_classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What is true of a study, wherever it is held."""

    uid: str
    series: tuple[SeriesFacts, ...]
    study_id: str | None = None
    accession: str | None = None
    date: str | None = None
    time: str | None = None
    offset: str | None = None
    patient_id: str | None = None
    issuer: str | None = None
    patient_name: dict[str, str | None] | None = None
    birth_date: str | None = None
    sex: str | None = None
    referrer: str | None = None
    admission: str | None = None
    patient_id_in_south: str | None = None
    """Another Patient ID, which the archive `south` has by mistake."""
    name_in_south: dict[str, str | None] | None = None
    """Another name, which the archive `south` has."""


class StudyArchive:
    """The part of the studies that the archive `id` holds. Nothing can be retrieved from it."""

    def __init__(self, id: str, studies: Sequence[StudyFacts]) -> None:
        self.id = id
        self.origin = Origin(
            archive=id,
            timezone="Europe/Paris",
            patient_system="urn:oid:2.999.1",
            accession_system="urn:oid:2.999.2",
            issuer_systems=(("WARD", "urn:oid:2.999.3"),),
        )
        self._studies = {s.uid: s for s in studies if any(id in one.archives for one in s.series)}
        self.asked_for_instances = 0
        self.searches = 0

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        self.searches += 1
        rows = [r for r in self._rows(query) if matching.matches(query, r)]
        has_more = wanted is not None and len(rows) > wanted
        return Found(items=tuple(rows[:wanted] if has_more else rows), has_more=has_more)

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        facts = self._studies.get(study_uid)
        if facts is None:
            return None
        series = [_series_row(facts, s) for s in self._held(facts)]
        return records.study(self.origin, self._study_row(facts), series)

    async def instances(self, study: Study) -> Contents:
        self.asked_for_instances += 1
        facts = self._studies[study.uid]
        held = self._held(facts)
        rows = (r for s in held for r in _instance_rows(facts, s))
        return Contents(instances=records.instances(rows))

    async def metadata(self, target: Target) -> list[bytes]:
        raise NotImplementedError

    def retrieve(
        self, target: Target, transfer_syntax: str = "*", byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        raise NotImplementedError

    def bulk_data(
        self, target: Target, path: tuple[str, ...], byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        raise NotImplementedError

    async def picture(
        self, target: Target, rung: Rung, width: int, height: int, media_type: str
    ) -> bytes:
        raise NotAcceptable("it draws nothing")

    def by_wado_uri(
        self, target: Target, content_type: str, parameters: Sequence[tuple[str, str]]
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        raise NotImplementedError

    async def close(self) -> None:
        pass

    def _held(self, facts: StudyFacts) -> list[SeriesFacts]:
        return [one for one in facts.series if self.id in one.archives]

    def _rows(self, query: Query) -> Iterator[Dataset]:
        for facts in self._studies.values():
            study = self._study_row(facts)
            if query.level is Level.STUDY:
                yield study
            for one in self._held(facts) if query.level is not Level.STUDY else ():
                series = study | _series_row(facts, one)
                if query.level is Level.SERIES:
                    yield series
                else:
                    yield from (series | r for r in _instance_rows(facts, one))

    def _study_row(self, facts: StudyFacts) -> Dataset:
        held = self._held(facts)
        is_mistaken = self.id == "south" and facts.patient_id_in_south
        return _row(
            STUDY_INSTANCE_UID=facts.uid,
            STUDY_ID=facts.study_id,
            ACCESSION_NUMBER=facts.accession,
            STUDY_DATE=facts.date,
            STUDY_TIME=facts.time,
            TIMEZONE_OFFSET=facts.offset,
            PATIENT_ID=facts.patient_id_in_south if is_mistaken else facts.patient_id,
            ISSUER_OF_PATIENT_ID=facts.issuer,
            PATIENT_NAME=(self.id == "south" and facts.name_in_south) or facts.patient_name,
            PATIENT_BIRTH_DATE=facts.birth_date,
            PATIENT_SEX=facts.sex,
            REFERRING_PHYSICIAN_NAME=name(facts.referrer) if facts.referrer else None,
            ADMISSION_ID=facts.admission,
            MODALITIES_IN_STUDY=sorted({s.modality for s in held if s.modality}) or None,
            NUMBER_OF_STUDY_RELATED_SERIES=len(held),
            NUMBER_OF_STUDY_RELATED_INSTANCES=sum(len(s.sop_classes) for s in held),
        )


def series_uid(facts: StudyFacts, series: SeriesFacts) -> str:
    return f"{facts.uid}.{series.number}"


def instance_uid(facts: StudyFacts, series: SeriesFacts, number: int) -> str:
    return f"{series_uid(facts, series)}.{number}"


def _row(**values: Any) -> Dataset:
    return row(**{k: v for k, v in values.items() if v is not None})


def _series_row(facts: StudyFacts, series: SeriesFacts) -> Dataset:
    code = _row(CODE_VALUE=series.region, CODING_SCHEME_DESIGNATOR="SCT")
    reason = _row(CODE_VALUE=series.reason, CODING_SCHEME_DESIGNATOR="SCT")
    request = _row(
        ACCESSION_NUMBER=series.accession,
        REASON_CODE_SEQUENCE=reason if series.reason else None,
    )
    return _row(
        STUDY_INSTANCE_UID=facts.uid,
        SERIES_INSTANCE_UID=series_uid(facts, series),
        SERIES_NUMBER=series.number,
        MODALITY=series.modality,
        BODY_PART_EXAMINED=series.body_part,
        ANATOMIC_REGION_SEQUENCE=code if series.region else None,
        REQUEST_ATTRIBUTES_SEQUENCE=request or None,
        PERFORMING_PHYSICIAN_NAME=name(series.performer) if series.performer else None,
        NUMBER_OF_SERIES_RELATED_INSTANCES=len(series.sop_classes),
    )


def _instance_rows(facts: StudyFacts, series: SeriesFacts) -> list[Dataset]:
    return [
        _row(
            STUDY_INSTANCE_UID=facts.uid,
            SERIES_INSTANCE_UID=series_uid(facts, series),
            SOP_INSTANCE_UID=instance_uid(facts, series, number),
            SOP_CLASS_UID=sop_class,
            INSTANCE_NUMBER=number,
        )
        for number, sop_class in enumerate(series.sop_classes, start=1)
    ]

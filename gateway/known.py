"""What the records of studies said of late, to be held against the rows of searches."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gateway.model import Level, Origin, Study
from gateway.rules import dicom_json as dj
from gateway.rules import records, values
from gateway.rules.dicom_json import Dataset

MOST_KNOWN = 10_000
_Counts = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """What a record counts, and its mark; `counts` None: the archive does not have the study."""

    counts: _Counts | None
    mark: str | None


class Known:
    """The counts and marks of the records that were read last, by archive and study."""

    def __init__(self) -> None:
        self._noted: OrderedDict[tuple[str, str], _Noted] = OrderedDict()

    def note(self, archive: str, study_uid: str, study: Study | None, mark: str | None) -> None:
        """What the record of a study says; None: that the archive does not have it."""
        counts = None if study is None else (study.number_of_series, study.number_of_instances)
        self._noted[archive, study_uid] = _Noted(counts=counts, mark=mark)
        self._noted.move_to_end((archive, study_uid))
        if len(self._noted) > MOST_KNOWN:
            self._noted.popitem(last=False)

    def mark(self, archive: str, study_uid: str) -> str | None:
        """The mark of the record that was read last; None: there is none to go by."""
        noted = self._noted.get((archive, study_uid))
        return None if noted is None else noted.mark

    def is_contradicted(self, archive: str, study_uid: str, row: Dataset, level: Level) -> bool:
        """Whether `row` says otherwise; then nothing is known any more."""
        noted = self._noted.get((archive, study_uid))
        if noted is None:
            return False
        said = counts_said(row) if level is Level.STUDY else (None, None)
        is_other = noted.counts is None or (None not in said and said != noted.counts)
        if is_other:
            del self._noted[archive, study_uid]
        return is_other


def counts_said(row: Dataset) -> _Counts:
    """How many series and instances a study's row counts."""
    return (
        values.unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_SERIES),
        values.unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_INSTANCES),
    )


def is_unchanged(known: Study, row: Dataset) -> bool:
    """Whether a study's row counts what `known` does, and tells no other patient or study.

    Corrections leave the counts as they are. What the row has no value for says nothing.
    """
    said = counts_said(row)
    now = records.study(Origin(archive=""), row)
    if now is None or None in said or said != (known.number_of_series, known.number_of_instances):
        return False
    pairs = zip(_header(now), _header(known), strict=True)
    return all(new is None or new == old for new, old in pairs)


def _header(study: Study) -> tuple[object, ...]:
    """What is corrected in studies: whose they are, and which."""
    patient, accession = study.patient, study.accession
    return (
        patient.id and patient.id.value,
        patient.name,
        patient.birth_date,
        patient.sex,
        accession and accession.value,
        study.study_id,
        study.date,
        study.description,
    )

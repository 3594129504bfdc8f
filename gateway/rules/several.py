"""What rows or copies of one thing tell differently: whose a study is, and what rules look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.model import Identifier, Origin, Series, Study
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.values import identifier

_OF_PATIENT = (dj.PATIENT_ID, dj.ISSUER_OF_PATIENT_ID, dj.ISSUER_OF_PATIENT_ID_QUALIFIERS)
OF_STUDY = (*_OF_PATIENT, dj.STUDY_DATE)
OF_SERIES = (dj.MODALITY, dj.SERIES_DESCRIPTION)
"""Attributes that decide on what exists for whom, and that rows may tell differently."""


def patient_id(
    origin: Origin, row: Dataset, default_system: str | None = None
) -> Identifier | None:
    """The identifier of the patient that a row names."""
    return identifier(
        dj.text(row, dj.PATIENT_ID),
        origin,
        local=dj.text(row, dj.ISSUER_OF_PATIENT_ID),
        qualifiers=dj.values(row, dj.ISSUER_OF_PATIENT_ID_QUALIFIERS),
        default_system=default_system,
    )


def patients_told(
    origin: Origin, rows: Sequence[Dataset], below: Sequence[Dataset]
) -> tuple[Identifier, ...]:
    """Whom rows of one study in one archive name, if that is not one patient; else ().

    Rows of the levels `below` need not tell the issuer that those of the study tell.
    """
    told = [patient_id(origin, row, origin.patient_system) for row in rows]
    return in_one_archive((*told, *named(origin, _differing(below))))


def _differing(rows: Sequence[Dataset]) -> list[Dataset]:
    """The first of the rows that name the same patient in the same words, which nearly all do."""
    kept: list[Dataset] = []
    told: list[tuple[object, ...]] = []
    for row in rows:
        said = tuple(row.get(tag) for tag in _OF_PATIENT)
        if said not in told:
            told.append(said)
            kept.append(row)
    return kept


def named(origin: Origin, rows: Iterable[Dataset]) -> tuple[Identifier, ...]:
    """Whom rows of series or instances name, each once; as those of studies where with an issuer.

    Without one, they need not mean the archive's own.
    """
    found = (
        patient_id(origin, row, origin.patient_system if _tells_issuer(row) else None)
        for row in rows
    )
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _tells_issuer(row: Dataset) -> bool:
    return any(dj.values(row, tag) for tag in _OF_PATIENT[1:])


def in_one_archive(found: Iterable[Identifier | None]) -> tuple[Identifier, ...]:
    """Those that are named, if by their values or issuers they are not one patient; else ().

    One without an issuer is one of the same value that has one.
    """
    told = tuple(dict.fromkeys(one for one in found if one is not None))
    issued = {one.value for one in told if one.system or one.assigner}
    named = tuple(o for o in told if o.system or o.assigner or o.value not in issued)
    issuers = {one.system or one.assigner for one in named} - {None}
    return named if len({one.value for one in named}) > 1 or len(issuers) > 1 else ()


def patients_of(parts: Sequence[Study]) -> tuple[Identifier, ...]:
    """Whom the parts of a study name, if that is not one patient; else ().

    Between archives only systems tell issuers apart.
    """
    found = (one for p in parts for one in (p.patient_ids or (p.patient.id,)))
    named = tuple(dict.fromkeys(one for one in found if one is not None))
    systems = {one.system for one in named if one.system is not None}
    is_one = len({one.value for one in named}) <= 1 and len(systems) <= 1
    return () if is_one and not any(p.is_of_several_patients for p in parts) else named


def others(found: Iterable[str | None]) -> tuple[str, ...]:
    """What is told besides the first value that is."""
    return tuple(dict.fromkeys(one for one in found if one))[1:]


def dates(found: Sequence[Study]) -> tuple[str, ...]:
    """The dates of a study that copies tell besides the first."""
    return others(d for s in found for d in (s.date, *s.other_dates))


def of_series(found: Sequence[Series]) -> dict[str, Any]:
    """What copies of a series tell besides the first, by the name of the field."""
    return {
        "other_modalities": others(m for s in found for m in (s.modality, *s.other_modalities)),
        "other_descriptions": others(
            d for s in found for d in (s.description, *s.other_descriptions)
        ),
    }


def is_other(row: Dataset, known: Dataset) -> bool:
    """Whether a row of a study tells what decides on it otherwise than the one that is known."""
    return any(dj.values(row, tag) != dj.values(known, tag) for tag in OF_STUDY)

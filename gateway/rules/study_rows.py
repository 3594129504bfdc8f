"""What the rows of a study's series tell of the study itself, and whether a row of it agrees.

An archive may hold one study once for each of several patients. A search by the study's UID brings
all rows of it; one by other keys, and one for series, need not.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.rules import attributes, several
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.values import unsigned_int

TOLD_BELOW = (
    frozenset(attributes.STUDY_ATTRIBUTES) | attributes.STUDY_FIELDS | set(several.OF_STUDY)
) - {*attributes.COUNTED, dj.RETRIEVE_URL, dj.STUDY_INSTANCE_UID, dj.SPECIFIC_CHARACTER_SET}
"""Attributes of a study that rows of its series can tell as well."""


def counts_all(row: Dataset) -> bool:
    """Whether a study's row says how many series and instances there are."""
    return None not in _said(row)


def tell_patients(below: Sequence[Dataset]) -> bool:
    """Whether rows of series all say whose they are, be it that nobody is known."""
    return all(dj.PATIENT_ID in row for row in below)


def agrees(row: Dataset, below: Sequence[Dataset]) -> bool:
    """Whether the rows of its series show that a row of a study is all that there is of it.

    They count the same, and tell the same patient, date and modalities.
    """
    series, instances = _counted(below)
    told, found = _modalities([row], dj.MODALITIES_IN_STUDY), _modalities(below, dj.MODALITY)
    return (
        series is not None
        and (series, instances) == _said(row)
        and told in (set(), found)
        and tell_patients(below)
        and not any(several.is_other(one, row) for one in below)
    )


def of_series(study_uid: str, below: Sequence[Dataset]) -> Dataset | None:
    """The row of a study as all rows of its series tell it; None where they do not.

    Counts are what they count together. They differ, lack a count or a patient, or tell another
    study: then only the study's own row can tell.
    """
    series, instances = _counted(below)
    if series is None or not tell_patients(below):
        return None
    told = [{tag: row[tag] for tag in row if tag.upper() in TOLD_BELOW} for row in below]
    is_of_study = all(dj.text(row, dj.STUDY_INSTANCE_UID) == study_uid for row in below)
    if not is_of_study or any(one != told[0] for one in told):
        return None
    modalities = sorted(_modalities(below, dj.MODALITY))
    return told[0] | {
        dj.STUDY_INSTANCE_UID: {"vr": "UI", "Value": [study_uid]},
        dj.MODALITIES_IN_STUDY: {"vr": "CS", "Value": modalities},
        dj.NUMBER_OF_STUDY_RELATED_SERIES: {"vr": "IS", "Value": [series]},
        dj.NUMBER_OF_STUDY_RELATED_INSTANCES: {"vr": "IS", "Value": [instances]},
    }


def untold(row: Dataset, below: Sequence[Dataset]) -> tuple[str, ...]:
    """The attributes of which a study's row has a value, and no row of its series has any."""
    told = (tag for tag in sorted(TOLD_BELOW) if dj.values(row, tag))
    return tuple(tag for tag in told if not any(dj.values(one, tag) for one in below))


def _said(row: Dataset) -> tuple[int | None, int | None]:
    """How many series and instances a study's row counts."""
    return (
        unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_SERIES),
        unsigned_int(row, dj.NUMBER_OF_STUDY_RELATED_INSTANCES),
    )


def _counted(below: Sequence[Dataset]) -> tuple[int | None, int]:
    """How many series there are, and instances in them; None: rows do not tell, or not clearly."""
    uids = {dj.text(row, dj.SERIES_INSTANCE_UID) or "" for row in below}
    counts = [unsigned_int(row, dj.NUMBER_OF_SERIES_RELATED_INSTANCES) for row in below]
    is_clear = len(uids) == len(below) > 0 and all(map(dj.is_uid, uids)) and None not in counts
    return len(below) if is_clear else None, sum(n or 0 for n in counts)


def _modalities(rows: Sequence[Dataset], tag: str) -> set[str]:
    return {modality for row in rows for modality in dj.texts(row, tag)}

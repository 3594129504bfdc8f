"""Which attributes QIDO-RS rows have at each level, and which the gateway's records are made of."""

from __future__ import annotations

from gateway.model import Level
from gateway.rules import dicom_json as dj

STUDY_ATTRIBUTES = (
    dj.SPECIFIC_CHARACTER_SET,
    dj.STUDY_DATE,
    dj.STUDY_TIME,
    dj.ACCESSION_NUMBER,
    dj.INSTANCE_AVAILABILITY,
    dj.MODALITIES_IN_STUDY,
    dj.REFERRING_PHYSICIAN_NAME,
    dj.RETRIEVE_URL,
    dj.PATIENT_NAME,
    dj.PATIENT_ID,
    dj.PATIENT_BIRTH_DATE,
    dj.PATIENT_SEX,
    dj.STUDY_INSTANCE_UID,
    dj.STUDY_ID,
    dj.NUMBER_OF_STUDY_RELATED_SERIES,
    dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
)
"""Attributes of every study row (PS3.18 Table 10.6.3-3), empty where they are not known."""

SERIES_ATTRIBUTES = (
    dj.SPECIFIC_CHARACTER_SET,
    dj.MODALITY,
    dj.RETRIEVE_URL,
    dj.STUDY_INSTANCE_UID,
    dj.SERIES_INSTANCE_UID,
    dj.SERIES_NUMBER,
    dj.NUMBER_OF_SERIES_RELATED_INSTANCES,
)
"""Attributes of every series row (PS3.18 Table 10.6.3-4)."""

INSTANCE_ATTRIBUTES = (
    dj.SPECIFIC_CHARACTER_SET,
    dj.SOP_CLASS_UID,
    dj.SOP_INSTANCE_UID,
    dj.INSTANCE_AVAILABILITY,
    dj.RETRIEVE_URL,
    dj.STUDY_INSTANCE_UID,
    dj.SERIES_INSTANCE_UID,
    dj.INSTANCE_NUMBER,
)
"""Attributes of every instance row (PS3.18 Table 10.6.3-5)."""

ATTRIBUTES = {
    Level.STUDY: STUDY_ATTRIBUTES,
    Level.SERIES: SERIES_ATTRIBUTES,
    Level.INSTANCE: INSTANCE_ATTRIBUTES,
}

DEFAULT_IF_KNOWN = {
    Level.STUDY: (dj.TIMEZONE_OFFSET,),
    Level.SERIES: (
        dj.TIMEZONE_OFFSET,
        dj.SERIES_DESCRIPTION,
        dj.PERFORMED_START_DATE,
        dj.PERFORMED_START_TIME,
        dj.REQUEST_ATTRIBUTES_SEQUENCE,
    ),
    Level.INSTANCE: (
        dj.TIMEZONE_OFFSET,
        dj.NUMBER_OF_FRAMES,
        dj.ROWS,
        dj.COLUMNS,
        dj.BITS_ALLOCATED,
    ),
}
"""Attributes of a row of a level that are given where they are known."""

UID_OF = {
    Level.STUDY: dj.STUDY_INSTANCE_UID,
    Level.SERIES: dj.SERIES_INSTANCE_UID,
    Level.INSTANCE: dj.SOP_INSTANCE_UID,
}

_OF_ANY_LEVEL = {
    dj.SPECIFIC_CHARACTER_SET,
    dj.RETRIEVE_URL,
    dj.STUDY_INSTANCE_UID,
    dj.TIMEZONE_OFFSET,
}
SERIES_LEVEL = frozenset(SERIES_ATTRIBUTES + DEFAULT_IF_KNOWN[Level.SERIES]) - _OF_ANY_LEVEL | {
    dj.BODY_PART_EXAMINED,
    dj.LATERALITY,
    dj.SERIES_DATE,
    dj.SERIES_TIME,
}
INSTANCE_LEVEL = frozenset(INSTANCE_ATTRIBUTES + DEFAULT_IF_KNOWN[Level.INSTANCE]) - (
    _OF_ANY_LEVEL | {dj.SERIES_INSTANCE_UID, dj.INSTANCE_AVAILABILITY}
)
BELOW = {
    Level.STUDY: SERIES_LEVEL | INSTANCE_LEVEL,
    Level.SERIES: INSTANCE_LEVEL,
    Level.INSTANCE: frozenset[str](),
}
"""Attributes that rows of a level cannot have: they are of the levels below it."""

PER_ARCHIVE = frozenset(
    {
        dj.MODALITIES_IN_STUDY,
        dj.SOP_CLASSES_IN_STUDY,
        dj.NUMBER_OF_STUDY_RELATED_SERIES,
        dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
        dj.NUMBER_OF_SERIES_RELATED_INSTANCES,
    }
)
"""Attributes whose value depends on which part of a study an archive holds."""

COUNTED = (
    dj.MODALITIES_IN_STUDY,
    dj.NUMBER_OF_STUDY_RELATED_SERIES,
    dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
)
"""Attributes of a study row that the gateway fills in from the record when archives do not."""

STUDY_FIELDS = frozenset(
    {
        dj.STUDY_DESCRIPTION,
        dj.PROCEDURE_CODE_SEQUENCE,
        dj.ISSUER_OF_ACCESSION_NUMBER,
        dj.ISSUER_OF_PATIENT_ID,
        dj.ISSUER_OF_PATIENT_ID_QUALIFIERS,
        dj.REFERRING_PHYSICIAN_IDENTIFICATION,
        dj.PHYSICIANS_READING_NAME,
        dj.PHYSICIANS_READING_IDENTIFICATION,
        dj.ADMISSION_ID,
        dj.ISSUER_OF_ADMISSION_ID,
        dj.PLACER_ORDER_NUMBER,
        dj.FILLER_ORDER_NUMBER,
        dj.ORDER_PLACER_ISSUER,
        dj.ORDER_FILLER_ISSUER,
        dj.TIMEZONE_OFFSET,
        dj.PATIENT_BIRTH_DATE,
        dj.PATIENT_SEX,
        dj.MODALITIES_IN_STUDY,
        dj.INSTANCE_AVAILABILITY,
    }
)
"""What a study-level `includefield` asks for beyond the default, to fill a Study."""

SERIES_FIELDS = frozenset(
    {
        dj.SERIES_DATE,
        dj.SERIES_TIME,
        dj.BODY_PART_EXAMINED,
        dj.ANATOMIC_REGION_SEQUENCE,
        dj.LATERALITY,
        dj.SERIES_DESCRIPTION,
        dj.SERIES_DESCRIPTION_CODE_SEQUENCE,
        dj.PERFORMING_PHYSICIAN_NAME,
        dj.PERFORMING_PHYSICIAN_IDENTIFICATION,
        dj.OPERATORS_NAME,
        dj.OPERATOR_IDENTIFICATION,
        dj.MANUFACTURER,
        dj.MANUFACTURER_MODEL_NAME,
        dj.DEVICE_SERIAL_NUMBER,
        dj.STATION_NAME,
        dj.INSTITUTION_NAME,
        dj.INSTITUTION_CODE_SEQUENCE,
        dj.DEPARTMENT_NAME,
        dj.DEPARTMENT_TYPE_SEQUENCE,
        dj.PERFORMED_LOCATION,
        dj.SPECIMEN_DESCRIPTION_SEQUENCE,
        dj.REQUEST_ATTRIBUTES_SEQUENCE,
        dj.PERFORMED_START_DATE,
        dj.PERFORMED_START_TIME,
        dj.TIMEZONE_OFFSET,
    }
)
"""What a series-level `includefield` asks for, to fill a Series."""

INSTANCE_FIELDS = frozenset({dj.NUMBER_OF_FRAMES, dj.IMAGE_LATERALITY})
"""What an instance-level `includefield` asks for, to fill an Instance."""

TITLE_FIELDS = frozenset(
    {
        dj.DOCUMENT_TITLE,
        dj.CONCEPT_NAME_CODE_SEQUENCE,
        dj.CONTENT_LABEL,
        dj.CONTENT_DESCRIPTION,
    }
)
"""What it asks for as well where a study holds documents, which have titles."""

DOCUMENTS = frozenset({"ASMT", "DOC", "KO", "PLAN", "PR", "SR"})
"""Modalities (PS3.3 §C.7.3.1.1.1) of series of documents rather than images."""

COUNTS = frozenset(
    {
        dj.NUMBER_OF_STUDY_RELATED_SERIES,
        dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
        dj.NUMBER_OF_SERIES_RELATED_INSTANCES,
    }
)
"""What the gateway counts itself, over archives of which each knows its own part only."""

MAY_BE_EMPTY = {
    Level.STUDY: frozenset(
        {
            dj.STUDY_DATE,
            dj.STUDY_TIME,
            dj.ACCESSION_NUMBER,
            dj.REFERRING_PHYSICIAN_NAME,
            dj.PATIENT_NAME,
            dj.PATIENT_ID,
            dj.PATIENT_BIRTH_DATE,
            dj.PATIENT_SEX,
            dj.STUDY_ID,
        }
    ),
    Level.SERIES: frozenset({dj.MODALITY, dj.SERIES_NUMBER}),
    Level.INSTANCE: frozenset({dj.INSTANCE_NUMBER}),
}
"""Attributes of every row of a level that need not have a value."""

_OF_STUDY = frozenset(STUDY_ATTRIBUTES) | STUDY_FIELDS | {dj.SOP_CLASSES_IN_STUDY}
_OF_SERIES = _OF_STUDY | SERIES_LEVEL | SERIES_FIELDS


def is_of(level: Level, tag: str) -> bool:
    """Whether an attribute says nothing of what is below `level`; group 0010 is the patient's."""
    if level is Level.INSTANCE or tag.startswith("0010"):
        return True
    return tag in (_OF_STUDY if level is Level.STUDY else _OF_SERIES)

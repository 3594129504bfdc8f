"""What a folder holds at one moment: its instances, and their rows at each level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.rules import dicom_json as dj
from gateway.rules import several

Stamp = tuple[int, int, int]
"""Size, time of the last change in ns, and inode of a file."""

PATIENT_AND_STUDY = (
    dj.STUDY_DATE,
    dj.STUDY_TIME,
    dj.ACCESSION_NUMBER,
    dj.ISSUER_OF_ACCESSION_NUMBER,
    dj.REFERRING_PHYSICIAN_NAME,
    dj.REFERRING_PHYSICIAN_IDENTIFICATION,
    dj.TIMEZONE_OFFSET,
    dj.STUDY_DESCRIPTION,
    dj.PROCEDURE_CODE_SEQUENCE,
    dj.PHYSICIANS_READING_NAME,
    dj.PHYSICIANS_READING_IDENTIFICATION,
    dj.PATIENT_NAME,
    dj.PATIENT_ID,
    dj.ISSUER_OF_PATIENT_ID,
    dj.ISSUER_OF_PATIENT_ID_QUALIFIERS,
    dj.PATIENT_BIRTH_DATE,
    dj.PATIENT_SEX,
    "00101010",  # PatientAge
    "00101020",  # PatientSize
    "00101030",  # PatientWeight
    dj.STUDY_INSTANCE_UID,
    dj.STUDY_ID,
    dj.ADMISSION_ID,
    dj.ISSUER_OF_ADMISSION_ID,
    dj.ORDER_PLACER_ISSUER,
    dj.ORDER_FILLER_ISSUER,
    dj.PLACER_ORDER_NUMBER,
    dj.FILLER_ORDER_NUMBER,
)
SERIES = (
    dj.SERIES_DATE,
    dj.SERIES_TIME,
    dj.MODALITY,
    dj.MANUFACTURER,
    dj.INSTITUTION_NAME,
    dj.INSTITUTION_CODE_SEQUENCE,
    dj.TIMEZONE_OFFSET,
    dj.STATION_NAME,
    dj.SERIES_DESCRIPTION,
    dj.SERIES_DESCRIPTION_CODE_SEQUENCE,
    dj.DEPARTMENT_NAME,
    dj.DEPARTMENT_TYPE_SEQUENCE,
    dj.PERFORMING_PHYSICIAN_NAME,
    dj.PERFORMING_PHYSICIAN_IDENTIFICATION,
    dj.OPERATORS_NAME,
    dj.OPERATOR_IDENTIFICATION,
    dj.MANUFACTURER_MODEL_NAME,
    dj.ANATOMIC_REGION_SEQUENCE,
    dj.BODY_PART_EXAMINED,
    dj.DEVICE_SERIAL_NUMBER,
    "00181030",  # ProtocolName
    "00185100",  # PatientPosition
    dj.SERIES_INSTANCE_UID,
    dj.SERIES_NUMBER,
    "00200052",  # FrameOfReferenceUID
    dj.LATERALITY,
    dj.PERFORMED_LOCATION,
    dj.PERFORMED_START_DATE,
    dj.PERFORMED_START_TIME,
    dj.REQUEST_ATTRIBUTES_SEQUENCE,
)
INSTANCE = (
    "00080008",  # ImageType
    dj.SOP_CLASS_UID,
    dj.SOP_INSTANCE_UID,
    dj.ACQUISITION_DATE,
    "00080023",  # ContentDate
    dj.ACQUISITION_DATE_TIME,
    dj.ACQUISITION_TIME,
    "00080033",  # ContentTime
    "00200012",  # AcquisitionNumber
    dj.INSTANCE_NUMBER,
    dj.IMAGE_LATERALITY,
    dj.FRAME_ANATOMY_SEQUENCE,
    "00204000",  # ImageComments
    dj.NUMBER_OF_FRAMES,
    dj.ROWS,
    dj.COLUMNS,
    dj.BITS_ALLOCATED,
    dj.SPECIMEN_DESCRIPTION_SEQUENCE,
    dj.CONCEPT_NAME_CODE_SEQUENCE,
    dj.REFERENCED_REQUEST_SEQUENCE,
    dj.DOCUMENT_TITLE,
    dj.CONTENT_LABEL,
    dj.CONTENT_DESCRIPTION,
)
GROUPS = (dj.SHARED_FUNCTIONAL_GROUPS, dj.PER_FRAME_FUNCTIONAL_GROUPS)
"""Where frames say things; of them `FRAME_ANATOMY_SEQUENCE` is kept, as of the instance."""
TAGS = tuple(int(tag, 16) for tag in {*PATIENT_AND_STUDY, *SERIES, *INSTANCE, *GROUPS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One instance and its file; rows are DICOM JSON, equal ones of many files held once.

    `prefix` is what the stored bytes lack at their front to be a file of PS3.10 §7.
    """

    path: str
    stamp: Stamp
    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    number: int | None
    prefix: bytes
    study_row: bytes
    series_row: bytes
    instance_row: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The folder at one moment: study → series → instances, newest study first."""

    studies: dict[str, dict[str, tuple[Entry, ...]]] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()

    def study_row(self, study_uid: str) -> dj.Dataset:
        """Patient and study attributes, with what is counted over the study's files."""
        series = self.studies[study_uid]
        rows = [self.series_row(study_uid, uid) for uid in series]
        entries = [entry for of_series in series.values() for entry in of_series]
        modalities = (dj.text(row, dj.MODALITY) for row in rows)
        return _first_known(entry.study_row for entry in entries) | {
            dj.INSTANCE_AVAILABILITY: element("CS", "ONLINE"),
            dj.MODALITIES_IN_STUDY: element("CS", *dict.fromkeys(m for m in modalities if m)),
            dj.SOP_CLASSES_IN_STUDY: element(
                "UI", *dict.fromkeys(e.sop_class_uid for e in entries)
            ),
            dj.NUMBER_OF_STUDY_RELATED_SERIES: element("IS", len(series)),
            dj.NUMBER_OF_STUDY_RELATED_INSTANCES: element("IS", len(entries)),
        }

    def series_row(self, study_uid: str, series_uid: str) -> dj.Dataset:
        """Series attributes, with the number of its files."""
        entries = self.studies[study_uid][series_uid]
        return _first_known(entry.series_row for entry in entries) | {
            dj.STUDY_INSTANCE_UID: element("UI", study_uid),
            dj.NUMBER_OF_SERIES_RELATED_INSTANCES: element("IS", len(entries)),
        }

    def study_rows(self, study_uid: str) -> list[dj.Dataset]:
        """What the study's files tell differently of whose it is, and when."""
        entries = (e for of_series in self.studies[study_uid].values() for e in of_series)
        return _different((e.study_row for e in entries), several.OF_STUDY)

    def series_rows(self, study_uid: str) -> list[dj.Dataset]:
        """The rows of the study's series, and what their files tell differently."""
        rows = []
        for uid, entries in self.studies[study_uid].items():
            rows.append(self.series_row(study_uid, uid))
            told = _different((e.series_row for e in entries), several.OF_SERIES)
            rows += [{dj.SERIES_INSTANCE_UID: element("UI", uid)} | one for one in told]
        return rows

    def instance_row(self, entry: Entry) -> dj.Dataset:
        """Instance attributes, and the UIDs above."""
        row: dj.Dataset = orjson.loads(entry.instance_row)
        return row | {
            dj.INSTANCE_AVAILABILITY: element("CS", "ONLINE"),
            dj.STUDY_INSTANCE_UID: element("UI", entry.study_uid),
            dj.SERIES_INSTANCE_UID: element("UI", entry.series_uid),
        }


def changed(before: Snapshot, now: Snapshot) -> frozenset[str]:
    """The studies of both that have other files, or files that are no longer what they were."""
    both = before.studies.keys() & now.studies.keys()
    return frozenset(uid for uid in both if before.studies[uid] != now.studies[uid])


def grouped(entries: list[Entry]) -> dict[str, dict[str, tuple[Entry, ...]]]:
    """The entries by study, newest first, and series, in the order of their numbers."""
    studies: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        series = studies.setdefault(entry.study_uid, {})
        series.setdefault(entry.series_uid, []).append(entry)
    by_uid = sorted(studies)
    newest_first = sorted(by_uid, key=lambda uid: _moment(studies[uid]), reverse=True)
    return {
        study: {
            uid: tuple(sorted(studies[study][uid], key=_entry_order))
            for uid in sorted(studies[study], key=lambda uid: _series_order(studies[study][uid][0]))
        }
        for study in newest_first
    }


def _moment(series: dict[str, list[Entry]]) -> str:
    row = orjson.loads(next(iter(series.values()))[0].study_row)
    return f"{dj.text(row, dj.STUDY_DATE) or ''} {dj.text(row, dj.STUDY_TIME) or ''}"


def _entry_order(entry: Entry) -> tuple[bool, int, str]:
    return entry.number is None, entry.number or 0, entry.instance_uid


def _series_order(entry: Entry) -> tuple[bool, int, str]:
    numbers = dj.values(orjson.loads(entry.series_row), dj.SERIES_NUMBER)
    number = numbers[0] if numbers and isinstance(numbers[0], int) else None
    return number is None, number or 0, entry.series_uid


def _first_known(rows: Iterator[bytes]) -> dj.Dataset:
    """The rows as one: for each attribute the first that has a value."""
    merged: dj.Dataset = {}
    for row in dict.fromkeys(rows):
        for tag, element in orjson.loads(row).items():
            if "Value" not in merged.get(tag, {}):
                merged[tag] = element
    return merged


def _different(rows: Iterable[bytes], tags: Sequence[str]) -> list[dj.Dataset]:
    """Some attributes of rows, each combination once; none where all are the same."""
    found = {}
    for row in dict.fromkeys(rows):
        told = {tag: one for tag, one in orjson.loads(row).items() if tag in tags}
        found[orjson.dumps(told, option=orjson.OPT_SORT_KEYS)] = told
    return list(found.values()) if len(found) > 1 else []


def element(vr: str, *values: Any) -> dict[str, Any]:
    """An element of DICOM JSON."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}

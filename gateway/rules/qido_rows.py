"""The rows of a QIDO-RS answer: many archives' as one list, each as the gateway answers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules.attributes import ATTRIBUTES, PER_ARCHIVE, UID_OF
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query, vr_of
from gateway.rules.values import unsigned_int

_LISTS = frozenset({dj.MODALITIES_IN_STUDY, dj.SOP_CLASSES_IN_STUDY})


def merged(rows_by_archive: Sequence[Sequence[Dataset]], level: Level) -> list[Dataset]:
    """The rows of all archives as one list: by UID, in the order of the archives and their rows.

    Lists are united; of anything else the first archive that knows it decides. Counts become the
    largest one: where a study is spread over archives, its record knows better.
    """
    by_uid: dict[str, Dataset] = {}
    for rows in rows_by_archive:
        for row in rows:
            uid = dj.text(row, UID_OF[level])
            if uid is None or not dj.is_uid(uid):
                continue
            by_uid[uid] = _united(by_uid[uid], row) if uid in by_uid else row
    return list(by_uid.values())


def _united(first: Dataset, second: Dataset) -> Dataset:
    row = dict(first)
    for tag, element in second.items():
        if tag in _LISTS:
            both = dict.fromkeys((*dj.texts(row, tag), *dj.texts(second, tag)))
            row[tag] = {"vr": vr_of(tag), "Value": list(both)}
        elif not dj.values(row, tag) or (tag in PER_ARCHIVE and _is_larger(tag, second, row)):
            row[tag] = element
    return row


def _is_larger(tag: str, one: Dataset, other: Dataset) -> bool:
    a, b = unsigned_int(one, tag), unsigned_int(other, tag)
    return a is not None and (b is None or a > b)


def completed(row: Dataset, query: Query, retrieve_url: str) -> Dataset:
    """`row` as the gateway answers it: every required attribute, UTF-8, no URL but our own."""
    known: Dataset = {tag: {"vr": vr_of(tag)} for tag in ATTRIBUTES[query.level]}
    for tag, uid in (
        (dj.STUDY_INSTANCE_UID, query.study_uid),
        (dj.SERIES_INSTANCE_UID, query.series_uid),
    ):
        if uid is not None:
            known[tag] = {"vr": "UI", "Value": [uid]}
    said = dj.without_foreign_urls(row, retrieve_url if query.level is Level.INSTANCE else None)
    whole = known | {t.upper(): e for t, e in said.items() if t not in known or dj.values(row, t)}
    whole[dj.SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    whole[dj.RETRIEVE_URL] = {"vr": "UR", "Value": [retrieve_url]}
    return dict(sorted((t, _without_nulls(e)) for t, e in whole.items()))


def _without_nulls(element: Any) -> Any:
    """An element whose Value is empty or holds only nulls loses it (PS3.18 §F.2.5)."""
    if not isinstance(element, dict) or "Value" not in element:
        return element
    found = element["Value"]
    if isinstance(found, list) and any(v is not None and v != "" for v in found):
        return element
    return {k: v for k, v in element.items() if k != "Value"}

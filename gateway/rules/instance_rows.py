"""The instance rows of a QIDO answer read straight into records, a tenth of what dicts cost.

Only the attributes that a record uses are decoded, with their types. A body that holds anything
odd is not judged here: `records.instances` reads it, value by value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from gateway.model import Instance
from gateway.rules import dicom_json as dj
from gateway.rules.records import in_order

_LARGEST_UNSIGNED_INT = 2147483647
_is_uid = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII).fullmatch
_MAX_UID_CHARACTERS = 64
STEP_BYTES = 1 << 18
"""A body larger than this is read in steps."""
STEP_ROWS = 250


class _Words(msgspec.Struct, frozen=True):
    values: tuple[str, ...] = msgspec.field(default=(), name="Value")


class _Numbers(msgspec.Struct, frozen=True):
    values: tuple[int, ...] = msgspec.field(default=(), name="Value")


_NO_WORDS = _Words()


class _Row(msgspec.Struct):
    """In the order of the tags, in which rows come: so the decoder finds each at once."""

    sop_class: _Words | None = msgspec.field(default=None, name=dj.SOP_CLASS_UID)
    uid: _Words = msgspec.field(default=_NO_WORDS, name=dj.SOP_INSTANCE_UID)
    study: _Words = msgspec.field(default=_NO_WORDS, name=dj.STUDY_INSTANCE_UID)
    series: _Words = msgspec.field(default=_NO_WORDS, name=dj.SERIES_INSTANCE_UID)
    number: _Numbers | None = msgspec.field(default=None, name=dj.INSTANCE_NUMBER)
    laterality: _Words | None = msgspec.field(default=None, name=dj.IMAGE_LATERALITY)
    frames: _Numbers | None = msgspec.field(default=None, name=dj.NUMBER_OF_FRAMES)
    rows: _Numbers | None = msgspec.field(default=None, name=dj.ROWS)
    columns: _Numbers | None = msgspec.field(default=None, name=dj.COLUMNS)
    concept: msgspec.Raw | None = msgspec.field(default=None, name=dj.CONCEPT_NAME_CODE_SEQUENCE)
    title: _Words | None = msgspec.field(default=None, name=dj.DOCUMENT_TITLE)
    label: msgspec.Raw | None = msgspec.field(default=None, name=dj.CONTENT_LABEL)
    description: msgspec.Raw | None = msgspec.field(default=None, name=dj.CONTENT_DESCRIPTION)


class Odd(ValueError):
    """The body holds something that only the tolerant reading understands."""


_decode = msgspec.json.Decoder(list[_Row]).decode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def steps(body: bytes) -> Iterator[bytes]:
    """A large body as several small ones, so that others get their turn between them.

    Odd when it is no array.
    """
    try:
        rows = _split(body)
    except (ValueError, RecursionError) as error:
        raise Odd from error
    for at in range(0, len(rows), STEP_ROWS):
        yield b"[" + b",".join(rows[at : at + STEP_ROWS]) + b"]"


class Reading:
    """The instances of one study out of one or several bodies."""

    def __init__(self, study_uid: str) -> None:
        self._wanted = (study_uid,)
        self._by_series: dict[str, dict[str, Instance]] = {}
        self._known: dict[str, str] = {}  # few series and classes: each UID is checked once

    def add(self, body: bytes) -> None:
        """Takes in the rows of `body`; Odd when one is not plain."""
        try:
            rows = _decode(body)
        except (ValueError, RecursionError) as error:
            raise Odd from error
        for row in rows:
            if row.study.values != self._wanted:
                continue
            of_series = self._by_series.setdefault(_once(row.series, self._known), {})
            uid = _checked(row.uid)
            if uid not in of_series:
                of_series[uid] = _instance(uid, row, self._known)

    def instances(self) -> dict[str, tuple[Instance, ...]]:
        """By SeriesInstanceUID, each once and in InstanceNumber order."""
        found = self._by_series.items()
        return {series: tuple(sorted(of.values(), key=in_order)) for series, of in found}


def _instance(uid: str, row: _Row, known: dict[str, str]) -> Instance:
    if row.concept is not None or row.label is not None or row.description is not None:
        raise Odd
    return Instance(
        uid=uid,
        sop_class_uid=_once(row.sop_class, known) if row.sop_class else None,
        number=_number(row.number) if row.number else None,
        number_of_frames=_number(row.frames) if row.frames else None,
        rows=_number(row.rows) if row.rows else None,
        columns=_number(row.columns) if row.columns else None,
        image_laterality=_word(row.laterality) if row.laterality else None,
        title=_word(row.title) if row.title else None,
    )


def _once(words: _Words, known: dict[str, str]) -> str:
    """The one UID, the same string for the same UID; Odd when it is none."""
    if len(words.values) == 1 and (uid := known.get(words.values[0])) is not None:
        return uid
    uid = _checked(words)
    known[uid] = uid
    return uid


def _checked(words: _Words) -> str:
    if len(words.values) != 1:
        raise Odd
    uid = words.values[0]
    if len(uid) > _MAX_UID_CHARACTERS or not _is_uid(uid):
        raise Odd
    return uid


def _number(numbers: _Numbers) -> int | None:
    if not numbers.values:
        return None
    number = numbers.values[0]
    if not 0 <= number <= _LARGEST_UNSIGNED_INT:
        raise Odd
    return number


def _word(words: _Words) -> str | None:
    if not words.values:
        return None
    word = words.values[0]
    if len(words.values) > 1 or word.strip(" \0") != word:
        raise Odd
    return word or None

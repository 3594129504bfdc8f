"""The instance rows of a QIDO answer read straight into records, a fifth of what dicts cost.

Only the attributes that a record uses are decoded, with their types. A body that holds anything
odd is not judged here: `records.instances` reads it, value by value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import msgspec
from msgspec import structs

from gateway.model import Identifier, Instance, Origin
from gateway.rules import dicom_json as dj
from gateway.rules import several
from gateway.rules.records import in_order, title

_LARGEST_UNSIGNED_INT = 2147483647
_is_uid = re.compile(r"[0-9]++(?:\.[0-9]++)*+", re.ASCII).fullmatch
_MAX_UID_CHARACTERS = 64
_start = re.compile(rb"\s*\[").match
_between_objects = re.compile(rb"\}(\s*,\s*)\{").finditer
STEP_BYTES = 1 << 16
"""A body larger than this is read in steps of about this size."""
_AROUND = "\0 \t\r\n"
_MOST_CUTS = 16
"""So many places are tried for the end of a step; the first is right unless sequences nest."""


class _Word(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """An array of one value, or of none."""

    first: str | None = None


class _Number(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """An array of one unsigned number, or of none."""

    first: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_UNSIGNED_INT)] | None = None


class _Words(msgspec.Struct, frozen=True, gc=False):
    value: _Word = msgspec.field(default=_Word(), name="Value")


class _Numbers(msgspec.Struct, frozen=True, gc=False):
    value: _Number = msgspec.field(default=_Number(), name="Value")


class _List(msgspec.Struct, frozen=True, gc=False):
    values: tuple[str, ...] = msgspec.field(default=(), name="Value")


_NO_WORDS = _Words()
_NO_LIST = _List()
_NO_NUMBERS = _Numbers()
_NOTHING = msgspec.Raw()


class _Row(msgspec.Struct, gc=False):
    """In the order of the tags, in which rows come: so the decoder finds each at once."""

    image_type: _List = msgspec.field(default=_NO_LIST, name=dj.IMAGE_TYPE)
    sop_class: _Words = msgspec.field(default=_NO_WORDS, name=dj.SOP_CLASS_UID)
    uid: _Words = msgspec.field(default=_NO_WORDS, name=dj.SOP_INSTANCE_UID)
    patient: _Words = msgspec.field(default=_NO_WORDS, name=dj.PATIENT_ID)
    issuer: _Words = msgspec.field(default=_NO_WORDS, name=dj.ISSUER_OF_PATIENT_ID)
    qualifiers: msgspec.Raw = msgspec.field(
        default=_NOTHING, name=dj.ISSUER_OF_PATIENT_ID_QUALIFIERS
    )
    study: _Words = msgspec.field(default=_NO_WORDS, name=dj.STUDY_INSTANCE_UID)
    series: _Words = msgspec.field(default=_NO_WORDS, name=dj.SERIES_INSTANCE_UID)
    number: _Numbers = msgspec.field(default=_NO_NUMBERS, name=dj.INSTANCE_NUMBER)
    laterality: _Words = msgspec.field(default=_NO_WORDS, name=dj.IMAGE_LATERALITY)
    frames: _Numbers = msgspec.field(default=_NO_NUMBERS, name=dj.NUMBER_OF_FRAMES)
    rows: _Numbers = msgspec.field(default=_NO_NUMBERS, name=dj.ROWS)
    columns: _Numbers = msgspec.field(default=_NO_NUMBERS, name=dj.COLUMNS)
    concept: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.CONCEPT_NAME_CODE_SEQUENCE)
    title: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.DOCUMENT_TITLE)
    label: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.CONTENT_LABEL)
    description: msgspec.Raw = msgspec.field(default=_NOTHING, name=dj.CONTENT_DESCRIPTION)


class Odd(ValueError):
    """The body holds something that only the tolerant reading understands."""


_decode = msgspec.json.Decoder(list[_Row]).decode
_value = msgspec.json.Decoder().decode


class Reading:
    """The instances of one study out of one or several bodies."""

    def __init__(self, study_uid: str, step_bytes: int = STEP_BYTES) -> None:
        self._study_uid = study_uid
        self._step_bytes = step_bytes
        self._by_series: dict[str, dict[str, Instance]] = {}
        self._patients: set[tuple[str, str | None, bytes]] = set()
        self._known: dict[str | None, str] = {}  # few series and classes: each is checked once

    def add(self, body: bytes | bytearray) -> None:
        """Takes in the rows of `body`; Odd when one is not plain."""
        for _ in self.steps(body):
            pass

    def steps(self, body: bytes | bytearray) -> Iterator[None]:
        """Takes in the rows of `body` step by step; between them others can have their turn.

        Odd when one is not plain.
        """
        try:
            for rows in _pieces(body, self._step_bytes):
                self._take(rows)
                yield
        except (ValueError, RecursionError) as error:
            raise Odd from error

    @property
    def count(self) -> int:
        """How many instances were read so far."""
        return sum(len(of) for of in self._by_series.values())

    def instances(self) -> dict[str, tuple[Instance, ...]]:
        """By SeriesInstanceUID, each once and in InstanceNumber order."""
        found = self._by_series.items()
        return {series: tuple(sorted(of.values(), key=in_order)) for series, of in found}

    def patients(self, origin: Origin) -> tuple[Identifier, ...]:
        """Whom the rows name."""
        rows = (
            {
                dj.PATIENT_ID: {"Value": [value]},
                dj.ISSUER_OF_PATIENT_ID: {"Value": [issuer]},
                dj.ISSUER_OF_PATIENT_ID_QUALIFIERS: _value(qualifiers or b"{}"),
            }
            for value, issuer, qualifiers in sorted(self._patients, key=repr)
        )
        return several.named(origin, rows)

    def _take(self, rows: list[_Row]) -> None:
        known = self._known
        for row in rows:
            study = row.study.value.first
            if study is None:
                raise Odd
            if study != self._study_uid:
                continue
            series, sop_class = row.series.value.first, row.sop_class.value.first
            of_series = self._by_series.setdefault(known.get(series) or self._once(series), {})
            if row.patient is not _NO_WORDS:
                self._note_patient(row)
            uid = row.uid.value.first
            if uid is None or len(uid) > _MAX_UID_CHARACTERS or not _is_uid(uid):
                raise Odd
            if uid not in of_series:
                one = Instance(
                    uid=uid,
                    sop_class_uid=known.get(sop_class) or self._once(sop_class)
                    if sop_class
                    else None,
                    number=row.number.value.first,
                    number_of_frames=row.frames.value.first,
                    rows=row.rows.value.first,
                    columns=row.columns.value.first,
                    image_type=() if row.image_type is _NO_LIST else _words(row.image_type),
                    image_laterality=None if row.laterality is _NO_WORDS else _word(row.laterality),
                )
                of_series[uid] = one if _is_untitled(row) else _titled(one, row)

    def _note_patient(self, row: _Row) -> None:
        patient, issuer = row.patient.value.first, row.issuer.value.first
        if patient:
            told = b"" if row.qualifiers is _NOTHING else bytes(row.qualifiers)
            self._patients.add((patient, issuer, told))

    def _once(self, uid: str | None) -> str:
        """The UID, checked; it is the same string for the same UID from now on."""
        return self._known.setdefault(uid, _uid(uid))


def _pieces(body: bytes | bytearray, step_bytes: int) -> Iterator[list[_Row]]:
    """The rows of an array, some at a time; ValueError when it is none of plain rows."""
    start = _start(body)
    if start is None:
        raise Odd
    at = start.end()
    while (piece := _piece(body, at, step_bytes)) is not None:
        rows, at = piece
        yield rows
    yield _decode(b"[" + body[at:])


def _piece(body: bytes | bytearray, at: int, step_bytes: int) -> tuple[list[_Row], int] | None:
    """The rows from `at` on and where the next one begins; None: what is left is the last piece.

    The end is guessed: where one object follows another. Were they items of a sequence, or words
    in a text, then what comes before, closed as an array, would be no JSON.
    """
    for cut in islice(_between_objects(body, at + step_bytes), _MOST_CUTS):
        try:
            return _decode(b"[" + body[at : cut.start(1)] + b"]"), cut.end(1)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            continue
    return None


def _uid(text: str | None) -> str:
    if text is None or len(text) > _MAX_UID_CHARACTERS or not _is_uid(text):
        raise Odd
    return text


def _is_untitled(row: _Row) -> bool:
    return row.concept is row.title is row.label is row.description  # all nothing


def _titled(one: Instance, row: _Row) -> Instance:
    """One of the few instances that have a title, which is read the tolerant way."""
    told = {
        dj.CONCEPT_NAME_CODE_SEQUENCE: row.concept,
        dj.DOCUMENT_TITLE: row.title,
        dj.CONTENT_LABEL: row.label,
        dj.CONTENT_DESCRIPTION: row.description,
    }
    found = {tag: _value(raw) for tag, raw in told.items() if raw is not _NOTHING}
    sop_class = {dj.SOP_CLASS_UID: {"Value": [one.sop_class_uid]}}
    return structs.replace(
        one, title=title(found | sop_class), document_title=dj.text(found, dj.DOCUMENT_TITLE)
    )


def _word(words: _Words) -> str | None:
    word = words.value.first
    if word and word.strip(_AROUND) != word:
        raise Odd
    return word or None


def _words(several: _List) -> tuple[str, ...]:
    if any(not word or word.strip(_AROUND) != word for word in several.values):
        raise Odd
    return several.values

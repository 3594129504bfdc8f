"""The keys by which archives can find what one criterion of a search asks for.

A superset of the matches, always: keys that cannot be said exactly are widened or left out. A
value is never forwarded raw: DICOM's wildcards have no escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import fhir_dates, qido
from gateway.rules.fhir_dates import DateValue, Moment
from gateway.rules.fhir_elements import DCM, DICOM_UID, OID_PREFIX
from gateway.rules.fhir_patient import ADMINISTRATIVE_GENDER, GENDERS
from gateway.rules.fhir_search import Criterion, Kind
from gateway.rules.fhir_values import ReferenceValue, Token
from gateway.rules.patient_ids import NOBODY, PatientIds
from gateway.rules.qido import Key, Query

_MAX_VALUE_CHARACTERS = 256
_MAX_STUDY_ID_CHARACTERS = 16
_MAX_WORDS = 4
_MAX_WORD_CHARACTERS = 32
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}", re.ASCII)
_IDEOGRAPHS = re.compile("[\u4e00-\u9fff]{1,16}")
_UNSEARCHABLE = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the configuration says of the archives, and of what resources tell."""

    series_accessions: bool = False
    accession_as_identifier: bool = False
    endpoints: frozenset[str] | None = None
    """Ids of the Endpoints that a study can carry; None: not known here."""
    patients: PatientIds = NOBODY
    """Which patients are resources that studies refer to."""


BY_DEFAULT = Options()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Ways to find what one criterion asks for: a match has any of them. None: it cannot match.

    `weak`: better left out where something else tells the study or the patient, because it finds
    a little less than the criterion means.
    """

    studies: tuple[Key, ...] = ()
    below: tuple[Query, ...] = ()
    weak: bool = False

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, of whatever level."""
        return (*self.studies, *(key for query in self.below for key in query.keys))


def choice(wanted: Criterion, now: Moment, options: Options) -> Choice | None:
    """How what a criterion asks for can be found; None: archives cannot help."""
    name = wanted.parameter.name
    tokens = [v for v in wanted.values if isinstance(v, Token)]
    if wanted.modifier == "identifier":
        return _by_identifier(name, tokens, options)
    if name in _UID_TAGS:
        return _of_keys(*_UID_TAGS[name], _uid_key(_UID_TAGS[name][1], tokens))
    if name in _NAME_TAGS:
        keys = None if wanted.modifier == "contains" else _name_keys(_NAME_TAGS[name], wanted)
        return _of_keys(Level.STUDY, _NAME_TAGS[name], keys)
    if name in _DATE_TAGS:
        keys = _date_keys(_DATE_TAGS[name], wanted.values, now)
        return _of_keys(Level.STUDY, _DATE_TAGS[name], keys)
    if name == "endpoint":
        return _by_endpoint(wanted.values, options)
    if name in _OF_PATIENT:
        return Choice(studies=tuple(_keys_of_patients(wanted.values, options)))
    if wanted.parameter.kind is Kind.REFERENCE:
        return Choice()  # only their identifiers are known, so no such reference is held
    if name in _TOKEN_KEYS:
        keys = _TOKEN_KEYS[name](tokens, options)
        return None if keys is None else Choice(studies=tuple(keys))
    return Choice() if name in _NEVER else None


def _of_keys(level: Level, tag: str, keys: list[Key] | None) -> Choice | None:
    """Any of the keys, which are of that level; None stays None."""
    if keys is None:
        return None
    if level is Level.STUDY:
        return Choice(studies=tuple(keys))
    return Choice(below=tuple(Query(level=level, keys=(key,)) for key in keys))


_OF_PATIENT = frozenset({"patient", "subject"})

_NEVER = frozenset({"_profile", "_security", "_tag"})
"""What no resource here has."""

_IDENTIFIER_TAGS = {
    "based-on": dj.ACCESSION_NUMBER,
    "patient": dj.PATIENT_ID,
    "subject": dj.PATIENT_ID,
}
"""Where archives hold the identifiers of references, in keys that all of them must match.

The issuer is no key: rows need not tell it, and each archive has its own name for a system.
"""

_UID_TAGS = {
    "_id": (Level.STUDY, dj.STUDY_INSTANCE_UID),
    "series": (Level.SERIES, dj.SERIES_INSTANCE_UID),
    "instance": (Level.INSTANCE, dj.SOP_INSTANCE_UID),
    "dicom-class": (Level.INSTANCE, dj.SOP_CLASS_UID),
}

_NAME_TAGS = {
    **{f"patient.{part}": dj.PATIENT_NAME for part in ("name", "family", "given")},
    **{f"subject.{part}": dj.PATIENT_NAME for part in ("name", "family", "given")},
    "referrer.name": dj.REFERRING_PHYSICIAN_NAME,
}

_DATE_TAGS = {
    "started": dj.STUDY_DATE,
    "patient.birthdate": dj.PATIENT_BIRTH_DATE,
    "subject.birthdate": dj.PATIENT_BIRTH_DATE,
}

_ACCESSION_OF_SERIES = f"{dj.REQUEST_ATTRIBUTES_SEQUENCE}.{dj.ACCESSION_NUMBER}"


def _by_identifier(name: str, tokens: Sequence[Token], options: Options) -> Choice | None:
    """By the identifier of a reference.

    An Accession Number may stand in the requests of series alone. Few archives can match it there,
    and others would list all the series they have: unless they are said to, it is not looked for.
    """
    tag = _IDENTIFIER_TAGS.get(name)
    if tag is None or any(t.code is None for t in tokens):
        return None
    keys = _literals(tag, tokens)
    if tag != dj.ACCESSION_NUMBER:
        return Choice(studies=tuple(keys))
    if not options.series_accessions:
        return Choice(studies=tuple(keys), weak=True)
    nested = (qido.key(_ACCESSION_OF_SERIES, key.value) for key in keys)
    below = (Query(level=Level.SERIES, keys=(key,)) for key in nested)
    return Choice(studies=tuple(keys), below=tuple(below))


def _keys_of_patients(values: Sequence[object], options: Options) -> list[Key]:
    """The Patient IDs that the patients can have; the reference in the resource decides."""
    ids = (v.id for v in values if isinstance(v, ReferenceValue) and v.id is not None)
    return patient_keys(one for found in ids for one in options.patients.identifier_of(found))


def patient_keys(values: Iterable[str]) -> list[Key]:
    """A key for each Patient ID."""
    return _literals(dj.PATIENT_ID, [Token(code=value) for value in values])


def _by_endpoint(values: Sequence[object], options: Options) -> Choice | None:
    """Nothing is found by Endpoints that no study carries; by others, archives cannot help."""
    ids = {v.id for v in values if isinstance(v, ReferenceValue)}
    return None if options.endpoints is None or ids & options.endpoints else Choice()


def _uid_key(tag: str, tokens: Sequence[Token]) -> list[Key] | None:
    """One key with all UIDs: of UIDs, archives understand lists."""
    if any(t.code is None for t in tokens):
        return None
    uids = [(t.code or "").removeprefix(OID_PREFIX) for t in tokens]
    legal = dict.fromkeys(u for u in uids if dj.is_uid(u))
    return [qido.key(tag, ",".join(legal))] if legal else []


def _identifier_keys(tokens: Sequence[Token], options: Options) -> list[Key] | None:
    """Study Instance UIDs, and what else is an identifier where the value can be one."""
    if any(t.code is None for t in tokens):
        return None
    of_uids = [t for t in tokens if t.system in {None, DICOM_UID}]
    of_ids = [
        t
        for t in tokens
        if t.system in {None, ""} and len(t.code or "") <= _MAX_STUDY_ID_CHARACTERS
    ]
    accessions = tokens if options.accession_as_identifier else ()
    return [
        *(_uid_key(dj.STUDY_INSTANCE_UID, of_uids) or ()),
        *_literals(dj.STUDY_ID, of_ids),
        *_literals(dj.ACCESSION_NUMBER, accessions),
    ]


def _modality_keys(tokens: Sequence[Token], options: Options) -> list[Key] | None:
    """One key with all modalities: the catalog splits lists of code strings for the archives."""
    ours = [t for t in tokens if t.system in {None, DCM}]
    if any(t.code is None for t in ours):
        return None
    codes = [(t.code or "").upper() for t in ours]
    legal = dict.fromkeys(c for c in codes if _CODE_STRING.fullmatch(c))
    return [qido.key(dj.MODALITIES_IN_STUDY, ",".join(legal))] if legal else []


def _gender_keys(tokens: Sequence[Token], options: Options) -> list[Key] | None:
    ours = [t for t in tokens if t.system in {None, ADMINISTRATIVE_GENDER}]
    if any(t.code is None for t in ours):
        return None
    codes = {t.code for t in ours}
    legal = [sex for sex, gender in GENDERS.items() if gender in codes]
    return [qido.key(dj.PATIENT_SEX, ",".join(legal))] if legal else []


def _status_keys(tokens: Sequence[Token], options: Options) -> list[Key] | None:
    return None if any(t.code in _STATUSES for t in tokens) else []


_STATUSES = frozenset({"registered", "available", "unknown", "inactive", None})
"""What status can be here; None: any of its system."""

_TOKEN_KEYS = {
    "identifier": _identifier_keys,
    "modality": _modality_keys,
    "patient.gender": _gender_keys,
    "subject.gender": _gender_keys,
    "status": _status_keys,
}


def _name_keys(tag: str, wanted: Criterion) -> list[Key] | None:
    """A key for each name: its words, or the ideographs that it begins with."""
    keys: list[Key] = []
    for value in wanted.values:
        ideographs = _IDEOGRAPHS.match(str(value).strip())
        words = [word[:_MAX_WORD_CHARACTERS] for word in qido.words(str(value))][:_MAX_WORDS]
        if words and all(word.isascii() and word.isprintable() for word in words):
            keys.append(qido.key(tag, " ".join(words)))
        elif ideographs:
            keys.append(qido.key(tag, f"*{ideographs[0]}*"))
        else:
            return None
    return keys


def _literals(tag: str, tokens: Sequence[Token]) -> list[Key]:
    """A key for each value that an attribute can hold, found among what its wildcards match."""
    found = (_literal(t.code or "") for t in tokens)
    return [qido.key(tag, value) for value in dict.fromkeys(found) if value]


def _literal(value: str) -> str | None:
    """A value for an archive: `?` for the wildcards in it; None when no attribute can hold it."""
    if _UNSEARCHABLE.search(value) or len(value) > _MAX_VALUE_CHARACTERS:
        return None
    return value.strip().replace("*", "?")


def _date_keys(tag: str, values: Sequence[object], now: Moment) -> list[Key] | None:
    """A range of days for each value."""
    ranges = [fhir_dates.days(v, now) for v in values if isinstance(v, DateValue)]
    if None in ranges:
        return None
    written = (fhir_dates.study_date_range(bounds) for bounds in ranges if bounds is not None)
    return [qido.key(tag, value) for value in dict.fromkeys(written) if value]

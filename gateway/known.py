"""What the records of studies said of late, to be held against the rows of searches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.adapters.cache_names import Key
from gateway.adapters.drops import Since
from gateway.model import Level, Origin, Study
from gateway.rules import dicom_json as dj
from gateway.rules import records, values
from gateway.rules.dicom_json import Dataset

MOST_KNOWN = 10_000
MOST_SERIES = 200
MOST_SERIES_KNOWN = 60_000
"""Of all studies together."""
_Counts = tuple[int | None, int | None]
as_known: Callable[[bytes], tuple[str | None, Study | str | None]] = msgspec.msgpack.Decoder(
    tuple[str | None, Study | str | None]
).decode
"""The mark and record of a study in one archive; else no mark, and since when that has lost it.

None: it never had it.
"""


class Remembered(Protocol):
    """What is remembered, by whichever process."""

    async def at_hand(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """What is kept of many keys; nothing is loaded."""

    def since(self, key: Key) -> Since:
        """Now, to know later whether anything of `key` was dropped."""

    def is_quiet(self, since: Since) -> bool:
        """Whether nothing was dropped since, nor loaded anew by others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """What a record counts, and its mark; `counts` None: the archive does not have the study.

    `series`: how many instances each series has; None: too many to be noted. `since`: up to when
    this is what is remembered.
    """

    counts: _Counts | None
    series: Mapping[str, int | None] | None = None
    mark: str | None
    since: Since | None
    is_nothing: bool = False


class Known:
    """The counts and marks of the records that were read last, by archive and study."""

    def __init__(self, is_quiet: Callable[[Since], bool] = lambda _: True) -> None:
        """`is_quiet`: whether what was read then is what is remembered now."""
        self._is_quiet = is_quiet
        self._noted: OrderedDict[tuple[str, str], _Noted] = OrderedDict()
        self._series = 0

    def note(
        self,
        archive: str,
        study_uid: str,
        study: Study | None,
        mark: str | None,
        since: Since | None = None,
    ) -> None:
        """What the record of a study says; None: that the archive does not have it."""
        counts = None if study is None else (study.number_of_series, study.number_of_instances)
        series = {s.uid: s.number_of_instances for s in (study and study.series) or ()}
        told = series if study and study.series and len(series) <= MOST_SERIES else None
        noted = _Noted(counts=counts, series=told, mark=mark, since=since)
        self._keep((archive, study_uid), noted)

    def note_nothing(self, archive: str, study_uid: str, since: Since) -> None:
        """Nobody remembers anything of the study."""
        noted = _Noted(counts=(None, None), mark=None, since=since, is_nothing=True)
        self._keep((archive, study_uid), noted)

    async def learn(
        self,
        about: Iterable[tuple[str, str]],
        key: Callable[[str, str], Key],
        remembered: Remembered,
    ) -> None:
        """What is remembered of studies in archives, where that is not known here."""
        unknown = [(a, uid) for a, uid in about if self.since(a, uid) is None]
        keys = {which: key(*which) for which in unknown}
        moments = {which: remembered.since(one) for which, one in keys.items()}
        values_of = await remembered.at_hand(list(keys.values())) if keys else {}
        for (archive, uid), one in keys.items():
            since = moments[archive, uid]
            try:
                mark, found = as_known(values_of[one])
            except (KeyError, msgspec.DecodeError):
                self.note_nothing(archive, uid, since)
                continue
            study = found if isinstance(found, Study) else None
            self.note(archive, uid, study, mark, since)

    def since(self, archive: str, study_uid: str) -> Since | None:
        """Up to when what is known here is what is remembered; None: up to now it is not."""
        noted = self._noted.get((archive, study_uid))
        is_good = noted is not None and noted.since is not None and self._is_quiet(noted.since)
        return noted.since if noted is not None and is_good else None

    def mark(self, archive: str, study_uid: str) -> str | None:
        """The mark of the record that is remembered now; None: it has to be read to be known."""
        noted = self._noted.get((archive, study_uid))
        return None if noted is None or self.since(archive, study_uid) is None else noted.mark

    def is_counted(self, archive: str, study_uid: str) -> bool:
        """Whether the record tells by its counts that there is more, or less."""
        noted = self._noted.get((archive, study_uid))
        return noted is not None and noted.counts is not None and None not in noted.counts

    def is_contradicted(self, archive: str, study_uid: str, row: Dataset, level: Level) -> bool:
        """Whether `row` says otherwise; then nothing is known any more."""
        noted = self._noted.get((archive, study_uid))
        if noted is None or noted.is_nothing:
            return False
        is_other = (
            noted.counts is None
            or _differ(counts_said(row), noted.counts)
            or (level is not Level.STUDY and _is_other_series(noted, row))
        )
        if is_other:
            self._remove((archive, study_uid))
        return is_other

    def _keep(self, which: tuple[str, str], noted: _Noted) -> None:
        self._remove(which)
        self._noted[which] = noted
        self._series += len(noted.series or ())
        while len(self._noted) > MOST_KNOWN or self._series > MOST_SERIES_KNOWN:
            self._remove(next(iter(self._noted)))

    def _remove(self, which: tuple[str, str]) -> None:
        if (noted := self._noted.pop(which, None)) is not None:
            self._series -= len(noted.series or ())


def _is_other_series(noted: _Noted, row: Dataset) -> bool:
    """Whether a row is about a series that is not known, or counts otherwise what is in it."""
    uid = dj.text(row, dj.SERIES_INSTANCE_UID)
    if uid is None or noted.series is None:
        return False
    if uid not in noted.series:
        return True
    said = values.unsigned_int(row, dj.NUMBER_OF_SERIES_RELATED_INSTANCES)
    return _differ((said,), (noted.series[uid],))


def _differ(said: Sequence[int | None], known: Sequence[int | None]) -> bool:
    """Whether some number is told by both, and another one."""
    return any(None not in (a, b) and a != b for a, b in zip(said, known, strict=True))


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

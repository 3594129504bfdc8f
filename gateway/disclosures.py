"""What one request discloses or is denied, noted where it is decided, for the audit trail.

The catalog notes the studies that it hands out; a facade that hands out fewer says which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass, field

from gateway.model import Identifier, Study


@dataclass(slots=True)
class Disclosures:
    """Studies by UID with the identifier of their patient, None where it has none.

    `several`: all patients of those studies that are of more than one.
    """

    shown: dict[str, Identifier | None] = field(default_factory=dict)
    denied: dict[str, Identifier | None] = field(default_factory=dict)
    several: dict[str, tuple[Identifier, ...]] = field(default_factory=dict)

    def keep(self, study_uids: Collection[str]) -> None:
        """Of what was looked at, only these studies are told to the caller."""
        self.shown = {uid: who for uid, who in self.shown.items() if uid in study_uids}

    def keep_patients(self, are_told: Callable[[Identifier | None], bool]) -> None:
        """Of what was looked at, only these patients' studies are told to the caller."""
        self.shown = {uid: who for uid, who in self.shown.items() if are_told(who)}


CURRENT: ContextVar[Disclosures | None] = ContextVar("disclosures", default=None)
"""Those of the request that is answered; None outside of requests."""


def are_noted() -> bool:
    """Whether anybody wants to know."""
    return CURRENT.get() is not None


def copied() -> Disclosures | None:
    """What is noted so far, for an answer that may be given again."""
    noted = CURRENT.get()
    if noted is None:
        return None
    return Disclosures(dict(noted.shown), dict(noted.denied), dict(noted.several))


def repeat(before: Disclosures | None) -> None:
    """Notes again what was noted when an answer that is given again was made."""
    if (noted := CURRENT.get()) is not None and before is not None:
        noted.shown |= before.shown
        noted.denied |= before.denied
        noted.several |= before.several


def shown(study: Study) -> None:
    """Notes that `study` is told to the caller."""
    if (noted := CURRENT.get()) is not None:
        noted.shown[study.uid] = study.patient.id
        _note_several(noted, study)


def denied(study: Study) -> None:
    """Notes that `study` was asked for and does not exist for the caller."""
    if (noted := CURRENT.get()) is not None:
        noted.denied[study.uid] = study.patient.id
        _note_several(noted, study)


def _note_several(noted: Disclosures, study: Study) -> None:
    if study.patient_ids:
        noted.several[study.uid] = study.patient_ids


def told(study_uids: Collection[str]) -> None:
    """Notes that of the studies looked at only these are told to the caller."""
    if (noted := CURRENT.get()) is not None:
        noted.keep(study_uids)


def told_of(are_told: Callable[[Identifier | None], bool]) -> None:
    """Notes that of the patients looked at only these are told to the caller."""
    if (noted := CURRENT.get()) is not None:
        noted.keep_patients(are_told)

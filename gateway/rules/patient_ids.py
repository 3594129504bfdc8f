"""Ids of Patient resources and the Patient IDs (0010,0020) behind them, both ways, without state.

What a patient is called is a choice of the configuration (`fhir.patients`); each way of choosing
is a class here. Identifiers are looked at as resources write them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.config import Settings
from gateway.config_types import FHIR_ID
from gateway.model import Consumer, Identifier, Patient
from gateway.rules.fhir_elements import Resource, identifier

MAX_CHARACTERS = 64
_STEPS = frozenset({".", ".."})
"""Legal ids that mean something else in a path."""
_PLAIN = "plain"
_DIGEST_BYTES = 10
_CODED = re.compile(
    rf"(?P<space>[a-z2-7]{{16}}|{_PLAIN})\.(?P<form>id|b32)\.(?P<body>.+)", re.ASCII
)

Space = tuple[str | None, str | None]
"""Where a Patient ID is unique: its system, or where there is none the name of its assigner."""


class PatientIds(Protocol):
    """Which patients are Patient resources, and by which ids. No two patients share one."""

    def id_of(self, patient: Patient) -> str | None:
        """The id of a patient's resource; None: there is no such resource."""

    def identifier_of(self, resource_id: str) -> tuple[str, ...]:
        """The Patient IDs that the patient of this id can have in archives; () where none can.

        More than that patient may have them: `id_of` decides.
        """


def of(settings: Settings) -> PatientIds:
    """The ids that the configuration chooses."""
    chosen = settings.fhir.patients
    if chosen.by == "none":
        return NOBODY
    if chosen.by == "server":
        return OfServer()
    if chosen.by == "listed":
        return Listed.of({key: (one.system, one.value) for key, one in chosen.listed.items()})
    systems = {archive.patient_system for archive in settings.archives.values()} - {None}
    if len(systems) > 1:
        return ByIdentity(plain=None)
    return ByIdentity(plain=_space_of(Identifier(value="x", system=next(iter(systems), None))))


def of_caller(ids: PatientIds, consumer: Consumer) -> PatientIds:
    """The ids as a caller knows them: where a server gives them, that of the patient in context."""
    if not isinstance(ids, OfServer) or consumer.patient is None:
        return ids
    return OfServer(known={consumer.patient: consumer.patients or ()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Nobody:
    """No Patient resources: patients are told by their identifiers and names."""

    def id_of(self, patient: Patient) -> str | None:
        """None."""
        return None

    def identifier_of(self, resource_id: str) -> tuple[str, ...]:
        """None."""
        return ()


NOBODY = Nobody()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The patients of a list and no others; both maps are the list."""

    by_id: Mapping[str, tuple[str | None, str]]
    by_identifier: Mapping[tuple[str | None, str], str]

    @classmethod
    def of(cls, listed: Mapping[str, tuple[str | None, str]]) -> Listed:
        """The list by id, with system (None: the identifier has none) and value."""
        return cls(by_id=listed, by_identifier={named: key for key, named in listed.items()})

    def id_of(self, patient: Patient) -> str | None:
        """The id that is listed for the patient's identifier."""
        found = _told(patient)
        if found is None or "assigner" in found:
            return None
        return self.by_identifier.get((found.get("system"), found["value"]))

    def identifier_of(self, resource_id: str) -> tuple[str, ...]:
        """The Patient ID that is listed by this id."""
        return (self.by_id[resource_id][1],) if resource_id in self.by_id else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfServer:
    """The patients of a FHIR server, as far as it was asked about them: all that `known` holds."""

    known: Mapping[str, tuple[Identifier, ...]] = field(default_factory=dict)

    def id_of(self, patient: Patient) -> str | None:
        """The id of the first that has the patient's identifier, in the same system."""
        found = _told(patient)
        if found is None or "system" not in found:
            return None
        named = found["system"], found["value"]
        fitting = (
            k for k, ids in self.known.items() if named in {(i.system, i.value) for i in ids}
        )
        return next(fitting, None)

    def identifier_of(self, resource_id: str) -> tuple[str, ...]:
        """The Patient IDs that the server told."""
        return tuple(dict.fromkeys(one.value for one in self.known.get(resource_id, ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class ByIdentity:
    """Ids made of the Patient IDs themselves.

    In the `plain` space (None: in no space) a Patient ID that is a legal id is the id. Others are
    coded, with a digest of their space in front and in base32 where they must be:

        plain.b32.{base32}     {digest}.id.{Patient ID}     {digest}.b32.{base32}

    A plain Patient ID that looks like that is coded as well. So `_read` gives back from any id
    the space and the Patient ID that `_written` made it of, and ids cannot be shared; of spaces
    as far as 80 bits of BLAKE2b differ. What has no id of 64 characters is no Patient.
    """

    plain: Space | None

    def id_of(self, patient: Patient) -> str | None:
        """The id that the patient's identifier makes."""
        found = _told(patient)
        return None if found is None else _written(self._space(_space(found)), found["value"])

    def identifier_of(self, resource_id: str) -> tuple[str, ...]:
        """The Patient ID that is in the id."""
        found = _read(resource_id)
        return () if found is None else (found[1],)

    def _space(self, space: Space) -> str:
        """A space as ids name it."""
        if space == self.plain:
            return _PLAIN
        text = "\0".join(part or "" for part in space)
        return _base32(hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest())


def _told(patient: Patient) -> Resource | None:
    """The identifier of a patient; None where it cannot be written as archives have it."""
    found = identifier(patient.id)
    is_whole = found is not None and patient.id is not None and found["value"] == patient.id.value
    return found if is_whole else None


def _space_of(found: Identifier) -> Space:
    written = identifier(found)
    return (None, None) if written is None else _space(written)


def _space(written: Resource) -> Space:
    """The space of an Identifier as it is written."""
    return written.get("system"), written.get("assigner", {}).get("display")


def _written(space: str, value: str) -> str | None:
    """The id of a Patient ID in a space; None when there is none."""
    is_legal = FHIR_ID.fullmatch(value) is not None
    if space != _PLAIN and is_legal:
        coded = f"{space}.id.{value}"
    elif is_legal and value not in _STEPS and _CODED.fullmatch(value) is None:
        return value
    elif can_be_asked_for(value):
        coded = f"{space}.b32.{_base32(value.encode())}"
    else:
        return None
    return coded if len(coded) <= MAX_CHARACTERS else None


def _read(resource_id: str) -> tuple[str, str] | None:
    """The space and the Patient ID that make this id; None when none do."""
    coded = _CODED.fullmatch(resource_id)
    if coded is None:
        space, value = _PLAIN, resource_id
    else:
        space, body = coded["space"], coded["body"]
        value = body if coded["form"] == "id" else _of_base32(body)
    return (space, value) if _written(space, value) == resource_id else None


def can_be_asked_for(value: str) -> bool:
    """Whether archives can be asked for a Patient ID: DICOM has no escape for a backslash."""
    return value.isprintable() and value == value.strip() and "\\" not in value and value != ""


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _of_base32(text: str) -> str:
    """What a text encodes; "" when it encodes none."""
    padded = text.upper() + "=" * (-len(text) % 8)
    try:
        return base64.b32decode(padded).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""

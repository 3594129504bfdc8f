"""The patient in context: whom a search may name when its caller is bound to one patient.

SMART Imaging Access demands 403 where another patient is asked for by name. Where nobody is named,
others are simply absent; that is `policy`'s doing.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.config import Settings
from gateway.errors import Forbidden
from gateway.model import Consumer, Identifier, Patient
from gateway.rules.fhir_search import Criterion
from gateway.rules.fhir_values import ReferenceValue, Token
from gateway.rules.patient_ids import PatientIds

_ABOUT_PATIENTS = frozenset({"patient", "subject"})


def identifiers(ids: PatientIds, settings: Settings, patient: str) -> tuple[Identifier, ...]:
    """The identifiers that the patient of a FHIR id has in the systems that are configured.

    Without a system an identifier is nobody's: two hospitals may give the same one.
    """
    systems = dict.fromkeys(
        system
        for archive in settings.archives.values()
        for system in (archive.patient_system, *archive.issuer_systems.values())
        if system is not None
    )
    candidates = (
        Identifier(value=value, system=system)
        for value in ids.identifier_of(patient)
        for system in systems
    )
    return tuple(one for one in candidates if ids.id_of(Patient(id=one)) == patient)


def check_search(consumer: Consumer, criteria: Iterable[Criterion]) -> None:
    """Forbidden when a search names a patient other than the one its caller is bound to."""
    if consumer.patients is None:
        return
    for wanted in criteria:
        if wanted.parameter.name in _ABOUT_PATIENTS:
            for value in wanted.values:
                if not _is_theirs(consumer, value):
                    raise Forbidden("this is another patient than the one in context")


def check(consumer: Consumer, patient: str) -> None:
    """Forbidden when `patient`, an id, is another than the one the caller is bound to."""
    if consumer.patients is not None and patient != consumer.patient:
        raise Forbidden("this is another patient than the one in context")


def check_patient_id(consumer: Consumer, value: str) -> None:
    """Forbidden when a Patient ID (0010,0020) cannot be that of the patient in context.

    Wildcards name nobody.
    """
    if consumer.patients is None or not value or set(value) & set("*?"):
        return
    if value not in {one.value for one in consumer.patients}:
        raise Forbidden("this is another patient than the one in context")


def _is_theirs(consumer: Consumer, value: object) -> bool:
    """Whether a value names the patient in context, or no patient at all."""
    if isinstance(value, ReferenceValue):
        return value.type not in {None, "Patient"} or value.id == consumer.patient
    if isinstance(value, Token):
        return any(
            value.fits(Token(system=one.system, code=one.value)) for one in consumer.patients or ()
        )
    return True

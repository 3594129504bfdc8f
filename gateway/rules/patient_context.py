"""The patient in context: whom a search may name when its caller is bound to one patient.

SMART Imaging Access demands 403 where another patient is asked for by name. Where nobody is named,
others are simply absent; that is `policy`'s doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.config import Issuer, Settings
from gateway.errors import Forbidden
from gateway.model import Consumer, Identifier, Patient
from gateway.rules import dicom_json as dj
from gateway.rules.fhir_search import Criterion
from gateway.rules.fhir_values import ReferenceValue, Token
from gateway.rules.patient_ids import PatientIds
from gateway.rules.tokens import Claims

_ABOUT_PATIENTS = frozenset({"patient", "subject"})


def systems(settings: Settings) -> tuple[str, ...]:
    """The identifier systems in which archives know patients."""
    found = (
        system
        for archive in settings.archives.values()
        for system in (archive.patient_system, *archive.issuer_systems.values())
        if system is not None
    )
    return tuple(dict.fromkeys(found))


def identifiers(ids: PatientIds, settings: Settings, patient: str) -> tuple[Identifier, ...]:
    """The identifiers that the patient of a FHIR id has in the systems that are configured.

    Without a system an identifier is nobody's: two hospitals may give the same one.
    """
    candidates = (
        Identifier(value=value, system=system)
        for value in ids.identifier_of(patient)
        for system in systems(settings)
    )
    return tuple(one for one in candidates if ids.id_of(Patient(id=one)) == patient)


def only_server(settings: Settings) -> str | None:
    """The one FHIR server that tells who patients are; None: there is none, or several."""
    found = [name for name, one in settings.fhir.servers.items() if "patients" in one.use]
    return found[0] if len(found) == 1 else None


def server_of(said: Claims, issuer: Issuer, settings: Settings) -> str | None:
    """The server that knows the patient of a token; None: it is not known which, or another one."""
    name = issuer.fhir_server or only_server(settings)
    if name is None or (issuer.fhir_server is None and len(settings.auth.issuers) > 1):
        return None
    url = settings.fhir.servers[name].url
    return name if said.fhir_server is None or said.fhir_server.rstrip("/") == url else None


def named(criteria: Iterable[Criterion]) -> tuple[str, ...]:
    """The ids of the patients whom a search for studies names."""
    found = (
        value.id
        for wanted in criteria
        if wanted.parameter.name in _ABOUT_PATIENTS
        for value in wanted.values
        if isinstance(value, ReferenceValue) and value.type in {None, "Patient"}
    )
    return tuple(dict.fromkeys(one for one in found if one is not None))


def named_by_id(criteria: Iterable[Criterion]) -> tuple[str, ...]:
    """The ids of the patients whom a search for patients names."""
    found = (
        value.code
        for wanted in criteria
        if wanted.parameter.name == "_id"
        for value in wanted.values
        if isinstance(value, Token)
    )
    return tuple(dict.fromkeys(one for one in found if one is not None))


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


def check_issuer(consumer: Consumer, keys: Mapping[str, str], settings: Settings) -> None:
    """Forbidden when a Patient ID with its issuer, of matching keys by tag, is another patient's.

    By the systems that `issuer_systems` give that Issuer of Patient ID (0010,0021); one that they
    do not list names nobody.
    """
    value, issuer = keys.get(dj.PATIENT_ID), keys.get(dj.ISSUER_OF_PATIENT_ID)
    if consumer.patients is None or not value or issuer is None or set(value) & set("*?"):
        return
    meant = {one.issuer_systems.get(issuer) for one in settings.archives.values()} - {None}
    if meant and not any(p.value == value and p.system in meant for p in consumer.patients):
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

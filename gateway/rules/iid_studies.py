"""The studies that an Invoke Image Display request means (IHE RAD-106).

A launch shows one patient: whatever could be somebody else's is left out or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from itertools import combinations

from gateway.config import Settings
from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.model import Level, Patient, Study
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.iid import MAX_STUDIES, Launch, PatientId

_ISSUERS = frozenset({dj.ISSUER_OF_PATIENT_ID, dj.ISSUER_OF_PATIENT_ID_QUALIFIERS})
_OID = "urn:oid:"


def queries(launch: Launch) -> tuple[qido.Query, ...]:
    """The searches that find the studies, and maybe more: `fitting` decides."""
    if launch.study_uids:
        return (_query(qido.key(dj.STUDY_INSTANCE_UID, ",".join(launch.study_uids))),)
    if launch.accessions:
        return tuple(_query(qido.key(dj.ACCESSION_NUMBER, each)) for each in launch.accessions)
    keys = [qido.key(dj.PATIENT_ID, launch.patient.value if launch.patient else "")]
    days = _days(launch)
    return (_query(*keys, *([qido.key(dj.STUDY_DATE, days)] if days else [])),)


def _query(*keys: qido.Key) -> qido.Query:
    return qido.Query(level=Level.STUDY, keys=keys, include=_ISSUERS)


def _days(launch: Launch) -> str | None:
    """The days to search as a DICOM range, a day wider on both sides: zones may differ."""
    start = _day(launch.earliest, date.min, -1)
    end = _day(launch.latest, date.max, 1)
    return f"{start}-{end}" if start or end else None


def _day(bound: datetime | None, limit: date, days: int) -> str:
    """The day some days from a bound as DICOM writes it; "" without one, or beyond the calendar."""
    if bound is None or bound.date() == limit:
        return ""
    return (bound.date() + timedelta(days=days)).isoformat().replace("-", "")


def fitting(
    launch: Launch, studies: Iterable[Study], settings: Settings, silent: Sequence[str] = ()
) -> tuple[Study, ...]:
    """The studies to show, in the order asked for; a patient's with the newest first.

    At most 100: a URL must hold them. NotFound when one that was named is not there or none fits,
    Unavailable when a silent archive may have it; BadRequest when they are of several patients.
    """
    by_uid = {study.uid: study for study in studies}
    if launch.study_uids:
        found = [by_uid[uid] for uid in launch.study_uids if uid in by_uid]
        is_complete = len(found) == len(launch.study_uids)
    elif launch.accessions:
        by_accession = {a: _with_accession(a, by_uid.values()) for a in launch.accessions}
        found = list({s.uid: s for each in by_accession.values() for s in each}.values())
        is_complete = all(by_accession.values())
    else:
        fits = [s for s in by_uid.values() if _fits(launch, s, settings)]
        found = sorted(fits, key=lambda s: (s.date or "", s.time or "", s.uid), reverse=True)
        is_complete = bool(found)
    if not is_complete:
        if silent:
            raise Unavailable(f"no such study is known, while silent: {', '.join(silent)}")
        raise NotFound("there is no such study")
    patients = {study.patient for study in found}
    if any(_are_different(a, b) for a, b in combinations(patients, 2)):
        raise BadRequest("the studies belong to several patients: a request is about one")
    return tuple(found[: min(launch.most_recent or MAX_STUDIES, MAX_STUDIES)])


def _with_accession(accession: str, studies: Iterable[Study]) -> list[Study]:
    return [s for s in studies if s.accession is not None and s.accession.value == accession]


def _fits(launch: Launch, study: Study, settings: Settings) -> bool:
    """Whether a study is the patient's and within what a PATIENT request asks for."""
    if launch.patient is None or not is_patient(launch.patient, study, settings):
        return False
    born = study.patient.birth_date
    if launch.birth_date is not None and born is not None and born != launch.birth_date:
        return False
    if launch.modalities and launch.modalities.isdisjoint(study.modalities):
        return False
    return _is_between(launch.earliest, launch.latest, study)


def is_patient(asked: PatientId, study: Study, settings: Settings) -> bool:
    """Whether a study's patient is the one asked for: the id, and the authority where both tell it.

    A namespace means the system that `issuer_systems` of one of the study's archives gives it. A
    record that names no authority cannot contradict one, unless the configuration says whose it is.
    """
    known = study.patient.id
    if known is None or known.value != asked.value:
        return False
    if known.system is None and known.assigner is None:
        return not _is_configured(asked, settings)
    if asked.universal_id is not None and known.system is not None:
        return known.system.removeprefix(_OID) == asked.universal_id.removeprefix(_OID)
    if asked.namespace is None:
        return asked.universal_id is None
    if known.assigner == asked.namespace:
        return True
    archives = [settings.archives[a] for a in study.archives if a in settings.archives]
    meant = {a.issuer_systems.get(asked.namespace) for a in archives} - {None}
    return known.system is not None and known.system in meant


def _is_configured(asked: PatientId, settings: Settings) -> bool:
    """Whether the authority is one that an archive of the configuration is said to use."""
    archives = settings.archives.values()
    if asked.namespace is not None and any(asked.namespace in a.issuer_systems for a in archives):
        return True
    systems = {s for a in archives for s in (a.patient_system, *a.issuer_systems.values()) if s}
    return (asked.universal_id or "").removeprefix(_OID) in {s.removeprefix(_OID) for s in systems}


def _are_different(one: Patient, other: Patient) -> bool:
    """Whether two records are known to be of two patients; what is not told does not differ."""
    if _differ(one.birth_date, other.birth_date):
        return True
    a, b = one.id, other.id
    if a is None or b is None:
        return False
    return a.value != b.value or _differ(a.system, b.system) or _differ(a.assigner, b.assigner)


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _is_between(earliest: datetime | None, latest: datetime | None, study: Study) -> bool:
    """Whether a study's time, or any moment of its day if only that is known, is in the range."""
    if earliest is None and latest is None:
        return True
    if study.date is None:
        return False
    day = date.fromisoformat(study.date)
    if study.time is None:
        first, last = datetime.combine(day, time.min), datetime.combine(day, time.max)
    else:
        first = last = datetime.combine(day, time.fromisoformat(study.time))
    after = earliest is None or last >= _local(earliest, study)
    return after and (latest is None or first <= _local(latest, study))


def _local(bound: datetime, study: Study) -> datetime:
    """A bound on the study's own clock; as it stands where either's zone is not known."""
    if bound.tzinfo is None or study.utc_offset is None:
        return bound.replace(tzinfo=None)
    zone = datetime.fromisoformat(f"2000-01-01T00:00:00{study.utc_offset}").tzinfo
    try:
        return bound.astimezone(zone).replace(tzinfo=None)
    except OverflowError:
        return bound.replace(tzinfo=None)

"""Invoke Image Display (IHE RAD-106): requests as they come in, and URLs that go out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time

from gateway.config import IidViewer, Settings, Viewer
from gateway.errors import BadRequest
from gateway.model import ConnectionType, Consumer, Identifier, Study
from gateway.rules import dicom_json as dj
from gateway.rules import policy, urls
from gateway.rules.url_parameters import Pairs, Resource, checked, is_positive, taken, written

_KNOWN = {
    "requestType",
    "patientID",
    "patientName",
    "patientBirthDate",
    "lowerDateTime",
    "upperDateTime",
    "mostRecentResults",
    "modalitiesInStudy",
    "studyUID",
    "accessionNumber",
    *taken(ConnectionType.IID, Resource.DICOM),
}
_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d:\d\d(?:\.\d{1,6})?)([Zz]|[+ -]\d\d:\d\d)?)?", re.ASCII
)
_MODALITY = re.compile(r"[A-Z0-9_ ]{1,16}", re.ASCII)
MAX_STUDIES = 100
_MAX_ACCESSIONS = 20
_MAX_CHARACTERS = 256
_WILDCARDS = frozenset("*?\\")
_OID = "urn:oid:"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientId:
    """A patient's identifier as HL7 v2 CX writes it; the authority is an HD (v2.5.1 §2.A.36)."""

    value: str
    namespace: str | None = None
    universal_id: str | None = None
    universal_id_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A request: studies by UID or by accession number, or a patient's that fit the rest.

    `earliest` and `latest` have a zone only where the request named one; `display` are the
    parameters meant for the viewer.
    """

    study_uids: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    patient: PatientId | None = None
    birth_date: str | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    modalities: frozenset[str] = frozenset()
    most_recent: int | None = None
    display: Pairs = ()


def parse(pairs: Iterable[tuple[str, str]]) -> Launch:
    """The request that a caller wrote; BadRequest naming what is missing, repeated or no good.

    Parameters that RAD-106 does not have are ignored, and so are those of the other request type.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise BadRequest(f"{name} is given twice", parameter=name)
        if name in _KNOWN:
            given[name] = value
    for name, value in given.items():
        if not value.isprintable():
            raise BadRequest(f"{name} holds control characters", parameter=name)
    kind = given.get("requestType")
    if kind not in {"STUDY", "PATIENT"}:
        raise BadRequest("requestType must be STUDY or PATIENT", parameter="requestType")
    names = taken(ConnectionType.IID, Resource.DICOM)
    shown = [(name, value) for name, value in given.items() if name in names]
    display = tuple(checked(ConnectionType.IID, Resource.DICOM, shown))
    return _of_studies(given, display) if kind == "STUDY" else _of_patient(given, display)


def _of_studies(given: Mapping[str, str], display: Pairs) -> Launch:
    if ("studyUID" in given) == ("accessionNumber" in given):
        raise BadRequest(
            "requestType STUDY needs either studyUID or accessionNumber", parameter="studyUID"
        )
    if "studyUID" in given:
        uids = _listed(given, "studyUID", MAX_STUDIES)
        return Launch(study_uids=tuple(dj.uid(u, "studyUID") for u in uids), display=display)
    accessions = _listed(given, "accessionNumber", _MAX_ACCESSIONS)
    for accession in accessions:
        _check_literal(accession, "accessionNumber")
    return Launch(accessions=accessions, display=display)


def _listed(given: Mapping[str, str], name: str, most: int) -> tuple[str, ...]:
    """The items of a comma list, each once; BadRequest if one is empty or there are too many."""
    items = tuple(dict.fromkeys(item.strip() for item in given[name].split(",")))
    if not all(items):
        raise BadRequest(f"{name} is empty or has an empty item", parameter=name)
    if len(items) > most:
        raise BadRequest(f"{name} has more than {most} items", parameter=name)
    return items


def _check_literal(value: str, name: str) -> None:
    """BadRequest for what an archive would take as a wildcard or a list, or nothing at all."""
    if not value or len(value) > _MAX_CHARACTERS or not _WILDCARDS.isdisjoint(value):
        raise BadRequest(f"{name} must be one value without * ? or \\", parameter=name)


def _of_patient(given: Mapping[str, str], display: Pairs) -> Launch:
    if "patientID" not in given:
        raise BadRequest("requestType PATIENT needs patientID", parameter="patientID")
    if len(given.get("patientName", "")) > _MAX_CHARACTERS:
        raise BadRequest("patientName is too long", parameter="patientName")
    if "mostRecentResults" in given and not is_positive(given["mostRecentResults"]):
        raise BadRequest(
            "mostRecentResults must be a whole number from 1 on", parameter="mostRecentResults"
        )
    birth = _instant(given, "patientBirthDate")
    earliest, latest = _instant(given, "lowerDateTime"), _last_instant(given, "upperDateTime")
    if earliest and latest and earliest.replace(tzinfo=None) > latest.replace(tzinfo=None):
        raise BadRequest("lowerDateTime is after upperDateTime", parameter="lowerDateTime")
    return Launch(
        patient=patient_id(given["patientID"]),
        birth_date=None if birth is None else birth.date().isoformat(),
        earliest=earliest,
        latest=latest,
        modalities=_modalities(given),
        most_recent=int(given["mostRecentResults"]) if "mostRecentResults" in given else None,
        display=display,
    )


def _modalities(given: Mapping[str, str]) -> frozenset[str]:
    if "modalitiesInStudy" not in given:
        return frozenset()
    items = _listed(given, "modalitiesInStudy", MAX_STUDIES)
    if not all(_MODALITY.fullmatch(item) for item in items):
        raise BadRequest(
            "modalitiesInStudy must be a list of modalities such as CT,MR",
            parameter="modalitiesInStudy",
        )
    return frozenset(items)


def _instant(given: Mapping[str, str], name: str) -> datetime | None:
    """An xs:date or xs:dateTime, a date as its first instant; BadRequest when it is neither.

    A blank before the offset is a `+` that was not percent-encoded.
    """
    if name not in given:
        return None
    match = _DATE_TIME.fullmatch(given[name])
    try:
        if match is not None:
            day, clock, offset = match.groups()
            zone = (offset or "").replace(" ", "+").upper()
            return datetime.fromisoformat(f"{day}T{clock or '00:00:00'}{zone}")
    except ValueError:
        pass
    raise BadRequest(f"{name} must be a date and time such as 2024-05-31T08:30:00", parameter=name)


def _last_instant(given: Mapping[str, str], name: str) -> datetime | None:
    """Like `_instant`, a date as its last instant."""
    found = _instant(given, name)
    if found is None or "T" in given[name]:
        return found
    return datetime.combine(found.date(), time.max)


def patient_id(text: str) -> PatientId:
    """`id^^^namespace&universal id&type` (HL7 v2.5.1 §2.A.14); BadRequest without a plain id."""
    parts = [part.strip() for part in text.split("^")]
    _check_literal(parts[0], "patientID")
    authority = [part.strip() or None for part in (parts[3] if len(parts) > 3 else "").split("&")]
    namespace, universal_id, kind = (*authority, None, None)[:3]
    return PatientId(
        value=parts[0], namespace=namespace, universal_id=universal_id, universal_id_type=kind
    )


def written_patient_id(identifier: Identifier, *, without_authority: bool = False) -> str:
    """An identifier as CX, for a PATIENT request; BadRequest when its authority is not known.

    `without_authority`: the configuration permits identifiers without one.
    """
    if identifier.system is not None and identifier.system.startswith(_OID):
        return f"{identifier.value}^^^&{identifier.system.removeprefix(_OID)}&ISO"
    if identifier.assigner is not None:
        return f"{identifier.value}^^^{identifier.assigner}"
    if not without_authority:
        raise BadRequest(
            "the patient's identifier has no assigning authority", parameter="patientID"
        )
    return identifier.value


def patient_url(
    address: str, identifier: Identifier, pairs: Pairs = (), *, without_authority: bool = False
) -> str:
    """The IID URL that launches a viewer on a patient (RAD-106, requestType PATIENT).

    `pairs` follow in their own order; BadRequest naming one that RAD-106 has not for a patient.
    """
    asked = [
        ("requestType", "PATIENT"),
        ("patientID", written_patient_id(identifier, without_authority=without_authority)),
        *pairs,
    ]
    for name, _ in pairs:
        if name not in _KNOWN - {"studyUID", "accessionNumber"}:
            raise BadRequest(f"{name} is not a parameter of PATIENT", parameter=name)
    parse(asked)
    start = urls.base(address, ConnectionType.IID).url
    return f"{start}{'&' if '?' in start else '?'}{written(asked)}"


def viewer(settings: Settings) -> tuple[str, Viewer] | None:
    """The viewer to launch, with its name; None when none is configured."""
    name = settings.iid.default_viewer or next(iter(settings.viewers), None)
    if name is None or name not in settings.viewers:
        return None
    return name, settings.viewers[name]


def published_viewer(
    settings: Settings, studies: Sequence[Study], consumer: Consumer
) -> IidViewer | None:
    """The image display of the one archive that holds all the studies, where it publishes one.

    None for a consumer from whom something is hidden: the archive does not know the policy.
    """
    holders = {archive for study in studies for archive in study.archives}
    archive = settings.archives.get(next(iter(holders))) if len(holders) == 1 else None
    address = None if archive is None else archive.publish.get("ihe-iid")
    if address is None or policy.is_restricted(consumer):
        return None
    return IidViewer(type="iid", title=next(iter(holders)), url=address)


def location(launch: Launch, studies: Sequence[Study], viewer: Viewer, dicom_web: str) -> str:
    """Where the viewer is launched: its own address and nothing else; `dicom_web` is its root.

    A viewer that speaks IID is always asked for STUDY: the studies are found already, and the
    patient's identifier does not travel. BadRequest when a viewer cannot open all that was named.
    """
    uids = tuple(study.uid for study in studies)
    if viewer.type == "iid":
        return urls.iid(viewer.url, uids, launch.display)
    if len(uids) > 1 and not urls.names(viewer.url, "study_uids") and launch.patient is None:
        raise BadRequest("the viewer opens one study at a time", parameter="studyUID")
    first = studies[0]
    context = urls.ViewerContext(
        study_uids=uids,
        dicom_web=dicom_web,
        accession=first.accession.value if first.accession else None,
        patient_id=first.patient.id.value if first.patient.id else None,
    )
    return urls.viewer(viewer.url, context)

"""What a FHIR server with ImagingStudy resources is asked, and which archive holds what it lists.

It lists what archives without QIDO-RS hold. An address in its Endpoints selects one of the
configured archives, by any address that the configuration knows of it; it is never fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gateway.config import DicomwebArchive, Settings
from gateway.config_servers import FhirServer
from gateway.errors import BadRequest
from gateway.model import ConnectionType, Endpoint
from gateway.rules import dicom_json as dj
from gateway.rules import foreign, foreign_rows, qido
from gateway.rules.endpoints import Carried
from gateway.rules.foreign_rows import StudyRows
from gateway.rules.foreign_values import Resource, objects
from gateway.rules.qido import Query

Pairs = tuple[tuple[str, str], ...]

_TYPES = (ConnectionType.WADO_RS, ConnectionType.WADO_URI)
_UIDS_IN_A_LIST = 10
_COUNT = 50
_WITH: Pairs = (
    ("_include", "ImagingStudy:subject"),
    ("_include", "ImagingStudy:endpoint"),
    ("_count", str(_COUNT)),
)
_RELATIVE = re.compile(r"(?:.*/)?(Patient/[A-Za-z0-9.-]{1,64})(?:/_history/[^/]*)?", re.ASCII)


def servers(settings: Settings) -> dict[str, FhirServer]:
    """The servers that tell of studies, by name."""
    return {n: s for n, s in settings.fhir.servers.items() if "imaging-studies" in s.use}


def questions(query: Query) -> tuple[tuple[Pairs, ...], ...] | None:
    """The FHIR searches that find at least what `query` matches; None: no FHIR search can.

    Each is a choice of ways to say the same, for servers do not know all of them.
    """
    named = {k.tag: k for k in query.keys}
    if query.study_uid is not None:
        return tuple(_by_uid([query.study_uid]))
    if dj.STUDY_INSTANCE_UID in named:
        return tuple(_by_uid(qido.alternatives(named[dj.STUDY_INSTANCE_UID])))
    for tag, parameters in _IDENTIFIERS.items():
        if tag in named and not {"*", "?"} & set(named[tag].value):
            value = re.sub(r"([\\,|$])", r"\\\1", named[tag].value)
            return (tuple(((name, value), *_WITH) for name in parameters),)
    return None


_IDENTIFIERS = {
    dj.PATIENT_ID: ("patient.identifier", "patient:identifier"),
    dj.ACCESSION_NUMBER: ("identifier", "basedon.identifier", "basedon:identifier"),
}
"""Search parameters for an attribute: of the resource itself, of what it refers to, of a
reference that names it by identifier alone."""

PROBE: Pairs = (("_count", "1"), ("_elements", "identifier"))
"""A search that shows whether the server answers at all."""


def _by_uid(uids: Sequence[str]) -> Iterator[tuple[Pairs, ...]]:
    for at in range(0, len(uids), _UIDS_IN_A_LIST):
        some = uids[at : at + _UIDS_IN_A_LIST]
        forms = (f"urn:dicom:uid|{prefix}{uid}" for uid in some for prefix in ("urn:oid:", ""))
        yield ((("identifier", ",".join(forms)), *_WITH),)


def addresses(settings: Settings) -> dict[str, str]:
    """The archive of every address that the configuration knows of one."""
    found: dict[str, str] = {}
    for name, archive in settings.archives.items():
        known = list(archive.publish.values())
        if isinstance(archive, DicomwebArchive):
            known += [a for a in (archive.wado_rs_base, archive.wado_uri) if a is not None]
        for address in known:
            found.setdefault(_normal(address), name)
    return found


def _normal(address: str) -> str:
    return address.strip().rstrip("/").removesuffix("/studies")


def studies(
    bundle: object, archive: str, settings: Settings, server: FhirServer
) -> Iterator[StudyRows]:
    """What a searchset tells of the studies that `archive` holds.

    BadRequest, PayloadTooLarge: it is no Bundle, or a study in it is too large to be one.
    """
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise BadRequest("the answer is no Bundle")
    entries = list(foreign.resources(bundle))
    selected = addresses(settings)
    for url, resource in entries:
        if resource.get("resourceType") != "ImagingStudy" or foreign_rows.is_withdrawn(resource):
            continue
        for uid in foreign.study_uids(resource)[:1]:
            carried = foreign.read(bundle, study=uid).carried
            subject = _subject(resource, url, entries)
            system = settings.archives[archive].patient_system
            rows = foreign_rows.study(resource, uid, subject, system)
            mine = tuple(
                s
                for s in rows.series
                if archive in _holders(carried, s.uid, selected, server.archive)
            )
            if mine:
                yield replace(rows, series=mine)


def _holders(
    carried: Carried, series_uid: str, selected: Mapping[str, str], default: str | None
) -> set[str]:
    """The archives that hold a series: those its Endpoints select, else the server's own."""
    found: set[str] = set()
    for kind in _TYPES:
        own = _of_type(carried.series.get(series_uid, ()), kind)
        for endpoint in own or _of_type(carried.study, kind):
            holder = selected.get(_normal(endpoint.address or ""))
            found |= {holder} if holder is not None else set()
    return found or ({default} if default is not None else set())


def _of_type(endpoints: Sequence[Endpoint], kind: ConnectionType) -> list[Endpoint]:
    return [e for e in endpoints if kind.value in e.connection_types]


def _subject(
    resource: Resource, url: str | None, entries: Sequence[tuple[str | None, Resource]]
) -> Resource | None:
    """The Patient that an ImagingStudy is of, where the answer holds it."""
    subject = resource.get("subject", resource.get("patient"))
    reference = subject.get("reference") if isinstance(subject, dict) else None
    if not isinstance(reference, str):
        return None
    for inner in objects(resource.get("contained")):
        if reference == f"#{str(inner.get('id')).removeprefix('#')}":
            return inner
    named = _RELATIVE.fullmatch(reference)
    for full_url, other in entries:
        is_named = named is not None and f"Patient/{other.get('id')}" == named[1]
        if other.get("resourceType") == "Patient" and (full_url == reference or is_named):
            return other
    return None


def next_page(bundle: object, base: str) -> tuple[str, str] | None:
    """Path below `base` and query of a Bundle's next page; None: there is none.

    BadRequest: it is not on that server.
    """
    for link in objects(bundle.get("link")) if isinstance(bundle, dict) else ():
        url = link.get("url")
        if link.get("relation") != "next" or not isinstance(url, str):
            continue
        address, _, query = url.partition("?")
        if address != base and not address.startswith(f"{base}/"):
            raise BadRequest("its next page leads elsewhere")
        return address[len(base) :].strip("/"), query
    return None

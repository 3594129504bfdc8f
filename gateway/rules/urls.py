"""URLs of WADO-RS, QIDO-RS, WADO-URI, IID and of viewers, from an address and a target.

FHIR says how an Endpoint's address becomes a URL (ImagingStudy, notes on endpoints); PS3.18 §10.4
and §9 and IHE RAD-106 say what follows it. UIDs are bare and checked before anything is built:
what is not a UID is rejected, never escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

import uritemplate

from gateway.errors import BadRequest
from gateway.model import ConnectionType, Target
from gateway.rules import dicom_json as dj
from gateway.rules.url_parameters import Pairs, Resource, checked, written

WEB_VIEWER = "web-viewer"
"""Code of an Endpoint whose address is the complete URL of a viewer on the study (IHE MADO)."""

_NO_ADDRESS = {"http://notspecified", "http://notapplicable"}
_FORBIDDEN = frozenset('"<>\\^`{|} ')
_OID = "urn:oid:"
_BASES = {ConnectionType.WADO_RS, ConnectionType.QIDO_RS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address that URLs can be appended to, and what had to be done to make it one."""

    url: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerContext:
    """What a viewer's template can be filled with; `dicom_web` is the viewer's DICOMweb root."""

    study_uids: tuple[str, ...]
    dicom_web: str
    accession: str | None = None
    patient_id: str | None = None


def is_address(address: str | None) -> bool:
    """Whether there is an address at all; MADO writes the lack of one as a URL."""
    return bool(address) and str(address).rstrip("/").lower() not in _NO_ADDRESS


def address_fault(address: str) -> str | None:
    """Why an address cannot be used; None: it can. http and https only, nobody's credentials."""
    if not address.isprintable() or not _FORBIDDEN.isdisjoint(address):
        return "its address is not a URL"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "its address is not a URL"
    if parts.scheme.lower() not in {"http", "https"}:
        return "its address is neither http nor https"
    if not host:
        return "its address names no host"
    if "@" in parts.netloc:
        return "its address carries credentials"
    return None


def base(address: str, service: ConnectionType) -> Address:
    """The address as URLs of a service start; BadRequest when it is none.

    Of a DICOMweb base the trailing slashes, `/studies`, query and fragment go; a WADO-URI or IID
    address keeps its path as it is, and its query unless it says what the URL will say.
    """
    fault = address_fault(address)
    if fault is not None:
        raise BadRequest(fault, parameter="address")
    return _service_base(address) if service in _BASES else _query_address(address)


def _service_base(address: str) -> Address:
    warnings = []
    url, mark, _ = _cut(address)
    if mark:
        warnings.append("the query or fragment of the address was dropped")
    url = url.rstrip("/")
    if url.endswith("/studies"):
        url = url.removesuffix("/studies").rstrip("/")
        warnings.append("/studies at the end of the address was dropped")
    return Address(url=url, warnings=tuple(warnings))


def _cut(address: str) -> tuple[str, str, str]:
    """The address up to its query or fragment, the mark that begins that, and the rest of it."""
    at = min((i for i in (address.find("?"), address.find("#")) if i >= 0), default=len(address))
    return address[:at], address[at : at + 1], address[at + 1 :]


_OURS = {"requestType", "studyUID", "seriesUID", "objectUID", "frameNumber"}


def _query_address(address: str) -> Address:
    warnings = []
    whole, hash_mark, _ = address.partition("#")
    if hash_mark:
        warnings.append("the fragment of the address was dropped")
    url, _, query = whole.partition("?")
    fields = [field for field in query.split("&") if field]
    kept = [field for field in fields if unquote(field.partition("=")[0]) not in _OURS]
    if len(kept) < len(fields):
        warnings.append("parameters in the address that the URL sets itself were dropped")
    if kept:
        warnings.append("the address has a query: it was kept, and the parameters follow it")
        url = f"{url}?{'&'.join(kept)}"
    return Address(url=url, warnings=tuple(warnings))


def bare(uid: str, parameter: str) -> str:
    """A UID as URLs carry it, without `urn:oid:`; BadRequest naming `parameter` if it is none."""
    return dj.uid(uid.removeprefix(_OID), parameter)


def wado_rs(
    address: str, target: Target, resource: Resource = Resource.DICOM, pairs: Pairs = ()
) -> str:
    """The WADO-RS URL of a target or of its metadata, rendering or thumbnail (PS3.18 §10.4.1)."""
    if resource is Resource.METADATA and target.frames:
        raise BadRequest("frames have no metadata of their own", parameter="frames")
    path = base(address, ConnectionType.WADO_RS).url + _path(target)
    if resource is not Resource.DICOM:
        path += f"/{resource.value}"
    return _with_query(path, checked(ConnectionType.WADO_RS, resource, pairs))


def _path(target: Target) -> str:
    """`/studies/…` down to the deepest level that the target names, frames in the order given."""
    path = f"/studies/{bare(target.study_uid, 'study')}"
    if target.series_uid is not None:
        path += f"/series/{bare(target.series_uid, 'series')}"
    if target.instance_uid is not None:
        if target.series_uid is None:
            raise BadRequest("an instance is named without its series", parameter="series")
        path += f"/instances/{bare(target.instance_uid, 'instance')}"
    if target.frames:
        if target.instance_uid is None:
            raise BadRequest("frames are named without their instance", parameter="instance")
        path += f"/frames/{','.join(str(_frame(n)) for n in target.frames)}"
    return path


def _frame(number: int) -> int:
    if number < 1:
        raise BadRequest("frames are counted from 1", parameter="frames")
    return number


def _with_query(path: str, pairs: Pairs) -> str:
    if not pairs:
        return path
    return f"{path}{'&' if '?' in path else '?'}{written(pairs)}"


def qido_rs(address: str, target: Target, pairs: Pairs = ()) -> str:
    """The QIDO-RS search that finds exactly the target (PS3.18 §10.6.1); frames: their instance."""
    _path(target)
    study = bare(target.study_uid, "study")
    path, key, uid = "/studies", "StudyInstanceUID", study
    if target.series_uid is not None:
        path, key, uid = f"{path}/{study}/series", "SeriesInstanceUID", target.series_uid
    if target.series_uid is not None and target.instance_uid is not None:
        path = f"{path}/{bare(target.series_uid, 'series')}/instances"
        key, uid = "SOPInstanceUID", target.instance_uid
    url = base(address, ConnectionType.QIDO_RS).url + path
    return _with_query(url, [(key, bare(uid, key)), *pairs])


def wado_uri(
    address: str, target: Target, resource: Resource = Resource.DICOM, pairs: Pairs = ()
) -> str:
    """The WADO-URI URL of one instance, or of one frame of it (PS3.18 §9.4).

    BadRequest where the service has no such thing: anything above an instance, several frames,
    metadata, thumbnails.
    """
    if target.series_uid is None or target.instance_uid is None:
        raise BadRequest("WADO-URI needs an instance", parameter="instance")
    if resource not in {Resource.DICOM, Resource.RENDERED}:
        raise BadRequest(f"WADO-URI has no {resource.value} resource", parameter="resource")
    if len(target.frames) > 1:
        raise BadRequest("WADO-URI gives one frame at a time", parameter="frames")
    if target.frames and resource is Resource.DICOM and pairs:
        raise BadRequest("WADO-URI gives a frame rendered only", parameter="frames")
    if target.frames and any(name == "frameNumber" for name, _ in pairs):
        raise BadRequest("frameNumber is given by the path already", parameter="frameNumber")
    asked = [
        ("requestType", "WADO"),
        ("studyUID", bare(target.study_uid, "study")),
        ("seriesUID", bare(target.series_uid, "series")),
        ("objectUID", bare(target.instance_uid, "instance")),
        *(("frameNumber", str(_frame(n))) for n in target.frames),
    ]
    start = base(address, ConnectionType.WADO_URI).url
    return _with_query(start, [*asked, *checked(ConnectionType.WADO_URI, resource, pairs)])


def iid(address: str, study_uids: Sequence[str], pairs: Pairs = ()) -> str:
    """The IID URL that launches a viewer on studies (RAD-106, requestType STUDY)."""
    uids = ",".join(bare(uid, "study") for uid in study_uids)
    asked = [("requestType", "STUDY"), ("studyUID", uids)]
    start = base(address, ConnectionType.IID).url
    return _with_query(start, [*asked, *checked(ConnectionType.IID, Resource.DICOM, pairs)])


def viewer(template: str, context: ViewerContext) -> str:
    """A viewer's URL: its RFC 6570 template filled in, every value percent-encoded.

    BadRequest if the values lead anywhere but to the template's own scheme and host.
    """
    uids = [bare(uid, "study") for uid in context.study_uids]
    raw = {
        "study_uid": uids[0] if uids else "",
        "study_uids": uids,
        "accession": context.accession,
        "patient_id": context.patient_id,
        "dicom_web": context.dicom_web,
    }
    reserved = _unencoded_names(template)
    values = {
        name: quote(value, safe="") if name in reserved and isinstance(value, str) else value
        for name, value in raw.items()
    }
    url = str(uritemplate.expand(template, {k: v for k, v in values.items() if v is not None}))
    if not _leads_to_the_same_place(template, url):
        raise BadRequest("the viewer cannot be launched with these values")
    return url


def names(template: str, variable: str) -> bool:
    """Whether a viewer's template has a variable."""
    return variable in uritemplate.variables(template)


def _unencoded_names(template: str) -> set[str]:
    """Variables that come from a patient's record and that `{+name}` would let through as is."""
    found: set[str] = set()
    for variable in uritemplate.URITemplate(template).variables:
        if variable.operator.value in {"+", "#"}:
            found.update(name for name, _ in variable.variables)
    return found & {"accession", "patient_id"}


def _leads_to_the_same_place(template: str, url: str) -> bool:
    """Whether scheme and host are the template's, and all that precedes its first variable."""
    start = template.partition("{")[0]
    wanted, got = urlsplit(start), urlsplit(url)
    if not url.startswith(start) or not url.isprintable():
        return False
    if wanted.scheme.lower() in {"http", "https"}:
        return wanted.netloc == got.netloc
    return wanted.scheme == got.scheme

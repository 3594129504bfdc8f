"""What settings are made of: sections, addresses, names and secrets, each checked by its form."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from uritemplate import URITemplate

ARCHIVE_ID = re.compile(r"[a-z0-9-]{1,40}")
FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
GATEWAY_ID = "gateway"
VIEWER_VARIABLES = ("study_uid", "study_uids", "accession", "patient_id", "dicom_web")
"""What a viewer's template may be filled in with."""


def _listed(value: object) -> object:
    """A single word as a list of one."""
    return (value,) if isinstance(value, str) else value


def _codes(value: object) -> object:
    """The same for codes, which YAML takes for numbers where they stand without quotes."""
    listed = value if isinstance(value, list | tuple) else (value,)
    return tuple(str(v) if type(v) is int else v for v in listed)


def _web_url(value: str) -> str:
    """`value` without trailing slashes; ValueError unless it is a plain http(s) address."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("scheme must be http or https")
    if not parts.hostname:
        raise ValueError("the host is missing")
    if parts.port == 0:
        raise ValueError("port 0 cannot be connected to")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into an address; use `auth`")
    if parts.query or parts.fragment:
        raise ValueError("an address has no query or fragment")
    return value.rstrip("/")


def _viewer_url(value: str) -> str:
    """`value`; ValueError unless it is absolute and cannot run script in the gateway's name."""
    scheme = urlsplit(value).scheme.lower()
    if not scheme or scheme in {"javascript", "data", "vbscript", "file", "blob", "about"}:
        raise ValueError("must be an absolute address, such as https://viewer.example.org/…")
    is_web = scheme in {"http", "https"}
    if "{" in value.split(":", 1)[0] or (is_web and "{" in urlsplit(value).netloc):
        raise ValueError("the scheme and the host cannot be filled in from a request")
    unknown = set(URITemplate(value).variable_names) - set(VIEWER_VARIABLES)
    if unknown:
        known = ", ".join(VIEWER_VARIABLES)
        raise ValueError(f"unknown variable {', '.join(sorted(unknown))}; there are {known}")
    return value


def _origin(value: str) -> str:
    """`value`; ValueError unless it is an origin: scheme and host, and a port maybe."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query:
        raise ValueError("an origin is scheme://host[:port], without a path")
    return value


def _zone(value: str) -> str:
    """`value`; ValueError unless it is a time zone of the IANA database."""
    if value not in available_timezones():
        raise ValueError("not an IANA time zone, such as Europe/Paris")
    return value


def _code_system(value: str) -> str:
    """`value`; ValueError unless it can be a code system's URI."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", value):
        raise ValueError("a code system is an absolute URI, such as https://… or urn:oid:…")
    return value


def _archive_id(value: str) -> str:
    """`value`; ValueError unless it can stand in URLs and Endpoint ids."""
    if not ARCHIVE_ID.fullmatch(value):
        raise ValueError("an archive's id is made of a-z, 0-9 and -, at most 40 of them")
    if value == GATEWAY_ID:
        raise ValueError("`gateway` is the id of the gateway's own endpoints")
    return value


def _fhir_id(value: str) -> str:
    """`value`; ValueError unless it can be the id of a FHIR resource, and stand in a path."""
    if not FHIR_ID.fullmatch(value) or value in {".", ".."}:
        raise ValueError("an id is made of A-Z, a-z, 0-9, - and ., at most 64 of them")
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    """`value`; ValueError unless its scheme is one that the cache can speak."""
    schemes = {
        f"{tls}{kind}" for tls in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")
    }
    try:
        scheme = urlsplit(value.get_secret_value()).scheme
    except ValueError:
        raise ValueError("it is no URL") from None  # its own words repeat the password
    if scheme not in schemes:
        raise ValueError(f"scheme must be one of {', '.join(sorted(schemes))}")
    return value


WebUrl = Annotated[str, AfterValidator(_web_url)]
ViewerUrl = Annotated[str, AfterValidator(_viewer_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Origin = Annotated[str, AfterValidator(_origin)]
Zone = Annotated[str, AfterValidator(_zone)]
CodeSystem = Annotated[str, AfterValidator(_code_system)]
ArchiveId = Annotated[str, AfterValidator(_archive_id)]
FhirId = Annotated[str, AfterValidator(_fhir_id)]
Seconds = Annotated[float, Field(gt=0, le=86400 * 365)]
Name = Annotated[str, Field(min_length=1)]
OneOrMore = Annotated[tuple[Name, ...], BeforeValidator(_listed)]
RejectionTitle = Literal["none", "113001", "113037", "113038", "113039"]
Rejections = Annotated[tuple[RejectionTitle, ...], BeforeValidator(_codes)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class Section(BaseModel):
    """What every section is: frozen, closed, and documented by its attribute docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )


def is_loopback(host: str) -> bool:
    """Whether `host` binds loopback only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
